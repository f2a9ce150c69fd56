//! The configuration as written: TOML with spans, environment variables laid over it.
//!
//! A file's syntax errors do not stop the reading: the parser recovers, so that one run shows every problem.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys;
use super::report::{Place, Problem};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) place: Place,
}

/// What was written.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Text(String),
    /// Digits as written and their radix.
    Integer(String, u32),
    Float,
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_place: Place,
    pub(super) node: Node,
}

impl Data {
    /// What people call it.
    pub(super) fn kind_words(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(..) => "a whole number",
            Self::Float => "a decimal number",
            Self::Flag(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a file's text. Answers what could be read, and its syntax errors.
pub(super) fn parse(text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors.iter().take(SYNTAX_ERRORS_MAX).map(|error| syntax_problem(error, text)).collect();
    (entries(table.get_ref(), &Where::Spans), problems)
}

/// A broken quote can make an error of every line after it; nobody reads more than these.
const SYNTAX_ERRORS_MAX: usize = 20;

fn syntax_problem(error: &toml::de::Error, text: &str) -> Problem {
    let place = error.span().map_or(Place::File, Place::Span);
    if error.message() == "duplicate key" {
        let name = match &place {
            Place::Span(span) => text.get(span.clone()).unwrap_or("a key").to_owned(),
            _ => "a key".to_owned(),
        };
        let message = format!("`{name}` is set a second time in the same table");
        return Problem::error("duplicate-key", message, place, "keep one of them");
    }
    let message = format!("this is not TOML: {}", error.message());
    Problem::error(
        "syntax",
        message,
        place,
        "texts stand in \"quotes\", lists in [brackets], a table begins with [name]",
    )
}

/// Which places the nodes of a parsed piece get.
enum Where<'a> {
    /// Their own spans in the file.
    Spans,
    /// The variable that the piece came from.
    Variable(&'a str),
}

impl Where<'_> {
    fn of<T>(&self, spanned: &Spanned<T>) -> Place {
        match self {
            Self::Spans => Place::Span(spanned.span()),
            Self::Variable(name) => Place::Variable((*name).to_owned()),
        }
    }
}

fn entries(table: &DeTable<'_>, places: &Where<'_>) -> Vec<Entry> {
    let entry = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| Entry {
        name: name.get_ref().to_string(),
        name_place: places.of(name),
        node: node(value, places),
    };
    table.iter().map(entry).collect()
}

fn node(value: &Spanned<DeValue<'_>>, places: &Where<'_>) -> Node {
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(integer) => Data::Integer(integer.as_str().to_owned(), integer.radix()),
        DeValue::Float(_) => Data::Float,
        DeValue::Boolean(flag) => Data::Flag(*flag),
        DeValue::Datetime(_) => Data::Date,
        DeValue::Array(items) => Data::List(items.iter().map(|item| node(item, places)).collect()),
        DeValue::Table(table) => Data::Table(entries(table, places)),
    };
    Node { data, place: places.of(value) }
}

/// Prefix of variables that override a setting.
pub(super) const PREFIX: &str = "FAXWELL_";

/// Variables with the prefix that are no settings: what commands and logs read themselves.
const NO_SETTINGS: &[&str] = &["FAXWELL_CONFIG", "FAXWELL_DATA", "FAXWELL_LOG", "FAXWELL_LOG_FORMAT", "FAXWELL_BLESS"];

/// Lays the variables over the tree, in the order of their names.
pub(super) fn lay_over(root: &mut Vec<Entry>, variables: &[(String, String)], problems: &mut Vec<Problem>) {
    let mut variables: Vec<_> = variables.iter().filter(|(name, _)| is_setting(name)).collect();
    variables.sort();
    for (name, value) in variables {
        let steps: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        if steps.iter().any(String::is_empty) || steps.len() > 8 {
            let fix = "join table and key by two underscores, as in FAXWELL_SMTP__LISTEN";
            problems.push(Problem::error(
                "unknown-key",
                format!("{name} names no setting"),
                Place::Variable(name.clone()),
                fix,
            ));
            continue;
        }
        set(root, &steps, "", name, value);
    }
}

/// What debug builds read for their tests ([`crate::fault`]); a release build refuses them.
#[cfg(debug_assertions)]
const FAULTS: &[&str] = &["FAXWELL_CRASH_AT", "FAXWELL_FAULT"];
#[cfg(not(debug_assertions))]
const FAULTS: &[&str] = &[];

fn is_setting(name: &str) -> bool {
    let known = NO_SETTINGS.contains(&name) || FAULTS.contains(&name);
    name.starts_with(PREFIX) && !known
}

fn set(table: &mut Vec<Entry>, steps: &[String], path: &str, variable: &str, value: &str) {
    let Some((step, rest)) = steps.split_first() else { return };
    let place = Place::Variable(variable.to_owned());
    // A variable's name has neither hyphens nor lower case: an existing name that differs only there is meant.
    let same = |entry: &Entry| entry.name.to_lowercase().replace(['-', '.'], "_") == *step;
    let at = table.iter().position(same).unwrap_or_else(|| {
        let node = Node { data: Data::Table(Vec::new()), place: place.clone() };
        table.push(Entry { name: step.clone(), name_place: place.clone(), node });
        table.len() - 1
    });
    let entry = &mut table[at];
    let named = keys::join(path, &entry.name);
    let path =
        if keys::find(&named).is_some() || keys::section(&named).is_some() { named } else { keys::join(path, "*") };
    if rest.is_empty() {
        entry.node = variable_node(value, &path, variable);
        entry.name_place = place;
        return;
    }
    if !matches!(entry.node.data, Data::Table(_)) {
        entry.node = Node { data: Data::Table(Vec::new()), place };
    }
    if let Data::Table(inner) = &mut entry.node.data {
        set(inner, rest, &path, variable, value);
    }
}

/// A variable's text as a value: what the setting takes decides how it is read.
fn variable_node(value: &str, path: &str, variable: &str) -> Node {
    let place = Place::Variable(variable.to_owned());
    let text = |text: &str| Node { data: Data::Text(text.trim().to_owned()), place: place.clone() };
    let toml = || {
        let document = format!("value = {value}");
        let table = DeTable::parse(&document).ok()?;
        table.get_ref().get("value").map(|value| node(value, &Where::Variable(variable)))
    };
    let kind = keys::find(path).map(|key| key.kind);
    match kind {
        Some(keys::Kind::Texts(..) | keys::Kind::Words(_)) if !value.trim_start().starts_with('[') => {
            let items = value.split(',').filter(|item| !item.trim().is_empty()).map(text).collect();
            Node { data: Data::List(items), place }
        }
        Some(keys::Kind::Text(..) | keys::Kind::Word(_) | keys::Kind::Duration(..) | keys::Kind::Size(..)) => {
            text(value)
        }
        _ => toml().unwrap_or_else(|| text(value)),
    }
}
