//! Durable jobs of the real program: killed at seeded moments and run again, they give what they give when nobody kills
//! them, once, and compute nothing again that was sealed.
//!
//! `cargo test` kills a few; `TIDEGATE_CAMPAIGN=200 cargo test --workspace --test durable` kills 200, and
//! `TIDEGATE_SEED=7` chooses other moments. A failure prints the seed and the case.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod shell;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use shell::{Ended, Shell};
use tidegate_testing::random::Random;

const KILLS: u64 = 12;
const SEED: u64 = 20_261_128;

/// A pipeline: tables, an insert, a view, a setting, a join with an aggregate, a result and files.
const SCRIPT: &str = "
SET partitions = 4;
CREATE EXTERNAL TABLE raw STORED AS CSV LOCATION 'raw/' OPTIONS (header true);
CREATE TABLE facts AS SELECT n, n % 97 AS k, n % 7 AS day FROM raw;
INSERT INTO facts SELECT n + 1000000, n % 89, n % 5 FROM raw WHERE n % 3 = 0;
CREATE VIEW big AS SELECT * FROM facts WHERE n > 100;
COPY (SELECT k, count(*) AS c, sum(n) AS s FROM big GROUP BY k ORDER BY k) TO 'out.csv';
COPY (SELECT a.n, a.k, b.c FROM big a JOIN (SELECT k, count(*) AS c FROM facts GROUP BY k) b USING (k))
  TO 'out/' (FORMAT parquet);
SELECT day, count(*) AS c, max(n) AS m FROM big GROUP BY day ORDER BY day;
";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A directory with the input of the script.
fn stand() -> Shell {
    let shell = Shell::new();
    shell.write("job.sql", SCRIPT);
    for part in 0..3 {
        let mut text = String::from("n\n");
        for n in 0..20_000 {
            text += &format!("{}\n", n * 3 + part);
        }
        shell.write(&format!("raw/{part}.csv"), &text);
    }
    shell
}

const CALL: &[&str] = &[
    "run",
    "job.sql",
    "--job",
    "nightly",
    "--job-dir",
    "jobs",
    "--checkpoint-mode",
    "all",
    "-F",
    "csv",
    "-q",
];

fn start(shell: &Shell) -> Child {
    let mut command = shell.command();
    command
        .args(CALL)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What a job leaves: its last result, its file, and the rows of its directory.
fn outcome(shell: &Shell, last: &Ended) -> (String, String, String) {
    assert_eq!((last.code, last.stderr.as_str()), (0, ""));
    let sql = "SELECT count(*), sum(n), sum(c), sum(k) FROM 'out/'";
    let rows = shell.run(&["-c", sql, "-q"]);
    assert_eq!((rows.code, rows.stderr.as_str()), (0, ""));
    (last.stdout.clone(), shell.read("out.csv"), rows.stdout)
}

fn sealed(shell: &Shell) -> usize {
    let entries = std::fs::read_dir(shell.path("jobs/nightly/sealed"));
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".rows"))
        .count()
}

/// Waits until so many outputs are sealed, or so long.
fn wait_for_seals(shell: &Shell, wanted: usize, at_most: Duration) {
    let until = Instant::now() + at_most;
    while sealed(shell) < wanted && Instant::now() < until {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn report(shell: &Shell) -> serde_json::Value {
    let told = shell.run(&[
        "job",
        "report",
        "nightly",
        "--job-dir",
        "jobs",
        "-F",
        "json",
        "-q",
    ]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    serde_json::from_str(&told.stdout).unwrap()
}

fn total(report: &serde_json::Value, name: &str) -> u64 {
    let statements = report["statements"].as_array().unwrap();
    let stages = statements
        .iter()
        .flat_map(|s| s["stages"].as_array().unwrap());
    stages.map(|stage| stage[name].as_u64().unwrap()).sum()
}

#[test]
fn a_killed_job_goes_on_and_ends_as_if_nothing_had_been() {
    let (kills, seed) = (
        setting("TIDEGATE_CAMPAIGN", KILLS),
        setting("TIDEGATE_SEED", SEED),
    );
    let mut random = Random::new(seed);
    let whole = stand();
    let began = Instant::now();
    let ended = whole.run(CALL);
    let took = began.elapsed();
    let expected = outcome(&whole, &ended);
    let tasks = total(&report(&whole), "tasks_run");
    let (mut killed, mut reused, mut cases) = (0, 0, 0);
    while killed < kills {
        cases += 1;
        let shell = stand();
        let most = random.below(5) + 1;
        for _ in 0..most {
            let mut child = start(&shell);
            match random.below(2) {
                0 => std::thread::sleep(took.mul_f64(random.below(1000) as f64 / 1000.0)),
                _ => {
                    let wanted = sealed(&shell) + random.below(4) + 1;
                    wait_for_seals(&shell, wanted, took * 4);
                }
            }
            child.kill().unwrap();
            killed += u64::from(child.wait().unwrap().code().is_none());
        }
        let last = shell.run(CALL);
        if report(&shell)["state"] == "finished" && last.stdout.is_empty() {
            // It had ended before the last kill: nothing is left to compare but the files.
            assert_eq!(
                shell.read("out.csv"),
                expected.1,
                "seed {seed}, case {cases}"
            );
            continue;
        }
        assert_eq!(
            outcome(&shell, &last),
            expected,
            "seed {seed}, case {cases}"
        );
        let told = report(&shell);
        assert_eq!(
            total(&told, "tasks_run"),
            tasks,
            "seed {seed}, case {cases}: {told}"
        );
        reused += total(&told, "tasks_reused");
        let left = shell
            .names()
            .into_iter()
            .filter(|name| name.starts_with(".tidegate-"));
        assert_eq!(left.count(), 0, "seed {seed}, case {cases}");
    }
    assert!(reused > 0, "nothing sealed was used again: seed {seed}");
    eprintln!("{killed} kills of {cases} jobs, {reused} tasks found sealed, seed {seed}");
}

#[test]
fn an_ended_job_says_so_and_another_request_is_an_error() {
    let shell = stand();
    assert_eq!(shell.run(CALL).code, 0);
    let loud: Vec<&str> = CALL.iter().copied().filter(|word| *word != "-q").collect();
    let again = shell.run(&loud);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""));
    assert!(
        again.stderr.contains("the job `nightly` finished on"),
        "{}",
        again.stderr
    );
    shell.write("job.sql", &SCRIPT.replace("n > 100", "n > 200"));
    let other = shell.run(CALL);
    assert_eq!(other.code, 1);
    assert!(
        other
            .stderr
            .contains("statement 5 was `CREATE VIEW big AS SELECT * FROM facts WHERE n > 100`"),
        "{}",
        other.stderr
    );
    let anew: Vec<&str> = CALL.iter().copied().chain(["--restart"]).collect();
    std::fs::remove_file(shell.path("out.csv")).unwrap();
    std::fs::remove_dir_all(shell.path("out")).unwrap();
    assert_eq!(shell.run(&anew).code, 0);
}

/// The tasks of the table's statement that are sealed, unless the statement is done.
fn sealed_of_the_table(shell: &Shell) -> Option<u64> {
    let told = report(shell);
    let statements = told["statements"].as_array()?;
    let table = statements.iter().find(|s| s["statement"] == 3)?;
    let scan = table["stages"].as_array()?.first()?;
    match table["rows"].is_null() {
        true => scan["tasks_run"].as_u64(),
        false => None,
    }
}

#[test]
fn an_input_that_changed_is_named() {
    let mut met = 0;
    for _ in 0..40 {
        let shell = stand();
        let mut child = start(&shell);
        wait_for_seals(&shell, 1, Duration::from_secs(60));
        child.kill().unwrap();
        child.wait().unwrap();
        // Where every task is sealed nothing is read again, and a change does no harm.
        if sealed_of_the_table(&shell).is_none_or(|tasks| tasks >= 3) {
            continue;
        }
        met += 1;
        for part in 0..3 {
            // Of the same size: only that somebody wrote to it tells.
            let name = format!("raw/{part}.csv");
            shell.write(&name, &shell.read(&name).replace('1', "2"));
        }
        let resumed = shell.run(CALL);
        let said = resumed.stderr.as_str();
        assert_eq!((resumed.code, resumed.stdout.as_str()), (1, ""), "{said}");
        assert!(said.contains("/raw/") && said.contains("changed"), "{said}");
        if met == 2 {
            break;
        }
    }
    assert!(met > 0, "no job was killed while its table was made");
}

#[test]
fn two_processes_do_not_run_one_job() {
    let shell = stand();
    let mut first = start(&shell);
    wait_for_seals(&shell, 1, Duration::from_secs(60));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&first),
        rustix::process::Signal::STOP,
    )
    .unwrap();
    let second = shell.run(CALL);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(
        second.stderr.contains(&format!("{}", first.id())),
        "{}",
        second.stderr
    );
    let jobs = shell.run(&["jobs", "--job-dir", "jobs", "-F", "csv", "-q"]);
    assert!(jobs.stdout.contains("nightly,running"), "{}", jobs.stdout);
    first.kill().unwrap();
    first.wait().unwrap();
    let jobs = shell.run(&["jobs", "--job-dir", "jobs", "-F", "csv", "-q"]);
    assert!(jobs.stdout.contains("nightly,resumable"), "{}", jobs.stdout);
    assert_eq!(
        shell
            .run(&["resume", "nightly", "--job-dir", "jobs", "-q"])
            .code,
        0
    );
    assert_eq!(
        shell
            .run(&["job", "verify", "nightly", "--job-dir", "jobs", "-q"])
            .code,
        0
    );
    assert_eq!(shell.run(&["job", "gc", "--job-dir", "jobs", "-q"]).code, 0);
    assert!(!shell.path("jobs/nightly").exists());
}

#[test]
fn the_demo_kills_a_job_and_finds_what_it_sealed() {
    let shell = Shell::new();
    let played = shell.run(&["demo", "--scale", "0.2"]);
    assert_eq!(
        (played.code, played.stderr.as_str()),
        (0, ""),
        "{}",
        played.stdout
    );
    assert!(
        played
            .stdout
            .contains("were found sealed and not computed again"),
        "{}",
        played.stdout
    );
    assert!(
        played
            .stdout
            .contains("is that of the query that nobody killed"),
        "{}",
        played.stdout
    );
}

#[test]
fn a_stop_in_order_says_that_the_job_can_be_taken_up() {
    let shell = stand();
    let mut command = shell.interruptible();
    command
        .args(CALL)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for_seals(&shell, 1, Duration::from_secs(60));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    if ended.status.code() == Some(0) {
        // It was quicker than the signal.
        return;
    }
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(shell.run(CALL).code, 0);
}

#[test]
fn what_cannot_be_written_down_runs_in_a_job_too() {
    let shell = Shell::new();
    shell.write(
        "job.sql",
        "COPY (WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t ORDER BY n) TO 'r.csv';
         SELECT count(*) FROM generate_series(1, 10);",
    );
    for mode in ["all", "auto", "none"] {
        let call = [
            "run",
            "job.sql",
            "--job",
            mode,
            "--job-dir",
            "jobs",
            "--checkpoint-mode",
            mode,
            "--checkpoint-max-loss",
            "1us",
            "-q",
        ];
        let ended = shell.run(&call);
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (0, "count(*)\n10\n", ""),
            "{mode}"
        );
        assert_eq!(shell.read("r.csv"), "n\n1\n2\n3\n4\n5\n", "{mode}");
        std::fs::remove_file(shell.path("r.csv")).unwrap();
    }
}

/// A job whose second step waits for a file that is late.
const HALTING: &str = "
SET partitions = 4;
CREATE TABLE facts AS SELECT n, n % 97 AS k FROM 'raw/';
COPY (SELECT count(*) AS c FROM 'raw/') TO 'first.csv';
COPY (SELECT max(n) AS m FROM facts) TO 'second.csv';
SELECT count(*) AS c, sum(n) AS s, (SELECT count(*) FROM 'raw/') AS r FROM facts WHERE k < (SELECT max(n) FROM 'late.csv');
";

const HALTING_CALL: &[&str] = &[
    "run",
    "halting.sql",
    "--job",
    "h",
    "--job-dir",
    "jobs",
    "-F",
    "csv",
];

fn run_halting(shell: &Shell) -> Ended {
    shell.run(&[HALTING_CALL, &["-q"]].concat())
}

/// The job after it has halted, and then the late file has come.
fn halted() -> Shell {
    let shell = stand();
    shell.write("halting.sql", HALTING);
    let halted = run_halting(&shell);
    assert!(halted.stderr.contains("late.csv"), "{}", halted.stderr);
    shell.write("late.csv", "n\n1000\n");
    shell
}

/// The files of the table that the job has made.
fn table_files(shell: &Shell) -> Vec<std::path::PathBuf> {
    let tables = std::fs::read_dir(shell.path("jobs/h/tables")).unwrap();
    let files = tables.flat_map(|table| std::fs::read_dir(table.unwrap().path()).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    files
}

const HALTING_ANSWER: &str = "c,s,r\n60000,1799970000,60000\n";

#[test]
fn a_job_that_halted_goes_on_with_the_files_that_it_knows() {
    let shell = halted();
    let ended = run_halting(&shell);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, HALTING_ANSWER),
        "{}",
        ended.stderr
    );
    // Another file time with the same content is no change of a table that the job has written.
    let shell = halted();
    for file in table_files(&shell) {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
    }
    let ended = run_halting(&shell);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, HALTING_ANSWER),
        "{}",
        ended.stderr
    );
}

/// A job that goes on does so with an error that names a file.
fn is_refused(shell: &Shell, file: &str, why: &str) {
    let ended = run_halting(shell);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (1, ""),
        "{file} {why}: {}",
        ended.stderr
    );
    for text in [file, why] {
        assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
    }
}

#[test]
fn files_of_a_table_that_a_job_made_are_what_it_wrote_or_an_error() {
    type Harm = fn(&std::path::Path);
    let harms: [(Harm, &str); 5] = [
        (
            |file| std::fs::remove_file(file).unwrap(),
            "is gone since statement 4",
        ),
        (
            |file| {
                let mut bytes = std::fs::read(file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(file, bytes).unwrap();
            },
            "has changed since statement 4",
        ),
        (
            |file| std::fs::write(file, "").unwrap(),
            "has been emptied since statement 4",
        ),
        (
            |file| {
                std::fs::copy(file, file.with_file_name("more.parquet")).unwrap();
            },
            "no statement of it has written it",
        ),
        (
            |file| std::fs::remove_dir_all(file.parent().unwrap()).unwrap(),
            "facts/",
        ),
    ];
    for (number, (harm, why)) in harms.into_iter().enumerate() {
        let shell = halted();
        let files = table_files(&shell);
        harm(&files[number % files.len()]);
        is_refused(&shell, "jobs/h/tables/", why);
    }
}

#[test]
fn an_input_that_changes_between_two_statements_is_an_error() {
    let shell = halted();
    shell.write("raw/1.csv", &shell.read("raw/1.csv").replace('4', "5"));
    is_refused(&shell, "raw/1.csv", "has changed since statement 3");
    let shell = halted();
    std::fs::remove_file(shell.path("raw/2.csv")).unwrap();
    is_refused(&shell, "raw/2.csv", "is gone since statement 3");
    std::fs::create_dir(shell.path("raw/2.csv")).unwrap();
    is_refused(&shell, "raw/2.csv", "is no file any more since statement 3");
    assert!(run_halting(&shell).stderr.contains("--restart"));
}

#[test]
fn what_lies_beside_a_file_that_is_named_may_go() {
    let shell = Shell::new();
    shell.write("one.csv", "n\n1\n");
    shell.write("two.csv", "n\n2\n");
    shell.write(
        "halting.sql",
        "COPY (FROM 'one.csv') TO 'out.csv'; SELECT n FROM 'two.csv' WHERE n < (SELECT max(n) FROM 'late.csv');",
    );
    assert!(run_halting(&shell).stderr.contains("late.csv"));
    std::fs::remove_file(shell.path("one.csv")).unwrap();
    shell.write("late.csv", "n\n1000\n");
    let ended = run_halting(&shell);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "n\n2\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_published_file_that_somebody_edited_is_named_by_verify_and_at_the_end() {
    let shell = halted();
    let call = ["job", "verify", "h", "--job-dir", "jobs"];
    assert_eq!(run_halting(&shell).code, 0);
    assert_eq!(shell.run(&call).code, 0);
    std::fs::remove_file(shell.path("first.csv")).unwrap();
    let verified = shell.run(&call);
    assert_eq!(verified.code, 1);
    assert!(verified.stderr.contains("first.csv"), "{}", verified.stderr);
    let loud = shell.run(HALTING_CALL);
    assert!(
        loud.stderr
            .contains("first.csv`, which it wrote, is not there"),
        "{}",
        loud.stderr
    );
    // Its rows are not given again, and that is said however quiet it is to be.
    let quiet = run_halting(&shell);
    assert!(quiet.stderr.contains("finished on"), "{}", quiet.stderr);
}

#[test]
fn a_durable_query_gives_its_rows_each_time() {
    let shell = Shell::new();
    let call = [
        "-c",
        "SELECT 42 AS n",
        "--durable",
        "--job-dir",
        "jobs",
        "-q",
    ];
    for _ in 0..3 {
        let ended = shell.run(&call);
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (0, "n\n42\n", "")
        );
    }
    let copy = [
        "-c",
        "COPY (SELECT 42 AS n) TO 'n.csv'",
        "--durable",
        "--job-dir",
        "jobs",
    ];
    assert_eq!(shell.run(&copy).code, 0);
    let second = shell.run(&copy);
    assert_eq!((second.code, second.stdout.as_str()), (0, ""));
    assert!(second.stderr.contains("finished on"), "{}", second.stderr);
}

#[test]
fn a_task_that_several_processes_did_not_survive_is_named() {
    let shell = stand();
    // Thousands of millions of pairs: it does not end while this test runs.
    shell.write(
        "job.sql",
        "COPY (SELECT sum(a.n) AS s FROM 'raw/' a JOIN 'raw/' b ON a.n * 3 > b.n * 2 + a.n % 7) TO 'out.csv'",
    );
    let loud: Vec<&str> = CALL.iter().copied().filter(|word| *word != "-q").collect();
    let run_and_kill = || {
        let mut command = shell.command();
        command.args(&loud).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        wait_for_seals(&shell, 1, Duration::from_secs(60));
        std::thread::sleep(Duration::from_secs(2));
        child.kill().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), None, "it was to be killed");
        String::from_utf8(ended.stderr).unwrap()
    };
    let said = run_and_kill();
    assert!(!said.contains("was running each"), "{said}");
    run_and_kill();
    let said = run_and_kill();
    assert!(
        said.contains("of statement 1 was running each of 2 times"),
        "{said}"
    );
    let told = report(&shell);
    assert_eq!(told["suspects"][0]["ends"], 3, "{told}");
}
