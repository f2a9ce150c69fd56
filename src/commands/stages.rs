//! Starts the stages that a node's roles name, each as a role of the process's life.
//!
//! The order of ending matters more than that of starting: intake, renderers and lines stop taking work at once; lines
//! let their calls finish a page; delivery and maintenance go on until the lines are done, so that the reports of the last
//! calls still leave.

mod maintenance;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failed};
use super::images::StoredImages;
use crate::config::inbound::Mailboxes;
use crate::config::{Config, Role};
use crate::deliver::{Composer, Deliverer, Deliveries, Transport, compose};
use crate::documents::Documents;
use crate::domain::SystemClock;
use crate::intake::{self, Intake, IntakeSettings};
use crate::lifecycle::{HeldUntil, Lifecycle, Ready};
use crate::line::journal::Journal;
use crate::line::{self, LineAgent};
use crate::mail::bounce::ReturnPaths;
use crate::maintain::retention::Retention;
use crate::render::{RenderSettings, Renderer};
use crate::store::{Instead, Owner, Store};
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
    pub(super) retention: Arc<Retention>,
    pub(super) owner: Owner,
    /// What the workers hold.
    pub(super) leases: Leases,
    /// Until when they surely hold it.
    pub(super) held_until: HeldUntil,
    /// Facts of this node's calls.
    pub(super) journal: Arc<Journal>,
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
    pub(super) sandbox_line: Option<SocketAddr>,
}

/// Starts them. The intake is answered, for submissions of commands; it exists on every node and listens where the
/// role `smtp` is.
pub(super) async fn start(life: &mut Lifecycle, parts: &Parts) -> Result<Started, Failed> {
    let mut sandbox_line = None;
    let hints = Hints::default();
    // Reports of the last calls still leave: delivery ends after the lines.
    let calls_over = CancellationToken::new();
    let has = |role| parts.config.roles.contains(&role);
    if has(Role::Maintain) {
        maintenance::start(life, parts, &hints, calls_over.clone());
    }
    if has(Role::Deliver) {
        start_deliver(life, parts, &hints, calls_over.clone())?;
    }
    if has(Role::Line) {
        let agent = start_line(life, parts, &hints, calls_over).await?;
        sandbox_line = parts.config.sandbox_line().and_then(|(name, _)| agent.local_addr(name));
    } else {
        let drain = life.drain();
        tokio::spawn(async move {
            drain.cancelled().await;
            calls_over.cancel();
        });
    }
    if has(Role::Render) {
        start_render(life, parts, &hints);
    }
    Ok(Started { intake: start_intake(life, parts, &hints).await?, sandbox_line })
}

fn start_deliver(life: &mut Lifecycle, parts: &Parts, hints: &Hints, end: CancellationToken) -> Result<(), Failed> {
    let delivery = &parts.config.delivery;
    let settings = compose::Settings {
        from: delivery.from.clone(),
        reporting_mta: parts.config.domain.clone(),
        administrator: None,
        zone: TimeZone::system(),
        success: delivery.success,
        failure: delivery.failure,
    };
    let composer = Composer::new(settings).map_err(|error| unusable("delivery", &error))?;
    let transport = Transport::new(&delivery.to, &parts.config.domain).map_err(|error| unusable("delivery", &error))?;
    let images = StoredImages::new(parts.documents.clone(), parts.converter.clone());
    let (store, leases) = (Arc::clone(&parts.store), parts.leases.clone());
    let returned = (parts.returns.clone(), parts.instead());
    let deliverer = Arc::new(Deliverer::new(store, Arc::new(images), composer, transport, returned, leases));
    let worker = Deliveries { deliverer, owner: parts.owner.clone() };
    let mut last = worker.clone();
    let make = move || worker.clone();
    let hint = hints.deliver.clone();
    spawn(life, Role::Deliver, async move {
        work::run_many("deliver", DELIVERIES_AT_ONCE, make, pace(), hint, end).await;
        // The end of the last call and the end of this stage come together: what became owed just now still leaves.
        let due = async { while let Ok(Progress::Worked) = last.step().await {} };
        if tokio::time::timeout(LAST_REPORTS, due).await.is_err() {
            tracing::info!("reports are still owed; the next start sends them");
        }
    });
    Ok(())
}

async fn start_line(
    life: &mut Lifecycle,
    parts: &Parts,
    hints: &Hints,
    calls_over: CancellationToken,
) -> Result<Arc<LineAgent>, Failed> {
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
    let agent = LineAgent::start(&parts.config, context, hints.line.clone())
        .await
        .map_err(|error| unusable("lines", &error))?;
    let agent = Arc::new(agent);
    let started = Arc::clone(&agent);
    let (hint, drain) = (hints.line.clone(), life.drain());
    let looking_after = Pace { poll: LOOK_AFTER, ..pace() };
    let heeding = Pace { poll: LOOK_FOR_ORDERS, ..pace() };
    // Orders reach the calls that a drain lets finish, too.
    let heeding = work::run("orders", Heeding(Arc::clone(&agent)), heeding, Hint::new(), calls_over.clone());
    tokio::spawn(heeding);
    spawn(life, Role::Line, async move {
        tokio::join!(
            work::run("line", Calling(Arc::clone(&agent)), pace(), hint, drain.clone()),
            work::run("lines", LookingAfter(Arc::clone(&agent)), looking_after, Hint::new(), drain),
        );
        agent.drain(CALLS_END).await;
        calls_over.cancel();
    });
    Ok(started)
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
    let make = move || Rendering { renderer: renderer.clone(), next: [line.clone(), deliver.clone()] };
    let (workers, hint, drain) = (parts.config.render.workers, hints.render.clone(), life.drain());
    spawn(life, Role::Render, work::run_many("render", workers, make, pace(), hint, drain));
}

async fn start_intake(life: &mut Lifecycle, parts: &Parts, hints: &Hints) -> Result<Arc<Intake>, Failed> {
    let accepted = Arc::new(Notify::new());
    let intake = Intake::new(
        IntakeSettings::new(&parts.config, super::covers()),
        Arc::clone(&parts.store),
        Arc::new(parts.documents.clone()),
        Arc::new(SystemClock),
        super::mail_readers(),
        parts.returns.clone(),
        Arc::clone(&accepted),
    );
    let intake = Arc::new(intake.map_err(|error| unusable("intake", &error))?);
    let hint = hints.render.clone();
    tokio::spawn(async move {
        loop {
            accepted.notified().await;
            hint.wake();
        }
    });
    tokio::spawn(intake::watch(Arc::clone(&intake), fastrand::Rng::new(), life.stop()));
    if parts.config.roles.contains(&Role::Smtp) {
        let listeners = intake::bind(&parts.config.smtp.listen).await.map_err(|error| unusable("intake", &error))?;
        let drain = life.drain();
        spawn(life, Role::Smtp, intake::run(Arc::clone(&intake), listeners, drain));
    }
    Ok(intake)
}

/// Every stage begins as soon as it is spawned, so it is ready then.
fn spawn(life: &mut Lifecycle, role: Role, stage: impl Future<Output = ()> + Send + 'static) {
    let readiness = life.readiness();
    life.spawn(role.as_str(), async move {
        stage.await;
        Ok::<(), String>(())
    });
    readiness.set(role.as_str(), Ready::Yes);
}

fn pace() -> Pace {
    Pace::new(fastrand::Rng::new())
}

fn unusable(stage: &str, error: &dyn std::fmt::Display) -> Failed {
    Failed::new(Exit::Failed, format!("the {stage} cannot start"), error.to_string(), "see the cause")
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
