//! A clock for deadlines of our own: it goes on while the machine is suspended, when leases in the store run out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// Time since the machine was started, suspension included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        // Neither is ever negative for this clock.
        Self(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Until when the leases of this process are surely held. Clones share it.
#[derive(Debug, Clone)]
pub struct HeldUntil(watch::Receiver<Uptime>);

impl HeldUntil {
    /// Whether a worker must not begin anything more: somebody else may own its rows.
    pub fn is_over(&self) -> bool {
        Uptime::now() >= self.latest()
    }

    /// Past it, do not dial and do not start a page.
    pub fn latest(&self) -> Uptime {
        *self.0.borrow()
    }

    /// Waits until it has moved beyond `until`; `false` when nobody renews any more.
    pub async fn beyond(&mut self, until: Uptime) -> bool {
        self.0.wait_for(|latest| *latest > until).await.is_ok()
    }
}

/// The one who moves it.
#[derive(Debug)]
pub struct Holding(watch::Sender<Uptime>);

impl Holding {
    /// Held until then.
    pub fn new(until: Uptime) -> (Self, HeldUntil) {
        let (sender, receiver) = watch::channel(until);
        (Self(sender), HeldUntil(receiver))
    }

    /// Held until then from now on.
    pub fn set(&self, until: Uptime) {
        self.0.send_replace(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_the_time_in_which_the_machine_was_suspended() {
        // The kernel's own figure of it (proc_uptime(5)), in hundredths of a second.
        let kernel = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Uptime(Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap()))
        };
        let hundredth = Duration::from_millis(10);
        let (before, now, after) = (kernel(), Uptime::now(), kernel());
        assert!(before <= now && now <= after.plus(hundredth), "{before:?} {now:?} {after:?}");
    }

    #[test]
    fn what_is_held_is_over_at_its_time_though_nobody_woke_up_to_see_it() {
        let (holding, held) = Holding::new(Uptime::now().plus(Duration::from_secs(3600)));
        assert!(!held.is_over());
        // As after a suspension of hours: the clock has gone on beyond the deadline, no timer has fired.
        holding.set(Uptime(Uptime::now().0.saturating_sub(Duration::from_millis(1))));
        assert!(held.is_over());
    }
}
