//! Lines: a ready fax becomes a call, and the call an outcome.
//!
//! ```text
//! claim for free channels ─► attempt row ─► SIP, T.38 or G.711, T.30 (foip) ─► verdict ─► final with its notice,
//!        ▲                     (before the         │ each confirmed page                  or ready again later
//!        └── lines that answer  phone rings)       ▼ journal (fsync) before the next page starts, store at once
//! ```
//!
//! In comes a fax in state `ready`; out goes `sent`, `partial`, `failed`, `unknown`, or `ready` with a later
//! `not_before`. A line whose trunk does not answer takes no calls until it does, so that a dead trunk uses up no
//! attempts, and its faxes keep their place in the queue. When the store is away in the middle of a call, the call goes
//! on as long as the [`journal`] can be written and the agent's leases surely hold; nobody is called meanwhile. A page is
//! never followed by the next one before its confirmation is durable here or there.

mod call;
mod continued;
pub mod journal;
mod receive;
mod record;
mod room;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foip::agent::RegistrationGuard;
use foip::{Agent, AgentSettings, TrunkSettings};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::inbound::Mailboxes;
use crate::config::{Config, DialConfig, SipConfig, dialplan};
use crate::documents::Documents;
use crate::domain::Cause;
use crate::lifecycle::HeldUntil;
use crate::store::{CallLimits, CallWork, Fax, LineState, Owner, Reach, Result as StoreResult, Store};
use crate::work::{Hint, Leases};
pub use continued::Marker;
use journal::Journal;
use receive::Receiver;
use receive::callers::Callers;
use room::Room;
use watch::UnderWay;

/// A call's lease. Twice the longest failover of the store that was measured, so that one never ends a call.
pub const CALL_LEASE: Duration = Duration::from_secs(45);

/// How often a line whose trunk is down is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// No answer at all to the INVITE within this: the trunk is down. SIP's own 32 s are too long to try another line.
const INVITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Faxes whose number no line carries that are refused in one claim.
const REFUSALS_MAX: u32 = 16;

/// Faxes whose time is over that are ended at once; the rest follow a few seconds later.
const OVERDUE_MAX: u32 = 100;

/// What the line stage works with.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The documents.
    pub documents: Arc<Documents>,
    /// Marks the first page of a call that continues a fax.
    pub marker: Marker,
    /// Who claims.
    pub owner: Owner,
    /// What the workers of this process hold.
    pub leases: Leases,
    /// Until when they surely hold it.
    pub held_until: HeldUntil,
    /// Where facts of calls are durable at once.
    pub journal: Arc<Journal>,
    /// The gateway's domain, for the `Message-ID` of reports.
    pub domain: String,
    /// Dialling and retry rules.
    pub dial: DialConfig,
    /// Folder for documents of calls under way.
    pub spool: PathBuf,
    /// Wakes delivery when a report has become owed.
    pub delivery_hint: Hint,
    /// Whom received faxes go to.
    pub mailboxes: Mailboxes,
}

/// The agent: the part of the gateway that owns lines.
pub struct LineAgent {
    context: Context,
    /// `[sip.NAME]`, for the dial plan.
    sip: BTreeMap<String, SipConfig>,
    lines: BTreeMap<String, Arc<Line>>,
    calls: TaskTracker,
    /// Calls that come in are not answered any more.
    draining: CancellationToken,
    under_way: UnderWay,
    /// Ends the calls under way, after the page that is on the wire.
    stop_calls: CancellationToken,
    /// Wakes this stage when a call has ended and a channel is free again.
    hint: Hint,
}

/// A trunk with its SIP user agent.
struct Line {
    name: String,
    channels: u32,
    /// What holds for all nodes together.
    limits: CallLimits,
    trunk: TrunkSettings,
    /// How long T.38 is not tried again with a number that it failed with.
    remember_t38: Duration,
    agent: Agent,
    /// Kept up while the line lives; a trunk without user and password wants none.
    _registration: Option<RegistrationGuard>,
    calls: AtomicU32,
    /// Since when the trunk has not answered, with what was seen.
    down: Mutex<Option<(Instant, String)>>,
}

/// Why the lines cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The local address cannot be used.
    #[error("line \"{line}\": {source}; fix: set bind of [sip.{line}] to an address of this machine")]
    Start {
        /// The trunk.
        line: String,
        /// Why.
        source: foip::AgentError,
    },
    /// The folder for calls cannot be made.
    #[error("{path}: {source}; fix: make the data directory writable")]
    Spool {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl LineAgent {
    /// Binds the SIP addresses of every line of `config`.
    pub async fn start(config: &Config, context: Context, hint: Hint) -> Result<Self, LineError> {
        empty_spool(&context.spool).map_err(|source| LineError::Spool { path: context.spool.clone(), source })?;
        let (calls, draining, stop_calls) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let calls_begun = Arc::new(AtomicI64::new(0));
        let mut lines = BTreeMap::new();
        for (name, settings) in &config.sip {
            let agent = Agent::start(agent_settings(settings, context.mailboxes.any()))
                .await
                .map_err(|source| LineError::Start { line: name.clone(), source })?;
            let trunk = trunk_settings(name, settings);
            let registration = register(&agent, &trunk);
            let line = Line {
                name: name.clone(),
                channels: settings.channels,
                limits: CallLimits {
                    channels: Some(settings.channels),
                    line_per_minute: settings.calls_per_minute,
                    all_per_minute: config.dial.calls_per_minute,
                },
                trunk,
                remember_t38: settings.t38.remember,
                agent,
                _registration: registration,
                calls: AtomicU32::new(0),
                down: Mutex::new(None),
            };
            let line = Arc::new(line);
            if context.mailboxes.any() {
                line.agent.incoming(Arc::new(Receiver {
                    context: context.clone(),
                    line: Arc::downgrade(&line),
                    callers: Callers::new(settings),
                    calls_begun: Arc::clone(&calls_begun),
                    calls: calls.clone(),
                    draining: draining.clone(),
                    stop_calls: stop_calls.clone(),
                }));
            }
            lines.insert(name.clone(), line);
        }
        let (sip, under_way) = (config.sip.clone(), UnderWay::default());
        Ok(Self { context, sip, lines, calls, under_way, draining, stop_calls, hint })
    }

    /// Claims faxes for the channels that are free and starts their calls. Answers how many.
    pub async fn step(&self) -> StoreResult<usize> {
        // The store may have given away what this agent would claim now.
        if self.context.held_until.is_over() {
            return Ok(0);
        }
        let mut room = Room::new(self.context.store.line_use().await?, self.context.dial.calls_per_minute);
        let mut count = 0;
        // Each round takes a channel or is the last.
        loop {
            let (reach, limit) = self.reach(&room);
            let claimed = match limit {
                0 => Vec::new(),
                _ => self.context.store.claim_calls_to(&self.context.owner, &reach, limit, CALL_LEASE).await?,
            };
            if claimed.is_empty() {
                return Ok(count);
            }
            count += claimed.len();
            for work in claimed {
                let fax = work.fax.id.short();
                // One fax that cannot be written back is no reason to drop the others: its lease runs out.
                if let Err(error) = self.start_call(work, &mut room).await {
                    tracing::warn!(%fax, %error, "the fax cannot be given back; its lease will run out");
                }
            }
        }
    }

    /// Which numbers have a free channel now, and how many faxes may be claimed at once so that each finds one.
    fn reach(&self, room: &Room) -> (Vec<Reach>, u32) {
        let free = |line: &String| self.lines.get(line).filter(|line| line.is_up()).map_or(0, |line| room.on(line));
        let (mut reach, mut limit) = (Vec::new(), u32::MAX);
        let all = dialplan::reach(&self.context.dial, &self.sip);
        let count = all.len();
        for (numbers, lines) in all {
            // Numbers that no line ever carries are claimed for their refusal.
            let free: u32 =
                if lines.is_empty() { REFUSALS_MAX } else { lines.iter().map(free).sum::<u32>().min(room.all()) };
            if free > 0 {
                reach.push(numbers);
                limit = limit.min(free);
            }
        }
        match reach.len() {
            0 => (reach, 0),
            all_of_them if all_of_them == count => (vec![Reach::everywhere()], limit),
            _ => (reach, limit),
        }
    }

    /// Starts the call of a claimed fax, or says why there is none.
    async fn start_call(&self, work: CallWork, room: &mut Room) -> StoreResult<()> {
        if work.fax.is_complete() {
            return call::sent_already(&self.context, &work).await;
        }
        match self.line_for(&work.fax, room) {
            Ok(channel) => {
                let cancel = self.stop_calls.child_token();
                let call = call::Call::new(self.context.clone(), channel, work, cancel, &self.under_way);
                let hint = self.hint.clone();
                self.calls.spawn(async move {
                    call.run().await;
                    hint.wake();
                });
                Ok(())
            }
            Err(NoChannel::Now) => call::no_line(&self.context, &work).await,
            Err(NoChannel::Never(why)) => call::not_allowed(&self.context, &work, why).await,
        }
    }

    /// Ends what no line took before its time was over: a trunk that stays dead leaves nobody without an answer.
    pub async fn give_up_overdue(&self) -> StoreResult<usize> {
        let overdue = self.context.store.claim_overdue(&self.context.owner, OVERDUE_MAX, CALL_LEASE).await?;
        for work in &overdue {
            let ended = if work.fax.is_complete() {
                call::sent_already(&self.context, work).await
            } else {
                call::give_up(&self.context, work, Cause::LineDown).await
            };
            if let Err(error) = ended {
                tracing::warn!(fax = %work.fax.id.short(), %error, "the fax cannot be ended; its lease will run out");
            }
        }
        Ok(overdue.len())
    }

    /// Passes on what people order about the faxes in calls now: the call ends when the page on the wire is over.
    pub async fn look_for_orders(&self) -> StoreResult<()> {
        if !self.under_way.is_empty() {
            for (fax, order) in self.context.store.orders(&self.context.owner).await? {
                self.under_way.order(fax, order);
            }
        }
        Ok(())
    }

    /// Says how the lines do, and asks those that are down whether they are back.
    pub async fn look_after_lines(&self) -> StoreResult<()> {
        for line in self.lines.values() {
            if line.down_for().is_some_and(|since| since >= PROBE_EVERY) {
                line.probe().await;
            }
            self.context.store.line_seen(&line.state(&self.context.owner.node)).await?;
        }
        // What a call left that broke off between its facts.
        if self.under_way.is_empty() {
            self.context.journal.replay(&*self.context.store, &self.context.owner.node).await?;
        }
        Ok(())
    }

    /// Ends: no new call; those under way may finish until `deadline` and are then hung up after their page.
    pub async fn drain(&self, deadline: Duration) {
        self.draining.cancel();
        self.calls.close();
        if tokio::time::timeout(deadline, self.calls.wait()).await.is_err() {
            self.stop_calls.cancel();
            // A page at 2400 bit/s takes minutes; what is not over by then is settled from its attempt row.
            let _ = tokio::time::timeout(deadline, self.calls.wait()).await;
        }
        for line in self.lines.values() {
            line.agent.stop().await;
        }
    }

    /// Takes a channel of the first line that may carry this number and answers. The dial plan is asked again here:
    /// a rule that was tightened after the mail was accepted holds.
    fn line_for(&self, fax: &Fax, room: &mut Room) -> Result<Channel, NoChannel> {
        let dial = &self.context.dial;
        let plan = dialplan::plan(dial, &self.sip, &fax.number)
            .and_then(|plan| dialplan::tones(dial, &fax.number, fax.post_dial.as_deref()).map(|()| plan))
            .map_err(|refusal| NoChannel::Never(refusal.to_string()))?;
        let lines = plan.lines.iter().filter_map(|name| self.lines.get(name));
        let with_room = lines.filter(|line| line.is_up() && room.on(line) > 0);
        let channel = with_room.filter_map(Channel::take).next().ok_or(NoChannel::Now)?;
        room.take(&channel.line.name);
        Ok(channel)
    }
}

/// Why no channel carries a number.
enum NoChannel {
    /// All are taken or down.
    Now,
    /// The dial plan does not allow it (any more).
    Never(String),
}

impl Line {
    fn free(&self) -> u32 {
        self.channels.saturating_sub(self.calls.load(Ordering::Acquire))
    }

    fn is_up(&self) -> bool {
        self.lock_down().is_none()
    }

    fn down_for(&self) -> Option<Duration> {
        self.lock_down().as_ref().map(|(since, _)| since.elapsed())
    }

    fn mark_down(&self, why: &str) {
        tracing::warn!(line = %self.name, why, "the trunk does not answer; no calls on it until it does");
        *self.lock_down() = Some((Instant::now(), why.to_owned()));
    }

    async fn probe(&self) {
        match self.agent.options(&self.trunk).await {
            // RFC 3261 §11: any final answer at all says that somebody is there.
            Ok(status) if !status.local => {
                tracing::info!(line = %self.name, code = status.code, "the trunk answers again");
                *self.lock_down() = None;
            }
            Ok(_) | Err(_) => *self.lock_down() = Some((Instant::now(), "no answer to OPTIONS".to_owned())),
        }
    }

    fn state(&self, node: &str) -> LineState {
        let down = self.lock_down().as_ref().map(|(_, why)| why.clone());
        LineState {
            line: self.name.clone(),
            node: node.to_owned(),
            channels: self.channels,
            calls: self.calls.load(Ordering::Acquire),
            up: down.is_none(),
            detail: down.unwrap_or_else(|| self.trunk.server.clone()),
            seen_at: crate::domain::Timestamp(0),
        }
    }

    fn lock_down(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        self.down.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One channel of a line, taken for one call and free again when dropped.
struct Channel {
    line: Arc<Line>,
}

impl Channel {
    fn take(line: &Arc<Line>) -> Option<Self> {
        let taken = line
            .calls
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| (calls < line.channels).then_some(calls + 1));
        taken.is_ok().then(|| Self { line: Arc::clone(line) })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.line.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Makes the folder, and removes the documents of calls that an earlier life of this process did not end.
fn empty_spool(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with(receive::SPOOL_PREFIX) && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else if name.ends_with(call::SPOOLED) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Tells the trunk where we are, when there is a user to be known by. A trunk that refuses may take calls all the same:
/// the call's own digest authentication decides.
fn register(agent: &Agent, trunk: &TrunkSettings) -> Option<RegistrationGuard> {
    trunk.user.as_ref().zip(trunk.password.as_ref())?;
    match agent.register(trunk) {
        Ok(guard) => Some(guard),
        Err(error) => {
            tracing::warn!(line = %trunk.name, %error, "the line is not registered");
            None
        }
    }
}

/// The address that calls for this gateway's line come to.
impl LineAgent {
    /// Where the agent of this line listens for SIP; none when there is no such line.
    pub fn local_addr(&self, line: &str) -> Option<SocketAddr> {
        self.lines.get(line).map(|line| line.agent.local_addr())
    }
}

fn agent_settings(settings: &SipConfig, receives: bool) -> AgentSettings {
    AgentSettings {
        bind: settings.bind,
        advertised: None,
        media_ports: None,
        user_agent: concat!("faxwell/", env!("CARGO_PKG_VERSION")).to_owned(),
        // One more than can be taken: it is told that the line is busy.
        incoming_max: if receives { settings.channels as usize + 1 } else { 0 },
        seed: fastrand::u64(..),
    }
}

fn trunk_settings(name: &str, settings: &SipConfig) -> TrunkSettings {
    TrunkSettings {
        name: name.to_owned(),
        server: settings.server.clone(),
        user: settings.user.clone(),
        password: settings.password.clone(),
        number: settings.number.clone(),
        t38: settings.t38.enabled,
        fallback_g711: settings.t38.fallback_g711,
        reinvite_after: settings.t38.reinvite_after,
        ecm: settings.t38.ecm,
        max_rate_bps: settings.t38.max_rate_bps,
        t38_version: settings.t38.version,
        max_datagram: None,
        pace: settings.pace,
        invite_timeout: INVITE_TIMEOUT,
        ring_timeout: settings.ring_timeout,
    }
}
