//! What is offered at a `|` in a statement.

#![allow(clippy::unwrap_used)]

use super::*;

fn names() -> Names {
    Names::fixed(
        &[
            ("trips", &["zone", "fare", "Pickup Time"]),
            ("zones", &["id", "name"]),
            ("data/a.csv", &["alpha", "beta"]),
        ],
        &["sum", "substr", "count"],
    )
}

/// Completes at the `|`; gives what the line becomes for each candidate.
fn check(text: &str, expect: &[&str]) {
    let pos = text.find('|').unwrap();
    let line = text.replace('|', "");
    let (start, found) = complete("", &line, pos, &names());
    let lines: Vec<String> = found
        .iter()
        .map(|c| format!("{}{}", &line[..start], c.text))
        .collect();
    assert_eq!(lines, expect, "{text}");
}

fn offers(text: &str, expect: &str) {
    let pos = text.find('|').unwrap();
    let line = text.replace('|', "");
    let (_, found) = complete("", &line, pos, &names());
    let texts: Vec<&str> = found.iter().map(|c| c.text.as_str()).collect();
    assert!(texts.contains(&expect), "{text}: {texts:?}");
}

#[test]
fn a_statement_starts_with_its_words() {
    check("sel|", &["select"]);
    check("SUM|", &["SUMMARIZE"]);
    check("select 1; desc|", &["select 1; describe"]);
    check("explain sel|", &["explain select"]);
}

#[test]
fn tables_follow_from_and_join() {
    check("select * from tr|", &["select * from trips"]);
    check(
        "select * from trips join z|",
        &["select * from trips join zones"],
    );
    check("select * from trips, z|", &["select * from trips, zones"]);
    check("select * from read_|", &["select * from read_csv("]);
    check("select * from gen|", &["select * from generate_series("]);
    check("describe tr|", &["describe trips"]);
}

#[test]
fn columns_are_those_of_the_tables_of_the_statement_also_after_the_cursor() {
    check("select zo| from trips", &["select zone"]);
    check(
        "select * from zones where nam|",
        &["select * from zones where name"],
    );
    offers("select pick| from trips", "\"Pickup Time\"");
    check(
        "select al| from 'data/a.csv'",
        &["select all", "select alpha"],
    );
    offers("select be| from read_csv('data/a.csv', delim=',')", "beta");
    offers("select | from zones", "id");
}

#[test]
fn an_alias_stands_for_its_table() {
    check("select t.fa| from trips t", &["select t.fare"]);
    check("select trips.fa| from trips", &["select trips.fare"]);
    check(
        "select z.| from trips t join zones as z on true",
        &["select z.id", "select z.name"],
    );
}

#[test]
fn functions_come_with_their_bracket() {
    check("select subs| from trips", &["select substr("]);
    offers("select co| from trips", "count(");
}

#[test]
fn settings_follow_set_and_their_values_the_sign() {
    check("set memo|", &["set memory_limit"]);
    check("set tidegate.memo|", &["set tidegate.memory_limit"]);
    check("show max|", &["show max_rows"]);
    check("set pager = n|", &["set pager = never"]);
    check("set format to mark|", &["set format to markdown"]);
    check(
        "set no_network = o|",
        &["set no_network = off", "set no_network = on"],
    );
    check("set threads = |", &[]);
}

#[test]
fn meta_commands_and_their_arguments() {
    check(".tab|", &[".tables"]);
    check("\\dt|", &["\\dt"]);
    check(".mode mark|", &[".mode markdown"]);
    check(".timer o|", &[".timer off", ".timer on"]);
    check(".schema zon|", &[".schema zones"]);
    check(".help ti|", &[".help timer"]);
    check(".explain select nam| from zones", &[".explain select name"]);
    check(".nothing a|", &[]);
}

#[test]
fn quotes_keep_their_own_kind() {
    check("select \"Pick| from trips", &["select \"Pickup Time\""]);
    check("select 'abc' |-- x", &[]);
    check("select 1 -- sel|", &[]);
}

#[test]
fn a_word_of_an_earlier_line_is_left_alone_and_its_tables_count() {
    let (start, found) = complete("select *\nfrom zones\n", "where nam", 9, &names());
    assert_eq!((start, found[0].text.as_str()), (6, "name"));
    assert_eq!(complete("select 'da", "ta", 2, &names()).1, vec![]);
}

#[test]
fn files_are_completed_inside_quotes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("it's.csv"), "").unwrap();
    std::fs::write(path.join("many words.csv"), "").unwrap();
    std::fs::create_dir(path.join("part")).unwrap();
    std::fs::write(path.join(".hidden"), "").unwrap();
    let at = path.display();
    check(
        &format!("select * from '{at}/it|"),
        &[&format!("select * from '{at}/it''s.csv'")],
    );
    check(
        &format!("select * from '{at}/pa|"),
        &[&format!("select * from '{at}/part/")],
    );
    check(
        &format!(".read {at}/ma|"),
        &[&format!(".read '{at}/many words.csv'")],
    );
    check(
        &format!(".schema {at}/ma|"),
        &[&format!(".schema '{at}/many words.csv'")],
    );
    check(
        &format!(".schema '{at}/pa|"),
        &[&format!(".schema '{at}/part/")],
    );
    check(&format!(".tables {at}/pa|"), &[]);
    check(
        &format!("select * from read_csv('{at}/pa|"),
        &[&format!("select * from read_csv('{at}/part/")],
    );
    let (_, found) = complete(
        "",
        &format!("from '{at}/"),
        at.to_string().len() + 7,
        &names(),
    );
    let shown: Vec<&str> = found.iter().map(|c| c.shown.as_str()).collect();
    assert_eq!(shown, ["it's.csv", "many words.csv", "part/"]);
}
