//! The converter process: one order after another, each with one answer, until the gateway ends it.
//!
//! Before any document is looked at: limits, fonts opened, the lock (see `sandbox`). Before each part its name goes
//! out, so that a crash is attributed to it. A panic inside a converter is caught and is that part's fault; what
//! cannot be caught (stack, memory, time) ends the process and the gateway draws the same conclusion.
//! Nothing but frames goes to the pipe of standard output: whatever libraries print there joins standard error.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;

use crate::fonts::Fonts;
use crate::office::jail;
use crate::order::{ConvertError, ConvertOrder, ErrorKind, FinishOrder, Inline, Part, Result, damaged};
use crate::wire::{self, Answer, Job, PartHeader, Request, Setup};
use crate::{bind, finish, parts, sandbox};

/// Largest request taken: the gateway's own limit on mails is below it, so this only bounds our mistakes.
pub(crate) const REQUEST_MAX_BYTES: u64 = 1 << 30;
/// A few numbers and a path.
const SETUP_MAX_BYTES: u64 = 8 << 10;
/// The thread that reads requests needs little.
const READER_STACK_BYTES: usize = 256 << 10;

/// Pages and remarks that a job gives.
pub(crate) struct Output {
    /// TIFF-F, or PNG.
    pub bytes: Vec<u8>,
    /// For each page the name of the part it came from.
    pub pages: Vec<String>,
    /// What somebody may want to know: "first of 12 pictures".
    pub notes: Vec<String>,
    /// Pages that were drawn in colour before they were made black and white.
    pub in_colour: u32,
    /// For each page what drew it: `PDF`, `HTML layout`.
    pub drawn_by: Vec<String>,
}

/// Tells the gateway which part is being worked on.
pub(crate) struct Progress<'a>(&'a mut dyn Write);

impl Progress<'_> {
    /// From here on a crash is this part's fault.
    pub(crate) fn working(&mut self, part: &str) -> Result<()> {
        wire::write(&mut self.0, &Answer::Working { part: part.to_owned() }, &[]).map_err(gone)
    }
}

fn gone(error: std::io::Error) -> ConvertError {
    ConvertError::new(ErrorKind::Unavailable, format!("the gateway does not listen: {error}"))
}

/// Carries out the orders on standard input. For the hidden command of the gateway's binary.
pub fn main() -> ExitCode {
    match serve() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("converter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> std::io::Result<ExitCode> {
    let out: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let mut out = File::from(out);
    let (setup, _) = wire::read::<Setup>(&mut std::io::stdin().lock(), SETUP_MAX_BYTES)?;
    let (memory_bytes, cpu_s, requests_max) = match setup {
        Setup::Documents { memory_bytes, cpu_s, requests_max } => (memory_bytes, cpu_s, requests_max),
        Setup::Office { memory_bytes, program } => return jail::serve(memory_bytes, &program, &mut out),
        Setup::Heif { memory_bytes } => return jail::serve_heif(memory_bytes, &mut out),
    };
    sandbox::limit(memory_bytes, cpu_s.saturating_mul(u64::from(requests_max)))?;
    let fonts = Fonts::open();
    let open = sandbox::lock();
    // After the lock, so that it holds for this thread too.
    let requests = listen()?;
    wire::write(&mut out, &Answer::Locked { open }, &[])?;
    for count in 1..=u64::from(requests_max) {
        let Ok((request, blobs)) = requests.recv() else { break };
        sandbox::limit_cpu(cpu_s.saturating_mul(count))?;
        fonts.forget();
        let result =
            std::panic::catch_unwind(AssertUnwindSafe(|| run(request.job, blobs, &fonts, &mut Progress(&mut out))))
                .unwrap_or_else(|_| Err(damaged("the converter stumbled over it")));
        match result {
            Ok(output) => {
                let Output { bytes, pages, notes, in_colour, drawn_by } = output;
                wire::write(&mut out, &Answer::Done { pages, notes, in_colour, drawn_by }, &[&bytes])?;
            }
            Err(error) => wire::write(&mut out, &Answer::Failed { error }, &[])?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads requests beside the work. The gateway ends us when it loses patience; this is for the gateway that was killed itself:
/// the end of our input is the end of the gateway. (The kernel's parent death signal would not do: it fires when the
/// *thread* that started us ends, and an asynchronous gateway's threads come and go.)
fn listen() -> std::io::Result<Receiver<(Request, Vec<Vec<u8>>)>> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(0);
    let read = move || {
        while let Ok(request) = wire::read::<Request>(&mut std::io::stdin().lock(), REQUEST_MAX_BYTES) {
            if sender.send(request).is_err() {
                return;
            }
        }
        #[expect(clippy::disallowed_methods, reason = "nobody is left who could read an exit code from main")]
        std::process::exit(1);
    };
    std::thread::Builder::new().stack_size(READER_STACK_BYTES).spawn(read)?;
    Ok(receiver)
}

/// A converter in this very process, not locked up: for fuzzing, where a crash is what is looked for.
pub struct Unlocked(Fonts);

impl Unlocked {
    /// Opens the fonts.
    pub fn open() -> Self {
        Self(Fonts::open())
    }

    /// The pages of the documents as TIFF-F.
    pub fn convert(&self, order: ConvertOrder) -> Result<Vec<u8>> {
        parts::convert(order, &self.0, &mut Progress(&mut std::io::sink())).map(|output| output.bytes)
    }
}

fn run(job: Job, mut blobs: Vec<Vec<u8>>, fonts: &Fonts, progress: &mut Progress<'_>) -> Result<Output> {
    match job {
        Job::Convert { paper, quality, max_pages, body, inline, parts } => {
            let rest = blobs.split_off(inline.len().min(blobs.len()));
            let inline = inline.into_iter().zip(blobs).map(|((id, name), bytes)| Inline { id, name, bytes }).collect();
            let parts = parts.into_iter().zip(rest).map(|(header, bytes)| header.with(bytes)).collect();
            parts::convert(ConvertOrder { paper, quality, max_pages, body, inline, parts }, fonts, progress)
        }
        Job::Finish { paper, quality, max_pages, cover, header } => {
            let cover = cover.map(|cover| *cover);
            let order = FinishOrder { paper, quality, max_pages, document: blobs.pop(), cover, header };
            finish::finish(order, fonts, progress)
        }
        Job::Restamp { page, header } => {
            progress.working("pages of the fax")?;
            finish::restamp(&blobs.pop().unwrap_or_default(), page, &header, fonts)
        }
        Job::Thumbnail { page, width_px } => {
            progress.working("pages of the fax")?;
            finish::thumbnail(&blobs.pop().unwrap_or_default(), page, width_px)
        }
        Job::Bind { form } => {
            progress.working("pages of the fax")?;
            bind::bind(&blobs, form)
        }
        Job::Unpack { name } => {
            progress.working(&name)?;
            let archive = Part { name, bytes: blobs.pop().unwrap_or_default(), ..Part::default() };
            let (files, notes) = parts::zip::unpack(&archive)?;
            let (headers, blobs): (Vec<_>, Vec<_>) = files.into_iter().map(PartHeader::split).unzip();
            let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
            let bytes = wire::encode(&headers, &blobs).map_err(|error| damaged(error.to_string()))?;
            Ok(Output { bytes, pages: Vec::new(), notes, in_colour: 0, drawn_by: Vec::new() })
        }
    }
}
