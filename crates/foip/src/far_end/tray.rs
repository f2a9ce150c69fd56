//! The tray: one TIFF for each received fax, as `NUMBER-ID.tif` or `NUMBER-ID.partial.tif`.
//!
//! While a fax arrives, its pages go one by one into a hidden work file, each record with length and checksum, fsynced
//! before the page is confirmed. At its end the work file becomes one TIFF: written aside, fsynced, linked under a name
//! that is still free (never over another), and only then the work file goes. A work file found at the start is what a
//! killed machine had confirmed; it is published then. A fax without a page leaves nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fax_image::tiff::{Profile, TiffPage, TiffReader, TiffWriter};
use tracing::{info, warn};

/// Ends the name of a work file.
const WORK: &str = ".work";
/// Ends the name of the folder in which the media side keeps what it receives.
const FOLDER: &str = ".pages";
/// Characters of a number in a name.
const NUMBER_MAX: usize = 32;
/// Characters of an id in a name.
const ID_MAX: usize = 64;
/// Files with the same number and id.
const SAME_NAME_MAX: u32 = 10_000;
/// Octets of one page: far above what T.4 can bring in an hour.
const PAGE_MAX: usize = 64 * 1024 * 1024;
/// A record that is no page: the fax is complete.
const COMPLETE: u32 = u32::MAX;

/// Number and id of a fax, made safe for file names and JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaxName {
    number: String,
    id: String,
}

impl FaxName {
    /// The number as dialled; the id as it came if it is harmless, else a random one.
    pub(super) fn new(number: &str, id: Option<&str>, random: u64) -> Self {
        let digits = |c: &char| c.is_ascii_digit() || matches!(c, '+' | '*' | '#');
        let mut number: String = number.chars().filter(digits).take(NUMBER_MAX).collect();
        if number.is_empty() {
            number.push_str("unknown");
        }
        let harmless = |id: &&str| {
            !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let id = id.filter(harmless).map_or_else(|| format!("{random:016x}"), str::to_owned);
        Self { number, id }
    }

    pub(super) fn number(&self) -> &str {
        &self.number
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// The folder of received faxes.
pub(super) struct Tray {
    folder: PathBuf,
}

impl Tray {
    /// Makes the folder and publishes what a killed machine left.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let tray = Self { folder: folder.to_owned() };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') && name.ends_with(FOLDER) {
                fs::remove_dir_all(&path)?;
            } else if let Some(stem) = name.strip_prefix('.').and_then(|name| name.strip_suffix(WORK)) {
                // `.NUMBER-ID~3.work`
                let stem = stem.split('~').next().unwrap_or(stem);
                tray.recover(&path, stem)?;
            }
        }
        Ok(tray)
    }

    fn recover(&self, work: &Path, stem: &str) -> io::Result<()> {
        let (pages, complete) = records(work)?;
        if !pages.is_empty() {
            match assemble(&pages) {
                Ok(document) => {
                    let file = publish(&self.folder, stem, complete, &document, Same::IsThere)?;
                    info!(file = %file.display(), pages = pages.len(), "a fax of a killed machine is in the tray");
                }
                Err(error) => {
                    warn!(%error, work = %work.display(), "a work file holds no readable pages; it stays");
                    return Ok(());
                }
            }
        }
        fs::remove_file(work)
    }

    /// Makes the work file of a new fax.
    pub(super) fn begin(&self, name: FaxName) -> io::Result<Work> {
        let stem = format!("{}-{}", name.number, name.id);
        for n in 1..=SAME_NAME_MAX {
            let path = self.folder.join(format!(".{stem}~{n}{WORK}"));
            match OpenOptions::new().create_new(true).append(true).open(&path) {
                Ok(file) => {
                    let pages = self.folder.join(format!(".{stem}~{n}{FOLDER}"));
                    fs::create_dir_all(&pages)?;
                    sync_folder(&self.folder)?;
                    return Ok(Work { tray: self.folder.clone(), stem, path, pages, file, count: 0, closed: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many faxes of one number and id"))
    }
}

/// A fax that is being received.
pub(super) struct Work {
    tray: PathBuf,
    stem: String,
    path: PathBuf,
    pages: PathBuf,
    file: File,
    count: u32,
    closed: bool,
}

impl Work {
    /// Where the media side may keep what it receives; gone when the fax is closed.
    pub(super) fn folder(&self) -> &Path {
        &self.pages
    }

    /// Makes a page durable.
    pub(super) fn append(&mut self, page: &[u8]) -> io::Result<()> {
        let length = u32::try_from(page.len()).ok().filter(|_| page.len() <= PAGE_MAX);
        let length = length.ok_or_else(|| io::Error::other("a page too large for the tray"))?;
        if self.closed {
            return Err(io::Error::other("a page after the last one"));
        }
        let mut record = Vec::with_capacity(page.len() + 12);
        record.extend(length.to_be_bytes());
        record.extend(fnv64(page).to_be_bytes());
        record.extend(page);
        self.file.write_all(&record)?;
        self.file.sync_data()?;
        self.count += 1;
        Ok(())
    }

    /// Turns the pages into one TIFF in the tray. Closing twice does nothing more.
    pub(super) fn close(&mut self, complete: bool) -> io::Result<Option<PathBuf>> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(None);
        }
        let mut published = None;
        if self.count > 0 {
            if complete {
                // Known to a successor even if this machine is killed before the TIFF is in its place.
                self.file.write_all(&COMPLETE.to_be_bytes())?;
                self.file.sync_data()?;
            }
            let (pages, _) = records(&self.path)?;
            let document = assemble(&pages)?;
            published = Some(publish(&self.tray, &self.stem, complete, &document, Same::IsAnother)?);
        }
        fs::remove_file(&self.path)?;
        Ok(published)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The media side is done with it; leftovers are removed at the next start.
        let _ = fs::remove_dir_all(&self.pages);
    }
}

/// The whole pages of a work file, and whether the fax is complete. What follows a torn record is not looked at.
fn records(path: &Path) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let mut file = File::open(path)?;
    let mut pages = Vec::new();
    loop {
        let mut length = [0; 4];
        if !filled(&mut file, &mut length)? {
            return Ok((pages, false));
        }
        let length = u32::from_be_bytes(length);
        if length == COMPLETE {
            return Ok((pages, true));
        }
        let mut sum = [0; 8];
        let mut page = vec![0; usize::try_from(length).map_or(0, |length| length.min(PAGE_MAX))];
        if !filled(&mut file, &mut sum)? || !filled(&mut file, &mut page)? || fnv64(&page).to_be_bytes() != sum {
            return Ok((pages, false));
        }
        pages.push(page);
    }
}

fn filled(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Single-page TIFFs as one document. The same pages give the same octets.
fn assemble(pages: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut writer = TiffWriter::new();
    for page in pages {
        let reader = TiffReader::open(page).map_err(io::Error::other)?;
        let resolution = reader.page(0).map_err(io::Error::other)?.resolution;
        let bitmap = reader.decode(0).map_err(io::Error::other)?;
        writer.push(&TiffPage::new(&bitmap, resolution, Profile::F)).map_err(io::Error::other)?;
    }
    writer.finish().map_err(io::Error::other)
}

/// What a file with the very same octets means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// A killed machine had published this document before it could remove the work file.
    IsThere,
    /// The fax came twice, and the tray is to show it.
    IsAnother,
}

/// Puts a document under the first free name.
fn publish(tray: &Path, stem: &str, complete: bool, document: &[u8], same: Same) -> io::Result<PathBuf> {
    let suffix = if complete { "tif" } else { "partial.tif" };
    let aside = tray.join(format!(".{stem}-{:016x}.new", fnv64(document)));
    let mut file = File::create(&aside)?;
    file.write_all(document)?;
    file.sync_all()?;
    for n in 1..=SAME_NAME_MAX {
        let name = if n == 1 { format!("{stem}.{suffix}") } else { format!("{stem}-{n}.{suffix}") };
        let path = tray.join(name);
        // A link, and not a rename: it fails when the name is taken.
        match fs::hard_link(&aside, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if same == Same::IsAnother || fs::read(&path)? != document {
                    continue;
                }
            }
            Err(error) => return Err(error),
        }
        fs::remove_file(&aside)?;
        sync_folder(tray)?;
        return Ok(path);
    }
    Err(io::Error::other("too many faxes of one number and id"))
}

/// A new name is durable only when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// FNV-1a, 64 bits: tells torn records and different pages apart; it is no defence against forgery.
pub(super) fn fnv64(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
