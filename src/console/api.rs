//! `/api/v1` and health.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::view::{AcceptedView, FaxDetail, FaxList, FaxView, StatusView};
use super::{Access, Console, PagesError, Problem, Submission};
use crate::config::Role;
use crate::domain::{FaxId, FaxState, ShortId, Timestamp};
use crate::store::{FaxFilter, FaxRecord};

/// Most faxes in one answer.
pub(super) const LIST_MAX: u32 = 999;
/// Faxes in one answer when nothing else is asked for.
pub(super) const LIST_DEFAULT: u32 = 50;

/// `?state=failed,unknown&to=+41&from=anna&since=2024-01-31T00:00:00Z&limit=50`
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    state: Option<String>,
    to: Option<String>,
    from: Option<String>,
    since: Option<String>,
    limit: Option<u32>,
}

impl ListQuery {
    fn filter(&self) -> Result<FaxFilter, Problem> {
        let words = self.state.as_deref().unwrap_or("").split(',').filter(|word| !word.is_empty());
        let states = words.map(str::parse::<FaxState>).collect::<Result<Vec<_>, _>>();
        let states = states
            .map_err(|error| Problem::bad_request(format!("state: {error}"), "use the states' names with commas"))?;
        let since = self.since.as_deref().map(str::parse::<jiff::Timestamp>).transpose();
        let since =
            since.map_err(|_| Problem::bad_request("since is not a time", "write it as in 2024-01-31T00:00:00Z"))?;
        let limit = self.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
        Ok(FaxFilter { states, to: self.to.clone(), from: self.from.clone(), since: since.map(Timestamp::from), limit })
    }
}

pub(super) async fn faxes(
    State(console): State<Console>,
    Query(query): Query<ListQuery>,
) -> Result<Json<FaxList>, Problem> {
    Ok(Json(list(&console, query.filter()?).await?))
}

/// The newest faxes that fit the filter, and whether there are more.
pub(super) async fn list(console: &Console, filter: FaxFilter) -> Result<FaxList, Problem> {
    let store = &console.services.store;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let one_more = FaxFilter { limit: filter.limit + 1, ..filter.clone() };
    let found = store.faxes(&one_more).await?;
    let truncated = found.len() > limit;
    let counted = filter.to.is_none() && filter.from.is_none() && filter.since.is_none();
    let more = if truncated && counted {
        let counts = store.counts().await?;
        let asked = |state: &str| filter.states.is_empty() || filter.states.iter().any(|s| s.as_str() == state);
        let all: u64 = counts.faxes.iter().filter(|(state, _)| asked(state)).map(|(_, count)| count).sum();
        Some(all.saturating_sub(u64::from(filter.limit)))
    } else {
        None
    };
    let view = |summary| {
        let view = FaxView::from(summary);
        if console.access.shows_content() { view } else { view.masked() }
    };
    Ok(FaxList { faxes: found.iter().take(limit).map(view).collect(), truncated, more })
}

/// The id in an address: the short one that people see, or the UUID.
pub(super) async fn find(console: &Console, id: &str) -> Result<FaxId, Problem> {
    if let Ok(id) = id.parse::<FaxId>() {
        return Ok(id);
    }
    let short = id.parse::<ShortId>().map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(console.services.store.find_fax(&short).await?)
}

pub(super) async fn record(console: &Console, id: &str) -> Result<FaxRecord, Problem> {
    let id = find(console, id).await?;
    Ok(console.services.store.fax(id).await?)
}

pub(super) async fn fax(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<FaxDetail>, Problem> {
    let record = record(&console, &id).await?;
    let events = console.services.store.events(crate::store::EventsOf::Fax(record.fax.id), 0, 2000).await?;
    Ok(Json(FaxDetail::new(&record, &events)))
}

pub(super) async fn tiff(State(console): State<Console>, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = record(&console, &id).await?;
    let key = document(&record)?;
    let bytes = console.services.pages.tiff(&key).await.map_err(pages_problem)?;
    Ok(file(bytes, "image/tiff", &format!("{}.tiff", record.fax.id.short())))
}

pub(super) async fn pdf(State(console): State<Console>, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = record(&console, &id).await?;
    let key = document(&record)?;
    let bytes = console.services.pages.pdf(&key).await.map_err(pages_problem)?;
    Ok(file(bytes, "application/pdf", &format!("{}.pdf", record.fax.id.short())))
}

/// `/pages/2.png`
pub(super) async fn png(
    State(console): State<Console>,
    Path((id, page)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let number = page.strip_suffix(".png").and_then(|number| number.parse::<u32>().ok()).filter(|number| *number > 0);
    let number = number
        .ok_or_else(|| Problem::bad_request(format!("\"{page}\" is not a page"), "count from 1, as in pages/1.png"))?;
    let record = record(&console, &id).await?;
    let key = document(&record)?;
    let bytes = console.services.pages.png(&key, number).await.map_err(pages_problem)?;
    Ok(file(bytes, "image/png", &format!("{}-{number}.png", record.fax.id.short())))
}

fn document(record: &FaxRecord) -> Result<crate::store::DocumentKey, Problem> {
    record.fax.document.ok_or_else(|| {
        let title = format!("{} has no pages", record.fax.id.short());
        let cause = record.fax.cause.map_or("its pages are not made yet", |cause| cause.entry().cause);
        let fix = record.fax.cause.map_or("wait a moment, then ask again", |cause| cause.entry().fix);
        Problem::wrong_state(title, cause, fix)
    })
}

pub(super) fn pages_problem(error: PagesError) -> Problem {
    match error {
        PagesError::NotFound(what) => Problem::not_found(what),
        PagesError::Removed(what) => Problem::removed(what),
        PagesError::Failed(why) => {
            tracing::error!(error = why, "stored pages cannot be read");
            Problem::of(crate::domain::Cause::Internal, &why)
        }
    }
}

pub(super) fn file(bytes: Vec<u8>, media: &'static str, name: &str) -> Response {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._+".contains(*c)).collect();
    let disposition = format!("inline; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, media.to_owned()), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response()
}

/// `?to=+41441234567,+41449876543&from=anna@example.com`; the body is the mail.
#[derive(Debug, Deserialize)]
pub(super) struct SubmitQuery {
    to: String,
    from: Option<String>,
}

/// Header that makes a repeated submission the same submission.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) async fn submit(
    State(console): State<Console>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<AcceptedView>), Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or("");
    if !media.starts_with("message/rfc822") {
        return Err(Problem::bad_request("the body must be a mail", "send it as Content-Type: message/rfc822"));
    }
    let recipients: Vec<String> =
        query.to.split(',').map(str::trim).filter(|to| !to.is_empty()).map(str::to_owned).collect();
    let most = console.services.config.smtp.max_recipients;
    if recipients.is_empty() || recipients.len() > most {
        return Err(Problem::bad_request(
            format!("{} recipients", recipients.len()),
            format!("name 1 to {most} numbers in `to`"),
        ));
    }
    let idempotency_key = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()).map(str::to_owned);
    let submission = Submission {
        reverse_path: query.from.filter(|from| !from.is_empty()),
        recipients,
        mail: body.to_vec(),
        client: "control socket".to_owned(),
        idempotency_key,
    };
    let accepted = console.services.submit.submit(submission).await;
    let accepted = accepted.map_err(|refusal| Problem::of(refusal.cause, &refusal.detail))?;
    let faxes = accepted.faxes.iter().map(|fax| fax.short().to_string()).collect();
    let view = AcceptedView { message: accepted.message.short().to_string(), faxes, text: accepted.text };
    Ok((StatusCode::ACCEPTED, Json(view)))
}

pub(super) async fn status(State(console): State<Console>) -> Result<Json<StatusView>, Problem> {
    Ok(Json(status_view(&console).await?))
}

pub(super) async fn status_view(console: &Console) -> Result<StatusView, Problem> {
    let config = &console.services.config;
    let store = &console.services.store;
    let now = store.now().await?;
    let mut view = StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: config.node.clone(),
        domain: config.domain.clone(),
        sandbox: !config.sip.is_empty() && config.sip.values().all(|line| line.sandbox),
        smtp: config.smtp.listen.iter().map(ToString::to_string).collect(),
        web: config.web.listen.map(|address| format!("http://{address}/")),
        now: now.to_string(),
        faxes: Default::default(),
        calls: 0,
        parked_facts: 0,
        notices: Default::default(),
        oldest_waiting: None,
        causes_24h: Default::default(),
        storage: None,
        nodes: Vec::new(),
        lines: Vec::new(),
    };
    let (nodes, lines) = store.nodes_and_lines().await?;
    view.count(store.counts().await?, &nodes, &lines, now);
    if console.access.shows_content() {
        view.storage = Some(console.services.storage.state().await);
    }
    if console.access == Access::Public {
        // How lines are reached is nobody's business but the administrator's.
        view.lines.iter_mut().for_each(|line| line.detail.clear());
    }
    Ok(view)
}

/// The process turns; nothing else is asked.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Counts alone, no name and no number of anybody.
pub(super) async fn metrics(State(console): State<Console>) -> Response {
    let text = console.services.figures.text().await;
    ([(header::CONTENT_TYPE, crate::telemetry::metrics::MEDIA)], text).into_response()
}

/// `?role=smtp`
#[derive(Debug, Deserialize)]
pub(super) struct ReadyQuery {
    role: Option<String>,
}

/// Answered from what the process knows: it waits for nothing.
pub(super) async fn readyz(State(console): State<Console>, Query(query): Query<ReadyQuery>) -> Response {
    let role = match query.role.as_deref().map(str::parse::<Role>).transpose() {
        Ok(role) => role,
        Err(error) => {
            return Problem::bad_request(format!("role: {error}"), "name a role, as in /readyz?role=smtp")
                .into_response();
        }
    };
    let ready = console.services.readiness.ready(role);
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(why) => {
            let fix = "wait until it is ready, or send the work to another node";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "not ready", why, fix).into_response()
        }
    }
}

pub(super) async fn no_such_page(State(console): State<Console>) -> Problem {
    let fix = "begin at /, or see docs/reference/api.md";
    let cause = match console.access {
        Access::Control => "no such address",
        Access::Sandbox => "no such address, or it is on the control socket only",
        Access::Health => "this port answers /livez and /readyz alone",
        Access::Public => "no such address, or it is not shown without a login, which is not built yet",
    };
    Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here", cause, fix)
}
