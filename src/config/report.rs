//! Problems of a configuration, and how people see them.
//!
//! Every problem has a code, a sentence, a place (a span of the file, or an environment variable) and a fix. They are
//! collected, never thrown one by one, and shown in the order of the file.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Octets of the file.
    Span(Range<usize>),
    /// The file as a whole.
    File,
    /// An environment variable.
    Variable(String),
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used; somebody should know.
    Warning,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Slug, as in `unknown-key`.
    pub code: &'static str,
    /// What is wrong, one line.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What stands behind the caret.
    pub label: Option<String>,
    /// What else helps, each one line.
    pub notes: Vec<String>,
    /// What to do, one line.
    pub fix: String,
}

impl Problem {
    /// An error without label and notes.
    pub fn error(code: &'static str, message: impl Into<String>, place: Place, fix: impl Into<String>) -> Self {
        let (message, fix) = (one_line(&message.into()), one_line(&fix.into()));
        Self { severity: Severity::Error, code, message, place, label: None, notes: Vec::new(), fix }
    }

    /// A warning without label and notes.
    pub fn warning(code: &'static str, message: impl Into<String>, place: Place, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, place, fix) }
    }

    /// Puts words behind the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a line of explanation.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// The problems of one configuration with the text they refer to.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    /// Name of the file as the user wrote it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// All of them, in the order of the file; those of the environment last.
    pub list: Vec<Problem>,
}

/// A problem for programs.
#[derive(Debug, Serialize)]
pub struct ProblemView<'a> {
    severity: Severity,
    code: &'a str,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    variable: Option<&'a str>,
    label: Option<&'a str>,
    notes: &'a [String],
    fix: &'a str,
}

impl Problems {
    /// How many errors and warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.list.iter().filter(|p| p.severity == Severity::Error).count();
        (errors, self.list.len() - errors)
    }

    /// Sorts by place: the whole file first, then line by line, then the environment.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|problem| match &problem.place {
            Place::File => (0, 0, String::new()),
            Place::Span(span) => (1, span.start, String::new()),
            Place::Variable(name) => (2, 0, name.clone()),
        });
    }

    /// As people read it, ending in the count.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in &self.list {
            self.render_one(problem, &mut out);
        }
        let (errors, warnings) = self.counts();
        let _ = writeln!(out, "{} in {}", count_words(errors, warnings), self.file);
        out
    }

    fn render_one(&self, problem: &Problem, out: &mut String) {
        let _ = writeln!(out, "{}[{}]: {}", problem.severity.word(), problem.code, problem.message);
        let mut margin = String::from("  ");
        match &problem.place {
            Place::File => {
                let _ = writeln!(out, "  --> {}", self.file);
            }
            Place::Variable(name) => {
                let _ = writeln!(out, "  --> environment variable {name}");
            }
            Place::Span(span) => {
                let at = Position::of(&self.text, span);
                margin = " ".repeat(at.line.to_string().len());
                let _ = writeln!(out, "  --> {}:{}:{}", self.file, at.line, at.column);
                let _ = writeln!(out, "{} | {}", at.line, at.source);
                let _ = write!(out, "{margin} | {}{}", at.indent, "^".repeat(at.width));
                let _ = match &problem.label {
                    Some(label) => writeln!(out, "  {label}"),
                    None => writeln!(out),
                };
            }
        }
        for note in &problem.notes {
            let _ = writeln!(out, "{margin} = note: {note}");
        }
        let _ = writeln!(out, "{margin} = fix: {}\n", problem.fix);
    }

    /// For programs.
    pub fn views(&self) -> Vec<ProblemView<'_>> {
        let view = |problem| {
            let Problem { severity, code, message, place, label, notes, fix }: &Problem = problem;
            let (file, at, variable) = match place {
                Place::File => (Some(self.file.as_str()), None, None),
                Place::Span(span) => (Some(self.file.as_str()), Some(Position::of(&self.text, span)), None),
                Place::Variable(name) => (None, None, Some(name.as_str())),
            };
            let (line, column) = at.map(|at| (at.line, at.column)).unzip();
            ProblemView {
                severity: *severity,
                code,
                message,
                file,
                line,
                column,
                variable,
                label: label.as_deref(),
                notes,
                fix,
            }
        };
        self.list.iter().map(view).collect()
    }

    /// `FILE:LINE` of a place, or the variable's name.
    pub fn place_words(&self, place: &Place) -> String {
        match place {
            Place::File => self.file.clone(),
            Place::Span(span) => format!("{}:{}", self.file, Position::of(&self.text, span).line),
            Place::Variable(name) => name.clone(),
        }
    }
}

/// `2 errors, 1 warning`.
fn count_words(errors: usize, warnings: usize) -> String {
    let one = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (0, w) => one(w, "warning"),
        (e, 0) => one(e, "error"),
        (e, w) => format!("{}, {}", one(e, "error"), one(w, "warning")),
    }
}

/// Longest source line that is shown whole, characters.
const SOURCE_CHARS_MAX: usize = 160;

/// A span as people count: lines and columns from 1, columns in characters.
struct Position {
    line: usize,
    column: usize,
    source: String,
    indent: String,
    width: usize,
}

impl Position {
    fn of(text: &str, span: &Range<usize>) -> Self {
        let start = floor_boundary(text, span.start.min(text.len()));
        let end = floor_boundary(text, span.end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..start].matches('\n').count() + 1;
        let before = text[line_start..start].chars().count();
        let width = text[start..end.min(line_end)].chars().count().max(1);
        // A line of a megabyte is an accident, not something to print: only its beginning is shown.
        let source = without_secret(&text[line_start..line_end]);
        let source: String = source.chars().take(SOURCE_CHARS_MAX).map(printable).collect();
        let width = width.min(SOURCE_CHARS_MAX.saturating_sub(before).max(1));
        Self { line, column: before + 1, source, indent: " ".repeat(before.min(SOURCE_CHARS_MAX)), width }
    }
}

/// A line that sets something like a password ends behind its equals sign, unless it only says where the secret is.
fn without_secret(line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else { return line.to_owned() };
    let names_source = value.trim_start().starts_with('{') && (value.contains("file") || value.contains("env"));
    let shows_one = (looks_secret(name) && !names_source) || has_user_with_password(value);
    if shows_one { format!("{name}= …") } else { line.to_owned() }
}

/// As in `scheme://user:password@host`.
fn has_user_with_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Whether a setting's name is, or is probably meant to be, that of a secret.
pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let last = name.rsplit('.').next().unwrap_or("").trim();
    let near = |word: &str| last.contains(word) || strsim::damerau_levenshtein(last, word) <= 2;
    ["password", "passwd", "secret", "token"].into_iter().any(near) || last.contains("pass")
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Longest message, characters: what a file holds is repeated in messages, but not at any length.
const MESSAGE_CHARS_MAX: usize = 300;

fn one_line(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).map(printable).collect()
}
