//! Writes down what happens in a call while it happens.
//!
//! The observer lives on the media thread, the store on the async runtime. Each event goes into the call journal first;
//! a confirmed page and the end of the last one are durable there before the call goes on. The store follows at once,
//! in order, or when it is back: a call that is connected goes on without it. Only when the journal cannot be written
//! does the media thread wait for the store; when that cannot keep the page either, the call ends and no further page
//! begins. Between pages the call is also ended when a person wants it so, or when its lease may be somebody else's.

use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Duration;

use foip::call::{CallEvent, CallObserver, Refusal};
use tokio::sync::mpsc;

use super::journal::{Entry, Journal, Keep};
use super::verdict;
use super::watch::{Stop, Watch};
use crate::domain::AttemptId;
use crate::fault::crash_point;
use crate::store::{AttemptFact, ConfirmedPage, JournalFact, Store, StoreError};

/// How long a call may wait for the store when there is no journal. Longer, and the far end thinks that we are gone
/// (T.30 T2 is 6 s).
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Pause before an unavailable store is asked again.
const STORE_RETRY_WAIT: Duration = Duration::from_millis(200);

/// The observer of one call.
pub(super) struct Recorder {
    journal: Arc<Journal>,
    attempt: AttemptId,
    watch: Arc<Watch>,
    facts: mpsc::UnboundedSender<Fact>,
}

/// The other end of it, on the async side.
pub(super) struct Writer {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    node: String,
    attempt: AttemptId,
    facts: mpsc::UnboundedReceiver<Fact>,
}

/// A fact on its way to the store.
enum Fact {
    /// The journal has it.
    Journaled(Entry),
    /// The journal cannot be written; the media thread may wait for the answer.
    Bare(JournalFact, Option<sync_mpsc::Sender<Result<(), StoreError>>>),
}

impl Recorder {
    pub(super) fn new(
        store: Arc<dyn Store>,
        journal: Arc<Journal>,
        node: &str,
        attempt: AttemptId,
        watch: Arc<Watch>,
    ) -> (Self, Writer) {
        // Unbounded is bounded here: a call has a handful of events a page, and a limited number of pages.
        let (sender, facts) = mpsc::unbounded_channel();
        let writer = Writer { store, journal: Arc::clone(&journal), node: node.to_owned(), attempt, facts };
        (Self { journal, attempt, watch, facts: sender }, writer)
    }

    fn note(&self, fact: AttemptFact) {
        let fact = JournalFact::Fact(fact);
        let fact = match self.journal.write(self.attempt, fact.clone(), Keep::Lightly) {
            Ok(entry) => Fact::Journaled(entry),
            Err(_) => Fact::Bare(fact, None),
        };
        let _ = self.facts.send(fact);
    }

    /// Keeps what the call must not go on without.
    fn commit(&self, fact: JournalFact) -> Result<(), Refusal> {
        let gone = |_| Refusal("the call is over".to_owned());
        let why = match self.journal.write(self.attempt, fact.clone(), Keep::Durably) {
            Ok(entry) => return self.facts.send(Fact::Journaled(entry)).map_err(gone),
            Err(error) => error,
        };
        tracing::error!(attempt = %self.attempt, error = %why, "the call journal cannot be written; waiting for the store");
        let (done, answer) = sync_mpsc::channel();
        self.facts.send(Fact::Bare(fact, Some(done))).map_err(gone)?;
        let stored = match answer.recv_timeout(COMMIT_WAIT_MAX) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store took too long".to_owned(),
        };
        Err(self
            .watch
            .stop(Stop::Storage(format!("neither the call journal ({why}) nor the store ({stored}) keeps it"))))
    }
}

impl CallObserver for Recorder {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        match event {
            CallEvent::Ringing => self.note(AttemptFact::Ringing),
            CallEvent::Answered => {
                crash_point!("line.answered");
                self.note(AttemptFact::Answered);
            }
            CallEvent::Carried(transport) => {
                self.note(AttemptFact::Carried { transport: verdict::transport(transport) });
            }
            CallEvent::Trained { rate_bps, ecm, remote_id, subaddress: _ } => {
                self.note(AttemptFact::Trained { rate_bps, ecm, remote_id });
                return self.watch.may_begin_page();
            }
            CallEvent::PageStarted { page } => self.note(AttemptFact::PageStarted { page }),
            CallEvent::Page { page, rate_bps, ecm, duration, blocks_resent } => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                let confirmed = ConfirmedPage { page, rate_bps, ecm, duration_ms, blocks_resent };
                crash_point!("line.page-confirmed");
                self.commit(JournalFact::Page(confirmed))?;
                crash_point!("line.page-journaled");
                // After the last page there is nothing to keep from beginning.
                return if self.watch.is_last(page) { Ok(()) } else { self.watch.may_begin_page() };
            }
            CallEvent::PageRejected { page } => {
                tracing::info!(page, "the far end rejected the page (RTN)");
                self.commit(JournalFact::Fact(AttemptFact::PageRefused { page }))?;
                // It begins anew with its first line: not for somebody else's fax, nor for one that is cancelled.
                return self.watch.may_begin_page();
            }
            // It did not take the page: no confirmation is outstanding any more.
            CallEvent::PageAskedAgain { page } => {
                tracing::info!(page, "the far end wants parts of the last page again (PPR)");
                return self.commit(JournalFact::Fact(AttemptFact::PageRefused { page }));
            }
            // Durable at once: after a crash this alone tells "may be complete over there" from "was not finished".
            CallEvent::AllPagesSent => {
                crash_point!("line.last-page-out");
                self.commit(JournalFact::Fact(AttemptFact::AllPagesSent))?;
                crash_point!("line.last-page-noted");
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Writes until the observer is gone and everything is written. What is cut off here is in the journal, and the
    /// next start tells it.
    pub(super) async fn run(mut self) {
        while let Some(fact) = self.facts.recv().await {
            match fact {
                Fact::Journaled(entry) => self.journaled(entry).await,
                Fact::Bare(fact, waiting) => self.bare(fact, waiting).await,
            }
        }
    }

    async fn journaled(&self, entry: Entry) {
        while let Err(error) = self.journal.tell(&*self.store, &self.node, entry).await {
            tracing::debug!(attempt = %self.attempt, %error, "the store is away; the journal has it");
            tokio::time::sleep(STORE_RETRY_WAIT).await;
        }
    }

    async fn bare(&self, fact: JournalFact, mut waiting: Option<sync_mpsc::Sender<Result<(), StoreError>>>) {
        let deadline = tokio::time::Instant::now() + COMMIT_WAIT_MAX;
        loop {
            match fact.tell(&*self.store, self.attempt).await {
                Err(StoreError::Unavailable(why)) => {
                    if tokio::time::Instant::now() >= deadline
                        && let Some(waiting) = waiting.take()
                    {
                        let _ = waiting.send(Err(StoreError::Unavailable(why)));
                    }
                    tokio::time::sleep(STORE_RETRY_WAIT).await;
                }
                other => {
                    if let Err(error) = &other {
                        tracing::warn!(attempt = %self.attempt, %error, "an event of the call is not stored");
                    }
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(other);
                    }
                    return;
                }
            }
        }
    }
}
