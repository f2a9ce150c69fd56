//! `store.keys`: the file of keys that wrap the keys of documents.
//!
//! One key a line, `ID BASE64` (32 octets); empty lines and lines that begin with `#` are skipped. The last one seals, all of
//! them open. A name that the file did not have when it was read is looked for once more, at most every few seconds: so a
//! line that another node seals with already is known here as soon as it stands in this node's file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::envelope::{DataKey, KEY_BYTES, NotSealedSo, WrappingKey};
use super::{DocumentsError, Result};
use crate::store::{DocumentKey, SealedKey};

/// Keys in one file: rotated monthly it lasts for five years.
const KEYS_MAX: usize = 64;
/// Octets of the file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Characters of a key's name.
const ID_CHARS_MAX: usize = 32;
/// From one look for an unknown name to the next.
const LOOK_AGAIN_WAIT: Duration = Duration::from_secs(5);

/// The keys of one file.
struct Keys {
    /// Never empty.
    all: Vec<(String, WrappingKey)>,
}

/// The keys of `store.keys`, read anew when that is asked for.
pub struct KeyRing {
    file: PathBuf,
    keys: RwLock<Arc<Keys>>,
    looked: Mutex<Option<Instant>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.file.display())
    }
}

impl Keys {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut all: Vec<(String, WrappingKey)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = line.split_once(char::is_whitespace).ok_or(format!("line {number} is not `ID BASE64`"))?;
            let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if id.len() > ID_CHARS_MAX || !id.chars().all(sound) {
                return Err(format!("line {number}: a key's name has at most {ID_CHARS_MAX} letters, digits and -_."));
            }
            let key = data_encoding::BASE64.decode(key.trim().as_bytes()).ok();
            let key = key.and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok());
            let key = key.ok_or(format!("line {number}: the key \"{id}\" is not the base64 of {KEY_BYTES} octets"))?;
            if all.iter().any(|(other, _)| other == id) {
                return Err(format!("line {number}: there are two keys \"{id}\""));
            }
            all.push((id.to_owned(), WrappingKey(key)));
        }
        match all.len() {
            0 => Err("there is no key in it".to_owned()),
            1..=KEYS_MAX => Ok(Self { all }),
            many => Err(format!("there are {many} keys in it, and {KEYS_MAX} is the most")),
        }
    }

    fn read(file: &Path) -> Result<Self> {
        let unusable = |why: String| {
            let fix = "write one with: faxwell storage keys new >> FILE, and let the gateway's user alone read it";
            DocumentsError::Keys(format!("{}: {why}; fix: {fix}", file.display()))
        };
        let size_bytes = std::fs::metadata(file).map_err(|error| unusable(error.to_string()))?.len();
        if size_bytes > FILE_BYTES_MAX {
            return Err(unusable(format!("it has {size_bytes} octets, and {FILE_BYTES_MAX} is the most")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        Self::parse(&text).map_err(unusable)
    }

    fn find(&self, id: &str) -> Option<&WrappingKey> {
        self.all.iter().find(|(other, _)| other == id).map(|(_, key)| key)
    }
}

impl KeyRing {
    /// Reads a file of keys.
    pub fn read(file: &Path) -> Result<Self> {
        let keys = RwLock::new(Arc::new(Keys::read(file)?));
        Ok(Self { file: file.to_owned(), keys, looked: Mutex::default() })
    }

    /// A line with a new key, whose name is this day's.
    pub fn new_line(today: &str) -> String {
        let mut key = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut key).expect("the system's random numbers are there once a process has started");
        let mut part = [0; 2];
        aws_lc_rs::rand::fill(&mut part).expect("the system's random numbers are there once a process has started");
        format!("{today}-{} {}", data_encoding::HEXLOWER.encode(&part), data_encoding::BASE64.encode(&key))
    }

    /// Reads the file once more. What was read before stays when it cannot be.
    pub fn read_again(&self) -> Result<()> {
        let keys = Arc::new(Keys::read(&self.file)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Name of the key that seals: the last one.
    pub fn newest(&self) -> String {
        self.keys().all.last().map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// Whether it has the key of this name.
    pub fn has(&self, id: &str) -> bool {
        self.keys().find(id).is_some()
    }

    /// Where the keys were read.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Wraps a document's key with the newest one.
    pub(super) fn wrap(&self, of: &DocumentKey, key: &DataKey) -> SealedKey {
        let keys = self.keys();
        let (id, newest) = keys.all.last().expect("a file without a key was refused");
        SealedKey { by: id.clone(), wrapped: newest.wrap(id, of, key) }
    }

    /// Opens a document's wrapped key.
    pub(super) fn unwrap(&self, of: &DocumentKey, sealed: &SealedKey) -> Result<DataKey> {
        if !self.has(&sealed.by) {
            self.look_again();
        }
        let keys = self.keys();
        let Some(key) = keys.find(&sealed.by) else {
            return Err(DocumentsError::KeyMissing { key: *of, by: sealed.by.clone() });
        };
        key.unwrap(&sealed.by, of, &sealed.wrapped).map_err(|NotSealedSo| DocumentsError::Damaged {
            key: *of,
            why: format!("its key does not open with \"{}\" of {}", sealed.by, self.file.display()),
        })
    }

    fn look_again(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN_WAIT) {
            return;
        }
        *looked = Some(Instant::now());
        if let Err(error) = self.read_again() {
            tracing::warn!(%error, "the keys of documents cannot be read once more");
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keys_says_which_line_is_wrong() {
        let good = KeyRing::new_line("2027-01-15");
        let id = good.split_once(' ').unwrap().0;
        let many: String = (0..=KEYS_MAX).map(|n| KeyRing::new_line(&format!("k{n}")) + "\n").collect();
        let cases = [
            (String::new(), "no key"),
            ("# nothing\n\n".to_owned(), "no key"),
            ("just-a-word".to_owned(), "line 1 is not"),
            (format!("{good}\n{good}\n"), "line 2: there are two keys"),
            (format!("# first\n{id} AAAA\n"), "line 2: the key"),
            (format!("bad/name {}", good.split_once(' ').unwrap().1), "line 1: a key's name"),
            (many, "65 keys"),
        ];
        for (text, expected) in cases {
            let Err(why) = Keys::parse(&text) else { panic!("{text}") };
            assert!(why.contains(expected), "{why}");
        }
        assert_eq!(Keys::parse(&format!("# comment\n\n{good}\r\n")).unwrap().all[0].0, id);
    }

    #[test]
    fn the_last_line_seals_all_lines_open_and_a_new_line_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let (first, second) = (KeyRing::new_line("2026-01-01"), KeyRing::new_line("2027-01-01"));
        std::fs::write(&file, format!("{first}\n")).unwrap();
        let (here, there) = (KeyRing::read(&file).unwrap(), KeyRing::read(&file).unwrap());
        let of = DocumentKey([5; 32]);
        let old = here.wrap(&of, &DataKey::draw());
        std::fs::write(&file, format!("{first}\n{second}\n")).unwrap();
        assert!(here.newest().starts_with("2026"));
        here.read_again().unwrap();
        let new = here.wrap(&of, &DataKey::draw());
        assert!(new.by.starts_with("2027") && here.unwrap(&of, &old).is_ok());
        assert!(there.unwrap(&of, &new).is_ok(), "the other node reads its file when it meets the new name");
        std::fs::write(&file, format!("{second}\n")).unwrap();
        here.read_again().unwrap();
        assert!(matches!(here.unwrap(&of, &old), Err(DocumentsError::KeyMissing { by, .. }) if by == old.by));
    }
}
