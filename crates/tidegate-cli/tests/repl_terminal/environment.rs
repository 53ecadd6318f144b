//! Surroundings: terminals that can little, no home, no colour, no terminal at the other end.

use std::fs::File;

use crate::data;
use crate::pty::*;

fn with(environment: Vec<(&'static str, String)>) -> Start<'static> {
    Start {
        environment,
        ..Start::default()
    }
}

#[test]
fn the_banner_is_shown_when_both_ends_are_a_terminal() {
    let dir = data();
    let terminal = Terminal::open(dir.path(), Start::default());
    assert!(
        terminal.text().starts_with("Tidegate "),
        "{}",
        terminal.text()
    );
    let quiet = Start {
        arguments: vec!["--no-rc", "-q"],
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), quiet);
    assert!(
        !terminal.text().contains("Tidegate "),
        "{}",
        terminal.text()
    );
}

#[test]
fn no_color_means_no_colour_and_all_else_works() {
    let dir = data();
    let terminal = Terminal::open(dir.path(), with(vec![("NO_COLOR", "1".into())]));
    assert!(terminal.run("select 21 * 2 as x;").contains("42"));
    assert!(terminal.run("selec;").contains("error:"));
    terminal.keys("select * from 'zo\t");
    terminal.expect_line("tidegate> select * from 'zones.csv'");
    assert_eq!(terminal.look(|screen| screen.colours), 0);
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    let dir = data();
    let mut terminal = Terminal::open(dir.path(), with(vec![("TERM", "dumb".into())]));
    assert!(terminal.run("select 21 * 2 as x;").contains("42"));
    terminal.keys("select 1,\n");
    terminal.expect_line("      ->");
    let before = terminal.prompt_count();
    terminal.keys(CTRL_C);
    terminal.prompts(before + 1);
    assert!(terminal.run("select 21 * 3 as x;").contains("63"));
    assert!(terminal.run(".mode csv").is_empty());
    let wide = terminal.run("select value from generate_series(1, 60) as t(value);");
    assert!(wide.contains("\n60"), "no pager: {wide}");
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
    assert_eq!(terminal.look(|screen| screen.escapes), 0);
}

#[test]
fn ctrl_c_stops_a_query_on_a_dumb_terminal_too() {
    let dir = data();
    let terminal = Terminal::open(dir.path(), with(vec![("TERM", "dumb".into())]));
    let before = terminal.prompt_count();
    terminal.keys("select 'be' || 'gan' as x; ");
    terminal.keys("select count(*) as c from generate_series(1, 100000000000);\n");
    terminal.expect("began");
    terminal.keys(CTRL_C);
    terminal.expect("cancelled");
    terminal.prompts(before + 1);
}

#[test]
fn it_works_without_a_home() {
    let dir = data();
    for home in ["", "/no/such/home"] {
        let start = with(vec![("HOME", home.into()), ("XDG_STATE_HOME", "".into())]);
        let terminal = Terminal::open(dir.path(), start);
        assert!(terminal.run("select 11 * 11 as x;").contains("121"));
        terminal.keys(UP);
        terminal.expect_line("tidegate> select 11 * 11 as x;");
    }
}

#[test]
fn it_works_where_the_state_directory_is_a_file() {
    let dir = data();
    std::fs::write(dir.path().join("state"), "").unwrap();
    let terminal = Terminal::open(dir.path(), Start::default());
    assert!(terminal.run("select 11 * 11 as x;").contains("121"));
}

#[test]
fn data_goes_to_a_redirected_output_and_the_prompt_to_the_terminal() {
    let dir = data();
    let path = dir.path().join("out.csv");
    let start = Start {
        stdout: Some(File::create(&path).unwrap()),
        ..Start::default()
    };
    let mut terminal = Terminal::open(dir.path(), start);
    assert!(!terminal.text().contains("Tidegate "), "no banner");
    let shown = terminal.run("select 5 as five;");
    assert!(!shown.contains("five\n5"), "{shown}");
    terminal.run("select 6 as six;");
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        "five\n5\n\nsix\n6\n"
    );
}

#[test]
fn a_tiny_terminal_breaks_nothing() {
    let dir = data();
    let start = Start {
        size: (4, 12),
        arguments: vec!["--no-rc", "-q", "--no-pager"],
        ..Start::default()
    };
    let mut terminal = Terminal::spawn(dir.path(), start);
    terminal.expect("tidegate>");
    terminal.keys("select 'abc' as x, 2 as y;\r");
    terminal.prompts(2);
    assert!(terminal.text().contains("│ abc"), "{}", terminal.text());
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
}
