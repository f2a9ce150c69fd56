//! What commands print: lines for people on a terminal, JSON for programs, progress only where somebody watches.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::exit::{Exit, Failed};

/// Who reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A person.
    Person,
    /// A person who wants results only.
    Quiet,
    /// A program.
    Json,
}

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    /// Who reads it.
    pub(super) reader: Reader,
    /// Whether colours may be used.
    pub(super) colour: Colour,
}

/// Whether colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR or --no-color.
    Yes,
    /// Plain text.
    No,
}

impl Colour {
    /// <https://no-color.org>: any value but an empty one.
    pub(super) fn from_environment(no_color: Option<&str>) -> Self {
        if no_color.is_none() && std::io::stdout().is_terminal() { Self::Yes } else { Self::No }
    }
}

impl Out {
    /// Whether a program reads.
    pub(super) fn json(&self) -> bool {
        self.reader == Reader::Json
    }

    /// A result: always printed.
    pub(super) fn line(&self, text: &str) -> Result<(), Failed> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", printable(text)).and_then(|()| stdout.flush()).map_err(gone)
    }

    /// A remark for people; nothing with `-q` or `--json`.
    pub(super) fn remark(&self, text: &str) -> Result<(), Failed> {
        if self.reader == Reader::Person { self.line(text) } else { Ok(()) }
    }

    /// One object on one line.
    pub(super) fn object(&self, value: &impl Serialize) -> Result<(), Failed> {
        let text = serde_json::to_string(value).map_err(|error| unprintable(&error))?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(gone)
    }

    /// A table with a heading, columns aligned, two spaces between.
    pub(super) fn table(&self, heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failed> {
        let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let print = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            self.line(padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        if !rows.is_empty() {
            print(heading.to_vec())?;
        }
        rows.iter().try_for_each(|row| print(row.iter().map(String::as_str).collect()))
    }

    /// The word in its colour.
    pub(super) fn paint(&self, word: &str, paint: Paint) -> String {
        let code = match paint {
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Wait => "33",
            Paint::Bold => "1",
        };
        if self.colour == Colour::Yes { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }

    /// A spinner on standard error while something takes long; nothing unless a person watches a terminal there.
    pub(super) fn spinner(&self, text: &str) -> ProgressBar {
        if self.reader != Reader::Person || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(printable(text));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// A meaning that has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// Green.
    Good,
    /// Red.
    Bad,
    /// Yellow.
    Wait,
    /// Bold.
    Bold,
}

/// A subject or a name may hold what would move a terminal's cursor: nothing but our own colours goes there.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let ours = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[33m", "\u{1b}[1m", "\u{1b}[0m"]
            .into_iter()
            .find(|code| rest.starts_with(code));
        if let Some(code) = ours {
            out.push_str(code);
            rest = &rest[code.len()..];
            continue;
        }
        let harmless = !c.is_control() || c == '\n';
        out.push(if harmless { c } else { ' ' });
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn gone(error: std::io::Error) -> Failed {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failed::reader_gone();
    }
    Failed::new(Exit::Failed, "cannot print", error.to_string(), "keep the reading end of the pipe open")
}

fn unprintable(error: &serde_json::Error) -> Failed {
    Failed::new(Exit::Failed, "cannot print JSON", error.to_string(), "report this as a bug")
}

/// RFC 3339 as local time for people, as in `2024-01-31 10:32:05`; what is not a time is shown as it is.
pub(super) fn local_time(text: &str) -> String {
    let Ok(instant) = text.parse::<jiff::Timestamp>() else { return text.to_owned() };
    instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same with the zone, as in `2024-01-31 10:32:05 +01:00`: a line that is read alone, elsewhere.
pub(super) fn local_time_with_zone(text: &str) -> String {
    let Ok(instant) = text.parse::<jiff::Timestamp>() else { return text.to_owned() };
    instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A text for people with every RFC 3339 time in it as local time.
pub(super) fn localised(text: &str) -> String {
    let word = |word: &str| {
        let time = word.trim_end_matches([',', ':', '.', ';', ')']);
        let rest = &word[time.len()..];
        // What jiff would read as a time is longer than any other word here.
        if time.len() >= "2024-01-31T10:32:05Z".len() { format!("{}{rest}", local_time(time)) } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// At most this many characters, the last an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_our_own_colours_reaches_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{7}c\nd"), "a [2Jb c\nd");
        let out = Out { reader: Reader::Person, colour: Colour::Yes };
        assert_eq!(printable(&out.paint("sent", Paint::Good)), "\u{1b}[32msent\u{1b}[0m");
    }

    #[test]
    fn times_in_a_text_are_local_and_nothing_else_changes() {
        let at = "2024-01-31T10:32:05.120Z";
        let (text, local) = (format!("called again at {at}, from page 2  of +41441234567890123456789"), local_time(at));
        assert_eq!(localised(&text), format!("called again at {local}, from page 2  of +41441234567890123456789"));
        assert!(!local.contains('T') && local_time_with_zone(at).starts_with(&format!("{local} ")), "{local}");
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(cut("Grüße aus Zürich", 6), "Grüße…");
        assert_eq!(cut("kurz", 6), "kurz");
    }
}
