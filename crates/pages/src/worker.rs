//! The converter process: one order in, one answer out, then it ends.
//!
//! Before the order's documents are looked at: limits, fonts opened, the lock (see `sandbox`). Before each part its name goes
//! out, so that a crash is attributed to it. A panic inside a converter is caught and is that part's fault; what
//! cannot be caught (stack, memory, time) ends the process and the gateway draws the same conclusion.
//! Nothing but frames goes to the pipe of standard output: whatever libraries print there joins standard error.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use crate::fonts::Fonts;
use crate::office::jail;
use crate::order::{ConvertError, ConvertOrder, ErrorKind, FinishOrder, Part, Result, damaged};
use crate::wire::{self, Answer, Job, PartHeader, Request};
use crate::{bind, finish, parts, sandbox};

/// Largest request taken: the gateway's own limit on mails is below it, so this only bounds our mistakes.
pub(crate) const REQUEST_MAX_BYTES: u64 = 1 << 30;

/// Pages and remarks that a job gives.
pub(crate) struct Output {
    /// TIFF-F, or PNG.
    pub bytes: Vec<u8>,
    /// For each page the name of the part it came from.
    pub pages: Vec<String>,
    /// What somebody may want to know: "first of 12 pictures".
    pub notes: Vec<String>,
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

/// Carries out the one order on standard input. For the hidden command of the gateway's binary.
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
    let (request, blobs) = wire::read::<Request>(&mut std::io::stdin().lock(), REQUEST_MAX_BYTES)?;
    let request = match request {
        Request { job: Job::Office(job), memory_bytes, .. } => {
            return jail::serve(memory_bytes, job, blobs.into_iter().next().unwrap_or_default(), &mut out);
        }
        request => request,
    };
    sandbox::limit(request.memory_bytes, request.cpu_s)?;
    let fonts = Fonts::open();
    end_with_the_gateway()?;
    let open = sandbox::lock();
    wire::write(&mut out, &Answer::Locked { open }, &[])?;
    let result =
        std::panic::catch_unwind(AssertUnwindSafe(|| run(request.job, blobs, &fonts, &mut Progress(&mut out))))
            .unwrap_or_else(|_| Err(damaged("the converter stumbled over it")));
    match result {
        Ok(output) => {
            wire::write(&mut out, &Answer::Done { pages: output.pages, notes: output.notes }, &[&output.bytes])
        }
        Err(error) => wire::write(&mut out, &Answer::Failed { error }, &[]),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The gateway ends us when it has its answer or loses patience. This is for the gateway that was killed itself: it keeps
/// our standard input open, so its end is the end of the gateway. (The kernel's parent death signal would not do: it
/// fires when the *thread* that started us ends, and an asynchronous gateway's threads come and go.)
fn end_with_the_gateway() -> std::io::Result<()> {
    let watch = || {
        let mut octet = [0];
        while std::io::stdin().lock().read(&mut octet).is_ok_and(|n| n > 0) {}
        #[expect(clippy::disallowed_methods, reason = "nobody is left who could read an exit code from main")]
        std::process::exit(1);
    };
    std::thread::Builder::new().stack_size(64 << 10).spawn(watch).map(drop)
}

fn run(job: Job, mut blobs: Vec<Vec<u8>>, fonts: &Fonts, progress: &mut Progress<'_>) -> Result<Output> {
    match job {
        Job::Convert { paper, quality, max_pages, body, parts } => {
            let parts = parts.into_iter().zip(blobs).map(|(header, bytes)| header.with(bytes)).collect();
            parts::convert(ConvertOrder { paper, quality, max_pages, body, parts }, fonts, progress)
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
            Ok(Output { bytes, pages: Vec::new(), notes })
        }
        // `serve` has gone another way.
        Job::Office(_) => Err(damaged("the converter does not run LibreOffice")),
    }
}
