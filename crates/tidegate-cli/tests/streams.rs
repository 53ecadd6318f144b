//! Streams, exit codes and signals.
#![allow(clippy::unwrap_used)]

mod shell;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use shell::Shell;

/// A query that would run for a very long time.
const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(x) WHERE x % 7 = 3";

#[test]
fn sql_comes_from_arguments_files_and_standard_input_in_order() {
    let shell = Shell::new();
    shell.write("two.sql", "SELECT 2 AS x;\n-- the end\n");
    let ended = shell.run_with_input(
        &[
            "-F",
            "ndjson",
            "-c",
            "SELECT 1 AS x",
            "-f",
            "two.sql",
            "-f",
            "-",
        ],
        "\u{feff}SELECT 3 AS x",
    );
    assert_eq!(ended.stdout, "{\"x\":1}\n{\"x\":2}\n{\"x\":3}\n");
    let ended = shell.run_with_input(&["-F", "ndjson"], "SELECT 4 AS x");
    assert_eq!(ended.stdout, "{\"x\":4}\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn nothing_to_run_is_fine() {
    for input in ["", "  \n", "-- only a comment\n", ";;"] {
        let ended = Shell::new().run_with_input(&[], input);
        assert_eq!(ended.code, 0, "{input:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn exit_codes_say_what_happened() {
    let shell = Shell::new();
    let code = |args: &[&str]| shell.run(args).code;
    assert_eq!(code(&["-c", "SELECT 1"]), 0);
    assert_eq!(code(&["-c", "SELECT nothing_like_it"]), 1);
    assert_eq!(code(&["--fromat", "csv"]), 2);
    assert_eq!(code(&["-F", "xml", "-c", "SELECT 1"]), 2);
    assert_eq!(code(&["-f", "missing.sql"]), 2);
    assert_eq!(code(&["missing", "-c", "SELECT 1"]), 2);
    assert_eq!(code(&["-p", "x", "-c", "SELECT 1"]), 2);
    assert_eq!(code(&["-o", "x.unknown", "-c", "SELECT 1"]), 2);
    assert_eq!(code(&["--timeout", "100ms", "-c", ENDLESS]), 4);
}

#[test]
fn the_first_error_stops_unless_it_is_to_go_on() {
    let shell = Shell::new();
    let args = [
        "-F",
        "ndjson",
        "-c",
        "SELECT 1 AS x; SELECT nope; SELECT 2 AS x",
    ];
    let ended = shell.run(&args);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "{\"x\":1}\n"));
    let ended = shell.run(&[&["--keep-going"], &args[..]].concat());
    assert_eq!(ended.stdout, "{\"x\":1}\n{\"x\":2}\n");
    assert_eq!(ended.code, 1);
}

#[test]
fn a_statement_that_cannot_be_read_keeps_the_others_only_if_nothing_is_to_go_on() {
    let shell = Shell::new();
    let text = "SELECT 1 AS x; SELEC 2; CREATE FOO; SELECT 4 AS x";
    let args = ["-F", "ndjson", "-c", text];
    let ended = shell.run(&args);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let ended = shell.run(&[&["--keep-going"], &args[..]].concat());
    assert_eq!(ended.stdout, "{\"x\":1}\n{\"x\":4}\n");
    assert_eq!(ended.code, 1);
    for part in [
        "`SELEC` does not begin a statement",
        "CREATE FOO is not supported",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn standard_output_can_be_copied_to_whatever_it_is() {
    let shell = Shell::new();
    let copy = "tidegate -c \"COPY (SELECT 1 AS a) TO '/dev/stdout' (FORMAT csv)\"";
    let ended = shell.script(&format!("{copy} | cat; {copy} > file; cat file"));
    assert_eq!(ended.stdout, "a\n1\na\n1\n", "{}", ended.stderr);
    let ended = shell.script("tidegate -F csv -o /dev/stdout -c 'SELECT 2 AS b' | cat");
    assert_eq!(ended.stdout, "b\n2\n", "{}", ended.stderr);
    let closed = copy.replace("tidegate", "tidegate --allow-path .");
    let ended = shell.script(&format!("{closed} | cat"));
    assert_eq!(ended.stdout, "a\n1\n", "{}", ended.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shell = Shell::new();
    let line = "{ tidegate -c 'SELECT value FROM generate_series(1, 1000000)'; echo $? >code; } | head -n 2";
    let ended = shell.script(line);
    assert_eq!(ended.stdout, "value\n1\n");
    assert_eq!(ended.stderr, "");
    assert_eq!(shell.read("code"), "0\n");
}

#[test]
fn a_reader_that_goes_away_before_the_last_statement_is_told_by_the_code() {
    let shell = Shell::new();
    let sql = "SELECT value FROM generate_series(1, 1000000); SELECT 1";
    let line = format!("{{ tidegate -c '{sql}'; echo $? >code; }} | head -n 1");
    shell.script(&line);
    assert_eq!(shell.read("code"), "141\n");
}

#[test]
fn a_full_disk_is_an_error() {
    let ended = Shell::new().script("tidegate -c 'SELECT 1' >/dev/full");
    assert_eq!(ended.code, 4);
    assert_eq!(
        ended.stderr,
        "error: cannot write to standard output: no space left on device\n"
    );
}

#[test]
fn signals_interrupt_a_query_and_take_away_what_it_wrote() {
    for signal in ["INT", "TERM", "HUP"] {
        let shell = Shell::new();
        let args = ["-o", "out.csv", "-c", ENDLESS];
        let mut child = shell
            .interruptible()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(|| shell.names().iter().any(|name| name.starts_with('.')));
        let sent = shell.script(&format!("kill -{signal} {}", child.id()));
        assert_eq!(sent.code, 0);
        let started = Instant::now();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{signal}");
        assert!(started.elapsed() < Duration::from_secs(4), "{signal}");
        let mut stderr = String::new();
        child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(stderr, "error: interrupted\n");
        assert_eq!(shell.names(), Vec::<String>::new(), "{signal}");
    }
}

/// How long a process may take to end that has nothing to tidy up; much for a machine that is busy.
const AT_ONCE: Duration = Duration::from_millis(1500);

#[test]
fn a_signal_ends_at_once_what_waits_for_input_or_output() {
    let shell = Shell::new();
    let temporary = shell.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let has_thread = |child: &std::process::Child, name: &str| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id()));
        let mut names = tasks
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        names.any(|found| found.trim() == name)
    };
    let catches = |child: &std::process::Child, signal: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap_or_default().trim(), 16).unwrap_or_default();
        let number = if signal == "INT" { 2 } else { 15 };
        caught & (1 << (number - 1)) != 0
    };
    assert_eq!(shell.script("mkfifo pipe").code, 0);
    // Statements that do not come, rows that do not come, rows that nobody takes, and a pipe that nobody opens.
    let waits: [(&[&str], &str); 4] = [
        (&[], "signals"),
        (&["-c", "SELECT * FROM '-'"], "tidegate-cpu"),
        (
            &["-c", "SELECT value FROM generate_series(1, 1000000000)"],
            "stdout",
        ),
        (
            &["-o", "pipe", "-F", "csv", "-c", "SELECT 1"],
            "tokio-rt-worker",
        ),
    ];
    for (args, thread) in waits {
        for signal in ["INT", "TERM"] {
            let mut child = shell
                .command()
                .env("TMPDIR", &temporary)
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The thread that waits for signals stands before it asks for them.
            wait_until(|| has_thread(&child, thread) && catches(&child, signal));
            // It waits as soon as it is ready; a signal before that has it end in its own time.
            std::thread::sleep(Duration::from_millis(100));
            let started = Instant::now();
            assert_eq!(
                shell.script(&format!("kill -{signal} {}", child.id())).code,
                0
            );
            let (input, output) = (child.stdin.take(), child.stdout.take());
            let status = child.wait().unwrap();
            assert_eq!(status.code(), Some(130), "{args:?} {signal}");
            let elapsed = started.elapsed();
            assert!(elapsed < AT_ONCE, "{args:?} {signal}: {elapsed:?}");
            drop((input, output));
            let left = std::fs::read_dir(&temporary).unwrap().count();
            assert_eq!(left, 0, "{args:?} {signal}");
        }
    }
}

#[test]
fn a_partitioned_write_and_a_summary_stop_soon_and_leave_nothing() {
    let shell = Shell::new();
    let rows = "SELECT value AS v, value % 300 AS k, md5(CAST(value AS VARCHAR)) AS s \
        FROM generate_series(1, 300000)";
    let made = shell.run(&["-c", &format!("COPY ({rows}) TO 'in.parquet'")]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let many = format!("FROM read_parquet([{}])", ["'in.parquet'"; 100].join(", "));
    let copy =
        format!("COPY ({many}) TO 'out/' (FORMAT parquet, PARTITION_BY (k), MAX_OPEN_FILES 8)");
    for (sql, staged) in [(copy, true), (format!("SUMMARIZE {many}"), false)] {
        let mut child = shell
            .command()
            .args(["-c", &sql])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        wait_until(|| match staged {
            true => shell.names().iter().any(|name| name.starts_with('.')),
            false => begun.elapsed() > Duration::from_millis(500),
        });
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended too soon: {sql}"
        );
        let started = Instant::now();
        assert_eq!(shell.script(&format!("kill -INT {}", child.id())).code, 0);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{sql}");
        assert!(
            started.elapsed() < AT_ONCE,
            "{sql}: {:?}",
            started.elapsed()
        );
        assert_eq!(shell.names(), ["in.parquet"], "{sql}");
    }
}

#[test]
fn a_signal_that_the_parent_ignores_stays_ignored() {
    let shell = Shell::new();
    let line = "trap '' HUP; tidegate -c 'SELECT count(*) AS n FROM generate_series(1, 50000000)' & sleep 0.2; kill -HUP $!; wait $!";
    let ended = shell.script(line);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "n\n50000000\n"));
}

#[test]
fn an_output_file_is_whole_or_as_it_was() {
    let shell = Shell::new();
    shell.write("out.json", "old");
    let failing = "SELECT 1 / (value - 20000) AS x FROM generate_series(1, 30000)";
    let ended = shell.run(&["-o", "out.json", "-c", failing]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(shell.read("out.json"), "old");
    let ended = shell.run(&["-o", "out.json", "-c", "SELECT 1 AS x"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert_eq!(shell.read("out.json"), "[{\"x\":1}]\n");
    assert_eq!(shell.names(), ["out.json"]);
}

#[test]
fn an_output_file_takes_exactly_one_result() {
    let shell = Shell::new();
    for sql in ["SELECT 1; SELECT 2", "CREATE VIEW v AS SELECT 1"] {
        let ended = shell.run(&["-o", "out.csv", "-c", sql]);
        assert_eq!(ended.code, 2, "{sql}: {}", ended.stderr);
    }
    assert_eq!(shell.names(), Vec::<String>::new());
    let ended = shell.run(&[
        "-o",
        "out.csv",
        "-c",
        "CREATE VIEW v AS SELECT 1 AS x; FROM v",
    ]);
    assert_eq!((ended.code, shell.read("out.csv").as_str()), (0, "x\n1\n"));
}

#[test]
fn parameters_are_typed_by_the_way_they_are_written() {
    let shell = Shell::new();
    let sql = "SELECT $n + 1 AS n, $d AS d, $s AS s, $day AS day";
    let args = [
        "-F",
        "ndjson",
        "-p",
        "n=41",
        "-p",
        "d=1.50",
        "-p",
        "s=007",
        "-p",
        "day=2024-02-29",
        "-c",
        sql,
    ];
    let ended = shell.run(&args);
    assert_eq!(
        ended.stdout, "{\"n\":42,\"d\":1.50,\"s\":\"007\",\"day\":\"2024-02-29\"}\n",
        "{}",
        ended.stderr
    );
}

#[test]
fn a_directory_is_registered() {
    let shell = Shell::new();
    shell.write("data/people.csv", "name,age\nAda,36\n");
    let ended = shell.run(&["data/", "-c", "SELECT age FROM people"]);
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("age\n36\n", 0),
        "{}",
        ended.stderr
    );
    let ended = shell.run(&["data/people.csv", "-c", "SELECT name FROM people"]);
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("name\nAda\n", 0),
        "{}",
        ended.stderr
    );
}

#[test]
fn of_two_paths_with_one_name_the_first_keeps_it_and_the_second_is_told_of() {
    let shell = Shell::new();
    for (path, rows) in [("u1/a.csv", "x\n1\n"), ("u2/a.csv", "x\n2\n")] {
        shell.write(path, rows);
    }
    let check = |paths: [&str; 2], told: bool| {
        let ended = shell.run(&[paths[0], paths[1], "-c", "SELECT x FROM a"]);
        assert_eq!(ended.stdout, "x\n1\n", "{paths:?}");
        let note = "note: `u2/a.csv` has no name of its own: `a` is another table; \
                    query it as FROM 'u2/a.csv'\n";
        assert_eq!(ended.stderr, if told { note } else { "" }, "{paths:?}");
    };
    check(["u1/a.csv", "u2/a.csv"], true);
    check(["u1/", "u2/a.csv"], true);
    check(["u1/a.csv", "u1/a.csv"], false);
}

#[test]
fn the_sandbox_denies_and_says_so() {
    let shell = Shell::new();
    shell.write("in/a.csv", "x\n1\n");
    shell.write("out.csv", "x\n2\n");
    let code = |args: &[&str]| shell.run(args).code;
    let select = "SELECT * FROM 'out.csv'";
    assert_eq!(code(&["--read-only", "-c", select]), 0);
    assert_eq!(code(&["--read-only", "-o", "t.csv", "-c", select]), 5);
    assert_eq!(
        code(&["--read-only", "-c", "COPY (SELECT 1) TO 't.csv'"]),
        5
    );
    assert_eq!(code(&["--allow-path", "in", "-c", select]), 5);
    assert_eq!(
        code(&["--allow-path", "in", "-o", "t.csv", "-c", "SELECT 1"]),
        5
    );
    let both = ["--allow-path", "in", "--allow-path", ".", "-c", select];
    assert_eq!(code(&both), 0);
    assert_eq!(
        code(&[
            "--no-network",
            "-c",
            "SELECT * FROM 'https://localhost:1/x.csv'"
        ]),
        5
    );
    assert_eq!(code(&["--read-only", "-c", "SET read_only = off"]), 1);
    assert_eq!(shell.names(), ["in", "out.csv"]);
}

#[test]
fn a_project_cannot_loosen_what_the_user_forbids() {
    let shell = Shell::new();
    shell.write("home/.config/tidegate/config.toml", "read_only = true");
    shell.write("tidegate.toml", "\nread_only = false");
    let ended = shell.run(&["-c", "SELECT 1"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("tidegate.toml:2:13"),
        "{}",
        ended.stderr
    );
    shell.write("tidegate.toml", "no_network = true");
    let ended = shell.run(&["-c", "COPY (SELECT 1) TO 't.csv'"]);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
}

#[test]
fn data_can_come_from_standard_input() {
    let shell = Shell::new();
    let ended = shell.run_with_input(&["-c", "SELECT sum(x) AS s FROM '-'"], "x\n1\n2\n");
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("s\n3\n", 0),
        "{}",
        ended.stderr
    );
    let ended = shell.run_with_input(&[], "SELECT * FROM '-'");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("holds the statements"),
        "{}",
        ended.stderr
    );
}

/// Waits for something that another process does.
fn wait_until(happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it never happened"
        );
        std::thread::yield_now();
    }
}
