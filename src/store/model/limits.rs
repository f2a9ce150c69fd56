//! What holds for all nodes of a cluster together: channels and rates of trunks, and orders to nodes.

use serde::Serialize;
use uuid::Uuid;

use crate::domain::Timestamp;

/// What a call that begins must not exceed, counted over every node. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls at once on its trunk, those that came in too.
    pub channels: Option<u32>,
    /// Calls that begin on its trunk within any minute.
    pub line_per_minute: Option<u32>,
    /// Calls that begin on all trunks together within any minute.
    pub all_per_minute: Option<u32>,
}

/// What the nodes together do with a trunk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineUse {
    /// The trunk.
    pub line: String,
    /// Calls that are open, both ways.
    pub calls: u32,
    /// Calls that began within the last minute, ours to others.
    pub begun_last_minute: u32,
}

/// A call that comes in and is about to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIncoming {
    /// Made by the caller.
    pub id: Uuid,
    /// The trunk.
    pub line: String,
    /// Calls that it may have at once, over every node.
    pub channels: u32,
}

/// A node is out of service because somebody ordered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainOrder {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}
