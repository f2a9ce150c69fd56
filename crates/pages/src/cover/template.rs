//! Templates of covers: HTML and CSS with fields, read once and checked with line numbers.
//!
//! `{{field}}` is a field's value, escaped; `{{&note}}` the mail's text as HTML that this program made;
//! `{{#field}}…{{/field}}` is there only when the field has a value. A template loads nothing: pictures stand in it as
//! `data:`. What is wrong with one is a list of [`Problem`]s, by line.

use crate::order::ConvertError;

/// What a cover can show, with what it means.
pub const FIELDS: &[(&str, &str)] = &[
    ("to", "the recipient's name"),
    ("to_company", "the recipient's company"),
    ("to_number", "the recipient's number; required"),
    ("from", "the sender's name and address"),
    ("from_company", "the sender's company"),
    ("from_number", "the sender's fax number"),
    ("date", "date and time with zone; required"),
    ("pages", "how many pages the fax has, this one included; required"),
    ("reference", "the sender's reference"),
    ("subject", "the subject of the mail"),
    ("footer", "the gateway's contact"),
];
/// The mail's text.
const NOTE: &str = "note";
/// Without these a recipient does not know what came, or loses the sender's words.
const REQUIRED: &[&str] = &["to_number", "date", "pages"];
/// Largest template, octets: a logo fits.
pub const TEMPLATE_MAX_BYTES: usize = 1 << 20;
/// More problems than this are one problem.
const PROBLEMS_MAX: usize = 50;
/// Deepest nesting of elements and of sections.
const DEPTH_MAX: usize = 100;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead; one line.
    pub message: String,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<'a> {
    Html(&'a str),
    Field(&'a str),
    Note,
    /// Only when the field has a value.
    Begin(&'a str),
    End(&'a str),
}

/// A template that was read.
#[derive(Debug)]
pub(super) struct Template<'a> {
    pieces: Vec<(usize, Piece<'a>)>,
}

impl<'a> Template<'a> {
    /// Reads a template; anything wrong with its fields is an error.
    pub(super) fn read(source: &'a str) -> Result<Self, ConvertError> {
        let mut problems = Vec::new();
        let template = Self::parse(source, &mut problems);
        match problems.first() {
            None => Ok(template),
            Some(first) => Err(crate::order::damaged(format!("line {}: {}", first.line, first.message))),
        }
    }

    fn parse(source: &'a str, problems: &mut Vec<Problem>) -> Self {
        let mut pieces = Vec::new();
        let mut line = 1;
        let mut rest = source;
        let mut open: Vec<(&str, usize)> = Vec::new();
        while let Some((before, after)) = rest.split_once("{{") {
            pieces.push((line, Piece::Html(before)));
            line += newlines(before);
            let Some((tag, later)) = after.split_once("}}").filter(|(tag, _)| !tag.contains('\n')) else {
                problems.push(Problem { line, message: "\"{{\" has no \"}}\" on its line".to_owned() });
                rest = after;
                continue;
            };
            rest = later;
            match piece(tag, &mut open, line) {
                Ok(piece) => pieces.push((line, piece)),
                Err(message) => problems.push(Problem { line, message }),
            }
        }
        pieces.push((line, Piece::Html(rest)));
        for (name, line) in open {
            problems.push(Problem { line, message: format!("{{{{#{name}}}}} has no {{{{/{name}}}}}") });
        }
        Self { pieces }
    }

    /// The HTML with its fields filled in. `value` gives a field's text; it is escaped here.
    pub(super) fn fill(&self, value: impl Fn(&str) -> String, note: &str) -> String {
        let mut filled = String::new();
        // Sections without a value that we are in.
        let mut hidden = 0_usize;
        for (_, piece) in &self.pieces {
            match piece {
                Piece::Begin(name) if hidden > 0 || value_of(name, &value, note).is_empty() => hidden += 1,
                Piece::End(_) => hidden = hidden.saturating_sub(1),
                _ if hidden > 0 => {}
                Piece::Begin(_) => {}
                Piece::Html(html) => filled.push_str(html),
                Piece::Field(name) => filled.push_str(&crate::layout::escape(&value(name))),
                Piece::Note => filled.push_str(note),
            }
        }
        filled
    }
}

fn value_of(name: &str, value: &impl Fn(&str) -> String, note: &str) -> String {
    if name == NOTE { note.to_owned() } else { value(name) }
}

fn piece<'a>(tag: &'a str, open: &mut Vec<(&'a str, usize)>, line: usize) -> Result<Piece<'a>, String> {
    let known = |name: &'a str| {
        let is_field = FIELDS.iter().any(|(field, _)| *field == name) || name == NOTE;
        if is_field { Ok(name) } else { Err(unknown(name)) }
    };
    let tag = tag.trim();
    match tag.as_bytes().first() {
        Some(b'#') => {
            let name = known(tag[1..].trim())?;
            if open.len() >= DEPTH_MAX {
                return Err(format!("more than {DEPTH_MAX} sections inside each other"));
            }
            open.push((name, line));
            Ok(Piece::Begin(name))
        }
        Some(b'/') => {
            let name = known(tag[1..].trim())?;
            match open.last() {
                Some((last, _)) if *last == name => {
                    open.pop();
                    Ok(Piece::End(name))
                }
                Some((last, _)) => Err(format!("{{{{/{name}}}}} stands where {{{{/{last}}}}} is expected")),
                None => Err(format!("{{{{/{name}}}}} has no {{{{#{name}}}}} before it")),
            }
        }
        Some(b'&') if tag[1..].trim() == NOTE => Ok(Piece::Note),
        Some(b'&') => Err(format!("only the note is HTML; write {{{{{}}}}}", tag[1..].trim())),
        _ if tag == NOTE => Err("the note is HTML; write {{&note}}".to_owned()),
        _ => known(tag).map(Piece::Field),
    }
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    let fields: Vec<&str> = FIELDS.iter().map(|(field, _)| *field).collect();
    format!("there is no field \"{shown}\"; there are: {}, &note", fields.join(", "))
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// Everything that is wrong with a template, by line; none is right.
pub fn check(source: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if source.len() > TEMPLATE_MAX_BYTES {
        let message = format!("it has {} octets, and {TEMPLATE_MAX_BYTES} are allowed", source.len());
        return vec![Problem { line: 1, message }];
    }
    let template = Template::parse(source, &mut problems);
    let last = newlines(source) + 1;
    for name in REQUIRED {
        let in_sections = |piece: &Piece<'_>| matches!(piece, Piece::Field(field) if field == name);
        if !template.pieces.iter().any(|(_, piece)| in_sections(piece)) {
            problems.push(Problem { line: last, message: format!("{{{{{name}}}}} is missing") });
        }
    }
    if !template.pieces.iter().any(|(_, piece)| *piece == Piece::Note) {
        let message = "{{&note}} is missing: the mail's text would be lost".to_owned();
        problems.push(Problem { line: last, message });
    }
    elements(source, &mut problems);
    problems.sort_by_key(|problem| problem.line);
    if problems.len() > PROBLEMS_MAX {
        let line = problems[PROBLEMS_MAX].line;
        problems.truncate(PROBLEMS_MAX);
        problems.push(Problem { line, message: "there are more problems from here on".to_owned() });
    }
    problems
}

/// Elements without an end.
const VOID: &[&str] = &["br", "hr", "img", "meta", "col", "wbr", "area", "base", "input", "link", "source", "track"];
/// Elements whose end HTML lets people leave out.
const ENDS_BY_ITSELF: &[&str] = &[
    "html", "head", "body", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "caption",
];
/// Elements that load or run something, or that nobody can fill in on paper.
const FORBIDDEN: &[&str] =
    &["script", "iframe", "object", "embed", "link", "base", "form", "input", "video", "audio", "frame", "frameset"];

/// Elements that load something, that lack their end, or that hold fields where none can be escaped.
fn elements(source: &str, problems: &mut Vec<Problem>) {
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(at) = rest.find('<') {
        line += newlines(&rest[..at]);
        let after = &rest[at + 1..];
        let consumed = if let Some(comment) = after.strip_prefix("!--") {
            match comment.find("-->") {
                Some(end) => end + 6,
                None => {
                    problems.push(Problem { line, message: "the comment has no end".to_owned() });
                    return;
                }
            }
        } else {
            let Some(end) = after.find('>') else {
                problems
                    .push(Problem { line, message: "\"<\" has no \">\"; write &lt; for the sign itself".to_owned() });
                return;
            };
            let tag = &after[..end];
            element(tag, line, &mut open, problems);
            let style = tag.to_ascii_lowercase().starts_with("style");
            end + 1 + if style { style_sheet(&after[end + 1..], line, problems) } else { 0 }
        };
        line += newlines(&after[..consumed]);
        rest = &after[consumed..];
    }
    for (name, line) in open {
        if !ENDS_BY_ITSELF.contains(&name.as_str()) {
            problems.push(Problem { line, message: format!("<{name}> has no </{name}>") });
        }
    }
}

fn element(tag: &str, line: usize, open: &mut Vec<(String, usize)>, problems: &mut Vec<Problem>) {
    let mut problem = |message: String| problems.push(Problem { line, message });
    let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
    let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if name.is_empty() {
        if !tag.starts_with(['!', '?']) {
            problem("\"<\" begins no element; write &lt; for the sign itself".to_owned());
        }
        return;
    }
    if FORBIDDEN.contains(&name.as_str()) {
        problem(format!("<{name}> is not allowed: a cover loads nothing and runs nothing"));
    }
    if let Some(address) = loads(tag) {
        problem(format!("it loads {address}, and a cover loads nothing; put the picture in as data:"));
    }
    if closing {
        let Some(at) = open.iter().rposition(|(opened, _)| *opened == name) else {
            return problem(format!("</{name}> has no <{name}> before it"));
        };
        for (left, since) in open.split_off(at).into_iter().skip(1) {
            if !ENDS_BY_ITSELF.contains(&left.as_str()) {
                problem(format!("</{name}> stands where </{left}> is expected, for <{left}> in line {since}"));
            }
        }
    } else if !VOID.contains(&name.as_str()) && !tag.ends_with('/') {
        if open.len() >= DEPTH_MAX {
            return problem(format!("more than {DEPTH_MAX} elements inside each other"));
        }
        open.push((name, line));
    }
}

/// The address of something that a tag or a style would load: anything but `data:` and a place on the page.
fn loads(css_or_tag: &str) -> Option<String> {
    let lower = css_or_tag.to_ascii_lowercase();
    for name in ["src=", "srcset=", "background=", "data=", "url("] {
        for (at, _) in lower.match_indices(name) {
            // "data-src=" and the like are words of their own; url() may follow anything.
            let begins = name == "url(" || lower[..at].ends_with(|c: char| c.is_whitespace());
            let value = lower[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
            if begins && !value.starts_with("data:") && !value.starts_with('#') {
                let address: String = value.chars().take_while(|c| !"\"') >".contains(*c)).take(60).collect();
                return Some(format!("\"{address}\""));
            }
        }
    }
    lower.contains("@import").then(|| "a style sheet".to_owned())
}

/// The octets of a style sheet that begins here, its end not included.
fn style_sheet(rest: &str, line: usize, problems: &mut Vec<Problem>) -> usize {
    let end = rest.to_ascii_lowercase().find("</style").unwrap_or(rest.len());
    let sheet = &rest[..end];
    for (number, text) in sheet.lines().enumerate() {
        let mut problem = |message: String| problems.push(Problem { line: line + number, message });
        if text.contains("{{") {
            problem("fields cannot stand in a style sheet: nothing there can be escaped".to_owned());
        }
        if let Some(address) = loads(text) {
            problem(format!("it loads {address}, and a cover loads nothing; put the picture in as data:"));
        }
    }
    if sheet.matches('{').count() != sheet.matches('}').count() {
        problems.push(Problem { line, message: "the style sheet's { and } do not pair".to_owned() });
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "<p>{{to_number}} {{date}} {{pages}}</p>\n{{&note}}\n";

    #[test]
    fn what_is_wrong_with_a_template_is_told_by_line() {
        for (template, line, words) in [
            ("\n{{sender}}", 2, "there is no field \"sender\""),
            ("{{#from}}\n{{to", 2, "no \"}}\" on its line"),
            ("\n\n{{#from}}x", 3, "{{#from}} has no {{/from}}"),
            ("{{/from}}", 1, "has no {{#from}} before it"),
            ("{{#from}}{{#to}}{{/from}}{{/to}}", 1, "where {{/to}} is expected"),
            ("{{note}}", 1, "write {{&note}}"),
            ("{{&from}}", 1, "write {{from}}"),
            ("\n<div>\n<b>x</div>", 3, "</div> stands where </b> is expected"),
            ("\n<div>", 2, "<div> has no </div>"),
            ("</div>", 1, "</div> has no <div>"),
            ("\n<script>x</script>", 2, "<script> is not allowed"),
            ("<img src=\"logo.png\">", 1, "it loads \"logo.png\""),
            ("<img src='file:///etc/passwd'>", 1, "it loads \"file:///etc/passwd\""),
            ("<style>\nb { background: url(http://x.example/y) }\n</style>", 2, "it loads \"http://x.example/y\""),
            ("<style>\n@import 'x.css';\n</style>", 2, "a style sheet"),
            ("<style>\nb { color: {{from}} }</style>", 2, "fields cannot stand in a style sheet"),
            ("<style>b {</style>", 1, "do not pair"),
            ("<!-- x", 1, "no end"),
            ("1 < 2", 1, "write &lt;"),
        ] {
            let template = format!("{template}\n{GOOD}");
            let problems = check(&template);
            assert!(problems.iter().any(|p| p.line == line && p.message.contains(words)), "{template}: {problems:?}");
        }
        assert_eq!(check(GOOD), []);
        assert_eq!(
            check("<p><img src=\"data:image/png;base64,AAAA\"><br>x <ul><li>a<li>b</ul>".to_owned().as_str()).len(),
            4
        );
    }

    #[test]
    fn what_a_cover_must_show_is_missed() {
        let missing: Vec<String> =
            check("<p>x</p>\n").into_iter().map(|p| format!("{}: {}", p.line, p.message)).collect();
        assert_eq!(
            missing,
            [
                "2: {{to_number}} is missing",
                "2: {{date}} is missing",
                "2: {{pages}} is missing",
                "2: {{&note}} is missing: the mail's text would be lost"
            ]
        );
    }

    #[test]
    fn sections_nest_and_hide_what_is_in_them() {
        let template =
            Template::read("a{{#to}}b{{#from}}c{{from}}{{/from}}d{{/to}}e{{#note}}f{{&note}}{{/note}}").unwrap();
        let fill = |to: &str, from: &str, note: &str| {
            template.fill(|name| if name == "to" { to.to_owned() } else { from.to_owned() }, note)
        };
        assert_eq!(fill("1", "<", "n"), "abc&lt;defn");
        assert_eq!(fill("", "1", ""), "ae");
        assert_eq!(fill("1", "", ""), "abde");
    }
}
