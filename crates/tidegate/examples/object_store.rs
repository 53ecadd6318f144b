//! Reads from an object store that the program brings itself: here one in memory.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use tidegate::Session;
use tidegate::extend::object_store::memory::InMemory;
use tidegate::extend::object_store::{ObjectStoreExt, path::Path};

/// Returns the number of rows.
pub async fn run() -> Result<usize, Box<dyn std::error::Error>> {
    let store = Arc::new(InMemory::new());
    store
        .put(&Path::from("data/a.csv"), "id,name\n1,one\n2,two\n".into())
        .await?;
    store
        .put(&Path::from("data/b.csv"), "name,id\nthree,3\n".into())
        .await?;
    let session = Session::builder().build()?;
    session.register_object_store("s3://example", store)?;
    let batches = session
        .sql("SELECT id, name FROM 's3://example/data/' ORDER BY id")
        .await?
        .collect()
        .await?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{} rows", run().await?);
    Ok(())
}
