//! Sees a fax arrive: each page goes into the tray and the ledger before the machine confirms it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::ledger::{Ledger, Line};
use super::tray::{FaxName, Work};
use crate::call::{CallEvent, CallObserver, Refusal};

/// The observer of one received fax.
pub(super) struct Receiver {
    name: FaxName,
    work: Arc<Mutex<Work>>,
    ledger: Option<Ledger>,
    now: fn() -> SystemTime,
    tsi: String,
    /// The end of procedure has come: the page that follows is the last.
    last: bool,
}

impl Receiver {
    pub(super) fn new(name: FaxName, work: Arc<Mutex<Work>>, ledger: Option<Ledger>, now: fn() -> SystemTime) -> Self {
        Self { name, work, ledger, now, tsi: String::new(), last: false }
    }

    fn page(&mut self, page: u32, image: &[u8]) -> std::io::Result<()> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.append(image)?;
        if let Some(ledger) = &self.ledger {
            ledger.write(&Line { name: &self.name, tsi: &self.tsi, page, image, at: (self.now)() })?;
        }
        if self.last {
            work.close(true)?;
        }
        Ok(())
    }
}

impl CallObserver for Receiver {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        match event {
            CallEvent::Trained { remote_id, .. } => self.tsi = remote_id,
            CallEvent::AllPagesSent => self.last = true,
            CallEvent::Page { page, image, .. } => {
                let image = image.ok_or_else(|| Refusal("a received page without its image".to_owned()))?;
                self.page(page, &image).map_err(|error| Refusal(format!("the tray cannot be written: {error}")))?;
            }
            CallEvent::Ringing
            | CallEvent::Answered
            | CallEvent::Carried(_)
            | CallEvent::PageStarted { .. }
            | CallEvent::PageRejected { .. } => {}
        }
        Ok(())
    }
}
