//! Keys in new hands: wrapping documents' keys with the newest key, and sealing what was stored in the clear.
//!
//! Both go in batches that can be broken off anywhere: a batch begins behind the last document of the one before, and looks
//! at nothing that is done already. Objects of sealed documents stay as they are when a key changes.

use futures_util::StreamExt as _;

use super::{Documents, DocumentsError, INLINE_BYTES_MAX, Result};
use crate::store::{DocumentKey, Placement, Rewrapped};

/// Keys in one transaction.
const REWRAPPED_AT_ONCE: u32 = 500;
/// Documents sealed in one batch: at most as many objects are read and written before an answer.
const SEALED_AT_ONCE: u32 = 32;
/// Documents sealed side by side.
const SEALINGS: usize = 4;

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Documents that it changed.
    pub done: u64,
    /// Documents that it could not read, and left as they are.
    pub damaged: u64,
    /// Where the next batch begins; none when there is nothing left.
    pub next: Option<DocumentKey>,
}

impl Documents {
    /// Reads the file of keys once more and wraps the keys of some documents with the newest one.
    pub async fn rewrap_some(&self, after: Option<DocumentKey>) -> Result<Progress> {
        let newest = self.newest_key()?;
        let (store, repository) = (&self.inner.store, &self.inner.repository);
        let sealed = store.sealed_otherwise(&newest, after, REWRAPPED_AT_ONCE).await?;
        let mut progress = Progress {
            next: next(sealed.last().map(|(key, _)| *key), sealed.len(), REWRAPPED_AT_ONCE),
            ..Progress::default()
        };
        let mut rewrapped = Vec::with_capacity(sealed.len());
        for (key, was) in sealed {
            match repository.rewrap(&key, &was) {
                Ok(becomes) => rewrapped.push(Rewrapped { key, was, becomes }),
                Err(error @ DocumentsError::Damaged { .. }) => {
                    tracing::error!(document = %key, %error, "the key of a document cannot be wrapped anew");
                    progress.damaged += 1;
                }
                Err(other) => return Err(other),
            }
        }
        progress.done = store.rewrap(rewrapped).await?;
        Ok(progress)
    }

    /// Seals some of the documents that lie in the clear. What they lay in goes with the next sweep.
    pub async fn seal_some(&self, after: Option<DocumentKey>) -> Result<Progress> {
        self.newest_key()?;
        let clear = self.inner.store.unsealed(after, SEALED_AT_ONCE).await?;
        let last = next(clear.last().map(|(key, ..)| *key), clear.len(), SEALED_AT_ONCE);
        let mut progress = Progress { next: last, ..Progress::default() };
        let sealings = clear
            .into_iter()
            .map(|(key, size_bytes, placement)| async move { (key, self.seal_one(key, size_bytes, placement).await) });
        let mut sealings = futures_util::stream::iter(sealings).buffer_unordered(SEALINGS);
        while let Some((key, sealed)) = sealings.next().await {
            match sealed {
                Ok(sealed) => progress.done += u64::from(sealed),
                Err(error @ DocumentsError::Damaged { .. }) => {
                    tracing::error!(document = %key, %error, "a document cannot be sealed");
                    progress.damaged += 1;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(progress)
    }

    async fn seal_one(&self, key: DocumentKey, size_bytes: u64, was: Placement) -> Result<bool> {
        let bytes = match self.inner.repository.bytes(&key, size_bytes, &was).await {
            // Retention may have removed it, or another node sealed it, since the row was read.
            Err(DocumentsError::Damaged { .. }) => match self.placement(&key).await {
                Ok((_, now)) if now.sealed.is_some() => return Ok(false),
                Err(DocumentsError::NotFound(_) | DocumentsError::Pruned { .. }) => return Ok(false),
                Ok((size_bytes, now)) => self.inner.repository.bytes(&key, size_bytes, &now).await?,
                Err(other) => return Err(other),
            },
            other => other?,
        };
        let placement = if bytes.len() <= INLINE_BYTES_MAX && was.inline.is_some() {
            let (bytes, sealed) = self.inner.repository.seal(&key, bytes).await?;
            Placement { inline: Some(bytes), drawn: None, sealed }
        } else {
            self.write(&key, bytes).await?
        };
        Ok(self.inner.store.seal(key, placement).await?)
    }

    fn newest_key(&self) -> Result<String> {
        let keys = self.inner.repository.keys().ok_or_else(|| {
            let fix = "fix: write a file of keys with faxwell storage keys new, and name it in the configuration";
            DocumentsError::Keys(format!("store.keys is not set; {fix}"))
        })?;
        keys.read_again()?;
        Ok(keys.newest())
    }
}

fn next(last: Option<DocumentKey>, found: usize, limit: u32) -> Option<DocumentKey> {
    last.filter(|_| found >= limit as usize)
}
