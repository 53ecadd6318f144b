//! What users get wrong, and the exact line they read. `mistakes.txt` holds the cases: the
//! statement, and below it, indented, the error.

use super::*;

const CASES: &str = include_str!("mistakes.txt");

#[test]
fn mistakes_are_told_in_plain_words() {
    let mut actual = String::new();
    for case in CASES.split("\n\n").filter(|case| !case.trim().is_empty()) {
        let statement: Vec<&str> = case
            .lines()
            .filter(|line| !line.starts_with("    "))
            .collect();
        let text = statement.join("\n");
        let found = mistake(&text);
        for inside in [
            "Internal",
            "ptimizer rule",
            "Utf8",
            "Int64",
            "Expr",
            "DataFusion",
            "{",
            "::",
        ] {
            let quoted = text.contains(inside);
            assert!(quoted || !found.contains(inside), "{text}: {found}");
        }
        actual.push_str(&format!("{text}\n    {found}\n\n"));
    }
    let update = std::env::var_os("UPDATE_MISTAKES");
    if let Some(path) = update {
        std::fs::write(path, actual.trim_end().to_string() + "\n").unwrap();
        return;
    }
    let wanted: Vec<&str> = CASES.trim_end().lines().collect();
    let actual: Vec<&str> = actual.trim_end().lines().collect();
    let different: Vec<String> = wanted
        .iter()
        .zip(&actual)
        .filter(|(wanted, actual)| wanted != actual)
        .map(|(wanted, actual)| format!("- {wanted}\n+ {actual}"))
        .collect();
    assert!(
        different.is_empty() && wanted.len() == actual.len(),
        "{}",
        different.join("\n")
    );
}
