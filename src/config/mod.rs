//! Configuration: a TOML file (or none: the sandbox), environment overrides on top, one typed tree out.
//!
//! ```text
//! text ─ tree (TOML with spans) ─ variables laid over ─ check (along the table `keys`) ─ build ─► Config
//!                                                          └── every problem, with place and fix ─► Problems
//! ```
//! Every problem of a file is reported at once, each with its place, a suggestion and a fix; a file with a problem
//! changes nothing. `model` is the tree that the stages see, `keys` the one table of settings and defaults.

mod build;
mod check;
pub mod dialplan;
mod example;
pub mod forbidden;
pub mod inbound;
pub mod keys;
pub mod model;
pub mod report;
pub mod retry;
mod sandbox;
pub mod senders;
mod tree;
pub mod values;

#[cfg(test)]
mod golden;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use check::nearest;
pub use example::example;
pub use model::*;
pub use report::{Problem, Problems, Severity};
pub use sandbox::Ports;

/// Where a configuration comes from besides its file.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The environment: `FAXWELL_…` overrides, and what `{ env = … }` names.
    pub variables: Vec<(String, String)>,
    /// `--data` or `FAXWELL_DATA`: wins over the file.
    pub data: Option<PathBuf>,
}

/// A configuration that may be used.
#[derive(Debug)]
pub struct Loaded {
    /// The typed tree.
    pub config: Config,
    /// Every setting with its value and origin, in the order of the table of settings.
    pub effective: Vec<Effective>,
    /// Warnings.
    pub warnings: Problems,
}

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// Its path, as in `sip.trunk1.channels`.
    pub key: String,
    /// Its value as TOML; secrets only by their source; none when it is not set and has no default.
    pub value: Option<String>,
    /// `faxwell.toml:12`, `default`, or the environment variable.
    pub origin: String,
}

/// Largest configuration file, octets: a mistaken path is not read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads and checks a file.
pub fn load(path: &Path, around: &Around) -> Result<Loaded, Box<Problems>> {
    let name = path.display().to_string();
    let unreadable = |why: String| {
        let fix = "name a readable file with --config, or leave it out for the sandbox";
        let problem =
            Problem::error("unreadable", format!("cannot read the configuration: {why}"), report::Place::File, fix);
        Box::new(Problems { file: name.clone(), text: String::new(), list: vec![problem] })
    };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("not a file of at most {FILE_BYTES_MAX} octets")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = std::path::absolute(folder).map_err(|error| unreadable(error.to_string()))?;
    load_text(&name, &text, &folder, around)
}

/// Checks a text that was read from `name`; relative paths begin at `folder`.
pub fn load_text(name: &str, text: &str, folder: &Path, around: &Around) -> Result<Loaded, Box<Problems>> {
    let (mut root, mut problems) = tree::parse(text);
    let broken = problems.iter().any(|problem| problem.code == "syntax");
    tree::lay_over(&mut root, &around.variables, &mut problems);
    let world = check::World { text, folder, variables: &around.variables };
    let mut checked = check::check(&root, &world);
    let host = host_name();
    let surroundings = build::Surroundings { folder, data: around.data.as_deref(), host: &host };
    let config = build::build(&mut checked, &surroundings);
    // What the parser could not read may be what seems to be missing.
    checked
        .problems
        .retain(|problem| !broken || (problem.code != "missing-key" && problem.severity == Severity::Error));
    let broken_lines: Vec<usize> = problems.iter().filter_map(|problem| line_of(problem, text)).collect();
    checked.problems.retain(|problem| line_of(problem, text).is_none_or(|line| !broken_lines.contains(&line)));
    problems.append(&mut checked.problems);
    let mut problems = Problems { file: name.to_owned(), text: text.to_owned(), list: problems };
    problems.sort();
    if problems.counts().0 > 0 {
        return Err(Box::new(problems));
    }
    let effective = effective(&checked, &config, &problems);
    Ok(Loaded { config, effective, warnings: problems })
}

/// The line a problem stands on, from 0.
fn line_of(problem: &Problem, text: &str) -> Option<usize> {
    match &problem.place {
        report::Place::Span(span) => {
            Some(text.as_bytes().iter().take(span.start).filter(|octet| **octet == b'\n').count())
        }
        _ => None,
    }
}

/// The sandbox: everything on loopback, below one directory, with variables on top.
pub fn load_sandbox(data: &Path, ports: Ports, around: &Around) -> Result<Loaded, Box<Problems>> {
    let around = Around { variables: around.variables.clone(), data: Some(data.to_owned()) };
    load_text(sandbox::NAME, &sandbox::text(ports), data, &around)
}

impl Config {
    /// The sandbox that needs no file: domain fax.local, SMTP, web and the pretend fax machine on `first_port`,
    /// `first_port + 1` and `first_port + 2` of 127.0.0.1, everything written below `data`.
    pub fn sandbox(data: PathBuf, first_port: u16) -> Self {
        let loaded = load_sandbox(&data, Ports::from_first(first_port), &Around::default());
        loaded.expect("the sandbox's configuration has no problem for any port, a test checks it").config
    }
}

/// Every setting: those of the table, and those of named tables once for each name.
fn effective(checked: &check::Checked, config: &Config, problems: &Problems) -> Vec<Effective> {
    let mut list = Vec::new();
    for key in keys::KEYS.iter().filter(|key| !matches!(key.status, keys::Status::Refused(..))) {
        for path in real_paths(key.path, config) {
            list.push(effective_one(key, path, checked, config, problems));
        }
    }
    list
}

fn effective_one(
    key: &keys::Key,
    path: String,
    checked: &check::Checked,
    config: &Config,
    problems: &Problems,
) -> Effective {
    if path == "data" {
        // --data and FAXWELL_DATA win, so that the tree and not the file says what is in force.
        let value = Some(toml::Value::String(config.data.display().to_string()).to_string());
        let written = checked.values.get("data").and_then(|found| found.place.as_ref());
        let origin = match written {
            Some(place) => problems.place_words(place),
            None if value.as_deref() == key.default => "default".to_owned(),
            None => "--data or FAXWELL_DATA".to_owned(),
        };
        return Effective { key: path, value, origin };
    }
    match checked.values.get(&path) {
        Some(found) => {
            let origin = found.place.as_ref().map_or_else(|| "default".to_owned(), |place| problems.place_words(place));
            Effective { value: Some(build::shown(&found.value, key.kind)), key: path, origin }
        }
        None => Effective { value: key.default.map(str::to_owned), key: path, origin: "default".to_owned() },
    }
}

fn real_paths(pattern: &str, config: &Config) -> Vec<String> {
    let named = |table: &str, rest: &str, names: Vec<&String>| {
        names.iter().map(|name| format!("{table}{name}{rest}")).collect()
    };
    if let Some(rest) = pattern.strip_prefix("sip.*") {
        named("sip.", rest, config.sip.keys().collect())
    } else if let Some(rest) = pattern.strip_prefix("dial.route.*") {
        named("dial.route.", rest, config.dial.routes.keys().collect())
    } else if let Some(rest) = pattern.strip_prefix("inbound.route.*") {
        named("inbound.route.", rest, config.inbound.routes.keys().collect())
    } else if let Some(rest) = pattern.strip_prefix("inbound.did.*") {
        named("inbound.did.", rest, config.inbound.did.keys().collect())
    } else if let Some(rest) = pattern.strip_prefix("account.*") {
        named("account.", rest, config.senders.accounts.keys().collect())
    } else if let Some(rest) = pattern.strip_prefix("sender.*") {
        // An entry of smtp.relay is a sender too, and no table.
        let tables = config.senders.senders.keys().filter_map(|name| name.strip_prefix("sender:"));
        tables.map(|name| format!("sender.{name}{rest}")).collect()
    } else {
        vec![pattern.to_owned()]
    }
}

/// The machine's name, or `faxwell` when it has none that can be a node's name.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if values::name(&name).is_ok() { name } else { "faxwell".to_owned() }
}
