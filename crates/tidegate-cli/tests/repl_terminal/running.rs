//! Running: stopping, errors, the last result, tables and the pager.

use std::time::{Duration, Instant};

use crate::pty::*;
use crate::screen::Screen;
use crate::{data, open, script};

const ENDLESS: &str = "select count(*) as c from generate_series(1, 100000000000);";

#[test]
fn ctrl_c_stops_a_query_and_keeps_the_session() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("create view kept as select 5 as five;");
    let before = terminal.prompt_count();
    terminal.keys(ENDLESS);
    terminal.keys(ENTER);
    terminal.wait("the query to run", Screen::runs);
    let started = Instant::now();
    terminal.keys(CTRL_C);
    terminal.expect("cancelled");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    terminal.prompts(before + 1);
    assert!(
        terminal
            .run("select five * 5 as x from kept;")
            .contains("25")
    );
}

#[test]
fn ctrl_c_stops_what_a_paste_would_still_run() {
    let dir = data();
    let terminal = open(dir.path());
    let before = terminal.prompt_count();
    terminal.keys(&format!("{ENDLESS} select 'nev' || 'er' as x;"));
    terminal.expect("as x;");
    terminal.keys(ENTER);
    terminal.wait("the query to run", Screen::runs);
    terminal.keys(CTRL_C);
    terminal.expect("1 statement after it did not run");
    terminal.prompts(before + 1);
    assert!(!terminal.text().contains("never"));
}

#[test]
fn progress_is_shown_after_a_second_and_taken_away() {
    let dir = data();
    let terminal = open(dir.path());
    let before = terminal.prompt_count();
    terminal.keys(ENDLESS);
    terminal.keys(ENTER);
    terminal.wait("progress", |screen| screen.cursor_line().starts_with("1 s"));
    terminal.keys(CTRL_C);
    terminal.expect("cancelled");
    terminal.prompts(before + 1);
    let text = terminal.text();
    assert!(
        !text
            .lines()
            .any(|line| line.contains(" s ") && !line.contains("select")),
        "{text}"
    );
}

#[test]
fn an_error_is_told_in_one_line_and_the_session_goes_on() {
    let dir = data();
    let terminal = open(dir.path());
    let shown = terminal.run("select nothing_like_it from 'zones.csv';");
    assert!(shown.contains("error:"), "{shown}");
    assert!(shown.contains("nothing_like_it"), "{shown}");
    assert!(terminal.run("select 1 + 100 as x;").contains("101"));
}

#[test]
fn the_last_result_is_a_table() {
    let dir = data();
    let terminal = open(dir.path());
    let shown = terminal.run("select * from _;");
    assert!(shown.contains("no last result yet"), "{shown}");
    assert!(shown.contains('^'), "a caret points at it: {shown}");
    terminal.run("select zone_id * 10 as ten from 'zones.csv';");
    assert!(
        terminal
            .run("select sum(ten) as total from _;")
            .contains("60")
    );
    assert!(
        terminal
            .run("select total + 1 as next from _;")
            .contains("61")
    );
    terminal.run("select nothing_like_it from 'zones.csv';");
    assert!(terminal.run("select next + 1 as x from _;").contains("62"));
}

#[test]
fn a_last_result_beyond_its_limit_is_not_kept_and_that_is_told() {
    let dir = data();
    let terminal = Terminal::open(
        dir.path(),
        Start {
            arguments: vec!["--no-rc", "--no-pager"],
            ..Start::default()
        },
    );
    terminal.run("set last_result_limit = '1KiB';");
    terminal.run("select value from generate_series(1, 5000) as t(value);");
    let shown = terminal.run("select count(*) as c from _;");
    assert!(shown.contains("larger than 1KiB"), "{shown}");
    terminal.run("reset last_result_limit;");
    terminal.run("select 1 as a;");
    assert!(terminal.run("select a + 700 as x from _;").contains("701"));
}

#[test]
fn a_tall_result_goes_to_the_pager() {
    let dir = data();
    let pager = script(dir.path(), "pager", "echo PAGED; head -n 3; echo DONE");
    let start = Start {
        environment: vec![("PAGER", pager)],
        size: (12, 80),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let shown = terminal.run("select value from generate_series(1, 30) as t(value);");
    assert!(shown.contains("PAGED") && shown.contains("DONE"), "{shown}");
    let shown = terminal.run("select 3 as short;");
    assert!(!shown.contains("PAGED"), "{shown}");
    terminal.run(".pager off");
    let shown = terminal.run("select value from generate_series(1, 30) as t(value);");
    assert!(!shown.contains("PAGED") && shown.contains("30"), "{shown}");
    terminal.run(".pager on");
    let shown = terminal.run("select value from generate_series(1, 30) as t(value);");
    assert!(shown.contains("PAGED"), "{shown}");
}

#[test]
fn a_wide_result_goes_to_the_pager_and_no_pager_prints_it() {
    let dir = data();
    let pager = script(dir.path(), "pager", "echo PAGED; cat");
    let start = |arguments| Start {
        environment: vec![("PAGER", pager.clone())],
        size: (30, 60),
        arguments,
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start(vec!["--no-rc"]));
    terminal.run(".mode csv");
    assert!(
        terminal
            .run("select repeat('w', 90) as x;")
            .contains("PAGED")
    );
    terminal.run(".mode table");
    let query = "select repeat('w', 90) as x;";
    assert!(!terminal.run(query).contains("PAGED"), "a table is fitted");
    terminal.run(".width 120");
    let shown = terminal.run(query);
    assert!(shown.contains("PAGED"), "{shown}");
    let terminal = Terminal::open(dir.path(), start(vec!["--no-rc", "--no-pager"]));
    terminal.run(".mode csv");
    assert!(
        !terminal
            .run("select repeat('w', 90) as x;")
            .contains("PAGED")
    );
}

#[test]
fn leaving_the_pager_early_stops_the_query() {
    let dir = data();
    let pager = script(dir.path(), "pager", "head -n 2; echo LEFT");
    let start = Start {
        environment: vec![("PAGER", pager)],
        size: (12, 80),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    terminal.run(".mode csv");
    let shown = terminal.run("select value from generate_series(1, 100000000000) as t(value);");
    assert!(shown.contains("LEFT"), "{shown}");
    assert!(!shown.contains("error"), "{shown}");
    assert!(terminal.run("select 2 * 222 as x;").contains("444"));
}

#[test]
fn a_pager_that_is_not_there_loses_nothing() {
    let dir = data();
    let start = Start {
        environment: vec![("PAGER", "no-such-pager-anywhere".into())],
        size: (12, 80),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let shown = terminal.run("select value * 3 as v from generate_series(1, 30) as t(value);");
    assert!(shown.contains("90"), "{shown}");
}

#[test]
fn less_is_the_pager_by_default() {
    let dir = data();
    let start = Start {
        size: (12, 80),
        ..Start::default()
    };
    let terminal = Terminal::open(dir.path(), start);
    let before = terminal.prompt_count();
    terminal.keys("select value from generate_series(1, 30) as t(value);\r");
    terminal.wait("less", |screen| {
        screen.cursor_line().starts_with(':') || screen.text().contains("(END)")
    });
    terminal.keys("q");
    terminal.prompts(before + 1);
}

#[test]
fn tables_are_fitted_to_the_screen_also_after_a_resize() {
    let dir = data();
    let terminal = open(dir.path());
    let query = "select repeat('x', 150) as long_one, 2 as b;";
    let widest = |shown: &str| shown.lines().map(|l| l.chars().count()).max();
    assert!(widest(&terminal.run(query)) <= Some(100));
    terminal.resize(40, 60);
    assert!(widest(&terminal.run(query)) <= Some(60));
    terminal.resize(40, 200);
    assert!(terminal.run(query).contains(&"x".repeat(150)));
}

#[test]
fn ctrl_d_and_quit_leave() {
    let dir = data();
    for keys in [CTRL_D, ".quit\r", "\\q\r", ".exit\r"] {
        let mut terminal = open(dir.path());
        terminal.keys(keys);
        assert_eq!(terminal.ended().code(), Some(0), "{keys:?}");
    }
}

#[test]
fn sigterm_and_sighup_leave_cleanly_with_the_history_saved() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::HUP] {
        let dir = data();
        let mut terminal = open(dir.path());
        terminal.run("select 'saved' as x;");
        terminal.signal(signal);
        let status = terminal.ended();
        assert_eq!(status.code(), Some(130), "{status} {signal:?}");
        let history = std::fs::read_to_string(dir.path().join("state/tidegate/history"));
        assert!(history.unwrap().contains("saved"));
    }
}

#[test]
fn sigterm_ends_a_running_query() {
    let dir = data();
    let mut terminal = open(dir.path());
    terminal.keys(ENDLESS);
    terminal.keys(ENTER);
    terminal.wait("the query to run", Screen::runs);
    terminal.signal(rustix::process::Signal::TERM);
    assert_eq!(terminal.ended().code(), Some(130));
}
