//! `demo receive`: the pretend fax machine calls the sandbox's own line.

use clap::Args;

use super::client::Client;
use super::exit::{Exit, Outcome};
use super::inbound::print_received;
use super::out::Out;
use super::place::Place;
use crate::console::received::{TestCall, TestCallView};

/// Pages of a test call.
const PAGES: std::ops::RangeInclusive<i64> = 1..=100;

#[derive(Debug, Args)]
pub(super) struct DemoReceiveArgs {
    /// Pages to send
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(PAGES))]
    pages: u32,
    /// Number to call
    #[arg(long, value_name = "NUMBER", default_value = "+41440000001")]
    did: String,
    /// Calling number
    #[arg(long, value_name = "NUMBER", default_value = "+41310000002")]
    from: String,
    /// Station ID; the calling number without it
    #[arg(long, value_name = "TEXT")]
    tsi: Option<String>,
    /// Subaddress to ask for
    #[arg(long, value_name = "DIGITS")]
    sub: Option<String>,
    /// Hang up in the middle of this page
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(PAGES))]
    hang_up_in_page: Option<u32>,
}

pub(super) async fn run(args: DemoReceiveArgs, place: &Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    let DemoReceiveArgs { pages, did, from, tsi, sub, hang_up_in_page } = args;
    out.remark(&format!("the pretend fax machine {from} calls {did} with {pages} pages"))?;
    let call = TestCall { did, from, tsi, sub, pages, hang_up_in_page };
    let view: TestCallView = client.post_call("/api/v1/sandbox/receive", &call).await?;
    if out.json() {
        out.object(&view)?;
    } else {
        let sent = &view.call;
        out.line(&format!("{:<13} {}, {} of {pages} pages confirmed", "Sender", sent.outcome, sent.pages_confirmed))?;
        match &view.received {
            Some(fax) => {
                print_received(fax, out)?;
                out.remark(&format!("see it with: faxwell inbound show {}", fax.short))?;
            }
            None => out.line(&format!("{:<13} nothing: no page was confirmed", "Received"))?,
        }
    }
    // A call that was to break and did is as asked.
    let as_asked = view.call.outcome == "sent" || (hang_up_in_page.is_some() && view.call.outcome == "broken");
    Ok(if as_asked { Exit::Ok } else { Exit::Failed })
}
