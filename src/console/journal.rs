//! `GET /api/v1/events`: the journal of everything that happened, by fax, received fax or message, or whole.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::view::{EventList, EventView};
use super::{Console, Problem, orders};
use crate::domain::Timestamp;
use crate::store::EventsOf;

/// Most events in one answer.
const LIMIT_MAX: u32 = 1000;

/// `?of=F-8KQ2XW4DZP&after=17&since=2024-01-31T00:00:00Z&last=50&limit=100`
#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    /// A fax, received fax or message; everybody's when it is left out.
    of: Option<String>,
    /// Only events after this one.
    #[serde(default)]
    after: i64,
    /// Only events since then.
    since: Option<String>,
    /// Of everybody's, about so many of the newest.
    last: Option<u32>,
    /// At most so many.
    limit: Option<u32>,
}

pub(super) async fn events(
    State(console): State<Console>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<EventList>, Problem> {
    let of = match &query.of {
        Some(id) => orders::find(&console, id).await?,
        None => EventsOf::All,
    };
    let store = &console.services.store;
    let mut after = query.after;
    if let Some(since) = &query.since {
        let since = since.parse::<jiff::Timestamp>();
        let since =
            since.map_err(|_| Problem::bad_request("since is not a time", "write it as in 2024-01-31T00:00:00Z"))?;
        after = after.max(store.last_event_before(since.into()).await?);
    }
    if let Some(last) = query.last {
        let newest = store.last_event_before(Timestamp(i64::MAX)).await?;
        after = after.max(newest - i64::from(last.min(LIMIT_MAX)));
    }
    let limit = query.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let events = store.events(of, after, limit).await?;
    let more = events.len() == limit as usize;
    let after = events.last().map_or(after, |event| event.seq);
    Ok(Json(EventList { events: events.iter().map(EventView::from).collect(), after, more }))
}
