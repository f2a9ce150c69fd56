//! A Maildir as destination: `tmp/`, fsync, rename into `new/`, fsync of the directory.
//!
//! The file is named after the notice. A repeat after a crash therefore replaces a file by the same file, and a mail
//! that was read and moved to `cur/` meanwhile is not put there twice. <https://cr.yp.to/proto/maildir.html>

use std::io;
use std::path::{Path, PathBuf};

use super::{Outgoing, SendError};

/// A Maildir; made when the first mail comes.
#[derive(Debug, Clone)]
pub struct Maildir {
    root: PathBuf,
}

impl Maildir {
    /// At this directory.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Stores a mail durably.
    ///
    /// # Errors
    /// [`SendError::Again`] with the path that could not be written.
    pub async fn put(&self, mail: &Outgoing<'_>) -> Result<String, SendError> {
        let root = self.root.clone();
        let name = format!("{}.{}.faxwell", mail.created_at.0.div_euclid(1000), mail.notice);
        // RFC 5321 §4.4: final delivery records the reverse-path.
        let reverse_path = mail.reverse_path.map_or("", |path| path.as_str());
        let octets = [format!("Return-Path: <{reverse_path}>\r\n").as_bytes(), &mail.mail.octets].concat();
        let shown = root.display().to_string();
        let done = tokio::task::spawn_blocking(move || store(&root, &name, &octets)).await;
        match done {
            Ok(Ok(())) => Ok(format!("maildir {shown}")),
            Ok(Err(error)) => Err(SendError::Again(format!("maildir {shown}: {error}"))),
            Err(error) => Err(SendError::Again(format!("maildir {shown}: the writer ended: {error}"))),
        }
    }
}

fn store(root: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    for folder in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    if was_read(root, name)? {
        return Ok(());
    }
    let unfinished = root.join("tmp").join(name);
    let mut file = std::fs::File::create(&unfinished)?;
    io::Write::write_all(&mut file, octets)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, root.join("new").join(name))?;
    // The name is durable only when its directory is.
    std::fs::File::open(root.join("new"))?.sync_all()
}

/// Readers move a mail to `cur/` and append flags to its name.
fn was_read(root: &Path, name: &str) -> io::Result<bool> {
    for entry in std::fs::read_dir(root.join("cur"))? {
        let found = entry?.file_name();
        let found = found.to_string_lossy();
        if found == name || found.strip_prefix(name).is_some_and(|flags| flags.starts_with(':')) {
            return Ok(true);
        }
    }
    Ok(false)
}
