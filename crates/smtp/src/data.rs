//! The content after DATA: finds the one real end, undoes dot-stuffing, notices what SMTP forbids.
//!
//! RFC 5321 §4.1.1.4: only CRLF "." CRLF ends the content, and nothing that merely looks like it. A scanner that is
//! more generous than the sender's server lets one message smuggle a second one in.

/// What makes content inadmissible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// An LF without CR before it.
    BareLf,
    /// A CR without LF after it.
    BareCr,
    /// An octet of value zero.
    Nul,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After CRLF, or at the beginning: the CRLF of the DATA line counts.
    LineStart,
    Text,
    /// A CR that is not yet passed on.
    Cr,
    /// A dot at the start of a line that is not yet passed on.
    Dot,
    /// A dot at the start of a line and a CR, both not yet passed on.
    DotCr,
    Ended,
}

/// Scans the content of one message; keeps two octets of state.
#[derive(Debug)]
pub struct DataScanner {
    state: State,
    flaw: Option<Flaw>,
}

impl Default for DataScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl DataScanner {
    /// At the beginning of the content.
    pub fn new() -> Self {
        Self { state: State::LineStart, flaw: None }
    }

    /// Reads octets up to the end of the content, appending what belongs to the message to `out`. Answers how many
    /// octets were used; all of them unless the end was found.
    pub fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut index = 0;
        while index < input.len() && self.state != State::Ended {
            if self.state == State::Text {
                // The common case in one go: everything up to the next octet that means something.
                let rest = &input[index..];
                let plain = rest.iter().position(|o| matches!(o, b'\r' | b'\n' | 0)).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                index += plain;
                if index == input.len() {
                    break;
                }
            }
            self.step(input[index], out);
            index += 1;
        }
        index
    }

    /// Whether CRLF.CRLF was seen.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The first thing that SMTP forbids, if any was seen.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    fn step(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.state = match (self.state, octet) {
            (State::Ended, _) => State::Ended,
            (State::DotCr, b'\n') => State::Ended,
            (State::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                State::LineStart
            }
            (State::LineStart, b'.') => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::LineStart | State::Text, b'\r') => State::Cr,
            (State::Cr | State::DotCr, _) => {
                // The CR before was not followed by LF. The CR in hand may still be.
                self.note(Flaw::BareCr);
                out.push(b'\r');
                if octet == b'\r' { State::Cr } else { self.text(octet, out) }
            }
            // RFC 5321 §4.5.2: a dot at the start of a line that is not alone is taken away.
            (State::LineStart | State::Text | State::Dot, _) => self.text(octet, out),
        };
    }

    fn text(&mut self, octet: u8, out: &mut Vec<u8>) -> State {
        match octet {
            // Not a line end: the next octet is not at the start of a line.
            b'\n' => self.note(Flaw::BareLf),
            0 => self.note(Flaw::Nul),
            _ => {}
        }
        out.push(octet);
        State::Text
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }
}
