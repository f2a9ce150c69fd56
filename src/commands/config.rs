//! `config check|show|example`

use clap::Subcommand;
use serde_json::json;

use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::{BadConfig, Place};
use crate::config::{self, Config, Problems};
use crate::documents::KeyRing;
use crate::intake::tls::Tls;

/// Check and show the configuration
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration: every error with its place and a fix
    #[command(after_help = "Example: faxwell config check -c /etc/faxwell/faxwell.toml")]
    Check,
    /// Show every setting with its value and where it comes from; secrets only by their source
    #[command(after_help = "Example: faxwell config show --json | grep smtp")]
    Show,
    /// Print a file with every setting, its default and what it is for
    #[command(after_help = "Example: faxwell config example > faxwell.toml")]
    Example,
}

pub(super) fn run(command: ConfigCommand, place: &Place, out: Out) -> Outcome {
    match command {
        ConfigCommand::Check => check(place, out),
        ConfigCommand::Show => show(place, out),
        ConfigCommand::Example => {
            out.line(config::example().trim_end())?;
            Ok(Exit::Ok)
        }
    }
}

fn check(place: &Place, out: Out) -> Outcome {
    let config = match place.load() {
        Ok(loaded) => {
            print(&loaded.warnings, out)?;
            loaded.config
        }
        Err(BadConfig(problems)) => {
            print(&problems, out)?;
            return Ok(Exit::Usage);
        }
    };
    files(&config)?;
    Ok(Exit::Ok)
}

/// The files that the configuration names, read as the gateway would.
fn files(config: &Config) -> Result<(), Failed> {
    if let Some(Err(error)) = config.store.keys.as_deref().map(KeyRing::read) {
        let fix = "write a key with: faxwell storage keys new";
        return Err(Failed::because(Exit::Usage, "store.keys cannot be used", &error, fix));
    }
    if let Some(Err(error)) = config.smtp.tls.clone().map(Tls::open) {
        let fix = "let this account read them, as the gateway's has to; tools/make-certificates makes some to try with";
        return Err(Failed::because(Exit::Usage, "smtp.tls cannot be used", &error, fix));
    }
    Ok(())
}

fn print(problems: &Problems, out: Out) -> Result<(), Failed> {
    let (errors, warnings) = problems.counts();
    if out.json() {
        let object =
            json!({ "file": problems.file, "errors": errors, "warnings": warnings, "problems": problems.views() });
        return out.object(&object);
    }
    if errors + warnings == 0 {
        return out.remark(problems.render().trim_end());
    }
    out.line(problems.render().trim_end())
}

fn show(place: &Place, out: Out) -> Outcome {
    let loaded = place.load()?;
    if out.json() {
        loaded.effective.iter().try_for_each(|setting| out.object(setting))?;
        return Ok(Exit::Ok);
    }
    let row = |setting: &config::Effective| {
        let value = setting.value.clone().unwrap_or_else(|| "(not set)".to_owned());
        vec![setting.key.clone(), value, setting.origin.clone()]
    };
    out.table(&["SETTING", "VALUE", "FROM"], &loaded.effective.iter().map(row).collect::<Vec<_>>())?;
    Ok(Exit::Ok)
}
