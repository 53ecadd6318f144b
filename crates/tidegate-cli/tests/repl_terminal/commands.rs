//! Meta commands.

use crate::pty::*;
use crate::{data, open, script};

#[test]
fn help_lists_the_commands_and_tells_of_one() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".pager off");
    for command in [".help", "\\?"] {
        let shown = terminal.run(command);
        assert!(
            shown.contains(".tables") && shown.contains(".quit"),
            "{shown}"
        );
    }
    let shown = terminal.run(".help timer");
    assert!(
        shown.contains("how long it took") && shown.contains("\\timing"),
        "{shown}"
    );
}

#[test]
fn an_unknown_command_has_a_suggestion() {
    let dir = data();
    let terminal = open(dir.path());
    let shown = terminal.run(".tabels");
    assert!(shown.contains("no command `.tabels`"), "{shown}");
    assert!(shown.contains("did you mean `.tables`?"), "{shown}");
}

#[test]
fn tables_and_schema() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("create view seen as select 1 as a, 'x' as b;");
    for command in [".tables", "\\dt", ".tables see"] {
        assert!(terminal.run(command).contains("seen"), "{command}");
    }
    for command in [".schema seen", "\\d seen"] {
        let shown = terminal.run(command);
        assert!(
            shown.contains("BIGINT") && shown.contains("VARCHAR"),
            "{shown}"
        );
    }
    let shown = terminal.run(".schema 'zones.csv'");
    assert!(shown.contains("zone_name"), "{shown}");
    assert!(terminal.run(".schema").contains("needs a table"));
}

#[test]
fn modes_and_null_and_expanded() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".mode csv");
    let shown = terminal.run("select 1 as a, null as b;");
    assert!(shown.starts_with("a,b\n1,"), "{shown}");
    terminal.run("\\pset format json");
    assert!(terminal.run("select 1 as a;").contains("\"a\":1"));
    let shown = terminal.run(".mode jsno");
    assert!(shown.contains("did you mean `json`?"), "{shown}");
    terminal.run(".mode table");
    terminal.run(".null nothing");
    assert!(terminal.run("select null as b;").contains("nothing"));
    terminal.run("\\x on");
    assert!(terminal.run("select 77 as wide;").contains("wide = 77"));
    terminal.run("\\x off");
    assert!(!terminal.run("select 77 as wide;").contains("wide = 77"));
}

#[test]
fn a_binary_format_is_not_for_the_screen() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".mode arrow");
    let shown = terminal.run("select 1 as a;");
    assert!(shown.contains("not for a terminal"), "{shown}");
    terminal.run(".once a.arrow");
    assert!(terminal.run("select 1 as a;").contains("1 row"));
    assert!(dir.path().join("a.arrow").exists());
}

#[test]
fn output_and_once_write_files() {
    let dir = data();
    let terminal = open(dir.path());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    terminal.run(".once one.csv");
    let shown = terminal.run("select 5 as five;");
    assert!(shown.contains("one.csv"), "{shown}");
    assert_eq!(read("one.csv"), "five\n5\n");
    assert!(terminal.run("select 8 * 8 as x;").contains("64"));
    terminal.run(".output many.ndjson");
    terminal.run("select 1 as a;");
    terminal.run("select 2 as a;");
    terminal.run(".output");
    assert_eq!(read("many.ndjson"), "{\"a\":1}\n{\"a\":2}\n");
    assert!(terminal.run("select 9 * 9 as x;").contains("81"));
    let shown = terminal.run(".once nowhere/at/all.csv");
    assert!(shown.contains("no directory"), "{shown}");
}

#[test]
fn a_failed_query_leaves_the_file_of_once_as_it_was() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".once zones.csv");
    terminal.run("select no_such_column from 'trips.csv';");
    let text = std::fs::read_to_string(dir.path().join("zones.csv")).unwrap();
    assert!(text.starts_with("zone_id"), "{text}");
}

#[test]
fn read_runs_a_file_up_to_its_first_error() {
    let dir = data();
    std::fs::write(
        dir.path().join("good.sql"),
        "-- two statements\nselect 1000 + 1 as a;\n.mode csv\nselect 2000 + 2 as b",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("bad.sql"),
        "select 3000 + 3 as a;\nselect oops from 'zones.csv';\nselect 4000 + 4 as b;",
    )
    .unwrap();
    std::fs::write(dir.path().join("loop.sql"), ".read loop.sql").unwrap();
    let terminal = open(dir.path());
    let shown = terminal.run(".read good.sql");
    assert!(shown.contains("1001") && shown.contains("2002"), "{shown}");
    let shown = terminal.run("\\i bad.sql");
    assert!(
        shown.contains("3003") && shown.contains("error:"),
        "{shown}"
    );
    assert!(!shown.contains("4004"), "{shown}");
    assert!(terminal.run(".read loop.sql").contains("read one another"));
    assert!(
        terminal
            .run(".read none.sql")
            .contains("no file `none.sql`")
    );
}

#[test]
fn timer_tells_the_time() {
    let dir = data();
    let terminal = open(dir.path());
    assert!(!terminal.run("select 1 as a;").contains("time:"));
    terminal.run(".timer on");
    assert!(terminal.run("select 1 as a;").contains("time: 0."));
    terminal.run("\\timing off");
    assert!(!terminal.run("select 1 as a;").contains("time:"));
}

#[test]
fn edit_brings_the_statement_of_the_editor_to_the_prompt() {
    let dir = data();
    let editor = script(
        dir.path(),
        "editor",
        "grep -q 'select 1' \"$1\" && echo 'select 500 + 5 as edited;' > \"$1\"",
    );
    let start = Start {
        environment: vec![("EDITOR", editor)],
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    terminal.run("select 1 as a;");
    let before = terminal.prompt_count();
    terminal.keys("\\e\r");
    terminal.expect_line("tidegate> select 500 + 5 as edited;");
    terminal.keys(ENTER);
    terminal.prompts(before + 2);
    assert!(terminal.text().contains("505"));
}

#[test]
fn edit_takes_a_statement_that_is_being_typed() {
    let dir = data();
    let editor = script(dir.path(), "editor", "echo '600 + 6 as x;' >> \"$1\"");
    let start = Start {
        environment: vec![("VISUAL", editor)],
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    terminal.keys("select\r");
    terminal.expect_line("      ->");
    terminal.keys(".edit\r");
    terminal.expect_line("600 + 6 as x;");
    terminal.keys(ENTER);
    terminal.expect(" 606 ");
}

#[test]
fn an_editor_that_is_not_there_is_told() {
    let dir = data();
    let start = Start {
        environment: vec![("EDITOR", "no-such-editor-anywhere".into())],
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let shown = terminal.run(".edit");
    assert!(
        shown.contains("cannot start `no-such-editor-anywhere`"),
        "{shown}"
    );
}

#[test]
fn explain_shows_a_plan() {
    let dir = data();
    let terminal = open(dir.path());
    assert!(terminal.run(".explain").contains("no last one yet"));
    let shown = terminal.run(".explain select * from 'zones.csv'");
    assert!(
        shown.to_lowercase().contains("zones") || shown.contains("scan"),
        "{shown}"
    );
    terminal.run("select 1 as a;");
    assert!(!terminal.run(".explain").is_empty());
}

#[test]
fn parameters_are_listed() {
    let dir = data();
    let terminal = open(dir.path());
    assert!(terminal.run(".params").contains("no parameters"));
    terminal.run(".params city='New York' year=2026");
    let shown = terminal.run(".params");
    assert!(
        shown.contains("New York") && shown.contains("2026"),
        "{shown}"
    );
    assert!(terminal.run(".params nonsense").contains("not a parameter"));
}

#[test]
fn width_fits_tables_to_less_than_the_screen() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".width 40");
    let shown = terminal.run("select repeat('x', 80) as long_one;");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 40),
        "{shown}"
    );
    assert!(terminal.run(".width").contains("40"));
    assert!(terminal.run(".width wide").contains("number of columns"));
}
