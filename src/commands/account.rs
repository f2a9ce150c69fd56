//! `account list|add|passwd|rm`: who logs in over SMTP, beside the accounts of the configuration.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::orders::local_user;
use super::out::{Out, local_time};
use super::place::Place;
use crate::console::accounts::{AccountList, AccountView, Expect, SetAccount};
use crate::senders::Policy;

/// Say who logs in over SMTP; accounts of the configuration win
#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// List the accounts that were added
    #[command(after_help = "Example: faxwell account list")]
    List,
    /// Add an account; its password comes from the terminal, standard input or a file, never as an argument
    #[command(
        after_help = "Example: faxwell account add copier-2 --from copier-2@example.com --allow +41 --faxes-per-day 200"
    )]
    Add(Box<AddArgs>),
    /// Change the password of an account
    #[command(after_help = "Example: faxwell account passwd copier-2 --password-file new-password")]
    Passwd(PasswdArgs),
    /// Remove an account: it logs in no more
    #[command(after_help = "Example: faxwell account rm copier-2")]
    Rm {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    /// Its name
    name: String,
    /// File with the password; without it the terminal or standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    who: PasswdArgs,
    /// Address that it may write as, as in '*@example.com'; any when absent
    #[arg(long, value_name = "PATTERN")]
    from: Vec<String>,
    /// Prefix that it may fax; all that dial.allow has when absent
    #[arg(long, value_name = "PREFIX")]
    allow: Vec<String>,
    /// Prefix that it may not fax
    #[arg(long, value_name = "PREFIX")]
    deny: Vec<String>,
    /// Faxes within any hour
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    faxes_per_hour: Option<u32>,
    /// Faxes within any 24 hours
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    faxes_per_day: Option<u32>,
    /// Faxes of one sender address within any hour
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    faxes_per_hour_each: Option<u32>,
    /// Faxes of one sender address within any 24 hours
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    faxes_per_day_each: Option<u32>,
    /// Pages within any hour
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pages_per_hour: Option<u32>,
    /// Pages within any 24 hours
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pages_per_day: Option<u32>,
    /// Fax what its programs send automatically, too
    #[arg(long)]
    automatic: bool,
    /// Its cover page, or none
    #[arg(long, value_name = "NAME")]
    cover: Option<String>,
    /// What accounting calls it
    #[arg(long, value_name = "TEXT")]
    billing: Option<String>,
}

pub(super) async fn run(command: AccountCommand, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    match command {
        AccountCommand::List => list(&client, out).await,
        AccountCommand::Add(args) => {
            let AddArgs {
                who,
                from,
                allow,
                deny,
                faxes_per_hour,
                faxes_per_day,
                faxes_per_hour_each,
                faxes_per_day_each,
                pages_per_hour,
                pages_per_day,
                automatic,
                cover,
                billing,
            } = *args;
            let policy = Policy {
                from,
                allow,
                deny,
                faxes_per_hour,
                faxes_per_day,
                faxes_per_hour_each,
                faxes_per_day_each,
                pages_per_hour,
                pages_per_day,
                automatic,
                cover,
                billing,
            };
            set(who, Some(policy), Expect::New, &client, out).await
        }
        AccountCommand::Passwd(args) => set(args, None, Expect::Known, &client, out).await,
        AccountCommand::Rm { name } => {
            client.delete(&format!("/api/v1/accounts/{}?by={}", encoded(&name), encoded(&local_user()))).await?;
            if out.json() {
                out.object(&serde_json::json!({ "removed": name }))?;
            } else {
                out.line(&format!("account {name} is removed"))?;
            }
            Ok(Exit::Ok)
        }
    }
}

async fn list(client: &Client, out: Out) -> Outcome {
    let list: AccountList = client.get("/api/v1/accounts").await?;
    if out.json() {
        list.accounts.iter().try_for_each(|account| out.object(account))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = list.accounts.iter().map(row).collect();
    out.table(&["ACCOUNT", "FROM", "ALLOW", "LIMITS", "SINCE", "BY"], &rows)?;
    Ok(Exit::Ok)
}

fn row(account: &AccountView) -> Vec<String> {
    let policy = &account.policy;
    let limits = [
        (policy.faxes_per_hour, "faxes/h"),
        (policy.faxes_per_day, "faxes/d"),
        (policy.faxes_per_hour_each, "faxes/h each"),
        (policy.faxes_per_day_each, "faxes/d each"),
        (policy.pages_per_hour, "pages/h"),
        (policy.pages_per_day, "pages/d"),
    ];
    let limits: Vec<String> = limits.iter().filter_map(|(most, unit)| Some(format!("{} {unit}", (*most)?))).collect();
    let any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(" ") };
    let (name, since, by) = (account.name.clone(), local_time(&account.made_at), account.made_by.clone());
    vec![name, any(&policy.from), any(&policy.allow), limits.join(", "), since, by]
}

async fn set(args: PasswdArgs, policy: Option<Policy>, expect: Expect, client: &Client, out: Out) -> Outcome {
    let password = password(&args)?;
    let body = SetAccount { password, policy, by: local_user(), expect };
    let account: AccountView = client.post(&format!("/api/v1/accounts/{}", encoded(&args.name)), &body).await?;
    if out.json() {
        out.object(&account)?;
    } else {
        out.line(&match expect {
            Expect::New => format!("account {} is added", account.name),
            Expect::Known => format!("account {} has a new password", account.name),
        })?;
    }
    Ok(Exit::Ok)
}

/// One line, from a file, a terminal that does not show it, or standard input.
fn password(args: &PasswdArgs) -> Result<String, Failed> {
    let failed = |cause: std::io::Error| {
        let fix = "write it on one line of a file or of standard input";
        Failed::new(Exit::Usage, "the password cannot be read", cause.to_string(), fix)
    };
    let mut line = String::new();
    match &args.password_file {
        Some(path) => line = std::fs::read_to_string(path).map_err(failed)?,
        None => {
            let stdin = std::io::stdin();
            let shown = if stdin.is_terminal() { hide(&args.name).ok() } else { None };
            let read = stdin.lock().read_line(&mut line);
            if let Some(shown) = shown {
                // The terminal is as it was, or the shell sets it anew.
                let _ = tcsetattr(&stdin, OptionalActions::Now, &shown);
                eprintln!();
            }
            read.map_err(failed)?;
        }
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn hide(name: &str) -> rustix::io::Result<rustix::termios::Termios> {
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
    eprint!("password of {name}: ");
    Ok(shown)
}
