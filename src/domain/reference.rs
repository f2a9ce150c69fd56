//! Generated parts of the reference: what stands between two marks of a page below `docs/reference/`.
//!
//! A test beside each table of the program makes the text and calls [`check`], so that page and program cannot differ.
//! A page that is stale fails the test, which prints the right text; `FAXWELL_WRITE_DOCS=1` writes it.

use std::path::Path;

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->";

/// Compares the generated part of `docs/reference/NAME`, whose whole text is `stored`, with `generated` (which ends
/// in a line end), or writes it.
///
/// # Panics
/// When the page is stale or has no marks.
pub(crate) fn check(name: &str, stored: &str, generated: &str) {
    if std::env::var_os("FAXWELL_WRITE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
        // Read anew: the prose around the marks may be younger than this binary.
        let now = std::fs::read_to_string(&path).unwrap();
        return std::fs::write(path, replaced(name, &now, generated)).unwrap();
    }
    let how = "write it with: FAXWELL_WRITE_DOCS=1 cargo test --lib docs_list";
    let fresh = replaced(name, stored, generated);
    assert!(fresh == stored, "docs/reference/{name} is stale; {how}\nIts generated part should be:\n{generated}");
}

/// The page with its generated part replaced.
fn replaced(name: &str, page: &str, generated: &str) -> String {
    let halves = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = halves.unwrap_or_else(|| panic!("docs/reference/{name} needs the lines\n{BEGIN}{END}"));
    format!("{head}{BEGIN}{generated}{END}{tail}")
}

/// A row of a table; a bar in a cell would end it.
pub(crate) fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
pub(crate) fn head(cells: &[&str]) -> String {
    format!("{}{}", row(cells), row(&vec!["---"; cells.len()]))
}

#[test]
fn only_what_stands_between_the_marks_is_replaced() {
    let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
    assert_eq!(replaced("page.md", &page, "new\n"), page.replace("old", "new"));
    assert_eq!(head(&["a|b", "c"]), "| a\\|b | c |\n| --- | --- |\n");
}
