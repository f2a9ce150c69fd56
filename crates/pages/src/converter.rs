//! The gateway's side: starts a converter process for each order and draws the conclusion from how it ends.
//!
//! The process gets an empty environment, three pipes and one request; it has so many seconds of wall time and may
//! answer so many octets. Whatever else happens (a signal, an abort, no answer) is [`ErrorKind::Damaged`] of
//! the part it was working on: the gateway lives on. Only a process that cannot be started at all is
//! [`ErrorKind::Unavailable`]. Dropping the future kills the process.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::Semaphore;

use crate::formats::{Formats, Route};
use crate::office::kind::is_locked_table;
use crate::office::suite::Terms;
use crate::office::{OfficeKind, Suite};
use crate::order::{Bound, ConvertError, ConvertOrder, ErrorKind, FinishOrder, Order, Part, RestampOrder, Result};
use crate::wire::{self, Answer, Job, PartHeader, Request};

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { wall: Duration::from_secs(60), memory_bytes: 512 << 20, output_bytes: 256 << 20, processes: 2 }
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
    /// What of the converter process could not be locked up, on kernels without landlock or seccomp; none is right.
    pub unlocked: Option<String>,
}

impl Converted {
    /// How many pages.
    pub fn page_count(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }
}

/// Starts converter processes. Cheap to clone; clones share the limit on processes.
#[derive(Debug, Clone)]
pub struct Converter {
    program: PathBuf,
    args: Vec<OsString>,
    limits: Limits,
    formats: Formats,
    slots: Arc<Semaphore>,
    crashes: Arc<AtomicU64>,
}

/// Standard error beyond this is dropped.
const LOG_MAX_BYTES: u64 = 8 << 10;
/// A process that has answered or been killed is gone within this.
const REAP: Duration = Duration::from_secs(5);

impl Converter {
    /// `program args…` must end up in [`crate::worker::main`].
    pub fn new(program: PathBuf, args: Vec<OsString>, limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.processes.max(1)));
        Self { program, args, limits, formats: Formats::default(), slots, crashes: Arc::default() }
    }

    /// With this policy instead of the default: no LibreOffice, no archives.
    #[must_use]
    pub fn with_formats(self, formats: Formats) -> Self {
        Self { formats, ..self }
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
            if let Route::Suite(kind, suite) = route {
                self.lay_out(part, kind, &suite, order.max_pages).await?;
            }
        }
        order.parts = parts;
        self.run(Order::Convert(order)).await.map(|converted| with_notes(converted, notes))
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

    /// A PDF by LibreOffice instead of the document.
    async fn lay_out(&self, part: &mut Part, kind: OfficeKind, suite: &Suite, pages_max: u32) -> Result<()> {
        let _slot = self.slots.acquire().await.map_err(|_| unavailable("the converter is closed"))?;
        let (wall, output_bytes) = (self.limits.wall, self.limits.output_bytes);
        let terms = Terms { program: &self.program, args: &self.args, wall, output_bytes, pages_max };
        let pdf = suite.to_pdf(kind, &part.bytes, &terms).await.map_err(|error| match error.kind {
            ErrorKind::Unavailable => error,
            ErrorKind::Damaged if is_locked_table(&part.bytes) => {
                ConvertError::new(ErrorKind::Encrypted, "a password is needed to open it").of(&part.name)
            }
            _ => error.of(&part.name),
        })?;
        (part.bytes, part.media) = (pdf, "application/pdf".to_owned());
        Ok(())
    }

    /// Pages as they are sent.
    pub async fn finish(&self, order: FinishOrder) -> Result<Converted> {
        self.run(Order::Finish(Box::new(order))).await
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

    /// Carries out one order in a process of its own.
    pub async fn run(&self, order: Order) -> Result<Converted> {
        let _slot = self.slots.acquire().await.map_err(|_| unavailable("the converter is closed"))?;
        let frame = self.request(order)?;
        let mut child = self.start()?;
        let overhear = tokio::spawn(overhear(child.stderr.take()));
        let mut part = None;
        let talk = listen(&mut child, frame, self.limits.output_bytes, &mut part);
        let heard = tokio::time::timeout(self.limits.wall, talk).await;
        let error = match heard {
            Ok(Ok(Some(Ok(converted)))) => {
                reap(&mut child).await;
                return Ok(converted);
            }
            // Its own words: it knows whose fault it was.
            Ok(Ok(Some(Err(error)))) => match part.take() {
                Some(part) => error.of(&part),
                None => error,
            },
            Ok(Ok(None)) => {
                let status = reap(&mut child).await;
                let log = said(overhear).await;
                self.crashes.fetch_add(1, Ordering::Relaxed);
                return Err(ConvertError { log: log.clone(), ..name(ended(status, &log, &self.limits), part) });
            }
            Ok(Err(error)) if error.kind() == wire::TOO_LARGE => {
                let mib = self.limits.output_bytes >> 20;
                name(ConvertError::new(ErrorKind::TooLarge, format!("its pages take more than {mib} MiB")), part)
            }
            Ok(Err(error)) => unavailable(format!("the pipe to the converter broke: {error}")),
            Err(_) => name(too_long(&self.limits), part),
        };
        let _ = child.start_kill();
        reap(&mut child).await;
        let log = said(overhear).await;
        Err(ConvertError { log, ..error })
    }

    fn start(&self) -> Result<Child> {
        Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            // One arena: each further one reserves 64 MiB of the address space that we limit.
            .env("MALLOC_ARENA_MAX", "1")
            // One page at a time needs no pools; processes run side by side instead.
            .env("RAYON_NUM_THREADS", "1")
            .env("STYLO_THREADS", "1")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", self.program.display())))
    }

    fn request(&self, order: Order) -> Result<Vec<u8>> {
        let (job, blobs) = match order {
            Order::Convert(ConvertOrder { paper, quality, max_pages, body, parts }) => {
                let mut blobs = Vec::new();
                let parts = parts
                    .into_iter()
                    .map(|part| {
                        let (header, bytes) = PartHeader::split(part);
                        blobs.push(bytes);
                        header
                    })
                    .collect();
                (Job::Convert { paper, quality, max_pages, body, parts }, blobs)
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
        let cpu_s = self.limits.wall.as_secs().max(1);
        let request = Request { memory_bytes: self.limits.memory_bytes, cpu_s, job };
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        wire::encode(&request, &blobs).map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
    }
}

/// What was heard at last: none when the process ended without an answer.
type Heard = Option<Result<Converted>>;

async fn listen(
    child: &mut Child,
    frame: Vec<u8>,
    output_bytes: u64,
    part: &mut Option<String>,
) -> std::io::Result<Heard> {
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (mut stdin, mut stdout) = pipes.expect("both pipes were asked for and are taken once");
    let speak = async {
        // A process that died before it read everything shows in how it ended; its pipe says nothing more.
        let _ = stdin.write_all(&frame).await;
        let _ = stdin.flush().await;
        drop(frame);
        // Kept open: the process takes the end of its input for the end of the gateway.
        std::future::pending::<std::convert::Infallible>().await
    };
    let hear = async {
        let mut left = output_bytes;
        let mut unlocked = None;
        loop {
            let (answer, mut blobs) = match wire::read_async::<Answer>(&mut stdout, left).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                // In the middle of a frame: how the process ended tells why.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            };
            // Progress counts too: a process gone wrong must not talk for ever.
            left = left.saturating_sub(64 + blobs.iter().map(|blob| blob.len() as u64).sum::<u64>());
            match answer {
                Answer::Locked { open } => {
                    if let Some(open) = &open {
                        tracing::error!(open, "the converter process is NOT locked up: documents can do more harm");
                    }
                    unlocked = open;
                }
                Answer::Working { part: now } => *part = Some(now),
                Answer::Failed { error } => return Ok(Some(Err(error))),
                Answer::Done { pages, notes } => {
                    let bytes = blobs.pop().unwrap_or_default();
                    return Ok(Some(Ok(Converted { bytes, pages, notes, unlocked })));
                }
            }
        }
    };
    tokio::select! {
        heard = hear => heard,
        never = speak => match never {},
    }
}

/// The first [`LOG_MAX_BYTES`] of standard error. The rest is read and dropped: a process whose pipe is closed would
/// fail at saying more.
async fn overhear(stderr: Option<ChildStderr>) -> Vec<u8> {
    let mut log = Vec::new();
    if let Some(mut pipe) = stderr {
        let _ = (&mut pipe).take(LOG_MAX_BYTES).read_to_end(&mut log).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    log
}

async fn said(overhear: tokio::task::JoinHandle<Vec<u8>>) -> String {
    let log = tokio::time::timeout(REAP, overhear).await.ok().and_then(std::result::Result::ok).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

async fn reap(child: &mut Child) -> Option<ExitStatus> {
    tokio::time::timeout(REAP, child.wait()).await.ok()?.ok()
}

fn with_notes(mut converted: Converted, mut notes: Vec<String>) -> Converted {
    notes.append(&mut converted.notes);
    Converted { notes, ..converted }
}

/// The conclusion from a process that ended without an answer.
fn ended(status: Option<ExitStatus>, log: &str, limits: &Limits) -> ConvertError {
    const SIGXCPU: i32 = 24;
    let out_of_memory = log.contains("memory allocation of");
    match status.map(|status| (status.signal(), status.code())) {
        Some((Some(SIGXCPU), _)) => too_long(limits),
        _ if out_of_memory => {
            let mib = limits.memory_bytes >> 20;
            ConvertError::new(ErrorKind::Damaged, format!("needs more than {mib} MiB of memory"))
        }
        Some((Some(signal), _)) => {
            ConvertError::new(ErrorKind::Damaged, format!("the converter crashed on it (signal {signal})"))
        }
        Some((None, Some(code))) => {
            ConvertError::new(ErrorKind::Damaged, format!("the converter gave up on it (exit code {code})"))
        }
        _ => ConvertError::new(ErrorKind::Damaged, "the converter ended without an answer"),
    }
}

fn too_long(limits: &Limits) -> ConvertError {
    ConvertError::new(ErrorKind::Damaged, format!("needs more than {} s", limits.wall.as_secs_f32()))
}

fn name(error: ConvertError, part: Option<String>) -> ConvertError {
    match part {
        Some(part) => error.of(&part),
        // Not even the first part was begun: the order never got through, and no document is to blame.
        None if error.kind == ErrorKind::Damaged => ConvertError { kind: ErrorKind::Unavailable, ..error },
        None => error,
    }
}

fn unavailable(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unavailable, detail)
}
