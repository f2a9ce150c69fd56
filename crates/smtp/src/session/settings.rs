//! What a session is told before it begins.

use std::borrow::Cow;
use std::time::Duration;

use crate::sasl::Mechanism;

/// What the session needs to know. Limits are those of RFC 5321 §4.5.3; the values are the driver's.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The name in the greeting.
    pub hostname: String,
    /// Largest content in octets (RFC 1870).
    pub max_size_bytes: u64,
    /// Most accepted recipients of one transaction; 100 at the least (RFC 5321 §4.5.3.1.8).
    pub max_recipients: usize,
    /// Most refused recipients of one connection; somebody who tries more is trying out numbers.
    pub max_refused: usize,
    /// Most commands of one connection that are no SMTP or out of order.
    pub max_errors: usize,
    /// Most transactions of one connection.
    pub max_transactions: usize,
    /// Most failed logins of one connection; somebody who tries more is trying out passwords.
    pub max_failed_logins: usize,
    /// RFC 5321 §4.5.3.2.7: 5 minutes for a command at the least.
    pub command_timeout: Duration,
    /// RFC 5321 §4.5.3.2.5: 3 minutes for a block of content.
    pub data_timeout: Duration,
    /// What is offered beside what always is.
    pub offers: Offers,
    /// The catalogue's words for what the session itself refuses.
    pub slugs: Slugs,
}

/// Extensions that not every connection has.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Whether TLS can be had; ignored once it is there.
    pub starttls: Starttls,
    /// Mechanisms of AUTH; none: it is not offered.
    pub login: Vec<Mechanism>,
    /// Whether a password may come without TLS.
    pub login_in_clear: InClear,
    /// Whether the client may say for whom it speaks.
    pub xclient: XClientOffer,
    /// RFC 4865; none: it is not offered.
    pub future_release: Option<FutureRelease>,
    /// RFC 2852: the shortest time in seconds that can be asked for.
    pub deliver_by_min_s: u32,
}

/// Whether STARTTLS is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Starttls {
    /// No certificate is configured.
    #[default]
    Absent,
    /// Offered while the connection is in the clear.
    Offered,
}

/// Whether AUTH is offered without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InClear {
    /// RFC 4954 §4: a password goes over TLS.
    #[default]
    Refused,
    /// Configured so, for devices that know no TLS.
    Allowed,
}

/// Whether XCLIENT is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XClientOffer {
    /// The client is no trusted proxy.
    #[default]
    Refused,
    /// The client may override its address once.
    Offered,
}

/// How far ahead a mail may be held (RFC 4865 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutureRelease {
    /// In seconds.
    pub max_s: u32,
    /// Now, in seconds since 1970: the session has no clock.
    pub now_unix_s: i64,
}

impl FutureRelease {
    /// The last moment, as RFC 3339 writes it.
    pub(crate) fn last(&self) -> String {
        let last = self.now_unix_s.saturating_add(i64::from(self.max_s));
        jiff::Timestamp::from_second(last).unwrap_or(jiff::Timestamp::MAX).to_string()
    }
}

/// The words in brackets at the end of the session's own replies.
#[derive(Debug, Clone)]
pub struct Slugs {
    /// For what SMTP does not allow.
    pub protocol: Cow<'static, str>,
    /// For content that is too large.
    pub too_large: Cow<'static, str>,
    /// For more recipients than one transaction may have.
    pub too_many_recipients: Cow<'static, str>,
    /// For the end of service.
    pub draining: Cow<'static, str>,
    /// For a login that failed.
    pub login: Cow<'static, str>,
}

impl Default for Slugs {
    fn default() -> Self {
        Self {
            protocol: "protocol-error".into(),
            too_large: "too-large".into(),
            too_many_recipients: "too-many-recipients".into(),
            draining: "draining".into(),
            login: "login-required".into(),
        }
    }
}

impl SessionSettings {
    /// The defaults of RFC 5321 for a host of this name.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            max_size_bytes: 25_000_000,
            max_recipients: 100,
            max_refused: 1000,
            max_errors: 20,
            max_transactions: 1000,
            max_failed_logins: 3,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            offers: Offers::default(),
            slugs: Slugs::default(),
        }
    }
}
