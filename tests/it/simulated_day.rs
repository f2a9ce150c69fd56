//! The simulation of a day: its model holds what it promises, and the table that the documentation shows can be made.

use std::path::Path;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/perf/simulate-day");
    let python = Command::new("python3").arg("-B").arg(script).args(arguments).output();
    python.expect("python3 is there: tools/install-packages installs it")
}

fn text(output: &Output) -> String {
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    told.into_owned()
}

#[test]
fn a_simulated_day_loses_nothing_doubles_nothing_and_passes_no_limit() {
    let told = text(&simulate(&["--check"]));
    assert!(told.contains("nothing lost, nothing twice, no limit passed"), "{told}");
}

#[test]
fn the_same_seed_gives_the_same_table_and_another_one_another() {
    let table = |seed| text(&simulate(&["--faxes", "2k", "--seed", seed, "--lose", "agent"]));
    let first = table("7");
    assert!(first.contains("| 2k | 2k, agent lost |"), "{first}");
    assert_eq!(first, table("7"));
    assert_ne!(first, table("8"));
}

#[test]
fn a_number_of_faxes_out_of_range_is_refused_with_the_range() {
    let refused = simulate(&["--faxes", "99M"]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("99M: expected 100 to 10M"), "{told}");
}
