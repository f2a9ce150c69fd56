//! How many calls may begin now, counted over all nodes of the cluster.
//!
//! The store decides when an attempt begins; this is what the agent asks for meanwhile, so that it does not claim what
//! another node's calls leave no room for.

use std::collections::BTreeMap;

use super::Line;
use crate::store::LineUse;

/// What is left of the limits, as far as the store knew a moment ago.
pub(super) struct Room {
    used: BTreeMap<String, LineUse>,
    /// Calls that may begin on all lines together.
    all: u32,
}

impl Room {
    pub(super) fn new(used: Vec<LineUse>, all_per_minute: Option<u32>) -> Self {
        let begun = used.iter().map(|line| line.begun_last_minute).sum();
        let all = all_per_minute.map_or(u32::MAX, |most| most.saturating_sub(begun));
        Self { used: used.into_iter().map(|line| (line.line.clone(), line)).collect(), all }
    }

    /// Calls that may begin on all lines together.
    pub(super) fn all(&self) -> u32 {
        self.all
    }

    /// Calls that may begin on this line.
    pub(super) fn on(&self, line: &Line) -> u32 {
        let (calls, begun) = self.used.get(&line.name).map_or((0, 0), |used| (used.calls, used.begun_last_minute));
        let limits = &line.limits;
        let channels = line.channels.saturating_sub(calls);
        let rate = limits.line_per_minute.map_or(u32::MAX, |most| most.saturating_sub(begun));
        line.free().min(channels).min(rate).min(self.all)
    }

    /// A call is about to begin there.
    pub(super) fn take(&mut self, line: &str) {
        self.all = self.all.saturating_sub(1);
        let unused = || LineUse { line: line.to_owned(), calls: 0, begun_last_minute: 0 };
        let used = self.used.entry(line.to_owned()).or_insert_with(unused);
        used.calls += 1;
        used.begun_last_minute += 1;
    }
}
