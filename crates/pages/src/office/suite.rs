//! LibreOffice as the gateway sees it: a document in, a PDF out.
//!
//! Starting it costs 1 s of processor time and more, a document after that a tenth: so it is kept for the next one, and
//! ended after so many, or when nothing came for a while. One instance has one document at a time. What it dies of, and
//! what takes too long, is that document's fault; that it does not start is the machine's.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;

use super::jail::{OfficeJob, bubblewrap};
use super::jailed::{Jailed, START, Terms};
use super::kind::OfficeKind;
use crate::order::Result;
use crate::wire::Setup;

/// What LibreOffice needs, as Debian calls it: for people.
pub(crate) const PACKAGES: &str =
    "libreoffice-writer-nogui, libreoffice-calc-nogui, libreoffice-impress-nogui, python3-uno and bubblewrap";
/// Memory that nobody uses is given back.
const IDLE: Duration = Duration::from_secs(300);

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
    process: Jailed,
    documents_left: u32,
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
        sandbox_works(&program).await
    }

    /// The document as a PDF of at most one page more than allowed.
    pub(crate) async fn to_pdf(&self, kind: OfficeKind, document: &[u8], terms: &Terms<'_>) -> Result<Vec<u8>> {
        let job = OfficeJob { extension: kind.extension().to_owned(), pages_max: terms.pages_max };
        if let Some(mut warm) = self.take()
            && let Some(answer) = warm.process.ask(&job, document, terms).await
        {
            self.keep(warm);
            return answer;
        }
        // There was none, or it had died in its sleep: whether of this document shows now.
        let program = self.settings.program.display().to_string();
        let setup = Setup::Office { memory_bytes: self.settings.memory_bytes, program };
        let process = Jailed::start("LibreOffice", &setup, terms).await?;
        let mut cold = Instance { process, documents_left: self.settings.documents_max.max(1) };
        match cold.process.ask(&job, document, terms).await {
            Some(answer) => {
                self.keep(cold);
                answer
            }
            None => Err(cold.process.crashed()),
        }
    }

    fn take(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// For the next document, unless it has had enough or ended.
    fn keep(&self, mut instance: Instance) {
        instance.documents_left -= 1;
        let (Some(process), left @ 1..) = (instance.process.id(), instance.documents_left) else { return };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(idle) = idle.upgrade() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|i| i.process.id() != Some(process) || i.documents_left != left);
            }
        });
    }

    /// Processes that wait for a document: for tests of their end.
    pub fn idle_processes(&self) -> Vec<u32> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().filter_map(|instance| instance.process.id()).collect()
    }
}

/// Whether bubblewrap can make the sandbox here; why not, for people.
pub(super) async fn sandbox_works(program: &str) -> std::result::Result<(), String> {
    let mut command = Command::from(bubblewrap(program));
    let tried = command.arg("/usr/bin/true").stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(START, tried).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("no word").chars().take(200).collect::<String>();
            Err(format!("its sandbox cannot be made here ({said}); fix: allow user namespaces to this service"))
        }
        Ok(Err(error)) => Err(format!("bwrap does not start: {error}; fix: install bubblewrap")),
        Err(_) => Err(format!("its sandbox does not start within {} s", START.as_secs())),
    }
}
