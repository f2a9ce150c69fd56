//! What is kept: retention now, a copy for a backup, legal holds.
//!
//! A backup holds its answer open. As long as the command reads it, nothing that the copy names is removed; when either
//! end goes away the copy is deleted and retention goes on.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::view::{CopyLine, CopyView, PruneView, SealingView, StorageView};
use super::watch::Lines;
use super::{Console, Problem, api};
use crate::domain::{Cause, ShortId};
use crate::store::{DocumentKey, EventsOf};

/// Keeps the store tidy: maintenance's work.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Goes on with a run of retention for some seconds, or begins one.
    async fn prune(&self) -> Result<PruneView, String>;
    /// What it would remove now.
    async fn prunable(&self) -> Result<PruneView, String>;
    /// How much is kept.
    async fn state(&self) -> StorageView;
    /// Wraps the keys of some documents with the newest key, those behind `after`.
    async fn rewrap(&self, after: Option<DocumentKey>) -> Result<SealingView, String>;
    /// Seals some documents that lie in the clear, those behind `after`.
    async fn seal(&self, after: Option<DocumentKey>) -> Result<SealingView, String>;
    /// A copy of the store; what it names is kept until the answer is dropped.
    async fn copy(&self) -> Result<StoreCopy, String>;
}

/// A copy of the store for a backup.
pub struct StoreCopy {
    /// Where everything lies.
    pub view: CopyView,
    /// Whoever holds it keeps the documents.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// How often a backup is told that it is still kept for.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Heartbeats that a reader may leave unread: a copying command reads none for minutes. When these are full it waits.
const LINES_MAX: usize = 16;

/// `?dry_run=true`
#[derive(Debug, Default, Deserialize)]
pub(super) struct PruneQuery {
    #[serde(default)]
    dry_run: bool,
}

fn failed(why: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Cause::StoreUnavailable.slug(),
        "the store cannot do this now",
        why,
        "let the store and the documents answer, make room on the disk if it is full, then try again",
    )
}

pub(super) async fn prune(
    State(console): State<Console>,
    Query(query): Query<PruneQuery>,
) -> Result<Json<PruneView>, Problem> {
    let storage = &console.services.storage;
    let view = if query.dry_run { storage.prunable().await } else { storage.prune().await };
    view.map(Json).map_err(failed)
}

/// `?after=HASH`
#[derive(Debug, Default, Deserialize)]
pub(super) struct AfterQuery {
    after: Option<DocumentKey>,
}

pub(super) async fn rotate_keys(
    State(console): State<Console>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<SealingView>, Problem> {
    console.services.storage.rewrap(query.after).await.map(Json).map_err(failed)
}

pub(super) async fn seal(
    State(console): State<Console>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<SealingView>, Problem> {
    console.services.storage.seal(query.after).await.map(Json).map_err(failed)
}

/// `?held=false`
#[derive(Debug, Deserialize)]
pub(super) struct KeepQuery {
    held: bool,
}

pub(super) async fn keep(
    State(console): State<Console>,
    Path(id): Path<String>,
    Query(query): Query<KeepQuery>,
) -> Result<StatusCode, Problem> {
    let store = &console.services.store;
    let of = match id.parse::<ShortId>() {
        Ok(short) if short.as_str().starts_with('R') => EventsOf::Received(store.find_received(&short).await?),
        _ => EventsOf::Fax(api::find(&console, &id).await?),
    };
    store.set_legal_hold(of, query.held, "the administrator").await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn backup(State(console): State<Console>) -> Response {
    let (lines, body) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move {
        let copy = match console.services.storage.copy().await {
            Ok(copy) => copy,
            Err(why) => {
                let _ = tell(&lines, &CopyLine::Failed(why)).await;
                return;
            }
        };
        let StoreCopy { view, keep } = copy;
        let mut there = tell(&lines, &CopyLine::Copy(view)).await;
        while there {
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT) => there = tell(&lines, &CopyLine::Kept).await,
                () = lines.closed() => there = false,
            }
        }
        drop(keep);
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(body))).into_response()
}

async fn tell(lines: &mpsc::Sender<Bytes>, line: &CopyLine) -> bool {
    let mut text = serde_json::to_vec(line).expect("texts and numbers always serialise");
    text.push(b'\n');
    tokio::select! {
        sent = lines.send(text.into()) => sent.is_ok(),
        () = lines.closed() => false,
    }
}
