//! What a gateway says of itself over the control socket in its data folder, when it is there.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::evidence::Record;
use super::pages;
use crate::harness::PATIENCE;

/// The body of a 200.
pub(crate) fn get(data: &Path, path: &str) -> Option<Vec<u8>> {
    let mut stream = UnixStream::connect(data.join("control.sock")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0: the answer is whole when the connection ends.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    head.lines().next()?.contains(" 200 ").then(|| answer[end + 4..].to_vec())
}

pub(crate) fn json(data: &Path, path: &str) -> Option<Value> {
    serde_json::from_slice(&get(data, path)?).ok()
}

/// Whether nothing is under way any more: no fax waits, no call is open, no mail is owed.
pub(crate) fn is_quiet(data: &Path) -> bool {
    let Some(status) = json(data, "/api/v1/status") else { return false };
    let count = |of: &str, state: &str| status[of][state].as_u64().unwrap_or(0);
    count("faxes", "accepted") + count("faxes", "ready") + count("notices", "owed") == 0
        && status["calls"].as_u64() == Some(0)
}

/// What it says of a fax, when it knows it.
pub(crate) fn record(data: &Path, fax: &str) -> Option<(String, Record)> {
    let detail = json(data, &format!("/api/v1/faxes/{fax}"))?;
    let document = get(data, &format!("/api/v1/faxes/{fax}/document.tiff"));
    let record = Record {
        state: detail["state"].as_str().unwrap_or_default().to_owned(),
        pages_confirmed: detail["pages_confirmed"].as_u64().unwrap_or(0).try_into().unwrap(),
        bodies: document.map(|tiff| pages::bodies(&tiff)).unwrap_or_default(),
    };
    Some((fax.to_owned(), record))
}
