//! `docs/dialplan.md` lists the applications as their entries describe them.
#![allow(clippy::unwrap_used, reason = "test code")]

const HEADING: &str = "## Applications\n";

/// `UPDATE_GOLDEN=1 cargo test` writes the list anew.
#[test]
fn the_documentation_lists_every_application() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/dialplan.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, list) = page.split_once(HEADING).unwrap();
    let mut expected = String::new();
    for entry in dialplan::app::APPLICATIONS {
        expected.push_str(&format!("\n### {}\n\n{}\n", entry.name, entry.summary));
        if !entry.arguments.is_empty() {
            expected.push('\n');
        }
        for argument in entry.arguments {
            expected.push_str(&format!("* {}: {}\n", argument.name, argument.reading));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{before}{HEADING}{expected}")).unwrap();
        return;
    }
    assert_eq!(list, expected, "run UPDATE_GOLDEN=1 cargo test -p dialplan");
}
