//! `setup postfix|exchange|m365`: what is typed on the other side, with this configuration's values, and what is missing on ours.

use clap::{Args, Subcommand};
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use serde::Serialize;

use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::Place;
use crate::config::senders::Proof;
use crate::config::{Config, DeliveryTarget};

/// Print what to type on the mail server beside this gateway, with this configuration's values
#[derive(Debug, Subcommand)]
pub(super) enum SetupCommand {
    /// Postfix sends mail for the gateway's domain here
    #[command(after_help = "Example: faxwell setup postfix --host gw.example.com")]
    Postfix(SetupArgs),
    /// Exchange Server: connectors in both directions, Outlook's FAX addresses
    #[command(after_help = "Example: faxwell setup exchange --host gw.example.com")]
    Exchange(SetupArgs),
    /// Microsoft 365: connectors in both directions
    #[command(after_help = "Example: faxwell setup m365 --host gw.example.com")]
    M365(SetupArgs),
}

#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// Name of this gateway as the other side reaches it; it stands in the certificate
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Postfix,
    Exchange,
    M365,
}

/// What the templates see.
#[derive(Debug, Serialize)]
struct View {
    domain: String,
    host: String,
    port: u16,
    tls: bool,
    client_ca: bool,
    max_recipients: usize,
    max_size_mb: u64,
}

/// Something that this gateway's configuration lacks for it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Missing {
    cause: String,
    fix: String,
}

pub(super) fn run(command: SetupCommand, place: &Place, out: Out) -> Outcome {
    let (side, args) = match command {
        SetupCommand::Postfix(args) => (Side::Postfix, args),
        SetupCommand::Exchange(args) => (Side::Exchange, args),
        SetupCommand::M365(args) => (Side::M365, args),
    };
    let config = place.load()?.config;
    let host = args.host.unwrap_or_else(|| config.domain.clone());
    let commands = commands(side, &config, &host)?;
    let missing = missing(side, &config);
    if out.json() {
        out.object(&serde_json::json!({ "commands": commands, "missing": missing }))?;
        return Ok(Exit::Ok);
    }
    out.line(commands.trim_end())?;
    for Missing { cause, fix } in &missing {
        out.remark(&format!("\nNot ready here yet\ncause: {cause}\nfix: {fix}"))?;
    }
    Ok(Exit::Ok)
}

fn commands(side: Side, config: &Config, host: &str) -> Result<String, Failed> {
    let source = match side {
        Side::Postfix => include_str!("../../templates/setup/postfix.txt"),
        Side::Exchange => include_str!("../../templates/setup/exchange.txt"),
        Side::M365 => include_str!("../../templates/setup/m365.txt"),
    };
    let tls = config.smtp.tls.as_ref();
    let view = View {
        domain: config.domain.clone(),
        host: host.to_owned(),
        // The lowest is the one that servers use: 25 rather than 587.
        port: config.smtp.listen.iter().map(std::net::SocketAddr::port).min().unwrap_or(25),
        tls: tls.is_some(),
        client_ca: tls.is_some_and(|tls| tls.client_ca.is_some()),
        max_recipients: config.smtp.max_recipients,
        max_size_mb: (config.smtp.max_size_bytes / 1_000_000).max(1),
    };
    let failed = |error: minijinja::Error| {
        Failed::because(Exit::Failed, "the commands cannot be printed", &error, "report this; it is a mistake of ours")
    };
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?);
    environment.render_str(source, minijinja::Value::from(minijinja::value::Serde(&view))).map_err(failed)
}

/// What the other side needs of us.
fn missing(side: Side, config: &Config) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut lacks = |cause: &str, fix: &str| missing.push(Missing { cause: cause.to_owned(), fix: fix.to_owned() });
    if config.smtp.listen.iter().chain(&config.smtp.listen_tls).all(|address| address.ip().is_loopback()) {
        lacks("smtp.listen is on loopback, so that nobody else reaches it", "listen = [\"0.0.0.0:25\"] in [smtp]");
    }
    let by_domain = || {
        let proofs = config.senders.senders.values().flat_map(|sender| &sender.relay);
        proofs.into_iter().any(|proof| matches!(proof, Proof::Dkim(_) | Proof::Spf(_)))
    };
    let by_address = !config.smtp.relay.is_empty() || !config.senders.senders.is_empty();
    let by_certificate = !config.smtp.relay_certificates.is_empty();
    match side {
        Side::M365 if !by_domain() => lacks(
            "Exchange Online comes from changing addresses, and no domain may submit",
            "relay = [\"dkim:example.com\"] in [smtp]; the domain needs DMARC, and SPF that names Exchange Online",
        ),
        Side::Postfix | Side::Exchange if !by_address && !by_certificate => lacks(
            "smtp.relay is empty, so that nobody may submit without a login",
            "relay = [\"ADDRESS OF THAT SERVER\"] in [smtp], or \"cert:NAME\" with smtp.tls.client_ca",
        ),
        _ => {}
    }
    if config.smtp.tls.is_none() && side != Side::Postfix {
        lacks("smtp.tls is not set, and this side asks for TLS", "tls = { cert = \"…\", key = \"…\" } in [smtp]");
    }
    if matches!(config.delivery.to, DeliveryTarget::Maildir(_)) {
        lacks("reports go into a Maildir", "smarthost = \"mail.example.com:25\" in [delivery]");
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config;

    /// Each configuration of `tests/setup` with what each side is told. With `FAXWELL_BLESS=1` they are written anew.
    #[test]
    fn x1_every_side_is_told_what_its_golden_file_has() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup");
        let bless = std::env::var_os("FAXWELL_BLESS").is_some();
        let mut different = Vec::new();
        for name in ["bare", "tls", "certificates"] {
            // Without this process's environment, which is no setting of the test's.
            let around = config::Around { variables: Vec::new(), data: None };
            let loaded = config::load(&folder.join(format!("{name}.toml")), &around);
            let config = loaded.unwrap_or_else(|problems| panic!("{}", problems.render())).config;
            for (side, ending) in [(Side::Postfix, "postfix"), (Side::Exchange, "exchange"), (Side::M365, "m365")] {
                let mut text = commands(side, &config, "gw.example.com").unwrap();
                for Missing { cause, fix } in missing(side, &config) {
                    text.push_str(&format!("cause: {cause}\nfix: {fix}\n"));
                }
                let path: PathBuf = folder.join(format!("{name}.{ending}"));
                if bless {
                    std::fs::write(&path, &text).unwrap();
                } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
                    different.push(format!("{}:\n{text}", path.display()));
                }
            }
        }
        assert!(different.is_empty(), "look at it, then FAXWELL_BLESS=1:\n{}", different.join("\n"));
    }
}
