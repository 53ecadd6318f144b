//! Runs a query over the CSV and Parquet directories in `testdata/` and prints its rows.
#![allow(clippy::print_stdout)]

use tidegate::arrow::util::pretty::pretty_format_batches;
use tidegate::{Session, Value};

/// Joins two directories; `$least` is a parameter.
pub async fn run(testdata: &str) -> Result<String, Box<dyn std::error::Error>> {
    let session = Session::builder().build()?;
    session.set_param("least", Value::Int64(Some(480)));
    let query = session
        .sql(&format!(
            "SELECT zone, count(*) AS trips, sum(fare) AS fares
             FROM '{testdata}/trips/' JOIN '{testdata}/zones/' USING (zone_id)
             GROUP BY ALL HAVING count(*) >= $least ORDER BY zone LIMIT 3"
        ))
        .await?;
    println!("{}", query.explain());
    let batches = query.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    println!("{}", run(testdata).await?);
    Ok(())
}
