//! Checked values in, the typed configuration out: defaults filled in, references between settings checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{Checked, Found, Value, nearest};
use super::forbidden::DoNotFax;
use super::keys::{self, Kind};
use super::model::{
    BucketConfig, Config, DOCUMENTS_FIX, Database, DeliveryConfig, DeliveryTarget, DialConfig, DocumentsPlace,
    FormatsConfig, InboundConfig, PostgresConfig, RenderConfig, RenderSandbox, RetainConfig, RetryConfig, RetryRule,
    Role, RouteConfig, SipConfig, SmtpConfig, SmtpTlsConfig, StoreConfig, T38Config, WebConfig,
};
use super::report::{Place, Problem};
use super::senders::{AccountConfig, OAuth2Config, Policy, Proof, SenderConfig, SendersConfig};
use super::values;
use crate::domain::ReceivedFormat;
use crate::domain::inbound::Rule;

/// What the file does not say.
pub(super) struct Surroundings<'a> {
    /// Folder that relative paths begin at.
    pub(super) folder: &'a Path,
    /// `--data` or `FAXWELL_DATA`.
    pub(super) data: Option<&'a Path>,
    /// Name of the machine.
    pub(super) host: &'a str,
}

/// Builds the configuration. It is meant to be used only when no problem is an error.
pub(super) fn build(checked: &mut Checked, around: &Surroundings<'_>) -> Config {
    let Checked { values, tables, problems } = checked;
    let mut build = Build { values, tables, problems, around };
    build.config()
}

struct Build<'a> {
    values: &'a BTreeMap<String, Found>,
    tables: &'a BTreeMap<String, Place>,
    problems: &'a mut Vec<Problem>,
    around: &'a Surroundings<'a>,
}

impl Build<'_> {
    fn config(&mut self) -> Config {
        let domain = self.required("", "domain", None).to_ascii_lowercase();
        let data = match self.around.data {
            Some(data) => data.to_owned(),
            None => self.path("data").unwrap_or_default(),
        };
        let roles: Vec<Role> = self.texts("roles").iter().filter_map(|word| word.parse().ok()).collect();
        let sip: BTreeMap<String, SipConfig> =
            self.names("sip").iter().map(|name| (name.clone(), self.line(name))).collect();
        let dial = self.dial(&sip);
        let config = Config {
            node: self.text("node").unwrap_or_else(|| self.around.host.to_owned()),
            store: StoreConfig {
                database: self.database(&data),
                documents: self.documents(&data),
                keys: self.path("store.keys.file"),
                min_copies: self.number("store.min_copies"),
                retain: self.retain(),
            },
            drain_grace: self.values.contains_key("drain_grace").then(|| self.duration("drain_grace")),
            smtp: self.smtp(),
            senders: self.senders(),
            render: self.render(),
            delivery: self.delivery(&domain, &roles),
            inbound: self.inbound(),
            web: WebConfig {
                listen: self.text("web.listen").and_then(|text| text.parse().ok()),
                proxy_protocol_from: self.networks("web.proxy_protocol_from"),
                health: self.text("web.health").and_then(|text| text.parse().ok()),
            },
            domain,
            roles,
            data,
            sip,
            dial,
        };
        self.cross(&config);
        config
    }

    fn database(&mut self, data: &Path) -> Database {
        let url = self.text("store.database").filter(|text| text.contains("://"));
        let Some(url) = url else {
            for (key, set) in [
                ("store.hosts", !self.texts("store.hosts").is_empty()),
                ("store.password", self.secret("store.password").is_some()),
                ("store.min_copies", self.number("store.min_copies") > 0),
            ] {
                if set {
                    let message = format!("`{key}` without PostgreSQL: the store is a file on this machine");
                    let fix = "write store.database = \"postgres://…\", or remove the key";
                    self.problems.push(Problem::error("conflict", message, self.place_of(key), fix));
                }
            }
            return Database::File(self.path("store.database").unwrap_or_else(|| data.join("faxwell.db")));
        };
        Database::Postgres(PostgresConfig {
            url,
            hosts: self.texts("store.hosts"),
            password: self.secret("store.password"),
            tls_ca: self.path("store.tls_ca"),
            connections: self.count("store.connections"),
        })
    }

    fn documents(&mut self, data: &Path) -> DocumentsPlace {
        let url = self.text("store.documents").filter(|text| text.starts_with("s3://"));
        let (access_key, secret_key) = (self.secret("store.s3.access_key"), self.secret("store.s3.secret_key"));
        let keys = [("store.s3.access_key", access_key.is_some()), ("store.s3.secret_key", secret_key.is_some())];
        let Some(url) = url.and_then(|url| values::bucket(&url).ok()) else {
            for (key, _) in keys.into_iter().filter(|(_, set)| *set) {
                let message = format!("`{key}` without a bucket: the documents are a directory");
                let fix = "write store.documents = \"s3://…\", or remove the key";
                self.problems.push(Problem::error("conflict", message, self.place_of(key), fix));
            }
            let path = self.path("store.documents").filter(|path| !path.to_string_lossy().contains("s3:"));
            return DocumentsPlace::Directory(path.unwrap_or_else(|| data.join("documents")));
        };
        if let [(one, true), (other, false)] | [(other, false), (one, true)] = keys {
            let message = format!("`{one}` without `{other}`: a bucket wants both or none");
            let fix = "write both, or remove both and set them in the environment of the service";
            self.problems.push(Problem::error("conflict", message, self.place_of(one), fix));
        }
        let values::BucketUrl { bucket, prefix, endpoint, region } = url;
        DocumentsPlace::Bucket(BucketConfig { bucket, prefix, endpoint, region, access_key, secret_key })
    }

    fn retain(&mut self) -> RetainConfig {
        let retain = RetainConfig {
            images: self.duration("store.retain.images"),
            records: self.duration("store.retain.records"),
        };
        if retain.records < retain.images && !self.has_problem("store.retain") {
            let message = "`store.retain.records` is shorter than `store.retain.images`: pages without a record";
            let place = self.place_of("store.retain.records");
            let fix = "keep the records at least as long as the images";
            self.problems.push(Problem::error("conflict", message, place, fix));
        }
        retain
    }

    fn networks(&self, path: &str) -> Vec<ipnet::IpNet> {
        self.texts(path).iter().filter_map(|text| values::network(text).ok()).collect()
    }

    /// A number where 0 says that there is no limit.
    fn limit(&self, path: &str) -> Option<u32> {
        Some(self.number(path)).filter(|limit| *limit > 0)
    }

    fn smtp(&mut self) -> SmtpConfig {
        let (mut relay, mut relay_certificates) = (Vec::new(), Vec::new());
        for entry in self.texts("smtp.relay").iter().filter_map(|text| values::relay(text).ok()) {
            match entry {
                values::Relay::Network(network) => relay.push(network),
                values::Relay::Certificate(name) => relay_certificates.push(name),
                // These are senders of their own: only the whole mail proves them.
                values::Relay::Domain(_) => {}
            }
        }
        SmtpConfig {
            listen: self.texts("smtp.listen").iter().filter_map(|text| text.parse().ok()).collect(),
            listen_tls: self.texts("smtp.listen_tls").iter().filter_map(|text| text.parse().ok()).collect(),
            tls: self.smtp_tls(),
            relay,
            relay_certificates,
            xclient_from: self.networks("smtp.xclient_from"),
            proxy_protocol_from: self.networks("smtp.proxy_protocol_from"),
            senders: self.texts("smtp.senders"),
            max_size_bytes: self.size("smtp.max_size"),
            max_recipients: self.count("smtp.max_recipients"),
            max_connections: self.count("smtp.max_connections"),
            max_connections_per_client: self.count("smtp.max_connections_per_client"),
            max_mails_per_minute: self.limit("smtp.max_mails_per_minute"),
        }
    }

    fn senders(&mut self) -> SendersConfig {
        let proofs = |texts: Vec<String>| -> Vec<Proof> {
            texts.iter().filter_map(|text| values::relay(text).ok()).map(Proof::from).collect()
        };
        let mut senders = BTreeMap::new();
        for name in self.names("sender") {
            let table = format!("sender.{name}");
            let relay = proofs(self.texts(&format!("{table}.relay")));
            if relay.is_empty() {
                self.missing(&table, "relay", "sender.*.relay");
            }
            senders.insert(format!("sender:{name}"), SenderConfig { relay, policy: self.policy(&table) });
        }
        let domains = proofs(self.texts("smtp.relay")).into_iter();
        for proof in domains.filter(|proof| matches!(proof, Proof::Dkim(_) | Proof::Spf(_))) {
            let sender = SenderConfig { relay: vec![proof.clone()], policy: Policy::default() };
            senders.insert(proof.to_string(), sender);
        }
        let account = |name: &String| {
            let table = format!("account.{name}");
            let password = self.secret(&format!("{table}.password"));
            (name.to_lowercase(), AccountConfig { password, policy: self.policy(&table) })
        };
        let accounts = self.names("account").iter().map(account).collect();
        let sealers = self.texts("smtp.arc_sealers");
        SendersConfig {
            accounts,
            senders,
            arc_sealers: sealers,
            resolvers: self.texts("smtp.resolvers").iter().filter_map(|text| text.parse().ok()).collect(),
            oauth2: self.oauth2(),
        }
    }

    fn policy(&self, table: &str) -> Policy {
        let at = |key: &str| format!("{table}.{key}");
        Policy {
            from: self.texts(&at("from")),
            allow: self.texts(&at("allow")),
            deny: self.texts(&at("deny")),
            faxes_per_hour: self.limit(&at("faxes_per_hour")),
            faxes_per_day: self.limit(&at("faxes_per_day")),
            faxes_per_hour_each: self.limit(&at("faxes_per_hour_each")),
            faxes_per_day_each: self.limit(&at("faxes_per_day_each")),
            pages_per_hour: self.limit(&at("pages_per_hour")),
            pages_per_day: self.limit(&at("pages_per_day")),
            automatic: self.flag(&at("automatic")),
            cover: self.text(&at("cover")),
            billing: self.text(&at("billing")),
        }
    }

    /// Tokens without an audience or an issuer would be anybody's.
    fn oauth2(&mut self) -> Option<OAuth2Config> {
        let at = |name: &str| format!("smtp.oauth2.{name}");
        let wanted = ["issuer", "audience", "keys"];
        if wanted.iter().all(|name| self.text(&at(name)).is_none()) && self.text(&at("scope")).is_none() {
            return None;
        }
        for name in wanted {
            if self.text(&at(name)).is_none() {
                self.missing("smtp.oauth2", name, &at(name));
            }
        }
        let keys = self.text("smtp.oauth2.keys")?;
        let keys =
            if keys.starts_with("https://") { keys } else { self.around.folder.join(keys).display().to_string() };
        Some(OAuth2Config {
            issuer: self.text("smtp.oauth2.issuer")?,
            audience: self.text("smtp.oauth2.audience")?,
            keys,
            scope: self.text("smtp.oauth2.scope"),
            claim: self.text("smtp.oauth2.claim").unwrap_or_default(),
        })
    }

    /// A certificate is of no use without its key, nor is the other way round.
    fn smtp_tls(&mut self) -> Option<SmtpTlsConfig> {
        let (cert, key, client_ca) =
            (self.path("smtp.tls.cert"), self.path("smtp.tls.key"), self.path("smtp.tls.client_ca"));
        match (cert, key) {
            (Some(cert), Some(key)) => return Some(SmtpTlsConfig { cert, key, client_ca }),
            (None, None) if client_ca.is_none() => return None,
            (cert, key) => {
                for (name, found) in [("cert", cert), ("key", key)] {
                    if found.is_none() {
                        self.missing("smtp.tls", name, &format!("smtp.tls.{name}"));
                    }
                }
            }
        }
        None
    }

    fn render(&self) -> RenderConfig {
        RenderConfig {
            paper: self.word("render.paper"),
            quality: self.word("render.quality"),
            cover: self.text("render.cover").filter(|name| name != "none"),
            covers: self.path("render.covers"),
            body: self.word("render.body"),
            sandbox: match self.text("render.sandbox").as_deref() {
                Some("best-effort") => RenderSandbox::BestEffort,
                _ => RenderSandbox::Required,
            },
            max_pages: self.number("render.max_pages"),
            timeout: self.duration("render.timeout"),
            memory_bytes: self.size("render.memory"),
            workers: self.count("render.workers"),
            formats: FormatsConfig {
                office: self.word("render.office"),
                zip: self.word("render.zip"),
                libreoffice: self.path("render.libreoffice").unwrap_or_default(),
                libreoffice_documents: self.number("render.libreoffice_documents"),
                libreoffice_memory_bytes: self.size("render.libreoffice_memory"),
            },
        }
    }

    fn line(&mut self, name: &str) -> SipConfig {
        let table = format!("sip.{name}");
        let at = |key: &str| format!("{table}.{key}");
        let fallback: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 0));
        let wait = self.duration(&at("t38.reinvite_after"));
        SipConfig {
            server: self.required(&table, "server", Some("sip.*.server")),
            bind: self.text(&at("bind")).and_then(|text| text.parse().ok()).unwrap_or(fallback),
            accept_from: self.networks(&at("accept_from")),
            user: self.text(&at("user")),
            password: self.secret(&at("password")),
            number: self.required(&table, "number", Some("sip.*.number")),
            channels: self.number(&at("channels")),
            calls_per_minute: self.limit(&at("calls_per_minute")),
            t38: T38Config {
                enabled: self.flag(&at("t38.enabled")),
                ecm: self.flag(&at("t38.ecm")),
                max_rate_bps: self.number(&at("t38.max_rate")),
                version: u8::try_from(self.integer(&at("t38.version"))).unwrap_or_default(),
                fallback_g711: self.text(&at("t38.fallback")).as_deref() == Some("g711"),
                reinvite_after: (!wait.is_zero()).then_some(wait),
                remember: self.duration(&at("t38.remember")),
            },
            sandbox: self.flag(&at("sandbox")),
            pace: self
                .text(&at("pace"))
                .and_then(|text| values::pace(&text).ok())
                .unwrap_or(foip::call::Pace::RealTime),
            ring_timeout: self.duration(&at("ring_timeout")),
        }
    }

    fn dial(&mut self, lines: &BTreeMap<String, SipConfig>) -> DialConfig {
        let mut routes = BTreeMap::new();
        for name in self.names("dial.route") {
            let table = format!("dial.route.{name}");
            let prefix = self.required(&table, "prefix", Some("dial.route.*.prefix"));
            let via = self.texts(&format!("{table}.via"));
            if via.is_empty() {
                self.missing(&table, "via", "dial.route.*.via");
            }
            self.lines_exist(&name, &table, lines);
            routes.insert(name, RouteConfig { prefix, via });
        }
        self.one_route_a_prefix(&routes);
        let do_not_fax = self.do_not_fax();
        DialConfig {
            premium: self.flag("dial.premium"),
            do_not_fax,
            country: self.text("dial.country"),
            allow: self.texts("dial.allow"),
            deny: self.texts("dial.deny"),
            calls_per_minute: self.limit("dial.calls_per_minute"),
            retry: RetryConfig {
                busy: self.rule("dial.retry.busy"),
                no_answer: self.rule("dial.retry.no_answer"),
                other: self.rule("dial.retry.other"),
                give_up: self.duration("dial.retry.give_up"),
            },
            routes,
        }
    }

    fn do_not_fax(&mut self) -> DoNotFax {
        let (key, path) = ("dial.do_not_fax_file", self.path("dial.do_not_fax_file"));
        DoNotFax::open(self.texts("dial.do_not_fax"), path).unwrap_or_else(|error| {
            let message = format!("`{key}`: the list cannot be used: {error}");
            let fix = "write one international number a line, as in \"+41441234567\"";
            self.problems.push(Problem::error("file", message, self.place_of(key), fix));
            DoNotFax::default()
        })
    }

    fn lines_exist(&mut self, route: &str, table: &str, lines: &BTreeMap<String, SipConfig>) {
        let Some(Found { value: Value::Texts(via), .. }) = self.values.get(&format!("{table}.via")) else { return };
        for (line, place) in via.iter().filter(|(line, _)| !lines.contains_key(line)) {
            let message = format!("the route `{route}` uses line `{line}`, which is not defined");
            let known: Vec<&str> = lines.keys().map(String::as_str).collect();
            let note = if known.is_empty() {
                "no lines are defined".to_owned()
            } else {
                format!("lines defined: {}", known.join(", "))
            };
            let fix = if known.is_empty() {
                format!("add [sip.{line}]")
            } else {
                format!("use one of them, or add [sip.{line}]")
            };
            let mut problem = Problem::error("dial-unreachable", message, place.clone(), fix).note(note);
            problem.label = nearest(line, known.into_iter()).map(|near| format!("did you mean \"{near}\"?"));
            self.problems.push(problem);
        }
    }

    fn one_route_a_prefix(&mut self, routes: &BTreeMap<String, RouteConfig>) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, route) in routes.iter().filter(|(_, route)| !route.prefix.is_empty()) {
            let Some(earlier) = seen.insert(&route.prefix, name) else { continue };
            let message = format!("the routes `{earlier}` and `{name}` have the same prefix {}", route.prefix);
            let place = self.place_of(&format!("dial.route.{name}.prefix"));
            self.problems.push(Problem::error(
                "duplicate-route",
                message,
                place,
                "keep one, and name every line in its `via`",
            ));
        }
    }

    fn delivery(&mut self, domain: &str, roles: &[Role]) -> DeliveryConfig {
        let hosts = self.texts("delivery.smarthost");
        let maildir = self.path("delivery.maildir");
        if maildir.is_some() && !hosts.is_empty() {
            let message = "delivery.smarthost and delivery.maildir exclude one another";
            let place = self.place_of("delivery.maildir");
            self.problems.push(Problem::error(
                "conflict",
                message,
                place,
                "keep the one that confirmations are to go to",
            ));
        } else if maildir.is_none()
            && hosts.is_empty()
            && roles.contains(&Role::Deliver)
            && !self.has_problem("delivery.")
        {
            let message = "`delivery.smarthost` is missing: nobody would get a confirmation";
            let place = self.tables.get("delivery").cloned().unwrap_or(Place::File);
            let fix = "write [delivery] with smarthost = [\"mail.example.com:25\"]";
            self.problems.push(Problem::error("missing-key", message, place, fix));
        }
        DeliveryConfig {
            to: maildir.map_or(DeliveryTarget::Smarthosts(hosts), DeliveryTarget::Maildir),
            from: self.text("delivery.from").unwrap_or_else(|| format!("Fax <fax@{domain}>")),
            success: self.word("delivery.notify.success"),
            failure: self.word("delivery.notify.failure"),
            delayed: self.text("delivery.notify.delayed").and_then(|text| values::delay(&text).ok()).flatten(),
        }
    }

    fn inbound(&mut self) -> InboundConfig {
        let format = self.word("inbound.format");
        let did = self.values.keys().filter_map(|path| path.strip_prefix("inbound.did."));
        let did = did.map(|number| (number.to_owned(), self.texts(&format!("inbound.did.{number}")))).collect();
        let routes = self.names("inbound.route").into_iter();
        let routes = routes.map(|name| (name.clone(), self.inbound_route(&name, format))).collect();
        let inbound = InboundConfig { default: self.texts("inbound.default"), format, did, routes };
        if inbound.default.is_empty()
            && !(inbound.did.is_empty() && inbound.routes.is_empty())
            && !self.has_problem("inbound.default")
        {
            self.missing("inbound", "default", "inbound.default");
        }
        inbound
    }

    fn inbound_route(&mut self, name: &str, format: ReceivedFormat) -> Rule {
        let table = format!("inbound.route.{name}");
        let at = |key: &str| format!("{table}.{key}");
        let to = self.texts(&at("to"));
        if to.is_empty() {
            self.missing(&table, "to", "inbound.route.*.to");
        }
        Rule {
            name: name.to_owned(),
            did: self.text(&at("did")),
            caller: self.text(&at("caller")),
            tsi: self.text(&at("tsi")),
            subaddress: self.text(&at("subaddress")),
            times: self.text(&at("times")),
            priority: i32::try_from(self.integer(&at("priority"))).unwrap_or(i32::MAX),
            to,
            format: self.text(&at("format")).and_then(|text| text.parse().ok()).unwrap_or(format),
        }
    }

    /// What only several settings together can get wrong.
    fn cross(&mut self, config: &Config) {
        for (name, line) in &config.sip {
            self.cross_line(name, line);
        }
        let mut listeners = BTreeSet::new();
        let smtp = config.smtp.listen.iter().map(|address| ("smtp.listen", address));
        let smtp = smtp.chain(config.smtp.listen_tls.iter().map(|address| ("smtp.listen_tls", address)));
        let web = [("web.listen", &config.web.listen), ("web.health", &config.web.health)];
        let web = web.into_iter().filter_map(|(path, address)| Some((path, address.as_ref()?)));
        for (path, address) in smtp.chain(web).filter(|(_, address)| address.port() != 0) {
            if !listeners.insert(address) {
                let message = format!("{address} is listened on twice");
                let place = self.place_of(path);
                self.problems.push(Problem::error("conflict", message, place, "use another port for one of them"));
            }
        }
        for (prefix, place) in self.placed("dial.allow") {
            if let Some(deny) = config.dial.deny.iter().find(|deny| prefix.starts_with(deny.as_str())) {
                let message = format!("`dial.deny` holds {deny}, so that allowing {prefix} has no effect");
                self.problems.push(Problem::warning("no-effect", message, place, "remove one of them"));
            }
        }
        self.cross_documents(config);
        self.cross_tls(config);
        self.cross_promises(config);
    }

    /// One process has a data directory to itself: what lies below it no other process of the cluster can read.
    fn cross_documents(&mut self, config: &Config) {
        if config.documents_of_this_process_alone().is_none() || self.has_problem("store.documents") {
            return;
        }
        let place = self.place_of("store.documents");
        self.problems.push(if config.shares_work() {
            let message = "the other roles cannot read documents below the data directory of this process";
            Problem::error("documents-not-shared", message, place, DOCUMENTS_FIX)
        } else {
            let message = "documents lie below the data directory of this node, where no other node can read them";
            Problem::warning("documents-not-shared", message, place, DOCUMENTS_FIX)
        });
    }

    /// What needs a certificate and has none.
    fn cross_tls(&mut self, config: &Config) {
        let smtp = &config.smtp;
        if smtp.tls.is_none() && !smtp.listen_tls.is_empty() && !self.has_problem("smtp.tls") {
            let (message, place) = ("`smtp.listen_tls` needs a certificate", self.place_of("smtp.listen_tls"));
            let fix = "add smtp.tls = { cert = \"…\", key = \"…\" }";
            self.problems.push(Problem::error("missing-key", message, place, fix));
        }
        let asks = smtp.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let by_certificate =
            |sender: &SenderConfig| sender.relay.iter().any(|proof| matches!(proof, Proof::Certificate(_)));
        let senders = config.senders.senders.iter().filter(|(_, sender)| by_certificate(sender));
        for (name, _) in senders.filter(|_| !asks && !self.has_problem("smtp.tls")).collect::<Vec<_>>() {
            let table = name.replacen(':', ".", 1);
            let message = format!("`{table}.relay` names a client certificate, and no client is asked for one");
            let fix = "add client_ca = \"…\" to smtp.tls: the authority that has issued it";
            let place = self.place_of(&format!("{table}.relay"));
            self.problems.push(Problem::error("missing-key", message, place, fix));
        }
        let logs_in = !config.senders.accounts.is_empty() || config.senders.oauth2.is_some();
        if logs_in && smtp.tls.is_none() && !self.has_problem("smtp.tls") {
            let table = if config.senders.accounts.is_empty() { "smtp.oauth2" } else { "account" };
            let place = self.tables.get(table).cloned().unwrap_or(Place::File);
            let fix = "add smtp.tls = { cert = \"…\", key = \"…\" }: nobody logs in over a connection in the clear";
            self.problems.push(Problem::warning("no-effect", "logins need a certificate", place, fix));
        }
        if !smtp.relay_certificates.is_empty() && !asks && !self.has_problem("smtp.tls") {
            let message = "`smtp.relay` names a client certificate, and no client is asked for one";
            let fix = "add client_ca = \"…\" to smtp.tls: the authority that has issued it";
            self.problems.push(Problem::error("missing-key", message, self.place_of("smtp.relay"), fix));
        }
    }

    fn cross_line(&mut self, name: &str, line: &SipConfig) {
        let path = |key: &str| format!("sip.{name}.{key}");
        if line.password.is_some() && line.user.is_none() {
            let message = format!("line `{name}` has a password and no user");
            self.problems.push(Problem::error(
                "missing-key",
                message,
                self.place_of(&path("password")),
                "add user = \"…\", or remove the password",
            ));
        }
        let rates = [2400, 4800, 7200, 9600, 12_000, 14_400];
        if !rates.contains(&line.t38.max_rate_bps) {
            let message =
                format!("`{}` is {}, which no fax machine speaks", path("t38.max_rate"), line.t38.max_rate_bps);
            let fix = "write 2400, 4800, 7200, 9600, 12000 or 14400";
            self.problems.push(Problem::error("out-of-range", message, self.place_of(&path("t38.max_rate")), fix));
        }
        if !line.t38.enabled && !line.t38.fallback_g711 {
            let message = format!("line `{name}` has neither T.38 nor audio: it could not send anything");
            self.problems.push(Problem::error(
                "conflict",
                message,
                self.place_of(&path("t38.fallback")),
                "set t38.enabled = true or t38.fallback = \"g711\"",
            ));
        }
        let local = loopback_server(&line.server);
        if line.sandbox && !local && !line.server.is_empty() {
            let message = format!("line `{name}` is a sandbox line and leaves this machine");
            self.problems.push(Problem::error(
                "conflict",
                message,
                self.place_of(&path("server")),
                "use 127.0.0.1, or remove sandbox = true",
            ));
        }
        if !line.sandbox && line.pace != foip::call::Pace::RealTime {
            let message = format!("line `{name}` is a real one and cannot run faster than real time");
            self.problems.push(Problem::error("conflict", message, self.place_of(&path("pace")), "remove pace"));
        }
    }

    /// Allowed, and yet probably not what somebody wants: warnings.
    fn cross_promises(&mut self, config: &Config) {
        let real_line = config.sip.values().any(|line| !line.sandbox);
        if config.roles.contains(&Role::Smtp)
            && config.smtp.relay.is_empty()
            && config.smtp.relay_certificates.is_empty()
            && config.senders.senders.is_empty()
            && config.senders.accounts.is_empty()
            && !self.has_problem("smtp.relay")
        {
            let fix = "add the networks that may submit, as in relay = [\"10.0.5.0/24\"]";
            self.problems.push(Problem::warning(
                "nobody-may-submit",
                "`smtp.relay` is empty: every mail is refused",
                self.place_of("smtp.relay"),
                fix,
            ));
        }
        if real_line && config.dial.allow.is_empty() && !self.has_problem("dial.allow") {
            let fix = "add the prefixes that may be called, as in allow = [\"+41\"]";
            self.problems.push(Problem::warning(
                "nothing-to-dial",
                "`dial.allow` is empty: every number is refused",
                self.place_of("dial.allow"),
                fix,
            ));
        }
        if config.roles.contains(&Role::Line)
            && config.sip.is_empty()
            && !self.tables.contains_key("sip")
            && !self.has_problem("sip")
        {
            let fix = "add [sip.trunk1] with server and number";
            self.problems.push(Problem::warning(
                "no-line",
                "no line is defined: faxes would wait until they expire",
                Place::File,
                fix,
            ));
        }
        if let Some((entry, place)) = self.placed("smtp.relay").into_iter().find(|(entry, _)| entry.ends_with("/0")) {
            let message = format!("`smtp.relay` holds {entry}: everybody who reaches this port may send faxes");
            self.problems.push(Problem::warning(
                "open-relay",
                message,
                place,
                "name the networks of your own mail servers",
            ));
        }
    }
}

/// Reading single values.
impl Build<'_> {
    fn names(&self, table: &str) -> Vec<String> {
        let names = self.tables.keys().filter_map(|path| path.strip_prefix(table)?.strip_prefix('.'));
        names.filter(|name| !name.contains('.')).map(str::to_owned).collect()
    }

    fn found(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|found| &found.value)
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.found(path) {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(_) => None,
            None => default_text(path),
        }
    }

    fn texts(&self, path: &str) -> Vec<String> {
        match self.found(path) {
            Some(Value::Texts(texts)) => texts.iter().map(|(text, _)| text.clone()).collect(),
            Some(_) => Vec::new(),
            None => default_texts(path),
        }
    }

    fn placed(&self, path: &str) -> Vec<(String, Place)> {
        match self.found(path) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn integer(&self, path: &str) -> u64 {
        match self.found(path) {
            Some(Value::Integer(number)) => *number,
            _ => default_of(path).and_then(|text| text.parse().ok()).unwrap_or_default(),
        }
    }

    fn number(&self, path: &str) -> u32 {
        u32::try_from(self.integer(path)).unwrap_or(u32::MAX)
    }

    fn count(&self, path: &str) -> usize {
        usize::try_from(self.integer(path)).unwrap_or(usize::MAX)
    }

    fn flag(&self, path: &str) -> bool {
        match self.found(path) {
            Some(Value::Flag(flag)) => *flag,
            _ => default_of(path) == Some("true"),
        }
    }

    fn secret(&self, path: &str) -> Option<String> {
        match self.found(path) {
            Some(Value::Secret { secret, .. }) => Some(secret.clone()),
            _ => None,
        }
    }

    fn duration(&self, path: &str) -> Duration {
        self.text(path).and_then(|text| values::duration(&text).ok()).unwrap_or_default()
    }

    fn size(&self, path: &str) -> u64 {
        self.text(path).and_then(|text| values::size(&text).ok()).unwrap_or_default()
    }

    fn rule(&self, path: &str) -> RetryRule {
        let none = RetryRule { times: 0, wait: Duration::ZERO };
        self.text(path).and_then(|text| values::retry_rule(&text).ok()).unwrap_or(none)
    }

    fn word<T: std::str::FromStr + Default>(&self, path: &str) -> T {
        self.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Relative to the file's folder; a default is absolute.
    fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(|text| self.around.folder.join(text))
    }

    /// A setting without which nothing goes.
    fn required(&mut self, table: &str, name: &str, pattern: Option<&str>) -> String {
        let path = keys::join(table, name);
        if let Some(text) = self.text(&path) {
            return text;
        }
        self.missing(table, name, pattern.unwrap_or(&path));
        String::new()
    }

    fn missing(&mut self, table: &str, name: &str, pattern: &str) {
        let path = keys::join(table, name);
        if self.has_problem(&path) {
            return;
        }
        let example = keys::find(pattern).map_or("…", |key| key.example);
        let place = self.tables.get(table).cloned().unwrap_or(Place::File);
        let place_words = if table.is_empty() { "at the top of the file".to_owned() } else { format!("in [{table}]") };
        let fix = format!("write {name} = {example} {place_words}");
        self.problems.push(Problem::error("missing-key", format!("`{path}` is missing"), place, fix));
    }

    /// Whether something is already said about this setting: then it is not also missing.
    fn has_problem(&self, path: &str) -> bool {
        let quoted = format!("`{path}");
        let last = path.rsplit('.').next().unwrap_or(path);
        let meant = format!("did you mean `{last}`");
        self.problems.iter().any(|p| {
            p.message.contains(&quoted)
                || p.label.as_deref().is_some_and(|label| !last.is_empty() && label.contains(&meant))
        })
    }

    fn place_of(&self, path: &str) -> Place {
        let table = path.rsplit_once('.').map_or("", |(table, _)| table);
        let set = self.values.get(path).and_then(|found| found.place.clone());
        set.or_else(|| self.tables.get(table).cloned()).unwrap_or(Place::File)
    }
}

fn loopback_server(server: &str) -> bool {
    let host = server
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next())
        .unwrap_or_else(|| server.split(':').next().unwrap_or(""));
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The table's path of a real path: `sip.trunk1.bind` is `sip.*.bind`.
pub(super) fn pattern_of(path: &str) -> String {
    for (table, depth) in [("sip.", 1), ("dial.route.", 2), ("inbound.did.", 2), ("inbound.route.", 2)] {
        if path.starts_with(table) {
            let steps = path.splitn(depth + 2, '.').enumerate();
            let steps: Vec<&str> = steps.map(|(at, step)| if at == depth { "*" } else { step }).collect();
            return steps.join(".");
        }
    }
    path.to_owned()
}

fn default_of(path: &str) -> Option<&'static str> {
    keys::find(&pattern_of(path)).and_then(|key| key.default)
}

fn default_text(path: &str) -> Option<String> {
    default_of(path).map(|text| text.trim_matches('"').to_owned())
}

fn default_texts(path: &str) -> Vec<String> {
    let words = default_of(path).unwrap_or("[]").trim_matches(['[', ']']);
    words.split(',').map(|word| word.trim().trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect()
}

/// How a value is shown: as TOML, secrets by their source.
pub(super) fn shown(value: &Value, kind: Kind) -> String {
    let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
    match value {
        Value::Text(text) => quote(text),
        Value::Texts(texts) => {
            format!("[{}]", texts.iter().map(|(text, _)| quote(text)).collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Secret { shown, .. } => match kind {
            Kind::Secret => shown.clone(),
            _ => "\"***\"".to_owned(),
        },
    }
}
