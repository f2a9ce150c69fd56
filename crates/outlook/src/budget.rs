//! What opening one container may cost. Everything that is made of the input is charged before it is made.

use crate::DEPTH_MAX;

/// Compressed RTF grows at most 8.5 times (17 octets of 2, MS-OXRTFCP §2.1.3.1.5), and is then made text once more.
const GROWTH_MAX: usize = 24;
/// What small inputs may become whatever their size.
const OCTETS_FREE: usize = 1024 * 1024;
/// Attachments of a container with everything nested in it; a mail may have as many parts.
const ATTACHMENTS_MAX: usize = 500;

/// Nothing more may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exhausted {
    #[error("the container holds more than its size allows")]
    Octets,
    #[error("the container holds more than {ATTACHMENTS_MAX} attachments")]
    Attachments,
    #[error("messages lie in messages more than {DEPTH_MAX} deep")]
    Depth,
}

/// What may still be made.
#[derive(Debug)]
pub(crate) struct Budget {
    octets: usize,
    attachments: usize,
    depth: usize,
}

/// What an input of so many octets may become.
pub(crate) fn octets_max(input: usize) -> usize {
    input.saturating_mul(GROWTH_MAX).saturating_add(OCTETS_FREE)
}

impl Budget {
    /// For an input of this many octets.
    pub(crate) fn of(input: usize) -> Self {
        Self { octets: octets_max(input), attachments: ATTACHMENTS_MAX, depth: DEPTH_MAX }
    }

    /// Takes `count` octets.
    pub(crate) fn take(&mut self, count: usize) -> Result<(), Exhausted> {
        self.octets = self.octets.checked_sub(count).ok_or(Exhausted::Octets)?;
        Ok(())
    }

    /// Takes one attachment.
    pub(crate) fn take_attachment(&mut self) -> Result<(), Exhausted> {
        self.attachments = self.attachments.checked_sub(1).ok_or(Exhausted::Attachments)?;
        Ok(())
    }

    /// Does something one message deeper.
    pub(crate) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Result<T, Exhausted> {
        self.depth = self.depth.checked_sub(1).ok_or(Exhausted::Depth)?;
        let result = work(self);
        self.depth += 1;
        Ok(result)
    }
}
