//! The store's time, for what a node writes into mails and tokens that other nodes read.
//!
//! A node's wall clock may be wrong by minutes, and may jump. The store's is the one all nodes share, so it is asked once
//! a second; between two answers time goes on with the machine's uptime, which nobody sets.

use std::sync::{Arc, Mutex, PoisonError};

use super::Uptime;
use crate::domain::{Clock, Timestamp};

/// A clock that goes with the store's. Clones share it.
#[derive(Debug, Clone)]
pub struct StoreTime(Arc<Mutex<(Uptime, Timestamp)>>);

impl StoreTime {
    /// It was this time by the store's clock, at this uptime.
    pub fn new(at: Uptime, time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new((at, time))))
    }

    /// The store was asked at `asked` and said that it is `time`.
    pub fn set(&self, asked: Uptime, time: Timestamp) {
        // Whoever panicked in between left a whole value.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (asked, time);
    }

    fn at(&self, uptime: Uptime) -> Timestamp {
        let (at, time) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.plus(uptime.since(at))
    }
}

impl Clock for StoreTime {
    fn now(&self) -> Timestamp {
        self.at(Uptime::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_on_from_what_the_store_said_last_with_the_uptime_alone() {
        let begun = Uptime::now();
        let clock = StoreTime::new(begun, Timestamp(1_800_000_000_000));
        let later = begun.plus(Duration::from_secs(90));
        assert_eq!(clock.at(later), Timestamp(1_800_000_090_000));
        // Another server, whose clock is behind, writes now.
        clock.clone().set(later, Timestamp(1_800_000_060_000));
        assert_eq!(clock.at(later.plus(Duration::from_secs(1))), Timestamp(1_800_000_061_000));
        assert_eq!(clock.at(begun), Timestamp(1_800_000_060_000), "never before what was said");
    }
}
