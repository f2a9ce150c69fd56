//! The configuration as the stages see it. Every value is checked; every default is here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::forbidden::DoNotFax;
use super::senders::SendersConfig;
use crate::domain::inbound::Rule;
use crate::domain::page::words;
use crate::domain::{BodyPlace, Paper, Quality, ReceivedFormat, ReportStyle};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Mail to numbers in this domain becomes faxes.
    pub domain: String,
    /// Unique in the cluster; the host name by default.
    pub node: String,
    /// What this process does.
    pub roles: Vec<Role>,
    /// How long a draining node still takes connections; none: as long as is usual, and at a stop only where there are
    /// other nodes.
    pub drain_grace: Option<Duration>,
    /// Where the store file, documents, sockets and spools lie.
    pub data: PathBuf,
    /// `[store]`
    pub store: StoreConfig,
    /// `[smtp]`
    pub smtp: SmtpConfig,
    /// `[account.NAME]`, `[sender.NAME]` and what else says who may submit.
    pub senders: SendersConfig,
    /// `[render]`
    pub render: RenderConfig,
    /// `[sip.NAME]`
    pub sip: BTreeMap<String, SipConfig>,
    /// `[dial]`
    pub dial: DialConfig,
    /// `[delivery]`
    pub delivery: DeliveryConfig,
    /// `[inbound]`
    pub inbound: InboundConfig,
    /// `[web]`
    pub web: WebConfig,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Takes mail over SMTP.
    Smtp,
    /// Makes pages.
    Render,
    /// Calls.
    Line,
    /// Sends notices.
    Deliver,
    /// Serves console, API and health.
    Web,
    /// Settles what crashed workers left, keeps the store tidy.
    Maintain,
}
words!(Role {
    Smtp = "smtp",
    Render = "render",
    Line = "line",
    Deliver = "deliver",
    Web = "web",
    Maintain = "maintain",
});

/// `[store]`
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where the rows are.
    pub database: Database,
    /// Where documents are; `documents` in the data directory by default.
    pub documents: DocumentsPlace,
    /// File of the keys that seal them; none: they lie in the clear.
    pub keys: Option<PathBuf>,
    /// Servers besides the one that writes that must have each commit; 0: not asked.
    pub min_copies: u32,
    /// How long what is kept.
    pub retain: RetainConfig,
}

/// `database` of `[store]`, and what belongs to it.
#[derive(Debug, Clone)]
pub enum Database {
    /// SQLite file; `faxwell.db` in the data directory by default.
    File(PathBuf),
    /// PostgreSQL.
    Postgres(PostgresConfig),
}

impl Database {
    /// The file, when it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(postgres) => f.write_str(&postgres.url),
        }
    }
}

/// How PostgreSQL is reached.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    /// `host[:port]` of every server that may be the primary; those of the URL when empty.
    pub hosts: Vec<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Certificate authority of the servers; the system's when none.
    pub tls_ca: Option<PathBuf>,
    /// Connections of this process at once.
    pub connections: usize,
}

/// `documents` of `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentsPlace {
    /// A directory of this machine, or one that all nodes share.
    Directory(PathBuf),
    /// A bucket.
    Bucket(BucketConfig),
}

impl DocumentsPlace {
    /// The directory, when it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }
}

impl std::fmt::Display for DocumentsPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl From<&Path> for DocumentsPlace {
    fn from(path: &Path) -> Self {
        Self::Directory(path.to_owned())
    }
}

impl From<PathBuf> for DocumentsPlace {
    fn from(path: PathBuf) -> Self {
        Self::Directory(path)
    }
}

/// A bucket of an S3 server. What is none comes from the environment, as for other programs that talk to S3.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// `http://host:port` or `https://…`.
    pub endpoint: Option<String>,
    /// As in `eu-central-1`.
    pub region: Option<String>,
    /// `store.s3.access_key`
    pub access_key: Option<String>,
    /// `store.s3.secret_key`
    pub secret_key: Option<String>,
}

impl std::fmt::Display for BucketConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for BucketConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without its credentials.
        write!(f, "BucketConfig({self})")
    }
}

/// `retain = { … }` of `[store]`: counted from the end of a fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainConfig {
    /// Mails and pages.
    pub images: Duration,
    /// Everything else that is known; at least as long as the images.
    pub records: Duration,
}

/// `[smtp]`
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where to listen for clients that begin with TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificate and key; none: there is no TLS.
    pub tls: Option<SmtpTlsConfig>,
    /// Networks that may submit without login.
    pub relay: Vec<ipnet::IpNet>,
    /// Client certificates that may: DNS names in lower case, or fingerprints in hexadecimal digits.
    pub relay_certificates: Vec<String>,
    /// Proxies that say who the client is, by XCLIENT.
    pub xclient_from: Vec<ipnet::IpNet>,
    /// Load balancers that say who the client is, by the PROXY protocol.
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// Reverse-paths that may fax, with `*` as wildcard; empty: any.
    pub senders: Vec<String>,
    /// Largest mail, octets.
    pub max_size_bytes: u64,
    /// Most recipients in one transaction (RFC 5321 §4.5.3.1.8: 100 at the least).
    pub max_recipients: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections of one address at once.
    pub max_connections_per_client: usize,
    /// Mails that one address may begin within a minute; none: no limit.
    pub max_mails_per_minute: Option<u32>,
}

/// `smtp.tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpTlsConfig {
    /// PEM: our certificate, then its chain.
    pub cert: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
    /// PEM: authorities of client certificates; none: no client is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// `[render]`
#[derive(Debug, Clone)]
pub struct RenderConfig {
    /// Paper of the pages.
    pub paper: Paper,
    /// Line density.
    pub quality: Quality,
    /// Cover by name; none means no cover page.
    pub cover: Option<String>,
    /// Directory of the operator's own covers.
    pub covers: Option<PathBuf>,
    /// Where the mail's text goes.
    pub body: BodyPlace,
    /// What happens where converters cannot be locked up.
    pub sandbox: RenderSandbox,
    /// Most pages of one fax.
    pub max_pages: u32,
    /// Time that one document may take.
    pub timeout: Duration,
    /// Memory that one converter may take.
    pub memory_bytes: u64,
    /// Converters at once.
    pub workers: usize,
    /// Office documents and archives.
    pub formats: FormatsConfig,
}

/// `render.office`, `render.zip` and `render.libreoffice`
#[derive(Debug, Clone, Default)]
pub struct FormatsConfig {
    /// What lays office documents out.
    pub office: OfficeChoice,
    /// What becomes of archives.
    pub zip: ZipChoice,
    /// Folder of `soffice.bin`.
    pub libreoffice: PathBuf,
    /// Documents of one instance of LibreOffice before it is ended.
    pub libreoffice_documents: u32,
    /// Address space of each of its processes.
    pub libreoffice_memory_bytes: u64,
}

/// What lays office documents out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfficeChoice {
    /// LibreOffice, where it is installed.
    #[default]
    LibreOffice,
    /// They are refused.
    Off,
}
words!(OfficeChoice { LibreOffice = "libreoffice", Off = "off" });

/// What becomes of archives of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZipChoice {
    /// They are refused.
    #[default]
    Refuse,
    /// A page with the names of their members.
    List,
    /// Their members become pages.
    Render,
}
words!(ZipChoice { Refuse = "refuse", List = "list", Render = "render" });

/// `render.sandbox`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderSandbox {
    /// The gateway does not start.
    Required,
    /// It starts and says so.
    BestEffort,
}

/// `[sip.NAME]`: a line.
#[derive(Debug, Clone)]
pub struct SipConfig {
    /// `host[:port]`.
    pub server: String,
    /// Local address for SIP and media; `0.0.0.0:0` by default.
    pub bind: SocketAddr,
    /// Networks that calls may come from, besides the server's own addresses.
    pub accept_from: Vec<ipnet::IpNet>,
    /// User of digest authentication.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Caller ID and station ID.
    pub number: String,
    /// Calls at once, on all nodes together.
    pub channels: u32,
    /// Calls that may begin within any minute, on all nodes together; none: no limit.
    pub calls_per_minute: Option<u32>,
    /// T.38 settings.
    pub t38: T38Config,
    /// Whether this is the sandbox's line: the only one that dials +999 numbers, and nothing else leaves through it.
    pub sandbox: bool,
    /// Media clock; the sandbox only.
    pub pace: foip::call::Pace,
    /// CANCEL when nobody has answered by then.
    pub ring_timeout: Duration,
}

/// `t38 = { … }` of a line.
#[derive(Debug, Clone)]
pub struct T38Config {
    /// Whether T.38 is used at all.
    pub enabled: bool,
    /// Whether error correction is offered.
    pub ecm: bool,
    /// 2400 to 14400 bits per second.
    pub max_rate_bps: u32,
    /// T38FaxVersion offered, 0 to 3.
    pub version: u8,
    /// Whether the fax goes on as audio when T.38 is refused.
    pub fallback_g711: bool,
    /// Ask for T.38 ourselves when the far end has not; none: wait.
    pub reinvite_after: Option<Duration>,
    /// How long a number that T.38 failed with is called over audio at once; zero: never.
    pub remember: Duration,
}

/// `[dial]`
#[derive(Debug, Clone)]
pub struct DialConfig {
    /// ISO 3166 country whose national numbers are understood; none: international numbers only.
    pub country: Option<String>,
    /// Prefixes that may be dialled; empty: none but the sandbox's.
    pub allow: Vec<String>,
    /// Prefixes that may not; they win over `allow`.
    pub deny: Vec<String>,
    /// Whether premium-rate numbers may be called.
    pub premium: bool,
    /// Who asked not to be faxed.
    pub do_not_fax: DoNotFax,
    /// Calls that may begin within any minute on all lines and nodes together; none: no limit.
    pub calls_per_minute: Option<u32>,
    /// When to call again.
    pub retry: RetryConfig,
    /// `[dial.route.NAME]`, by name.
    pub routes: BTreeMap<String, RouteConfig>,
}

/// `[dial.route.NAME]`: the longest prefix wins.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// Numbers that begin so.
    pub prefix: String,
    /// Lines to use, in order.
    pub via: Vec<String>,
}

/// `retry = { … }` of `[dial]`.
#[derive(Debug, Clone, Copy)]
pub struct RetryConfig {
    /// After a busy number.
    pub busy: RetryRule,
    /// After no answer.
    pub no_answer: RetryRule,
    /// After anything else that can be tried again.
    pub other: RetryRule,
    /// No call begins later than this after the message was accepted.
    pub give_up: Duration,
}

/// `"3x 5m"`: this many calls after the first, this long apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Calls after the first.
    pub times: u32,
    /// How long apart.
    pub wait: Duration,
}

/// `[delivery]`
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Where notices go.
    pub to: DeliveryTarget,
    /// `From` of notices, as in `Fax <fax@fax.example.com>`.
    pub from: String,
    /// Style of the report of success.
    pub success: ReportStyle,
    /// Style of the report of failure.
    pub failure: ReportStyle,
    /// How long a fax waits until its sender is told; none: never told.
    pub delayed: Option<Duration>,
}

/// Where notices go.
#[derive(Debug, Clone)]
pub enum DeliveryTarget {
    /// Smart hosts in order, `host[:port]`.
    Smarthosts(Vec<String>),
    /// A Maildir (the sandbox).
    Maildir(PathBuf),
}

/// `[inbound]`
#[derive(Debug, Clone, Default)]
pub struct InboundConfig {
    /// Mailboxes when no rule holds; empty: calls that come in are not answered.
    pub default: Vec<String>,
    /// What the mail carries where no rule says so.
    pub format: ReceivedFormat,
    /// Mailboxes by DID.
    pub did: BTreeMap<String, Vec<String>>,
    /// `[inbound.route.NAME]`, by name.
    pub routes: BTreeMap<String, Rule>,
}

/// `[web]`
#[derive(Debug, Clone, Default)]
pub struct WebConfig {
    /// Where console, API and health listen; none: nowhere but the local control socket.
    pub listen: Option<SocketAddr>,
    /// Load balancers that say who the client is, by the PROXY protocol.
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// Where health alone is answered, whatever the roles are; none: nowhere.
    pub health: Option<SocketAddr>,
}

/// Name of the control socket in a data directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// What makes documents everybody's.
pub const DOCUMENTS_FIX: &str =
    "write store.documents = \"s3://…\", or a directory that every node mounts, outside of `data`";
/// Roles that hand documents to one another.
const ROLES_OF_DOCUMENTS: [Role; 4] = [Role::Smtp, Role::Render, Role::Line, Role::Deliver];

impl Config {
    /// Where documents lie that no other process of the cluster can read, if so. One process has a data directory to
    /// itself, on one machine too, while the rows that name the documents are everybody's.
    pub fn documents_of_this_process_alone(&self) -> Option<&Path> {
        let shared = matches!(self.store.database, Database::Postgres(_));
        self.store.documents.directory().filter(|path| shared && path.starts_with(&self.data))
    }

    /// Whether this process needs the documents of others, or they need its.
    pub fn shares_work(&self) -> bool {
        !ROLES_OF_DOCUMENTS.iter().all(|role| self.roles.contains(role))
    }

    /// The control socket that commands use.
    pub fn control_socket(&self) -> PathBuf {
        self.data.join(CONTROL_SOCKET)
    }
}
