//! OLE compound files (DOC, XLS, PPT and what locks DOCX): what lies in their root, which tells the kinds apart. MS-CFB.
//!
//! An embedded table lies in a storage below the root, so the root alone counts. Nothing else of the file is read,
//! but the first sector of each stream: whether a password locks it is said there.

/// MS-CFB §2.2: the signature.
pub(crate) const SIGNATURE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const ENTRY_BYTES: usize = 128;
const MINI_SECTOR_BYTES: usize = 64;
/// Sectors of a directory that are followed: 8192 entries of small sectors.
const DIRECTORY_SECTORS_MAX: usize = 2048;
/// Sectors of the table of tables: enough for 100 MB.
const TABLES_MAX: u32 = 64;
/// §2.1: sector numbers above this are marks.
const REGULAR_MAX: u32 = 0xffff_fffa;

/// §2.6.1: type of an entry.
const STREAM: u8 = 2;
/// §2.2: shorter streams lie in another one.
const MINI_STREAM_BELOW: u32 = 4096;

struct File<'a> {
    bytes: &'a [u8],
    shift: u32,
}

/// A stream or storage in the root.
pub(crate) struct Entry<'a> {
    pub name: String,
    /// Its first sector, 64 octets at least unless it is shorter; empty for storages.
    pub head: &'a [u8],
}

/// What is in the root; none when the file cannot be read that far.
pub(crate) fn root(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let shift = u32::from(u16::from_le_bytes(bytes.get(30..32)?.try_into().ok()?));
    let file = File {
        bytes: bytes.starts_with(SIGNATURE).then_some(bytes)?,
        shift: matches!(shift, 9 | 12).then_some(shift)?,
    };
    let mut directory = Vec::new();
    let mut sector = file.u32_at(48)?;
    for _ in 0..DIRECTORY_SECTORS_MAX {
        if sector > REGULAR_MAX {
            break;
        }
        directory.extend(file.sector(sector)?.chunks_exact(ENTRY_BYTES));
        sector = file.next(sector)?;
    }
    let link = |entry: &[u8], at: usize| {
        let id = u32::from_le_bytes(entry[at..at + 4].try_into().ok()?);
        usize::try_from(id).ok().filter(|_| id <= REGULAR_MAX)
    };
    // §2.6.4: the children of a storage are a tree of siblings.
    let mini_stream = u32::from_le_bytes(directory.first()?[116..120].try_into().ok()?);
    let mut waiting = vec![link(directory.first()?, 76)];
    let mut found = Vec::new();
    while let Some(next) = waiting.pop() {
        let Some(entry) = next.and_then(|id| directory.get(id)) else { continue };
        let length = usize::from(u16::from_le_bytes([entry[64], entry[65]])).clamp(2, 64);
        let units = entry[..length - 2].chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let word = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        let head = match (entry[66], word(120)? >= MINI_STREAM_BELOW) {
            (STREAM, true) => file.sector(word(116)?),
            (STREAM, false) => file.mini_sector(mini_stream, word(116)?),
            _ => None,
        };
        let head = head.unwrap_or_default();
        found.push(Entry { name: char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect(), head });
        // A loop among the siblings of a damaged file ends here.
        if found.len() > directory.len() {
            return None;
        }
        waiting.extend([link(entry, 68), link(entry, 72)]);
    }
    Some(found)
}

impl<'a> File<'a> {
    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn sector(&self, number: u32) -> Option<&'a [u8]> {
        let start = (number as usize).checked_add(1)?.checked_shl(self.shift)?;
        self.bytes.get(start..start.checked_add(1 << self.shift)?)
    }

    /// §2.6.3: a short stream's sectors of 64 octets lie in the stream of the root.
    fn mini_sector(&self, mini_stream: u32, number: u32) -> Option<&'a [u8]> {
        let at = (number as usize).checked_mul(MINI_SECTOR_BYTES)?;
        let mut sector = mini_stream;
        for _ in 0..(at >> self.shift).min(DIRECTORY_SECTORS_MAX) {
            sector = self.next(sector)?;
        }
        let within = at & ((1 << self.shift) - 1);
        self.sector(sector)?.get(within..within + MINI_SECTOR_BYTES)
    }

    /// The sector that follows in a chain: §2.3, found by way of §2.5.
    fn next(&self, number: u32) -> Option<u32> {
        let per_sector = 1_u32 << (self.shift - 2);
        let (table, index) = (number / per_sector, number % per_sector);
        let table = self.table(table, per_sector)?;
        let at = self.sector(table)?.get(index as usize * 4..)?;
        Some(u32::from_le_bytes(at.get(..4)?.try_into().ok()?))
    }

    fn table(&self, index: u32, per_sector: u32) -> Option<u32> {
        const IN_HEADER: u32 = 109;
        if index < IN_HEADER {
            return self.u32_at(76 + 4 * index as usize);
        }
        let (hops, index) = ((index - IN_HEADER) / (per_sector - 1), (index - IN_HEADER) % (per_sector - 1));
        let mut sector = self.u32_at(68)?;
        for _ in 0..hops.min(TABLES_MAX) {
            sector = self.word(sector, per_sector - 1)?;
        }
        self.word(sector, index)
    }

    fn word(&self, sector: u32, index: u32) -> Option<u32> {
        Some(u32::from_le_bytes(self.sector(sector)?.get(index as usize * 4..)?.get(..4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &[u8] = include_bytes!("../tests/data/letter.doc");

    #[test]
    fn a_word_file_has_a_word_stream_in_its_root() {
        let root = root(LETTER).unwrap();
        let word = root.iter().find(|entry| entry.name == "WordDocument").unwrap();
        assert_eq!(word.head[..2], [0xec, 0xa5], "MS-DOC §2.5.2");
        assert!(root.iter().all(|entry| entry.name != "Root Entry"));
    }

    #[test]
    fn whatever_is_cut_off_or_changed_there_is_an_answer() {
        for at in (0..LETTER.len()).step_by(7) {
            let _ = root(&LETTER[..at]);
            let mut changed = LETTER.to_vec();
            changed[at] ^= 0xff;
            let _ = root(&changed);
        }
    }
}
