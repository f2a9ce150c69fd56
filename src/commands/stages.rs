//! Starts the stages that a node's roles name, each as a role of the process's life.
//!
//! Each runs in the terms of the node's service ([`crate::lifecycle::Service`]), so that an order takes the node out of it and back
//! without a new process. The order of ending matters more than that of starting: intake, renderers and lines stop taking work at once; lines
//! let their calls finish a page; delivery and maintenance go on until the lines are done, so that the reports of the last
//! calls still leave.

mod maintenance;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, watch};

use super::exit::{Exit, Failed};
use super::images::StoredImages;
use crate::config::inbound::Mailboxes;
use crate::config::{Config, Role};
use crate::deliver::{Composer, Deliverer, Deliveries, Transport, compose};
use crate::documents::Documents;
use crate::domain::Clock;
use crate::intake::{self, Intake, IntakeSettings};
use crate::lifecycle::{HeldUntil, Lifecycle, Ready, Service, Term};
use crate::line::journal::Journal;
use crate::line::{self, LineAgent};
use crate::mail::bounce::ReturnPaths;
use crate::maintain::retention::Retention;
use crate::render::{RenderSettings, Renderer};
use crate::senders::authenticity::Authenticator;
use crate::senders::{Fetch, KeySource, Logins};
use crate::store::{Instead, Owner, Store};
use crate::telemetry::metrics::Metrics;
use crate::work::{self, Hint, Leases, Pace, Progress, WorkError, Worker};

/// How long calls may go on when the gateway ends; longer than a dense page takes at 2400 bit/s.
pub(super) const CALLS_END: Duration = Duration::from_secs(240);

/// How often the lines are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// How often orders for calls under way are looked for.
const LOOK_FOR_ORDERS: Duration = Duration::from_secs(1);

/// How long reports that are due may still be sent when everything else has ended.
const LAST_REPORTS: Duration = Duration::from_secs(10);

/// Reports composed and sent at once.
const DELIVERIES_AT_ONCE: usize = 4;

/// What every stage needs.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) store: Arc<dyn Store>,
    pub(super) documents: Documents,
    pub(super) converter: pages::Converter,
    /// Which documents become pages here.
    pub(super) formats: pages::Formats,
    pub(super) retention: Arc<Retention>,
    pub(super) owner: Owner,
    /// What the workers hold.
    pub(super) leases: Leases,
    /// Until when they surely hold it.
    pub(super) held_until: HeldUntil,
    /// Facts of this node's calls.
    pub(super) journal: Arc<Journal>,
    /// The figures of this process.
    pub(super) metrics: Arc<Metrics>,
    /// The store's time.
    pub(super) clock: Arc<dyn Clock>,
    /// The terms that the stages work in.
    pub(super) service: Service,
    /// Return addresses of received faxes' mails: made by delivery, read by intake.
    pub(super) returns: ReturnPaths,
}

impl Parts {
    /// Who gets a received fax that a mailbox does not take.
    fn instead(&self) -> Instead {
        Instead { mailboxes: self.config.inbound.default.clone(), domain: self.config.domain.clone() }
    }
}

/// Wake-up calls from stage to stage. Losing one costs half a second.
#[derive(Default, Clone)]
struct Hints {
    render: Hint,
    line: Hint,
    deliver: Hint,
}

/// What of them others talk to.
pub(super) struct Started {
    pub(super) intake: Arc<Intake>,
    /// Where the line is called, in a sandbox whose line runs here.
    pub(super) sandbox_line: Option<watch::Receiver<Option<SocketAddr>>>,
}

/// Starts them. The intake is answered, for submissions of commands; it exists on every node and listens where the
/// role `smtp` is.
pub(super) async fn start(life: &mut Lifecycle, parts: &Parts) -> Result<Started, Failed> {
    let hints = Hints::default();
    let has = |role| parts.config.roles.contains(&role);
    if has(Role::Maintain) {
        maintenance::start(life, parts, &hints);
    }
    if has(Role::Deliver) {
        start_deliver(life, parts, &hints)?;
    }
    let sandbox_line = if has(Role::Line) { start_line(life, parts, &hints).await? } else { None };
    if has(Role::Render) {
        start_render(life, parts, &hints);
    }
    Ok(Started { intake: start_intake(life, parts, &hints).await?, sandbox_line })
}

fn start_deliver(life: &mut Lifecycle, parts: &Parts, hints: &Hints) -> Result<(), Failed> {
    let delivery = &parts.config.delivery;
    let settings = compose::Settings {
        from: delivery.from.clone(),
        reporting_mta: parts.config.domain.clone(),
        administrator: None,
        zone: TimeZone::system(),
        success: delivery.success,
        failure: delivery.failure,
        orders: parts.returns.orders(),
    };
    let composer = Composer::new(settings).map_err(|error| unusable("delivery", &error))?;
    let transport = Transport::new(&delivery.to, &parts.config.domain).map_err(|error| unusable("delivery", &error))?;
    let images = StoredImages::new(parts.documents.clone(), parts.converter.clone()).with_previews(&parts.config);
    let (store, leases) = (Arc::clone(&parts.store), parts.leases.clone());
    let returned = (parts.returns.clone(), parts.instead());
    let deliverer = Arc::new(Deliverer::new(store, Arc::new(images), composer, transport, returned, leases));
    let worker = Deliveries { deliverer, owner: parts.owner.clone() };
    let hint = hints.deliver.clone();
    spawn(life, &parts.service, Role::Deliver, move |term| {
        let (mut last, worker, hint) = (worker.clone(), worker.clone(), hint.clone());
        async move {
            let make = move || worker.clone();
            work::run_many("deliver", DELIVERIES_AT_ONCE, make, pace(), hint, term.lines_over).await;
            // The end of the last call and the end of this stage come together: what became owed just now still leaves.
            let due = async { while let Ok(Progress::Worked) = last.step().await {} };
            if tokio::time::timeout(LAST_REPORTS, due).await.is_err() {
                tracing::info!("reports are still owed; the next start sends them");
            }
            Ok(())
        }
    });
    Ok(())
}

/// Answers where the sandbox's line listens, which a term may change.
async fn start_line(
    life: &mut Lifecycle,
    parts: &Parts,
    hints: &Hints,
) -> Result<Option<watch::Receiver<Option<SocketAddr>>>, Failed> {
    let context = line::Context {
        store: Arc::clone(&parts.store),
        documents: Arc::new(parts.documents.clone()),
        marker: line::Marker::new(parts.converter.clone(), Arc::clone(&parts.config), TimeZone::system()),
        owner: parts.owner.clone(),
        leases: parts.leases.clone(),
        held_until: parts.held_until.clone(),
        journal: Arc::clone(&parts.journal),
        domain: parts.config.domain.clone(),
        dial: parts.config.dial.clone(),
        spool: parts.config.data.join("calls"),
        delivery_hint: hints.deliver.clone(),
        mailboxes: Mailboxes::new(&parts.config, TimeZone::system()),
    };
    let sandbox = parts.config.sandbox_line().map(|(name, _)| name.to_owned());
    let (here, at) = watch::channel(None);
    let lines = Arc::new(Lines { config: Arc::clone(&parts.config), context, hint: hints.line.clone(), here, sandbox });
    // What is wrong with the lines is told by the start, not by the log.
    let mut first = None;
    if !parts.service.is_leaving() {
        first = Some(lines.start().await.map_err(|error| unusable("lines", &error))?);
    }
    let (service, receiver) = (parts.service.clone(), lines.sandbox.is_some().then_some(at));
    let readiness = life.readiness();
    life.spawn(Role::Line.as_str(), async move {
        let run = |term: Term| {
            let (lines, first) = (Arc::clone(&lines), first.take());
            async move { lines.work(first, term).await }
        };
        service.in_terms_of_lines(run).await
    });
    readiness.set(Role::Line.as_str(), Ready::Yes);
    Ok(receiver)
}

/// What an agent is made of, anew in each term.
struct Lines {
    config: Arc<Config>,
    context: line::Context,
    hint: Hint,
    /// Where the sandbox's line listens.
    here: watch::Sender<Option<SocketAddr>>,
    sandbox: Option<String>,
}

impl Lines {
    async fn start(&self) -> Result<Arc<LineAgent>, line::LineError> {
        let agent = LineAgent::start(&self.config, self.context.clone(), self.hint.clone()).await?;
        self.here.send_replace(self.sandbox.as_ref().and_then(|name| agent.local_addr(name)));
        Ok(Arc::new(agent))
    }

    /// Calls until the term is left, and ends when its last call is over.
    async fn work(&self, first: Option<Arc<LineAgent>>, term: Term) -> Result<(), String> {
        let agent = match first {
            Some(agent) => agent,
            None if term.leaving.is_cancelled() => return Ok(()),
            None => self.start().await.map_err(|error| error.to_string())?,
        };
        let looking_after = Pace { poll: LOOK_AFTER, ..pace() };
        let heeding = Pace { poll: LOOK_FOR_ORDERS, ..pace() };
        // Orders reach the calls that a drain lets finish, too.
        let heeding = work::run("orders", Heeding(Arc::clone(&agent)), heeding, Hint::new(), term.lines_over.clone());
        let heeding = tokio::spawn(heeding);
        tokio::join!(
            work::run("line", Calling(Arc::clone(&agent)), pace(), self.hint.clone(), term.leaving.clone()),
            work::run("lines", LookingAfter(Arc::clone(&agent)), looking_after, Hint::new(), term.leaving.clone()),
        );
        agent.drain(CALLS_END).await;
        // The next term wants the agent's address: nobody may hold it any longer.
        heeding.abort();
        let _ = heeding.await;
        Ok(())
    }
}

fn start_render(life: &mut Lifecycle, parts: &Parts, hints: &Hints) {
    let settings = RenderSettings::new(&parts.config, TimeZone::system());
    let renderer = Renderer::new(
        Arc::clone(&parts.store),
        parts.documents.clone(),
        parts.converter.clone(),
        settings,
        parts.owner.clone(),
        parts.leases.clone(),
    );
    let (line, deliver) = (hints.line.clone(), hints.deliver.clone());
    let (workers, hint) = (parts.config.render.workers, hints.render.clone());
    spawn(life, &parts.service, Role::Render, move |term| {
        let (renderer, next) = (renderer.clone(), [line.clone(), deliver.clone()]);
        let make = move || Rendering { renderer: renderer.clone(), next: next.clone() };
        let rendering = work::run_many("render", workers, make, pace(), hint.clone(), term.leaving);
        async move {
            rendering.await;
            Ok(())
        }
    });
}

/// Logins where there is TLS to protect them, and proofs of mails where a domain is let in.
async fn who_may_submit(mut intake: Intake, parts: &Parts) -> Result<Intake, Failed> {
    let config = &parts.config;
    if config.smtp.tls.is_some() {
        let keys = config.senders.oauth2.as_ref().map(|oauth2| KeySource::new(&oauth2.keys)).transpose();
        let keys = keys.map_err(|why| unusable("smtp.oauth2.keys", &why))?;
        let keys = keys.map(|source| Arc::new(source) as Arc<dyn Fetch>);
        let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
        let logins = Logins::open(&config.senders, keys, store, clock).await;
        intake = intake.with_accounts(Arc::new(logins.map_err(|error| unusable("logins", &error))?));
    }
    if intake.settings.senders.any_domain() {
        let authenticator = Authenticator::new(&config.domain, &config.senders.resolvers);
        intake = intake.with_authenticator(Arc::new(authenticator.map_err(|why| unusable("smtp.resolvers", &why))?));
    }
    Ok(intake)
}

async fn start_intake(life: &mut Lifecycle, parts: &Parts, hints: &Hints) -> Result<Arc<Intake>, Failed> {
    let accepted = Arc::new(Notify::new());
    let intake = Intake::new(
        IntakeSettings::new(&parts.config, super::covers(&parts.config)),
        Arc::clone(&parts.store),
        Arc::new(parts.documents.clone()),
        Arc::clone(&parts.clock),
        super::mail_readers(&parts.formats),
        parts.returns.clone(),
        Arc::clone(&accepted),
    );
    let mut intake = intake.map_err(|error| unusable("intake", &error))?;
    if let Some(files) = parts.config.smtp.tls.clone().filter(|_| parts.config.roles.contains(&Role::Smtp)) {
        let tls = intake::tls::Tls::open(files).map_err(|error| unusable("smtp.tls", &error))?;
        intake = intake.with_tls(Arc::new(tls));
    }
    if parts.config.roles.contains(&Role::Smtp) {
        intake = who_may_submit(intake, parts).await?;
    }
    let intake = Arc::new(intake);
    let (render, deliver) = (hints.render.clone(), hints.deliver.clone());
    tokio::spawn(async move {
        loop {
            accepted.notified().await;
            render.wake();
            // Instructions, previews and the reports of faxes that were cancelled by mail.
            deliver.wake();
        }
    });
    tokio::spawn(intake::watch(Arc::clone(&intake), fastrand::Rng::new(), life.stop()));
    if parts.config.roles.contains(&Role::Smtp) {
        let mut first = None;
        if !parts.service.is_leaving() {
            let doors = intake::bind(&parts.config.smtp).await.map_err(|error| unusable("intake", &error))?;
            first = Some(doors);
        }
        let taking = Arc::clone(&intake);
        spawn(life, &parts.service, Role::Smtp, move |term| {
            let (intake, first) = (Arc::clone(&taking), first.take());
            async move {
                let doors = match first {
                    Some(doors) => doors,
                    None => intake::bind(&intake.settings.smtp).await.map_err(|error| error.to_string())?,
                };
                // Until the load balancer has noticed, new mails are taken as ever.
                intake::run(intake, doors, term.closing).await;
                Ok(())
            }
        });
    }
    Ok(intake)
}

/// Every stage begins as soon as it is spawned, so it is ready then.
fn spawn<F, Fut>(life: &mut Lifecycle, service: &Service, role: Role, stage: F)
where
    F: FnMut(Term) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), String>> + Send + 'static,
{
    let (readiness, service) = (life.readiness(), service.clone());
    life.spawn(role.as_str(), async move { service.in_terms(stage).await });
    readiness.set(role.as_str(), Ready::Yes);
}

fn pace() -> Pace {
    Pace::new(fastrand::Rng::new())
}

fn unusable(stage: &str, error: &dyn std::fmt::Display) -> Failed {
    let fix = "correct the setting that the cause is about: faxwell config check; then start the gateway again";
    Failed::because(Exit::Failed, format!("the {stage} cannot start"), error, fix)
}

/// The line agent as a worker.
struct Calling(Arc<LineAgent>);

#[async_trait]
impl Worker for Calling {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        Ok(if self.0.step().await? > 0 { Progress::Worked } else { Progress::Idle })
    }
}

/// The care for its lines.
struct LookingAfter(Arc<LineAgent>);

#[async_trait]
impl Worker for LookingAfter {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        self.0.look_after_lines().await?;
        self.0.give_up_overdue().await?;
        Ok(Progress::Idle)
    }
}

/// The ear for what people order about its calls.
struct Heeding(Arc<LineAgent>);

#[async_trait]
impl Worker for Heeding {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        self.0.look_for_orders().await?;
        Ok(Progress::Idle)
    }
}

/// A renderer that wakes those who go on with its work.
struct Rendering {
    renderer: Renderer,
    next: [Hint; 2],
}

#[async_trait]
impl Worker for Rendering {
    async fn step(&mut self) -> Result<Progress, WorkError> {
        let progress = self.renderer.render_next().await?;
        if progress == Progress::Worked {
            self.next.iter().for_each(Hint::wake);
        }
        Ok(progress)
    }
}
