//! The witness outside: one JSON line for each confirmed page, durable before the confirmation leaves.
//!
//! A test that kills processes compares this file with what the gateway says it sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::tray::{FaxName, fnv64};

/// An open ledger; clones write to the same file.
#[derive(Clone)]
pub(super) struct Ledger {
    file: Arc<Mutex<File>>,
}

/// One confirmed page.
pub(super) struct Line<'a> {
    pub(super) name: &'a FaxName,
    pub(super) tsi: &'a str,
    /// In its call, from 1.
    pub(super) page: u32,
    /// Single-page TIFF.
    pub(super) image: &'a [u8],
    pub(super) at: SystemTime,
}

impl Ledger {
    /// Opens or makes the file; what is in it stays.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// Appends one line and makes it durable.
    pub(super) fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let at_ms = line.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let text = format!(
            "{{\"number\":\"{}\",\"fax_id\":\"{}\",\"tsi\":\"{}\",\"page\":{},\"octets\":{},\"fnv64\":\"{:016x}\",\
             \"confirmed_at_ms\":{at_ms}}}\n",
            line.name.number(),
            line.name.id(),
            plain(line.tsi),
            line.page,
            line.image.len(),
            fnv64(line.image),
        );
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write a line: lines of calls at once do not mix.
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

/// Without what JSON would have to escape.
fn plain(text: &str) -> String {
    text.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect()
}
