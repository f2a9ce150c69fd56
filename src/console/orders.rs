//! Orders of people: hold, release, cancel, retry, redeliver.
//!
//! Two ways in. `POST /api/v1/faxes/ID/ORDER` is on the control socket alone, as every other way to write. In a sandbox on
//! loopback the page of a fax has buttons: plain forms, each with a token that this process has made and that no other
//! site can read (there is no CORS), and taken only when the browser does not say that another site sent it. What the
//! fax's state does not allow is a 409 that says why and what to do instead.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::view::{FaxDetail, OrderName, OrderResult, OrderView};
use super::{Console, Problem, page};
use crate::domain::{FaxId, FaxState, ShortId};
use crate::store::{EventsOf, Order, Ordered, Retried, RetryPages};

/// Longest name of who orders, characters.
const BY_CHARS_MAX: usize = 80;

/// The body of an order; every member may be left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderBody {
    /// Who orders, for the story of the fax and its report.
    pub by: Option<String>,
    /// For retry: all pages, not only those that are missing.
    pub all_pages: bool,
    /// For redeliver: this mailbox only.
    pub to: Option<String>,
}

/// `POST /api/v1/faxes/ID/ORDER`
pub(super) async fn order(
    State(console): State<Console>,
    Path((id, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<OrderView>, Problem> {
    let order = parse(&order)?;
    let body = self::body(&headers, &body)?;
    Ok(Json(carry_out(&console, &id, order, &body).await?))
}

/// The body of an order that a program gives.
pub(super) fn body(headers: &HeaderMap, body: &[u8]) -> Result<OrderBody, Problem> {
    // A form of another site can send text, but no JSON.
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or("");
    if !media.starts_with("application/json") {
        return Err(Problem::bad_request("the body must be JSON", "send it as Content-Type: application/json"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body: {error}"), "send {} or {\"by\":\"anna\"}"))
}

fn parse(order: &str) -> Result<OrderName, Problem> {
    order.parse().map_err(|error| Problem::bad_request(format!("order: {error}"), "see docs/reference/api.md"))
}

async fn carry_out(console: &Console, id: &str, order: OrderName, body: &OrderBody) -> Result<OrderView, Problem> {
    let of = find(console, id).await?;
    let by = who(body.by.as_deref());
    let (store, config) = (&console.services.store, &console.services.config);
    tracing::info!(%id, %order, by, "ordered");
    let (short, result) = match (order, of) {
        (OrderName::Redeliver, EventsOf::Fax(_) | EventsOf::Received(_)) => {
            let mails = store.redeliver(of, body.to.as_deref(), &by).await?;
            (shown(of, id), OrderResult::Owed { mails })
        }
        (OrderName::Hold, EventsOf::Fax(fax)) => (short(fax), store.hold(fax, &by).await?.into()),
        (OrderName::Cancel, EventsOf::Fax(fax)) => (short(fax), store.cancel(fax, &by, &config.domain).await?.into()),
        (OrderName::Release, EventsOf::Fax(fax)) => {
            store.release(fax, &by).await?;
            (short(fax), OrderResult::Done)
        }
        (OrderName::Retry, EventsOf::Fax(fax)) => {
            let pages = if body.all_pages { RetryPages::All } else { RetryPages::Rest };
            let retried = store.retry(fax, pages, &by, config.dial.retry.give_up).await?;
            (short(fax), retried.into())
        }
        (_, EventsOf::Received(_) | EventsOf::Message(_) | EventsOf::All) => {
            let fix = match order {
                OrderName::Redeliver => "name a fax, as in F-8KQ2XW4DZP, or a received fax, as in R-8KQ2XW4DZP",
                _ => "name a fax, as in F-8KQ2XW4DZP",
            };
            return Err(Problem::bad_request(format!("{id} does not take the order {order}"), fix));
        }
    };
    let text = result.text(order, &short);
    Ok(OrderView { id: short, order, result, text })
}

/// The short id of what an id in an address means.
fn shown(of: EventsOf, id: &str) -> String {
    match of {
        EventsOf::Fax(fax) => short(fax),
        EventsOf::Received(fax) => fax.short().to_string(),
        EventsOf::Message(message) => message.short().to_string(),
        EventsOf::All => id.to_owned(),
    }
}

fn short(fax: FaxId) -> String {
    fax.short().to_string()
}

/// What the id in an address means: the short one that people see, or the UUID of a fax.
pub(super) async fn find(console: &Console, id: &str) -> Result<EventsOf, Problem> {
    if let Ok(fax) = id.parse::<FaxId>() {
        return Ok(EventsOf::Fax(fax));
    }
    let short = id.parse::<ShortId>().map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(console.services.store.find(&short).await?)
}

/// One short line, whatever was sent.
pub(super) fn who(by: Option<&str>) -> String {
    let by: String = by.unwrap_or("").chars().filter(|c| !c.is_control()).take(BY_CHARS_MAX).collect();
    let by = by.trim();
    if by.is_empty() { "the administrator".to_owned() } else { by.to_owned() }
}

impl From<Ordered> for OrderResult {
    fn from(ordered: Ordered) -> Self {
        match ordered {
            Ordered::Done => Self::Done,
            Ordered::Soon => Self::Soon,
        }
    }
}

impl From<Retried> for OrderResult {
    fn from(retried: Retried) -> Self {
        match retried {
            Retried::Now => Self::Done,
            Retried::As { fax } => Self::New { fax: short(fax) },
        }
    }
}

impl OrderResult {
    fn text(&self, order: OrderName, id: &str) -> String {
        match (self, order) {
            (Self::Done, OrderName::Retry) => format!("{id} is called as soon as a line is free"),
            (Self::Done, OrderName::Hold) => format!("{id} is held until: faxwell fax release {id}"),
            (Self::Done, OrderName::Release) => format!("{id} goes on"),
            (Self::Done, _) => format!("{id} is over; its report is on its way"),
            (Self::Soon, _) => format!("{id}: {order} is noted, and done when the page on the wire is finished"),
            (Self::New { fax }, _) => format!("{id} is sent once more as {fax}"),
            (Self::Owed { mails: 1 }, _) => format!("one mail of {id} is delivered again"),
            (Self::Owed { mails }, _) => format!("{mails} mails of {id} are delivered again"),
        }
    }
}

/// An order that the page of a fax offers.
#[derive(Debug, Serialize)]
pub(super) struct Button {
    order: OrderName,
    label: &'static str,
}

/// The orders that this fax takes now.
pub(super) fn buttons(detail: &FaxDetail) -> Vec<Button> {
    let button = |order, label| Button { order, label };
    let release = button(OrderName::Release, "Release");
    let cancel = button(OrderName::Cancel, "Cancel");
    let fax = &detail.fax;
    match (fax.state, fax.ordered) {
        (_, Some(Order::Cancel)) => vec![],
        (_, Some(Order::Hold)) | (FaxState::Held, None) => vec![release, cancel],
        (FaxState::Accepted | FaxState::Ready, None) => {
            let now = (!fax.in_call).then(|| button(OrderName::Retry, "Call now"));
            [Some(button(OrderName::Hold, "Hold")), now, Some(cancel)].into_iter().flatten().collect()
        }
        (state, None) => {
            let retry = state != FaxState::Sent && detail.retried_as.is_none();
            let retry = retry.then(|| button(OrderName::Retry, "Send once more"));
            let again = button(OrderName::Redeliver, "Deliver the report again");
            retry.into_iter().chain([again]).collect()
        }
    }
}

/// `POST /faxes/ID/ORDER` of a button; answers with the page of the fax, or of the new one.
pub(super) async fn pressed(
    State(console): State<Console>,
    Path((id, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_ours(&console, &headers, &body) {
        let cause = "the button belongs to another site, or to a page that was shown before the gateway started anew";
        let fix = "load the page of the fax again and press it there";
        return page::problem(&Problem::new(StatusCode::FORBIDDEN, "not-allowed", "nothing was done", cause, fix));
    }
    let ordered = async {
        let body = OrderBody { by: Some("somebody at the web page".to_owned()), ..OrderBody::default() };
        carry_out(&console, &id, parse(&order)?, &body).await
    };
    match ordered.await {
        Ok(view) => {
            let shown = match view.result {
                OrderResult::New { fax } => fax,
                _ => view.id,
            };
            (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/faxes/{shown}"))]).into_response()
        }
        Err(refused) => page::problem(&refused),
    }
}

/// Whether a form came from one of our own pages: it knows the token, and the browser names no other origin.
fn is_ours(console: &Console, headers: &HeaderMap, body: &Bytes) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let host = text("host").unwrap_or("");
    let same_origin = text("origin").is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    let same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    same_origin && same_site && body.strip_prefix(b"token=".as_slice()) == Some(console.form_token.as_bytes())
}
