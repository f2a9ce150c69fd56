//! Start, ready, drain, stop.
//!
//! Each role is a task that [`Lifecycle::spawn`] watches. SIGTERM or SIGINT begins the drain: roles finish what they
//! work on and begin nothing new. When the drain's deadline has passed, or at a second signal, everything stops at
//! once; that loses nothing, since leases expire and the store has the rest. A role that ends by itself is a failure:
//! the others drain, and the process ends so that its supervisor starts it anew.
//!
//! [`Service`] takes a node out of service and back while its process goes on.
//! [`LeaseKeeper`] renews the leases that the workers of the process hold, also during the drain, and knows until when they surely hold.
//! [`identity`] sees to it that no two processes are one node. [`notify`] tells the service manager that the process is ready, stopping, alive.

mod health;
pub mod identity;
pub mod notify;
mod service;
mod store_time;
mod uptime;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::store::{Owner, Store};
use crate::work::Leases;
pub use health::{Health, HealthWatch, Seen};
pub use service::{Lines, Service, Start, Term};
pub use store_time::StoreTime;
pub use uptime::{HeldUntil, Holding, Uptime};

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every role has finished its work.
    Drained,
    /// These roles were still at work when the deadline passed or the second signal came.
    Stopped {
        /// Their names.
        busy: Vec<String>,
    },
    /// A role ended by itself.
    Failed {
        /// Which.
        role: String,
        /// Its error.
        why: String,
    },
}

/// Whether a role does its work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum Ready {
    /// Not yet.
    Starting,
    /// Yes.
    Yes,
    /// Not at the moment, and why.
    No(String),
}

/// Readiness of every role, for health checks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Ready>>>);

impl Readiness {
    /// Says how a role is.
    pub fn set(&self, role: &str, ready: Ready) {
        self.roles().insert(role.to_owned(), ready);
    }

    /// How every role is.
    pub fn get(&self) -> BTreeMap<String, Ready> {
        self.roles().clone()
    }

    /// Whether there is a role, and every one does its work.
    pub fn all(&self) -> bool {
        let roles = self.roles();
        !roles.is_empty() && roles.values().all(|ready| *ready == Ready::Yes)
    }

    fn roles(&self) -> MutexGuard<'_, BTreeMap<String, Ready>> {
        // Whoever panicked in between left a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process from start to stop.
#[derive(Debug, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    stop: CancellationToken,
    readiness: Readiness,
    roles: JoinSet<Result<(), String>>,
    names: BTreeMap<Id, String>,
}

impl Lifecycle {
    /// Nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the drain begins: finish, and begin nothing new. Cancelling it begins the drain.
    pub fn drain(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Cancelled when everything must end now.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// How every role is.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Starts a role. It ends after [`Self::drain`] is cancelled, and not before.
    pub fn spawn<E: Display>(&mut self, role: &str, work: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.readiness.set(role, Ready::Starting);
        let task = self.roles.spawn(async move { work.await.map_err(|e| e.to_string()) });
        self.names.insert(task.id(), role.to_owned());
    }

    /// Waits for the end: `signals` begins the drain with its first message and stops with its second.
    pub async fn wait(mut self, mut signals: mpsc::Receiver<()>, drain_limit: Duration) -> Ending {
        let mut failure = None;
        let mut deadline: Option<Instant> = None;
        let mut listening = true;
        while !self.roles.is_empty() {
            tokio::select! {
                ended = self.roles.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    let broken = self.ended(ended);
                    failure = failure.or(broken);
                    if failure.is_some() {
                        self.drain.cancel();
                    }
                }
                came = signals.recv(), if listening => match came {
                    None => listening = false,
                    Some(()) if self.drain.is_cancelled() => {
                        warn!("a second signal: stopping now");
                        return self.stop_now().await;
                    }
                    Some(()) => self.drain.cancel(),
                },
                () = self.drain.cancelled(), if deadline.is_none() => {
                    info!(limit_s = drain_limit.as_secs(), "draining: what runs is finished, nothing new begins");
                    deadline = Some(Instant::now() + drain_limit);
                }
                () = sleep_until(deadline) => {
                    warn!(limit_s = drain_limit.as_secs(), "the drain took too long: stopping now");
                    return self.stop_now().await;
                }
            }
        }
        self.stop.cancel();
        failure.unwrap_or(Ending::Drained)
    }

    /// A failure, when the role ended by itself.
    fn ended(&mut self, ended: Result<(Id, Result<(), String>), JoinError>) -> Option<Ending> {
        let (id, why) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(why))) => (id, Some(why)),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let role = self.names.remove(&id).unwrap_or_default();
        let why = match why {
            None if self.drain.is_cancelled() => {
                info!(%role, "drained");
                self.readiness.set(&role, Ready::No("drained".to_owned()));
                return None;
            }
            None => "it ended although nobody asked for it".to_owned(),
            Some(why) => why,
        };
        error!(%role, error = %why, "a role has failed; the others drain");
        self.readiness.set(&role, Ready::No(why.clone()));
        Some(Ending::Failed { role, why })
    }

    async fn stop_now(mut self) -> Ending {
        self.drain.cancel();
        self.stop.cancel();
        self.roles.shutdown().await;
        Ending::Stopped { busy: self.names.into_values().collect() }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// One message for each SIGTERM or SIGINT that the process gets.
pub fn os_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let open = tokio::select! {
                came = terminate.recv() => came.is_some(),
                came = interrupt.recv() => came.is_some(),
            };
            if !open || sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Renews every lease that a worker of this process holds, three times in the time of a lease.
///
/// Dropping it ends the renewal; keep it until the last role has ended.
#[derive(Debug)]
pub struct LeaseKeeper {
    task: JoinHandle<()>,
    held_until: HeldUntil,
}

/// A third of the lease: two renewals may fail before it ends.
const RENEWALS_PER_LEASE: u32 = 3;
/// What is left of a lease when its owner stops relying on it, as a share of the lease: 1/8.
const MARGIN_DIVISOR: u32 = 8;

impl LeaseKeeper {
    /// Starts renewing what is in `leases`. `lease` is what the owner's claims ask for.
    pub fn start(store: Arc<dyn Store>, owner: Owner, leases: Leases, lease: Duration) -> Self {
        let reliable = lease - lease / MARGIN_DIVISOR;
        let (holding, held_until) = Holding::new(Uptime::now().plus(reliable));
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(lease / RENEWALS_PER_LEASE);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut failing = false;
            loop {
                every.tick().await;
                // Counted from before the question: the store's lease cannot end earlier than that.
                let asked = Uptime::now();
                match store.renew(&owner, &leases.held(), lease).await {
                    Ok(lost) => {
                        failing = false;
                        // Told first: what moves the deadline on for all others must not let theirs begin anything.
                        let in_hand = leases.lose(&lost);
                        if in_hand > 0 {
                            warn!(leases = in_hand, "leases were lost while the store was away; their work ends");
                        }
                        holding.set(asked.plus(reliable));
                    }
                    Err(error) if !std::mem::replace(&mut failing, true) => {
                        warn!(%error, "leases cannot be renewed; no call and no page begins once they have run out");
                    }
                    Err(_) => {}
                }
            }
        });
        Self { task, held_until }
    }

    /// Until when every lease claimed or renewed before is surely held. Past it, do not dial and do not start a page.
    pub fn held_until(&self) -> HeldUntil {
        self.held_until.clone()
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A role that drains as soon as `done` is cancelled.
    fn role(life: &mut Lifecycle, name: &str, done: &CancellationToken) {
        let (drain, done) = (life.drain(), done.clone());
        life.spawn(name, async move {
            drain.cancelled().await;
            done.cancelled().await;
            Ok::<(), String>(())
        });
    }

    async fn signals(count: usize) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
        let (signal, signals) = mpsc::channel(4);
        for _ in 0..count {
            signal.send(()).await.unwrap();
        }
        (signal, signals)
    }

    #[tokio::test]
    async fn the_first_signal_drains_and_waits_for_every_role() {
        let mut life = Lifecycle::new();
        let (quick, slow) = (CancellationToken::new(), CancellationToken::new());
        role(&mut life, "smtp", &quick);
        role(&mut life, "line", &slow);
        let (drain, stop, readiness) = (life.drain(), life.stop(), life.readiness());
        let (_signal, signals) = signals(1).await;
        let waiting = tokio::spawn(life.wait(signals, HOUR));
        drain.cancelled().await;
        quick.cancel();
        while readiness.get()["smtp"] == Ready::Starting {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished() && !stop.is_cancelled(), "the line is still at work");
        slow.cancel();
        assert_eq!(waiting.await.unwrap(), Ending::Drained);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_second_signal_and_the_deadline_stop_what_is_left() {
        for (count, limit) in [(2, HOUR), (1, Duration::from_millis(1))] {
            let mut life = Lifecycle::new();
            role(&mut life, "line", &CancellationToken::new());
            let (_signal, signals) = signals(count).await;
            let ending = life.wait(signals, limit).await;
            assert_eq!(ending, Ending::Stopped { busy: vec!["line".to_owned()] }, "{count} signals");
        }
    }

    #[tokio::test]
    async fn a_role_that_ends_by_itself_fails_the_process_and_the_others_drain() {
        let mut life = Lifecycle::new();
        let at_once = CancellationToken::new();
        at_once.cancel();
        role(&mut life, "smtp", &at_once);
        life.spawn("render", async { Err::<(), _>("no converter") });
        let readiness = life.readiness();
        let (_signal, signals) = signals(0).await;
        let ending = life.wait(signals, HOUR).await;
        assert_eq!(ending, Ending::Failed { role: "render".to_owned(), why: "no converter".to_owned() });
        assert_eq!(readiness.get()["render"], Ready::No("no converter".to_owned()));
        assert_eq!(readiness.get()["smtp"], Ready::No("drained".to_owned()));
    }

    #[tokio::test]
    async fn a_panicking_role_fails_the_process() {
        let mut life = Lifecycle::new();
        life.spawn("deliver", async {
            if true {
                panic!("no template");
            }
            Ok::<(), String>(())
        });
        let (_signal, signals) = signals(0).await;
        let Ending::Failed { role, .. } = life.wait(signals, HOUR).await else { panic!("it did not fail") };
        assert_eq!(role, "deliver");
    }

    #[test]
    fn the_process_is_ready_when_every_role_is() {
        let readiness = Readiness::default();
        assert!(!readiness.all(), "nothing runs yet");
        readiness.set("smtp", Ready::Yes);
        readiness.set("line", Ready::Starting);
        assert!(!readiness.all());
        readiness.set("line", Ready::Yes);
        assert!(readiness.all());
        readiness.set("smtp", Ready::No("the store is not available".to_owned()));
        assert!(!readiness.all());
    }

    #[tokio::test]
    async fn the_keeper_renews_until_it_is_dropped() {
        let test = testing::sqlite().await;
        let owner = testing::owner("gw-a");
        test.store.submit(testing::message(&["+99910200"])).await.unwrap();
        let lease = Duration::from_millis(60);
        let work = test.store.claim_render(&owner, lease).await.unwrap().unwrap();
        let leases = Leases::new();
        let in_hand = leases.hold(work.leases());
        let keeper = LeaseKeeper::start(test.store.clone(), owner, leases, lease);
        let mut held = keeper.held_until();
        let first = held.latest();
        assert!(held.beyond(first).await);
        // The store's clock stands still but for this step: only a renewal can have moved the lease beyond it.
        test.clock.advance(lease - Duration::from_millis(1));
        let now = held.latest();
        assert!(held.beyond(now.plus(lease)).await);
        test.clock.advance(Duration::from_millis(2));
        let other = testing::owner("gw-b");
        testing::expire(&*test.store).await;
        assert!(test.store.claim_render(&other, lease).await.unwrap().is_none());
        // A worker that is gone without a write-back: nobody else would ever get the row if it were renewed.
        drop(in_hand);
        let freed = async {
            // A renewal that was under way when it went may still be written.
            loop {
                test.clock.advance(2 * lease);
                let now = held.latest();
                assert!(held.beyond(now.plus(lease)).await);
                testing::expire(&*test.store).await;
                if let Some(work) = test.store.claim_render(&other, lease).await.unwrap() {
                    return work;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), freed).await.expect("nobody renews it");
        drop(keeper);
        let now = held.latest();
        assert!(!held.beyond(now).await, "the task is gone");
    }
}
