//! Intake: a mail comes in, 250 goes out, and in between everything became durable.
//!
//! Flow: [`run`] accepts connections → `connection` drives the session of the `smtp` crate → `policy` answers MAIL and RCPT ([`address`],
//! the dial plan) → `submission` checks the mail, puts it to the documents and submits message and faxes to the store in one
//! transaction → `250 2.0.0 accepted as F-…`. Commands submit by [`submit_mail`] and pass the same checks.
//! A mail that comes back to the return address of a received fax's mail goes to `bounce` instead and is never faxed.
//!
//! Failure: what can be refused is refused in the dialogue, with cause and fix; store or documents away is 451 with nothing stored; a
//! client that sends again because a 250 got lost is told the first id. What the store loses afterwards is submitted to it again
//! (`ring`). Standards: RFC 5321, 3461, 3191, 3192, 4160, 4161.

pub mod accounts;
pub mod address;
mod bounce;
mod clients;
mod connection;
mod directive;
mod listen;
mod places;
mod policy;
mod proof;
mod received;
mod refusal;
mod ring;
mod send;
mod service;
mod spool;
mod submission;
#[cfg(test)]
mod tests;
pub mod tls;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::{Config, DialConfig, RenderConfig, SipConfig, SmtpConfig};
use crate::documents::Documents;
use crate::domain::{Clock, NotifyOn, ReportStyle};
use crate::mail::bounce::ReturnPaths;
use crate::mail::mime::{Mail, MimeError};
use crate::mail::order_address::OrderAddresses;
use crate::senders::Senders;
use crate::senders::authenticity::Authenticator;
use crate::store::{Instead, Store, StoreError, check_copies};
use accounts::Accounts;
use address::AddressRules;
use clients::Rates;
pub use listen::{Entrance, bind, run};
pub use refusal::Refusal;
pub use ring::watch;
pub use send::{Handed, earliest, preview, submit_mail};
pub use submission::Accepted;
use tls::Tls;

/// Mails that are read and stored at the same time: as many as share one commit of the store.
const FINISHING_MAX: usize = 128;
/// How many of the largest mails take all of these places: each is in memory as a whole, with its decoded parts.
const LARGEST_AT_ONCE: u64 = 4;
/// How long a commit of the store says that it can be written. Each sender would cost a commit more otherwise.
const WRITABLE_FOR: Duration = Duration::from_secs(1);

/// What intake takes from the configuration.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// Domain and country.
    pub address: AddressRules,
    /// `[smtp]`
    pub smtp: SmtpConfig,
    /// Servers besides the one that writes that must have each commit; 0: not asked.
    pub min_copies: u32,
    /// Who is known by something else than a login, beside `smtp.relay`.
    pub senders: Senders,
    /// `[dial]`
    pub dial: DialConfig,
    /// `[sip.NAME]`
    pub sip: BTreeMap<String, SipConfig>,
    /// `[render]`: defaults of what directives may change.
    pub render: RenderConfig,
    /// Kinds of reports that the configuration has not switched off.
    pub reports: NotifyOn,
    /// Who gets a received fax whose mail comes back.
    pub instead: Instead,
    /// Names of the covers that exist.
    pub covers: Vec<String>,
    /// Where large mails lie while they come in; it must exist.
    pub spool: PathBuf,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// A command, whole. RFC 5321 §4.5.3.2.7: 5 minutes.
    pub command: Duration,
    /// A block of content. RFC 5321 §4.5.3.2.5: 3 minutes.
    pub data: Duration,
    /// The whole content.
    pub message: Duration,
    /// The client to read our replies.
    pub write: Duration,
    /// A handshake of TLS.
    pub handshake: Duration,
    /// Before a reply to a client that makes one mistake after another, or whose login has failed.
    pub tarpit: Duration,
    /// Octets of content a second, at the least, after the time of the first block.
    pub content_bytes_per_s: u64,
    /// Between two looks at the files of the certificate.
    pub certificate: Duration,
    /// Mails under way, when the process ends.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            command: minutes(5),
            data: minutes(3),
            message: minutes(60),
            write: minutes(1),
            handshake: Duration::from_secs(30),
            tarpit: Duration::from_secs(1),
            content_bytes_per_s: 500,
            certificate: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

impl IntakeSettings {
    /// From the whole configuration. `covers` are the names that the templates have.
    pub fn new(config: &Config, covers: Vec<String>) -> Self {
        Self {
            address: AddressRules { domain: config.domain.clone(), country: config.dial.country.clone() },
            smtp: config.smtp.clone(),
            min_copies: config.store.min_copies,
            senders: Senders::new(&config.senders),
            dial: config.dial.clone(),
            sip: config.sip.clone(),
            render: config.render.clone(),
            reports: NotifyOn {
                success: config.delivery.success != ReportStyle::Off,
                failure: config.delivery.failure != ReportStyle::Off,
                delay: config.delivery.delayed.is_some(),
            },
            instead: Instead { mailboxes: config.inbound.default.clone(), domain: config.domain.clone() },
            covers,
            spool: config.data.join("spool"),
            timeouts: Timeouts::default(),
        }
    }
}

/// From media type, file name and octets of a document to the reason why it is refused.
pub type Refuses = Arc<dyn Fn(&str, &str, &[u8]) -> Option<String> + Send + Sync>;

/// How mails are read. Functions, so that tests can have a reader that fails.
#[derive(Clone)]
pub struct Readers {
    /// `mail::mime::read`.
    pub read_mail: fn(&[u8]) -> Result<Mail, MimeError>,
    /// Why no pages can be made of a document (media type, name, octets), if so: `pages::Formats::check`.
    pub refusal: Refuses,
}

/// Everything that taking a mail needs.
pub struct Intake {
    /// What is allowed.
    pub settings: IntakeSettings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) documents: Arc<Documents>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) readers: Readers,
    pub(crate) returns: ReturnPaths,
    pub(crate) orders: OrderAddresses,
    pub(crate) accepted: Arc<Notify>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) accounts: Option<Arc<dyn Accounts>>,
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    pub(crate) rates: Rates,
    finishing: Semaphore,
    /// When the store was last seen to take writes; none since it did not.
    written_at: Mutex<Option<Instant>>,
    pub(crate) ring: ring::Ring,
    refusals: Mutex<BTreeMap<Refused, u64>>,
}

/// Where in the dialogue something was refused, and whether trying it again may help.
pub type Refused = (&'static str, &'static str);

impl Intake {
    /// Makes the spool folder. `accepted` is notified after each message that was stored: a hint for the renderer.
    ///
    /// # Errors
    /// When the spool folder cannot be made.
    pub fn new(
        settings: IntakeSettings,
        store: Arc<dyn Store>,
        documents: Arc<Documents>,
        clock: Arc<dyn Clock>,
        readers: Readers,
        returns: ReturnPaths,
        accepted: Arc<Notify>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.spool)?;
        let (finishing, ring) = (Semaphore::new(FINISHING_MAX), ring::Ring::default());
        let written_at = Mutex::new(None);
        Ok(Self {
            settings,
            store,
            documents,
            clock,
            readers,
            orders: returns.orders(),
            returns,
            accepted,
            tls: None,
            accounts: None,
            authenticator: None,
            rates: Rates::default(),
            finishing,
            written_at,
            ring,
            refusals: Mutex::default(),
        })
    }

    /// Offers TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// From now on a mail of a domain that `smtp.relay` or a sender names can prove whose it is.
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: Arc<Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Lets people log in.
    #[must_use]
    pub fn with_accounts(mut self, accounts: Arc<dyn Accounts>) -> Self {
        self.accounts = Some(accounts);
        self
    }

    /// Waits for a place to read and store a mail of this size: it bounds the memory of those that do so at once.
    pub(crate) async fn place_to_finish(&self, size_bytes: u64) -> Result<SemaphorePermit<'_>, Refusal> {
        let places = places_for(size_bytes, self.settings.smtp.max_size_bytes);
        self.finishing.acquire_many(places).await.map_err(|_| Refusal::store_unavailable())
    }

    /// Errors when nothing can be stored now on as many servers as are asked for, as far as a look of a moment ago can
    /// tell.
    pub(crate) async fn check_writable(&self) -> Result<(), StoreError> {
        if self.written_at().is_some_and(|at| at.elapsed() < WRITABLE_FOR) {
            return Ok(());
        }
        let min_copies = self.settings.min_copies;
        let checked = async {
            self.store.check_writable().await?;
            if min_copies == 0 { Ok(None) } else { Ok(self.store.health().await?.copies) }
        };
        let checked = checked.await;
        self.seen_away(checked.is_err());
        check_copies(checked?, min_copies).map_err(StoreError::Unavailable)?;
        *self.written_at() = Some(Instant::now());
        Ok(())
    }

    /// Remembers whether the store has taken a write. On how many servers, that does not say.
    pub(crate) fn store_answered(&self, written: bool) {
        self.seen_away(!written);
        if written && self.settings.min_copies == 0 {
            *self.written_at() = Some(Instant::now());
        }
    }

    fn seen_away(&self, away: bool) {
        if away {
            *self.written_at() = None;
            self.ring.store_away();
        }
    }

    /// SMTP's refusals since the process began.
    pub fn refusals(&self) -> BTreeMap<Refused, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn refused(&self, at: &'static str, code: u16) {
        let class = if code < 500 { "temporary" } else { "final" };
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry((at, class)).or_default() += 1;
    }

    fn written_at(&self) -> MutexGuard<'_, Option<Instant>> {
        // Whoever panicked in between left a whole value.
        self.written_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for each mail, and more for a large one: [`LARGEST_AT_ONCE`] of them take all.
fn places_for(size_bytes: u64, max_size_bytes: u64) -> u32 {
    let most = FINISHING_MAX as u64 / LARGEST_AT_ONCE;
    let places = size_bytes.saturating_mul(most).div_ceil(max_size_bytes.max(1)).clamp(1, most);
    u32::try_from(places).unwrap_or(1)
}

/// For logs: the first letter and the domain.
pub(crate) fn masked_address(address: Option<&str>) -> String {
    match address.and_then(|address| address.rsplit_once('@')) {
        Some((local, domain)) => format!("{}…@{domain}", local.chars().next().unwrap_or_default()),
        None => "<>".to_owned(),
    }
}
