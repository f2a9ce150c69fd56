//! Zip archives: which members there are and what is in them, within limits. No path is ever used, names are for people.
//!
//! What is read: the central directory, members stored or deflated. What is refused by name: passwords, other
//! compressions, archives of several volumes, ZIP64 (nothing that fits into a mail needs it). A member whose length or
//! checksum is not what the directory says is damage. APPNOTE.TXT 6.3.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

use crate::order::{ConvertError, ErrorKind, Result, damaged};

/// Members of one archive; a directory of more is not read.
const MEMBERS_MAX: usize = 4096;
/// Octets that count as small whatever they were compressed to.
const INFLATED_FREE: u64 = 8 << 20;
/// Text and bitmaps become a hundredth; what becomes less is made to fill memory.
const RATIO_MAX: u64 = 200;
/// Octets of all members that are read from one archive.
const INFLATED_MAX: u64 = 256 << 20;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// With its folders, as in `2026/offer.pdf`.
    pub name: String,
    /// Octets as the directory has it.
    pub size_bytes: u64,
    /// A password is needed.
    pub locked: bool,
    compressed_bytes: u32,
    method: u16,
    crc: u32,
    at: usize,
}

/// An archive whose directory has been read.
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    /// Without folders, in the order of the directory.
    pub members: Vec<Member>,
    /// What may still be inflated.
    left: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory at the end of the file.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self> {
        let end = end_record(bytes).ok_or_else(|| damaged("its directory is missing; the end of it may be missing"))?;
        let (count, start) = (usize::from(u16_at(end, 10)?), u32_at(end, 16)? as usize);
        if u16_at(end, 4)? != 0 || count == 0xffff || start == 0xffff_ffff {
            return Err(unsupported("an archive of several volumes or of more than 4 GiB cannot be read"));
        }
        if count > MEMBERS_MAX {
            return Err(unsupported(format!("it has {count} members, and {MEMBERS_MAX} are allowed")));
        }
        let mut members = Vec::with_capacity(count);
        let mut at = start;
        for _ in 0..count {
            let entry = bytes.get(at..).filter(|rest| rest.starts_with(ENTRY)).ok_or_else(broken)?;
            let lengths = [u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?].map(usize::from);
            let name = entry.get(ENTRY_BYTES..ENTRY_BYTES + lengths[0]).ok_or_else(broken)?;
            let flags = u16_at(entry, 8)?;
            let member = Member {
                name: name_of(name, flags),
                size_bytes: u64::from(u32_at(entry, 24)?),
                locked: flags & 1 != 0,
                compressed_bytes: u32_at(entry, 20)?,
                method: u16_at(entry, 10)?,
                crc: u32_at(entry, 16)?,
                at: u32_at(entry, 42)? as usize,
            };
            if !name.ends_with(b"/") && !name.ends_with(b"\\") {
                members.push(member);
            }
            at += ENTRY_BYTES + lengths.iter().sum::<usize>();
        }
        let left = (bytes.len() as u64).saturating_mul(RATIO_MAX).clamp(INFLATED_FREE, INFLATED_MAX);
        Ok(Self { bytes, members, left })
    }

    /// The octets of a member; all that were read of this archive count against its limits.
    pub(crate) fn read(&mut self, member: &Member) -> Result<Vec<u8>> {
        if member.locked {
            return Err(ConvertError::new(ErrorKind::Encrypted, "a password is needed to open it"));
        }
        let local = self.bytes.get(member.at..).filter(|rest| rest.starts_with(LOCAL)).ok_or_else(broken)?;
        let start = LOCAL_BYTES + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
        let data = local.get(start..start.saturating_add(member.compressed_bytes as usize)).ok_or_else(broken)?;
        if member.size_bytes > self.left {
            return Err(too_much());
        }
        let octets = match member.method {
            0 => data.to_vec(),
            8 => {
                let limit = usize::try_from(member.size_bytes).map_err(|_| too_much())?;
                decompress_to_vec_with_limit(data, limit).map_err(|error| match error.status {
                    TINFLStatus::HasMoreOutput => damaged("it holds more than its directory says"),
                    _ => damaged("its compression is damaged"),
                })?
            }
            method => return Err(unsupported(format!("its compression (method {method}) is not known here"))),
        };
        if octets.len() as u64 != member.size_bytes || crc32fast::hash(&octets) != member.crc {
            return Err(damaged("its checksum is wrong"));
        }
        self.left -= octets.len() as u64;
        Ok(octets)
    }

    /// A member by its exact name, when it is there, not locked and no larger than this.
    pub(crate) fn small(&mut self, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let member = self.members.iter().find(|member| member.name == name && member.size_bytes <= bytes_max)?.clone();
        self.read(&member).ok()
    }
}

/// The last one that a comment may follow: 65,535 octets at most, and some programs append rubbish.
fn end_record(bytes: &[u8]) -> Option<&[u8]> {
    let from = bytes.len().saturating_sub(END_BYTES + 0xffff);
    let tail = &bytes[from..];
    let at = tail.windows(END.len()).rposition(|window| window == END)?;
    tail.get(at..).filter(|record| record.len() >= END_BYTES)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes).ok_or_else(broken)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes).ok_or_else(broken)
}

/// APPNOTE.TXT appendix D: code page 437 unless bit 11 says UTF-8. Many write UTF-8 and do not say so.
fn name_of(bytes: &[u8], flags: u16) -> String {
    const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) if flags & 0x800 != 0 => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => {
            let letter = |octet: &u8| match octet {
                0x80.. => HIGH.chars().nth(usize::from(octet - 0x80)).unwrap_or('\u{fffd}'),
                _ => char::from(*octet),
            };
            bytes.iter().map(letter).collect()
        }
    };
    let seen = text.replace('\\', "/").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    seen.trim_start_matches('/').chars().take(250).collect()
}

fn broken() -> ConvertError {
    damaged("its directory is damaged")
}

fn unsupported(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unsupported, detail)
}

fn too_much() -> ConvertError {
    unsupported(format!("its members hold more than {RATIO_MAX} times its size or {} MiB", INFLATED_MAX >> 20))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An archive of members that are deflated, or stored when `level` is none.
    pub(crate) fn archive(members: &[(&str, &[u8])], level: Option<u8>) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let data = level.map_or_else(|| content.to_vec(), |l| miniz_oxide::deflate::compress_to_vec(content, l));
            let mut shared = vec![20, 0, 0, 0, if level.is_some() { 8 } else { 0 }, 0, 0, 0, 0, 0];
            shared.extend(crc32fast::hash(content).to_le_bytes());
            shared.extend((data.len() as u32).to_le_bytes());
            shared.extend((content.len() as u32).to_le_bytes());
            shared.extend([name.len() as u8, 0, 0, 0]);
            directory.extend([ENTRY, &[20, 0], &shared, &[0; 10]].concat());
            directory.extend((file.len() as u32).to_le_bytes());
            directory.extend(name.bytes());
            file.extend([LOCAL, &shared, name.as_bytes(), &data].concat());
        }
        let (start, count) = (file.len() as u32, members.len() as u16);
        let size = directory.len() as u32;
        file.extend(directory);
        file.extend([END, &[0; 4], &count.to_le_bytes(), &count.to_le_bytes()].concat());
        file.extend([&size.to_le_bytes()[..], &start.to_le_bytes(), &[0, 0]].concat());
        file
    }

    #[test]
    fn members_read_back_in_order_without_folders() {
        for level in [None, Some(6)] {
            let bytes = archive(&[("a/", b""), ("a/one.txt", b"one"), ("../two.txt", &[b'2'; 9999])], level);
            let mut archive = Archive::open(&bytes).unwrap();
            let members = archive.members.clone();
            assert_eq!(members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a/one.txt", "../two.txt"]);
            assert_eq!(archive.read(&members[0]).unwrap(), b"one");
            assert_eq!(archive.read(&members[1]).unwrap(), [b'2'; 9999]);
        }
    }

    #[test]
    fn old_names_are_code_page_437() {
        assert_eq!(name_of(b"\x81bersicht\\Gr\x94\xe1e.pdf", 0), "übersicht/Größe.pdf");
        assert_eq!(name_of("Übersicht.pdf".as_bytes(), 0), "Übersicht.pdf");
        assert_eq!(name_of(b"/etc/passwd\n", 0x800), "etc/passwd\u{fffd}");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated_and_a_liar_while_it_is() {
        let bytes = archive(&[("zeros", &vec![0; 40 << 20])], Some(9));
        let mut bomb = Archive::open(&bytes).unwrap();
        let member = bomb.members[0].clone();
        assert_eq!(bomb.read(&member).unwrap_err().kind, ErrorKind::Unsupported);
        let liar = Member { size_bytes: 1000, ..member };
        assert!(bomb.read(&liar).unwrap_err().detail.contains("more than its directory says"));
    }

    #[test]
    fn the_members_of_one_archive_share_one_limit() {
        let piece = vec![0; 5 << 20];
        let bytes = archive(&[("a", &piece), ("b", &piece)], Some(9));
        let mut archive = Archive::open(&bytes).unwrap();
        let members = archive.members.clone();
        assert_eq!(archive.read(&members[0]).unwrap().len(), piece.len());
        assert_eq!(archive.read(&members[1]).unwrap_err().kind, ErrorKind::Unsupported);
    }

    #[test]
    fn passwords_damage_and_rubbish_are_told_apart() {
        let mut bytes = archive(&[("a.txt", b"hello")], None);
        let data = LOCAL_BYTES + "a.txt".len();
        bytes[data] = b'j';
        let mut damaged = Archive::open(&bytes).unwrap();
        let member = damaged.members[0].clone();
        assert_eq!(damaged.read(&member).unwrap_err().kind, ErrorKind::Damaged);
        assert_eq!(damaged.read(&Member { locked: true, ..member.clone() }).unwrap_err().kind, ErrorKind::Encrypted);
        assert_eq!(damaged.read(&Member { method: 14, ..member }).unwrap_err().kind, ErrorKind::Unsupported);
        assert!(Archive::open(b"PK\x03\x04 and no end").is_err());
        // Whatever is cut off or changed: an answer, never a panic.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            for candidate in [&changed[..], &bytes[..at]] {
                if let Ok(mut archive) = Archive::open(candidate) {
                    archive.members.clone().iter().for_each(|member| drop(archive.read(member)));
                }
            }
        }
    }
}
