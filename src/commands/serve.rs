//! `serve`: the gateway itself, until SIGTERM or SIGINT.

use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failed, Outcome};
use super::gateway::{FarEndPlace, Gateway, stop_signal};
use super::out::Out;
use super::place::{self, Place};
use crate::config::{Config, DOCUMENTS_FIX, Role};

/// Between two tries to start when the store is away.
const STORE_AWAY_WAIT: Duration = Duration::from_secs(2);

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
    let Some(gateway) = start(loaded.config, far_end).await? else { return Ok(Exit::Ok) };
    ready(&gateway, out)?;
    gateway.tell_ready()?;
    gateway.run().await
}

/// Waits for a store on a server that is away: machines that start together after a power cut find each other. None when
/// this process is asked to end meanwhile.
async fn start(config: Config, far_end: FarEndPlace) -> Result<Option<Gateway>, Failed> {
    let may_wait = config.store.database.file().is_none();
    let stop = stop_signal();
    tokio::pin!(stop);
    loop {
        let not_started = tokio::select! {
            started = Gateway::start(config.clone(), far_end) => match started {
                Ok(gateway) => return Ok(Some(gateway)),
                Err(not_started) => not_started,
            },
            // Nothing has been taken yet.
            stopped = &mut stop => return stopped.map(|()| None),
        };
        if !(may_wait && not_started.store_is_away) {
            return Err(not_started.into());
        }
        let failed = Failed::from(not_started);
        tracing::warn!(cause = failed.cause, fix = failed.fix, "{}; it is tried again", failed.message);
        tokio::select! {
            () = tokio::time::sleep(STORE_AWAY_WAIT) => {}
            stopped = &mut stop => return stopped.map(|()| None),
        }
    }
}

fn ready(gateway: &Gateway, out: Out) -> Result<(), Failed> {
    let config = gateway.config();
    if out.json() {
        return out.object(&serde_json::json!({ "node": config.node, "domain": config.domain, "data": config.data, "smtp": config.smtp.listen }));
    }
    tracing::info!(node = config.node, domain = config.domain, data = %config.data.display(), smtp = ?config.smtp.listen, "ready");
    Ok(())
}
