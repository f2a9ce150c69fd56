//! `fax keep`: legal holds.

use clap::Args;

use super::client::{Client, encoded};
use super::exit::{Exit, Failed, Outcome};
use super::out::Out;

#[derive(Debug, Args)]
pub(super) struct KeepArgs {
    /// Ids of faxes (F-…) or received faxes (R-…)
    #[arg(required = true)]
    ids: Vec<String>,
    /// End the legal hold
    #[arg(long)]
    off: bool,
}

pub(super) async fn keep(args: KeepArgs, client: &Client, out: Out) -> Outcome {
    let mut refused: Option<Failed> = None;
    let mut done = 0;
    for id in &args.ids {
        match client.order(&format!("/api/v1/faxes/{}/keep?held={}", encoded(id), !args.off)).await {
            Ok(()) => done += 1,
            Err(failed) => {
                if let Some(earlier) = refused.replace(failed) {
                    eprintln!("{earlier}");
                }
                continue;
            }
        }
        let held = !args.off;
        if out.json() {
            out.object(&serde_json::json!({ "id": id, "legal_hold": held }))?;
        } else {
            out.remark(&format!("{id}: {}", if held { "kept until the hold is ended" } else { "no longer kept" }))?;
        }
    }
    match refused {
        None => Ok(Exit::Ok),
        Some(failed) if done == 0 => Err(failed),
        Some(failed) => Err(Failed { exit: Exit::SomeFailed, ..failed }),
    }
}
