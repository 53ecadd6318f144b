//! Secrets: not on the screen in errors and lists, not in the log, not in the history.

use crate::pty::*;
use crate::{data, open};

/// Statements and commands that hold the secret `abc123`.
const WITH_SECRETS: &[&str] = &[
    "select * fro 'https://me:abc123@host/a.csv';",
    "select 1 fro 'https://host/a.csv?X-Amz-Signature=abc123&x=1';",
    "select 2 fro 's3://key:abc123@bucket/a.csv';",
    "create external table t stored as csv location 's3://b/x' options ('aws.secret_access_key' 'abc123' oops);",
    "select * from read_csv('a.csv', password = 'abc123') whre;",
];

#[test]
fn errors_do_not_show_them_and_carets_stay() {
    let dir = data();
    let start = Start {
        size: (40, 200),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    for line in WITH_SECRETS {
        let shown = terminal.run(line);
        assert!(shown.contains("error:"), "{shown}");
        assert!(!shown.contains("abc123"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
    let shown = terminal.run("select 'https://me:abc123@h/a', from_nowhere from 'zones.csv';");
    let at = |text: &str| shown.lines().find_map(|line| line.find(text));
    assert_eq!(at("from_nowhere from"), at("^^^"), "{shown}");
}

#[test]
fn the_history_does_not_keep_them() {
    let dir = data();
    let mut terminal = open(dir.path());
    terminal.run("select 'kept' as x;");
    for line in WITH_SECRETS {
        terminal.run(line);
    }
    for command in [
        ".params token=abc123",
        ".params city='x' pw=abc123",
        "\\params pass='abc123'",
        ".params my_secret=abc123",
        ".params sig=abc123",
        "set s3.session_token = abc123;",
    ] {
        terminal.run(command);
    }
    terminal.keys(UP);
    terminal.expect_line("tidegate> select 'kept' as x;");
    terminal.keys("\x15");
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
    let file = dir.path().join("state/tidegate/history");
    let history = std::fs::read_to_string(file).unwrap();
    assert!(
        history.contains("kept") && !history.contains("abc123"),
        "{history}"
    );
}

#[test]
fn the_log_does_not_keep_them() {
    let dir = data();
    let log = dir.path().join("log").display().to_string();
    let start = Start {
        arguments: vec!["--no-rc", "--log-file", &log],
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    for line in WITH_SECRETS {
        terminal.run(line);
    }
    terminal.run("select * from 'ftp://me:abc123@host/a.csv?sig=abc123';");
    terminal.run("select * from \"https://me:abc123@host/a.csv\";");
    terminal.run("set s3.session_token = abc123;");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > 5, "{text}");
    assert!(!text.contains("abc123"), "{text}");
}

#[test]
fn lists_of_tables_and_views_do_not_show_them() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("create view v as select 'https://me:abc123@host/a.csv' as x;");
    for list in [
        ".tables",
        "show tables;",
        "select * from information_schema.views;",
        "select table_name, location from information_schema.tables;",
    ] {
        let shown = terminal.run(list);
        assert!(
            shown.contains("***") && !shown.contains("abc123"),
            "{shown}"
        );
    }
}
