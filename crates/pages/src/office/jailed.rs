//! A process of this program that stands between the gateway and a foreign one in bubblewrap (see [`super::jail`]), as the
//! gateway sees it. Dropped, it is killed with all that it started.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::order::{ConvertError, ErrorKind, Result, damaged};
use crate::wire::{self, Answer, Setup};

/// A cold start on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(90);
/// Frames beside the result itself.
const FRAME_BYTES: u64 = 64 << 10;
/// What it says on standard error, for the log.
const LOG_MAX_BYTES: usize = 4 << 10;

/// What the process that runs [`crate::worker::main`] is and what a document may take.
pub(crate) struct Terms<'a> {
    pub program: &'a Path,
    pub args: &'a [OsString],
    pub wall: Duration,
    pub output_bytes: u64,
    pub pages_max: u32,
}

#[derive(Debug)]
pub(crate) struct Jailed {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    log: Arc<Mutex<Vec<u8>>>,
    /// What runs in there, for people.
    what: &'static str,
    killed: bool,
}

impl Jailed {
    /// One that has said that it is there.
    pub(crate) async fn start(what: &'static str, setup: &Setup, terms: &Terms<'_>) -> Result<Self> {
        let mut child = Command::new(terms.program)
            .args(terms.args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", terms.program.display())))?;
        let log = Arc::<Mutex<Vec<u8>>>::default();
        if let Some(mut stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            // Read to its end: a full pipe would stop the process.
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = LOG_MAX_BYTES.saturating_sub(log.len());
                    log.extend_from_slice(&buffer[..count.min(room)]);
                }
            });
        }
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| unavailable("the sandbox has no pipes"))?;
        let mut jailed = Self { child, stdin, stdout, log, what, killed: false };
        let frame = wire::encode(setup, &[]).map_err(|error| unavailable(error.to_string()))?;
        match tokio::time::timeout(START, jailed.exchange(&frame, 0)).await {
            Ok(Some((Answer::Locked { .. }, _))) => Ok(jailed),
            Ok(Some((Answer::Failed { error }, _))) => Err(error),
            _ => Err(unavailable(format!("{what} does not start"))),
        }
    }

    /// What it makes of a document; none when it ended without an answer. Too much time is an error, and the end of it.
    pub(crate) async fn ask(
        &mut self,
        job: &impl Serialize,
        document: &[u8],
        terms: &Terms<'_>,
    ) -> Option<Result<Vec<u8>>> {
        let frame = match wire::encode(job, &[document]) {
            Ok(frame) => frame,
            Err(error) => return Some(Err(ConvertError::new(ErrorKind::TooLarge, error.to_string()))),
        };
        let (answer, mut blobs) =
            match tokio::time::timeout(terms.wall, self.exchange(&frame, terms.output_bytes)).await {
                Ok(answer) => answer?,
                Err(_) => {
                    let _ = self.child.start_kill();
                    self.killed = true;
                    return Some(Err(damaged(format!(
                        "{} needs more than {} s for it",
                        self.what,
                        terms.wall.as_secs_f32()
                    ))));
                }
            };
        match answer {
            Answer::Done { .. } => Some(Ok(blobs.pop().unwrap_or_default())),
            Answer::Failed { error } => Some(Err(error)),
            _ => None,
        }
    }

    async fn exchange(&mut self, frame: &[u8], output_bytes: u64) -> Option<(Answer, Vec<Vec<u8>>)> {
        // A process that died before it read everything shows in how it ended.
        let _ = self.stdin.write_all(frame).await;
        let _ = self.stdin.flush().await;
        wire::read_async(&mut self.stdout, output_bytes.saturating_add(FRAME_BYTES)).await.ok().flatten()
    }

    /// That it ended at a document.
    pub(crate) fn crashed(&self) -> ConvertError {
        let log = String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        ConvertError { log, ..damaged(format!("{} crashed on it", self.what)) }
    }

    /// Its number; none when it has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id().filter(|_| !self.killed)
    }
}

fn unavailable(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unavailable, detail)
}
