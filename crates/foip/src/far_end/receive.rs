//! Sees a fax arrive: each page goes into the tray, and then into the ledger, before the machine confirms it.
//!
//! The tray is written on another thread, so that a slow disk holds the sender off instead of the media clock. The ledger
//! is written when nothing lies between it and the confirmation any more: it names what was confirmed.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::runtime::Handle;

use super::ledger::{Call, Ledger, Line};
use super::tray::Work;
use crate::call::{CallEvent, CallObserver, Keeping, ReceivedPage, Refusal};

/// The observer of one received fax.
pub(super) struct Receiver {
    call: Call,
    work: Arc<Mutex<Work>>,
    ledger: Option<Ledger>,
    runtime: Handle,
    tsi: String,
    /// The page that is not confirmed yet.
    arrived: Option<Arc<ReceivedPage>>,
}

impl Receiver {
    /// To be called in a tokio runtime.
    pub(super) fn new(call: Call, work: Arc<Mutex<Work>>, ledger: Option<Ledger>) -> Self {
        Self { call, work, ledger, runtime: Handle::current(), tsi: String::new(), arrived: None }
    }

    fn confirmed(&mut self) -> std::io::Result<()> {
        let (Some(page), Some(ledger)) = (self.arrived.take(), &self.ledger) else { return Ok(()) };
        ledger.page(&self.call, &Line { tsi: &self.tsi, page: page.page, image: &page.image })
    }
}

fn keep(work: &Mutex<Work>, page: &ReceivedPage) -> std::io::Result<()> {
    let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
    work.append(&page.image)?;
    if page.last {
        work.close(true)?;
    }
    Ok(())
}

impl CallObserver for Receiver {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        match event {
            CallEvent::Trained { remote_id, .. } => self.tsi = remote_id,
            CallEvent::Page { .. } => {
                self.confirmed().map_err(|error| Refusal(format!("the ledger cannot be written: {error}")))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn page_received(&mut self, page: ReceivedPage) -> Keeping {
        let page = Arc::new(page);
        self.arrived = Some(page.clone());
        let work = self.work.clone();
        let (told, answer) = mpsc::channel();
        self.runtime.spawn_blocking(move || {
            let kept = keep(&work, &page);
            // The call may be over.
            let _ = told.send(kept.map_err(|error| Refusal(format!("the tray cannot be written: {error}"))));
        });
        Keeping::Pending(answer)
    }
}
