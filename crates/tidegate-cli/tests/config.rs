//! Settings: where they come from, and which wins.
#![allow(clippy::unwrap_used)]

mod shell;

use shell::Shell;

fn origin_of(shell: &Shell, name: &str, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let args = [&["config", "--show-origin", "-F", "csv"], flags].concat();
    let ended = shell.run_with(variables, &args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let line = ended
        .stdout
        .lines()
        .find(|line| line.starts_with(&format!("{name},")));
    line.unwrap_or_default().to_string()
}

#[test]
fn a_flag_beats_the_environment_beats_the_project_beats_the_user() {
    let shell = Shell::new();
    let ask =
        |variables: &[(&str, &str)], flags: &[&str]| origin_of(&shell, "threads", variables, flags);
    assert_eq!(ask(&[], &[]), "threads,0,default");
    shell.write("home/.config/tidegate/config.toml", "threads = 1");
    let user = shell.path("home/.config/tidegate/config.toml");
    assert_eq!(ask(&[], &[]), format!("threads,1,{}", user.display()));
    shell.write("tidegate.toml", "threads = 2");
    assert_eq!(ask(&[], &[]), "threads,2,tidegate.toml");
    let variables = [("TIDEGATE_THREADS", "3")];
    assert_eq!(
        ask(&variables, &[]),
        "threads,3,environment TIDEGATE_THREADS"
    );
    assert_eq!(ask(&variables, &["--threads", "4"]), "threads,4,flag");
    assert_eq!(ask(&[], &["--no-rc"]), "threads,0,default");
}

#[test]
fn the_place_of_the_users_own_file_follows_the_environment() {
    let shell = Shell::new();
    shell.write("etc/tidegate/config.toml", "timeout = '2s'");
    let base = shell.path("etc");
    let variables = [("XDG_CONFIG_HOME", base.to_str().unwrap())];
    let line = origin_of(&shell, "timeout", &variables, &[]);
    assert!(line.starts_with("timeout,2s,"), "{line}");
}

#[test]
fn reset_goes_back_to_what_the_session_started_with() {
    let shell = Shell::new();
    shell.write("tidegate.toml", "null_text = '-'");
    let text = "SET timeout = '1s'; SET max_rows = 3; SET null_text = 'x'";
    for reset in [
        "RESET ALL",
        "RESET timeout; RESET max_rows; RESET null_text",
    ] {
        let sql = format!("{text}; {reset}; SHOW timeout; SHOW max_rows; SHOW null_text");
        let ended = shell.run_with(
            &[("TIDEGATE_MAX_ROWS", "9")],
            &["--timeout", "7s", "-F", "ndjson", "-c", &sql],
        );
        for part in [
            r#""value":"7s","origin":"flag""#,
            r#""value":"9","origin":"environment TIDEGATE_MAX_ROWS""#,
            r#""value":"-","origin":"tidegate.toml""#,
        ] {
            assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
        }
    }
}

#[test]
fn a_broken_view_fails_only_what_uses_it() {
    let shell = Shell::new();
    let views =
        "[views]\nbroken = 'SELECT nope FROM nothing'\nworse = 'SELEC'\ngood = 'SELECT 1 AS a'\n";
    shell.write("tidegate.toml", views);
    let ended = shell.run(&["-F", "ndjson", "-c", "FROM good"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "{\"a\":1}\n"));
    for (view, why) in [("broken", "`nothing`"), ("worse", "`SELEC`")] {
        let ended = shell.run(&["-c", &format!("FROM {view}")]);
        assert_eq!(ended.code, 1);
        let named = format!("view `{view}`");
        assert!(
            ended.stderr.contains(&named) && ended.stderr.contains(why),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_view_that_reads_itself_says_so_once() {
    let shell = Shell::new();
    let views = "[views]\nc = 'SELECT * FROM c'\na = 'FROM b'\nb = 'FROM a'\nd = 'FROM c'\n";
    shell.write("tidegate.toml", views);
    for (view, who) in [("c", "c"), ("a", "a"), ("b", "b"), ("d", "c")] {
        let ended = shell.run(&["-c", &format!("FROM {view}")]);
        let first = ended.stderr.lines().next();
        let expect = format!("error: view `{who}` reads itself");
        assert_eq!(first, Some(expect.as_str()), "{view}");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_file_and_line() {
    let shell = Shell::new();
    shell.write("tidegate.toml", "threads = 2\nmemory_limt = '1GiB'\n");
    let ended = shell.run(&["-c", "SELECT 1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert_eq!(
        ended.stderr,
        "error: there is no setting `memory_limt`\n \
         --> tidegate.toml:2:1\n  \
           |\n\
         2 | memory_limt = '1GiB'\n  \
           | ^^^^^^^^^^^\n\
         help: did you mean `memory_limit`?\n"
    );
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let ended = Shell::new().run_with(&[("TIDEGATE_THREDS", "2")], &["-c", "SELECT 1 AS x"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "x\n1\n"));
    assert_eq!(
        ended.stderr,
        "warning: `TIDEGATE_THREDS` is not the name of a setting: did you mean `threads`?\n"
    );
}

#[test]
fn tables_and_views_of_the_project_are_there() {
    let shell = Shell::new();
    shell.write("data/people.csv", "name,age\nAda,36\nBob,7\n");
    shell.write(
        "tidegate.toml",
        "[tables]\npeople = 'data/people.csv'\n[views]\nadults = 'SELECT name FROM people WHERE age > 17'\n",
    );
    let ended = shell.run(&["-c", "SELECT * FROM adults"]);
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("name\nAda\n", 0),
        "{}",
        ended.stderr
    );
}

#[test]
fn completions_and_the_manual_page_are_made_from_the_flags() {
    let shell = Shell::new();
    for name in ["bash", "zsh", "fish"] {
        let ended = shell.run(&["completions", name]);
        assert!(ended.stdout.contains("memory-limit"), "{name}");
    }
    assert!(shell.run(&["man"]).stdout.contains("memory\\-limit"));
    assert!(shell.run(&["--help"]).stdout.contains("--memory-limit"));
    let version = shell.run(&["--version"]).stdout;
    let first: Vec<&str> = version.split_whitespace().take(2).collect();
    assert_eq!(first, ["tidegate", env!("CARGO_PKG_VERSION")], "{version}");
}

#[test]
fn the_log_has_a_line_for_each_event_and_no_secrets() {
    let shell = Shell::new();
    let sql = "SELECT 1 AS x;\nSELECT nope FROM 's3://me:hunter2@host/x.csv'";
    shell.run(&["--log-file", "t.log", "-c", sql]);
    let log = shell.read("t.log");
    let events: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(events, ["start", "done", "start", "failed"], "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
