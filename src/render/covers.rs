//! The cover pages that there are: those that ship, and the operator's own in a directory, one file `NAME.html` each.
//!
//! A file is read when a fax needs it, so that a change shows at once. A file with the name of a cover that ships replaces
//! it. What is wrong with a file costs no fax: the plain cover stands in (see `pages::Converter::finish`).

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// More files in the directory are not looked at.
const COVERS_MAX: usize = 1000;
const ENDING: &str = "html";

/// The covers of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Covers {
    directory: Option<PathBuf>,
}

/// A cover by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// As directives and the configuration call it.
    pub name: String,
    /// Its file; none: it ships.
    pub file: Option<PathBuf>,
}

impl Covers {
    /// Those that ship, and those in `directory`.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// All there are, by name; the plain one first.
    pub fn list(&self) -> Vec<Cover> {
        let mut covers: Vec<Cover> =
            pages::shipped_covers().map(|(name, _)| Cover { name: name.to_owned(), file: None }).collect();
        for own in self.own() {
            match covers.iter_mut().find(|cover| cover.name == own.name) {
                Some(shipped) => *shipped = own,
                None => covers.push(own),
            }
        }
        covers
    }

    fn own(&self) -> Vec<Cover> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "the directory of covers cannot be read");
                return Vec::new();
            }
        };
        let mut own: Vec<Cover> = entries
            .take(COVERS_MAX)
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let html = path.extension().is_some_and(|ending| ending == ENDING);
                let name = path.file_stem()?.to_str().filter(|name| html && is_name(name))?.to_owned();
                Some(Cover { name, file: Some(path) })
            })
            .collect();
        own.sort_by(|a, b| a.name.cmp(&b.name));
        own
    }

    /// The operator's own template of this name; none: the one that ships.
    ///
    /// # Errors
    /// Why there is no such template, or why its file cannot be read; one line.
    pub fn source(&self, name: &str) -> Result<Option<String>, String> {
        let own = self.directory.as_ref().filter(|_| is_name(name)).map(|d| d.join(format!("{name}.{ENDING}")));
        if let Some(file) = own.filter(|file| file.exists()) {
            return read(&file).map(Some);
        }
        if pages::shipped_covers().any(|(shipped, _)| shipped == name) {
            return Ok(None);
        }
        let known: Vec<String> = self.list().into_iter().map(|cover| cover.name).collect();
        Err(format!("there is no cover \"{name}\"; there are: {}", known.join(", ")))
    }
}

/// A template's file.
///
/// # Errors
/// Why it cannot be read; one line.
pub fn read(file: &Path) -> Result<String, String> {
    let unread = |why: String| format!("{}: {why}", file.display());
    let mut source = String::new();
    let most = pages::COVER_MAX_BYTES as u64 + 1;
    let read = std::fs::File::open(file).and_then(|opened| opened.take(most).read_to_string(&mut source));
    read.map_err(|error| unread(error.to_string()))?;
    if source.len() as u64 >= most {
        return Err(unread(format!("it has more than {} octets", pages::COVER_MAX_BYTES)));
    }
    Ok(source)
}

/// As the configuration writes names: nothing that could lead out of the directory.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_covers_are_files_and_replace_those_that_ship() {
        let directory = tempfile::tempdir().unwrap();
        for (file, content) in [("acme.html", "acme"), ("plain.html", "own"), ("notes.txt", ""), ("..html", "")] {
            std::fs::write(directory.path().join(file), content).unwrap();
        }
        let covers = Covers::new(Some(directory.path().to_owned()));
        let names: Vec<String> = covers.list().into_iter().map(|cover| cover.name).collect();
        assert_eq!(names, ["plain", "formal", "confidential", "acme"]);
        assert_eq!(covers.source("plain").unwrap().as_deref(), Some("own"));
        assert_eq!(covers.source("acme").unwrap().as_deref(), Some("acme"));
        assert_eq!(covers.source("formal").unwrap(), None);
        for name in ["golden", "../acme", "", "a/b"] {
            assert!(covers.source(name).unwrap_err().contains("there is no cover"), "{name}");
        }
        std::fs::write(directory.path().join("large.html"), "x".repeat(pages::COVER_MAX_BYTES + 1)).unwrap();
        assert!(covers.source("large").unwrap_err().contains("more than"));
    }
}
