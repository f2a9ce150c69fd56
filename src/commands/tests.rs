//! The command tree, and what commands print and answer against a socket.

use clap::CommandFactory as _;

use super::client::Client;
use super::exit::Exit;
use super::*;

fn walk<'a>(command: &'a clap::Command, path: &str, visit: &mut impl FnMut(&str, &'a clap::Command)) {
    visit(path, command);
    for sub in command.get_subcommands() {
        walk(sub, &format!("{path} {}", sub.get_name()), visit);
    }
}

#[test]
fn the_tree_of_commands_is_the_one_that_is_documented() {
    let mut tree = String::new();
    let root = Cli::command();
    walk(&root, "faxwell", &mut |path, command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let hidden = if command.is_hide_set() { " (hidden)" } else { "" };
        tree.push_str(&format!("{path}{hidden}: {about}\n"));
        for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
            let name = argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"));
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{path} {name} has no help");
            tree.push_str(&format!("    {name}: {help}\n"));
        }
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commands/tree.expected");
    if std::env::var_os("FAXWELL_BLESS").is_some() {
        std::fs::write(path, &tree).unwrap();
    }
    assert_eq!(tree, std::fs::read_to_string(path).unwrap());
}

#[test]
fn every_command_has_an_example_that_parses() {
    let root = Cli::command();
    root.clone().debug_assert();
    let mut examples = Vec::new();
    walk(&root, "faxwell", &mut |path, command| {
        if command.get_subcommands().next().is_some() && path != "faxwell demo" || path == "faxwell converter" {
            return;
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = after
            .lines()
            .find_map(|line| line.strip_prefix("Example: "))
            .unwrap_or_else(|| panic!("{path} has no example"));
        assert!(example.starts_with(path), "{path}: {example}");
        examples.push(example.to_owned());
    });
    for example in examples {
        let words = example.split(['|', '>']).next().unwrap().split_whitespace().scan(None::<String>, quoted).flatten();
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

/// Joins words in single quotes, as a shell does.
fn quoted(open: &mut Option<String>, word: &str) -> Option<Option<String>> {
    Some(match open.take() {
        None if word.starts_with('\'') && !(word.len() > 1 && word.ends_with('\'')) => {
            *open = Some(word[1..].to_owned());
            None
        }
        None => Some(word.trim_matches('\'').to_owned()),
        Some(begun) if word.ends_with('\'') => Some(format!("{begun} {}", word.trim_end_matches('\''))),
        Some(begun) => {
            *open = Some(format!("{begun} {word}"));
            None
        }
    })
}

#[test]
fn a_wrong_command_line_is_a_usage_error_and_help_is_not() {
    let exit = |line: &str| main(line.split_whitespace().map(OsString::from));
    assert_eq!(exit("faxwell --nonsense"), ExitCode::from(2));
    assert_eq!(exit("faxwell fax list --limit 0"), ExitCode::from(2));
    assert_eq!(exit("faxwell --version"), ExitCode::from(0));
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_exit_four_with_cause_and_fix() {
    let dir = tempfile::tempdir().unwrap();
    let failed = Client::new(&dir.path().join("control.sock")).bytes("/livez").await.unwrap_err();
    assert_eq!(failed.exit, Exit::Unreachable);
    assert!(failed.to_string().contains("\ncause: ") && failed.to_string().contains("\nfix: "), "{failed}");
}

/// Serves one router over a socket and asks it as a command does.
async fn answer(status: u16, body: &'static str) -> Failed {
    use axum::http::StatusCode;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let router = axum::Router::new().fallback(move || async move { (StatusCode::from_u16(status).unwrap(), body) });
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(crate::console::serve(listener, router, stop.clone()));
    let answer = Client::new(&path).get::<serde_json::Value>("/x").await.unwrap_err();
    stop.cancel();
    serving.await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_becomes_the_exit_code_of_its_kind() {
    let problem = r#"{"type":"x","status":STATUS,"title":"t","cause":"c","fix":"f"}"#;
    for (status, exit) in [
        (400, Exit::Usage),
        (403, Exit::NotAllowed),
        (404, Exit::NotFound),
        (409, Exit::WrongState),
        (503, Exit::Failed),
    ] {
        let body: &'static str = problem.replace("STATUS", &status.to_string()).leak();
        let failed = answer(status, body).await;
        assert_eq!((failed.exit, failed.cause.as_str(), failed.fix.as_str()), (exit, "c", "f"), "{status}");
    }
    assert_eq!(answer(500, "not JSON").await.exit, Exit::Failed);
    assert_eq!(answer(200, "not JSON").await.exit, Exit::Failed);
}

/// An argument as it is typed, with its value.
fn typed(argument: &clap::Arg) -> String {
    let value = match argument.get_value_names() {
        Some(names) => names.join(" "),
        None => argument.get_id().to_string().to_uppercase(),
    };
    if argument.is_positional() {
        return value;
    }
    let names = [argument.get_short().map(|short| format!("-{short}")), argument.get_long().map(|l| format!("--{l}"))];
    let names: Vec<String> = names.into_iter().flatten().collect();
    let value = if argument.get_action().takes_values() { format!(" {value}") } else { String::new() };
    format!("{}{value}", names.join(", "))
}

fn argument_row(argument: &clap::Arg) -> String {
    let default = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let default: Vec<_> = default.filter(|value| !value.is_empty()).map(|value| format!("`{value}`")).collect();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    crate::domain::reference::row(&[&format!("`{}`", typed(argument)), &default.join(" "), &help])
}

/// The generated part of `docs/reference/commands.md`: a section a command.
fn commands_page() -> String {
    let mut page = String::new();
    walk(&Cli::command(), "faxwell", &mut |path, command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if command.is_hide_set() {
            return;
        }
        // The root's own arguments are those that every command takes.
        page.push_str(&match path {
            "faxwell" => "### Options of every command\n".to_owned(),
            _ => format!("### {path}\n{about}.\n\n"),
        });
        let rows: String = command
            .get_arguments()
            .filter(|argument| path == "faxwell" || !argument.is_global_set())
            .map(argument_row)
            .collect();
        if !rows.is_empty() {
            let heading = crate::domain::reference::head(&["argument", "default", "meaning"]);
            page.push_str(&format!("{heading}{rows}\n"));
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if let Some(example) = after.lines().find_map(|line| line.strip_prefix("Example: ")) {
            page.push_str(&format!("Example: `{example}`\n\n"));
        }
    });
    page
}

#[test]
fn docs_list_every_command() {
    let stored = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/commands.md"));
    crate::domain::reference::check("commands.md", stored, &commands_page());
}
