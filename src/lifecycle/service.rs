//! A node in service and out of it, in one process: terms.
//!
//! A term is a stretch of service, from the start or a resumption to the drain that ends it. The drain goes in steps that
//! the stages await: *leaving* (nothing new is taken; health checks fail from here), after a grace *closing* (the load
//! balancer has noticed: listeners close), and *lines over* (the last call has ended: delivery and maintenance end too).
//! A stage runs once a term ([`Service::in_terms`]); one that is still at work in the old term enters the new one when it is
//! done. The end of the process is a drain that no term follows.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One stretch of service.
#[derive(Debug, Clone)]
pub struct Term {
    number: u64,
    /// Cancelled when nothing new may begin.
    pub leaving: CancellationToken,
    /// Cancelled when listeners close, at or after `leaving`.
    pub closing: CancellationToken,
    /// Cancelled when no call is under way any more, after `leaving`.
    pub lines_over: CancellationToken,
}

impl Term {
    fn new(number: u64) -> Self {
        let token = CancellationToken::new;
        Self { number, leaving: token(), closing: token(), lines_over: token() }
    }
}

/// Whether a node serves when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It does.
    Serving,
    /// It was ordered out of service before: its first term is over before it begins.
    Drained,
}

/// Where the calls of a node are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// This process has lines and tells when their calls are over.
    Here,
    /// It has none.
    Elsewhere,
}

/// The terms of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    terms: watch::Sender<Term>,
    lines: Lines,
    /// Terms whose calls are not known to be over.
    in_calls: Mutex<BTreeMap<u64, CancellationToken>>,
    at_work: AtomicUsize,
    /// No further term begins.
    ends: CancellationToken,
}

impl Service {
    /// The first term.
    pub fn new(lines: Lines, start: Start) -> Self {
        let service = Self(Arc::new(Inner {
            terms: watch::Sender::new(Term::new(0)),
            lines,
            in_calls: Mutex::default(),
            at_work: AtomicUsize::new(0),
            ends: CancellationToken::new(),
        }));
        service.in_calls().insert(0, service.term().lines_over);
        if start == Start::Drained {
            service.leave(Duration::ZERO);
        }
        service
    }

    /// The latest term.
    pub fn term(&self) -> Term {
        self.0.terms.borrow().clone()
    }

    /// Begins the drain; listeners close after `grace`. Nothing changes when it has begun.
    pub fn leave(&self, grace: Duration) {
        let term = self.term();
        if term.leaving.is_cancelled() {
            return;
        }
        term.leaving.cancel();
        if self.0.lines == Lines::Elsewhere {
            self.lines_over_until(term.number);
        }
        if grace.is_zero() {
            term.closing.cancel();
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            term.closing.cancel();
        });
    }

    /// Begins a new term when the latest is over or about to be, unless the process ends.
    pub fn resume(&self) {
        if self.0.ends.is_cancelled() || !self.is_leaving() {
            return;
        }
        let term = Term::new(self.term().number + 1);
        self.in_calls().insert(term.number, term.lines_over.clone());
        self.0.terms.send_replace(term);
    }

    /// The last drain: [`Service::in_terms`] returns after it.
    pub fn end(&self, grace: Duration) {
        self.0.ends.cancel();
        self.leave(grace);
    }

    /// Waits until the listeners close for the last time, after [`Service::end`].
    pub async fn last_closing(&self) {
        self.0.ends.cancelled().await;
        // No term follows the one that is there now.
        self.term().closing.cancelled().await;
    }

    /// Whether nothing new may begin.
    pub fn is_leaving(&self) -> bool {
        self.0.terms.borrow().leaving.is_cancelled()
    }

    /// Whether nothing is left that a stage works on.
    pub fn is_drained(&self) -> bool {
        self.is_leaving() && self.0.at_work.load(Ordering::Acquire) == 0
    }

    /// The calls of a term are over; those of the terms before it too.
    pub fn calls_are_over(&self, term: &Term) {
        self.lines_over_until(term.number);
    }

    /// Runs a stage once in each term, until the process ends or a run fails. A term that came and went meanwhile is left
    /// out.
    ///
    /// # Errors
    /// The first of a run.
    pub async fn in_terms<F, Fut>(&self, mut run: F) -> Result<(), String>
    where
        F: FnMut(Term) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        self.each_term(|term| {
            let running = (!term.leaving.is_cancelled()).then(|| run(term));
            async move {
                match running {
                    Some(running) => running.await,
                    None => Ok(()),
                }
            }
        })
        .await
    }

    async fn each_term<F, Fut>(&self, mut run: F) -> Result<(), String>
    where
        F: FnMut(Term) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let mut terms = self.0.terms.subscribe();
        loop {
            let term = terms.borrow_and_update().clone();
            {
                let _at_work = AtWork::begin(&self.0.at_work);
                run(term.clone()).await?;
            }
            tokio::select! {
                () = self.0.ends.cancelled() => return Ok(()),
                next = terms.wait_for(|next| next.number > term.number) => {
                    if next.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// As [`Service::in_terms`] for the stage that has the lines: its terms' calls are over when a run is. It runs in a term
    /// that is left already, too, to see to what it had begun.
    ///
    /// # Errors
    /// The first of a run.
    pub async fn in_terms_of_lines<F, Fut>(&self, mut run: F) -> Result<(), String>
    where
        F: FnMut(Term) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let ended = self
            .each_term(|term| {
                // Those that were left out had no calls.
                self.lines_over_before(term.number);
                let running = run(term.clone());
                async move {
                    let ended = running.await;
                    self.calls_are_over(&term);
                    ended
                }
            })
            .await;
        self.lines_over_until(u64::MAX);
        ended
    }

    fn lines_over_before(&self, number: u64) {
        if let Some(before) = number.checked_sub(1) {
            self.lines_over_until(before);
        }
    }

    fn lines_over_until(&self, number: u64) {
        let mut in_calls = self.in_calls();
        while let Some(first) = in_calls.first_entry().filter(|first| *first.key() <= number) {
            first.remove().cancel();
        }
    }

    fn in_calls(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        // Whoever panicked in between left a whole map.
        self.0.in_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a stage at work, however that ends.
struct AtWork<'a>(&'a AtomicUsize);

impl<'a> AtWork<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A stage that tells when it begins, and ends a run when it is told to.
    struct Stage {
        began: mpsc::UnboundedReceiver<Term>,
        finish: mpsc::UnboundedSender<()>,
        task: tokio::task::JoinHandle<Result<(), String>>,
    }

    impl Stage {
        fn start(service: &Service, lines: Lines) -> Self {
            let (begin, began) = mpsc::unbounded_channel();
            let (finish, finished) = mpsc::unbounded_channel();
            let finished = Arc::new(tokio::sync::Mutex::new(finished));
            let service = service.clone();
            let run = move |term: Term| {
                let (begin, finished) = (begin.clone(), Arc::clone(&finished));
                async move {
                    begin.send(term.clone()).unwrap();
                    term.leaving.cancelled().await;
                    finished.lock().await.recv().await.ok_or("gone".to_owned())
                }
            };
            let task = tokio::spawn(async move {
                match lines {
                    Lines::Here => service.in_terms_of_lines(run).await,
                    Lines::Elsewhere => service.in_terms(run).await,
                }
            });
            Self { began, finish, task }
        }

        async fn began(&mut self) -> Term {
            tokio::time::timeout(DEADLINE, self.began.recv()).await.expect("it begins in time").unwrap()
        }
    }

    async fn in_time(token: &CancellationToken) {
        tokio::time::timeout(DEADLINE, token.cancelled()).await.expect("in time");
    }

    async fn drained(service: &Service) {
        let drained = async {
            while !service.is_drained() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, drained).await.expect("drained in time");
    }

    #[tokio::test]
    async fn a_node_leaves_and_comes_back_as_often_as_it_is_ordered_to() {
        let service = Service::new(Lines::Here, Start::Serving);
        let (mut line, mut other) = (Stage::start(&service, Lines::Here), Stage::start(&service, Lines::Elsewhere));
        for _ in 0..3 {
            let term = line.began().await;
            other.began().await;
            assert!(!service.is_leaving() && !service.is_drained());
            service.leave(Duration::ZERO);
            service.leave(HOUR);
            assert!(term.closing.is_cancelled() && !term.lines_over.is_cancelled(), "calls go on");
            other.finish.send(()).unwrap();
            assert!(!service.is_drained(), "a call goes on");
            line.finish.send(()).unwrap();
            in_time(&term.lines_over).await;
            drained(&service).await;
            service.resume();
            service.resume();
        }
        line.began().await;
        other.began().await;
        service.end(Duration::ZERO);
        service.resume();
        assert!(service.is_leaving(), "no term follows the last");
        for stage in [line, other] {
            stage.finish.send(()).unwrap();
            tokio::time::timeout(DEADLINE, stage.task).await.expect("it ends in time").unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn listeners_close_after_the_grace_and_not_before() {
        let service = Service::new(Lines::Elsewhere, Start::Serving);
        let term = service.term();
        service.leave(HOUR);
        assert!(term.leaving.is_cancelled() && term.lines_over.is_cancelled() && !term.closing.is_cancelled());
        service.resume();
        let term = service.term();
        assert!(!term.leaving.is_cancelled());
        service.leave(Duration::from_millis(1));
        in_time(&term.closing).await;
    }

    #[tokio::test]
    async fn a_stage_that_is_late_leaves_no_other_waiting_for_calls_that_never_were() {
        let service = Service::new(Lines::Here, Start::Serving);
        let mut line = Stage::start(&service, Lines::Here);
        line.began().await;
        service.leave(Duration::ZERO);
        // Back and away again, while a call of the first term goes on.
        service.resume();
        let between = service.term();
        service.leave(Duration::ZERO);
        service.resume();
        line.finish.send(()).unwrap();
        let last = line.began().await;
        in_time(&between.lines_over).await;
        assert!(!last.leaving.is_cancelled() && !last.lines_over.is_cancelled());
    }

    #[tokio::test]
    async fn a_node_that_was_ordered_away_starts_out_of_service() {
        let service = Service::new(Lines::Elsewhere, Start::Drained);
        assert!(service.is_drained());
        service.resume();
        assert!(!service.is_leaving());
    }
}
