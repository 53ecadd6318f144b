//! Statements of the command line on a terminal: fitted tables, progress, Ctrl-C.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "repl_terminal/pty.rs"]
mod pty;
#[path = "repl_terminal/screen.rs"]
mod screen;

use pty::{CTRL_C, Start, Terminal};

/// A query that would run for a very long time.
const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(x) WHERE x % 7 = 3";

fn spawn(arguments: &[&'static str], size: (u16, u16)) -> (tempfile::TempDir, Terminal) {
    let directory = tempfile::tempdir().unwrap();
    let start = Start {
        arguments: [&["--no-rc"], arguments].concat(),
        size,
        ..Start::default()
    };
    let terminal = Terminal::spawn(directory.path(), start);
    (directory, terminal)
}

#[test]
fn a_result_is_a_table_that_fits() {
    let sql = "SELECT value, repeat('long ', 40) AS t FROM generate_series(1, 100)";
    let (_kept, mut terminal) = spawn(&["-c", sql], (60, 50));
    assert_eq!(terminal.ended().code(), Some(0));
    let text = terminal.text();
    assert!(text.contains("40 of 100 rows"), "{text}");
    assert!(text.contains("…"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 50),
        "{text}"
    );
}

#[test]
fn progress_shows_after_a_second_and_goes_away() {
    let (_kept, mut terminal) = spawn(&["--timeout", "2s", "-c", ENDLESS], (20, 80));
    terminal.expect("1 s");
    assert_eq!(terminal.ended().code(), Some(4));
    let text = terminal.text();
    assert!(text.starts_with("error: the query ran longer"), "{text}");
}

#[test]
fn quiet_shows_no_progress() {
    let (_kept, mut terminal) = spawn(&["-q", "--timeout", "1300ms", "-c", ENDLESS], (20, 80));
    assert_eq!(terminal.ended().code(), Some(4));
    let text = terminal.text();
    assert!(!text.contains("1 s"), "{text}");
}

#[test]
fn ctrl_c_ends_a_statement_and_the_process() {
    let (_kept, mut terminal) = spawn(&["-c", ENDLESS], (20, 80));
    terminal.expect("1 s");
    terminal.keys(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(130));
    let text = terminal.text();
    assert!(text.contains("error: interrupted"), "{text}");
}

#[test]
fn bytes_for_programs_are_not_written_to_a_terminal() {
    let (_kept, mut terminal) = spawn(&["-F", "parquet", "-c", "SELECT 1"], (20, 80));
    assert_eq!(terminal.ended().code(), Some(2));
    let text = terminal.text();
    assert!(
        text.starts_with("error: this format is not for a terminal"),
        "{text}"
    );
}
