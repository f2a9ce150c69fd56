//! Pages for people about faxes that came in: the list, and one with its pages as pictures.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::page::{PAGES_SHOWN, page, problem};
use super::received::{ReceivedDetail, ReceivedView};
use super::{Console, Problem, api, received};
use crate::domain::ReceivedState;
use crate::store::ReceivedFilter;

/// A received fax with the words and the sign of its state, which is never told by colour alone.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    fax: ReceivedView,
    sign: &'static str,
    /// The class of its colour.
    class: &'static str,
    words: String,
    sender: String,
}

impl Row {
    fn new(fax: ReceivedView) -> Self {
        let incomplete = fax.complete == Some(false);
        let (sign, class) = match fax.state {
            ReceivedState::Receiving => ("☎", "ready"),
            ReceivedState::Received => ("◷", "ready"),
            ReceivedState::Delivered if incomplete => ("◐", "partial"),
            ReceivedState::Delivered => ("✔", "sent"),
        };
        let words = format!("{}{}", fax.state, if incomplete { ", incomplete" } else { "" });
        let sender = fax.caller.clone().or_else(|| fax.remote_id.clone()).unwrap_or_else(|| "unknown".to_owned());
        Self { fax, sign, class, words, sender }
    }
}

/// `/received`
pub(super) async fn list(State(console): State<Console>) -> Response {
    let filter = ReceivedFilter { limit: api::LIST_DEFAULT + 1, ..ReceivedFilter::default() };
    let found = match console.services.store.received_faxes(&filter).await {
        Ok(found) => found,
        Err(error) => return problem(&error.into()),
    };
    let limit = api::LIST_DEFAULT as usize;
    let rows: Vec<Row> = found.iter().take(limit).map(|fax| Row::new(fax.into())).collect();
    let answers = !console.services.config.inbound.default.is_empty();
    let truncated = found.len() > limit;
    let values = json!({ "title": "Received faxes", "rows": rows, "truncated": truncated, "answers": answers });
    page(console.access, "received.html", values)
}

/// `/received/R-8KQ2XW4DZP`
pub(super) async fn one(State(console): State<Console>, Path(id): Path<String>) -> Response {
    match detail(&console, &id).await {
        Ok(detail) => {
            let title = format!("Received fax {}", detail.fax.short);
            let shown: Vec<u32> = detail.pages.iter().map(|page| page.page).take(PAGES_SHOWN as usize).collect();
            let row = Row::new(detail.fax.clone());
            let values = json!({ "title": title, "detail": detail, "row": row, "shown": shown });
            page(console.access, "received-fax.html", values)
        }
        Err(error) => problem(&error),
    }
}

async fn detail(console: &Console, id: &str) -> Result<ReceivedDetail, Problem> {
    let record = received::record(console, id).await?;
    received::detail(console, &record).await
}
