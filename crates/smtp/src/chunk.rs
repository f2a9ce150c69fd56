//! The content in chunks (BDAT, RFC 3030): no dots are stuffed and no octet means the end; the sizes say where it is.
//!
//! `BODY=BINARYMIME` is passed on octet by octet. Anything else is text, where only CRLF ends a line: a bare LF becomes one, because
//! large senders write it in chunks and nothing follows from it here, as no line end is ever looked for to find an end.

use crate::data::Flaw;

/// What the octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// Lines: a bare LF becomes CRLF, a bare CR and an octet of value zero are flaws.
    Text,
    /// Octets as they are.
    Binary,
}

/// Scans the chunks of one message; keeps one octet of state from one chunk to the next.
#[derive(Debug)]
pub(crate) struct ChunkScanner {
    kind: ChunkKind,
    /// A CR that is not yet passed on: the chunk may end between CR and LF.
    after_cr: bool,
    flaw: Option<Flaw>,
}

impl ChunkScanner {
    /// At the beginning of the first chunk.
    pub(crate) fn new(kind: ChunkKind) -> Self {
        Self { kind, after_cr: false, flaw: None }
    }

    /// Appends what belongs to the message to `out`.
    pub(crate) fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.kind == ChunkKind::Binary {
            out.extend_from_slice(input);
            return;
        }
        let mut rest = input;
        while let Some((&octet, after)) = rest.split_first() {
            if std::mem::take(&mut self.after_cr) {
                out.push(b'\r');
                if octet == b'\n' {
                    out.push(b'\n');
                    rest = after;
                    continue;
                }
                self.flaw.get_or_insert(Flaw::BareCr);
            }
            let plain = rest.iter().position(|o| matches!(o, b'\r' | b'\n' | 0)).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            let Some((&octet, after)) = rest.split_first() else { return };
            rest = after;
            match octet {
                b'\r' => self.after_cr = true,
                b'\n' => out.extend_from_slice(b"\r\n"),
                _ => {
                    self.flaw.get_or_insert(Flaw::Nul);
                    out.push(octet);
                }
            }
        }
    }

    /// After the last chunk: a CR that is still in hand has no LF.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            self.flaw.get_or_insert(Flaw::BareCr);
            out.push(b'\r');
        }
    }

    /// The first thing that text may not hold, if any was seen.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(kind: ChunkKind, chunks: &[&[u8]]) -> (Vec<u8>, Option<Flaw>) {
        let (mut scanner, mut out) = (ChunkScanner::new(kind), Vec::new());
        for chunk in chunks {
            scanner.scan(chunk, &mut out);
        }
        scanner.end(&mut out);
        (out, scanner.flaw())
    }

    #[test]
    fn s6_a_bare_lf_in_text_becomes_crlf_wherever_the_chunk_is_cut() {
        let text = |chunks: &[&[u8]]| scan(ChunkKind::Text, chunks);
        assert_eq!(text(&[b"a\nb\r\nc\n"]), (b"a\r\nb\r\nc\r\n".to_vec(), None));
        assert_eq!(text(&[b"a\r", b"\nb", b"\n", b"\n"]), (b"a\r\nb\r\n\r\n".to_vec(), None));
        assert_eq!(text(&[b".\r\n.\r\n"]), (b".\r\n.\r\n".to_vec(), None), "dots mean nothing");
    }

    #[test]
    fn s6_a_bare_cr_or_a_zero_octet_in_text_is_a_flaw() {
        for bad in [&[&b"a\rb"[..]][..], &[b"a\r", b"b"], &[b"a\r"], &[b"a\r\r\n"]] {
            assert_eq!(scan(ChunkKind::Text, bad).1, Some(Flaw::BareCr), "{bad:?}");
        }
        assert_eq!(scan(ChunkKind::Text, &[b"a\0b"]).1, Some(Flaw::Nul));
    }

    proptest! {
        #[test]
        fn s8_binary_octets_come_out_as_they_went_in(octets: Vec<u8>, at: usize) {
            let (a, b) = octets.split_at(at % (octets.len() + 1));
            prop_assert_eq!(scan(ChunkKind::Binary, &[a, b]), (octets.clone(), None));
        }

        #[test]
        fn text_never_holds_a_bare_lf_and_a_cut_changes_nothing(octets in proptest::collection::vec(proptest::sample::select(&b"a.\r\n\0"[..]), 0..40), at: usize) {
            let whole = scan(ChunkKind::Text, &[&octets]);
            let (a, b) = octets.split_at(at % (octets.len() + 1));
            prop_assert_eq!(scan(ChunkKind::Text, &[a, b]), whole.clone());
            let (out, _) = whole;
            let bare = out.iter().enumerate().any(|(i, o)| *o == b'\n' && (i == 0 || out[i - 1] != b'\r'));
            prop_assert!(!bare);
        }
    }
}
