//! What a terminal is set up with.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Multi-page TIFF-F.
    pub file: PathBuf,
    /// First page to send, from 1.
    pub first_page: u32,
    /// Last page to send, from 1.
    pub last_page: u32,
    /// Codings that may be used beside MH, where the far end knows them.
    pub codings: Codings,
}

/// The two-dimensional codings of T.4 and T.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codings {
    /// MR.
    pub mr: bool,
    /// MMR, with error correction.
    pub mmr: bool,
}

impl Default for Codings {
    fn default() -> Self {
        Self { mr: true, mmr: true }
    }
}

/// What a T.30 terminal is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether this side placed the call (and sends CNG).
    pub calling: bool,
    /// TSI or CSI; at most 20 characters of printable ASCII.
    pub station_id: String,
    /// T.30 SUB to send, at most 20 characters; ignored when the far end does not know SUB.
    pub subaddress: Option<String>,
    /// The document to send, if any.
    pub send: Option<Outgoing>,
    /// The TIFF file that pages are received into, if any; it is overwritten.
    pub receive: Option<PathBuf>,
    /// Whether error correction may be used.
    pub ecm: bool,
    /// 2400 to 14400. T.30 has no capability code for every rate, and a receiver cannot choose within a modem: 12000 and
    /// 14400 mean V.17, 7200 and 9600 V.29, 4800 V.27ter, and less V.27ter at its fallback rate of 2400 (DIS bits 11 to 14
    /// all clear, T.30 table 2). A sender trains down from the top of what both sides allow, and is not held below 4800.
    pub max_rate_bps: u32,
}

/// Why a terminal cannot be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// spandsp has room for 255 octets.
    #[error("the file name {0:?} has {1} octets (at most 255); fix: use a shorter folder name")]
    FileNameTooLong(PathBuf, usize),
    /// C strings end at NUL.
    #[error("{0:?} contains a NUL character; fix: remove it")]
    Nul(String),
    /// Station ID or subaddress.
    #[error("{0:?} is longer than 20 characters or not ASCII; fix: shorten it (T.30 §5.3.6.2.4)")]
    BadIdent(String),
    /// Pages count from 1.
    #[error("pages {first} to {last} are no range; fix: count from 1")]
    BadPages {
        /// First page asked for.
        first: u32,
        /// Last page asked for.
        last: u32,
    },
    /// Out of memory, as far as spandsp says.
    #[error("spandsp could not make a terminal")]
    Init,
}

impl Settings {
    /// The modems for the allowed rate, see [`Settings::max_rate_bps`].
    pub(crate) fn modems(&self) -> c_int {
        match self.max_rate_bps {
            12_000.. => sys::SUPPORT_V17 | sys::SUPPORT_V29 | sys::SUPPORT_V27TER,
            7_200.. => sys::SUPPORT_V29 | sys::SUPPORT_V27TER,
            4_800.. => sys::SUPPORT_V27TER,
            _ => 0,
        }
    }

    /// MH always; the others as the document asks for, or all of them for what comes in.
    pub(crate) fn compressions(&self) -> c_int {
        let codings = self.send.as_ref().map_or_else(Codings::default, |send| send.codings);
        let one = |used: bool, coding: c_int| if used { coding } else { 0 };
        sys::COMPRESSION_T4_1D | one(codings.mr, sys::COMPRESSION_T4_2D) | one(codings.mmr, sys::COMPRESSION_T6)
    }

    pub(crate) fn checked(&self) -> Result<Checked, SettingsError> {
        let send = self
            .send
            .as_ref()
            .map(|send| {
                if send.first_page == 0 || send.last_page < send.first_page || send.last_page > 0xffff {
                    return Err(SettingsError::BadPages { first: send.first_page, last: send.last_page });
                }
                // spandsp counts from 0.
                Ok((file_name(&send.file)?, (send.first_page - 1) as c_int, (send.last_page - 1) as c_int))
            })
            .transpose()?;
        Ok(Checked {
            station_id: ident(&self.station_id)?,
            subaddress: self.subaddress.as_deref().map(ident).transpose()?,
            send,
            receive: self.receive.as_deref().map(file_name).transpose()?,
        })
    }
}

/// The parts of [`Settings`] that C reads, known to fit.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) station_id: CString,
    pub(crate) subaddress: Option<CString>,
    pub(crate) send: Option<(CString, c_int, c_int)>,
    pub(crate) receive: Option<CString>,
}

fn ident(text: &str) -> Result<CString, SettingsError> {
    if text.len() > sys::IDENT_LENGTH_MAX || !text.is_ascii() {
        return Err(SettingsError::BadIdent(text.to_owned()));
    }
    CString::new(text).map_err(|_| SettingsError::Nul(text.to_owned()))
}

fn file_name(path: &Path) -> Result<CString, SettingsError> {
    let octets = path.as_os_str().as_bytes();
    if octets.len() >= sys::FILE_NAME_SIZE {
        return Err(SettingsError::FileNameTooLong(path.to_owned(), octets.len()));
    }
    CString::new(octets).map_err(|_| SettingsError::Nul(path.display().to_string()))
}
