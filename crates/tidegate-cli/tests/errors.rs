//! Errors as people and programs read them.
#![allow(clippy::unwrap_used)]

mod shell;

use serde_json::Value;
use shell::Shell;

#[test]
fn an_error_of_a_file_has_its_name_line_and_column() {
    let shell = Shell::new();
    shell.write(
        "q.sql",
        "SELECT 1 AS x;\n\nSELECT y\nFROM (SELECT 1 AS x);\n",
    );
    let ended = shell.run(&["-f", "q.sql"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("q.sql:3:8"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("3 | SELECT y\n  |        ^"),
        "{}",
        ended.stderr
    );
}

#[test]
fn json_errors_are_one_object_with_a_stable_code() {
    let shell = Shell::new();
    let ended = shell.run(&[
        "--json-errors",
        "-c",
        "SELECT 1;\nSELECT y FROM (SELECT 1 AS x)",
    ]);
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["level"], "error");
    assert_eq!(error["kind"], "sql");
    assert_eq!(error["code"], "unknown_column");
    assert_eq!(
        (&error["file"], &error["line"], &error["column"]),
        (&"-c".into(), &2.into(), &8.into())
    );
}

#[test]
fn json_errors_hold_for_a_wrong_call_too() {
    let ended = Shell::new().run(&["--json-errors", "--treads", "2"]);
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((ended.code, &error["code"]), (2, &"unknown_flag".into()));
    assert_eq!(error["hint"], "did you mean `--threads`?");
}

#[test]
fn a_wrong_call_is_one_line_and_a_hint() {
    let shell = Shell::new();
    let stderr = |args: &[&str]| shell.run(args).stderr;
    assert_eq!(
        stderr(&["--fromat", "csv"]),
        "error: there is no flag `--fromat`\nhelp: did you mean `--format`?\n"
    );
    assert_eq!(
        stderr(&["-F", "jsn"]),
        "error: `jsn` is not a value of `--format`\nhelp: did you mean `json`?\n"
    );
    assert_eq!(
        stderr(&["--format", "xyz"]),
        "error: `xyz` is not a value of `--format`\n\
         help: it takes auto, table, csv, tsv, json, ndjson, line, markdown, html, parquet, arrow, null\n"
    );
    assert_eq!(
        stderr(&["-c"]),
        "error: `--command` needs a value\nhelp: `tidegate --help` lists the flags\n"
    );
    assert_eq!(
        stderr(&["doctor"]),
        "error: the argument `PATH` is missing\nhelp: call it as `tidegate doctor <PATH>`\n"
    );
    assert_eq!(
        stderr(&["config", "more"]),
        "error: `more` is one argument too many\nhelp: `tidegate --help` lists the flags\n"
    );
    assert_eq!(
        stderr(&["confg"]),
        "error: there is no file or directory `confg`\nhelp: did you mean the sub-command `config`?\n"
    );
    assert_eq!(
        stderr(&["select 1"]),
        "error: there is no file or directory `select 1`\nhelp: SQL is given with -c\n"
    );
    assert_eq!(
        stderr(&["--memory-limit", "lots", "-c", "SELECT 1"]),
        "error: `lots` is not a value of setting `memory_limit`: sizes end in B, KB, MB, GB, TB, KiB, MiB, GiB or TiB\n\
         help: it takes a size such as 1GiB, or auto\n"
    );
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let shell = Shell::new();
    let sql = ["-F", "table", "-c", "SELECT NULL AS x"];
    let colour = |variables: &[(&str, &str)], flags: &[&str]| {
        let ended = shell.run_with(variables, &[flags, &sql[..]].concat());
        ended.stdout.contains('\u{1b}')
    };
    assert!(!colour(&[], &[]));
    assert!(colour(&[], &["--color", "always"]));
    assert!(colour(&[("TIDEGATE_COLOR", "always")], &[]));
    assert!(!colour(&[("NO_COLOR", "1")], &[]));
    assert!(!colour(&[], &["--color", "never"]));
}

#[test]
fn control_characters_of_a_statement_do_not_reach_the_terminal() {
    let ended = Shell::new().run(&["-c", "SELECT \u{1b}[31m"]);
    assert_eq!(ended.code, 1);
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}
