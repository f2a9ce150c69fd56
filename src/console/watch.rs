//! Following one fax: NDJSON, a line for each event and each change, until it is final and its report is on its way.
//!
//! The store is read a few times a second; nothing else is kept, so that any node can serve any watch. Events carry a
//! rising `seq`: a client that was cut off asks again with `?after=SEQ` and misses nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::view::{EventView, FaxView, WatchLine};
use super::{Console, Problem, api};
use crate::domain::{FaxId, NoticeState};
use crate::store::FaxRecord;

/// `?after=17&until=final`
#[derive(Debug, Deserialize)]
pub(super) struct WatchQuery {
    /// Only events after this one.
    #[serde(default)]
    after: i64,
    /// When it ends.
    #[serde(default)]
    until: Until,
}

/// When a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Until {
    /// The fax is final.
    Final,
    /// It is final and nothing is owed for it any more.
    #[default]
    Reported,
}

/// How often the store is asked.
const PERIOD: Duration = Duration::from_millis(150);
/// Lines that may wait for a slow reader; then the watch waits too.
const LINES_MAX: usize = 64;
/// A watch ends after a day even when its fax does not; clients ask again.
const PERIODS_MAX: u32 = 86_400 * 1000 / 150;

pub(super) async fn watch(
    State(console): State<Console>,
    Path(id): Path<String>,
    Query(query): Query<WatchQuery>,
) -> Result<Response, Problem> {
    let id = api::find(&console, &id).await?;
    let permit = console.watchers.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-watches",
            "too many watches",
            "others follow faxes at the same time",
            "try again in a moment",
        )
    })?;
    let first = console.services.store.fax(id).await?;
    let (lines, body) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        follow(&console, first, &query, &lines).await;
    });
    let fields = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((fields, Body::new(Lines(body))).into_response())
}

/// Ends when the fax does, when the reader goes away, or when the store cannot be read.
async fn follow(console: &Console, first: FaxRecord, query: &WatchQuery, lines: &mpsc::Sender<Bytes>) {
    let id = first.fax.id;
    let mut record = first;
    let mut after = query.after;
    let mut told: Option<FaxView> = None;
    for _ in 0..PERIODS_MAX {
        // Read before the events: whatever made the record final is among the events read after it.
        let over = is_over(&record, query.until);
        let Some(events) = events_after(console, id, after).await else { return };
        for event in events {
            after = event.seq;
            if !tell(lines, &WatchLine::Event(event)).await {
                return;
            }
        }
        let view = FaxView::from(&record);
        if over || told.as_ref() != Some(&view) {
            if !tell(lines, &WatchLine::Fax(Box::new(view.clone()))).await || over {
                return;
            }
            told = Some(view);
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = lines.closed() => return,
        }
        match console.services.store.fax(id).await {
            Ok(next) => record = next,
            Err(error) => {
                tracing::warn!(fax = %id.short(), %error, "a watch ended: the store cannot be read");
                return;
            }
        }
    }
}

async fn events_after(console: &Console, id: FaxId, after: i64) -> Option<Vec<EventView>> {
    match console.services.store.events(crate::store::EventsOf::Fax(id), after, 2000).await {
        Ok(events) => Some(events.iter().map(EventView::from).collect()),
        Err(error) => {
            tracing::warn!(fax = %id.short(), %error, "a watch ended: the store cannot be read");
            None
        }
    }
}

fn is_over(record: &FaxRecord, until: Until) -> bool {
    let owed = record.notices.iter().any(|notice| notice.state == NoticeState::Owed);
    record.fax.state.is_final() && (until == Until::Final || !owed)
}

async fn tell(lines: &mpsc::Sender<Bytes>, line: &WatchLine) -> bool {
    let mut text = serde_json::to_vec(line).expect("texts and numbers always serialise");
    text.push(b'\n');
    lines.send(text.into()).await.is_ok()
}

/// A body that ends when the sender is gone.
pub(super) struct Lines(pub(super) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
