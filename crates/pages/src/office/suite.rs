//! LibreOffice as the gateway sees it: a document in, a PDF out.
//!
//! Starting it costs 1 s of processor time and more, a document after that a tenth: so it is kept for the next one, and
//! ended after so many, or when nothing came for a while. One instance has one document at a time. What it dies of, and
//! what takes too long, is that document's fault; that it does not start is the machine's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::jail::{OfficeJob, bubblewrap};
use super::kind::OfficeKind;
use crate::order::{ConvertError, ErrorKind, Result, damaged};
use crate::wire::{self, Answer, Setup};

/// What LibreOffice needs, as Debian calls it: for people.
pub(crate) const PACKAGES: &str =
    "libreoffice-writer-nogui, libreoffice-calc-nogui, libreoffice-impress-nogui, python3-uno and bubblewrap";
/// A cold start on a busy machine.
const START: Duration = Duration::from_secs(90);
/// Memory that nobody uses is given back.
const IDLE: Duration = Duration::from_secs(300);
/// Frames beside the PDF itself.
const FRAME_BYTES: u64 = 64 << 10;
/// What it says on standard error, for the log.
const LOG_MAX_BYTES: usize = 4 << 10;

/// How LibreOffice is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteSettings {
    /// Folder of `soffice.bin`, as in `/usr/lib/libreoffice/program`.
    pub program: PathBuf,
    /// Documents of one instance before it is ended; 1 means a new one for each.
    pub documents_max: u32,
    /// Address space of each process in the sandbox, octets.
    pub memory_bytes: u64,
}

/// Keeps instances of LibreOffice. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Suite {
    settings: SuiteSettings,
    idle: Arc<Mutex<Vec<Instance>>>,
}

#[derive(Debug)]
struct Instance {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    documents_left: u32,
    log: Arc<Mutex<Vec<u8>>>,
}

/// What the process that runs [`crate::worker::main`] is and what a document may take.
pub(crate) struct Terms<'a> {
    pub program: &'a Path,
    pub args: &'a [OsString],
    pub wall: Duration,
    pub output_bytes: u64,
    pub pages_max: u32,
}

impl Suite {
    /// Without a look at the machine: [`Suite::check`] has one.
    pub fn new(settings: SuiteSettings) -> Self {
        Self { settings, idle: Arc::default() }
    }

    /// Whether everything is installed and a sandbox can be made here: what is missing and how to get it, for people.
    pub async fn check(&self) -> std::result::Result<(), String> {
        let program = self.settings.program.display().to_string();
        for file in [self.settings.program.join("soffice.bin"), "/usr/lib/python3/dist-packages/uno.py".into()] {
            if !file.exists() {
                return Err(format!("{} is not there; fix: install {PACKAGES}", file.display()));
            }
        }
        let mut command = Command::from(bubblewrap(&program));
        let tried = command.arg("/usr/bin/true").stdin(Stdio::null()).kill_on_drop(true).output();
        let tried = tokio::time::timeout(START, tried).await;
        match tried {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or("no word").chars().take(200).collect::<String>();
                Err(format!("its sandbox cannot be made here ({said}); fix: allow user namespaces to this service"))
            }
            Ok(Err(error)) => Err(format!("bwrap does not start: {error}; fix: install {PACKAGES}")),
            Err(_) => Err(format!("its sandbox does not start within {} s", START.as_secs())),
        }
    }

    /// The document as a PDF of at most one page more than allowed.
    pub(crate) async fn to_pdf(&self, kind: OfficeKind, document: &[u8], terms: &Terms<'_>) -> Result<Vec<u8>> {
        let frame = Self::request(kind, document, terms.pages_max)?;
        if let Some(warm) = self.take()
            && let Some(answer) = self.ask(warm, &frame, terms).await
        {
            return answer;
        }
        // There was none, or it had died in its sleep: whether of this document shows now.
        let cold = self.start(terms).await?;
        let log = Arc::clone(&cold.log);
        self.ask(cold, &frame, terms).await.unwrap_or_else(|| {
            let log = String::from_utf8_lossy(&log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
            Err(ConvertError { log, ..damaged("LibreOffice crashed on it") })
        })
    }

    /// None when the instance ended without an answer.
    async fn ask(&self, mut instance: Instance, frame: &[u8], terms: &Terms<'_>) -> Option<Result<Vec<u8>>> {
        let talk = async {
            speak(&mut instance.stdin, frame).await;
            hear(&mut instance.stdout, terms.output_bytes.saturating_add(FRAME_BYTES)).await
        };
        let (answer, mut blobs) = match tokio::time::timeout(terms.wall, talk).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return None,
            // The instance is dropped here, and killed with all that it started.
            Err(_) => {
                return Some(Err(damaged(format!(
                    "LibreOffice needs more than {} s for it",
                    terms.wall.as_secs_f32()
                ))));
            }
        };
        let result = match answer {
            Answer::Done { .. } => Ok(blobs.pop().unwrap_or_default()),
            Answer::Failed { error } => Err(error),
            _ => return None,
        };
        instance.documents_left -= 1;
        self.keep(instance);
        Some(result)
    }

    fn request(kind: OfficeKind, document: &[u8], pages_max: u32) -> Result<Vec<u8>> {
        let job = OfficeJob { extension: kind.extension().to_owned(), pages_max };
        wire::encode(&job, &[document]).map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
    }

    /// One that has said that it is there.
    async fn start(&self, terms: &Terms<'_>) -> Result<Instance> {
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
        let (mut stdin, mut stdout) = pipes.ok_or_else(|| unavailable("the sandbox has no pipes"))?;
        let program = self.settings.program.display().to_string();
        let setup = Setup::Office { memory_bytes: self.settings.memory_bytes, program };
        let frame = wire::encode(&setup, &[]).map_err(|error| unavailable(error.to_string()))?;
        let begun = async {
            speak(&mut stdin, &frame).await;
            hear(&mut stdout, FRAME_BYTES).await
        };
        match tokio::time::timeout(START, begun).await {
            Ok(Some((Answer::Locked { .. }, _))) => {}
            Ok(Some((Answer::Failed { error }, _))) => return Err(error),
            _ => return Err(unavailable("LibreOffice does not start")),
        }
        Ok(Instance { child, stdin, stdout, documents_left: self.settings.documents_max.max(1), log })
    }

    fn take(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, instance: Instance) {
        if instance.documents_left == 0 {
            return;
        }
        let process = instance.child.id();
        let left = instance.documents_left;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(idle) = idle.upgrade() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|i| i.child.id() != process || i.documents_left != left);
            }
        });
    }

    /// Processes that wait for a document: for tests of their end.
    pub fn idle_processes(&self) -> Vec<u32> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().filter_map(|instance| instance.child.id()).collect()
    }
}

async fn speak(stdin: &mut ChildStdin, frame: &[u8]) {
    // A process that died before it read everything shows in how it ended.
    let _ = stdin.write_all(frame).await;
    let _ = stdin.flush().await;
}

async fn hear(stdout: &mut ChildStdout, bytes_max: u64) -> Option<(Answer, Vec<Vec<u8>>)> {
    wire::read_async(stdout, bytes_max).await.ok().flatten()
}

fn unavailable(detail: impl Into<String>) -> ConvertError {
    ConvertError::new(ErrorKind::Unavailable, detail)
}
