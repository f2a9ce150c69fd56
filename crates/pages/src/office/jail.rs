//! The process between the gateway and LibreOffice: it starts bubblewrap and passes documents in and PDFs out.
//!
//! It is this program once more, and reads no document itself. Bubblewrap dies with the *thread* that started it, and an
//! asynchronous gateway's threads come and go: this process has one main thread, so that when it ends, killed or because
//! the gateway has gone, everything in the sandbox is killed with it. In there: its own namespaces of all kinds, no
//! network, `/usr` and the fonts read-only, two file systems in memory of limited size, no capability, nothing of the
//! gateway's environment. Address space is limited for each process of it; time is the gateway's to limit.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;

use rustix::process::{Resource, Rlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::heif::HeifJob;
use crate::order::{ConvertError, ErrorKind, Result, damaged};
use crate::wire::{self, Answer};
use crate::worker::REQUEST_MAX_BYTES;

/// Longest line of an answer.
const LINE_MAX_BYTES: u64 = 300;
/// Largest PDF or JPEG that is taken.
const RESULT_MAX_BYTES: u64 = 256 << 20;
/// File system in memory for the profile, the document and its PDF.
const WORK_BYTES: u64 = 768 << 20;
/// The other one, for what libraries put into `/tmp`.
const TMP_BYTES: u64 = 64 << 20;

/// One document for LibreOffice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OfficeJob {
    /// What the file is called: the format by which it is read.
    pub extension: String,
    /// Pages that are allowed: one more is made at most.
    pub pages_max: u32,
}

/// Command line of the sandbox up to what runs in it.
pub(crate) fn bubblewrap(program: &str) -> Command {
    let mut command = Command::new("bwrap");
    let (work, tmp) = (WORK_BYTES.to_string(), TMP_BYTES.to_string());
    #[rustfmt::skip]
    command.args([
        "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--hostname", "office",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--symlink", "usr/bin", "/bin",
        "--ro-bind-try", "/etc/fonts", "/etc/fonts", "--ro-bind-try", "/etc/libreoffice", "/etc/libreoffice",
        "--ro-bind-try", "/var/lib/libreoffice", "/var/lib/libreoffice",
        "--ro-bind-try", "/var/cache/fontconfig", "/var/cache/fontconfig",
        "--proc", "/proc", "--dev", "/dev",
        "--size", &tmp, "--tmpfs", "/tmp", "--size", &work, "--tmpfs", "/work", "--chdir", "/work",
        "--setenv", "PATH", "/usr/bin", "--setenv", "HOME", "/work", "--setenv", "LANG", "C.UTF-8",
        "--setenv", "TZ", "UTC",
    ]);
    if !Path::new(program).starts_with("/usr") {
        command.args(["--ro-bind", program, program]);
    }
    command
}

/// Serves documents until the gateway closes standard input.
pub(crate) fn serve(memory_bytes: u64, program: &str, out: &mut File) -> std::io::Result<ExitCode> {
    limit(memory_bytes)?;
    let mut office = match Office::start(program) {
        Ok(office) => office,
        Err(error) => {
            wire::write(out, &Answer::Failed { error }, &[])?;
            return Ok(ExitCode::FAILURE);
        }
    };
    wire::write(out, &Answer::Locked { open: None }, &[])?;
    let requests = listen::<OfficeJob>()?;
    while let Ok((job, document)) = requests.recv() {
        match office.convert(&job, &document) {
            Ok(pdf) => wire::write(out, &done(), &[&pdf])?,
            Err(Trouble::Document(error)) => wire::write(out, &Answer::Failed { error }, &[])?,
            // Ending without an answer says "crashed".
            Err(Trouble::Pipe(error)) => return Err(error),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn limit(memory_bytes: u64) -> std::io::Result<()> {
    let both = |n| Rlimit { current: Some(n), maximum: Some(n) };
    rustix::process::setrlimit(Resource::As, both(memory_bytes))?;
    rustix::process::setrlimit(Resource::Core, both(0))?;
    Ok(())
}

/// Standard input to a file, that to a JPEG, that to standard output; of several pictures the first.
const HEIF: &str = "cat > in.heic && heif-convert --quiet -q 95 in.heic out.jpg >&2 && \
    if [ -e out.jpg ]; then cat out.jpg; else cat out-1.jpg; fi";

/// Serves one picture.
pub(crate) fn serve_heif(memory_bytes: u64, out: &mut File) -> std::io::Result<ExitCode> {
    limit(memory_bytes)?;
    wire::write(out, &Answer::Locked { open: None }, &[])?;
    let requests = listen::<HeifJob>()?;
    let Ok((_, picture)) = requests.recv() else { return Ok(ExitCode::SUCCESS) };
    let mut child = bubblewrap("/usr")
        .args(["/bin/sh", "-c", HEIF])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (mut stdin, stdout) = pipes.ok_or_else(odd)?;
    // All of it is read before anything is written: one after the other.
    let _ = stdin.write_all(&picture);
    drop(stdin);
    let mut jpeg = Vec::new();
    stdout.take(RESULT_MAX_BYTES).read_to_end(&mut jpeg)?;
    if child.wait()?.success() && !jpeg.is_empty() {
        wire::write(out, &done(), &[&jpeg])?;
    } else {
        wire::write(out, &Answer::Failed { error: damaged("it is no picture that libheif can read") }, &[])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn done() -> Answer {
    Answer::Done { pages: Vec::new(), notes: Vec::new(), in_colour: 0, drawn_by: Vec::new() }
}

/// Requests as they come in. When the gateway is gone, so are we, whatever LibreOffice is doing.
fn listen<J: DeserializeOwned + Send + 'static>() -> std::io::Result<mpsc::Receiver<(J, Vec<u8>)>> {
    let (send, receive) = mpsc::sync_channel(1);
    let read = move || {
        while let Ok((job, mut blobs)) = wire::read::<J>(&mut std::io::stdin().lock(), REQUEST_MAX_BYTES) {
            if send.send((job, blobs.pop().unwrap_or_default())).is_err() {
                break;
            }
        }
        #[expect(clippy::disallowed_methods, reason = "main waits for LibreOffice, and must not")]
        std::process::exit(0);
    };
    std::thread::Builder::new().spawn(read)?;
    Ok(receive)
}

enum Trouble {
    Document(ConvertError),
    Pipe(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Pipe(error)
    }
}

struct Office {
    /// Kept: a child that is dropped is not killed, and its end is ours to see.
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Office {
    fn start(program: &str) -> Result<Self> {
        let unavailable = |detail: String| ConvertError::new(ErrorKind::Unavailable, detail);
        let mut child = bubblewrap(program)
            .args(["/usr/bin/python3", "-I", "-c", include_str!("suite.py"), &format!("{program}/soffice.bin")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| unavailable(format!("bubblewrap does not start: {error}")))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| unavailable("bubblewrap has no pipes".to_owned()))?;
        let mut office = Self { _child: child, stdin, stdout: BufReader::new(stdout) };
        match office.line() {
            Ok(line) if line == "ready" => Ok(office),
            _ => Err(unavailable("LibreOffice does not start in its sandbox".to_owned())),
        }
    }

    fn convert(&mut self, job: &OfficeJob, document: &[u8]) -> std::result::Result<Vec<u8>, Trouble> {
        writeln!(self.stdin, "{} {} {}", job.extension, job.pages_max, document.len())?;
        self.stdin.write_all(document)?;
        self.stdin.flush()?;
        let line = self.line()?;
        let refused = |error| Err(Trouble::Document(error));
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("pdf", size) => {
                let size = size.parse().ok().filter(|size| *size <= RESULT_MAX_BYTES).ok_or_else(odd)?;
                let mut pdf = Vec::new();
                (&mut self.stdout).take(size).read_to_end(&mut pdf)?;
                if pdf.len() as u64 == size { Ok(pdf) } else { Err(odd().into()) }
            }
            ("failed", reason) => refused(damaged(format!("LibreOffice cannot read it ({reason})"))),
            _ => Err(odd().into()),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        (&mut self.stdout).take(LINE_MAX_BYTES).read_line(&mut line)?;
        line.strip_suffix('\n').map(str::to_owned).ok_or_else(odd)
    }
}

fn odd() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "LibreOffice's sandbox ended or said something odd")
}
