//! The witness outside: JSON lines for the begin and the end of each call, and one for each confirmed page.
//!
//! Received calls: `begin`, `page` (durable before the confirmation leaves), `end`. Calls that this machine makes:
//! `send-begin`, `send-page` (when the confirmation has come), `send-end`. A test that kills processes compares this file
//! with what the gateway says it sent and received.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use fax_image::Bitmap;
use fax_image::tiff::TiffReader;
use sha2::{Digest as _, Sha256};

use super::tray::{FaxName, fnv64};

/// An open ledger; clones write to the same file.
#[derive(Clone)]
pub(super) struct Ledger {
    file: Arc<Mutex<File>>,
}

/// A call that is received or made.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) name: FaxName,
    pub(super) caller: String,
    pub(super) now: fn() -> SystemTime,
}

/// One page that is being confirmed.
pub(super) struct Line<'a> {
    pub(super) tsi: &'a str,
    /// In its call, from 1.
    pub(super) page: u32,
    /// Single-page TIFF.
    pub(super) image: &'a [u8],
}

impl Ledger {
    /// Opens or makes the file; what is in it stays.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// A call is answered.
    pub(super) fn begin(&self, call: &Call) -> io::Result<()> {
        self.append(call, "begin", "")
    }

    /// A call is over.
    pub(super) fn end(&self, call: &Call) -> io::Result<()> {
        self.append(call, "end", "")
    }

    /// A page is about to be confirmed.
    pub(super) fn page(&self, call: &Call, line: &Line<'_>) -> io::Result<()> {
        let raster = TiffReader::open(line.image).and_then(|reader| reader.decode(0)).map_err(io::Error::other)?;
        let page = format!(
            ",\"tsi\":\"{}\",\"page\":{},\"octets\":{},\"fnv64\":\"{:016x}\",\"body_fnv64\":\"{:016x}\",\"sha256\":\"{}\"",
            plain(line.tsi),
            line.page,
            line.image.len(),
            fnv64(line.image),
            body(&raster),
            raster_sha256(&raster),
        );
        self.append(call, "page", &page)
    }

    /// A call is about to be made.
    pub(super) fn send_begin(&self, call: &Call, pages: u32) -> io::Result<()> {
        self.append(call, "send-begin", &format!(",\"pages\":{pages}"))
    }

    /// The other end has confirmed a page.
    pub(super) fn send_page(&self, call: &Call, page: u32, sha256: &str) -> io::Result<()> {
        self.append(call, "send-page", &format!(",\"page\":{page},\"sha256\":\"{sha256}\""))
    }

    /// A call is over, with so many pages confirmed.
    pub(super) fn send_end(&self, call: &Call, pages: u32, outcome: &str) -> io::Result<()> {
        self.append(call, "send-end", &format!(",\"pages\":{pages},\"outcome\":\"{outcome}\""))
    }

    /// Appends one line and makes it durable.
    fn append(&self, call: &Call, event: &str, more: &str) -> io::Result<()> {
        let at_ms = (call.now)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let text = format!(
            "{{\"event\":\"{event}\",\"at_ms\":{at_ms},\"call\":\"{:016x}\",\"number\":\"{}\",\"caller\":\"{}\",\
             \"fax_id\":\"{}\"{more}}}\n",
            call.id,
            call.name.number(),
            plain(&call.caller),
            call.name.id(),
        );
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write a line: lines of calls at once do not mix.
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

/// SHA-256 of a page's lines, in lower-case hexadecimal: from the top, most significant bit left, 1 is black, without any
/// header. It is what the ledgers on both sides of a call name a page by.
#[must_use]
pub fn raster_sha256(page: &Bitmap) -> String {
    let mut hash = Sha256::new();
    page.rows().for_each(|row| hash.update(row));
    hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Rows at the top that tell one call from another: the header line takes 5 mm, 77 rows at the finest density.
const HEADER_ROWS: usize = 80;

/// Hash of what is on a page below its header line.
fn body(page: &Bitmap) -> u64 {
    let below: Vec<u8> = page.rows().skip(HEADER_ROWS).flatten().copied().collect();
    fnv64(&below)
}

/// Without what JSON would have to escape.
fn plain(text: &str) -> String {
    text.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect()
}
