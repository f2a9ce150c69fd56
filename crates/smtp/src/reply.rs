//! Replies: a code, an enhanced status, words and the slug of a catalogue, written as lines of at most 512 octets.
//!
//! Whatever text goes in, CR, LF and other controls never come out: a reply that echoes what a client said cannot be
//! used to write a line of its own.

use std::borrow::Cow;

/// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets with its CRLF.
const LINE_MAX: usize = 512;
/// A reply has at most this many lines; more text is cut. Bounds what one echoed command can cost.
const LINES_MAX: usize = 16;

/// Which characters a reply may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Printable US-ASCII; anything else becomes `?`.
    Ascii,
    /// UTF-8, after MAIL had SMTPUTF8 (RFC 6531 §3.7.4.2).
    Utf8,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<String>,
    lines: Vec<String>,
    slug: Option<Cow<'static, str>>,
}

impl Reply {
    /// A reply with an enhanced status as in `5.1.3`. The status' class is made that of the code (RFC 2034 §4: the two
    /// must agree).
    pub fn new(code: u16, status: &str, text: impl Into<String>) -> Self {
        debug_assert!((200..600).contains(&code), "reply code {code}");
        let class = code / 100;
        let rest = status.split_once('.').map_or("0.0", |(_, rest)| rest);
        Self { code, status: Some(format!("{class}.{rest}")), lines: vec![text.into()], slug: None }
    }

    /// A reply without an enhanced status: greeting, EHLO and 354 (RFC 2034 §4 names them as exceptions).
    pub fn plain(code: u16, lines: Vec<String>) -> Self {
        debug_assert!(!lines.is_empty(), "a reply has at least one line");
        Self { code, status: None, lines, slug: None }
    }

    /// The catalogue's word, written in brackets at the end.
    #[must_use]
    pub fn slug(mut self, slug: impl Into<Cow<'static, str>>) -> Self {
        self.slug = Some(slug.into());
        self
    }

    /// `354`, the go-ahead for the content.
    pub fn go_ahead() -> Self {
        Self::plain(354, vec!["go ahead; end with <CRLF>.<CRLF>".to_owned()])
    }

    /// `235`, the login is right (RFC 4954 §6).
    pub fn logged_in() -> Self {
        Self::new(235, "2.7.0", "logged in")
    }

    /// `535`, whatever was wrong with it.
    pub fn login_failed() -> Self {
        Self::new(535, "5.7.8", "the login failed; check user name and password")
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether it says yes (2yz or 3yz).
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// The reply as it goes onto the wire: every line at most 512 octets with its CRLF, `NNN-` on all but the last.
    pub fn to_wire(&self, charset: Charset) -> String {
        let head = self.status.as_ref().map_or_else(String::new, |status| format!("{status} "));
        let budget = LINE_MAX - 2 - 4 - head.len();
        let mut wrapped = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let mut text: String = line.chars().map(|c| printable(c, charset)).collect();
            if index + 1 == self.lines.len()
                && let Some(slug) = &self.slug
            {
                // The slug is a line of its own when the words fill LINES_MAX: it must never be cut off.
                let room = budget * (LINES_MAX - 1) - slug.len() - 3;
                text.truncate(text.floor_char_boundary(room));
                text.push_str(&format!(" ({slug})"));
            }
            wrap(&text, budget, &mut wrapped);
        }
        // Only lists of lines (EHLO, HELP) can be longer, and they are ours.
        let last = wrapped.len() - 1;
        let mut wire = String::new();
        for (index, line) in wrapped.iter().enumerate() {
            let mark = if index == last { ' ' } else { '-' };
            wire.push_str(&format!("{}{mark}{head}{line}\r\n", self.code));
        }
        wire
    }
}

fn printable(c: char, charset: Charset) -> char {
    match c {
        ' '..='~' => c,
        '\t' => ' ',
        _ if charset == Charset::Utf8 && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') => c,
        _ => '?',
    }
}

/// Splits at spaces where there are some, otherwise between characters.
fn wrap(text: &str, budget: usize, lines: &mut Vec<String>) {
    let mut rest = text;
    loop {
        if rest.len() <= budget {
            lines.push(rest.to_owned());
            return;
        }
        let hard = rest.floor_char_boundary(budget);
        let cut = rest[..hard].rfind(' ').filter(|at| *at > 0).unwrap_or(hard);
        lines.push(rest[..cut].to_owned());
        rest = rest[cut..].trim_start_matches(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reply_is_code_status_words_and_slug() {
        let reply = Reply::new(550, "5.1.3", "too short; use the full number").slug("number-invalid");
        assert_eq!(reply.to_wire(Charset::Ascii), "550 5.1.3 too short; use the full number (number-invalid)\r\n");
    }

    #[test]
    fn the_status_takes_the_class_of_the_code() {
        assert_eq!(Reply::new(452, "5.3.4", "x").to_wire(Charset::Ascii), "452 4.3.4 x\r\n");
    }

    #[test]
    fn an_echoed_line_end_cannot_write_a_line_of_its_own() {
        let reply = Reply::new(501, "5.5.4", "got \"a\r\n250 ok\0\u{85}\u{2028}é\"");
        assert_eq!(reply.to_wire(Charset::Ascii), "501 5.5.4 got \"a??250 ok????\"\r\n");
        assert_eq!(reply.to_wire(Charset::Utf8), "501 5.5.4 got \"a??250 ok???é\"\r\n");
    }

    #[test]
    fn a_list_of_lines_has_hyphens_on_all_but_the_last() {
        let reply = Reply::plain(250, vec!["gw.example".into(), "SIZE 5".into()]);
        assert_eq!(reply.to_wire(Charset::Ascii), "250-gw.example\r\n250 SIZE 5\r\n");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_line_longer_than_512_octets_or_loses_the_slug(text in ".{0,2000}", long in 0..20_000usize) {
            let text = format!("{text}{}", "x".repeat(long));
            for charset in [Charset::Ascii, Charset::Utf8] {
                let wire = Reply::new(550, "5.1.3", text.clone()).slug("number-invalid").to_wire(charset);
                prop_assert!(wire.ends_with("(number-invalid)\r\n"), "{}", wire);
                let lines: Vec<&str> = wire.strip_suffix("\r\n").unwrap().split("\r\n").collect();
                for (index, line) in lines.iter().enumerate() {
                    prop_assert!(line.len() <= LINE_MAX - 2);
                    let mark = if index + 1 == lines.len() { "550 5.1.3 " } else { "550-5.1.3 " };
                    prop_assert!(line.starts_with(mark));
                    prop_assert!(!line.contains(['\r', '\n', '\0']));
                }
            }
        }
    }
}
