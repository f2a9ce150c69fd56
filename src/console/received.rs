//! Received faxes and the routes that lead them, as the API tells of them.
//!
//! Reading shows numbers and pages, so it is where content is shown. Setting and removing routes is on the control socket
//! alone. In a sandbox the pretend fax machine can be told to call the gateway's own line.

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::api::{LIST_DEFAULT, LIST_MAX, file, pages_problem};
use super::view::{CauseView, EventView, NoticeView};
use super::{Console, Problem};
use crate::config::inbound::{Explained, Mailboxes, Source};
use crate::domain::inbound::{Destination, Incoming, Rule};
use crate::domain::{ReceivedFaxId, ReceivedState, ShortId, Timestamp};
use crate::store::{DocumentKey, EventsOf, Received, ReceivedFilter, ReceivedPageRecord, ReceivedRecord, Transport};

/// Events of one fax in an answer.
const EVENTS_MAX: u32 = 2000;

/// Most pages of a test call.
const TEST_PAGES_MAX: u32 = 100;

/// A received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedView {
    /// Its UUID.
    pub id: ReceivedFaxId,
    /// What people call it, as in `R-8KQ2XW4DZP`.
    pub short: String,
    /// Where it is.
    pub state: ReceivedState,
    /// The line it came in by.
    pub line: String,
    /// The node that answered.
    pub node: String,
    /// The called number (DID).
    pub called: String,
    /// The calling number, if the trunk says so.
    pub caller: Option<String>,
    /// TSI.
    pub remote_id: Option<String>,
    /// T.30 SUB.
    pub subaddress: Option<String>,
    /// How it was carried.
    pub transport: Option<Transport>,
    /// Pages that are stored.
    pub pages: u32,
    /// Whether the end of the document was confirmed to the sender; none while it comes in.
    pub complete: Option<bool>,
    /// The route that chose the mailboxes; none: the default ones.
    pub route: Option<String>,
    /// Why the call broke.
    pub cause: Option<CauseView>,
    /// The evidence behind the cause.
    pub detail: Option<String>,
    /// When its first page was stored.
    pub started_at: String,
    /// When its call was over.
    pub received_at: Option<String>,
    /// When the last mailbox had it.
    pub delivered_at: Option<String>,
    /// Whether a legal hold keeps it.
    pub legal_hold: bool,
}

/// Received faxes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedList {
    /// The newest that fit.
    pub received: Vec<ReceivedView>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A page of a received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedPageView {
    /// From 1.
    pub page: u32,
    /// SHA-256 of its TIFF as it came.
    pub document: String,
    /// Pixels a line.
    pub width_px: u32,
    /// Lines.
    pub height_px: u32,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// When it was stored; its confirmation left after that.
    pub stored_at: String,
}

/// Everything about one received fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedDetail {
    /// The fax.
    pub fax: ReceivedView,
    /// Its pages in order.
    pub pages: Vec<ReceivedPageView>,
    /// The mails that carry it.
    pub notices: Vec<NoticeView>,
    /// Its story.
    pub events: Vec<EventView>,
}

impl From<&Received> for ReceivedView {
    fn from(fax: &Received) -> Self {
        Self {
            id: fax.id,
            short: fax.id.short().to_string(),
            state: fax.state,
            line: fax.line.clone(),
            node: fax.node.clone(),
            called: fax.called_number.clone(),
            caller: fax.calling_number.clone(),
            remote_id: fax.remote_id.clone(),
            subaddress: fax.subaddress.clone(),
            transport: fax.transport,
            pages: fax.page_count,
            complete: fax.complete,
            route: fax.route.clone(),
            cause: fax.cause.map(CauseView::ended),
            detail: fax.detail.clone(),
            started_at: fax.started_at.to_string(),
            received_at: fax.received_at.map(|at| at.to_string()),
            delivered_at: fax.delivered_at.map(|at| at.to_string()),
            legal_hold: fax.legal_hold,
        }
    }
}

impl From<&ReceivedPageRecord> for ReceivedPageView {
    fn from(page: &ReceivedPageRecord) -> Self {
        Self {
            page: page.page,
            document: page.document.to_string(),
            width_px: page.width_px,
            height_px: page.height_px,
            rate_bps: page.rate_bps,
            ecm: page.ecm,
            stored_at: page.stored_at.to_string(),
        }
    }
}

/// `?did=+4144&from=+41&since=2027-01-31T00:00:00Z&limit=50`
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReceivedQuery {
    did: Option<String>,
    from: Option<String>,
    since: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(console): State<Console>,
    Query(query): Query<ReceivedQuery>,
) -> Result<Json<ReceivedList>, Problem> {
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let since = query.since.as_deref().map(|since| time("since", since)).transpose()?;
    let filter = ReceivedFilter { did: query.did, from: query.from, since, limit: limit + 1 };
    let found = console.services.store.received_faxes(&filter).await?;
    let limit = limit as usize;
    Ok(Json(ReceivedList {
        received: found.iter().take(limit).map(ReceivedView::from).collect(),
        truncated: found.len() > limit,
    }))
}

fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let read = text.parse::<jiff::Timestamp>().map(Timestamp::from);
    read.map_err(|_| Problem::bad_request(format!("{name} is not a time"), "write it as in 2027-01-31T00:00:00Z"))
}

pub(super) async fn record(console: &Console, id: &str) -> Result<ReceivedRecord, Problem> {
    let store = &console.services.store;
    let id = match id.parse::<ReceivedFaxId>() {
        Ok(id) => id,
        Err(_) => {
            let short = id.parse::<ShortId>().map_err(|error| Problem::not_found(error.to_string()))?;
            store.find_received(&short).await?
        }
    };
    Ok(store.received(id).await?)
}

pub(super) async fn show(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Result<Json<ReceivedDetail>, Problem> {
    let record = record(&console, &id).await?;
    detail(&console, &record).await.map(Json)
}

/// Everything about it.
pub(super) async fn detail(console: &Console, record: &ReceivedRecord) -> Result<ReceivedDetail, Problem> {
    let events = console.services.store.events(EventsOf::Received(record.received.id), 0, EVENTS_MAX).await?;
    Ok(ReceivedDetail {
        fax: ReceivedView::from(&record.received),
        pages: record.pages.iter().map(ReceivedPageView::from).collect(),
        notices: record.notices.iter().map(NoticeView::from).collect(),
        events: events.iter().map(EventView::from).collect(),
    })
}

/// `/document.pdf`, as its mail has it.
pub(super) async fn pdf(State(console): State<Console>, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = record(&console, &id).await?;
    let keys: Vec<DocumentKey> = record.pages.iter().map(|page| page.document).collect();
    let bytes = console.services.pages.bound(&keys).await.map_err(pages_problem)?;
    Ok(file(bytes, "application/pdf", &format!("{}.pdf", record.received.id.short())))
}

/// `/pages/2.tiff`, as it came; `/pages/2.pdf`, the same in a PDF; `/pages/2.png`, drawn by the converter.
pub(super) async fn page(
    State(console): State<Console>,
    Path((id, page)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let wrong = || Problem::bad_request(format!("\"{page}\" is not a page"), "as in pages/1.tiff or pages/1.png");
    let (number, ending) = page.split_once('.').ok_or_else(wrong)?;
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let record = record(&console, &id).await?;
    let short = record.received.id.short();
    let found = record.pages.iter().find(|page| page.page == number);
    let found = found.ok_or_else(|| Problem::not_found(format!("{short} has no page {number}")))?;
    let pages = &console.services.pages;
    let (bytes, media) = match ending {
        "tiff" => (pages.tiff(&found.document).await, "image/tiff"),
        "pdf" => (pages.bound(&[found.document]).await, "application/pdf"),
        "png" => (pages.png(&found.document, 1).await, "image/png"),
        _ => return Err(wrong()),
    };
    let bytes = bytes.map_err(pages_problem)?;
    Ok(file(bytes, media, &format!("{short}-{number}.{ending}")))
}

/// A route in the order it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// What it matches and where it leads.
    pub rule: Rule,
    /// Where it is written.
    pub source: Source,
    /// When a person set it.
    pub changed_at: Option<String>,
    /// Who.
    pub changed_by: Option<String>,
}

/// Every route in the order they are asked, and who gets the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteList {
    /// The routes.
    pub routes: Vec<RouteView>,
    /// Who gets what no route takes; empty: no call is answered.
    pub default: Vec<String>,
}

/// A route to set, and who sets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRoute {
    /// The route; one of its name is replaced.
    pub rule: Rule,
    /// Who.
    pub by: String,
}

/// What would become of a fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteExplanation {
    /// The called number as the routes see it.
    pub did: String,
    /// The calling number as the routes see it.
    pub caller: Option<String>,
    /// For which time.
    pub at: String,
    /// Who gets it.
    pub destination: Destination,
    /// Every route in the order they are asked, with why it does not hold.
    pub routes: Vec<Explained>,
}

fn mailboxes(console: &Console) -> Mailboxes {
    Mailboxes::new(&console.services.config, TimeZone::system())
}

pub(super) async fn routes(State(console): State<Console>) -> Result<Json<RouteList>, Problem> {
    let stored = console.services.store.inbound_routes().await?;
    let rules = stored.iter().map(|route| route.rule.clone()).collect();
    let all = mailboxes(&console).routing(rules).into_rules();
    let view = |(rule, source): (Rule, Source)| {
        let set = stored.iter().find(|route| source == Source::Stored && route.rule.name == rule.name);
        RouteView {
            changed_at: set.map(|route| route.changed_at.to_string()),
            changed_by: set.map(|route| route.changed_by.clone()),
            rule,
            source,
        }
    };
    let default = console.services.config.inbound.default.clone();
    Ok(Json(RouteList { routes: all.into_iter().map(view).collect(), default }))
}

pub(super) async fn set_route(
    State(console): State<Console>,
    Json(SetRoute { rule, by }): Json<SetRoute>,
) -> Result<(StatusCode, Json<SetRoute>), Problem> {
    if let Some(fault) = rule.faults().into_iter().next() {
        return Err(Problem::bad_request(format!("{}: {}", fault.field, fault.message), fault.fix));
    }
    let mailboxes = mailboxes(&console);
    if !mailboxes.any() {
        let cause = "inbound.default is not set: somebody must get what no route takes, so no call is answered";
        let fix = "set default = [\"office@example.com\"] in [inbound] first";
        return Err(Problem::wrong_state(format!("route \"{}\" is not set", rule.name), cause, fix));
    }
    refuse_configured(&mailboxes, &rule.name)?;
    console.services.store.set_inbound_route(&rule, &by).await?;
    Ok((StatusCode::OK, Json(SetRoute { rule, by })))
}

fn refuse_configured(mailboxes: &Mailboxes, name: &str) -> Result<(), Problem> {
    if mailboxes.configured().iter().all(|rule| rule.name != name) {
        return Ok(());
    }
    let cause = "the configuration has a route of this name, and the file says what holds";
    Err(Problem::wrong_state(
        format!("route \"{name}\" cannot be changed here"),
        cause,
        "change it in the file, or take another name",
    ))
}

/// `?by=anna`
#[derive(Debug, Deserialize)]
pub(super) struct RemoveQuery {
    by: String,
}

pub(super) async fn remove_route(
    State(console): State<Console>,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    refuse_configured(&mailboxes(&console), &name)?;
    console.services.store.remove_inbound_route(&name, &query.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?did=+41440000001&from=+4131…&tsi=…&sub=12&at=2027-01-04T18:00:00Z`
#[derive(Debug, Deserialize)]
pub(super) struct ExplainQuery {
    did: String,
    from: Option<String>,
    tsi: Option<String>,
    sub: Option<String>,
    at: Option<String>,
}

pub(super) async fn explain(
    State(console): State<Console>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<RouteExplanation>, Problem> {
    let store = &console.services.store;
    let at = match &query.at {
        Some(at) => time("at", at)?,
        None => store.now().await?,
    };
    let stored: Vec<Rule> = store.inbound_routes().await?.into_iter().map(|route| route.rule).collect();
    let fax = Incoming { did: query.did, caller: query.from, tsi: query.tsi, subaddress: query.sub };
    let mailboxes = mailboxes(&console);
    let destination = mailboxes.choose(fax.clone(), at, stored.clone());
    let (fax, routes) = mailboxes.explain(fax, at, stored);
    Ok(Json(RouteExplanation { did: fax.did, caller: fax.caller, at: at.to_string(), destination, routes }))
}

/// A call of the pretend fax machine to the gateway's own line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCall {
    /// The number to call.
    pub did: String,
    /// The calling number.
    pub from: String,
    /// Station ID; the calling number when absent.
    #[serde(default)]
    pub tsi: Option<String>,
    /// T.30 SUB.
    #[serde(default)]
    pub sub: Option<String>,
    /// Pages to send.
    pub pages: u32,
    /// Hang up in the middle of this page.
    #[serde(default)]
    pub hang_up_in_page: Option<u32>,
}

/// How such a call ended, as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCallEnd {
    /// `sent`, `last-page-unconfirmed`, `broken` or `not-answered`.
    pub outcome: String,
    /// Pages that the gateway confirmed.
    pub pages_confirmed: u32,
    /// SIP status of the answer.
    pub sip: Option<u16>,
}

/// What became of a test call at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCallView {
    /// What the sender saw.
    pub call: TestCallEnd,
    /// What the gateway received; none when no page was kept.
    pub received: Option<ReceivedView>,
}

/// Lets the pretend fax machine call: the sandbox's work.
#[async_trait]
pub trait TestCalls: Send + Sync + 'static {
    /// Answers when the call is over.
    async fn call(&self, call: TestCall) -> Result<TestCallEnd, String>;
}

/// How long the gateway may take to tell the end of a call that its sender has ended.
const RECEIVED_WAIT: std::time::Duration = std::time::Duration::from_secs(15);
/// How often it is asked.
const RECEIVED_POLL: std::time::Duration = std::time::Duration::from_millis(50);

pub(super) async fn test_call(
    State(console): State<Console>,
    Json(call): Json<TestCall>,
) -> Result<Json<TestCallView>, Problem> {
    let Some(calls) = console.services.test_calls.clone() else {
        let cause = "this gateway has real lines, or none: nothing is pretended on it";
        return Err(Problem::wrong_state(
            "there is no pretend fax machine",
            cause,
            "use it in a sandbox: faxwell demo",
        ));
    };
    if !(1..=TEST_PAGES_MAX).contains(&call.pages) {
        return Err(Problem::bad_request(format!("{} pages", call.pages), format!("send 1 to {TEST_PAGES_MAX}")));
    }
    let began = console.services.store.now().await?;
    let end = calls.call(call.clone()).await;
    let end = end.map_err(|why| Problem::of(crate::domain::Cause::Internal, &why))?;
    let received = if end.sip == Some(200) { received_since(&console, &call, began).await? } else { None };
    Ok(Json(TestCallView { call: end, received }))
}

/// The fax of this call: the newest from that number to that one. Its end is waited for.
async fn received_since(console: &Console, call: &TestCall, began: Timestamp) -> Result<Option<ReceivedView>, Problem> {
    let of = Incoming { did: call.did.clone(), caller: Some(call.from.clone()), ..Incoming::default() };
    let of = mailboxes(console).normalised(of);
    let filter = ReceivedFilter { did: Some(of.did), from: of.caller, since: Some(began), limit: 1 };
    let deadline = tokio::time::Instant::now() + RECEIVED_WAIT;
    loop {
        let newest = console.services.store.received_faxes(&filter).await?.into_iter().next();
        let over = newest.as_ref().is_none_or(|fax| fax.state != ReceivedState::Receiving);
        if over || tokio::time::Instant::now() >= deadline {
            return Ok(newest.as_ref().map(ReceivedView::from));
        }
        tokio::time::sleep(RECEIVED_POLL).await;
    }
}
