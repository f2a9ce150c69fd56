//! Who may import whom, read from the sources.
//!
//! `commands → stages → services → domain`; stages never import one another, leaf crates never import the root, SQL is
//! written in `store` alone, and `unsafe` in the one crate that binds C.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const STAGES: &[&str] = &["intake", "render", "line", "deliver", "console", "maintain"];
const SERVICES: &[&str] =
    &["mail", "documents", "store", "work", "telemetry", "config", "lifecycle", "proxy", "senders"];

/// Every Rust source below a folder, with its text.
fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{below} has no sources");
    found
}

/// The top-level module that a file of the root crate belongs to.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without comments, so that prose may name anything.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Modules of the root crate that a text names as `crate::module`, groups `crate::{a, b}` included.
fn imports(text: &str) -> Vec<String> {
    let code = code(text);
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let mut depth = 0;
        let group = rest.strip_prefix('{').map(|inner| {
            inner
                .chars()
                .take_while(|c| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth >= 0
                })
                .collect::<String>()
        });
        for item in group.as_deref().unwrap_or(rest).split(',').take(if group.is_some() { usize::MAX } else { 1 }) {
            names.push(item.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

fn forbidden(module: &str) -> Vec<&'static str> {
    let all = |lists: &[&[&'static str]]| lists.concat();
    if module == "domain" {
        all(&[STAGES, SERVICES, &["commands"]])
    } else if SERVICES.contains(&module) {
        all(&[STAGES, &["commands"]])
    } else if STAGES.contains(&module) {
        let mut others = all(&[STAGES, &["commands"]]);
        others.retain(|other| *other != module);
        others
    } else {
        Vec::new()
    }
}

#[test]
fn imports_point_downwards_and_stages_do_not_know_one_another() {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        *seen.entry(module.clone()).or_default() += 1;
        let forbidden = forbidden(&module);
        wrong.extend(
            imports(&text)
                .into_iter()
                .filter(|name| forbidden.contains(&name.as_str()))
                .map(|name| format!("{} imports {name}", path.display())),
        );
    }
    for module in STAGES.iter().chain(SERVICES).chain(&["commands", "domain"]) {
        assert!(seen.contains_key(*module), "{module} is gone: correct the lists of this test");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sql_is_written_in_the_store_alone() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        if module_of(&path) != "store" && code(&text).contains("sqlx::") {
            wrong.push(path);
        }
    }
    for folder in [
        "crates/smtp",
        "crates/fax-image",
        "crates/foip",
        "crates/outlook",
        "crates/pages",
        "crates/pdf-bits",
        "crates/spandsp",
    ] {
        wrong.extend(sources(folder).into_iter().filter(|(_, text)| code(text).contains("sqlx")).map(|(path, _)| path));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn leaf_crates_know_nothing_of_the_root_and_only_foip_and_pages_stand_on_others() {
    let allowed: &[(&str, &[&str])] = &[
        ("smtp", &[]),
        ("fax-image", &[]),
        ("outlook", &[]),
        ("spandsp", &["fax-image"]),
        ("foip", &["fax-image", "spandsp"]),
        ("pdf-bits", &["fax-image"]),
        ("pages", &["fax-image", "pdf-bits"]),
    ];
    let ours: Vec<&str> = allowed.iter().map(|(name, _)| *name).chain(["faxwell"]).collect();
    for (name, may_use) in allowed {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates").join(name).join("Cargo.toml");
        for line in fs::read_to_string(&manifest).unwrap().lines() {
            let dependency = line.split(['=', '.']).next().unwrap_or("").trim();
            let is_ours = line.contains("workspace = true") && ours.contains(&dependency);
            assert!(!is_ours || may_use.contains(&dependency), "{name} uses {dependency}");
        }
    }
}

#[test]
fn unsafe_code_is_in_the_crate_that_binds_c_alone() {
    for folder in [
        "src",
        "crates/smtp",
        "crates/fax-image",
        "crates/foip",
        "crates/outlook",
        "crates/pages",
        "crates/pdf-bits",
        "tests",
    ] {
        for (path, text) in sources(folder) {
            if path.ends_with("tests/architecture.rs") {
                continue;
            }
            let code = code(&text);
            assert!(!code.contains("unsafe {") && !code.contains("unsafe fn"), "{}", path.display());
        }
    }
}

#[test]
fn rsipstack_appears_behind_its_adapter_alone() {
    for (path, text) in sources("crates/foip/src") {
        let adapter = path.components().any(|part| part.as_os_str() == "sip") || path.ends_with("sip.rs");
        assert!(adapter || !code(&text).contains("rsipstack::"), "{}", path.display());
    }
}
