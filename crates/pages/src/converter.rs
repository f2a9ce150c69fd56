//! The gateway's side: keeps converter processes ready, gives each order to one and draws the conclusion from how it goes.
//!
//! A process gets an empty environment and three pipes; it locks itself up before the first order comes. An order has so
//! many seconds of wall time, and its answer so many octets. A process that ends without an answer may have been brought there by a
//! document before, or by the machine: the order goes to a fresh process once more. The second time (or too much time or octets) it is
//! [`ErrorKind::Damaged`] of the part it was working on: the gateway lives on. Only a process that cannot be started, or
//! not locked up, is [`ErrorKind::Unavailable`]. Processes are replaced after some orders, and after every failure.
//! Dropping the future kills the process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::cover;
use crate::finish::COVER;
use crate::formats::{Formats, Route};
use crate::office::jailed::Terms;
use crate::office::kind::is_locked_table;
use crate::order::{
    Bound, ConvertError, ConvertOrder, CoverFields, ErrorKind, FinishOrder, Order, Part, RestampOrder, Result,
};
use crate::process::{Ended, Process};
use crate::wire::{self, Job, PartHeader, Request, Setup};

/// What to do where the kernel cannot lock a process up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// Such a process gets no document.
    #[default]
    Required,
    /// It works with what can be had, and the log says so.
    BestEffort,
}

/// What one converter process may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Wall time of one order; processor time is limited to the same.
    pub wall: Duration,
    /// Address space in octets. Fine pages of every script need 96 MiB, superfine ones 128; large photos more.
    pub memory_bytes: u64,
    /// Most octets of an answer.
    pub output_bytes: u64,
    /// Processes at once.
    pub processes: usize,
    /// Orders of one process, at least 1: fewer cost time, more let what one document did to a process live longer.
    pub orders: u32,
    /// What to do without a lock.
    pub sandbox: Sandbox,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(60),
            memory_bytes: 512 << 20,
            output_bytes: 256 << 20,
            processes: 2,
            orders: 20,
            sandbox: Sandbox::Required,
        }
    }
}

/// What an order gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// TIFF-F (MMR, 1728 pixels wide), or the PNG of a thumbnail.
    pub bytes: Vec<u8>,
    /// For each page the name of the part it came from; empty for a thumbnail.
    pub pages: Vec<String>,
    /// Remarks for the log: `logo.gif: first of 12 pictures`.
    pub notes: Vec<String>,
    /// Pages that had to be drawn in colour before they were made black and white: slower, and less crisp.
    pub in_colour: u32,
    /// For each page what drew it, as people are told: `PDF`, `cover plain`; empty: nothing new was drawn.
    pub drawn_by: Vec<String>,
    /// What of the converter process could not be locked up, on kernels without landlock or seccomp; none is right.
    pub unlocked: Option<String>,
}

impl Converted {
    /// How many pages.
    pub fn page_count(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }
}

/// Keeps converter processes. Cheap to clone; clones share the processes and the limit on them.
#[derive(Debug, Clone)]
pub struct Converter {
    program: PathBuf,
    args: Vec<OsString>,
    limits: Limits,
    formats: Formats,
    slots: Arc<Semaphore>,
    /// Processes that wait for an order; never more than there are slots.
    ready: Arc<Mutex<Vec<Process>>>,
    crashes: Arc<AtomicU64>,
}

impl Converter {
    /// `program args…` must end up in [`crate::worker::main`].
    pub fn new(program: PathBuf, args: Vec<OsString>, limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.processes.max(1)));
        let formats = Formats::default();
        Self { program, args, limits, formats, slots, ready: Arc::default(), crashes: Arc::default() }
    }

    /// With this policy instead of the default: no LibreOffice, no archives.
    #[must_use]
    pub fn with_formats(self, formats: Formats) -> Self {
        Self { formats, ..self }
    }

    /// What it makes pages of.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    /// Starts as many processes as there may be, and learns whether they can be locked up. Answers what could not be.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: no process starts, or it cannot be locked up where it must.
    pub async fn warm_up(&self) -> Result<Option<String>> {
        let mut first = self.start().await?;
        let locked = tokio::time::timeout(self.limits.wall, first.locked()).await;
        let open = locked.map_err(|_| unavailable("the converter process does not come up"))??;
        self.put_back(first);
        for _ in 1..self.limits.processes {
            let process = self.start().await?;
            self.put_back(process);
        }
        Ok(open)
    }

    /// Processes that ended without an answer since the first of its clones was made.
    pub fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Documents into pages.
    ///
    /// Archives are opened and office documents go through LibreOffice first, in sandboxes of their own.
    pub async fn convert(&self, mut order: ConvertOrder) -> Result<Converted> {
        let mut notes = Vec::new();
        let mut parts = Vec::with_capacity(order.parts.len());
        for part in order.parts {
            match self.formats.route(&part.media, &part.name, &part.bytes).map_err(|error| error.of(&part.name))? {
                Route::Unpack => self.unpack(part, &mut parts, &mut notes).await?,
                _ => parts.push(part),
            }
        }
        for part in &mut parts {
            let route =
                self.formats.route(&part.media, &part.name, &part.bytes).map_err(|error| error.of(&part.name))?;
            // Everything else waits for no place here.
            if matches!(route, Route::Suite(..) | Route::Heif(_)) {
                self.prepare(part, route, order.max_pages).await?;
            }
        }
        order.parts = parts;
        let mut converted = self.run(Order::Convert(order)).await?;
        converted.notes.splice(0..0, notes);
        Ok(converted)
    }

    /// The files of an archive instead of it.
    async fn unpack(&self, archive: Part, parts: &mut Vec<Part>, notes: &mut Vec<String>) -> Result<()> {
        let name = archive.name.clone();
        let unpacked = self.run(Order::Unpack(archive)).await?;
        notes.extend(unpacked.notes);
        let frame = wire::read::<Vec<PartHeader>>(&mut unpacked.bytes.as_slice(), self.limits.output_bytes);
        let (headers, blobs) = frame.map_err(|error| unavailable(format!("{name}: {error}")))?;
        parts.extend(headers.into_iter().zip(blobs).map(|(header, bytes)| header.with(bytes)));
        Ok(())
    }

    /// A PDF by LibreOffice or a JPEG by libheif instead of the document, where it goes that way.
    async fn prepare(&self, part: &mut Part, route: Route, pages_max: u32) -> Result<()> {
        let _slot = self.slots.acquire().await.map_err(|_| unavailable("the converter is closed"))?;
        let (wall, output_bytes) = (self.limits.wall, self.limits.output_bytes);
        let terms = Terms { program: &self.program, args: &self.args, wall, output_bytes, pages_max };
        let (made, media) = match route {
            Route::Converter | Route::Unpack => return Ok(()),
            Route::Suite(kind, suite) => (suite.to_pdf(kind, &part.bytes, &terms).await, "application/pdf"),
            Route::Heif(heif) => (heif.to_jpeg(&part.bytes, &terms).await, "image/jpeg"),
        };
        let made = made.map_err(|error| match error.kind {
            ErrorKind::Unavailable => error,
            ErrorKind::Damaged if is_locked_table(&part.bytes) => {
                ConvertError::new(ErrorKind::Encrypted, "a password is needed to open it").of(&part.name)
            }
            _ => error.of(&part.name),
        })?;
        (part.bytes, part.media) = (made, media.to_owned());
        Ok(())
    }

    /// Pages as they are sent. A cover that cannot be drawn costs no fax: the plain one is drawn in its place, and a
    /// remark says so.
    pub async fn finish(&self, order: FinishOrder) -> Result<Converted> {
        let plain = order.cover.as_ref().filter(|fields| fields.template != cover::PLAIN || fields.source.is_some());
        let Some(fields) = plain else { return self.run(Order::Finish(Box::new(order))).await };
        let name = fields.template.clone();
        let plain = CoverFields { template: cover::PLAIN.to_owned(), source: None, ..fields.clone() };
        let plain = FinishOrder { cover: Some(plain), ..order.clone() };
        match self.run(Order::Finish(Box::new(order))).await {
            Err(error) if error.part.as_deref() == Some(COVER) && error.kind != ErrorKind::Unavailable => {
                let mut finished = self.run(Order::Finish(Box::new(plain))).await?;
                let remark =
                    format!("the plain cover stands in for \"{name}\", which cannot be drawn: {}", error.detail);
                finished.notes.insert(0, remark);
                Ok(finished)
            }
            other => other,
        }
    }

    /// A fax with another header line on one of its pages.
    pub async fn restamp(&self, order: RestampOrder) -> Result<Converted> {
        self.run(Order::Restamp(Box::new(order))).await
    }

    /// PNG of a page (from 1) of a TIFF, `width_px` wide.
    pub async fn thumbnail(&self, tiff: Vec<u8>, page: u32, width_px: u32) -> Result<Vec<u8>> {
        Ok(self.run(Order::Thumbnail { tiff, page, width_px }).await?.bytes)
    }

    /// Pages that came in one by one, as one file.
    pub async fn bind(&self, pages: Vec<Vec<u8>>, form: Bound) -> Result<Vec<u8>> {
        Ok(self.run(Order::Bind { pages, form }).await?.bytes)
    }

    /// Carries out one order.
    pub async fn run(&self, order: Order) -> Result<Converted> {
        let _slot = self.slots.acquire().await.map_err(|_| unavailable("the converter is closed"))?;
        let frame = request(order)?;
        let mut process = match self.take_ready() {
            Some(process) => process,
            None => self.start().await?,
        };
        let mut crashed_before = false;
        loop {
            match process.carry_out(&frame, &self.limits).await {
                Ended::Answered(answer) => {
                    let tidy = answer.as_ref().map_or_else(|error| error.kind != ErrorKind::Damaged, |_| true);
                    if tidy && process.may_go_on(&self.limits) {
                        self.put_back(process);
                    } else {
                        drop(process);
                        // The next order finds one that is ready; when none starts, that order says so.
                        if let Ok(fresh) = self.start().await {
                            self.put_back(fresh);
                        }
                    }
                    return answer;
                }
                Ended::Crashed(error) => {
                    self.crashes.fetch_add(1, Ordering::Relaxed);
                    if crashed_before {
                        return Err(error);
                    }
                    tracing::warn!(%error, "a converter process ended without an answer; another one tries once more");
                    crashed_before = true;
                    process = self.start().await?;
                }
            }
        }
    }

    /// One that is alive.
    fn take_ready(&self) -> Option<Process> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut process) = ready.pop() {
            if process.is_alive() {
                return Some(process);
            }
        }
        None
    }

    fn put_back(&self, process: Process) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() < self.limits.processes.max(1) {
            ready.push(process);
        }
    }

    async fn start(&self) -> Result<Process> {
        let setup = Setup::Documents {
            memory_bytes: self.limits.memory_bytes,
            cpu_s: self.limits.wall.as_secs().max(1),
            requests_max: self.limits.orders.max(1),
        };
        Process::start(&self.program, &self.args, &setup, self.limits.sandbox).await
    }
}

/// The frame of an order.
fn request(order: Order) -> Result<Vec<u8>> {
    let (job, blobs) = match order {
        Order::Convert(ConvertOrder { paper, quality, max_pages, body, inline, parts }) => {
            let (inline, mut blobs): (_, Vec<_>) =
                inline.into_iter().map(|one| ((one.id, one.name), one.bytes)).unzip();
            let parts = parts
                .into_iter()
                .map(|part| {
                    let (header, bytes) = PartHeader::split(part);
                    blobs.push(bytes);
                    header
                })
                .collect();
            (Job::Convert { paper, quality, max_pages, body, inline, parts }, blobs)
        }
        Order::Finish(order) => {
            let FinishOrder { paper, quality, max_pages, document, cover, header } = *order;
            let cover = cover.map(Box::new);
            (Job::Finish { paper, quality, max_pages, cover, header }, document.into_iter().collect())
        }
        Order::Restamp(order) => {
            let RestampOrder { document, page, header } = *order;
            (Job::Restamp { page, header }, vec![document])
        }
        Order::Thumbnail { tiff, page, width_px } => (Job::Thumbnail { page, width_px }, vec![tiff]),
        Order::Bind { pages, form } => (Job::Bind { form }, pages),
        Order::Unpack(part) => (Job::Unpack { name: part.name }, vec![part.bytes]),
    };
    let request = Request { job };
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    wire::encode(&request, &blobs).map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
}

fn unavailable(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unavailable, detail)
}
