//! Zip archives: a page with the table of members, or the members themselves as parts of the mail.
//!
//! Members keep the archive's order; their names say where they come from (`offer.zip/2026/plan.pdf`). Archives in archives
//! are opened too. A member that cannot be read is an error that names it: nothing is left out, but what systems add by
//! themselves (`__MACOSX/`, `.DS_Store`, `Thumbs.db`, `desktop.ini`), which is no document and is remarked.

use super::{Job, text};
use crate::kind::{Kind, kind_of};
use crate::order::{ConvertError, ErrorKind, Part, Result};
use crate::zip::{Archive, Member};

/// Archives in archives.
const DEPTH_MAX: usize = 3;
/// Files of all archives of one attachment.
const FILES_MAX: usize = 200;
/// Octets of all of them.
const BYTES_MAX: usize = 256 << 20;

/// One page or more with names and sizes.
pub(super) fn listed(bytes: &[u8], job: &mut Job<'_>) -> Result<()> {
    let archive = Archive::open(bytes)?;
    let mut table = format!("Archive of {} files, not printed:\n\n{:>14}  Name\n", archive.members.len(), "Octets");
    for member in &archive.members {
        let lock = if member.locked { "  (locked by a password)" } else { "" };
        table.push_str(&format!("{:>14}  {}{lock}\n", member.size_bytes, member.name));
    }
    text::pages(&table, job)
}

/// The files in an archive, and remarks.
pub(crate) fn unpack(part: &Part) -> Result<(Vec<Part>, Vec<String>)> {
    let mut unpacking = Unpacking::default();
    unpacking.open(&part.name, &part.bytes, 1).map_err(|error| error.of(&part.name))?;
    if unpacking.files.is_empty() {
        return Err(ConvertError::new(ErrorKind::Empty, "there is no file in it").of(&part.name));
    }
    Ok((unpacking.files, unpacking.notes))
}

#[derive(Default)]
struct Unpacking {
    files: Vec<Part>,
    bytes: usize,
    notes: Vec<String>,
}

impl Unpacking {
    fn open(&mut self, name: &str, bytes: &[u8], depth: usize) -> Result<()> {
        let mut archive = Archive::open(bytes)?;
        for member in archive.members.clone() {
            let called = format!("{name}/{}", member.name);
            if is_chaff(&member) {
                self.notes.push(format!("{called}: no document, left out"));
                continue;
            }
            self.file(&mut archive, &member, &called, depth).map_err(|error| error.of(&called))?;
        }
        Ok(())
    }

    fn file(&mut self, archive: &mut Archive<'_>, member: &Member, called: &str, depth: usize) -> Result<()> {
        let too_much = |what: String| ConvertError::new(ErrorKind::Unsupported, what);
        let bytes = archive.read(member)?;
        self.bytes += bytes.len();
        if self.bytes > BYTES_MAX {
            return Err(too_much(format!("the archive's files hold more than {} MiB", BYTES_MAX >> 20)));
        }
        if kind_of("", &member.name, &bytes) == Some(Kind::Zip) {
            if depth == DEPTH_MAX {
                return Err(too_much(format!("archives lie in archives more than {DEPTH_MAX} deep")));
            }
            return self.open(called, &bytes, depth + 1);
        }
        if self.files.len() == FILES_MAX {
            return Err(too_much(format!("the archive holds more than {FILES_MAX} files")));
        }
        self.files.push(Part { name: called.to_owned(), bytes, ..Part::default() });
        Ok(())
    }
}

fn is_chaff(member: &Member) -> bool {
    let file = member.name.rsplit('/').next().unwrap_or_default();
    member.name.starts_with("__MACOSX/") || matches!(file, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::tests::archive;

    fn zip(bytes: Vec<u8>) -> Part {
        Part { name: "a.zip".to_owned(), bytes, ..Part::default() }
    }

    #[test]
    fn members_come_in_order_with_those_of_inner_archives_in_their_place() {
        let inner = archive(&[("two.txt", b"2"), ("deep/three.txt", b"3")], Some(6));
        let outer = [("one.txt", &b"1"[..]), ("inner.zip", &inner), ("__MACOSX/._one.txt", b"x"), ("four.txt", b"4")];
        let (files, notes) = unpack(&zip(archive(&outer, Some(6)))).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            ["a.zip/one.txt", "a.zip/inner.zip/two.txt", "a.zip/inner.zip/deep/three.txt", "a.zip/four.txt"]
        );
        assert_eq!(files.iter().map(|file| file.bytes[0]).collect::<Vec<_>>(), b"1234");
        assert_eq!(notes, ["a.zip/__MACOSX/._one.txt: no document, left out"]);
    }

    #[test]
    fn depth_and_number_have_limits_and_an_empty_archive_is_empty() {
        let mut nested = archive(&[("a.txt", b"x")], Some(6));
        for _ in 0..DEPTH_MAX - 1 {
            nested = archive(&[("n.zip", &nested)], Some(6));
        }
        assert!(unpack(&zip(nested.clone())).is_ok());
        let deeper = unpack(&zip(archive(&[("n.zip", &nested)], Some(6)))).unwrap_err();
        assert!(deeper.detail.contains("deep"), "{deeper}");
        let names: Vec<String> = (0..=FILES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        assert_eq!(unpack(&zip(archive(&many, None))).unwrap_err().kind, ErrorKind::Unsupported);
        assert_eq!(unpack(&zip(archive(&[("folder/", b"")], None))).unwrap_err().kind, ErrorKind::Empty);
    }
}
