//! Answers of the API when something is not as asked: RFC 9457 problem details, always with cause and fix.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::domain::{Cause, Class};
use crate::store::StoreError;

/// RFC 9457 problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The catalogue's slug, or `not-found`, `bad-request`, `not-allowed`, `wrong-state`.
    #[serde(rename = "type")]
    pub slug: String,
    /// HTTP status.
    pub status: u16,
    /// What did not work, one line.
    pub title: String,
    /// Why.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(
        status: StatusCode,
        slug: &str,
        title: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            slug: slug.to_owned(),
            status: status.as_u16(),
            title: title.into(),
            cause: cause.into(),
            fix: fix.into(),
        }
    }

    /// Nothing here goes by this name.
    pub fn not_found(what: impl Into<String>) -> Self {
        let fix = "look for it with: faxwell fax list";
        Self::new(StatusCode::NOT_FOUND, "not-found", what, "it does not exist, or its data was deleted", fix)
    }

    /// It was there, and retention has removed it.
    pub fn removed(what: impl Into<String>) -> Self {
        let (cause, fix) = ("store.retain.images says how long they are kept", "look for them in a backup");
        Self::new(StatusCode::GONE, "pages-removed", what, cause, fix)
    }

    /// The request itself is wrong.
    pub fn bad_request(title: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", title, "the request cannot be understood", fix)
    }

    /// It exists, and not yet or no longer so.
    pub fn wrong_state(title: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "wrong-state", title, cause, fix)
    }

    /// Not over this way in.
    pub fn not_allowed(title: impl Into<String>) -> Self {
        let cause = "there is no login yet, so that mails and pages are shown on this machine only";
        Self::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            title,
            cause,
            "use the faxwell command on the gateway's machine",
        )
    }

    /// An entry of the catalogue with its evidence.
    pub fn of(cause: Cause, detail: &str) -> Self {
        let entry = cause.entry();
        let status = match (cause, entry.class) {
            (Cause::SenderNotAllowed | Cause::LoginRequired | Cause::NumberNotAllowed | Cause::RelayDenied, _) => {
                StatusCode::FORBIDDEN
            }
            (Cause::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Class::Retry) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Class::Final | Class::Ambiguous) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let title = if detail.is_empty() { entry.title } else { detail };
        Self::new(status, cause.slug(), title, entry.cause, entry.fix)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { kind, id } => Self::not_found(format!("there is no {kind} {id}")),
            StoreError::WrongState { what, why, fix } => Self::wrong_state(what, why, fix),
            StoreError::Unavailable(_) => Self::of(Cause::StoreUnavailable, &error.to_string()),
            other => {
                tracing::error!(error = %other, "the store refused a read");
                Self { status: 500, ..Self::of(Cause::Internal, &other.to_string()) }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("five plain members always serialise");
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
