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

#[test]
fn read_takes_a_file_with_a_byte_order_mark() {
    let dir = data();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("marked.sql", "\u{feff}select 5000 + 5 as a;\n");
    write("command.sql", "\u{feff}.mode csv\nselect oops;\n");
    std::fs::write(dir.path().join("latin.sql"), b"select '\xe9';").unwrap();
    let terminal = open(dir.path());
    assert!(terminal.run(".read marked.sql").contains("5005"));
    let shown = terminal.run(".read command.sql");
    assert!(shown.contains("command.sql:2:8"), "{shown}");
    let shown = terminal.run(".read latin.sql");
    assert!(shown.contains("not UTF-8 at byte 8"), "{shown}");
}

#[test]
fn carets_of_commands_stand_under_the_word() {
    let dir = data();
    let terminal = open(dir.path());
    let caret_under = |line: &str, word: &str| {
        let shown = terminal.run(line);
        let at = |text: &str| shown.lines().rev().find_map(|line| line.find(text));
        let excerpt = shown.lines().find(|shown| shown.starts_with("1 | "));
        let place = excerpt.and_then(|line| line.rfind(word));
        assert_eq!(at("^"), place, "{shown}");
        assert!(place.is_some(), "{shown}");
    };
    caret_under(".explain select oops from 'zones.csv'", "oops");
    caret_under("  \\explain   select 1 one two", "two");
    caret_under(".explain analyze select oops from 'zones.csv'", "oops");
    caret_under(".explain verbose select 1; select oops", "oops");
    let shown = terminal.run(".schema nowhere");
    assert!(!shown.contains('^'), "{shown}");
}

#[test]
fn explain_takes_analyze_and_verbose() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run(".pager off");
    let query = "select zone_name from 'zones.csv' where zone_id > 1";
    let shown = terminal.run(&format!(".explain analyze {query}"));
    assert!(shown.contains("stage 0") && shown.contains("ms"), "{shown}");
    assert!(shown.contains("2 rows"), "{shown}");
    let shown = terminal.run(&format!(".explain VERBOSE {query};"));
    assert!(
        shown.contains("run again") && shown.contains("operators:"),
        "{shown}"
    );
    terminal.run(&format!("{query};"));
    assert!(terminal.run(".explain analyze").contains("2 rows"));
    let shown = terminal.run("explain (format graphviz) select 1;");
    assert!(shown.contains("digraph plan"), "{shown}");
}

#[test]
fn a_name_that_is_near_is_suggested_for_schema() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("create view zones as select 1 as a;");
    let shown = terminal.run(".schema zonse");
    assert!(shown.contains("no table or view `zonse`"), "{shown}");
    assert!(shown.contains("did you mean `zones`?"), "{shown}");
    let shown = terminal.run(".schema zonse.csv");
    assert!(shown.contains("did you mean `zones.csv`?"), "{shown}");
    assert!(terminal.run(".schema nested").contains("alpha"));
    assert!(
        terminal
            .run(".schema information_schema.columns")
            .contains("ordinal_position")
    );
    assert!(terminal.run("\\d").contains("zones"), "as in psql");
}

#[test]
fn bare_words_of_other_shells_are_understood() {
    let dir = data();
    for word in ["quit", "EXIT", "quit;", " exit "] {
        let mut terminal = open(dir.path());
        terminal.keys(&format!("{word}\r"));
        assert_eq!(terminal.ended().code(), Some(0), "{word}");
    }
    let terminal = open(dir.path());
    terminal.run(".pager off");
    assert!(terminal.run("help").contains(".tables"));
    terminal.keys("select 1 as a,\r");
    terminal.expect_line("      ->");
    terminal.keys("quit\r");
    terminal.expect("a statement is being typed; Ctrl-C drops it, then `.quit`");
    // Before the line is read again Ctrl-C is no key.
    terminal.expect_line("      ->");
    let before = terminal.prompt_count();
    terminal.keys(CTRL_C);
    terminal.prompts(before + 1);
    assert!(terminal.run("select 3 * 37 as x;").contains("111"));
}

#[test]
fn control_characters_of_data_do_not_reach_the_terminal() {
    let dir = data();
    let terminal = open(dir.path());
    let query = "select 'a' || chr(27) || '[31mred' || chr(7) || chr(13) as x;";
    for mode in [
        "csv", "tsv", "json", "ndjson", "line", "markdown", "html", "table",
    ] {
        terminal.run(&format!(".mode {mode}"));
        let before = terminal.look(|screen| screen.bells);
        let shown = terminal.run(query);
        assert!(shown.contains("[31mred"), "{mode}: {shown}");
        assert_eq!(terminal.look(|screen| screen.bells), before, "{mode}");
    }
    terminal.run(".mode csv");
    terminal.run(".once raw.csv");
    terminal.run(query);
    let file = std::fs::read(dir.path().join("raw.csv")).unwrap();
    assert!(file.contains(&0x1b), "a file gets the data as it is");
}

#[test]
fn errors_are_fitted_to_the_terminal() {
    let dir = data();
    let start = Start {
        size: (40, 50),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let columns = "zone_id + zone_id, ".repeat(10);
    let shown = terminal.run(&format!(
        "select {columns} oops, {columns} 1 from 'zones.csv';"
    ));
    let excerpt: Vec<&str> = shown
        .lines()
        .skip_while(|line| !line.starts_with("1 |"))
        .collect();
    assert!(excerpt[0].contains("oops"), "{shown}");
    assert_eq!(excerpt[0].find("oops"), excerpt[1].find("^^^^"), "{shown}");
}

#[test]
fn values_that_fail_have_a_caret_where_it_can_be_known() {
    let dir = data();
    let terminal = open(dir.path());
    for (line, under) in [
        (
            "select zone_id, zone_id / (zone_id - zone_id) as x from 'zones.csv';",
            "zone_id / (",
        ),
        (
            "select cast(zone_name as int) as x from 'zones.csv';",
            "cast(zone_name as int)",
        ),
        (
            "select zone_id * 9223372036854775807 as x from 'zones.csv';",
            "zone_id * 9",
        ),
    ] {
        let shown = terminal.run(line);
        let excerpt = shown.lines().find(|line| line.starts_with("1 | "));
        let caret = shown.lines().find_map(|line| line.find('^'));
        assert_eq!(caret, excerpt.and_then(|line| line.find(under)), "{shown}");
        assert!(caret.is_some(), "{shown}");
    }
    let shown = terminal.run("select zone_id / a, a / zone_id from 'zones.csv', (select 0 as a);");
    assert!(
        shown.contains("division by zero") && !shown.contains('^'),
        "{shown}"
    );
}
