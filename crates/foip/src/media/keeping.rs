//! A received page between its arrival and its confirmation.
//!
//! The observer has promised an answer (`Keeping::Pending`). First the media thread blocks for it; then T.30 goes on, the
//! sender asks again and again (RR) and is told to wait (RNR), and the answer is looked for at each tick. No answer in time
//! is a refusal: the sender was told nothing, and will send the page again in another call.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use spandsp::PageReport;

use crate::call::Refusal;

/// How long a sender without error correction surely waits for an answer (T.30 §5.4.3.1: T4 is 3 s).
pub(super) const BLOCK_MAX: Duration = Duration::from_secs(3);
/// How long a sender is held off. T.30 §5.4.3.1: it gives up after T5, which is 60 s, and the MCF must still get there.
const HOLD_MAX: Duration = Duration::from_secs(50);

/// What the terminal is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing new.
    Wait,
    /// The page is kept: MCF may leave.
    Release,
    /// It is not: nothing may leave.
    Abort,
}

/// A page whose keeping is awaited.
pub(super) struct Held {
    answer: Receiver<Result<(), Refusal>>,
    /// In this call, from 1.
    pub(super) page: u32,
    pub(super) report: PageReport,
    /// In the call's clock.
    since: Duration,
}

impl Held {
    pub(super) fn new(answer: Receiver<Result<(), Refusal>>, page: u32, report: PageReport, since: Duration) -> Self {
        Self { answer, page, report, since }
    }

    /// Blocks for the answer, at most so long in real time.
    pub(super) fn wait(&self, wait: Duration) -> Option<Result<(), Refusal>> {
        match self.answer.recv_timeout(wait) {
            Ok(result) => Some(result),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(self.forgotten())),
        }
    }

    /// The answer, if it has come or will not come any more.
    pub(super) fn answer(&self, now: Duration) -> Option<Result<(), Refusal>> {
        match self.answer.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Disconnected) => Some(Err(self.forgotten())),
            Err(TryRecvError::Empty) if now.saturating_sub(self.since) > HOLD_MAX => {
                Some(Err(Refusal(format!("page {} was not kept within {} s", self.page, HOLD_MAX.as_secs()))))
            }
            Err(TryRecvError::Empty) => None,
        }
    }

    fn forgotten(&self) -> Refusal {
        Refusal(format!("nobody keeps page {} any more", self.page))
    }
}
