//! Writes a directory of Parquet from a query, appends to it, and reads it back.
#![allow(clippy::print_stdout)]

use std::path::Path;

use tidegate::Session;

/// Returns the number of rows in the directory at the end.
pub async fn run(directory: &Path) -> Result<usize, tidegate::Error> {
    let session = Session::builder().build()?;
    let out = directory.join("squares/").display().to_string();
    for mode in ["overwrite", "append"] {
        let copy = format!(
            "COPY (SELECT value AS n, value * value AS square FROM range(1000)) TO '{out}' (FORMAT parquet, MODE {mode})"
        );
        session.sql(&copy).await?.collect().await?;
    }
    let batches = session
        .sql(&format!("FROM '{out}'"))
        .await?
        .collect()
        .await?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("tidegate-example-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    println!("{} rows", run(&directory).await?);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
