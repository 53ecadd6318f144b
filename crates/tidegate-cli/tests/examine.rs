//! `inspect` and `doctor`: what files hold, and what is wrong with them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod shell;

use serde_json::{Value, json};
use shell::{Ended, Shell};

fn report(shell: &Shell, args: &[&str]) -> (i32, Value) {
    let Ended {
        code,
        stdout,
        stderr,
    } = shell.run(&[args, &["-F", "json"]].concat());
    let report = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout} {stderr}"));
    (code, report)
}

fn names(rows: &Value, key: &str) -> Vec<String> {
    let rows = rows.as_array().into_iter().flatten();
    rows.map(|row| row[key].as_str().unwrap_or("-").to_owned())
        .collect()
}

/// Two row groups of a Parquet file of ours.
fn parquet(shell: &Shell, path: &str) {
    let copy = format!(
        "COPY (SELECT value AS a, 'word ' || (value % 10) AS b FROM generate_series(1, 5000) AS t(value)) \
         TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2500)"
    );
    let ended = shell.run(&["-c", &copy]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn inspect_describes_a_parquet_file() {
    let shell = Shell::new();
    parquet(&shell, "a.parquet");
    let (code, report) = report(&shell, &["inspect", "a.parquet"]);
    assert_eq!(code, 0);
    let file = &report["file"][0];
    assert_eq!(
        (&file["rows"], &file["row_groups"]),
        (&json!(5000), &json!(2))
    );
    assert!(file["created_by"].is_string());
    assert_eq!(names(&report["columns"], "column"), ["a", "b"]);
    assert_eq!(names(&report["columns"], "type"), ["BIGINT", "VARCHAR"]);
    assert_eq!(names(&report["columns"], "min"), ["1", "word 0"]);
    assert_eq!(names(&report["columns"], "max"), ["5000", "word 9"]);
    assert_eq!(report["columns"][0]["nulls"], 0);
    let encodings = report["columns"][1]["encodings"].as_str().unwrap();
    assert!(encodings.contains("RLE_DICTIONARY"), "{encodings}");
    let groups = report["row_groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[1]["rows"]), (2, &json!(2500)));
}

#[test]
fn inspect_says_how_a_csv_file_is_written() {
    let shell = Shell::new();
    shell.write("a.csv", "day;rain\n2026-11-23;17.00\n2026-11-24;0.50\n");
    let (code, report) = report(&shell, &["inspect", "a.csv"]);
    assert_eq!(code, 0);
    let dialect: Vec<(String, String)> = names(&report["dialect"], "option")
        .into_iter()
        .zip(names(&report["dialect"], "value"))
        .collect();
    assert!(
        dialect.contains(&("delim".into(), "';'".into())),
        "{dialect:?}"
    );
    assert!(
        dialect.contains(&("header".into(), "true".into())),
        "{dialect:?}"
    );
    assert_eq!(
        names(&report["columns"], "type"),
        ["DATE", "DECIMAL(18, 2)"]
    );
}

#[test]
fn inspect_lists_the_files_of_a_directory_with_their_columns_united() {
    let shell = Shell::new();
    shell.write("d/year=2025/a.csv", "x\n1\n");
    shell.write("d/year=2026/b.csv", "x,y\n2.5,z\n");
    let (_, report) = report(&shell, &["inspect", "d"]);
    assert_eq!(names(&report["files"], "format"), ["csv", "csv"]);
    assert_eq!(names(&report["columns"], "column"), ["x", "y", "year"]);
    assert_eq!(report["columns"][2]["partition"], true);
}

#[test]
fn inspect_lists_a_directory_of_several_formats() {
    let shell = Shell::new();
    shell.write("d/a.csv", "x\n1\n");
    shell.write("d/b.json", "{\"x\": 1}\n");
    let (code, report) = report(&shell, &["inspect", "d"]);
    assert_eq!(
        (code, names(&report["files"], "format")),
        (0, vec!["csv".into(), "json".into()])
    );
    let notices = names(&report["notices"], "notice").join("\n");
    assert!(notices.contains("several formats"), "{notices}");
}

#[test]
fn a_report_is_titled_tables_unless_a_format_is_asked_for() {
    let shell = Shell::new();
    shell.write("a.csv", "x\n1\n");
    let ended = shell.run(&["--log-file", "log", "inspect", "a.csv"]);
    let log = shell.read("log");
    assert!(log.contains(" start inspect a.csv\n"), "{log}");
    assert!(log.contains(" done "), "{log}");
    assert!(ended.stdout.starts_with("file\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\ncolumns\n"), "{}", ended.stdout);
}

#[test]
fn a_missing_file_and_a_mixed_call_are_errors() {
    let shell = Shell::new();
    let ended = shell.run(&["inspect", "nothing.csv"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("nothing.csv"), "{}", ended.stderr);
    let ended = shell.run(&["-c", "SELECT 1", "doctor", "a.csv"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[test]
fn doctor_finds_nothing_wrong_with_sound_files() {
    let shell = Shell::new();
    parquet(&shell, "a.parquet");
    shell.write("a.csv", "x,y\n1,a\n2,b\n");
    shell.write("a.ndjson", "{\"x\": 1}\n{\"x\": 2}\n");
    for path in ["a.parquet", "a.csv", "a.ndjson"] {
        let (code, report) = report(&shell, &["doctor", path]);
        assert_eq!((code, &report["healthy"]), (0, &json!(true)), "{report}");
        assert_eq!(report.get("problems"), None, "{report}");
    }
    let (_, report) = report(&shell, &["doctor", "a.csv"]);
    let call = "read_csv('a.csv', delim=',', header=true)";
    assert_eq!(report["read_with"][0]["call"], call);
    assert_eq!(report["read_with"][0]["rows"], 2);
}

/// 3,000 rows with `faults` among them, beyond what is looked at to find out the types.
fn rows(shell: &Shell, path: &str, faults: &[(usize, &str)]) {
    let mut text = String::from("id,name\n");
    for row in 2..30_000 {
        match faults.iter().find(|(line, _)| *line == row) {
            Some((_, fault)) => text.push_str(&format!("{fault}\n")),
            None => text.push_str(&format!("{row},n{row}\n")),
        }
    }
    shell.write(path, &text);
}

#[test]
fn doctor_counts_each_sort_of_problem_of_a_csv_file() {
    let shell = Shell::new();
    let faults = [
        (25_000, "x7,late"),
        (26_000, "1,2,3"),
        (27_000, "4"),
        (28_000, "x8,later"),
    ];
    rows(&shell, "a.csv", &faults);
    let (code, report) = report(&shell, &["doctor", "a.csv"]);
    assert_eq!((code, &report["healthy"]), (1, &json!(false)));
    assert_eq!(report["file"][0]["rows"], 29_994);
    assert_eq!(report["file"][0]["rows_not_readable"], 4);
    let problems: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (
                p["problem"].clone(),
                p["column"].clone(),
                p["count"].clone(),
                p["first_line"].clone(),
            )
        })
        .collect();
    assert_eq!(
        problems,
        [
            (
                json!("value does not fit its type"),
                json!("id"),
                json!(2),
                json!(25_000)
            ),
            (
                json!("wrong number of fields"),
                json!(null),
                json!(2),
                json!(26_000)
            ),
        ]
    );
    let first = &report["first_rows_not_readable"][0];
    assert_eq!(
        (&first["line"], &first["text"]),
        (&json!(25_000), &json!("x7,late"))
    );
    let call =
        "read_csv('a.csv', delim=',', header=true, on_error='skip', types={'id': 'VARCHAR'})";
    let read_with = json!([{"call": call, "rows": 29_996, "rows_left_out": 2}]);
    assert_eq!(report["read_with"], read_with);
    let counted = shell.run(&["-c", &format!("SELECT count(*) AS n FROM {call}")]);
    assert_eq!(counted.stdout, "n\n29996\n", "{}", counted.stderr);
}

#[test]
fn doctor_reads_what_does_not_fit_its_type_as_text() {
    let shell = Shell::new();
    rows(&shell, "a.csv", &[(25_000, "x7,late")]);
    let (_, report) = report(&shell, &["doctor", "a.csv"]);
    let call = "read_csv('a.csv', delim=',', header=true, types={'id': 'VARCHAR'})";
    let read_with = json!([{"call": call, "rows": 29_998, "rows_left_out": 0}]);
    assert_eq!(report["read_with"], read_with);
}

#[test]
fn doctor_names_bytes_that_are_not_of_the_encoding() {
    let shell = Shell::new();
    std::fs::write(shell.path("a.csv"), b"name,n\ncaf\xe9,1\nplain,2\n").unwrap();
    let (code, report) = report(&shell, &["doctor", "a.csv"]);
    assert_eq!(code, 1, "{report}");
    let call = report["read_with"][0]["call"].as_str().unwrap_or_default();
    assert!(call.contains("encoding='windows-1252'"), "{report}");
    assert_eq!(report["read_with"][0]["rows"], 2, "{report}");
}

#[test]
fn doctor_names_the_row_group_and_column_of_damaged_parquet() {
    let shell = Shell::new();
    parquet(&shell, "a.parquet");
    let mut bytes = std::fs::read(shell.path("a.parquet")).unwrap();
    bytes[4..40].fill(0xff);
    std::fs::write(shell.path("a.parquet"), &bytes).unwrap();
    let (code, report) = report(&shell, &["doctor", "a.parquet"]);
    assert_eq!((code, &report["healthy"]), (1, &json!(false)));
    let problem = &report["problems"][0];
    assert_eq!(
        (&problem["row_group"], &problem["column"]),
        (&json!(0), &json!("a"))
    );
    std::fs::write(shell.path("b.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let ended = shell.run(&["doctor", "b.parquet"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("its end is missing"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stderr.contains("panic"), "{}", ended.stderr);
}

#[test]
fn doctor_reports_files_that_cannot_be_opened_as_what_they_are_called() {
    let shell = Shell::new();
    std::fs::write(shell.path("a.arrow"), [7; 100]).unwrap();
    std::fs::write(shell.path("a.csv.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03abc").unwrap();
    for (path, what) in [
        ("a.arrow", "no Arrow IPC file"),
        ("a.csv.gz", "damaged gzip data"),
    ] {
        let (code, report) = report(&shell, &["doctor", path]);
        assert_eq!((code, &report["healthy"]), (1, &json!(false)), "{report}");
        let problem = names(&report["problems"], "problem").join("\n");
        assert!(problem.contains(what), "{report}");
    }
}

#[test]
fn the_version_says_what_it_is_made_of() {
    let ended = Shell::new().run(&["--version"]);
    let words: Vec<&str> = ended.stdout.split_whitespace().step_by(2).collect();
    assert_eq!(words, ["tidegate", "compatible", "arrow", "datafusion"]);
}
