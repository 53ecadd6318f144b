//! Builds a query verb by verb, with a function of the program among them, and writes a file for each partition.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;

use tidegate::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use tidegate::arrow::datatypes::{DataType, Field, Schema};
use tidegate::expr::{JoinType, col, count_all, lit, sum};
use tidegate::{Division, Output, Session};

/// Puts the first letter of each zone beside it: what SQL cannot say a program can.
fn register_initials(session: &Session) {
    let columns = |input: &Schema| {
        let initial = Arc::new(Field::new("initial", DataType::Utf8, true));
        let fields = input.fields().iter().cloned().chain([initial]);
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    };
    session.register_map("initials", columns, move |batch| {
        let zones = batch.column_by_name("zone").cloned();
        let zones =
            tidegate::arrow::compute::cast(&zones.expect("it was asked for"), &DataType::Utf8)?;
        let first = |zone: Option<&str>| Some(zone?.chars().take(1).collect::<String>());
        let initials: StringArray = zones.as_string::<i32>().iter().map(first).collect();
        let initials: ArrayRef = Arc::new(initials);
        let all = batch.columns().iter().cloned().chain([initials]);
        Ok(RecordBatch::try_new(
            columns(&batch.schema())?,
            all.collect(),
        )?)
    });
}

/// Returns how many files were written, and how many rows.
pub async fn run(testdata: &str, directory: &Path) -> Result<(usize, usize), tidegate::Error> {
    let session = Session::builder().build()?;
    register_initials(&session);
    let out = directory.join("by-initial/").display().to_string();
    let zones = session.scan(&format!("{testdata}/zones/")).alias("z");
    let flow = session
        .scan(&format!("{testdata}/trips/"))
        .filter(col("fare").gt(lit(10)))
        .alias("t")
        .join(
            zones,
            JoinType::Inner,
            [(col("t.zone_id"), col("z.zone_id"))],
        )
        .map([col("z.zone"), col("t.fare")])
        .map_batches("initials")
        .aggregate(
            [col("initial"), col("zone")],
            [count_all().alias("trips"), sum(col("fare")).alias("fares")],
        )
        .partition(Division::hash([col("initial")]), 3)
        .write(Output::to(&out).format("csv"));
    let query = flow.query().await?;
    println!("{}", query.explain());
    query.collect().await?;

    let written = session.scan(&out).query().await?.collect().await?;
    let rows = written.iter().map(|batch| batch.num_rows()).sum();
    let files = std::fs::read_dir(&out).map_or(0, |files| files.count());
    Ok((files, rows))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
    let directory = std::env::temp_dir().join(format!("tidegate-example-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    println!("{:?}", run(testdata, &directory).await?);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
