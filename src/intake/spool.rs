//! Content that is coming in: in memory while it is small, then in a file that has no name.
//!
//! A hundred connections may be sending the largest mail at once; what they hold in memory is bounded by
//! [`MEMORY_MAX`] each. A file that cannot be written makes the mail `451`, nothing else.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Mails up to this size never touch the disk before they are stored.
const MEMORY_MAX: usize = 256 * 1024;

/// Content of one transaction.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<tokio::fs::File>,
    size_bytes: u64,
}

impl Spool {
    /// Nothing yet. Files are made in `folder`, which must exist.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), memory: Vec::new(), file: None, size_bytes: 0 }
    }

    pub(crate) async fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.size_bytes += chunk.len() as u64;
        if self.memory.len() + chunk.len() > MEMORY_MAX {
            let file = match &mut self.file {
                Some(file) => file,
                None => {
                    let folder = self.folder.clone();
                    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await??;
                    self.file.insert(tokio::fs::File::from_std(file))
                }
            };
            file.write_all(&self.memory).await?;
            self.memory.clear();
        }
        self.memory.extend_from_slice(chunk);
        Ok(())
    }

    /// What it holds.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Everything, behind `head`. The spool is empty afterwards.
    pub(crate) async fn take(&mut self, head: &[u8]) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size_bytes).map_err(io::Error::other)?;
        let mut whole = Vec::with_capacity(head.len() + size);
        whole.extend_from_slice(head);
        if let Some(mut file) = self.file.take() {
            file.flush().await?;
            file.rewind().await?;
            file.read_to_end(&mut whole).await?;
        }
        whole.append(&mut self.memory);
        self.clear();
        Ok(whole)
    }

    pub(crate) fn clear(&mut self) {
        self.memory = Vec::new();
        self.file = None;
        self.size_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_and_large_content_come_out_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, MEMORY_MAX, MEMORY_MAX + 1, 3 * MEMORY_MAX + 7] {
            let content: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let mut spool = Spool::new(folder.path());
            for chunk in content.chunks(65_521) {
                spool.push(chunk).await.unwrap();
            }
            assert_eq!(spool.take(b"head").await.unwrap(), [b"head", &content[..]].concat(), "{size}");
            assert_eq!(spool.take(b"").await.unwrap(), b"", "empty afterwards");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the files have no names");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_an_error_not_a_loss() {
        let mut spool = Spool::new(Path::new("/proc/none"));
        assert!(spool.push(&vec![0; MEMORY_MAX + 1]).await.is_err());
    }
}
