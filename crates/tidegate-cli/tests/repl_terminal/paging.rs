//! The pager: what goes through it, all of it, and up to where.

use crate::pty::*;
use crate::{data, script};

/// A terminal of so many rows, whose pager counts and passes on what it is given.
fn with_pager(directory: &std::path::Path, text: &str, size: (u16, u16)) -> Terminal {
    let pager = script(directory, "pager", text);
    let start = Start {
        environment: vec![("PAGER", pager)],
        size,
        ..Start::default()
    };
    Terminal::open(directory, start)
}

#[test]
fn all_rows_of_a_table_go_to_the_pager() {
    let dir = data();
    let count = "echo rows: $(grep -c '│ *[0-9]')";
    let terminal = with_pager(dir.path(), count, (12, 80));
    let shown = terminal.run("select value from generate_series(1, 5000) as t(value);");
    assert!(shown.contains("rows: 5000"), "{shown}");
    assert!(shown.contains("5000 rows"), "{shown}");
    let shown = terminal.run("select sum(value) as s from _;");
    assert!(shown.contains("12502500"), "{shown}");
}

#[test]
fn a_result_too_large_to_keep_is_paged_as_it_comes() {
    let dir = data();
    let count = "echo rows: $(grep -c '│ *[0-9]')";
    let terminal = with_pager(dir.path(), count, (12, 80));
    terminal.run("set last_result_limit = '1KiB';");
    let shown = terminal.run("select value from generate_series(1, 20000) as t(value);");
    assert!(shown.contains("rows: 20000"), "{shown}");
}

#[test]
fn the_pager_shows_so_many_rows_as_a_setting_says() {
    let dir = data();
    let terminal = with_pager(dir.path(), "tail -n 3", (12, 80));
    terminal.run("set pager_rows = 100;");
    let query = "select value from generate_series(1, 5000) as t(value);";
    let shown = terminal.run(query);
    assert!(shown.contains("the first 100 of 5000 rows"), "{shown}");
    assert!(shown.contains("│    100 │"), "{shown}");
    terminal.run("set last_result_limit = '1KiB';");
    let shown = terminal.run("select value from generate_series(1, 100000000000) as t(value);");
    assert!(shown.contains("the first 100 rows"), "{shown}");
    assert!(terminal.run("select 4 * 111 as x;").contains("444"));
}

#[test]
fn leaving_the_pager_keeps_the_last_result() {
    let dir = data();
    let terminal = with_pager(dir.path(), "head -n 2; echo LEFT", (12, 80));
    let query = "select value, repeat('x', 30) as x from generate_series(1, 20000) as t(value);";
    let shown = terminal.run(query);
    assert!(
        shown.contains("LEFT") && !shown.contains("error"),
        "{shown}"
    );
    let shown = terminal.run("select count(*) + 1 as c from _;");
    assert!(shown.contains("20001"), "{shown}");
}

#[test]
fn a_tall_screen_leaves_out_no_rows_either() {
    let dir = data();
    let terminal = with_pager(dir.path(), "echo PAGED; grep -c '│ *[0-9]'", (60, 80));
    let query = "select value from generate_series(1, 1000) as t(value);";
    let shown = terminal.run(query);
    assert!(shown.contains("PAGED") && shown.contains("1000"), "{shown}");
    // More than head and tail have, and still no more than the screen.
    let shown = terminal.run("select value from generate_series(1, 45) as t(value);");
    assert!(!shown.contains("PAGED"), "{shown}");
    assert!(
        shown.contains("│     45 │") && shown.contains("│     22 │"),
        "{shown}"
    );
    terminal.run(".pager off");
    let shown = terminal.run(query);
    assert!(!shown.contains("PAGED"), "{shown}");
    assert!(shown.contains("40 of 1,000 rows"), "{shown}");
    terminal.run(".pager always");
    let shown = terminal.run("select value from generate_series(1, 3) as t(value);");
    assert!(shown.contains("PAGED"), "{shown}");
}

#[test]
fn less_scrolls_to_the_last_row() {
    let dir = data();
    let start = Start {
        size: (12, 80),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let before = terminal.prompt_count();
    terminal.keys("select value from generate_series(1, 3000) as t(value);\r");
    terminal.wait("less", |screen| screen.cursor_line().starts_with(':'));
    terminal.keys("G");
    terminal.expect("│   3000 │");
    terminal.keys("q");
    terminal.prompts(before + 1);
    assert!(terminal.text().contains("3000 rows"), "{}", terminal.text());
}

#[test]
fn help_is_paged_on_a_small_screen() {
    let dir = data();
    let terminal = with_pager(dir.path(), "echo PAGED; cat", (10, 80));
    assert!(terminal.run(".help").contains("PAGED"));
    assert!(!terminal.run(".help timer").contains("PAGED"));
}
