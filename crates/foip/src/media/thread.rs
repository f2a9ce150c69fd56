//! The loop of the media thread.
//!
//! ```text
//! commands ──► apply ──┐
//! socket ────► hear ───┤ Leg (spandsp) ──► observer, synchronously
//! clock ─────► tick ───┘        └────────► datagrams
//! ```
//! Two clocks: real time, where 20 ms of signal take 20 ms and lateness is made up for, and lock-step ([`super::pace`]).
//! The loop ends when T.30 does, when the call does, or when nothing is heard any more; it always returns an outcome.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::ledger::{Ending, SharedLedger};
use super::leg::{Leg, duration};
use super::pace::{Goes, LockStep, PEER_TIMEOUT, REPEAT_AFTER, TICK};
use super::{MediaCommand, MediaEvent, MediaOrder, MediaThread, Observer};
use crate::call::{CallReport, Lateness, Pace, T30Status};

/// Nothing heard for so long in the call's clock, while it was the far end's turn, means that it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// The clock has stood still (a blocked observer, a suspended machine) when more than this is to be made up for.
const LATENESS_MAX: Duration = Duration::from_secs(2);
/// How soon a command is seen while the thread waits for something else.
const COMMAND_LATENCY: Duration = Duration::from_millis(5);
/// A fault has already asked for BYE.
const HANGING_UP: Ending = Ending::HangUpAt(Duration::MAX);
/// Datagrams of two seconds, after which the clock is not made up for.
const WAITING_MAX: usize = 200;
/// Largest UDP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Starts the media thread of one call.
///
/// `socket` carries RTP and UDPTL alike, and in lock-step the ticks. Nothing is sent before the first
/// [`MediaCommand::Audio`] or [`MediaCommand::T38`]. The observer is called on this thread, in the order of events.
pub fn spawn(
    order: MediaOrder,
    socket: UdpSocket,
    observer: Observer,
    commands: Receiver<MediaCommand>,
    events: UnboundedSender<MediaEvent>,
) -> MediaThread {
    let may_switch = Arc::new(AtomicBool::new(true));
    let ledger = SharedLedger::new(&order, observer, Arc::clone(&may_switch));
    let driver = Driver {
        order,
        socket,
        ledger,
        commands,
        events,
        leg: None,
        remote: None,
        latched: false,
        ticks: 0,
        heard_at: 0,
        read_timeout: Duration::ZERO,
        lateness: Lateness::default(),
    };
    MediaThread { join: std::thread::spawn(move || driver.run()), may_switch }
}

/// Why the loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// T.30 is over, or cannot go on.
    Finished,
    /// [`MediaCommand::Stop`], or nobody is left to command.
    Stopped,
    RemoteHungUp,
    /// Nothing heard for so long.
    Dead(Duration),
}

struct Driver {
    order: MediaOrder,
    socket: UdpSocket,
    ledger: SharedLedger,
    commands: Receiver<MediaCommand>,
    events: UnboundedSender<MediaEvent>,
    leg: Option<Leg>,
    remote: Option<SocketAddr>,
    /// Whether `remote` is where packets really come from.
    latched: bool,
    ticks: u64,
    /// When media of the far end was last heard, or was not to be expected.
    heard_at: u64,
    /// The socket's time-out as it is set, so that it is not set anew for each datagram.
    read_timeout: Duration,
    lateness: Lateness,
}

impl Driver {
    fn run(mut self) -> CallReport {
        let end = match self.order.pace {
            Pace::RealTime => self.real_time(),
            Pace::LockStep(factor) => self.lock_step(factor),
        };
        self.finish(end)
    }

    fn finish(mut self, end: End) -> CallReport {
        let before = self.leg.as_ref().and_then(Leg::completion);
        if let Some(leg) = &mut self.leg {
            leg.terminate();
        }
        let completion = self.leg.as_ref().and_then(Leg::completion);
        let mut outcome = self.ledger.lock().outcome.clone();
        outcome.t30 = outcome.t30.or(completion.map(|end| T30Status { code: end.code, text: end.text }));
        outcome.lateness = self.lateness;
        outcome.remote_hung_up = end == End::RemoteHungUp && before.is_none();
        if let Some(leg) = &self.leg {
            self.add_losses(leg, &mut outcome);
        }
        match end {
            End::Finished => self.tell(MediaEvent::Finished),
            End::Dead(silence) => {
                outcome.dead = true;
                self.tell(MediaEvent::Dead(silence));
            }
            End::Stopped | End::RemoteHungUp => {}
        }
        outcome
    }

    fn add_losses(&self, leg: &Leg, outcome: &mut CallReport) {
        let (lost, recovered) = leg.losses();
        outcome.packets_lost += lost;
        outcome.packets_recovered += recovered;
    }

    fn tell(&self, event: MediaEvent) {
        // Nobody listens any more when the SIP side has gone first; the outcome says the same.
        let _ = self.events.send(event);
    }

    /// Waits for a command, at most so long. `Ok(None)` when none came.
    fn command(&mut self, wait: Duration) -> Result<Option<MediaCommand>, End> {
        match self.commands.recv_timeout(wait) {
            Ok(MediaCommand::RemoteHungUp) => Err(End::RemoteHungUp),
            Ok(MediaCommand::Stop) | Err(RecvTimeoutError::Disconnected) => Err(End::Stopped),
            Ok(MediaCommand::Audio(target)) => {
                self.switch(target.remote, |order, ledger| Leg::audio(order, target.a_law, ledger))?;
                Ok(Some(MediaCommand::Audio(target)))
            }
            Ok(MediaCommand::T38(target)) => {
                // A person does not speak T.38; the SIP side refuses it.
                if !self.leg.as_ref().is_some_and(Leg::is_person) {
                    self.switch(target.remote, |order, ledger| Leg::t38(order, &target, ledger))?;
                }
                Ok(Some(MediaCommand::T38(target)))
            }
            Ok(command) => Ok(Some(command)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    fn switch(
        &mut self,
        remote: SocketAddr,
        make: impl FnOnce(&MediaOrder, &SharedLedger) -> Result<Leg, spandsp::SettingsError>,
    ) -> Result<(), End> {
        if let Some(old) = self.leg.take() {
            let mut outcome = std::mem::take(&mut self.ledger.lock().outcome);
            self.add_losses(&old, &mut outcome);
            self.ledger.lock().outcome = outcome;
        }
        self.remote = Some(remote);
        self.latched = false;
        self.heard_at = self.ticks;
        match make(&self.order, &self.ledger) {
            Ok(leg) => self.leg = Some(leg),
            Err(error) => {
                tracing::error!(%error, "no fax terminal");
                let mut ledger = self.ledger.lock();
                ledger.outcome.t30 = Some(T30Status { code: -1, text: error.to_string() });
                return Err(End::Finished);
            }
        }
        Ok(())
    }

    /// 20 ms of signal; the datagrams to send are appended to `out`.
    fn tick(&mut self, out: &mut Vec<Vec<u8>>) -> Result<(), End> {
        let Some(leg) = &mut self.leg else { return Ok(()) };
        self.ticks += 1;
        let now = duration(self.ticks);
        self.ledger.lock().tick(now);
        leg.tick(&self.ledger, out);
        let aborted = leg.aborted();
        let ending = {
            let mut ledger = self.ledger.lock();
            if aborted {
                ledger.observer_panicked();
            }
            let ending = ledger.ending;
            if let Some(Ending::HangUpAt(at)) = ending
                && now >= at
            {
                // Once: the SIP side sends BYE, and Stop comes.
                ledger.ending = Some(HANGING_UP);
                self.tell(MediaEvent::HangUpNow);
            }
            ending
        };
        match ending {
            Some(Ending::Broken) => {
                out.clear();
                return Err(End::Finished);
            }
            Some(Ending::HangUpAt(_)) => out.clear(),
            None => {}
        }
        // While our image leaves, the far end has nothing to say.
        if self.ledger.lock().sending_image() {
            self.heard_at = self.ticks;
        }
        let silence = duration(self.ticks - self.heard_at);
        if silence > SILENCE_MAX {
            return Err(End::Dead(silence));
        }
        // T.30's own end, unless a fault keeps the call open.
        let over = self.leg.as_ref().is_some_and(|leg| leg.completion().is_some());
        if ending.is_none() && over { Err(End::Finished) } else { Ok(()) }
    }

    /// Takes a datagram of the far end; whether it was one of this call's.
    fn hear(&mut self, datagram: &[u8], from: SocketAddr) -> bool {
        // Once packets have come, only their source counts: no one else may inject any.
        if self.latched && self.remote != Some(from) {
            return false;
        }
        let Some(leg) = &mut self.leg else { return false };
        let valid = leg.hear(datagram, &self.ledger);
        if valid {
            self.latch(from);
            self.heard_at = self.ticks;
        }
        valid
    }

    /// Symmetric media: what we send goes to where the far end's packets come from, whatever its SDP said behind a NAT.
    fn latch(&mut self, from: SocketAddr) {
        if !self.latched {
            tracing::debug!(%from, "media latched");
            self.latched = true;
            self.remote = Some(from);
        }
    }

    fn send(&self, datagram: &[u8]) {
        let Some(remote) = self.remote else { return };
        if let Err(error) = self.socket.send_to(datagram, remote) {
            // An ICMP error of an earlier packet, or a full buffer: redundancy covers it, the watchdog the rest.
            tracing::debug!(%error, "media not sent");
        }
    }

    /// The next datagram, waited for at most so long.
    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Option<(usize, SocketAddr)> {
        // Zero would mean for ever.
        let wait = wait.max(Duration::from_millis(1));
        if wait != self.read_timeout {
            self.read_timeout = wait;
            if let Err(error) = self.socket.set_read_timeout(Some(wait)) {
                tracing::error!(%error, "no time-out on the media socket");
            }
        }
        match self.socket.recv_from(buffer) {
            Ok(received) => Some(received),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                None
            }
            Err(error) => {
                // ICMP port unreachable of a far end that is not up yet.
                tracing::debug!(%error, "media not received");
                None
            }
        }
    }

    /// What came while this thread was late belongs before the ticks that it makes up for: else they would take packets
    /// for lost that only wait in the socket.
    fn hear_what_waits(&mut self, buffer: &mut [u8]) {
        for _ in 0..WAITING_MAX {
            let Some((length, from)) = self.receive(buffer, Duration::ZERO) else { return };
            self.hear(&buffer[..length], from);
        }
    }

    fn real_time(&mut self) -> End {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut out = Vec::new();
        // When tick number `self.ticks` was due.
        let mut base: Option<Instant> = None;
        loop {
            let idle = if self.leg.is_none() { TICK } else { Duration::ZERO };
            if let Err(end) = self.command(idle) {
                return end;
            }
            if self.leg.is_none() {
                continue;
            }
            let mut due = *base.get_or_insert_with(Instant::now);
            if due.elapsed() > LATENESS_MAX {
                tracing::warn!(late_ms = due.elapsed().as_millis() as u64, "the media clock stood still");
                due = Instant::now();
            }
            if due.elapsed() >= 2 * TICK {
                self.hear_what_waits(&mut buffer);
            }
            // By elapsed time and never by wake-ups: a late thread makes up for all it missed.
            while due.elapsed() >= TICK {
                due += TICK;
                let ended = self.tick(&mut out);
                out.drain(..).for_each(|datagram| self.send(&datagram));
                self.lateness.note(due.elapsed());
                if let Err(end) = ended {
                    return end;
                }
            }
            base = Some(due);
            if let Some((length, from)) = self.receive(&mut buffer, TICK.saturating_sub(due.elapsed())) {
                self.hear(&buffer[..length], from);
            }
        }
    }

    fn lock_step(&mut self, factor: f32) -> End {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut lock_step = LockStep::default();
        let mut held = false;
        // 0 for as fast as possible.
        let step = Duration::try_from_secs_f32(TICK.as_secs_f32() / factor.max(0.001)).unwrap_or_default();
        let mut not_before = Instant::now();
        let mut last_sent = Instant::now();
        let mut last_heard = Instant::now();
        loop {
            let throttle = not_before.saturating_duration_since(Instant::now());
            let idle = if self.leg.is_none() { COMMAND_LATENCY } else { throttle.min(COMMAND_LATENCY) };
            match self.command(idle) {
                Err(end) => return end,
                Ok(Some(MediaCommand::HoldClock)) => held = true,
                Ok(Some(MediaCommand::ReleaseClock)) => held = false,
                Ok(Some(_)) => last_heard = Instant::now(),
                Ok(None) => {}
            }
            if self.leg.is_none() || throttle > COMMAND_LATENCY {
                last_heard = Instant::now();
                continue;
            }
            if !held && lock_step.may_tick() {
                not_before = Instant::now().max(not_before) + step;
                if let Err(end) = self.lock_step_tick(&mut lock_step) {
                    return end;
                }
                // A fault has asked for BYE: the call's clock stands still until it comes, however long that takes.
                held |= self.ledger.lock().ending == Some(HANGING_UP);
                last_sent = Instant::now();
                last_heard = Instant::now();
                if lock_step.may_tick() {
                    continue;
                }
            }
            // No NAT lies between the ends of a lock-step, so only the address of the session description counts: the
            // far end of an earlier call may go on repeating a tick to a port that this call was given since.
            if let Some((length, from)) = self.receive(&mut buffer, COMMAND_LATENCY)
                && self.remote == Some(from)
                && lock_step.receive(&buffer[..length])
            {
                last_heard = Instant::now();
            }
            if last_sent.elapsed() >= REPEAT_AFTER {
                last_sent = Instant::now();
                lock_step.repeat().for_each(|datagram| self.send(datagram));
            }
            if last_heard.elapsed() > PEER_TIMEOUT {
                return End::Dead(last_heard.elapsed());
            }
        }
    }

    fn lock_step_tick(&mut self, lock_step: &mut LockStep) -> Result<(), End> {
        let Some(remote) = self.remote else { return Ok(()) };
        for datagram in lock_step.take_heard() {
            self.hear(&datagram, remote);
        }
        let mut out = Vec::new();
        let ended = self.tick(&mut out);
        // Only an end whose T.30 is over lets the other one go on: a call that is broken off stands still until BYE.
        let over = ended.is_err() && self.ledger.lock().ending.is_none();
        self.send(lock_step.tick(&out, if over { Goes::Out } else { Goes::On }));
        ended
    }
}
