//! Content: after DATA up to its one real end, or in chunks of announced size.
//!
//! Content that is refused is swallowed to its end all the same, or the rest of it would be taken for commands; up to a bound, then the
//! connection ends.

use super::{Action, BodyKind, Hello, Incoming, Phase, Question, Session};
use crate::chunk::{ChunkKind, ChunkScanner};
use crate::command;
use crate::data::{DataScanner, Flaw};
use crate::reply::Reply;

/// Content is handed out in pieces of at most this many octets.
const CONTENT_CHUNK: usize = 64 * 1024;
/// Content that is refused is swallowed up to this multiple of the largest size; then the connection ends.
const SWALLOW_FACTOR: u64 = 8;

/// The chunks of one mail so far.
#[derive(Debug)]
pub(super) struct Chunks {
    scanner: ChunkScanner,
    /// As they came.
    received: u64,
    /// As they were handed out: line ends may have been completed.
    handed_out: u64,
}

/// One chunk that is coming in.
#[derive(Debug)]
pub(super) struct Chunk {
    left: u64,
    last: command::Chunk,
    verdict: Verdict,
}

impl Chunk {
    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }
}

/// What is said at the end of a chunk.
#[derive(Debug)]
enum Verdict {
    /// It is taken.
    Taken,
    /// It came where none may come.
    Error(u16, String),
    /// It was pipelined behind a refused one.
    TooLate,
    /// It is refused, and the mail with it.
    Refused(Reply),
}

impl Session {
    // ---- after DATA

    pub(super) fn content_begins(&mut self) {
        self.phase = Phase::Content(Incoming { scanner: DataScanner::new(), size_bytes: 0, dropped: false });
    }

    pub(super) fn content(&mut self) {
        let Phase::Content(incoming) = &mut self.phase else { return };
        let end = self.input.len().min(self.used + CONTENT_CHUNK);
        let mut chunk = Vec::new();
        self.used += incoming.scanner.scan(&self.input[self.used..end], &mut chunk);
        incoming.size_bytes = incoming.size_bytes.saturating_add(chunk.len() as u64);
        let max = self.settings.max_size_bytes;
        let (too_large, flaw) = (incoming.size_bytes > max, incoming.scanner.flaw());
        let ended = incoming.scanner.ended();
        if (too_large || flaw.is_some()) && !incoming.dropped {
            // The memory is freed at once; the octets are swallowed to their real end, or the next of them would be
            // taken for commands.
            incoming.dropped = true;
            self.out.push_back(Action::Reset);
        } else if !incoming.dropped && !chunk.is_empty() {
            self.out.push_back(Action::Content(chunk));
        }
        if incoming.size_bytes > max.saturating_mul(SWALLOW_FACTOR) {
            return self.far_too_large();
        }
        if ended {
            self.content_ended(flaw, too_large);
        }
    }

    fn content_ended(&mut self, flaw: Option<Flaw>, too_large: bool) {
        match self.refusal(flaw, too_large) {
            Some(reply) => {
                self.phase = Phase::Command;
                self.reply(&reply);
                self.forget();
            }
            None => self.phase = Phase::Question(Question::Message),
        }
    }

    fn refusal(&self, flaw: Option<Flaw>, too_large: bool) -> Option<Reply> {
        let text = match flaw {
            Some(Flaw::BareLf) => "the mail has a bare LF; end every line with CRLF",
            Some(Flaw::BareCr) => "the mail has a bare CR; end every line with CRLF and encode other CRs",
            Some(Flaw::Nul) => "the mail has an octet of value zero; encode binary content in base64",
            None if too_large => return Some(self.too_large()),
            None => return None,
        };
        Some(Reply::new(554, "5.6.0", text).slug(self.settings.slugs.protocol.clone()))
    }

    fn too_large(&self) -> Reply {
        let max = self.settings.max_size_bytes;
        let text = format!("the mail has more than {max} octets; send fewer or smaller attachments");
        Reply::new(552, "5.3.4", text).slug(self.settings.slugs.too_large.clone())
    }

    fn far_too_large(&mut self) {
        let text = format!("the mail is far larger than {} octets; send less", self.settings.max_size_bytes);
        self.close_with(&Reply::new(421, "4.3.4", text).slug(self.settings.slugs.too_large.clone()));
    }

    // ---- in chunks

    pub(super) fn bdat(&mut self, size_bytes: u64, last: command::Chunk) {
        let chunk = Chunk { left: size_bytes, last, verdict: self.judge(size_bytes) };
        let taken = matches!(chunk.verdict, Verdict::Taken);
        if !taken {
            self.swallowed = self.swallowed.saturating_add(size_bytes);
            if self.swallowed > self.settings.max_size_bytes.saturating_mul(SWALLOW_FACTOR) {
                return self.far_too_large();
            }
        }
        let first = self.transaction.as_ref().is_some_and(|transaction| transaction.chunks.is_none());
        if taken && first {
            self.chunk = Some(chunk);
            self.phase = Phase::Question(Question::Content);
        } else {
            self.phase = Phase::Chunk(chunk);
        }
    }

    /// What is to be said of a chunk, known before its first octet came.
    fn judge(&self, size_bytes: u64) -> Verdict {
        if self.chunks_failed {
            return Verdict::TooLate;
        }
        if !matches!(self.hello, Some((Hello::Ehlo, _))) {
            return Verdict::Error(503, "BDAT without EHLO; greet with EHLO to use it".to_owned());
        }
        if let Some((code, text)) = self.no_content_yet("BDAT") {
            return Verdict::Error(code, text);
        }
        let chunks = self.transaction.as_ref().and_then(|transaction| transaction.chunks.as_ref());
        let received = chunks.map_or(0, |chunks| chunks.received);
        if received.saturating_add(size_bytes) > self.settings.max_size_bytes {
            return Verdict::Refused(self.too_large());
        }
        Verdict::Taken
    }

    /// The driver's answer to whether the content may come: the first chunk is on its way already.
    pub(super) fn chunk_answered(&mut self, accepted: bool, reply: Reply) {
        let Some(mut chunk) = self.chunk.take() else { return };
        if accepted && let Some(transaction) = &mut self.transaction {
            let kind = if transaction.body == BodyKind::BinaryMime { ChunkKind::Binary } else { ChunkKind::Text };
            transaction.chunks = Some(Chunks { scanner: ChunkScanner::new(kind), received: 0, handed_out: 0 });
        } else {
            chunk.verdict = Verdict::Refused(reply);
        }
        self.phase = Phase::Chunk(chunk);
    }

    pub(super) fn chunk(&mut self) {
        let Phase::Chunk(chunk) = &mut self.phase else { return };
        let here = (self.input.len() - self.used).min(CONTENT_CHUNK);
        let count = usize::try_from(chunk.left).map_or(here, |left| left.min(here));
        chunk.left -= count as u64;
        let octets = &self.input[self.used..self.used + count];
        self.used += count;
        let chunks = self.transaction.as_mut().and_then(|transaction| transaction.chunks.as_mut());
        let (Verdict::Taken, Some(chunks)) = (&chunk.verdict, chunks) else { return };
        let mut out = Vec::with_capacity(count);
        chunks.scanner.scan(octets, &mut out);
        chunks.received += count as u64;
        chunks.handed_out += out.len() as u64;
        if chunks.scanner.flaw().is_none() && !out.is_empty() {
            self.out.push_back(Action::Content(out));
        }
    }

    pub(super) fn chunk_ended(&mut self) {
        let Phase::Chunk(chunk) = std::mem::replace(&mut self.phase, Phase::Command) else { return };
        match chunk.verdict {
            Verdict::Taken => self.chunk_taken(chunk.last),
            Verdict::Error(code, text) => self.error(code, "5.5.1", &text),
            Verdict::TooLate => {
                self.object(
                    503,
                    "5.5.1",
                    "an earlier chunk was refused and the mail with it; send RSET and begin again",
                );
            }
            Verdict::Refused(reply) => self.chunks_refused(&reply),
        }
    }

    fn chunk_taken(&mut self, last: command::Chunk) {
        let max = self.settings.max_size_bytes;
        let Some(chunks) = self.transaction.as_mut().and_then(|transaction| transaction.chunks.as_mut()) else {
            return;
        };
        if last == command::Chunk::Last {
            chunks.scanner.end(&mut Vec::new());
        }
        let (flaw, received, too_large) = (chunks.scanner.flaw(), chunks.received, chunks.handed_out > max);
        match (self.refusal(flaw, too_large), last) {
            (Some(reply), _) => self.chunks_refused(&reply),
            (None, command::Chunk::Last) => self.phase = Phase::Question(Question::Message),
            (None, command::Chunk::More) => {
                self.reply(&Reply::new(250, "2.0.0", format!("{received} octets so far")));
            }
        }
    }

    /// RFC 3030 §2: the whole mail is gone; what was pipelined of it comes to nothing.
    fn chunks_refused(&mut self, reply: &Reply) {
        self.reply(reply);
        self.forget();
        self.chunks_failed = true;
    }
}
