//! The examples run, in a current-thread runtime and without one.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

#[path = "../examples/dataflow.rs"]
mod dataflow;
#[path = "../examples/functions.rs"]
mod functions;
#[path = "../examples/object_store.rs"]
mod object_store;
#[path = "../examples/query.rs"]
mod query;
#[path = "../examples/stream.rs"]
mod stream;
#[path = "../examples/threads.rs"]
mod threads;
#[path = "../examples/write.rs"]
mod write;

#[tokio::test]
async fn a_query_joins_two_directories() {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    let table = query::run(testdata).await.unwrap();
    assert!(table.contains("| Airport | 500   | 13337.50 |"), "{table}");
}

#[tokio::test]
async fn a_stream_is_cancelled_half_way() {
    assert!(stream::run().await.unwrap() >= 100_000);
}

#[test]
fn plain_threads_share_a_session() {
    assert_eq!(threads::run().unwrap(), 10 + 9 + 8 + 7);
}

#[tokio::test]
async fn a_directory_is_written_and_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(write::run(directory.path()).await.unwrap(), 2000);
}

#[tokio::test]
async fn functions_of_the_program_are_called() {
    assert_eq!(functions::run().await.unwrap(), 4.0 * 6.0 + 43.0);
}

#[tokio::test]
async fn an_object_store_of_the_program_is_read() {
    assert_eq!(object_store::run().await.unwrap(), 3);
}

#[tokio::test]
async fn a_dataflow_with_a_function_of_the_program_is_written() {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    let directory = tempfile::tempdir().unwrap();
    let (files, rows) = dataflow::run(testdata, directory.path()).await.unwrap();
    assert!((1..=3).contains(&files), "{files} files");
    assert_eq!(rows, 12);
}
