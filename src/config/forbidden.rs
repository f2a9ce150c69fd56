//! Numbers that are never faxed, whatever `dial.allow` says: emergency services, premium rates, and who asked not to be.
//!
//! Asked at RCPT and again before the call, about the international number and about every string that leads to a dial
//! tone: what is sent as tones after the answer can make a switchboard dial on. The tables of number kinds are those of the
//! `phonenumber` crate; emergency numbers it has none of (ETSI TS 103 479 and national plans: the table here).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use phonenumber::metadata::DATABASE;

use crate::domain::FaxNumber;

/// Emergency numbers as they are dialled in a country, beside [`EMERGENCY_ANYWHERE`].
const EMERGENCY: &[(&str, &[&str])] = &[
    ("AT", &["122", "133", "144", "128", "140", "141"]),
    ("AU", &["000", "106"]),
    ("BE", &["100", "101"]),
    ("CA", &["911"]),
    ("CH", &["117", "118", "144", "1414", "143", "145", "147"]),
    ("DE", &["110", "19222"]),
    ("ES", &["061", "062", "080", "091", "092"]),
    ("FR", &["15", "17", "18", "114", "115", "119", "196"]),
    ("GB", &["999", "18000"]),
    ("IE", &["999"]),
    ("IT", &["113", "115", "118", "117", "1515", "1530"]),
    ("JP", &["110", "118", "119"]),
    ("LI", &["117", "118", "144"]),
    ("NL", &["0800112"]),
    ("NZ", &["111"]),
    ("PL", &["997", "998", "999"]),
    ("US", &["911", "933", "988"]),
];
/// Mobile networks everywhere put these through; a fax gateway must never be the one that dials them.
const EMERGENCY_ANYWHERE: &[&str] = &["112", "911", "999", "000", "110", "118", "119"];
/// What switchboards and countries want before a number: an outside line, a trunk prefix, an international prefix.
const BEFORE: &[&str] = &["9", "0", "8", "00", "011", "90", "99"];
/// Codes without a country whose calls cost what nobody expects (ITU-T E.164 list): satellites, networks, and +979, which is
/// premium rate by definition.
const COSTLY_CODES: &[&str] = &["870", "878", "881", "882", "883", "888", "979"];
/// 64-bit machines keep a million numbers in about this many octets.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a number is never faxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// It reaches an emergency service.
    Emergency,
    /// Whoever is called earns by it.
    Premium,
}

/// Whether digits as they are dialled locally reach an emergency service. Separators must be gone.
pub fn is_emergency(digits: &str, country: Option<&str>) -> bool {
    let here = EMERGENCY.iter().filter(|(code, _)| country.is_some_and(|c| c.eq_ignore_ascii_case(code)));
    EMERGENCY_ANYWHERE.contains(&digits) || here.flat_map(|(_, numbers)| numbers.iter()).any(|n| *n == digits)
}

/// Whether tones that are sent after the answer would make a switchboard call an emergency service: one of the strings
/// between their pauses, or all of them together, with or without a prefix for an outside line.
pub fn tones_reach_emergency(tones: &str, country: Option<&str>) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let pieces = tones.split(|c: char| !c.is_ascii_digit()).map(str::to_owned);
    let mut strings: Vec<String> = pieces.chain([digits(tones)]).filter(|piece| !piece.is_empty()).collect();
    // "9p112" dials an outside line, waits, and dials on.
    let joined: Vec<String> = strings.windows(2).map(|pair| pair.concat()).collect();
    strings.extend(joined);
    strings.iter().any(|string| {
        let prefixed = BEFORE.iter().filter_map(|prefix| string.strip_prefix(prefix));
        [string.as_str()].into_iter().chain(prefixed).any(|rest| is_emergency(rest, country))
    })
}

/// Whether an exchange on the way could connect at an emergency number, whatever follows: the national part begins with one
/// and is no number of its country.
pub fn reaches_emergency(number: &FaxNumber) -> bool {
    let Some((code, national, metas)) = split(number) else { return false };
    // The North American plan has no area code 911; some switches connect there.
    if code == "1" && national.starts_with("911") {
        return true;
    }
    if metas.iter().any(|meta| is_subscriber(meta, national)) {
        return false;
    }
    metas.iter().any(|meta| {
        let here = EMERGENCY.iter().filter(|(id, _)| *id == meta.id()).flat_map(|(_, numbers)| numbers.iter());
        here.chain(EMERGENCY_ANYWHERE).any(|emergency| national.starts_with(emergency))
    })
}

/// Whether somebody may have this number. The general description is wider than all kinds together in some countries.
fn is_subscriber(meta: &phonenumber::Metadata, national: &str) -> bool {
    subscriber_kinds(meta).any(|kind| kind.is_match(national))
}

/// The kinds of numbers that a fax machine may have; short codes, pagers and voice mail are none.
pub(crate) fn subscriber_kinds(
    meta: &phonenumber::Metadata,
) -> impl Iterator<Item = &phonenumber::metadata::Descriptor> {
    let kinds = meta.descriptors();
    let kinds = [
        kinds.fixed_line(),
        kinds.mobile(),
        kinds.toll_free(),
        kinds.premium_rate(),
        kinds.shared_cost(),
        kinds.personal_number(),
        kinds.voip(),
        kinds.uan(),
    ];
    kinds.into_iter().flatten()
}

/// Whether whoever is called earns by it, or the call costs what nobody expects.
pub fn is_premium(number: &FaxNumber) -> bool {
    if COSTLY_CODES.iter().any(|code| number.digits().starts_with(code)) {
        return true;
    }
    let Some((_, national, metas)) = split(number) else { return false };
    metas.iter().any(|meta| meta.descriptors().premium_rate().is_some_and(|premium| premium.is_match(national)))
}

type Metas = Vec<&'static phonenumber::Metadata>;

/// Country code, national number and the countries that share the code. Codes are prefix-free (E.164 §6).
fn split(number: &FaxNumber) -> Option<(&str, &str, Metas)> {
    let digits = number.digits();
    (1..=3).map(|len| digits.split_at(len)).find_map(|(code, national)| {
        let metas = code.parse::<u16>().ok().and_then(|code| DATABASE.by_code(&code))?;
        (!metas.is_empty()).then_some((code, national, metas))
    })
}

/// Who asked not to be faxed: those of the configuration, and a file that is read again when it changes.
#[derive(Clone, Default)]
pub struct DoNotFax {
    listed: Arc<HashSet<String>>,
    file: Option<Arc<ListFile>>,
}

/// One number a line, in international form; what follows a comma, a semicolon or `#` is a remark.
struct ListFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    stamp: Option<(SystemTime, u64)>,
    numbers: Arc<HashSet<String>>,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line holds no number.
    #[error("line {line} holds no international number: \"{text}\"")]
    Line {
        /// Counted from 1.
        line: usize,
        /// At most 40 characters of it.
        text: String,
    },
}

impl DoNotFax {
    /// With the numbers of the configuration and a file of more.
    ///
    /// # Errors
    /// When the file cannot be read or has a line without a number.
    pub fn open(listed: impl IntoIterator<Item = String>, file: Option<PathBuf>) -> Result<Self, ListError> {
        let file = match file {
            Some(path) => {
                let read = Mutex::new(Read { stamp: Some(stamp(&path)?), numbers: Arc::new(read(&path)?) });
                Some(Arc::new(ListFile { path, read }))
            }
            None => None,
        };
        Ok(Self { listed: Arc::new(listed.into_iter().collect()), file })
    }

    /// Whether this number is listed. A file that cannot be read again is as it was read last: nobody is faxed because a
    /// file is being written.
    pub fn contains(&self, number: &FaxNumber) -> bool {
        self.listed.contains(number.as_str()) || self.file.as_ref().is_some_and(|file| file.contains(number))
    }
}

impl std::fmt::Debug for DoNotFax {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Numbers of people are no reading for a log.
        let file = self.file.as_ref().map(|file| &file.path);
        f.debug_struct("DoNotFax").field("listed", &self.listed.len()).field("file", &file).finish()
    }
}

impl ListFile {
    fn contains(&self, number: &FaxNumber) -> bool {
        // Whoever panicked in between left a whole list.
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match stamp(&self.path) {
            Ok(stamp) if known.stamp == Some(stamp) => {}
            Ok(stamp) => match read(&self.path) {
                Ok(numbers) => *known = Read { stamp: Some(stamp), numbers: Arc::new(numbers) },
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "the do-not-fax list cannot be read again; the one before holds");
                    // Told once for each change.
                    known.stamp = Some(stamp);
                }
            },
            Err(_) => {}
        }
        known.numbers.contains(number.as_str())
    }
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let found = fs::metadata(path)?;
    Ok((found.modified()?, found.len()))
}

fn read(path: &Path) -> Result<HashSet<String>, ListError> {
    if fs::metadata(path)?.len() > LIST_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the list is larger than 64 MiB").into());
    }
    let mut numbers = HashSet::new();
    for (index, line) in fs::read_to_string(path)?.lines().enumerate() {
        let text = line.split([',', ';', '#']).next().unwrap_or_default().trim().trim_matches('"');
        if text.is_empty() {
            continue;
        }
        let plain: String = text.chars().filter(|c| !" -.()".contains(*c)).collect();
        let number: Result<FaxNumber, _> = plain.parse();
        let fault = |_| ListError::Line { line: index + 1, text: text.chars().take(40).collect() };
        numbers.insert(number.map_err(fault)?.into());
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> FaxNumber {
        text.parse().unwrap()
    }

    #[test]
    fn n2_emergency_numbers_are_known_by_country() {
        for (digits, country, expected) in [
            ("112", None, true),
            ("911", Some("US"), true),
            ("144", Some("CH"), true),
            ("144", Some("US"), false),
            ("0800112", Some("nl"), true),
            ("0441234567", Some("CH"), false),
        ] {
            assert_eq!(is_emergency(digits, country), expected, "{digits} {country:?}");
        }
    }

    #[test]
    fn n1_no_exchange_on_the_way_connects_at_an_emergency_number() {
        for (text, expected) in [
            ("+19115551212", true),
            ("+19005551212", false),
            ("+41117000000", true),
            ("+41144123456", true),
            ("+49110123456", true),
            ("+441129999999", true),
            ("+33117123456", false),
            ("+41441234567", false),
            ("+12125551212", false),
            ("+99910200", false),
        ] {
            assert_eq!(reaches_emergency(&number(text)), expected, "{text}");
        }
    }

    #[test]
    fn n1_premium_rates_are_known_in_every_country() {
        for (text, expected) in [
            ("+19005551212", true),
            ("+18765551212", false),
            ("+41900123456", true),
            ("+41901123456", true),
            ("+4990012345678", true),
            ("+449061234567", true),
            ("+33899123456", true),
            ("+979123456789", true),
            ("+88213123456", true),
            ("+41441234567", false),
            ("+493012345678", false),
            ("+18005551212", false),
        ] {
            assert_eq!(is_premium(&number(text)), expected, "{text}");
        }
    }

    #[test]
    fn n1_tones_that_spell_an_emergency_number_are_known_behind_prefixes_and_pauses() {
        for (tones, expected) in [
            ("112", true),
            ("9p112", true),
            ("9w1p12", true),
            ("0112", true),
            ("00p112", true),
            ("p1w7005393w373", false),
            ("117", true),
            ("#911*", true),
            ("1120", false),
            ("7005", false),
        ] {
            assert_eq!(tones_reach_emergency(tones, Some("CH")), expected, "{tones}");
        }
    }

    #[test]
    fn l4_a_list_is_read_again_when_it_changes_and_a_broken_one_leaves_the_last_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("do-not-fax.csv");
        fs::write(&path, "# asked by letter\n+41 44 123 45 67, Anna Meier\n\n\"+4930901820\";2026-01-01\n").unwrap();
        let list = DoNotFax::open(["+41440000009".to_owned()], Some(path.clone())).unwrap();
        for (text, expected) in
            [("+41441234567", true), ("+4930901820", true), ("+41440000009", true), ("+41441234568", false)]
        {
            assert_eq!(list.contains(&number(text)), expected, "{text}");
        }
        fs::write(&path, "+41441234568\n").unwrap();
        assert!(list.contains(&number("+41441234568")) && !list.contains(&number("+41441234567")));
        fs::write(&path, "not a number at all\n").unwrap();
        assert!(list.contains(&number("+41441234568")), "nobody is faxed because a file is broken");
        let broken = DoNotFax::open([], Some(path)).unwrap_err();
        assert_eq!(broken.to_string(), "line 1 holds no international number: \"not a number at all\"");
    }
}
