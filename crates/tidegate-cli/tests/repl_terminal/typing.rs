//! Typing: lines, statements of several lines, history, pastes.

use crate::pty::*;
use crate::{data, open};

#[test]
fn a_statement_runs_at_its_semicolon() {
    let dir = data();
    let terminal = open(dir.path());
    assert!(terminal.run("select 40+2 as answer;").contains("42"));
    assert!(terminal.run("select 'a;b' as x;").contains("a;b"));
    let two = terminal.run("select 111 as x; select 222 as y;");
    assert!(two.contains("111") && two.contains("222"), "{two}");
    assert!(
        terminal
            .run("select 5 * 11 as x; -- a comment")
            .contains("55")
    );
    assert_eq!(terminal.run("-- only a comment"), "");
    assert_eq!(terminal.run(";;"), "");
    assert_eq!(terminal.run(""), "");
}

#[test]
fn a_statement_of_many_lines_goes_on_until_its_end() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select 'one");
    terminal.keys(ENTER);
    terminal.expect_line("      ->");
    terminal.keys("two; three' as x,");
    terminal.keys(ENTER);
    terminal.wait("two continued lines", |screen| {
        screen.text().matches("      ->").count() == 2
    });
    let shown = terminal.run("6*7 as y;");
    assert!(shown.contains("42"), "{shown}");
    assert!(shown.contains("one\\ntwo; three"), "{shown}");
}

#[test]
fn quotes_comments_and_dollar_quotes_hide_a_semicolon() {
    let dir = data();
    let terminal = open(dir.path());
    for open_line in [
        "select \"a;",
        "select /* a; ",
        "select $$a;",
        "select (1 -- ;",
    ] {
        terminal.keys(open_line);
        terminal.keys(ENTER);
        terminal.expect_line("      ->");
        let before = terminal.prompt_count();
        terminal.keys(CTRL_C);
        terminal.prompts(before + 1);
    }
}

#[test]
fn ctrl_c_clears_the_line_and_the_statement() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select nonsense");
    terminal.expect_line("tidegate> select nonsense");
    terminal.keys(CTRL_C);
    terminal.prompts(2);
    terminal.keys("more nonsense");
    terminal.expect_line("tidegate> more nonsense");
    terminal.keys(CTRL_C);
    terminal.prompts(terminal.prompt_count() + 1);
    assert!(
        !terminal.text().contains("Ctrl-D or"),
        "there was a line to clear"
    );
    assert!(terminal.run("select 7 * 9 as x;").contains("63"));
    terminal.keys("select 1,");
    terminal.keys(ENTER);
    terminal.expect_line("      ->");
    terminal.keys(CTRL_C);
    terminal.prompts(terminal.prompt_count() + 1);
    assert!(terminal.run("select 8 * 9 as x;").contains("72"));
}

#[test]
fn ctrl_c_twice_at_an_empty_prompt_tells_how_to_leave() {
    let dir = data();
    let mut terminal = open(dir.path());
    terminal.keys(CTRL_C);
    terminal.prompts(2);
    let hint = "Ctrl-D or `.quit` leaves.";
    assert!(!terminal.text().contains(hint), "{}", terminal.text());
    terminal.keys(CTRL_C);
    terminal.expect(hint);
    terminal.prompts(3);
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn up_brings_back_a_whole_statement() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select 12 *");
    terminal.keys(ENTER);
    terminal.expect_line("      ->");
    assert!(terminal.run("12 as x;").contains("144"));
    let before = terminal.prompt_count();
    terminal.keys(UP);
    terminal.expect_line("12 as x;");
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    assert_eq!(terminal.text().matches("144").count(), 2);
}

#[test]
fn ctrl_r_finds_an_earlier_statement() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("select 'needle' as x;");
    terminal.run("select 'straw' as x;");
    let before = terminal.prompt_count();
    terminal.keys(CTRL_R);
    terminal.expect("(reverse-i-search)");
    terminal.keys("need");
    terminal.wait("the entry that was searched", |screen| {
        screen.cursor_line() == "(reverse-i-search)`need': select 'needle' as x;"
    });
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    assert!(terminal.text().matches("needle").count() >= 3);
}

#[test]
fn a_hint_of_the_history_is_taken_with_the_right_arrow() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.run("select 31 + 2 as hinted;");
    let before = terminal.prompt_count();
    terminal.keys("select 31");
    terminal.wait("a hint", |screen| {
        screen.cursor_line() == "tidegate> select 31 + 2 as hinted;"
    });
    terminal.keys(RIGHT);
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    assert_eq!(terminal.text().matches("33").count(), 2);
}

#[test]
fn the_history_is_kept_between_sessions_without_secrets() {
    let dir = data();
    let mut terminal = open(dir.path());
    terminal.run("select 'kept' as x;");
    terminal.run("select 'my_password is x' as x;");
    terminal.run("select 'aws_secret_access_key' as x;");
    terminal.keys(CTRL_D);
    assert_eq!(terminal.ended().code(), Some(0));
    let file = dir.path().join("state/tidegate/history");
    let history = std::fs::read_to_string(&file).unwrap();
    assert!(history.contains("'kept'"), "{history}");
    assert!(!history.contains("password") && !history.contains("secret"));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others may not read it");
    let terminal = open(dir.path());
    terminal.keys(UP);
    terminal.expect_line("tidegate> select 'kept' as x;");
}

#[test]
fn a_paste_of_200_lines_runs_as_pasted() {
    let dir = data();
    let terminal = open(dir.path());
    let mut paste = String::from("\x1b[200~");
    for number in 0..100 {
        paste.push_str(&format!(
            "select -- number {number}; no end\n'r' || {number} as v;\n"
        ));
    }
    paste.push_str("\x1b[201~");
    let before = terminal.prompt_count();
    terminal.keys(&paste);
    terminal.expect("'r' || 99 as v;");
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    let text = terminal.text();
    let results: Vec<usize> = (0..100)
        .map(|number| text.find(&format!(" r{number} ")).unwrap_or(usize::MAX))
        .collect();
    assert!(
        results.is_sorted() && results[99] != usize::MAX,
        "{results:?}"
    );
}

#[test]
fn lines_that_come_without_paste_marks_are_all_run() {
    let dir = data();
    let terminal = open(dir.path());
    let lines: String = (0..50)
        .map(|n| format!("select 'q' ||\r{n} as v;\r"))
        .collect();
    terminal.keys(&lines);
    terminal.expect(" q49 ");
    let text = terminal.text();
    for number in 0..50 {
        assert!(text.contains(&format!(" q{number} ")), "{number}");
    }
}

#[test]
fn keys_typed_while_a_query_runs_are_not_lost() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("select count(*) as c from generate_series(1, 3000000);\rselect 6 * 111 as x;\r");
    terminal.expect("3000000");
    terminal.expect("666");
}

#[test]
fn tabs_and_meta_commands_in_a_paste_are_taken_as_they_are() {
    let dir = data();
    let terminal = open(dir.path());
    let before = terminal.prompt_count();
    terminal.keys("\x1b[200~.mode csv\nselect 1 as a,\t2 as b;\n.mode table\x1b[201~");
    terminal.expect(".mode table");
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    assert!(
        terminal.text().contains("\na,b\n1,2\n"),
        "{}",
        terminal.text()
    );
}

#[test]
fn editing_keys_move_and_kill() {
    let dir = data();
    let terminal = open(dir.path());
    terminal.keys("elect 3 * 37 as x;");
    terminal.keys("\x01s");
    assert!(terminal.run("").contains("111"));
    terminal.keys("garbage\x15");
    assert!(terminal.run("select 2 * 111 as x;").contains("222"));
}

#[test]
fn what_is_typed_is_coloured_and_stays_readable() {
    let dir = data();
    let terminal = open(dir.path());
    let before = terminal.look(|screen| screen.colours);
    terminal.keys("select ((1), 'größe' -- ☕");
    terminal.expect_line("tidegate> select ((1), 'größe' -- ☕");
    assert!(terminal.look(|screen| screen.colours) > before + 4);
}

#[test]
fn resizing_while_typing_keeps_the_line() {
    let dir = data();
    let terminal = open(dir.path());
    let long = format!("select '{}' as x, 7 * 7 as y;", "z".repeat(60));
    terminal.keys(&long);
    terminal.expect("as y;");
    terminal.resize(20, 50);
    terminal.keys(" ");
    terminal.keys(ENTER);
    terminal.prompts(2);
    assert!(terminal.text().contains("49"), "{}", terminal.text());
    let before = terminal.prompt_count();
    terminal.resize(40, 120);
    terminal.keys(ENTER);
    terminal.prompts(before + 1);
    let shown = terminal.run(&long);
    assert!(shown.contains(&"z".repeat(60)), "{}", terminal.text());
}
