//! Bad files and what people are told about them: `tests/config/NAME.toml` and `NAME.expected`.
//!
//! A line `# env NAME=VALUE` at the top of a file sets a variable; `FAXWELL_BLESS=1` writes the expectations anew.

use std::path::{Path, PathBuf};

use super::{Around, load_text};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn outcome(name: &str, text: &str) -> String {
    let variable = |line: &str| {
        line.strip_prefix("# env ").and_then(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned()))
    };
    let around = Around { variables: text.lines().map_while(variable).collect(), data: None };
    match load_text(name, text, &folder(), &around) {
        Ok(loaded) => loaded.warnings.render(),
        Err(problems) => problems.render(),
    }
}

#[test]
fn every_bad_file_gets_all_its_problems_with_place_and_fix() {
    let bless = std::env::var_os("FAXWELL_BLESS").is_some();
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    names.sort();
    assert!(names.len() >= 40, "only {} bad files", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap();
        let got = outcome(name, &std::fs::read_to_string(&path).unwrap());
        assert!(!got.starts_with("no problems"), "{name} is not bad");
        assert_eq!(
            got.matches(" = fix: ").count(),
            got.matches("error[").count() + got.matches("warning[").count(),
            "{name}: a problem without a fix"
        );
        let expected_path = path.with_extension("expected");
        if bless {
            std::fs::write(&expected_path, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if got != expected {
            wrong.push(format!("== {name}: got\n{got}\n== expected\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn any_cut_of_a_good_file_is_an_answer_and_never_a_crash() {
    let good = super::example() + "\n[sip.ü]\nserver = '''x\n'''\n";
    for end in (0..good.len()).filter(|end| good.is_char_boundary(*end)).step_by(7) {
        let _ = outcome("cut.toml", &good[..end]);
    }
}

#[test]
fn a_secret_in_a_file_is_never_printed() {
    for line in ["password = \"hunter2\"", "password = [\"hunter2\"]", "pasword = \"hunter2\""] {
        let text = format!("domain = \"f.example\"\n[sip.a]\nserver = \"s\"\nnumber = \"+41440000000\"\n{line}\n");
        let out = outcome("secret.toml", &text);
        assert!(out.contains("error[") && !out.contains("hunter2"), "{out}");
    }
}
