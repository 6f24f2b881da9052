//! Tables in `deploy/docs` that are written by this code: a test compares them, and writes them when it is told to
//! (`cargo xtask docs`).

use std::path::PathBuf;

/// Set to anything: tables that differ are written.
const WRITE: &str = "PALISADE_WRITE_DOCS";

/// The part of `deploy/docs/<file>` between `<!-- generated: <name> -->` and the next `<!-- end -->` is this.
pub fn is(file: &str, name: &str, table: &str) {
    // Cargo sets it for tests; the place at which the test was compiled may be gone.
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let path = here.join("../../deploy/docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    let (stored, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{file}: {name} has no end"));
    let table = format!("\n{}\n\n", table.trim());
    if stored == table {
        return;
    }
    assert!(
        std::env::var_os(WRITE).is_some(),
        "{file}: {name} is not what the code says; run `cargo xtask docs`\n{table}"
    );
    std::fs::write(&path, format!("{before}{begin}{table}<!-- end -->{after}")).unwrap();
}

/// A table of Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let owned = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut text = line(&owned(head));
    text += &line(&owned(&vec!["---"; head.len()]));
    // A bar ends a cell.
    for row in rows {
        text += &line(&row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>());
    }
    text
}
