//! On whose account a message goes: accounts that log in, what an identity may send, and what it has sent.

use serde::Serialize;

use crate::domain::Timestamp;

/// On whose account a message goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitter {
    /// The identity: 1 to 128 characters.
    pub identity: String,
    /// What accounting calls it.
    pub billing: Option<String>,
    /// What it may send.
    pub limits: SubmitLimits,
    /// Hash of the signature that alone lets the message in: it lets in one fax a number.
    pub signature: Option<[u8; 32]>,
}

/// What an identity may send, on all nodes together; none: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubmitLimits {
    /// Faxes accepted within any hour.
    pub faxes_per_hour: Option<u32>,
    /// Faxes accepted within any 24 hours.
    pub faxes_per_day: Option<u32>,
    /// Faxes of one reverse-path accepted within any hour.
    pub faxes_per_hour_each: Option<u32>,
    /// Faxes of one reverse-path accepted within any 24 hours.
    pub faxes_per_day_each: Option<u32>,
    /// Pages of the faxes accepted within any hour, as far as they are rendered.
    pub pages_per_hour: Option<u32>,
    /// Pages of the faxes accepted within any 24 hours, as far as they are rendered.
    pub pages_per_day: Option<u32>,
}

impl SubmitLimits {
    /// Whether anything is limited.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit {
    /// `faxes per hour`
    pub what: &'static str,
    /// How many are allowed.
    pub most: u32,
    /// When there is room at the earliest; none when the message alone is more than is allowed.
    pub again: Option<Timestamp>,
}

/// An account that may log in. Neither its password nor anything that a login could be made from.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name: 1 to 128 characters, in lower case.
    pub name: String,
    /// Argon2id, in the PHC string format.
    #[serde(skip)]
    pub password: String,
    /// What SCRAM-SHA-256 compares with.
    #[serde(skip)]
    pub scram: ScramKeys,
    /// What it may send: JSON.
    #[serde(skip)]
    pub policy: String,
    /// Since when, with this password.
    pub made_at: Timestamp,
    /// Who made it.
    pub made_by: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without its keys.
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// RFC 5802 §3, with SHA-256 (RFC 7677).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// At random for each password: 16 octets or more.
    pub salt: Vec<u8>,
    /// 4096 or more.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; 32],
}
