//! How far a query is: the part of a Parquet scan that is done, told while it runs.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::{Progress, Session};

async fn run(session: &Session, sql: &str) {
    session.sql(sql).await.unwrap().collect().await.unwrap();
}

/// Runs a query, and gives the progress before each of its batches and after the last.
async fn watched(session: &Session, sql: &str) -> Vec<Progress> {
    let query = session.sql(sql).await.unwrap();
    let handle = query.handle();
    let mut stream = query.stream().await.unwrap();
    let mut seen = vec![handle.progress()];
    while let Some(batch) = stream.next().await {
        batch.unwrap();
        seen.push(handle.progress());
    }
    seen.push(handle.progress());
    seen
}

/// A session with one thread, and a file of twenty row groups.
async fn with_file(directory: &std::path::Path) -> Session {
    let settings = tidegate::Settings::default().threads(1);
    let builder = Session::builder().settings(settings.clone());
    let session = builder.working_dir(directory).build().unwrap();
    let rows = "SELECT value AS a, repeat('x', 100) || value AS b FROM generate_series(1, 100000)";
    run(
        &session,
        &format!("COPY ({rows} AS t(value)) TO 'f.parquet' (ROW_GROUP_SIZE 5000)"),
    )
    .await;
    session
}

#[tokio::test]
async fn a_scan_of_parquet_tells_the_part_that_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let session = with_file(directory.path()).await;
    for sql in [
        "SELECT a, b FROM 'f.parquet'",
        "SELECT a FROM 'f.parquet'",
        "SELECT b FROM 'f.parquet' WHERE a % 2 = 0",
    ] {
        let seen = watched(&session, sql).await;
        let parts: Vec<f64> = seen.iter().filter_map(|p| p.fraction).collect();
        assert!(parts.is_sorted(), "{sql}: {parts:?}");
        let between = parts.iter().filter(|part| **part > 0.1 && **part < 0.9);
        assert!(between.count() >= 3, "{sql}: {parts:?}");
        let last = seen.last().unwrap();
        assert!(last.done && last.fraction == Some(1.0), "{sql}: {last:?}");
        assert!(
            last.bytes_read > 0 && last.bytes_read <= last.bytes_total,
            "{sql}: {last:?}"
        );
    }
}

#[tokio::test]
async fn row_groups_that_are_left_out_count_as_done() {
    let directory = tempfile::tempdir().unwrap();
    let session = with_file(directory.path()).await;
    let seen = watched(&session, "SELECT b FROM 'f.parquet' WHERE a > 90000").await;
    let first = seen.iter().find(|progress| progress.rows_out > 0).unwrap();
    assert!(first.fraction > Some(0.8), "{first:?}");
}

#[tokio::test]
async fn the_steps_of_planning_are_told() {
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    let hook = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let session = Session::builder().between_steps(hook).build().unwrap();
    let query = session.sql("SELECT 1").await.unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), 2);
    query.collect().await.unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), 2);
}
