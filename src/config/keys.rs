//! The one table of settings: what each key is called, what it takes, its default, and what it is for.
//!
//! Checking, defaults, `config show`, `config example` and the reference all read this table, so that they cannot
//! differ. `*` in a path stands for a name that the administrator chooses.

use super::values::{self, Parsed};

/// A setting.
#[derive(Debug)]
pub struct Key {
    /// Its path, as in `sip.*.channels`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; none when leaving it out means something else (see `doc`).
    pub default: Option<&'static str>,
    /// A value as TOML, shown where there is no default.
    pub example: &'static str,
    /// Whether it works in this version.
    pub status: Status,
    /// What it is for, one line.
    pub doc: &'static str,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One text with this meaning; the first member says what it is called in messages.
    Text(&'static str, fn(&str) -> Parsed<()>),
    /// A list of such texts, at most this many; one text stands for a list of one.
    Texts(&'static str, fn(&str) -> Parsed<()>, usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A whole number in this range.
    Integer(u64, u64),
    /// `true` or `false`.
    Flag,
    /// A duration in this range, as written.
    Duration(&'static str, &'static str),
    /// A size in this range, as written.
    Size(&'static str, &'static str),
    /// `{ file = "…" }` or `{ env = "…" }`.
    Secret,
    /// Anything: the setting is refused before its value matters.
    Any,
}

/// Whether a setting works in this version.
#[derive(Debug, Clone, Copy)]
pub enum Status {
    /// It does.
    Live,
    /// Ignoring it would be dangerous or would surprise: an error with this cause and this fix.
    Refused(&'static str, &'static str),
}

/// A table of settings.
#[derive(Debug)]
pub struct Section {
    /// Its path, as in `sip.*`.
    pub path: &'static str,
    /// What it is called in messages: "a SIP trunk".
    pub title: &'static str,
    /// The name that stands for `*` in the example.
    pub example_name: &'static str,
    /// What it is for, one line.
    pub doc: &'static str,
}

use Kind::{Any, Duration, Flag, Integer, Secret, Size, Text, Texts, Word, Words};
use Status::{Live, Refused};

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: Some(default), example: default, status: Live, doc }
}

const fn unset(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: None, example, status: Live, doc }
}

const fn refused(path: &'static str, what: &'static str, fix: &'static str) -> Key {
    Key { path, kind: Any, default: None, example: "", status: Refused(what, fix), doc: "" }
}

/// Every table, in the order of the example.
pub const SECTIONS: &[Section] = &[
    Section { path: "", title: "the top of the file", example_name: "", doc: "" },
    Section { path: "store", title: "[store]", example_name: "", doc: "Where mails, states and pages are kept." },
    Section { path: "store.retain", title: "store.retain", example_name: "", doc: "" },
    Section { path: "store.s3", title: "store.s3", example_name: "", doc: "" },
    Section { path: "store.keys", title: "store.keys", example_name: "", doc: "" },
    Section { path: "smtp", title: "[smtp]", example_name: "", doc: "How mail comes in." },
    Section { path: "smtp.tls", title: "smtp.tls", example_name: "", doc: "" },
    Section { path: "smtp.oauth2", title: "smtp.oauth2", example_name: "", doc: "" },
    Section { path: "account", title: "[account]", example_name: "", doc: "" },
    Section {
        path: "account.*",
        title: "an account",
        example_name: "copier-2",
        doc: "Somebody who logs in. More of them: faxwell account add NAME",
    },
    Section { path: "sender", title: "[sender]", example_name: "", doc: "" },
    Section {
        path: "sender.*",
        title: "a sender",
        example_name: "erp",
        doc: "Somebody who is known by network, certificate or domain, with limits of its own.",
    },
    Section { path: "render", title: "[render]", example_name: "", doc: "How mails become pages." },
    Section { path: "sip", title: "[sip]", example_name: "", doc: "" },
    Section {
        path: "sip.*",
        title: "a SIP trunk",
        example_name: "trunk1",
        doc: "A line: a SIP trunk, best with T.38. As many as needed, each with a name of its own.",
    },
    Section { path: "sip.*.t38", title: "t38 of a SIP trunk", example_name: "", doc: "" },
    Section {
        path: "dial",
        title: "[dial]",
        example_name: "",
        doc: "Which numbers may be called, when, and over which line. Try it: faxwell dial explain NUMBER",
    },
    Section { path: "dial.retry", title: "dial.retry", example_name: "", doc: "" },
    Section { path: "dial.route", title: "[dial.route]", example_name: "", doc: "" },
    Section {
        path: "dial.route.*",
        title: "a route",
        example_name: "germany",
        doc: "A route: the longest prefix wins; without a route every line is used in the order of their names.",
    },
    Section { path: "inbound", title: "[inbound]", example_name: "", doc: "Who gets received faxes." },
    Section {
        path: "inbound.did",
        title: "[inbound.did]",
        example_name: "+41440000001",
        doc: "Mailboxes by called number.",
    },
    Section { path: "inbound.route", title: "[inbound.route]", example_name: "", doc: "" },
    Section {
        path: "inbound.route.*",
        title: "an inbound route",
        example_name: "night",
        doc: "A route of received faxes: all its conditions must hold. Try it: faxwell inbound route explain NUMBER",
    },
    Section { path: "delivery", title: "[delivery]", example_name: "", doc: "How confirmations go out." },
    Section { path: "delivery.notify", title: "delivery.notify", example_name: "", doc: "" },
    Section { path: "web", title: "[web]", example_name: "", doc: "Status page and health checks." },
];

const ROLES: &[&str] = &["smtp", "render", "line", "deliver", "web", "maintain"];
const STYLES: &[&str] = &["image", "text", "off"];
const FROM_DOC: &str = "Reverse-paths and From addresses that it may use, as in \"*@example.com\". Empty: any.";
const ALLOW_DOC: &str = "Prefixes that it may fax, as far as dial.allow has them. Empty: all of those.";
const DENY_DOC: &str = "Prefixes that it may not; wins over allow.";
const FAXES_HOUR_DOC: &str = "Faxes within any hour, on all nodes together; 0: no limit.";
const FAXES_DAY_DOC: &str = "Faxes within any 24 hours; 0: no limit.";
const AUTOMATIC_DOC: &str = "Whether mails of programs (monitoring, lists) and without a sender are faxed; automatic answers and reports never are.";
const EACH_HOUR_DOC: &str = "Faxes of one sender address within any hour; 0: no limit.";
const EACH_DAY_DOC: &str = "Faxes of one sender address within any 24 hours; 0: no limit.";
const PAGES_HOUR_DOC: &str = "Pages within any hour, counted when they are rendered; 0: no limit.";
const PAGES_DAY_DOC: &str = "Pages within any 24 hours; 0: no limit.";
const COVER_DOC: &str = "Its cover page, or \"none\"; left out: render.cover.";
const BILLING_DOC: &str = "What accounting calls it; kept with each of its mails.";
const MANY: u64 = 1_000_000;
const NO_IMAP: &str = "picking up mail over IMAP is not built yet in this version";
const NO_WEB_LOGIN: &str = "logging in to the web console is not built yet in this version";
const FORMATS: &[&str] = &["pdf", "tiff", "both", "text"];

/// Every setting, in the order of the example.
pub const KEYS: &[Key] = &[
    unset(
        "domain",
        Text("a domain name", values::domain),
        "\"fax.example.com\"",
        "Required. Mail to +41441234567@ this domain becomes a fax.",
    ),
    unset(
        "node",
        Text("a name", values::name),
        "\"gw-a\"",
        "Name of this node, unique in the cluster; left out: the host name.",
    ),
    key(
        "data",
        Text("a path", values::path),
        "\"/var/lib/faxwell\"",
        "Everything the gateway writes lies here. --data and FAXWELL_DATA win.",
    ),
    key(
        "roles",
        Words(ROLES),
        "[\"smtp\", \"render\", \"line\", \"deliver\", \"web\", \"maintain\"]",
        "What this process does.",
    ),
    unset(
        "drain_grace",
        Duration("0s", "5m"),
        "\"10s\"",
        "So long a draining node still takes connections, until the load balancer has noticed; left out: 10s, and at a stop only where there are other nodes.",
    ),
    unset(
        "store.database",
        Text("a path or a postgres:// URL", values::database),
        "\"faxwell.db\"",
        "SQLite file, or postgres://USER@HOST:PORT/DATABASE?sslmode=… for a cluster; left out: faxwell.db below `data`.",
    ),
    key(
        "store.hosts",
        Texts("hosts with ports", values::database_host, 16),
        "[]",
        "Every server that may be the primary, as in \"db1:5432\": the gateway finds the one that takes writes. Empty: that of the URL.",
    ),
    unset(
        "store.password",
        Secret,
        "{ file = \"secrets/store\" }",
        "Password of the URL's user: { file = … } or { env = … }, never inline.",
    ),
    unset(
        "store.tls_ca",
        Text("a path", values::path),
        "\"certs/db-ca.pem\"",
        "Certificate authority of the servers, PEM; left out: the system's.",
    ),
    key("store.connections", Integer(2, 200), "16", "Connections to PostgreSQL that one process has at once."),
    key(
        "store.min_copies",
        Integer(0, 8),
        "0",
        "No mail is taken while PostgreSQL has fewer synchronous copies than this.",
    ),
    unset(
        "store.documents",
        Text("a path or an s3:// URL", values::documents),
        "\"documents\"",
        "Mails and pages: a directory, or s3://BUCKET[/PREFIX]?endpoint=http://HOST:PORT&region=REGION; left out: documents below `data`.",
    ),
    unset(
        "store.s3.access_key",
        Secret,
        "{ file = \"secrets/s3-access\" }",
        "Access key of the bucket's user; left out: what the environment says (AWS_ACCESS_KEY_ID, …).",
    ),
    unset("store.s3.secret_key", Secret, "{ file = \"secrets/s3-secret\" }", "Secret key of the bucket's user."),
    unset(
        "store.keys.file",
        Text("a path", values::path),
        "\"secrets/store.keys\"",
        "File of the keys that seal mails and pages at rest, one a line; write one with `faxwell storage keys new`. Left out: they lie in the clear.",
    ),
    key(
        "store.retain.images",
        Duration("1h", "36500d"),
        "\"30d\"",
        "Mails and pages are removed this long after their fax has ended; what happened stays known.",
    ),
    key(
        "store.retain.records",
        Duration("1h", "36500d"),
        "\"400d\"",
        "Faxes are forgotten altogether this long after they have ended. Never before their pages.",
    ),
    key(
        "smtp.listen",
        Texts("addresses with ports", |s| values::listen(s).map(drop), 16),
        "[\"127.0.0.1:2525\"]",
        "Where mail comes in; \"0.0.0.0:25\" for every IPv4 interface.",
    ),
    key(
        "smtp.relay",
        Texts("networks, certificates or domains", |s| values::relay(s).map(drop), 1000),
        "[]",
        "Networks that may submit; \"cert:NAME\" for client certificates by DNS name or SHA-256, \"dkim:DOMAIN\" for mails that this domain has signed, \"spf:DOMAIN\" for those from its servers. Empty: nobody may.",
    ),
    key(
        "smtp.senders",
        Texts("sender patterns", values::sender, 1000),
        "[]",
        "Reverse-paths that may fax, as in \"*@example.com\". Empty: any from these networks.",
    ),
    key("smtp.max_size", Size("64kB", "1GB"), "\"25MB\"", "Largest mail."),
    key(
        "smtp.max_recipients",
        Integer(100, 10_000),
        "100",
        "Most recipients of one mail (RFC 5321: 100 at the least).",
    ),
    key("smtp.max_connections", Integer(1, 10_000), "200", "Most connections at once."),
    key(
        "smtp.max_connections_per_client",
        Integer(1, 10_000),
        "100",
        "Most connections of one address at once; of one /64 with IPv6.",
    ),
    key(
        "smtp.max_mails_per_minute",
        Integer(0, MANY),
        "0",
        "Mails that one address may begin within a minute, on each node; 0: no limit.",
    ),
    unset(
        "smtp.tls.cert",
        Text("a path", values::path),
        "\"certs/fullchain.pem\"",
        "Certificate of SMTP with its chain, PEM; read again when it changes. Left out: no STARTTLS.",
    ),
    unset("smtp.tls.key", Text("a path", values::path), "\"certs/privkey.pem\"", "Its key, PEM."),
    unset(
        "smtp.tls.client_ca",
        Text("a path", values::path),
        "\"certs/clients.pem\"",
        "Authorities of client certificates, PEM. Left out: no client is asked for one.",
    ),
    key(
        "smtp.listen_tls",
        Texts("addresses with ports", |s| values::listen(s).map(drop), 16),
        "[]",
        "Where mail comes in from clients that begin with TLS; \"0.0.0.0:465\" for every IPv4 interface.",
    ),
    key(
        "smtp.xclient_from",
        Texts("networks", |s| values::network(s).map(drop), 100),
        "[]",
        "Proxies that may say by XCLIENT for whom they speak.",
    ),
    key(
        "smtp.proxy_protocol_from",
        Texts("networks", |s| values::network(s).map(drop), 100),
        "[]",
        "Load balancers: from these a PROXY protocol header is demanded, from all others it is never read.",
    ),
    key(
        "smtp.arc_sealers",
        Texts("domains", values::domain, 100),
        "[]",
        "Forwarders whose ARC seals are believed when they say that DMARC had passed.",
    ),
    key(
        "smtp.resolvers",
        Texts("addresses with ports", |s| values::listen(s).map(drop), 8),
        "[]",
        "Name servers for DKIM, SPF and DMARC; empty: the system's.",
    ),
    unset(
        "smtp.oauth2.issuer",
        Text("an issuer", values::label),
        "\"https://login.microsoftonline.com/TENANT/v2.0\"",
        "Who issues the tokens of XOAUTH2 and OAUTHBEARER, exactly as `iss` says it; left out: no tokens are taken.",
    ),
    unset(
        "smtp.oauth2.audience",
        Text("an audience", values::label),
        "\"api://faxwell\"",
        "What `aud` of a token must have.",
    ),
    unset(
        "smtp.oauth2.keys",
        Text("a path or an https URL", values::keys),
        "\"https://login.microsoftonline.com/TENANT/discovery/v2.0/keys\"",
        "Keys of the issuer (JWKS): a file or an https URL.",
    ),
    unset(
        "smtp.oauth2.scope",
        Text("a scope", values::label),
        "\"SMTP.Send\"",
        "A scope or role that a token must have.",
    ),
    key(
        "smtp.oauth2.claim",
        Text("a claim", values::name),
        "\"preferred_username\"",
        "The claim that names the account.",
    ),
    unset(
        "account.*.password",
        Secret,
        "{ file = \"secrets/copier-2\" }",
        "Its password: { file = … } or { env = … }, never inline; left out: it logs in by token alone.",
    ),
    key("account.*.from", Texts("sender patterns", values::sender, 1000), "[]", FROM_DOC),
    key("account.*.allow", Texts("prefixes", values::prefix, 1000), "[]", ALLOW_DOC),
    key("account.*.deny", Texts("prefixes", values::prefix, 1000), "[]", DENY_DOC),
    key("account.*.faxes_per_hour", Integer(0, MANY), "0", FAXES_HOUR_DOC),
    key("account.*.faxes_per_day", Integer(0, MANY), "0", FAXES_DAY_DOC),
    key("account.*.faxes_per_hour_each", Integer(0, MANY), "0", EACH_HOUR_DOC),
    key("account.*.faxes_per_day_each", Integer(0, MANY), "0", EACH_DAY_DOC),
    key("account.*.pages_per_hour", Integer(0, MANY), "0", PAGES_HOUR_DOC),
    key("account.*.pages_per_day", Integer(0, MANY), "0", PAGES_DAY_DOC),
    key("account.*.automatic", Flag, "false", AUTOMATIC_DOC),
    unset("account.*.cover", Text("a cover", values::cover), "\"plain\"", COVER_DOC),
    unset("account.*.billing", Text("a text", values::label), "\"4711\"", BILLING_DOC),
    unset(
        "sender.*.relay",
        Texts("networks, certificates or domains", |s| values::relay(s).map(drop), 1000),
        "[\"10.0.7.0/24\"]",
        "Required. What proves that a mail is its, as in smtp.relay: any one of them.",
    ),
    key("sender.*.from", Texts("sender patterns", values::sender, 1000), "[]", FROM_DOC),
    key("sender.*.allow", Texts("prefixes", values::prefix, 1000), "[]", ALLOW_DOC),
    key("sender.*.deny", Texts("prefixes", values::prefix, 1000), "[]", DENY_DOC),
    key("sender.*.faxes_per_hour", Integer(0, MANY), "0", FAXES_HOUR_DOC),
    key("sender.*.faxes_per_day", Integer(0, MANY), "0", FAXES_DAY_DOC),
    key("sender.*.faxes_per_hour_each", Integer(0, MANY), "0", EACH_HOUR_DOC),
    key("sender.*.faxes_per_day_each", Integer(0, MANY), "0", EACH_DAY_DOC),
    key("sender.*.pages_per_hour", Integer(0, MANY), "0", PAGES_HOUR_DOC),
    key("sender.*.pages_per_day", Integer(0, MANY), "0", PAGES_DAY_DOC),
    key("sender.*.automatic", Flag, "false", AUTOMATIC_DOC),
    unset("sender.*.cover", Text("a cover", values::cover), "\"plain\"", COVER_DOC),
    unset("sender.*.billing", Text("a text", values::label), "\"4711\"", BILLING_DOC),
    refused("imap", NO_IMAP, "remove [imap.…] and let the mailbox forward to the gateway over SMTP"),
    key("render.paper", Word(&["a4", "letter", "legal"]), "\"a4\"", "Paper: a4, letter or legal."),
    key(
        "render.quality",
        Word(&["standard", "fine", "superfine"]),
        "\"fine\"",
        "Line density: standard, fine or superfine.",
    ),
    key("render.cover", Text("the name of a cover", values::cover), "\"plain\"", "Cover page, or \"none\"."),
    unset(
        "render.covers",
        Text("a path", values::path),
        "\"covers\"",
        "Directory of your own cover pages: NAME.html is the cover NAME. See `faxwell cover check`.",
    ),
    key(
        "render.sandbox",
        Word(&["required", "best-effort"]),
        "\"required\"",
        "Where the kernel cannot lock converters up: required does not start, best-effort works and logs it.",
    ),
    key(
        "render.body",
        Word(&["cover", "page", "drop"]),
        "\"cover\"",
        "Where the mail's text goes: cover, page or drop.",
    ),
    key("render.max_pages", Integer(1, 10_000), "100", "Most pages of one fax."),
    key("render.timeout", Duration("1s", "1h"), "\"2m\"", "Time that one document may take."),
    key("render.memory", Size("64MiB", "64GiB"), "\"1GiB\"", "Memory that one converter may take."),
    key("render.workers", Integer(1, 64), "2", "Converters at once."),
    key(
        "render.office",
        Word(&["libreoffice", "off"]),
        "\"libreoffice\"",
        "Office documents: libreoffice lays them out where it is installed, in a sandbox; off refuses them.",
    ),
    key(
        "render.libreoffice",
        Text("a path", values::path),
        "\"/usr/lib/libreoffice/program\"",
        "Folder of LibreOffice's soffice.bin; bwrap and python3-uno are needed too.",
    ),
    key(
        "render.libreoffice_documents",
        Integer(1, 1000),
        "20",
        "Documents that one LibreOffice lays out before it is ended; 1 means a new one for each, for a second of processor time.",
    ),
    key(
        "render.libreoffice_memory",
        Size("1GiB", "64GiB"),
        "\"2GiB\"",
        "Memory (address space) that LibreOffice may take.",
    ),
    key(
        "render.zip",
        Word(&["refuse", "list", "render"]),
        "\"refuse\"",
        "Zip attachments: refuse them with the names of their members, print a list of these, or render the members.",
    ),
    unset(
        "sip.*.server",
        Text("a SIP server", values::sip_server),
        "\"sip.carrier.net:5060\"",
        "Required. Where calls go, over UDP.",
    ),
    key(
        "sip.*.bind",
        Text("an address with a port", |s| values::listen(s).map(drop)),
        "\"0.0.0.0:0\"",
        "Local address of SIP and media; port 0: any free one.",
    ),
    key(
        "sip.*.accept_from",
        Texts("networks", |s| values::network(s).map(drop), 100),
        "[]",
        "Networks that calls may come from, besides the server's own addresses.",
    ),
    unset(
        "sip.*.user",
        Text("a SIP user name", values::sip_user),
        "\"4144000\"",
        "User of the carrier's login; left out: none.",
    ),
    unset(
        "sip.*.password",
        Secret,
        "{ file = \"secrets/trunk1\" }",
        "Its password: { file = … } or { env = … }, never inline.",
    ),
    unset(
        "sip.*.number",
        Text("an international number", values::number),
        "\"+41440000000\"",
        "Required. Caller ID and station ID.",
    ),
    key("sip.*.channels", Integer(1, 1000), "2", "Calls at once, both ways, on all nodes together."),
    key(
        "sip.*.calls_per_minute",
        Integer(0, 100_000),
        "0",
        "Calls that may begin within any minute, on all nodes together; 0: no limit.",
    ),
    key("sip.*.ring_timeout", Duration("5s", "5m"), "\"1m\"", "No answer by then: hang up."),
    key("sip.*.sandbox", Flag, "false", "The sandbox's line: dials +999 numbers on this machine and nothing else."),
    key(
        "sip.*.pace",
        Text("a pace", |s| values::pace(s).map(drop)),
        "\"real-time\"",
        "Media clock; faster than real time (\"30x\") on the sandbox's line only.",
    ),
    key("sip.*.t38.enabled", Flag, "true", "Whether T.38 is used at all."),
    key("sip.*.t38.ecm", Flag, "true", "Whether error correction is offered."),
    key(
        "sip.*.t38.max_rate",
        Integer(2400, 14_400),
        "14400",
        "Bits per second: 2400, 4800, 7200, 9600, 12000 or 14400.",
    ),
    key("sip.*.t38.version", Integer(0, 3), "0", "T38FaxVersion that is offered."),
    key("sip.*.t38.fallback", Word(&["g711", "off"]), "\"g711\"", "When T.38 is refused: g711 or off."),
    key(
        "sip.*.t38.reinvite_after",
        Duration("0s", "1m"),
        "\"5s\"",
        "Ask for T.38 when the far end has not by then; \"0s\": never ask.",
    ),
    key(
        "sip.*.t38.remember",
        Duration("0s", "90d"),
        "\"7d\"",
        "A number that T.38 failed with is called over audio at once for so long; \"0s\": never.",
    ),
    unset(
        "dial.country",
        Text("a country code", values::country),
        "\"CH\"",
        "Whose national numbers are understood; left out: international numbers only.",
    ),
    key(
        "dial.allow",
        Texts("prefixes", values::prefix, 1000),
        "[]",
        "Prefixes that may be called. Empty: none but the sandbox's.",
    ),
    key(
        "dial.deny",
        Texts("prefixes", values::prefix, 1000),
        "[]",
        "Prefixes that may not be called; wins over allow.",
    ),
    key(
        "dial.premium",
        Flag,
        "false",
        "Whether premium-rate and satellite numbers that dial.allow holds may be called.",
    ),
    key(
        "dial.do_not_fax",
        Texts("international numbers", values::number, 10_000),
        "[]",
        "Numbers that asked not to be faxed; refused at RCPT and again before a call.",
    ),
    unset(
        "dial.do_not_fax_file",
        Text("a path", values::path),
        "\"do-not-fax.csv\"",
        "More of them, one a line, remarks behind a comma; read again when it changes.",
    ),
    key(
        "dial.calls_per_minute",
        Integer(0, 100_000),
        "0",
        "Calls that may begin within any minute on all lines and nodes together; 0: no limit.",
    ),
    key(
        "dial.retry.busy",
        Text("a retry rule", |s| values::retry_rule(s).map(drop)),
        "\"3x 5m\"",
        "After a busy number: how many more calls, how long apart.",
    ),
    key(
        "dial.retry.no_answer",
        Text("a retry rule", |s| values::retry_rule(s).map(drop)),
        "\"3x 15m\"",
        "After no answer.",
    ),
    key(
        "dial.retry.other",
        Text("a retry rule", |s| values::retry_rule(s).map(drop)),
        "\"5x 10m\"",
        "After anything else that can be tried again.",
    ),
    key(
        "dial.retry.give_up",
        Duration("1m", "30d"),
        "\"24h\"",
        "No call begins later than this after the mail was accepted.",
    ),
    unset("dial.route.*.prefix", Text("a prefix", values::prefix), "\"+49\"", "Required. Numbers that begin so."),
    unset(
        "dial.route.*.via",
        Texts("names of lines", values::name, 100),
        "[\"trunk1\"]",
        "Required. Lines to use, in order.",
    ),
    unset(
        "inbound.default",
        Texts("mail addresses", values::mailbox, 100),
        "[\"office@example.com\"]",
        "Who gets a received fax when no route holds; left out: calls that come in are not answered.",
    ),
    key(
        "inbound.format",
        Word(FORMATS),
        "\"pdf\"",
        "What the mail of a received fax carries: pdf, tiff, both or text (no pages: health data).",
    ),
    unset(
        "inbound.did.*",
        Texts("mail addresses", values::mailbox, 100),
        "[\"sales@example.com\"]",
        "Who gets what was sent to this number.",
    ),
    unset(
        "inbound.route.*.did",
        Text("a number or the beginning of one", values::number_pattern),
        "\"+4144*\"",
        "The called number, or its beginning with a star.",
    ),
    unset(
        "inbound.route.*.caller",
        Text("a number or the beginning of one", values::number_pattern),
        "\"+4131*\"",
        "The calling number, or its beginning with a star.",
    ),
    unset(
        "inbound.route.*.tsi",
        Text("a station id", values::station_id),
        "\"*ACME*\"",
        "What the sending machine calls itself; * stands for any characters, case does not matter.",
    ),
    unset(
        "inbound.route.*.subaddress",
        Text("a subaddress", values::subaddress),
        "\"12\"",
        "The subaddress (T.30 SUB) that the sender asked for.",
    ),
    unset(
        "inbound.route.*.times",
        Text("days and times", values::times),
        "\"mon-fri 18:00-08:00; sat,sun\"",
        "When it holds, by the clocks on this machine's wall.",
    ),
    key("inbound.route.*.priority", Integer(0, 10_000), "100", "Routes with a lower number are asked first."),
    unset(
        "inbound.route.*.to",
        Texts("mail addresses", values::mailbox, 100),
        "[\"night@example.com\"]",
        "Required. Who gets the fax.",
    ),
    unset("inbound.route.*.format", Word(FORMATS), "\"text\"", "What the mail carries; left out: inbound.format."),
    unset(
        "delivery.smarthost",
        Texts("hosts with optional ports", values::server, 16),
        "[\"mx1.example.com:25\", \"mx2.example.com:25\"]",
        "Required. Mail servers that take confirmations, tried in order.",
    ),
    unset(
        "delivery.maildir",
        Text("a path", values::path),
        "\"mailbox\"",
        "Instead of smarthost: a Maildir that takes every mail (sandbox, tests).",
    ),
    unset(
        "delivery.from",
        Text("a name with an address", values::named_mailbox),
        "\"Fax <fax@fax.example.com>\"",
        "From of confirmations; left out: Fax <fax@DOMAIN>.",
    ),
    key(
        "delivery.notify.success",
        Word(STYLES),
        "\"image\"",
        "Report of success: image, text (no pages: health data) or off.",
    ),
    key("delivery.notify.failure", Word(STYLES), "\"image\"", "Report of failure: image, text or off."),
    key(
        "delivery.notify.delayed",
        Text("a duration, 1m to 7d, or off", |text| values::delay(text).map(drop)),
        "\"15m\"",
        "Tell the sender, once, when a fax waits this long; or off.",
    ),
    unset(
        "web.listen",
        Text("an address with a port", |s| values::listen(s).map(drop)),
        "\"127.0.0.1:8080\"",
        "Status page, /livez and /readyz; left out: nowhere. Beyond loopback the page masks numbers.",
    ),
    key(
        "web.proxy_protocol_from",
        Texts("networks", |s| values::network(s).map(drop), 100),
        "[]",
        "Load balancers: from these a PROXY protocol header is demanded, from all others it is never read.",
    ),
    unset(
        "web.health",
        Text("an address with a port", |s| values::listen(s).map(drop)),
        "\"0.0.0.0:8100\"",
        "/livez, /readyz and /metrics alone, from every process whatever its roles: for load balancers; left out: nowhere.",
    ),
    refused("web.login", NO_WEB_LOGIN, "remove web.login and keep web.listen on loopback"),
    refused("web.tls", NO_WEB_LOGIN, "remove web.tls and put a TLS proxy in front of web.listen"),
];

/// The setting with this path (of the table, with `*`).
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The table with this path.
pub fn section(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

/// Names that may stand directly in the table with this path, `*` left out.
pub fn members(table: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for path in KEYS.iter().map(|key| key.path) {
        let rest = if table.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else { continue };
        if name != "*" && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Joins a path.
pub fn join(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_lies_in_a_declared_table_and_is_documented_or_refused() {
        for key in KEYS {
            let table = key.path.rsplit_once('.').map_or("", |(table, _)| table);
            assert!(section(table).is_some(), "{} has no section", key.path);
            match key.status {
                Refused(what, fix) => assert!(what.contains("not built yet") && !fix.is_empty(), "{}", key.path),
                _ => assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.path),
            }
            assert_eq!(KEYS.iter().filter(|other| other.path == key.path).count(), 1, "{} stands twice", key.path);
        }
    }

    /// What a setting takes, for people.
    fn kind_words(kind: Kind) -> String {
        let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        match kind {
            Text(what, _) => what.to_owned(),
            Texts(what, _, most) => format!("list of {what}, at most {most}"),
            Word(list) => format!("one of {}", words(list)),
            Words(list) => format!("list of {}", words(list)),
            Integer(least, most) => format!("whole number, {least} to {most}"),
            Flag => "`true` or `false`".to_owned(),
            Duration(least, most) => format!("duration, {least} to {most}"),
            Size(least, most) => format!("size, {least} to {most}"),
            Secret => "`{ file = \"…\" }` or `{ env = \"…\" }`".to_owned(),
            Any => "-".to_owned(),
        }
    }

    fn key_row(key: &Key) -> String {
        let default = match key.default {
            Some(default) => format!("`{default}`"),
            None if key.doc.starts_with("Required.") => "required".to_owned(),
            None => "-".to_owned(),
        };
        let doc = key.doc.strip_prefix("Required. ").unwrap_or(key.doc);
        let (meaning, status) = match key.status {
            Live => (doc.to_owned(), "works".to_owned()),
            Refused(why, fix) => (format!("{why}."), format!("refused; {fix}")),
        };
        let name = format!("`{}`", key.path.replace('*', "NAME"));
        crate::domain::reference::row(&[&name, &kind_words(key.kind), &default, &meaning, &status])
    }

    /// The generated part of `docs/reference/configuration.md`: a table for each table of the file.
    fn configuration_page() -> String {
        let mut page = String::new();
        for section in SECTIONS {
            let table_of = |key: &&Key| key.path.rsplit_once('.').map_or("", |(table, _)| table) == section.path;
            let keys: Vec<&Key> = KEYS.iter().filter(table_of).collect();
            if keys.is_empty() {
                continue;
            }
            let title = if section.path.is_empty() {
                "The top of the file".to_owned()
            } else {
                format!("[{}]", section.path.replace('*', "NAME"))
            };
            let remark = if section.doc.is_empty() { String::new() } else { format!("{}\n\n", section.doc) };
            let heading = crate::domain::reference::head(&["key", "takes", "default", "meaning", "status"]);
            let rows: String = keys.into_iter().map(key_row).collect();
            page.push_str(&format!("## {title}\n{remark}{heading}{rows}\n"));
        }
        page
    }

    #[test]
    fn docs_list_every_setting() {
        let page = configuration_page();
        for key in KEYS {
            let name = format!("| `{}` |", key.path.replace('*', "NAME"));
            assert_eq!(page.matches(&name).count(), 1, "{name} is not in the page");
        }
        let stored = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/configuration.md"));
        crate::domain::reference::check("configuration.md", stored, &page);
    }
}
