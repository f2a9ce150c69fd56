//! The gateway in one process: opens what the stages share, starts the stages, stops them in the right order.
//!
//! ```text
//! start: store ─ documents ─ pretend fax machine (sandbox) ─ take back ─ stages (`stages`), intake LAST: a 250 is only
//!        said when everything behind it runs ─ control socket, web
//! stop:  the stages drain (`lifecycle`); console, far end and store last
//! ```
//! A stage that ends by itself ends the process: the service manager starts it anew, and leases make that harmless.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failed};
use super::figures::Gathered;
use super::images::StoredImages;
use super::open_files;
use super::presence::{self, Presence};
use super::stages::{self, Parts, Started};
use super::storage::{self, Stored};
use super::{far_end, formats, mail_readers};
use crate::config::{Config, Database, PostgresConfig, RenderSandbox, Role};
use crate::console::received::TestCalls;
use crate::console::{self, Accepted, Access, Readiness, Refusal, Services, Storage, Submission, Submit};
use crate::documents::{Documents, DocumentsError, DocumentsSettings};
use crate::domain::{SystemClock, Timestamp};
use crate::intake::{self, Handed, Intake, IntakeSettings};
use crate::lifecycle::identity::{self, DataHeld, IdentityError};
use crate::lifecycle::notify::{self, ServiceManager};
use crate::lifecycle::{self, Ending, Health, HealthWatch, LeaseKeeper, Lifecycle, Lines, Ready, Service, Start};
use crate::line;
use crate::line::journal::Journal;
use crate::mail::bounce::{BounceKey, KEY_NAME, ReturnPaths};
use crate::maintain::retention::Retention;
use crate::render::{self, MadePage, RenderSettings};
use crate::store::{Owner, PostgresSettings, SqlStore, SqliteSettings, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::work::{Hint, Leases};

/// Whether this gateway brings the pretend fax machine of its sandbox line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FarEndPlace {
    /// It runs in this process.
    Here,
    /// Somebody else runs it, or there is none.
    Elsewhere,
}

/// A running gateway.
pub(super) struct Gateway {
    config: Arc<Config>,
    store: Arc<SqlStore>,
    far_end: Option<foip::far_end::FarEnd>,
    life: Lifecycle,
    /// Ends console and heartbeat, when nothing else runs any more.
    stop: CancellationToken,
    presence: Presence,
    _leases: LeaseKeeper,
    _health: HealthWatch,
    _data: DataHeld,
}

/// Why the gateway has not started.
pub(super) struct NotStarted {
    failed: Failed,
    /// The store is away: it may start as soon as that is back.
    pub(super) store_is_away: bool,
}

impl NotStarted {
    fn by_store(failed: Failed, error: &StoreError) -> Self {
        Self { failed, store_is_away: matches!(error, StoreError::Unavailable(_)) }
    }
}

impl From<Failed> for NotStarted {
    fn from(failed: Failed) -> Self {
        Self { failed, store_is_away: false }
    }
}

impl From<NotStarted> for Failed {
    fn from(not_started: NotStarted) -> Self {
        not_started.failed
    }
}

/// Time for everything to come to its end: calls finish their page, then their reports leave.
const DRAIN: Duration = Duration::from_secs(stages::CALLS_END.as_secs() + 30);
/// Time for the console to answer what it was asked.
const CONSOLE_STOP: Duration = Duration::from_secs(3);
/// A node that the store has not heard of for so long holds no lease any more.
pub(super) const GONE_AFTER: Duration =
    Duration::from_secs(line::CALL_LEASE.as_secs() + 3 * presence::HEARTBEAT.as_secs());

impl Gateway {
    /// Starts every role of the configuration. What was started is stopped again when a later part cannot start.
    pub(super) async fn start(config: Config, far_end: FarEndPlace) -> Result<Self, NotStarted> {
        let config = Arc::new(config);
        open_files::allow(&config)?;
        let owner = Owner { node: config.node.clone(), epoch: uuid::Uuid::now_v7() };
        let data = identity::hold(&config.data).await.map_err(not_this_node)?;
        storage::refuse_half_restored(&config.data)?;
        storage::remove_copies(&config.data);
        let store = open_store(&config).await?;
        let metrics = Metrics::new();
        store.observe(Arc::<Metrics>::clone(&metrics));
        let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let documents = open_documents(&config, Arc::clone(&shared)).await?;
        let far_end = match far_end {
            FarEndPlace::Here => start_far_end(&config).await?,
            FarEndPlace::Elsewhere => None,
        };
        identity::claim(&data, &config.data, &owner, GONE_AFTER, &*shared).await.map_err(not_this_node)?;
        // What an earlier life of this node was told by far ends: before anything is freed, settled or claimed.
        let journal = open_journal(&config)?;
        let told = journal.replay(&*shared, &owner.node).await.map_err(|error| no_store(&error))?;
        if told > 0 {
            tracing::info!(told, "facts of calls that an earlier life could not store are told");
        }
        let taken_back = store.take_back(&owner).await.map_err(|error| no_store(&error))?;
        if taken_back.leases + taken_back.orphans > 0 {
            tracing::info!(
                leases = taken_back.leases,
                orphans = taken_back.orphans,
                "took back what an earlier life held"
            );
        }
        let leases = Leases::new();
        let keeper = LeaseKeeper::start(Arc::clone(&shared), owner.clone(), leases.clone(), line::CALL_LEASE);
        // Previews are made where notices leave.
        let renders = [Role::Render, Role::Deliver].iter().any(|role| config.roles.contains(role));
        let formats = if renders { formats::find(&config).await } else { formats::policy(&config) };
        let converter = converter(&config, formats.clone())?;
        lock_up(&converter).await?;
        let held_until = keeper.held_until();
        let order = store.drain_order(&owner.node).await.map_err(|error| no_store(&error))?;
        let start = if order.is_some() { Start::Drained } else { Start::Serving };
        if let Some(order) = order {
            tracing::warn!(by = order.by, "this node starts out of service, as ordered; faxwell node resume ends that");
        }
        let lines = if config.roles.contains(&Role::Line) { Lines::Here } else { Lines::Elsewhere };
        let health =
            HealthWatch::start(Arc::clone(&shared), documents.clone()).await.map_err(|error| no_store(&error))?;
        let returns = open_returns(&*shared, &config.domain).await?;
        let retention = Retention::new(Arc::clone(&shared), documents.clone(), config.store.retain, owner.clone());
        let parts = Parts {
            config: Arc::clone(&config),
            store: shared,
            documents,
            converter,
            formats,
            retention: Arc::new(retention),
            owner,
            leases,
            held_until,
            journal,
            service: Service::new(lines, start),
            clock: Arc::new(health.time()),
            metrics,
            returns,
        };
        let mut life = Lifecycle::new();
        let started = stages::start(&mut life, &parts).await?;
        let stop = CancellationToken::new();
        let (presence, ordered) = (Presence::new(config.drain_grace), Hint::new());
        start_console(&mut life, &parts, started, Told { health: health.health(), ordered: ordered.clone() }, &stop)
            .await?;
        presence::start(&parts, presence.clone(), &ordered, stop.clone());
        let (service, drain, last) = (parts.service.clone(), life.drain(), presence.clone());
        tokio::spawn(async move {
            drain.cancelled().await;
            service.end(last.last_grace());
        });
        Ok(Self { config, store, far_end, life, stop, presence, _leases: keeper, _health: health, _data: data })
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Tells the service manager, if one has started this process, that everything runs; and later that it stops.
    pub(super) fn tell_ready(&self) -> Result<(), Failed> {
        let manager = ServiceManager::new(&notify::Environment::of_process()).map_err(|error| {
            failed("the service manager cannot be told", &error, "unset NOTIFY_SOCKET, or start it by its unit")
        })?;
        manager.ready(self.life.drain(), self.stop.clone());
        Ok(())
    }

    /// Runs until SIGTERM or SIGINT has come and everything has drained, or until a part has failed.
    pub(super) async fn run(self) -> Result<Exit, Failed> {
        let signals = lifecycle::os_signals().map_err(|error| {
            Failed::new(Exit::Failed, "cannot wait for signals", error.to_string(), "start it again")
        })?;
        let ending = self.life.wait(signals, DRAIN + self.presence.grace()).await;
        if let Some(far_end) = &self.far_end {
            far_end.stop().await;
        }
        self.stop.cancel();
        let _ = tokio::time::timeout(CONSOLE_STOP, self.store.close()).await;
        let _ = std::fs::remove_file(self.config.control_socket());
        match ending {
            Ending::Drained => Ok(Exit::Ok),
            Ending::Stopped { busy } => {
                tracing::warn!(
                    busy = busy.join(", "),
                    "stopped before everything was done; the next start goes on with it"
                );
                Ok(Exit::Ok)
            }
            Ending::Failed { role, why } => {
                let fix = "see the log, then start the gateway again: it goes on where it stopped";
                Err(Failed::new(Exit::Failed, format!("the role {role} has failed"), why, fix))
            }
        }
    }
}

/// What the console asks and tells.
struct Told {
    health: Health,
    /// Woken when an order to a node was given here.
    ordered: Hint,
}

async fn start_console(
    life: &mut Lifecycle,
    parts: &Parts,
    started: Started,
    told: Told,
    stop: &CancellationToken,
) -> Result<(), Failed> {
    let config = Arc::clone(&parts.config);
    let storage: Arc<dyn Storage> = Arc::new(Stored::new(parts));
    let figures = Gathered::new(parts, Arc::clone(&started.intake), Arc::clone(&storage), told.health.clone());
    let services = Services {
        config: Arc::clone(&config),
        store: Arc::clone(&parts.store),
        submit: Arc::new(ByIntake(started.intake)),
        test_calls: started.sandbox_line.map(|line| Arc::new(far_end::Calling::new(line)) as Arc<dyn TestCalls>),
        pages: Arc::new(StoredImages::new(parts.documents.clone(), parts.converter.clone())),
        storage,
        figures: Arc::new(figures),
        readiness: Arc::new(Roles {
            config: Arc::clone(&config),
            readiness: life.readiness(),
            service: parts.service.clone(),
            health: told.health,
        }),
        node_ordered: told.ordered,
    };
    let control = console::bind_control(&config.control_socket()).await.map_err(console_failed)?;
    let router = console::router(services.clone(), Access::Control);
    // The commands ask through it until the very end, so it does not drain with the stages.
    let serving = console::serve(control, router, stop.clone());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the control socket is gone; commands do not reach this gateway any more");
        }
    });
    if let Some(address) = config.web.health {
        let health = console::bind_web(address, &[]).await.map_err(console_failed)?;
        let serving = console::serve(health, console::router(services.clone(), Access::Health), stop.clone());
        // Load balancers are told of the drain until the very end.
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "health is not answered any more on web.health");
            }
        });
    }
    if let Some(address) = config.web.listen.filter(|_| config.roles.contains(&Role::Web)) {
        let web = console::bind_web(address, &config.web.proxy_protocol_from).await.map_err(console_failed)?;
        let router = console::router(services, Access::of_web(&config));
        let (drain, service) = (life.drain(), parts.service.clone());
        life.spawn(Role::Web.as_str(), async move {
            // A node that is ordered away says so to whoever asks; only a process that ends closes.
            let closing = CancellationToken::new();
            let (over, late) = (closing.clone(), async move {
                drain.cancelled().await;
                service.last_closing().await;
            });
            tokio::spawn(async move {
                late.await;
                over.cancel();
            });
            console::serve(web, router, closing).await
        });
        life.readiness().set(Role::Web.as_str(), Ready::Yes);
    }
    Ok(())
}

/// This program once more, locked up, for each document.
pub(super) fn converter(config: &Config, formats: pages::Formats) -> Result<pages::Converter, Failed> {
    let program = std::env::current_exe().map_err(|error| {
        let fix = "start the program by its whole path";
        Failed::new(Exit::Failed, "cannot find this program's file", error.to_string(), fix)
    })?;
    let limits = pages::Limits {
        wall: config.render.timeout,
        memory_bytes: config.render.memory_bytes,
        processes: config.render.workers,
        sandbox: match config.render.sandbox {
            RenderSandbox::Required => pages::Sandbox::Required,
            RenderSandbox::BestEffort => pages::Sandbox::BestEffort,
        },
        ..pages::Limits::default()
    };
    Ok(pages::Converter::new(program, vec!["converter".into()], limits).with_formats(formats))
}

/// Converters come up before the first mail does, and a kernel that cannot lock them up is no surprise of the first document.
async fn lock_up(converter: &pages::Converter) -> Result<(), Failed> {
    let open = converter.warm_up().await.map_err(|error| {
        let fix =
            "use a kernel with landlock (Linux 5.13 or later) and seccomp, or set render.sandbox = \"best-effort\"";
        failed("the gateway cannot open documents safely", &error, fix)
    })?;
    if let Some(open) = open {
        tracing::warn!(open, "converters are not locked up completely: render.sandbox = \"best-effort\" allows it");
    }
    Ok(())
}

pub(super) async fn open_store(config: &Config) -> Result<Arc<SqlStore>, NotStarted> {
    let opened = match &config.store.database {
        Database::File(path) => SqlStore::open_sqlite(path, Arc::new(SystemClock), SqliteSettings::default()).await,
        Database::Postgres(postgres) => SqlStore::open_postgres(postgres_settings(postgres)).await,
    };
    opened.map(Arc::new).map_err(|error| NotStarted::by_store(store_unusable(&config.store.database, &error), &error))
}

/// As the engine takes it.
pub(super) fn postgres_settings(config: &PostgresConfig) -> PostgresSettings {
    PostgresSettings {
        hosts: config.hosts.clone(),
        password: config.password.clone(),
        tls_ca: config.tls_ca.clone(),
        connections: config.connections,
        ..PostgresSettings::new(&config.url)
    }
}

/// Why the store cannot be opened, and what to do.
pub(super) fn store_unusable(database: &Database, error: &StoreError) -> Failed {
    let fix = match database {
        Database::File(_) => "see the log; make the directory writable and make room on its disk",
        Database::Postgres(_) => "start the database, let this node reach it, and check store.hosts and store.password",
    };
    failed(format!("cannot use the store {database}"), error, fix)
}

fn open_journal(config: &Config) -> Result<Arc<Journal>, Failed> {
    Journal::open(&config.data.join("journal"), Arc::new(SystemClock)).map(Arc::new).map_err(|error| {
        failed("the call journal does not work", &error, "make the data directory writable and make room on its disk")
    })
}

/// The key of return addresses: the first node that starts makes it, all others read it.
async fn open_returns(store: &dyn Store, domain: &str) -> Result<ReturnPaths, NotStarted> {
    let unfit = |cause: String| {
        let fix = "run `faxwell db verify`, mend what it finds, then start the gateway again";
        Failed::new(Exit::Failed, "the key of return addresses cannot be had", cause, fix)
    };
    let fresh = BounceKey::fresh().map_err(|error| unfit(error.to_string()))?;
    let kept = store.secret(KEY_NAME, fresh.octets()).await.map_err(|error| no_store(&error))?;
    let key = BounceKey::read(&kept).ok_or_else(|| unfit(format!("the store has one of {} octets", kept.len())))?;
    Ok(ReturnPaths::new(key, domain))
}

async fn open_documents(config: &Config, store: Arc<dyn Store>) -> Result<Documents, NotStarted> {
    let place = &config.store.documents;
    let unusable = |error: DocumentsError| match &error {
        DocumentsError::Store(why) => NotStarted::by_store(store_failed(&error), why),
        _ => {
            let fix = "let this process reach and write that place; check store.documents and store.keys";
            failed(format!("cannot use the documents {place}"), &error, fix).into()
        }
    };
    let keys = storage::read_keys(config.store.keys.as_deref()).map_err(unusable)?;
    let settings = DocumentsSettings { keys, ..DocumentsSettings::default() };
    let documents = Documents::open(place.clone(), store, settings).map_err(unusable)?;
    documents.check_keys().await.map_err(unusable)?;
    Ok(documents)
}

/// The sandbox's other end, when this configuration has a sandbox line.
async fn start_far_end(config: &Config) -> Result<Option<foip::far_end::FarEnd>, Failed> {
    let Some((_, line)) = config.sandbox_line() else { return Ok(None) };
    let Ok(bind) = line.server.parse::<SocketAddr>() else { return Ok(None) };
    let ledger = config.data.join("ledger");
    far_end::start(bind, config.tray(), Some(ledger), line.pace).await.map(Some)
}

fn not_this_node(error: IdentityError) -> NotStarted {
    match &error {
        IdentityError::Store(why) => no_store(why),
        _ => failed("this process cannot be this node", &error, "see the log; check the disk").into(),
    }
}

fn no_store(error: &StoreError) -> NotStarted {
    NotStarted::by_store(store_failed(error), error)
}

fn store_failed(error: &dyn std::fmt::Display) -> Failed {
    failed("the store does not work", error, "see the log; check the disk, or the database and the way to it")
}

fn failed(message: impl Into<String>, error: &dyn std::fmt::Display, fix: &str) -> Failed {
    Failed::because(Exit::Failed, message, error, fix)
}

fn console_failed(error: console::ConsoleError) -> Failed {
    failed("the gateway cannot start", &error, error.fix())
}

/// Resolves at SIGTERM or SIGINT.
pub(super) async fn stop_signal() -> Result<(), Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| {
        Failed::new(Exit::Failed, "cannot wait for signals", error.to_string(), "start it again")
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Submissions of commands go to intake.
struct ByIntake(Arc<Intake>);

#[async_trait]
impl Submit for ByIntake {
    async fn submit(&self, submission: Submission) -> Result<Accepted, Refusal> {
        let Submission { reverse_path, recipients, mail, client, idempotency_key } = submission;
        let handed = Handed { from: reverse_path, recipients, mail, idempotency_key };
        match intake::submit_mail(&self.0, &client, handed).await {
            Ok(accepted) => {
                let text = accepted.text();
                Ok(Accepted { message: accepted.message, faxes: accepted.faxes, text })
            }
            Err(refusal) => Err(Refusal { cause: refusal.cause, detail: refusal.text }),
        }
    }
}

/// Whether this process does its work.
struct Roles {
    config: Arc<Config>,
    readiness: lifecycle::Readiness,
    service: Service,
    health: Health,
}

impl Readiness for Roles {
    fn ready(&self, role: Option<Role>) -> Result<(), String> {
        if self.service.is_leaving() {
            return Err("draining".to_owned());
        }
        if let Some(role) = role.filter(|role| !self.config.roles.contains(role)) {
            return Err(format!("the role {role} does not run here"));
        }
        let wanted = |name: &str| role.is_none_or(|role| role.as_str() == name);
        for (name, state) in self.readiness.get().into_iter().filter(|(name, _)| wanted(name)) {
            match state {
                Ready::Yes => {}
                Ready::Starting => return Err(format!("{name}: starting")),
                Ready::No(why) => return Err(format!("{name}: {why}")),
            }
        }
        self.health.check(self.config.store.min_copies)
    }
}

/// What a preview is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreviewFormat {
    /// PDF of the fax pages.
    Pdf,
    /// TIFF-F as it would be sent.
    Tiff,
}

/// Pages that nobody sends.
pub(super) struct Preview {
    /// The file.
    pub(super) bytes: Vec<u8>,
    /// Its pages.
    pub(super) pages: Vec<MadePage>,
    /// What was substituted, left out, turned or scaled.
    pub(super) remarks: Vec<String>,
}

/// The pages of a mail to one recipient, made as the gateway makes them. Nothing is stored and nothing is dialled.
pub(super) async fn preview(
    config: &Config,
    recipient: &str,
    mail: Vec<u8>,
    date: Timestamp,
    format: PreviewFormat,
) -> Result<Preview, Failed> {
    let settings = IntakeSettings::new(config, super::covers(config));
    let handed = Handed { from: None, recipients: vec![recipient.to_owned()], mail, idempotency_key: None };
    let formats = formats::find(config).await;
    let (message, faxes) = intake::preview(&settings, mail_readers(&formats), &handed, date).map_err(|refusal| {
        Failed::new(Exit::Failed, refusal.text.clone(), refusal.cause.entry().cause, refusal.cause.entry().fix)
    })?;
    let failed = |why: String| Failed::new(Exit::Failed, "no preview can be made", why, "correct the file it names");
    let fax = faxes.first().ok_or_else(|| failed("the mail has no recipient".to_owned()))?;
    let render = RenderSettings::new(config, TimeZone::system());
    let made = render::preview(&converter(config, formats)?, &render, &message, fax, &handed.mail)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let bytes = match format {
        PreviewFormat::Tiff => made.bytes,
        PreviewFormat::Pdf => pages::pdf_out::wrap(&made.bytes).map_err(|error| failed(error.to_string()))?,
    };
    Ok(Preview { bytes, pages: made.pages, remarks: made.remarks })
}
