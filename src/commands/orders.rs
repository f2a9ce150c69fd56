//! `fax retry|cancel|hold|release|redeliver`: orders for one fax or several.

use clap::Args;
use serde_json::json;

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use crate::console::OrderBody;
use crate::console::view::{OrderName, OrderView};

#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// One id or several
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Who orders, for the story of the fax and its report; the local user by default
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// Send all pages again, those that arrived too
    #[arg(long)]
    all_pages: bool,
}

#[derive(Debug, Args)]
pub(super) struct RedeliverArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// To this mailbox only
    #[arg(long, value_name = "MAILBOX")]
    to: Option<String>,
}

pub(super) async fn retry(args: RetryArgs, client: &Client, out: Out) -> Outcome {
    let body = OrderBody { all_pages: args.all_pages, ..OrderBody::default() };
    order(OrderName::Retry, args.order, body, client, out).await
}

pub(super) async fn redeliver(args: RedeliverArgs, client: &Client, out: Out) -> Outcome {
    let body = OrderBody { to: args.to, ..OrderBody::default() };
    order(OrderName::Redeliver, args.order, body, client, out).await
}

pub(super) async fn simple(name: OrderName, args: OrderArgs, client: &Client, out: Out) -> Outcome {
    order(name, args, OrderBody::default(), client, out).await
}

/// Gives the order for each id in turn; what is refused for one does not keep it from the others.
async fn order(name: OrderName, args: OrderArgs, body: OrderBody, client: &Client, out: Out) -> Outcome {
    let body = OrderBody { by: Some(args.by.unwrap_or_else(local_user)), ..body };
    let mut exits = Vec::with_capacity(args.ids.len());
    for id in &args.ids {
        let path = format!("/api/v1/faxes/{}/{name}", encoded(id));
        match client.post::<OrderView>(&path, &body).await {
            Ok(view) => {
                if out.json() {
                    out.object(&view)?;
                } else {
                    out.line(&view.text)?;
                }
                exits.push(Exit::Ok);
            }
            // The one refusal is printed by whoever called, as that of every command.
            Err(failed) if args.ids.len() == 1 || failed.exit == Exit::Unreachable => return Err(failed),
            Err(failed) => {
                refused(id, &failed, out);
                exits.push(failed.exit);
            }
        }
    }
    Ok(Exit::of_several(&exits))
}

fn refused(id: &str, failed: &Failed, out: Out) {
    if out.json() {
        let mut problem = failed.json();
        problem["id"] = json!(id);
        eprintln!("{problem}");
    } else {
        eprintln!("{failed}");
    }
}

/// As `id -un` would say where the environment is that of a login; through sudo it is whoever asked for it.
pub(super) fn local_user() -> String {
    let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.trim().is_empty());
    let user = ["SUDO_USER", "LOGNAME", "USER"].iter().find_map(|variable| named(variable));
    user.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}
