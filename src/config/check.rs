//! Walks the tree along the table of settings: unknown names, wrong types, values out of range, all of them.
//!
//! What comes out are typed values by path; `build` turns them into the configuration. A value with a problem is left
//! out, its problem is in the list, and a list with an error never becomes a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keys::{self, Key, Kind, Status};
use super::report::{Place, Problem, looks_secret};
use super::tree::{Data, Entry, Node};
use super::values::{self, Fault};

/// A checked value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<(String, Place)>),
    Integer(u64),
    Flag(bool),
    /// The secret itself, and how its source is shown.
    Secret {
        secret: String,
        shown: String,
    },
}

/// A value and where it was set; none means the default.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) place: Option<Place>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// By real path, as in `sip.trunk1.channels`.
    pub(super) values: BTreeMap<String, Found>,
    /// Tables that the file has, by real path, with the place of their names.
    pub(super) tables: BTreeMap<String, Place>,
    /// Everything wrong.
    pub(super) problems: Vec<Problem>,
}

/// What the walk needs to know of the world.
pub(super) struct World<'a> {
    /// The file's text: fixes repeat what was written.
    pub(super) text: &'a str,
    /// Folder that relative paths begin at.
    pub(super) folder: &'a Path,
    /// The environment.
    pub(super) variables: &'a [(String, String)],
}

/// Walks the tree.
pub(super) fn check(root: &[Entry], world: &World<'_>) -> Checked {
    let mut walk = Walk { world, out: Checked::default() };
    walk.table(root, "", "");
    walk.out
}

struct Walk<'a> {
    world: &'a World<'a>,
    out: Checked,
}

/// Tables in tables deeper than any setting lies.
const DEPTH_MAX: usize = 8;

impl Walk<'_> {
    fn table(&mut self, table: &[Entry], pattern: &str, path: &str) {
        for entry in table {
            let real = keys::join(path, &entry.name);
            let by_name = keys::join(pattern, &entry.name);
            let any_name = keys::join(pattern, "*");
            let known = |path: &str| keys::find(path).is_some() || keys::section(path).is_some();
            if known(&by_name) && entry.name != "*" {
                self.entry(entry, &by_name, &real);
            } else if known(&any_name) {
                if self.name_fits(entry, pattern) {
                    self.entry(entry, &any_name, &real);
                }
            } else {
                self.out.problems.push(unknown(entry, pattern, self.world.text));
            }
        }
    }

    fn name_fits(&mut self, entry: &Entry, table: &str) -> bool {
        let parsed = if table == "inbound.did" { values::number(&entry.name) } else { values::table_name(&entry.name) };
        if let Err(fault) = &parsed {
            self.fault(fault, &format!("[{table}]"), &entry.name_place);
        }
        parsed.is_ok()
    }

    fn entry(&mut self, entry: &Entry, pattern: &str, real: &str) {
        if let Some(key) = keys::find(pattern) {
            return self.leaf(key, entry, real);
        }
        let title = keys::section(pattern).map_or("a table", |section| section.title);
        match &entry.node.data {
            Data::Table(inner) if real.matches('.').count() < DEPTH_MAX => {
                self.out.tables.insert(real.to_owned(), entry.name_place.clone());
                self.table(inner, pattern, real);
            }
            other => {
                let message = format!("`{}` must be a table, not {}", entry.name, other.kind_words());
                let example = if title.starts_with("a ") || title == "[sip]" {
                    format!("[{real}.NAME]").replace(".NAME.NAME", ".NAME")
                } else {
                    format!("[{real}]")
                };
                let fix = format!("write a table, as in {example}, and its settings below it");
                self.out.problems.push(Problem::error("wrong-type", message, entry.node.place.clone(), fix));
            }
        }
    }

    fn leaf(&mut self, key: &'static Key, entry: &Entry, real: &str) {
        match key.status {
            Status::Refused(cause, fix) => {
                let message = format!("`{real}`: {cause}");
                self.out.problems.push(Problem::error("not-supported", message, entry.name_place.clone(), fix));
                return;
            }
            Status::Live => {}
        }
        if let Some(value) = self.value(key.kind, &entry.node, real) {
            let place = Some(entry.name_place.clone());
            self.out.values.insert(real.to_owned(), Found { value, place });
        }
    }

    fn value(&mut self, kind: Kind, node: &Node, path: &str) -> Option<Value> {
        match (kind, &node.data) {
            (Kind::Text(_, check), Data::Text(text)) => {
                self.text(check(text), path, &node.place).then(|| Value::Text(text.clone()))
            }
            (Kind::Texts(what, check, most), Data::List(_) | Data::Text(_)) => {
                self.texts(node, path, what, most, check)
            }
            (Kind::Words(words), Data::List(_) | Data::Text(_)) => {
                self.texts(node, path, "words", words.len(), |text| one_of(text, words))
            }
            (Kind::Word(words), Data::Text(text)) => {
                let text = text.to_ascii_lowercase();
                self.text(one_of(&text, words), path, &node.place).then_some(Value::Text(text))
            }
            (Kind::Integer(least, most), Data::Integer(digits, radix)) => {
                self.integer((digits, *radix), least..=most, path, &node.place)
            }
            (Kind::Flag, Data::Flag(flag)) => Some(Value::Flag(*flag)),
            (Kind::Duration(least, most), Data::Text(text)) => {
                let parsed = values::duration(text).and_then(|d| within(d, values::duration, least, most, text));
                self.text(parsed, path, &node.place).then(|| Value::Text(text.clone()))
            }
            (Kind::Size(least, most), Data::Text(text)) => {
                let parsed = values::size(text).and_then(|s| within(s, values::size, least, most, text));
                self.text(parsed, path, &node.place).then(|| Value::Text(text.clone()))
            }
            (Kind::Secret, Data::Table(source)) => self.secret(source, node, path),
            (Kind::Secret, _) => {
                let message = format!("`{path}` must not stand in the file itself");
                let fix = format!(
                    "put it into a file that only faxwell can read and write `{} = {{ file = \"…\" }}`, or `{{ env = \"…\" }}`",
                    last(path)
                );
                self.out.problems.push(Problem::error("inline-secret", message, node.place.clone(), fix));
                None
            }
            (kind, data) => {
                self.out.problems.push(wrong_type(kind, data, path, &node.place));
                None
            }
        }
    }

    fn text(&mut self, parsed: Result<(), Fault>, path: &str, place: &Place) -> bool {
        match parsed {
            Ok(()) => true,
            Err(fault) => {
                self.fault(&fault, &format!("`{path}`"), place);
                false
            }
        }
    }

    fn fault(&mut self, fault: &Fault, subject: &str, place: &Place) {
        let message = format!("{subject}: {}", fault.message);
        self.out.problems.push(Problem::error(fault.code, message, place.clone(), fault.fix.clone()));
    }

    fn texts(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        most: usize,
        check: impl Fn(&str) -> values::Parsed<()>,
    ) -> Option<Value> {
        let one = std::slice::from_ref(node);
        let items = if let Data::List(items) = &node.data { items.as_slice() } else { one };
        if items.len() > most {
            let message = format!("`{path}` has {} entries; {most} is the most", items.len());
            self.out.problems.push(Problem::error("out-of-range", message, node.place.clone(), "shorten the list"));
            return None;
        }
        let mut texts: Vec<(String, Place)> = Vec::new();
        let mut good = true;
        for item in items {
            let Data::Text(text) = &item.data else {
                let message = format!("`{path}` is a list of {what}; this entry is {}", item.data.kind_words());
                self.out.problems.push(Problem::error(
                    "wrong-type",
                    message,
                    item.place.clone(),
                    "put it into \"quotes\"",
                ));
                good = false;
                continue;
            };
            if texts.iter().any(|(earlier, _)| earlier == text) {
                let message = format!("`{path}` names \"{text}\" twice");
                self.out.problems.push(Problem::error(
                    "duplicate-entry",
                    message,
                    item.place.clone(),
                    "remove one of them",
                ));
                good = false;
            } else if self.text(check(text), path, &item.place) {
                texts.push((text.clone(), item.place.clone()));
            } else {
                good = false;
            }
        }
        good.then_some(Value::Texts(texts))
    }

    fn integer(
        &mut self,
        written: (&str, u32),
        range: std::ops::RangeInclusive<u64>,
        path: &str,
        place: &Place,
    ) -> Option<Value> {
        let number = u64::from_str_radix(written.0, written.1).ok().filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("`{path}` must be between {} and {}, not {}", range.start(), range.end(), written.0);
            let fix = format!("write a number from {} to {}", range.start(), range.end());
            self.out.problems.push(Problem::error("out-of-range", message, place.clone(), fix));
        }
        number.map(Value::Integer)
    }

    fn secret(&mut self, source: &[Entry], node: &Node, path: &str) -> Option<Value> {
        let fix = "write exactly one of { file = \"…\" } and { env = \"…\" }";
        let [Entry { name, node: Node { data: Data::Text(text), place }, .. }] = source else {
            let message = format!("`{path}` must say where the secret is");
            self.out.problems.push(Problem::error("wrong-type", message, node.place.clone(), fix));
            return None;
        };
        let read = match name.as_str() {
            "file" => self.secret_file(text, path, place),
            "env" => secret_variable(text, self.world.variables),
            other => Err((format!("a secret cannot come from `{other}`"), fix.to_owned())),
        };
        match read {
            Ok(secret) => Some(Value::Secret { secret, shown: format!("{{ {name} = {text:?} }}") }),
            Err((why, fix)) => {
                self.out.problems.push(Problem::error(
                    "secret-unreadable",
                    format!("`{path}`: {why}"),
                    place.clone(),
                    fix,
                ));
                None
            }
        }
    }

    fn secret_file(&mut self, written: &str, path: &str, place: &Place) -> Result<String, (String, String)> {
        use std::os::unix::fs::PermissionsExt as _;
        let file: PathBuf = self.world.folder.join(written);
        let fix =
            || format!("write the secret into {written} (relative to this file's folder) and let faxwell read it");
        let meta =
            std::fs::metadata(&file).map_err(|e| (format!("cannot read \"{written}\": {}", io_words(&e)), fix()))?;
        if !meta.is_file() || meta.len() > SECRET_BYTES_MAX {
            return Err((format!("\"{written}\" is not a file of at most {SECRET_BYTES_MAX} octets"), fix()));
        }
        if meta.permissions().mode() & 0o007 != 0 {
            let message = format!("`{path}`: everybody on this machine can read or write \"{written}\"");
            self.out.problems.push(Problem::warning(
                "secret-open",
                message,
                place.clone(),
                format!("chmod 0600 {written}"),
            ));
        }
        let secret = std::fs::read_to_string(&file)
            .map_err(|e| (format!("cannot read \"{written}\": {}", io_words(&e)), fix()))?;
        one_secret(&secret).ok_or_else(|| (format!("\"{written}\" holds no secret of one line"), fix()))
    }
}

/// A password, a token or a key in PEM form fits; a mistaken path to something large does not.
const SECRET_BYTES_MAX: u64 = 16_384;

fn secret_variable(name: &str, variables: &[(String, String)]) -> Result<String, (String, String)> {
    let found = variables.iter().find(|(variable, _)| variable == name).and_then(|(_, value)| one_secret(value));
    found.ok_or_else(|| {
        (format!("the environment variable {name} is not set or is empty"), format!("set {name} for the service"))
    })
}

fn one_secret(text: &str) -> Option<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The kind alone: the operating system's own words differ between machines.
fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        other => other.to_string(),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn one_of(text: &str, words: &[&str]) -> values::Parsed<()> {
    if words.contains(&text) {
        return Ok(());
    }
    let fix = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"? One of {}", words.join(", ")),
        None => format!("write one of {}", words.join(", ")),
    };
    Err(Fault { code: "invalid-value", message: format!("\"{text}\" is none of its words"), fix })
}

fn within<T: PartialOrd>(
    value: T,
    parse: fn(&str) -> values::Parsed<T>,
    least: &str,
    most: &str,
    text: &str,
) -> values::Parsed<()> {
    let low = parse(least).is_ok_and(|least| value < least);
    let high = parse(most).is_ok_and(|most| value > most);
    if low || high {
        let message = format!("must be between {least} and {most}, not \"{text}\"");
        return Err(Fault {
            code: "out-of-range",
            message,
            fix: format!("write a value from \"{least}\" to \"{most}\""),
        });
    }
    Ok(())
}

fn wrong_type(kind: Kind, data: &Data, path: &str, place: &Place) -> Problem {
    let (expected, example) = match kind {
        Kind::Text(what, _) => (what.to_owned(), "a text in \"quotes\"".to_owned()),
        Kind::Texts(what, ..) => (format!("a list of {what}"), "a list of texts, as in [\"…\", \"…\"]".to_owned()),
        Kind::Word(words) => ("a word".to_owned(), format!("one of \"{}\"", words.join("\", \""))),
        Kind::Words(words) => ("a list of words".to_owned(), format!("a list of \"{}\"", words.join("\", \""))),
        Kind::Integer(least, most) => {
            ("a whole number".to_owned(), format!("a number from {least} to {most}, without quotes"))
        }
        Kind::Flag => ("true or false".to_owned(), "true or false, without quotes".to_owned()),
        Kind::Duration(least, _) => ("a duration".to_owned(), format!("number and unit in quotes, as in \"{least}\"")),
        Kind::Size(least, _) => ("a size".to_owned(), format!("number and unit in quotes, as in \"{least}\"")),
        Kind::Secret | Kind::Any => ("a table".to_owned(), "a table".to_owned()),
    };
    let message = format!("`{path}` must be {expected}, not {}", data.kind_words());
    Problem::error("wrong-type", message, place.clone(), format!("write {example}"))
}

fn unknown(entry: &Entry, table: &str, text: &str) -> Problem {
    let title = keys::section(table).map_or("this table", |section| section.title);
    let name = &entry.name;
    let message = format!("`{name}` is not a setting of {title}");
    let members = keys::members(table);
    let problem = |fix: String| Problem::error("unknown-key", message.clone(), entry.name_place.clone(), fix);
    if let Some(near) = nearest(name, members.iter().copied()) {
        let written = match &entry.node.place {
            Place::Span(span) if !matches!(entry.node.data, Data::Table(_)) && !looks_secret(name) => {
                text.get(span.clone()).filter(|t| !t.contains('\n') && t.len() < 60)
            }
            _ => None,
        };
        let heading = matches!(entry.node.data, Data::Table(_)).then(|| keys::join(table, near).replace('*', "NAME"));
        if let Some(heading) = heading.filter(|_| matches!(entry.node.place, Place::Span(_))) {
            return problem(format!("write [{heading}]")).label(format!("did you mean `{near}`?"));
        }
        let fix = written.map_or_else(|| format!("write `{near}`"), |value| format!("write `{near} = {value}`"));
        return problem(fix).label(format!("did you mean `{near}`?"));
    }
    let elsewhere = keys::KEYS.iter().filter(|key| last(key.path) == name).find_map(|key| {
        let (table, _) = key.path.rsplit_once('.')?;
        keys::section(table)
    });
    match elsewhere {
        Some(section) => problem(format!("move it: it is a setting of {}", section.title)),
        None if members.is_empty() => problem("remove it".to_owned()),
        None => problem(format!("remove it, or use one of: {}", members.join(", "))),
    }
}

/// The word that was probably meant.
pub(crate) fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written: String = written.to_lowercase().chars().take(64).collect();
    let scored = words.map(|word| (strsim::damerau_levenshtein(&written, word), word));
    let (distance, word) = scored.min()?;
    // A third of the letters may be wrong, at most three: "chanels", "listn", "smart_host".
    (distance <= (word.len() / 3).clamp(1, 3)).then_some(word)
}
