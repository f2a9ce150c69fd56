//! Writes down what happens in a call while it happens.
//!
//! The observer lives on the media thread, the store on the async runtime. Every event goes through one channel, so
//! their order is kept; for those that must be durable before the call goes on (a confirmed page, the end of the last
//! page) the media thread waits for the answer. While it waits, T.30 waits: a page's confirmation takes milliseconds,
//! and after [`COMMIT_WAIT_MAX`] the call is ended rather than the next page begun.

use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Duration;

use foip::call::{CallEvent, CallObserver, Refusal};
use tokio::sync::mpsc;

use super::verdict;
use crate::domain::AttemptId;
use crate::store::{AttemptFact, ConfirmedPage, Store, StoreError};

/// How long a call may wait for the store. Longer, and the far end thinks that we are gone (T.30 T2 is 6 s).
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Pause before an unavailable store is asked again.
const STORE_RETRY_WAIT: Duration = Duration::from_millis(200);

/// The observer of one call.
pub(super) struct Recorder {
    entries: mpsc::UnboundedSender<Entry>,
}

/// The other end of it, on the async side.
pub(super) struct Writer {
    store: Arc<dyn Store>,
    attempt: AttemptId,
    entries: mpsc::UnboundedReceiver<Entry>,
}

struct Entry {
    what: What,
    /// Where the media thread waits, for what must be durable first.
    done: Option<sync_mpsc::Sender<Result<(), StoreError>>>,
}

enum What {
    Fact(AttemptFact),
    Page(ConfirmedPage),
}

impl Recorder {
    pub(super) fn new(store: Arc<dyn Store>, attempt: AttemptId) -> (Self, Writer) {
        // Unbounded is bounded here: a call has a handful of events a page, and the media thread waits at each page.
        let (sender, entries) = mpsc::unbounded_channel();
        (Self { entries: sender }, Writer { store, attempt, entries })
    }

    fn note(&self, fact: AttemptFact) {
        let _ = self.entries.send(Entry { what: What::Fact(fact), done: None });
    }

    fn commit(&self, what: What) -> Result<(), Refusal> {
        let (done, answer) = sync_mpsc::channel();
        self.entries.send(Entry { what, done: Some(done) }).map_err(|_| Refusal("the call is over".to_owned()))?;
        match answer.recv_timeout(COMMIT_WAIT_MAX) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal(format!("the page's confirmation cannot be stored: {error}"))),
            Err(_) => Err(Refusal("the store took too long to keep the page's confirmation".to_owned())),
        }
    }
}

impl CallObserver for Recorder {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        match event {
            CallEvent::Ringing => self.note(AttemptFact::Ringing),
            CallEvent::Answered => self.note(AttemptFact::Answered),
            CallEvent::Carried(transport) => {
                self.note(AttemptFact::Carried { transport: verdict::transport(transport) });
            }
            CallEvent::Trained { rate_bps, ecm, remote_id } => {
                self.note(AttemptFact::Trained { rate_bps, ecm, remote_id });
            }
            CallEvent::PageStarted { page } => self.note(AttemptFact::PageStarted { page }),
            CallEvent::Page { page, rate_bps, ecm, duration, blocks_resent, image: _ } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                let page = ConfirmedPage { page, rate_bps, ecm, duration_ms, blocks_resent };
                return self.commit(What::Page(page));
            }
            CallEvent::PageRejected { page } => tracing::info!(page, "the far end rejected the page (RTN)"),
            // Durable at once: after a crash this alone tells "may be complete over there" from "was not finished".
            CallEvent::AllPagesSent => return self.commit(What::Fact(AttemptFact::AllPagesSent)),
        }
        Ok(())
    }
}

impl Writer {
    /// Writes until the observer is gone and everything is written: what the far end was told is a fact, and it is
    /// kept even when the call had to be ended because the store was away for too long.
    pub(super) async fn run(mut self) {
        while let Some(entry) = self.entries.recv().await {
            self.write(entry).await;
        }
    }

    async fn write(&self, entry: Entry) {
        let mut waiting = entry.done;
        let deadline = tokio::time::Instant::now() + COMMIT_WAIT_MAX;
        loop {
            let result = match &entry.what {
                What::Fact(fact) => self.store.record_fact(self.attempt, fact.clone()).await,
                What::Page(page) => self.store.page_confirmed(self.attempt, page.clone()).await,
            };
            match result {
                Err(StoreError::Unavailable(why)) => {
                    if tokio::time::Instant::now() >= deadline
                        && let Some(done) = waiting.take()
                    {
                        let _ = done.send(Err(StoreError::Unavailable(why)));
                    }
                    tokio::time::sleep(STORE_RETRY_WAIT).await;
                }
                other => {
                    if let Err(error) = &other {
                        tracing::warn!(attempt = %self.attempt, %error, "an event of the call is not stored");
                    }
                    if let Some(done) = waiting.take() {
                        let _ = done.send(other);
                    }
                    return;
                }
            }
        }
    }
}
