//! Limits of the disk, of memory and of time: an exit code that tells which, the old file as it
//! was, and no temporary file left.
#![allow(clippy::unwrap_used)]

mod shell;

use std::time::{Duration, Instant};

use shell::{Ended, Shell};

const MANY: &str = "SELECT value AS n, md5(CAST(value AS VARCHAR)) AS s \
    FROM generate_series(1, 300000)";

struct Stand {
    shell: Shell,
}

impl Stand {
    fn new() -> Self {
        let shell = Shell::new();
        std::fs::create_dir(shell.path("tmp")).unwrap();
        Self { shell }
    }

    /// Runs the program with temporary files in a directory of its own, and checks that none is
    /// left.
    fn run(&self, args: &[&str]) -> Ended {
        let tmp = self.shell.path("tmp");
        let ended = self
            .shell
            .run_with(&[("TMPDIR", tmp.to_str().unwrap())], args);
        self.check_no_temporary_files();
        ended
    }

    /// As `run`, with files that may not grow beyond `kib`.
    fn run_small(&self, kib: u32, args: &str) -> Ended {
        // Ignored, the signal of the limit is an error of the write, as on a full disk.
        let line = format!("trap '' XFSZ; ulimit -f {kib}; TMPDIR=$PWD/tmp exec tidegate {args}");
        let ended = self.shell.script(&line);
        self.check_no_temporary_files();
        ended
    }

    fn check_no_temporary_files(&self) {
        let left: Vec<_> = std::fs::read_dir(self.shell.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
    }
}

#[test]
fn beyond_the_limit_of_temporary_files_the_setting_is_named() {
    let stand = Stand::new();
    let sort = format!("SELECT * FROM ({MANY}) ORDER BY s");
    let create = format!("CREATE TABLE t AS {MANY}");
    for (memory, sql) in [("30MiB", &sort), ("1GiB", &create)] {
        let ended = stand.run(&[
            "--threads",
            "1",
            "--memory-limit",
            memory,
            "--temp-limit",
            "100KiB",
            "-F",
            "null",
            "-c",
            sql,
        ]);
        assert_eq!(ended.code, 4, "{sql}: {}", ended.stderr);
        for part in ["temporary disk space", "--temp-limit"] {
            assert!(ended.stderr.contains(part), "{sql}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("datafusion"), "{}", ended.stderr);
    }
}

#[test]
fn a_table_that_is_dropped_or_replaced_gives_its_space_back() {
    let stand = Stand::new();
    let create = format!("CREATE OR REPLACE TABLE t AS {MANY}");
    let table = format!("{create}; DROP TABLE t; {create}; SELECT count(*) AS n FROM t");
    let limited =
        |limit: &str, sql: &str| stand.run(&["--temp-limit", limit, "-F", "ndjson", "-c", sql]);
    let ended = limited("20MiB", &table);
    assert_eq!(ended.stdout, "{\"n\":300000}\n", "{}", ended.stderr);
    let copies = ["u", "v", "w", "x"].map(|name| format!("CREATE TABLE {name} AS FROM t"));
    let copies = copies.join("; ");
    let ended = limited("20MiB", &format!("{create}; {copies}"));
    assert_eq!(ended.code, 4, "{}", ended.stderr);
}

#[test]
fn a_partitioned_write_heeds_the_number_of_open_files() {
    let stand = Stand::new();
    let copy = "COPY (SELECT value, value % 300 AS k FROM generate_series(1, 20000)) \
        TO 'out/' (FORMAT csv, PARTITION_BY (k), MAX_OPEN_FILES 1000)";
    let count = "SELECT count(*) AS n, count(DISTINCT k) AS k FROM 'out/'";
    let line = format!("ulimit -n 64; tidegate -c \"{copy}\" && tidegate -F ndjson -c \"{count}\"");
    let ended = stand.shell.script(&line);
    assert_eq!(
        ended.stdout, "{\"n\":20000,\"k\":300}\n",
        "{}",
        ended.stderr
    );
}

#[test]
fn a_partitioned_write_in_little_memory_makes_few_files() {
    let stand = Stand::new();
    let rows = "SELECT value, md5(CAST(value AS VARCHAR)) AS s, value % 300 AS k \
        FROM generate_series(1, 100000)";
    for (format, memory) in [("parquet", "100MiB"), ("csv, COMPRESSION xz", "500MiB")] {
        let copy = format!("COPY ({rows}) TO 'out/' (FORMAT {format}, PARTITION_BY (k))");
        let ended = stand.run(&["--memory-limit", memory, "--threads", "2", "-c", &copy]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let files = stand.shell.files("out").len();
        assert!((300..=1200).contains(&files), "{format}: {files} files");
        let check = "SELECT count(*) AS n, count(DISTINCT s) AS d, sum(value) AS s FROM 'out/'";
        let ended = stand.run(&["-F", "ndjson", "-c", check]);
        assert_eq!(
            ended.stdout, "{\"n\":100000,\"d\":100000,\"s\":5000050000}\n",
            "{}",
            ended.stderr
        );
        std::fs::remove_dir_all(stand.shell.path("out")).unwrap();
    }
}

#[test]
fn a_full_device_is_an_error_that_names_it() {
    let stand = Stand::new();
    let copy = format!("COPY ({MANY}) TO '/dev/full' (FORMAT csv)");
    for args in [
        &["-c", &copy][..],
        &["-F", "csv", "-o", "/dev/full", "-c", MANY],
    ] {
        let ended = stand.run(args);
        assert_ne!(ended.code, 0, "{args:?}");
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(ended.stderr.contains("/dev/full"), "{}", ended.stderr);
        let full = ended.stderr.to_lowercase().contains("no space left");
        assert!(full, "{}", ended.stderr);
    }
    assert_eq!(stand.shell.names(), ["tmp"]);
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_file() {
    let stand = Stand::new();
    stand.shell.write("t.csv", "n\n1\n");
    stand.shell.write("d/part-0.csv", "n\n1\n");
    let writes = [
        format!("-c \"COPY ({MANY}) TO 't.csv'\""),
        format!("-o t.csv -c \"{MANY}\""),
        format!("-c \"COPY ({MANY}) TO 'd/' (FORMAT csv, MODE overwrite)\""),
        format!("-c \"COPY ({MANY}) TO 'd/' (FORMAT csv, MODE append)\""),
        format!("-c \"COPY ({MANY}) TO 'new/' (FORMAT parquet)\""),
    ];
    for write in &writes {
        let ended = stand.run_small(200, write);
        assert!(
            matches!(ended.code, 1 | 4),
            "{write}: {} {}",
            ended.code,
            ended.stderr
        );
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert_eq!(stand.shell.read("t.csv"), "n\n1\n", "{write}");
        assert_eq!(stand.shell.read("d/part-0.csv"), "n\n1\n", "{write}");
        assert_eq!(stand.shell.names(), ["d", "t.csv", "tmp"], "{write}");
        let inside = std::fs::read_dir(stand.shell.path("d")).unwrap().count();
        assert_eq!(inside, 1, "{write}");
    }
}

#[test]
fn little_memory_is_an_answer_or_exit_4() {
    let stand = Stand::new();
    let rows = |count: u32| {
        format!(
            "SELECT value AS n, repeat(md5(CAST(value AS VARCHAR)), 4) AS s \
            FROM generate_series(1, {count})"
        )
    };
    let (big, small) = (rows(1_000_000), rows(600_000));
    let queries = [
        format!("SELECT count(*) FROM (SELECT s, row_number() OVER (ORDER BY s) FROM ({big}))"),
        format!("SELECT count(*) FROM ({big}) a JOIN ({small}) b ON a.s = b.s"),
        format!("SELECT count(*) FROM (SELECT s, count(*) FROM ({big}) GROUP BY s)"),
        format!("SELECT n, s FROM ({big}) ORDER BY s LIMIT 900000 OFFSET 899999"),
    ];
    for query in &queries {
        // The limit of temporary files is given, for the default follows from what is free where the test runs.
        let limits = [
            "--memory-limit",
            "64MiB",
            "--temp-limit",
            "4GiB",
            "--timeout",
            "60s",
        ];
        let ended = stand.run(&[&limits[..], &["-c", query]].concat());
        assert!(
            matches!(ended.code, 0 | 4),
            "{query}: {} {}",
            ended.code,
            ended.stderr
        );
        let told = ended.code == 0 || ended.stderr.contains("memory");
        assert!(told, "{query}: {}", ended.stderr);
    }
}

#[test]
fn a_limit_of_time_ends_planning_too() {
    let stand = Stand::new();
    // Each level doubles the time of planning.
    let nested = (0..22).fold("1".to_owned(), |inner, level| {
        format!("(SELECT {inner} + count(*) FROM generate_series(1, 3) AS t{level}(x))")
    });
    let begin = Instant::now();
    let sql = format!("SELECT {nested}");
    let ended = stand.run(&["--timeout", "1s", "--sql-subqueries-max", "24", "-c", &sql]);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(ended.stderr.contains("its limit of 1s"), "{}", ended.stderr);
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_limit_of_time_is_exit_4_in_time() {
    let stand = Stand::new();
    let endless = "SELECT count(DISTINCT a.value + b.value) \
        FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b \
        ON a.value % 10 = b.value % 10";
    let copy = "COPY (SELECT value FROM generate_series(1, 100000000000)) TO 't.csv'";
    for sql in [endless, copy] {
        let begin = Instant::now();
        let ended = stand.run(&["--timeout", "1s", "--memory-limit", "256MiB", "-c", sql]);
        assert_eq!(ended.code, 4, "{sql}: {}", ended.stderr);
        assert!(
            begin.elapsed() < Duration::from_secs(6),
            "{sql}: {:?}",
            begin.elapsed()
        );
        assert!(ended.stderr.contains("its limit of 1s"), "{}", ended.stderr);
        assert_eq!(stand.shell.names(), ["tmp"]);
    }
}
