//! Command lines: octets in, whole lines out. Only CRLF ends a line (RFC 5321 §2.3.8).

/// RFC 5321 §4.5.3.1.4 asks for 512 octets at the least, more with extensions. Encapsulated fax addresses, ORCPT and
/// SMTPUTF8 paths are long; 4096 holds a path of 2000 octets beside an ORCPT of 500. The session holds commands to it.
pub(crate) const COMMAND_MAX: usize = 4096;
/// RFC 4954 §4: lines of a login are longer, without their CRLF.
pub(crate) const LINE_MAX: usize = 12_288;
/// A line that is still not over after this many octets is a flood, not a mistake.
const FLOOD_MAX: usize = 64 * 1024;

/// What the reader found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its CRLF.
    Whole(Vec<u8>),
    /// A line longer than [`LINE_MAX`]; it was swallowed to its CRLF.
    TooLong,
    /// An LF without CR. What follows up to the next CRLF belongs to the broken line and is swallowed.
    BareLf,
    /// No line end in sight.
    Flood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Keep,
    SwallowLong,
    SwallowBroken,
}

/// Collects one line at a time; never holds more than [`LINE_MAX`] octets.
#[derive(Debug)]
pub(crate) struct LineReader {
    line: Vec<u8>,
    mode: Mode,
    after_cr: bool,
    seen: usize,
}

impl LineReader {
    pub(crate) fn new() -> Self {
        Self { line: Vec::new(), mode: Mode::Keep, after_cr: false, seen: 0 }
    }

    /// Reads octets up to the end of one line. Answers how many were used and what was found, if anything.
    pub(crate) fn read(&mut self, input: &[u8]) -> (usize, Option<Line>) {
        for (index, &octet) in input.iter().enumerate() {
            if let Some(line) = self.step(octet) {
                return (index + 1, Some(line));
            }
        }
        (input.len(), None)
    }

    fn step(&mut self, octet: u8) -> Option<Line> {
        let after_cr = std::mem::replace(&mut self.after_cr, octet == b'\r');
        self.seen += 1;
        if octet == b'\n' {
            self.seen = 0;
            return if after_cr { self.line_end() } else { Some(self.bare_lf()) };
        }
        if self.seen > FLOOD_MAX {
            return Some(Line::Flood);
        }
        if self.mode == Mode::Keep {
            // One octet more than the limit is kept, for the CR of the line's end.
            if self.line.len() > LINE_MAX {
                self.mode = Mode::SwallowLong;
                self.line = Vec::new();
            } else {
                self.line.push(octet);
            }
        }
        None
    }

    fn line_end(&mut self) -> Option<Line> {
        let mut line = std::mem::take(&mut self.line);
        match std::mem::replace(&mut self.mode, Mode::Keep) {
            Mode::Keep => {
                line.pop();
                Some(Line::Whole(line))
            }
            Mode::SwallowLong => Some(Line::TooLong),
            Mode::SwallowBroken => None,
        }
    }

    fn bare_lf(&mut self) -> Line {
        self.line = Vec::new();
        self.mode = Mode::SwallowBroken;
        Line::BareLf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line> {
        let (mut reader, mut found, mut at) = (LineReader::new(), Vec::new(), 0);
        while at < input.len() {
            let (used, line) = reader.read(&input[at..]);
            at += used;
            found.extend(line);
        }
        found
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(lines(b"NOOP\r\nRSET\r\n"), [Line::Whole(b"NOOP".into()), Line::Whole(b"RSET".into())]);
        assert_eq!(lines(b"NO\rOP\r\n"), [Line::Whole(b"NO\rOP".into())]);
        assert_eq!(lines(b"NOOP\r"), []);
    }

    #[test]
    fn what_follows_a_bare_lf_belongs_to_the_broken_line() {
        assert_eq!(lines(b"NOOP\nQUIT\r\nRSET\r\n"), [Line::BareLf, Line::Whole(b"RSET".into())]);
        assert_eq!(lines(b"A\nB\nC\r\nRSET\r\n"), [Line::BareLf, Line::BareLf, Line::Whole(b"RSET".into())]);
    }

    #[test]
    fn a_line_of_12288_octets_is_read_and_a_longer_one_is_swallowed_to_its_end() {
        let just = vec![b'x'; LINE_MAX];
        assert_eq!(lines(&[&just[..], b"\r\n"].concat()), [Line::Whole(just.clone())]);
        let found = lines(&[&just[..], b"x\r\nNOOP\r\n"].concat());
        assert_eq!(found, [Line::TooLong, Line::Whole(b"NOOP".into())]);
    }

    #[test]
    fn a_line_without_end_is_a_flood() {
        assert_eq!(lines(&vec![b'x'; FLOOD_MAX + 1]), [Line::Flood]);
    }
}
