//! Queries as a dataflow: the same rows whether stages stream or are sealed, in however many partitions and threads, and
//! whichever task fails.
#![allow(clippy::unwrap_used)]

#[path = "../../tidegate-plan/tests/tpch/data.rs"]
mod data;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::DataFusionError;
use tidegate::{Error, Origin, Session, Settings};
use tidegate_runtime::Fault;

use data::{TABLES, queries, write_tables};

async fn session(dir: &Path, way: &[(&str, &str)], fault: Option<Fault>) -> Session {
    let mut builder = Session::builder().seed(7);
    if let Some(fault) = fault {
        builder = builder.fault(fault);
    }
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
