//! What was seen from outside, one JSON object a line, durable before anybody hears of it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Milliseconds since the epoch, by this machine's clock: all ledgers are written on one machine.
pub(crate) fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the harness is the world outside: it has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// An open ledger; clones write to the same file.
#[derive(Clone)]
pub(crate) struct Ledger {
    file: Arc<Mutex<File>>,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self { file: Arc::new(Mutex::new(file)) }
    }

    /// Appends a line and makes it durable.
    pub(crate) fn write(&self, line: &impl Serialize) {
        let mut text = serde_json::to_string(line).unwrap();
        text.push('\n');
        let mut file = self.file.lock().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
    }
}

/// Every whole line of a ledger; none when there is no file. A torn last line is what a killed writer leaves.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))).collect()
}

/// One try to hand in a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// When the answer came.
    pub(crate) at_ms: u64,
    /// The mail's Message-ID without brackets and domain: the same for every try.
    pub(crate) token: String,
    pub(crate) number: String,
    /// Pages that it must become.
    pub(crate) pages: u32,
    pub(crate) outcome: SentOutcome,
    /// `F-…` out of the reply.
    pub(crate) fax: Option<String>,
    pub(crate) reply: String,
    pub(crate) took_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SentOutcome {
    /// 250: from here on the gateway owes a report.
    Accepted,
    /// 4xx or 5xx.
    Refused,
    /// The connection broke after the final dot (RFC 1047).
    Unknown,
    /// Nothing was handed in: the connection broke before the final dot.
    NotSent,
}

/// A mail that came to the smart host up to its final dot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) at_ms: u64,
    pub(crate) message_id: String,
    /// Message-ID of the mail that it answers; empty for a received fax.
    pub(crate) in_reply_to: String,
    /// `sent`, `partial`, `failed`, `unknown`, `cancelled`, `delayed`, `received`, …
    pub(crate) kind: String,
    /// `F-…`
    pub(crate) fax: String,
    pub(crate) number: String,
    /// Pages confirmed and pages in all, as the mail says.
    pub(crate) pages: (u32, u32),
    /// Hashes of the whole pages of an attached TIFF.
    pub(crate) bodies: Vec<String>,
}

impl Delivered {
    /// The mail that it answers: `<token@client.test>` → `token`.
    pub(crate) fn token(&self) -> &str {
        let id = self.in_reply_to.trim().trim_start_matches('<').trim_end_matches('>');
        id.split('@').next().unwrap_or(id)
    }

    /// Whether it says how a fax ended.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.kind.as_str(), "sent" | "partial" | "failed" | "unknown" | "cancelled")
    }
}

/// Something that was done to the gateway or its neighbours, or that it did to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) at_ms: u64,
    /// When it was over: the process is dead or runs again, the lock is free.
    pub(crate) until_ms: u64,
    pub(crate) detail: String,
    /// The node of the gateway that it struck; empty: whatever there is.
    #[serde(default)]
    pub(crate) node: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    GatewayKill,
    GatewayStop,
    ConverterKill,
    FarEndKill,
    FarEndStop,
    SmartHostKill,
    SmartHostStop,
    DiskFull,
    StoreLock,
    /// A node is killed and stays dead until others have what it worked on.
    GatewayDeath,
    /// No packet of the gateway's node reaches anybody, nor the other way round.
    GatewayCutOff,
    /// Only the database servers and the balancer in front of them are out of its reach.
    StoreCutOff,
    PrimaryKill,
    PrimaryCutOff,
    ReplicaCutOff,
    /// The synchronous replica confirms nothing for a while.
    ReplicaSlow,
    WrongClock,
    BalancerKill,
    DocumentsAway,
    /// The primary is changed on purpose.
    Switchover,
    /// A node is drained and comes back.
    Drain,
    /// A node is asked to end, does so, and is started anew.
    RollingRestart,
}

impl FaultKind {
    /// Whether a page whose confirmation is on its way may get lost by it: an end of the line is gone or deaf.
    pub(crate) fn cuts_calls(self) -> bool {
        matches!(
            self,
            Self::GatewayKill
                | Self::GatewayDeath
                | Self::GatewayStop
                | Self::GatewayCutOff
                | Self::FarEndKill
                | Self::FarEndStop
        )
    }

    /// Whether an end of the line is dead by it: it drives no call any more, and waits for none.
    pub(crate) fn ends_calls(self) -> bool {
        matches!(self, Self::GatewayKill | Self::GatewayDeath | Self::FarEndKill)
    }

    /// Whether the gateway may lose the smart host's answer, or its own note of it, by it.
    pub(crate) fn cuts_deliveries(self) -> bool {
        !matches!(self, Self::ConverterKill | Self::FarEndKill | Self::FarEndStop) && !self.is_planned_work()
    }

    /// Whether it is work on a node of the gateway that nobody may notice.
    pub(crate) fn is_planned_work(self) -> bool {
        matches!(self, Self::Drain | Self::RollingRestart)
    }
}
