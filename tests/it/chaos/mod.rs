//! Proof: the gateway under faults, judged from outside.
//!
//! ```text
//! load client ─► gateway (killed, stopped, starved) ─► far end          each of them a process or thread of its own,
//!      │             ▲       └────────────────────────► smart host      each with a ledger that is fsynced before the
//!  sent.jsonl    faults.jsonl      mailbox.jsonl   farend.jsonl         gateway hears of what is in it
//!      └──────────────┴────────────────┴───────────────┴──► checker: a pure function over the ledgers
//! ```
//! `crash_points` kills one gateway at each named point of its code; `local` runs hundreds of faxes through a seeded
//! storm of faults (`make chaos-local`); `negative` shows that the checker finds what a switched-off guarantee breaks.

pub(crate) mod checker;
mod cluster;
pub(crate) mod control;
mod crash_points;
pub(crate) mod evidence;
pub(crate) mod faults;
pub(crate) mod ledger;
pub(crate) mod load;
mod local;
mod negative;
pub(crate) mod pages;
pub(crate) mod process;
pub(crate) mod service;
pub(crate) mod site;
pub(crate) mod smart_host;
mod violations;
