//! Following a fax on the terminal: a line for each thing that happens, until it ends.

use super::client::Client;
use super::exit::{Exit, Failed};
use super::fax::{print_facts, state_word};
use super::out::{Out, local_time, localised};
use crate::console::view::{FaxView, WatchLine};

/// How long a fax is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// Until it is final.
    UntilFinal,
    /// Until it is final and its report is on its way.
    UntilReported,
}

/// A watch may break when a node restarts; it is taken up again this often without any news.
const RECONNECTS_MAX: u32 = 5;

/// Prints what happens to a fax and answers with its end.
pub(super) async fn follow(client: &Client, id: &str, how: Follow, out: Out) -> Result<FaxView, Failed> {
    let until = match how {
        Follow::UntilFinal => "final",
        Follow::UntilReported => "reported",
    };
    let spinner = out.spinner(&format!("following {id}"));
    let mut after = 0;
    let mut latest: Option<FaxView> = None;
    for _ in 0..RECONNECTS_MAX {
        let mut watch = client.watch(id, &format!("after={after}&until={until}")).await?;
        while let Some(line) = watch.next().await? {
            match &line {
                WatchLine::Event(event) => {
                    after = event.seq;
                    spinner
                        .suspend(|| out.remark(&format!("  {}  {}", local_time(&event.at), localised(&event.text))))?;
                }
                WatchLine::Fax(fax) => {
                    spinner.set_message(format!("{id}: {}", state_word(fax, out)));
                    latest = Some((**fax).clone());
                }
            }
            if out.json() {
                out.object(&line)?;
            }
        }
        if let Some(fax) = latest.as_ref().filter(|fax| fax.state.is_final()) {
            spinner.finish_and_clear();
            if !out.json() {
                print_facts(fax, out)?;
            }
            return Ok(fax.clone());
        }
    }
    spinner.finish_and_clear();
    latest.ok_or_else(|| {
        Failed::new(
            Exit::Unreachable,
            format!("cannot follow {id}"),
            "the gateway ended every watch at once",
            "see its log",
        )
    })
}
