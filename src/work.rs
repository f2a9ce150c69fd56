//! THE loop of every worker: claim, step, write back; poll, hint, back off, drain.
//!
//! A worker's step claims what is due, works on it and writes back. The store holds all state, so the loop has none:
//! it polls every 500 ms with jitter, and a hint from the same process (which may get lost) makes it look sooner.
//! When the store is away it backs off, with jitter, so that the nodes of a cluster do not come back in step. A
//! panic in a step costs that step: it is logged and counted, and the leases of its rows expire. On shutdown the step
//! that runs is finished and no other begins.
//!
//! A lease is renewed while a worker holds it in [`Leases`], and no longer: whatever ends the work without a
//! write-back (an error, a panic, an answer of the store that got lost), the row is claimable again when it runs out.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::store::{self, Lease, StoreError};

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has worked: there may be more, look again at once.
    Worked,
    /// Nothing was due.
    Idle,
}

/// Why a step could not do its work. The loop backs off; what was claimed is claimable again when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else that more than this one piece of work suffers from.
    #[error("{0}")]
    Other(String),
}

/// One kind of work.
#[async_trait]
pub trait Worker: Send {
    /// Claims, works, writes back. What is wrong with one piece of work alone is written back and no error.
    async fn step(&mut self) -> Result<Progress, WorkError>;
}

/// When to look again.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How often to look when nothing was due.
    pub poll: Duration,
    /// Longest wait after repeated trouble.
    pub backoff_max: Duration,
    /// Each wait is this share longer or shorter at random, 0 to 1.
    pub jitter: f64,
    /// Where randomness comes from.
    pub random: fastrand::Rng,
}

impl Pace {
    /// The pace of every stage: 500 ms, 30 s, a quarter. Tests pass a seeded generator.
    pub fn new(random: fastrand::Rng) -> Self {
        Self { poll: Duration::from_millis(500), backoff_max: Duration::from_secs(30), jitter: 0.25, random }
    }

    /// How long to wait after `troubles` steps in a row that failed.
    fn wait(&mut self, troubles: u32) -> Duration {
        // Doubled each time; 2^16 polls are beyond any limit.
        let plain = self.poll.saturating_mul(1 << troubles.min(16)).min(self.backoff_max.max(self.poll));
        let jitter = self.jitter.clamp(0.0, 1.0);
        plain.mul_f64(1.0 - jitter + 2.0 * jitter * self.random.f64())
    }
}

/// Wakes the loops that wait for this kind of work. Hints are coalesced, and losing one costs one poll interval.
#[derive(Debug, Clone)]
pub struct Hint(Arc<watch::Sender<()>>);

impl Default for Hint {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Hint {
    /// A hint that nobody waits for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// There may be work.
    pub fn wake(&self) {
        self.0.send_replace(());
    }

    /// For who waits outside of [`run`].
    pub fn listen(&self) -> Woken {
        Woken(self.0.subscribe())
    }
}

/// Hears hints.
#[derive(Debug)]
pub struct Woken(watch::Receiver<()>);

impl Woken {
    /// Waits for a hint that came since the last one was heard.
    pub async fn woken(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Pause before a write-back is repeated.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// So often it is repeated: for about as long as a store that fails over takes at the worst, each try with its own
/// time-out. After that the lease runs out and the work is done once more.
const WRITE_BACKS_MAX: u32 = 60;

/// Writes back, again and again while the store is away. The caller holds the lease meanwhile: what is done is not done
/// twice, and nobody has to wait for a lease to run out, because the store was away for a moment.
///
/// # Errors
/// The store's: `Unavailable` after many tries, all others at once.
pub async fn written_back<T, F>(mut write: impl FnMut() -> F) -> store::Result<T>
where
    F: Future<Output = store::Result<T>>,
{
    let mut repeats = 0;
    loop {
        match write().await {
            Err(StoreError::Unavailable(why)) if repeats < WRITE_BACKS_MAX => {
                repeats += 1;
                warn!(why, "the store is away; writing back again");
                tokio::time::sleep(STORE_WAIT).await;
            }
            other => return other,
        }
    }
}

/// The leases that the workers of this process hold now, each with how its holder is told that it is lost. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub struct Leases(Arc<Mutex<BTreeMap<Lease, CancellationToken>>>, Arc<AtomicU64>);

impl Leases {
    /// None is held yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds these until the answer is dropped.
    #[must_use = "the leases are renewed as long as this lives"]
    pub fn hold(&self, leases: impl IntoIterator<Item = Lease>) -> Held {
        let (leases, lost): (Vec<Lease>, _) = (leases.into_iter().collect(), CancellationToken::new());
        self.lock().extend(leases.iter().map(|lease| (*lease, lost.clone())));
        Held { all: self.clone(), leases, lost }
    }

    /// Tells the holders of these that the store does not know them any more. Answers how many are still in hand.
    pub fn lose(&self, lost: &[Lease]) -> usize {
        let all = self.lock();
        let count = lost.iter().filter_map(|lease| all.get(lease)).inspect(|told| told.cancel()).count();
        self.1.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// How many were in hand when they were lost, since the process began.
    pub fn lost_so_far(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    /// Those that are held.
    pub fn held(&self) -> Vec<Lease> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lease, CancellationToken>> {
        // Whoever panicked in between left a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leases in the hands of one worker.
#[derive(Debug)]
pub struct Held {
    all: Leases,
    leases: Vec<Lease>,
    lost: CancellationToken,
}

impl Held {
    /// Cancelled when one of them is lost: somebody else may own its row, however long the others hold.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        for lease in &self.leases {
            all.remove(lease);
        }
    }
}

/// What the loops of this process have done, for metrics.
#[derive(Debug, Default)]
pub struct Tally {
    steps: AtomicU64,
    failures: AtomicU64,
    panics: AtomicU64,
}

static TALLY: Tally = Tally { steps: AtomicU64::new(0), failures: AtomicU64::new(0), panics: AtomicU64::new(0) };

/// Steps that worked, steps that failed, and steps that panicked, since the process began.
pub fn tally() -> (u64, u64, u64) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (read(&TALLY.steps), read(&TALLY.failures), read(&TALLY.panics))
}

/// Runs one worker until `shutdown`. The step that runs then is finished first.
pub async fn run(name: &'static str, mut worker: impl Worker, mut pace: Pace, hint: Hint, shutdown: CancellationToken) {
    let mut hinted = hint.0.subscribe();
    let mut troubles: u32 = 0;
    while !shutdown.is_cancelled() {
        // Hints until here are answered by this step.
        hinted.mark_unchanged();
        match step(name, &mut worker).await {
            Some(Progress::Worked) => {
                troubles = 0;
                // A loop that always finds work must not starve the other tasks of its thread.
                tokio::task::yield_now().await;
                continue;
            }
            Some(Progress::Idle) => troubles = 0,
            None => troubles = troubles.saturating_add(1),
        }
        let wait = pace.wait(troubles);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            // In trouble, hints would turn the back-off into hammering.
            _ = hinted.changed(), if troubles == 0 => {}
        }
    }
    debug!(worker = name, "drained");
}

/// None when the step failed; that is logged and counted here.
async fn step(name: &'static str, worker: &mut impl Worker) -> Option<Progress> {
    match catch_panic(worker.step()).await {
        Ok(Ok(progress)) => {
            TALLY.steps.fetch_add(u64::from(progress == Progress::Worked), Ordering::Relaxed);
            Some(progress)
        }
        Ok(Err(error)) => {
            TALLY.failures.fetch_add(1, Ordering::Relaxed);
            warn!(worker = name, %error, "a step failed; it is tried again after a pause");
            None
        }
        Err(panic) => {
            TALLY.panics.fetch_add(1, Ordering::Relaxed);
            error!(worker = name, %panic, "a step panicked; its work is claimable again when the lease ends");
            None
        }
    }
}

/// Runs `count` workers of one kind side by side until `shutdown`; each has its own randomness.
pub async fn run_many<W: Worker + 'static>(
    name: &'static str,
    count: usize,
    mut make: impl FnMut() -> W,
    pace: Pace,
    hint: Hint,
    shutdown: CancellationToken,
) {
    let mut random = pace.random.clone();
    let mut loops = JoinSet::new();
    for _ in 0..count.max(1) {
        let pace = Pace { random: random.fork(), ..pace.clone() };
        loops.spawn(run(name, make(), pace, hint.clone(), shutdown.clone()));
    }
    loops.join_all().await;
}

/// Runs a future and turns a panic inside it into its message.
pub async fn catch_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        // The future is never polled again after a panic, so nobody sees what it left half done.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_text(panic.as_ref()))),
        }
    })
    .await
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use tokio::sync::mpsc;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DEADLINE: Duration = Duration::from_secs(20);

    enum Act {
        Work,
        Fail,
        Panic,
    }

    /// Plays acts, then idles; says when each step begins.
    struct Scripted {
        acts: VecDeque<Act>,
        began: mpsc::UnboundedSender<()>,
    }

    #[async_trait]
    impl Worker for Scripted {
        async fn step(&mut self) -> Result<Progress, WorkError> {
            self.began.send(()).unwrap();
            match self.acts.pop_front() {
                Some(Act::Work) => Ok(Progress::Worked),
                Some(Act::Fail) => Err(WorkError::Other("away".to_owned())),
                Some(Act::Panic) => panic!("broken step"),
                None => Ok(Progress::Idle),
            }
        }
    }

    struct Running {
        began: mpsc::UnboundedReceiver<()>,
        hint: Hint,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(acts: impl Into<VecDeque<Act>>, poll: Duration) -> Running {
        let (sender, began) = mpsc::unbounded_channel();
        let (hint, shutdown) = (Hint::new(), CancellationToken::new());
        let worker = Scripted { acts: acts.into(), began: sender };
        let pace = Pace { poll, backoff_max: poll, ..Pace::new(fastrand::Rng::with_seed(7)) };
        let task = tokio::spawn(run("scripted", worker, pace, hint.clone(), shutdown.clone()));
        Running { began, hint, shutdown, task }
    }

    impl Running {
        async fn steps(&mut self, count: usize) {
            for _ in 0..count {
                let step = tokio::time::timeout(DEADLINE, self.began.recv()).await;
                step.expect("the next step begins in time").expect("the loop runs");
            }
        }

        /// Ends the loop and counts the steps that began since they were last counted.
        async fn end(mut self) -> usize {
            self.shutdown.cancel();
            tokio::time::timeout(DEADLINE, self.task).await.expect("it drains in time").unwrap();
            let mut steps = 0;
            while self.began.try_recv().is_ok() {
                steps += 1;
            }
            steps
        }
    }

    #[test]
    fn an_idle_wait_is_the_poll_interval_with_jitter() {
        let mut pace = Pace::new(fastrand::Rng::with_seed(7));
        let waits: Vec<Duration> = (0..1000).map(|_| pace.wait(0)).collect();
        let bounds = Duration::from_millis(375)..=Duration::from_millis(625);
        assert!(waits.iter().all(|wait| bounds.contains(wait)));
        let distinct: BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 900, "waits differ");
    }

    #[test]
    fn trouble_doubles_the_wait_up_to_its_limit() {
        let mut pace = Pace { jitter: 0.0, ..Pace::new(fastrand::Rng::with_seed(7)) };
        let waits: Vec<u128> = (0..9).map(|troubles| pace.wait(troubles).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(pace.wait(u32::MAX), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn it_looks_again_at_once_after_work() {
        let mut running = start([Act::Work, Act::Work], HOUR);
        running.steps(3).await;
        assert_eq!(running.end().await, 0, "then it waits for an hour");
    }

    #[tokio::test]
    async fn it_polls_when_nobody_hints() {
        start([], Duration::from_millis(1)).steps(5).await;
    }

    #[tokio::test]
    async fn a_hint_wakes_it() {
        let mut running = start([], HOUR);
        for _ in 0..3 {
            running.steps(1).await;
            running.hint.wake();
        }
        running.steps(1).await;
        assert_eq!(running.end().await, 0);
    }

    #[tokio::test]
    async fn hints_do_not_shorten_the_back_off() {
        let mut running = start([Act::Fail], HOUR);
        running.steps(1).await;
        for _ in 0..20 {
            running.hint.wake();
            tokio::task::yield_now().await;
        }
        assert_eq!(running.end().await, 0);
    }

    #[tokio::test]
    async fn a_panic_costs_its_step_and_is_counted() {
        let before = tally().2;
        let mut running = start([Act::Panic, Act::Fail, Act::Work], Duration::from_millis(1));
        running.steps(4).await;
        assert!(tally().2 > before);
        running.end().await;
    }

    #[test]
    fn the_holder_of_a_lost_lease_is_told_and_nobody_else() {
        let (leases, fax) = (Leases::new(), crate::domain::FaxId::new());
        let [first, second] = [1, 2].map(|token| Lease::Fax(fax, token));
        let (one, other) = (leases.hold([first]), leases.hold([second]));
        assert_eq!(leases.lose(&[first]), 1);
        assert!(one.lost().is_cancelled() && !other.lost().is_cancelled());
        drop(other);
        assert_eq!(leases.lose(&[second]), 0, "it was given back meanwhile");
        assert_eq!(leases.held(), [first], "its holder drops it");
    }

    #[tokio::test]
    async fn shutdown_lets_the_steps_finish_and_begins_no_other() {
        struct Slow(mpsc::UnboundedSender<&'static str>, Arc<tokio::sync::Semaphore>);
        #[async_trait]
        impl Worker for Slow {
            async fn step(&mut self) -> Result<Progress, WorkError> {
                self.0.send("began").unwrap();
                self.1.acquire().await.unwrap().forget();
                self.0.send("finished").unwrap();
                Ok(Progress::Worked)
            }
        }
        let (sender, mut said) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let shutdown = CancellationToken::new();
        let pace = Pace::new(fastrand::Rng::with_seed(1));
        let gate_of_workers = Arc::clone(&gate);
        let make = move || Slow(sender.clone(), Arc::clone(&gate_of_workers));
        let loops = tokio::spawn(run_many("slow", 3, make, pace, Hint::new(), shutdown.clone()));
        for _ in 0..3 {
            assert_eq!(said.recv().await, Some("began"));
        }
        shutdown.cancel();
        gate.add_permits(100);
        tokio::time::timeout(DEADLINE, loops).await.expect("it drains in time").unwrap();
        for _ in 0..3 {
            assert_eq!(said.try_recv(), Ok("finished"));
        }
        assert!(said.try_recv().is_err());
    }
}
