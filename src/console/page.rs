//! Pages for people: rendered here, no script, light and dark. What is shown depends on the way in.

use std::path::{Path as FilePath, PathBuf};
use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::Environment;
use serde::Serialize;
use serde_json::json;

use super::view::{FaxDetail, FaxView};
use super::{Access, Console, Problem, api, orders};
use crate::config::DeliveryTarget;
use crate::store::FaxFilter;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    let sources = [
        ("layout.html", include_str!("../../templates/console/layout.html")),
        ("overview.html", include_str!("../../templates/console/overview.html")),
        ("fax.html", include_str!("../../templates/console/fax.html")),
        ("files.html", include_str!("../../templates/console/files.html")),
        ("received.html", include_str!("../../templates/console/received.html")),
        ("received-fax.html", include_str!("../../templates/console/received-fax.html")),
        ("nodes.html", include_str!("../../templates/console/nodes.html")),
        ("problem.html", include_str!("../../templates/console/problem.html")),
    ];
    environment.add_filter("when", when);
    for (name, source) in sources {
        environment.add_template(name, source).expect("the templates are compiled in and a test renders them");
    }
    environment
});

/// RFC 3339 for people, in this machine's zone; programs read the attribute.
fn when(text: String) -> minijinja::Value {
    let Ok(instant) = text.parse::<jiff::Timestamp>() else { return text.into() };
    let shown = instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z");
    minijinja::Value::from_safe_string(format!("<time datetime=\"{instant}\">{shown}</time>"))
}

/// A page in its frame: what the navigation offers follows from who may see it.
pub(super) fn page(access: Access, name: &str, mut values: serde_json::Value) -> Response {
    values["content"] = access.shows_content().into();
    values["sandbox"] = (access == Access::Sandbox).into();
    render(name, values)
}

fn render(name: &str, values: serde_json::Value) -> Response {
    let rendered = TEMPLATES.get_template(name).and_then(|template| template.render(template_value(values)));
    match rendered {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(template = name, %error, "a page cannot be rendered");
            Problem::of(crate::domain::Cause::Internal, "this page cannot be rendered").into_response()
        }
    }
}

fn template_value(value: serde_json::Value) -> minijinja::Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => minijinja::Value::from(()),
        Json::Bool(flag) => flag.into(),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), minijinja::Value::from)
        }
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(template_value).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            minijinja::Value::from_pairs(members.into_iter().map(|(name, value)| (name, template_value(value))))
        }
    }
}

pub(super) fn problem(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, render("problem.html", json!({ "problem": problem, "title": problem.title }))).into_response()
}

/// A fax in the list, with the sign that stands beside the word: state is never told by colour alone.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    fax: FaxView,
    sign: &'static str,
    progress: String,
}

impl Row {
    fn new(fax: FaxView) -> Self {
        use crate::domain::FaxState::{Accepted, Cancelled, Failed, Held, Partial, Ready, Sent, Unknown};
        let sign = match fax.state {
            Accepted => "…",
            Ready if fax.in_call => "☎",
            Ready => "◷",
            Held => "‖",
            Sent => "✔",
            Partial => "◐",
            Failed => "✖",
            Unknown => "?",
            Cancelled => "–",
        };
        let progress = fax.pages.map_or_else(|| "–".to_owned(), |pages| format!("{} of {pages}", fax.pages_confirmed));
        Self { fax, sign, progress }
    }
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/console/style.css"))
        .into_response()
}

pub(super) async fn overview(State(console): State<Console>) -> Response {
    let filter = FaxFilter { limit: api::LIST_DEFAULT, ..FaxFilter::default() };
    let list = api::list(&console, filter).await;
    let status = api::status_view(&console).await;
    match (list, status) {
        (Ok(list), Ok(mut status)) => {
            status.faxes.retain(|_, count| *count > 0);
            status.notices.retain(|_, count| *count > 0);
            let rows: Vec<Row> = list.faxes.into_iter().map(Row::new).collect();
            let title = format!("Faxwell on {}", status.node);
            let more = list.more;
            let truncated = list.truncated;
            let values =
                json!({ "title": title, "rows": rows, "status": status, "more": more, "truncated": truncated });
            page(console.access, "overview.html", values)
        }
        (Err(error), _) | (_, Err(error)) => problem(&error),
    }
}

pub(super) async fn fax(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let record = match api::record(&console, &id).await {
        Ok(record) => record,
        Err(error) => return problem(&error),
    };
    match console.services.store.events(crate::store::EventsOf::Fax(record.fax.id), 0, 2000).await {
        Ok(events) => {
            let detail = FaxDetail::new(&record, &events);
            let numbers: Vec<u32> = (1..=detail.fax.pages.unwrap_or(0).min(PAGES_SHOWN)).collect();
            let row = Row::new(detail.fax.clone());
            let title = format!("Fax {}", detail.fax.short);
            let buttons = if console.access == Access::Sandbox { orders::buttons(&detail) } else { Vec::new() };
            let values = json!({ "title": title, "detail": detail, "row": row, "numbers": numbers,
                "buttons": buttons, "token": &*console.form_token });
            page(console.access, "fax.html", values)
        }
        Err(error) => problem(&error.into()),
    }
}

/// Thumbnails on one page.
pub(super) const PAGES_SHOWN: u32 = 100;
/// Files in one list: the newest.
const FILES_SHOWN: usize = 200;
/// Largest file that is handed out.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize)]
struct File {
    name: String,
    /// The name as part of an address.
    link: String,
    size_bytes: u64,
    #[serde(skip)]
    changed: std::time::SystemTime,
}

fn files(folder: &FilePath) -> Vec<File> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let changed = meta.modified().unwrap_or(std::time::UNIX_EPOCH);
        let name = entry.file_name().into_string().ok()?;
        Some(File { link: percent_encoded(&name), name, size_bytes: meta.len(), changed })
    };
    let mut files: Vec<File> = entries.filter_map(file).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.changed));
    files.truncate(FILES_SHOWN);
    files
}

/// RFC 3986 §2.1: everything but the unreserved characters is escaped.
fn percent_encoded(name: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(octet).collect()
}

/// The file of this name, only if the folder itself lists it: a name with slashes or dots leads nowhere.
fn listed_file(folder: &FilePath, name: &str, media: &'static str) -> Response {
    let Some(found) = files(folder).into_iter().find(|file| file.name == name && file.size_bytes <= FILE_BYTES_MAX)
    else {
        return problem(&Problem::not_found("there is no such file"));
    };
    match std::fs::read(folder.join(&found.name)) {
        Ok(bytes) => api::file(bytes, media, &found.name),
        Err(_) => problem(&Problem::not_found("the file is gone")),
    }
}

fn files_page(access: Access, title: &str, explain: &str, folder: &FilePath, base: &str) -> Response {
    let shown = folder.display().to_string();
    let values = json!({ "title": title, "explain": explain, "folder": shown, "files": files(folder), "base": base });
    page(access, "files.html", values)
}

pub(super) async fn tray(State(console): State<Console>) -> Response {
    let folder = console.services.config.tray();
    let explain = "What the pretend fax machine received, newest first: one TIFF for each fax.";
    files_page(console.access, "Tray of the pretend fax machine", explain, &folder, "/tray")
}

pub(super) async fn tray_file(State(console): State<Console>, Path(name): Path<String>) -> Response {
    listed_file(&console.services.config.tray(), &name, "image/tiff")
}

/// `new/` of the Maildir: no mail program of the sandbox moves anything to `cur/`.
fn maildir(console: &Console) -> Option<PathBuf> {
    match &console.services.config.delivery.to {
        DeliveryTarget::Maildir(path) => Some(path.join("new")),
        DeliveryTarget::Smarthosts(_) => None,
    }
}

pub(super) async fn mailbox(State(console): State<Console>) -> Response {
    let Some(folder) = maildir(&console) else {
        return problem(&Problem::not_found("mail goes to a mail server, not into a mailbox here"));
    };
    let explain = "Mails the gateway delivered, newest first; any mail program opens them.";
    files_page(console.access, "Mailbox", explain, &folder, "/mailbox")
}

pub(super) async fn mailbox_file(State(console): State<Console>, Path(name): Path<String>) -> Response {
    match maildir(&console) {
        // As text, so that nothing inside a mail is ever run by the browser.
        Some(folder) => listed_file(&folder, &name, "text/plain; charset=utf-8"),
        None => problem(&Problem::not_found("there is no mailbox here")),
    }
}
