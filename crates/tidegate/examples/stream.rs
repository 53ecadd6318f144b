//! Reads a result batch by batch, watches how far it is, and cancels it half-way.
#![allow(clippy::print_stdout)]

use tidegate::{ErrorKind, Session};

/// Reads some rows of an endless join, then cancels. Returns the rows that were read.
pub async fn run() -> Result<usize, tidegate::Error> {
    let session = Session::builder().build()?;
    let query = session
        .sql("SELECT a.value + b.value AS n FROM range(1000000) a, range(1000000) b")
        .await?;
    let handle = query.handle();
    let mut stream = query.stream().await?;
    let mut rows = 0;
    while rows < 100_000 {
        match stream.next().await {
            Some(batch) => rows += batch?.num_rows(),
            None => break,
        }
    }
    println!("{rows} rows after {:?}", handle.progress().elapsed);
    handle.cancel();
    loop {
        match stream.next().await {
            Some(Ok(_)) => continue,
            Some(Err(error)) => assert_eq!(error.kind, ErrorKind::Cancelled),
            None => break,
        }
    }
    Ok(rows)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tidegate::Error> {
    run().await.map(|_| ())
}
