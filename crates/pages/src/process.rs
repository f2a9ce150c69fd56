//! One converter process, as the gateway sees it: its pipes, what it says, how it ends.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::converter::{Converted, Limits, Sandbox};
use crate::order::{ConvertError, ErrorKind, Result};
use crate::wire::{self, Answer, Setup};

/// Standard error beyond this is dropped.
const LOG_MAX_BYTES: usize = 8 << 10;
/// A process that has been killed is gone within this.
const REAP: Duration = Duration::from_secs(5);
/// Largest answer to the setup.
const LOCKED_MAX_BYTES: u64 = 64 << 10;

/// A process that carries out orders. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    log: Arc<Mutex<Vec<u8>>>,
    overhear: JoinHandle<()>,
    sandbox: Sandbox,
    /// What could not be locked, as far as it has said.
    lock: Option<String>,
    orders: u32,
    /// Whether it read all of the last order.
    heard_out: bool,
}

/// How an order ended.
pub(crate) enum Ended {
    /// With an answer, or because it took too much: no fault of what was there before.
    Answered(Result<Converted>),
    /// Without one: the next process may do better.
    Crashed(ConvertError),
}

impl Process {
    /// Starts one and tells it its limits.
    pub(crate) async fn start(program: &Path, args: &[OsString], setup: &Setup, sandbox: Sandbox) -> Result<Self> {
        let mut child = Command::new(program)
            .args(args)
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
            .map_err(|error| unavailable(format!("cannot start {}: {error}", program.display())))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (mut stdin, stdout) = pipes.expect("both pipes were asked for and are taken once");
        let log = Arc::new(Mutex::new(Vec::new()));
        let overhear = tokio::spawn(overhear(child.stderr.take(), log.clone()));
        let frame = wire::encode(setup, &[]).map_err(|error| unavailable(error.to_string()))?;
        // Smaller than a pipe. A process that died before it read shows in how it ended.
        let _ = stdin.write_all(&frame).await;
        let _ = stdin.flush().await;
        Ok(Self { child, stdin, stdout, log, overhear, sandbox, lock: None, orders: 0, heard_out: true })
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it may have another order.
    pub(crate) fn may_go_on(&self, limits: &Limits) -> bool {
        self.heard_out && self.orders < limits.orders
    }

    /// Waits until it has locked itself up; what could not be locked.
    pub(crate) async fn locked(&mut self) -> Result<Option<String>> {
        match wire::read_async::<Answer>(&mut self.stdout, LOCKED_MAX_BYTES).await {
            Ok(Some((Answer::Locked { open }, _))) => {
                allow(open.as_deref(), self.sandbox)?;
                self.lock.clone_from(&open);
                Ok(open)
            }
            _ => {
                let status = self.reap().await;
                let log = self.said().await;
                let status = status.map_or_else(|| "it does not end".to_owned(), |status| status.to_string());
                Err(ConvertError { log, ..unavailable(format!("the converter process does not come up ({status})")) })
            }
        }
    }

    /// Gives it an order and hears what comes of it, within the limits.
    pub(crate) async fn carry_out(&mut self, frame: &[u8], limits: &Limits) -> Ended {
        self.orders += 1;
        self.heard_out = false;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut part = None;
        let heard = tokio::time::timeout(limits.wall, self.converse(frame, limits, &mut part)).await;
        let error = match heard {
            Ok(Ok(Some(Ok(converted)))) => return Ended::Answered(Ok(converted)),
            // Its own words: it knows whose fault it was.
            Ok(Ok(Some(Err(error)))) => match part.take() {
                Some(part) => error.of(&part),
                None => error,
            },
            Ok(Ok(None)) => {
                let status = self.reap().await;
                let log = self.said().await;
                let error = ConvertError { log: log.clone(), ..name(ended(status, &log, limits), part) };
                let by_time = status.and_then(|status| status.signal()) == Some(SIGXCPU);
                return if by_time { Ended::Answered(Err(error)) } else { Ended::Crashed(error) };
            }
            Ok(Err(error)) if error.kind() == wire::TOO_LARGE => {
                let mib = limits.output_bytes >> 20;
                name(ConvertError::new(ErrorKind::TooLarge, format!("its pages take more than {mib} MiB")), part)
            }
            // A process that is still itself speaks in frames.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                name(ConvertError::new(ErrorKind::Damaged, "the converter gave up on it (it babbles)"), part)
            }
            Ok(Err(error)) => unavailable(format!("the pipe to the converter broke: {error}")),
            Err(_) => name(too_long(limits), part),
        };
        if error.kind != ErrorKind::Damaged && error.kind != ErrorKind::TooLarge && error.kind != ErrorKind::Unavailable
        {
            return Ended::Answered(Err(error));
        }
        self.heard_out = false;
        let _ = self.child.start_kill();
        self.reap().await;
        let log = self.said().await;
        Ended::Answered(Err(ConvertError { log, ..error }))
    }

    /// None: the process ended without an answer.
    async fn converse(
        &mut self,
        frame: &[u8],
        limits: &Limits,
        part: &mut Option<String>,
    ) -> std::io::Result<Option<Result<Converted>>> {
        let Self { stdin, stdout, .. } = self;
        let mut speak = std::pin::pin!(async {
            // A process that died before it read everything shows in how it ended; its pipe says nothing more.
            stdin.write_all(frame).await.is_ok() && stdin.flush().await.is_ok()
        });
        let mut spoken = None;
        let mut left = limits.output_bytes;
        loop {
            let answer = {
                let mut hear = std::pin::pin!(wire::read_async::<Answer>(&mut *stdout, left));
                loop {
                    tokio::select! {
                        answer = &mut hear => break answer,
                        done = &mut speak, if spoken.is_none() => spoken = Some(done),
                    }
                }
            };
            let (answer, mut blobs) = match answer {
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
                    if let Err(error) = allow(open.as_deref(), self.sandbox) {
                        return Ok(Some(Err(error)));
                    }
                    self.lock = open;
                }
                Answer::Working { part: now } => *part = Some(now),
                Answer::Failed { error } => {
                    self.heard_out = spoken == Some(true);
                    return Ok(Some(Err(error)));
                }
                Answer::Done { pages, notes, in_colour, drawn_by } => {
                    self.heard_out = spoken == Some(true);
                    let bytes = blobs.pop().unwrap_or_default();
                    let unlocked = self.lock.clone();
                    return Ok(Some(Ok(Converted { bytes, pages, notes, in_colour, drawn_by, unlocked })));
                }
            }
        }
    }

    async fn reap(&mut self) -> Option<ExitStatus> {
        tokio::time::timeout(REAP, self.child.wait()).await.ok()?.ok()
    }

    /// What it said on standard error, when it has ended.
    async fn said(&mut self) -> String {
        let _ = tokio::time::timeout(REAP, &mut self.overhear).await;
        String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Whether a process that could not lock this may have documents.
fn allow(open: Option<&str>, sandbox: Sandbox) -> Result<()> {
    match (open, sandbox) {
        (None, _) => Ok(()),
        (Some(open), Sandbox::BestEffort) => {
            tracing::error!(open, "the converter process is NOT locked up: documents can do more harm");
            Ok(())
        }
        (Some(open), Sandbox::Required) => {
            let detail = format!(
                "the converter process cannot be locked up ({open}); fix: use a kernel with landlock (Linux 5.13 or \
                 later) and seccomp, or accept the risk with render.sandbox = \"best-effort\""
            );
            Err(unavailable(detail))
        }
    }
}

/// The first [`LOG_MAX_BYTES`] of standard error since the log was emptied. The rest is read and dropped: a process whose
/// pipe is closed would fail at saying more.
async fn overhear(stderr: Option<ChildStderr>, log: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LOG_MAX_BYTES.saturating_sub(log.len()).min(count);
        log.extend_from_slice(&chunk[..room]);
    }
}

const SIGXCPU: i32 = 24;

/// The conclusion from a process that ended without an answer.
fn ended(status: Option<ExitStatus>, log: &str, limits: &Limits) -> ConvertError {
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
