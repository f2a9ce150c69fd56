//! `serve`: the gateway itself, until SIGTERM or SIGINT.

use clap::Args;

use super::exit::{Exit, Failed, Outcome};
use super::gateway::{FarEndPlace, Gateway};
use super::out::Out;
use super::place::{self, Place};
use crate::config::{DOCUMENTS_FIX, Role};

/// Run the gateway
#[derive(Debug, Args)]
#[command(
    after_help = "Example: faxwell serve -c /etc/faxwell/faxwell.toml\n\nSIGTERM drains: no new mail is taken, calls under way finish their page."
)]
pub(super) struct ServeArgs {
    /// What this process does, with commas: smtp, render, line, deliver, web, maintain; all by default
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    roles: Vec<Role>,
}

pub(super) async fn run(args: ServeArgs, place: Place, out: Out) -> Outcome {
    let mut loaded = place.load()?;
    if !args.roles.is_empty() {
        loaded.config.roles = args.roles;
        loaded.config.roles.sort_unstable();
        loaded.config.roles.dedup();
    }
    if let Some(documents) = loaded.config.documents_of_this_process_alone().filter(|_| loaded.config.shares_work()) {
        let cause = format!("documents lie in {}, and the other roles cannot read them there", documents.display());
        return Err(Failed::new(Exit::Usage, "this process cannot do its part of the work", cause, DOCUMENTS_FIX));
    }
    for warning in &loaded.warnings.list {
        tracing::warn!(code = warning.code, fix = warning.fix, "{}", warning.message);
    }
    place::make_data(&loaded.config.data)?;
    // Without a file this is the sandbox, and the sandbox has its own pretend fax machine.
    let far_end = if place.file().is_none() { FarEndPlace::Here } else { FarEndPlace::Elsewhere };
    let gateway = Gateway::start(loaded.config, far_end).await?;
    ready(&gateway, out)?;
    gateway.tell_ready()?;
    gateway.run().await
}

fn ready(gateway: &Gateway, out: Out) -> Result<(), Failed> {
    let config = gateway.config();
    if out.json() {
        return out.object(&serde_json::json!({ "node": config.node, "domain": config.domain, "data": config.data, "smtp": config.smtp.listen }));
    }
    tracing::info!(node = config.node, domain = config.domain, data = %config.data.display(), smtp = ?config.smtp.listen, "ready");
    Ok(())
}
