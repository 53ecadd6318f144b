//! Queries as a dataflow: the same rows whether stages stream or are sealed, in however many partitions and threads, and
//! whichever task fails.
#![allow(clippy::unwrap_used)]

#[path = "../../tidegate-plan/tests/tpch/data.rs"]
mod data;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::error::DataFusionError;
use futures::future::BoxFuture;
use tidegate::{Error, Origin, Session, SessionBuilder, Settings};
use tidegate_runtime::scheduler::TaskId;
use tidegate_runtime::staged::{Call, Ran, Worker};
use tidegate_runtime::{Damage, Fault};

use data::{TABLES, queries, write_tables};

async fn session(dir: &Path, way: &[(&str, &str)], fault: Option<Fault>) -> Session {
    let builder = Session::builder().seed(7);
    let builder = match fault {
        Some(fault) => builder.fault(fault),
        None => builder,
    };
    session_of(builder, dir, way).await
}

async fn session_of(builder: SessionBuilder, dir: &Path, way: &[(&str, &str)]) -> Session {
    let threads = way.iter().find(|(name, _)| *name == "threads");
    let threads = threads.map_or(2, |(_, threads)| threads.parse().unwrap());
    let settings = Settings::default().threads(threads);
    let mut settings = settings.memory_limit("1GiB").unwrap();
    for (name, value) in way.iter().filter(|(name, _)| *name != "threads") {
        settings.set(name, value, Origin::Flag).unwrap();
    }
    let session = builder.settings(settings).build().unwrap();
    for table in TABLES {
        let path = dir.join(table);
        let view = format!("CREATE VIEW {table} AS SELECT * FROM '{}/'", path.display());
        session.sql(&view).await.unwrap().collect().await.unwrap();
    }
    session
}

/// The rows of an answer as text, sorted.
async fn rows(session: &Session, sql: &str) -> Result<Vec<String>, Error> {
    let query = session.sql(sql).await?;
    let handle = query.handle();
    let batches = query.collect().await?;
    let notices = handle.notices();
    let undivided = notices
        .iter()
        .find(|notice| notice.message.contains("not divided"));
    assert!(undivided.is_none(), "{sql}");
    let text = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    let mut rows: Vec<String> = text.lines().map(String::from).collect();
    rows.sort();
    Ok(rows)
}

#[tokio::test]
async fn the_22_queries_are_the_same_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let pipelined = session(dir.path(), &[("execution", "pipelined")], None).await;
    let mut expected = Vec::new();
    for (number, sql) in queries() {
        expected.push((number, rows(&pipelined, &sql).await.unwrap(), sql));
    }
    let ways = [("1", "2"), ("2", "1"), ("7", "2"), ("32", "2")];
    let mut compared = 0;
    for (partitions, threads) in ways {
        for execution in ["pipelined", "staged"] {
            let way = [
                ("execution", execution),
                ("partitions", partitions),
                ("threads", threads),
            ];
            let session = session(dir.path(), &way, None).await;
            for (number, expected, sql) in &expected {
                let found = rows(&session, sql).await.unwrap();
                assert_eq!(&found, expected, "q{number:02} {way:?}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 22 * 8);
}

#[tokio::test]
async fn a_task_that_fails_is_run_again_whichever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let staged = [("execution", "staged"), ("partitions", "3")];
    let sound = session(dir.path(), &staged, None).await;
    let mut failed = 0;
    for (number, sql) in queries()
        .into_iter()
        .filter(|(number, _)| [3, 11, 13].contains(number))
    {
        let expected = rows(&sound, &sql).await.unwrap();
        for nth in 0.. {
            let sealed = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&sealed);
            let fault: Fault = Arc::new(move |_, _| {
                let fails = counted.fetch_add(1, Ordering::SeqCst) == nth;
                let why = std::io::Error::other("the disk was away");
                fails.then(|| DataFusionError::IoError(why))
            });
            let session = session(dir.path(), &staged, Some(fault)).await;
            let found = rows(&session, &sql).await.unwrap();
            assert_eq!(found, expected, "q{number:02}, task {nth} fails");
            if sealed.load(Ordering::SeqCst) <= nth {
                break;
            }
            failed += 1;
        }
    }
    assert!(failed > 20, "only {failed} tasks failed");
}

#[tokio::test]
async fn a_task_that_always_fails_ends_the_query_with_its_error() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let fault: Fault = Arc::new(move |task, _| {
        let fails = task.stage == 0 && task.partition == 0;
        counted.fetch_add(usize::from(fails), Ordering::SeqCst);
        fails.then(|| DataFusionError::IoError(std::io::Error::other("the disk is gone")))
    });
    let staged = [
        ("execution", "staged"),
        ("partitions", "2"),
        ("task_attempts", "3"),
    ];
    let session = session(dir.path(), &staged, Some(fault)).await;
    let sql = "SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1";
    let error = rows(&session, sql).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn fifty_queries_at_once_end_within_the_memory() {
    let mut settings = Settings::default()
        .threads(2)
        .memory_limit("128MiB")
        .unwrap();
    settings.set("queries_max", "3", Origin::Flag).unwrap();
    let session = Session::builder().settings(settings).build().unwrap();
    let sql =
        "SELECT count(*) FROM (SELECT value % 100000, count(*) FROM range(200000) GROUP BY 1)";
    let all = (0..50).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { rows(&session, sql).await })
    });
    let all: Vec<_> = all.collect();
    for one in all {
        let rows = one.await.unwrap().unwrap();
        assert!(rows.iter().any(|row| row.contains("100000")), "{rows:?}");
    }
}

#[tokio::test]
async fn one_query_more_than_may_wait_is_an_error() {
    let mut settings = Settings::default()
        .threads(1)
        .memory_limit("128MiB")
        .unwrap();
    settings.set("queries_max", "1", Origin::Flag).unwrap();
    settings
        .set("queries_waiting_max", "0", Origin::Flag)
        .unwrap();
    let session = Session::builder().settings(settings).build().unwrap();
    let open = session
        .sql("SELECT * FROM range(1000000)")
        .await
        .unwrap()
        .stream()
        .await
        .unwrap();
    let error = rows(&session, "SELECT 1").await.unwrap_err();
    assert_eq!(error.code, "queue");
    drop(open);
    assert!(rows(&session, "SELECT 1").await.is_ok());
}

/// What happens to a file after it was sealed.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// A byte in the middle is another one.
    Flipped,
    /// It is cut short.
    Cut,
    /// It is not there.
    Removed,
}

impl Harm {
    fn to(self, path: &Path) {
        match self {
            Harm::Removed => std::fs::remove_file(path).unwrap(),
            Harm::Flipped | Harm::Cut => {
                let mut bytes = std::fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                match self {
                    Harm::Flipped => bytes[middle] ^= 1,
                    _ => bytes.truncate(middle),
                }
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// Runs a query, all files of which are whole but the first one of `task`. Gives the answer, and how often each task
/// was run.
async fn harmed(
    dir: &Path,
    sql: &str,
    task: Option<TaskId>,
    harm: Harm,
) -> (Result<Vec<String>, Error>, BTreeMap<TaskId, usize>) {
    let runs = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = Arc::clone(&runs);
    let damage: Damage = Arc::new(move |sealed, path| {
        let mut runs = counted.lock().unwrap();
        let times: &mut usize = runs.entry(sealed).or_default();
        *times += 1;
        if task == Some(sealed) && *times == 1 {
            harm.to(path);
        }
    });
    let staged = [("execution", "staged"), ("partitions", "3")];
    let session = session_of(Session::builder().seed(7).damage(damage), dir, &staged).await;
    let found = rows(&session, sql).await;
    drop(session);
    let runs = runs.lock().unwrap().clone();
    (found, runs)
}

/// Each file is damaged once. What read it is told, the task that wrote it is run again, and with it those before it
/// whose files were let go. Only what the last stage reads has nobody who could wait for it: that is an error.
#[tokio::test]
async fn a_file_that_is_damaged_between_stages_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let (mut mended, mut refused) = (0, 0);
    for (number, sql) in queries()
        .into_iter()
        .filter(|(number, _)| [3, 11, 13].contains(number))
    {
        let (expected, tasks) = harmed(dir.path(), &sql, None, Harm::Removed).await;
        let expected = expected.unwrap();
        let harms = [Harm::Flipped, Harm::Cut, Harm::Removed];
        for (at, (task, _)) in tasks.iter().enumerate() {
            let harm = harms[at % 3];
            let (found, runs) = harmed(dir.path(), &sql, Some(*task), harm).await;
            let about = format!("q{number:02}, {task} {harm:?}");
            match found {
                Ok(found) => {
                    assert_eq!(found, expected, "{about}");
                    mended += usize::from(runs[task] > 1);
                }
                Err(error) => {
                    let said = format!("what task {}.{} of the query", task.stage, task.partition);
                    assert!(error.message.contains(&said), "{about}: {error}");
                    let last = tasks.keys().map(|task| task.stage).max();
                    assert_eq!(Some(task.stage), last, "{about}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        mended > 20,
        "only {mended} files were made again, {refused} were refused"
    );
}

/// Rows that are divided by chance, or in turn, are divided alike again only if they come in the same order again. If they
/// need not, a file that is lost is an error: others may have read what would now go elsewhere.
#[tokio::test]
async fn a_division_by_chance_is_made_again_only_if_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let of_a_scan = "SELECT l_returnflag, count(*) FROM (FROM lineitem DISTRIBUTE USING RANDOM(3) INTO 4 PARTITIONS) GROUP BY 1";
    let of_groups =
        "SELECT n, count(*) FROM (SELECT l_orderkey, count(*) AS n FROM lineitem GROUP BY 1
        DISTRIBUTE USING ROUND_ROBIN INTO 4 PARTITIONS) GROUP BY n";
    for (sql, is_refused) in [(of_a_scan, false), (of_groups, true)] {
        let (expected, tasks) = harmed(dir.path(), sql, None, Harm::Removed).await;
        let expected = expected.unwrap();
        let last = tasks.keys().map(|task| task.stage).max().unwrap();
        let (mut mended, mut refused) = (0, 0);
        for task in tasks.keys().filter(|task| task.stage < last) {
            let (found, runs) = harmed(dir.path(), sql, Some(*task), Harm::Removed).await;
            match found {
                Ok(found) => {
                    assert_eq!(found, expected, "{sql}, {task}");
                    mended += usize::from(runs[task] > 1);
                }
                Err(error) => {
                    let said = "would divide its rows otherwise";
                    assert!(error.message.contains(said), "{sql}, {task}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(mended > 0, "{sql}: {refused} refused");
        assert_eq!(refused > 0, is_refused, "{sql}: {mended} mended");
    }
}

/// The figures of a step and of all below it: its word and its rows.
fn measured(step: &serde_json::Value, found: &mut Vec<(String, Option<u64>)>) {
    let word = step["word"].as_str().unwrap();
    found.push((word.into(), step["measured"]["rows"].as_u64()));
    for input in step["inputs"].as_array().unwrap() {
        measured(input, found);
    }
}

#[tokio::test]
async fn explain_analyze_tells_what_the_tasks_of_each_stage_did() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let statements = [
        "SELECT o_orderpriority, count(*) FROM orders JOIN lineitem ON o_orderkey = l_orderkey WHERE l_quantity > 20
         GROUP BY 1 ORDER BY 1",
        "SELECT n_name, count(*) FROM nation JOIN supplier ON n_nationkey = s_nationkey GROUP BY 1",
        "SELECT k, count(*) FROM (SELECT l_suppkey AS k FROM lineitem UNION ALL SELECT ps_suppkey FROM partsupp WHERE ps_availqty > 5)
         GROUP BY k",
    ];
    for sql in statements {
        let mut told = Vec::new();
        for execution in ["pipelined", "staged"] {
            let session = session(
                dir.path(),
                &[("execution", execution), ("partitions", "3")],
                None,
            )
            .await;
            let explain = format!("EXPLAIN (ANALYZE, FORMAT json) {sql}");
            let batches = session
                .sql(&explain)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
            let lines = batches.iter().flat_map(|batch| {
                let lines = arrow::array::AsArray::as_string::<i32>(batch.column(0));
                lines.iter().flatten().map(String::from).collect::<Vec<_>>()
            });
            let json: serde_json::Value = serde_json::from_str(&lines.collect::<String>()).unwrap();
            let mut found = Vec::new();
            for stage in json["stages"].as_array().unwrap() {
                measured(&stage["steps"], &mut found);
            }
            told.push(found);
        }
        let (pipelined, staged) = (&told[0], &told[1]);
        assert_eq!(pipelined.len(), staged.len(), "{sql}");
        let mut scans = 0;
        for (one, two) in pipelined.iter().zip(staged) {
            assert_eq!(one.0, two.0, "{sql}");
            // Partial aggregates give as many rows as there are partitions that saw the key, in both.
            if ["scan", "join", "aggregate", "union"]
                .iter()
                .any(|word| one.0.starts_with(word))
            {
                assert!(two.1.is_some(), "{two:?} {sql}");
                scans += usize::from(one.0 == "scan");
            }
            if one.0 == "scan" || one.0.starts_with("join") {
                assert_eq!(one.1, two.1, "{sql}");
            }
        }
        assert_eq!(scans, 2, "{sql}: {pipelined:?}");
    }
}

/// A worker that is gone after so many tasks.
struct Mortal {
    slots: usize,
    left: AtomicUsize,
}

impl Worker for Mortal {
    fn slots(&self) -> usize {
        self.slots
    }

    fn run(&self, call: Call) -> BoxFuture<'static, Ran> {
        let lives = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        Box::pin(async move {
            match lives {
                Ok(_) => Ran::Ended(call.run().await),
                // It dies in the middle of its work.
                Err(_) => {
                    tokio::task::yield_now().await;
                    Ran::WorkerGone
                }
            }
        })
    }
}

#[tokio::test]
async fn workers_that_die_lose_nothing_as_long_as_one_lives() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let way = [
        ("execution", "staged"),
        ("partitions", "4"),
        ("task_attempts", "8"),
    ];
    let plain = session(dir.path(), &way, None).await;
    let mortal = |slots, tasks| -> Arc<dyn Worker> {
        let left = AtomicUsize::new(tasks);
        Arc::new(Mortal { slots, left })
    };
    for (number, sql) in queries() {
        let expected = rows(&plain, &sql).await.unwrap();
        for lives in [[0, 1], [1, 2], [3, 5]] {
            let [first, second] = lives;
            let workers = vec![mortal(1, first), mortal(2, second), mortal(1, usize::MAX)];
            let builder = Session::builder().seed(7).workers(workers);
            let session = session_of(builder, dir.path(), &way).await;
            let found = rows(&session, &sql).await.unwrap();
            assert_eq!(found, expected, "q{number:02} {lives:?}");
        }
    }
    // Nobody is left: an error, and no waiting for ever.
    let builder = Session::builder().workers(vec![mortal(2, 1)]);
    let session = session_of(builder, dir.path(), &way).await;
    let (_, sql) = queries().into_iter().next().unwrap();
    let error = rows(&session, &sql).await.unwrap_err();
    assert!(error.to_string().contains("no worker"), "{error}");
}

/// Settings and their values.
type Way<'a> = &'a [(&'a str, &'a str)];

/// The lines in which EXPLAIN DURABLE says what is sealed.
async fn choices(dir: &Path, way: Way<'_>) -> Vec<String> {
    let session = session(dir, way, None).await;
    let sql = "EXPLAIN DURABLE SELECT o_orderpriority, count(*) FROM orders JOIN lineitem ON o_orderkey = l_orderkey
               GROUP BY 1 ORDER BY 1";
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let lines = batches.iter().flat_map(|batch| {
        let lines = arrow::array::AsArray::as_string::<i32>(batch.column(0));
        lines.iter().flatten().map(String::from).collect::<Vec<_>>()
    });
    lines
        .filter(|line| line.starts_with("sealed ") || line.starts_with("streams"))
        .collect()
}

#[tokio::test]
async fn a_durable_statement_is_sealed_where_it_pays() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let often = [("checkpoint.max_loss", "1us"), ("checkpoint.mtbf", "1us")];
    let full = [&often[..], &[("temp_limit", "16B")]].concat();
    let ways: [(Way<'_>, bool, &str); 4] = [
        (&[], false, "less than twice max_loss"),
        (&full, false, "there is room for"),
        (
            &[("checkpoint.mode", "all")],
            true,
            "everything is to be sealed",
        ),
        (
            &[("checkpoint.mode", "none")],
            false,
            "nothing but the result",
        ),
    ];
    let is_result = |line: &String| line.starts_with("sealed ") && line.contains("the result");
    for (way, is_sealed, why) in ways {
        let mut lines = choices(dir.path(), way).await;
        assert!(lines.len() >= 3, "{way:?}: {lines:?}");
        assert_eq!(lines.iter().filter(|line| is_result(line)).count(), 1);
        lines.retain(|line| !is_result(line));
        for line in lines {
            assert_eq!(line.starts_with("sealed "), is_sealed, "{way:?}: {line}");
            assert!(line.contains(why), "{way:?}: {line}");
        }
    }
    // So little work is not worth a file, where that is what decides.
    let lines = choices(dir.path(), &often).await;
    let counts = |line: &String| line.starts_with("streams") && line.contains("sealing costs");
    assert!(lines.iter().any(counts), "{lines:?}");
}

#[tokio::test]
async fn what_is_more_than_there_is_room_for_is_said_before_the_first_task() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let sql = "SELECT o_orderkey, l_quantity FROM orders JOIN lineitem ON o_orderkey = l_orderkey";
    let ways = [
        ("pipelined", "memory_limit", "1KiB", "tables of joins"),
        (
            "staged",
            "temp_limit",
            "1KiB",
            "the stages of this statement",
        ),
        ("pipelined", "memory_limit", "1GiB", ""),
        ("staged", "temp_limit", "1GiB", ""),
    ];
    for (execution, setting, limit, said) in ways {
        let way = [("execution", execution), (setting, limit)];
        let session = session(dir.path(), &way, None).await;
        let query = session.sql(sql).await.unwrap();
        let handle = query.handle();
        // With so little it may well fail.
        let ended = query.collect().await;
        assert!(ended.is_ok() || !said.is_empty(), "{way:?}");
        let notices = handle.notices();
        let told = notices
            .iter()
            .any(|notice| notice.message.contains("it may end there"));
        assert_eq!(told, !said.is_empty(), "{way:?}: {notices:?}");
        assert!(notices.iter().any(|n| n.message.contains(said)) || said.is_empty());
    }
}
