//! Floats in files: a NaN is one value above all numbers and both zeros are one, whatever a footer says of bounds.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tidegate::Session;

/// Two rows a row group, one row a page; bounds leave NaN out, bloom filters know the bits of a value.
fn parquet(path: &Path, values: &[f64]) {
    let small = values.iter().map(|value| *value as f32).collect::<Vec<_>>();
    let f: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let s: ArrayRef = Arc::new(Float32Array::from(small));
    let batch = RecordBatch::try_from_iter([("f", f), ("s", s)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .set_data_page_row_count_limit(1)
        .set_write_batch_size(1)
        .set_bloom_filter_enabled(true)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn arrow_file(path: &Path, values: &[f64]) {
    let f: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let s = Arc::clone(&f);
    let batch = RecordBatch::try_from_iter([("f", f), ("s", s)]).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

async fn count(session: &Session, sql: &str) -> i64 {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let column = batches[0].column(0);
    let counts = column.as_any().downcast_ref::<arrow::array::Int64Array>();
    counts.unwrap().value(0)
}

#[tokio::test]
async fn conditions_on_floats_of_files_mean_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let odd = f64::from_bits(0xfff8_0000_0000_0007);
    let values = [
        1.0,
        f64::NAN,
        2.0,
        -f64::NAN,
        3.0,
        odd,
        -0.0,
        0.5,
        0.0,
        0.25,
    ];
    parquet(&dir.path().join("f.parquet"), &values);
    arrow_file(&dir.path().join("f.arrow"), &values);
    let session = Session::builder().working_dir(dir.path()).build().unwrap();
    let cases = [
        ("f > 5", 3),
        ("f >= 2", 5),
        ("f < 1", 4),
        ("f <> 1", 9),
        ("f = 'NaN'::DOUBLE", 3),
        ("f = 0.5", 1),
        ("f = -0.0", 2),
        ("f = 0.0::DOUBLE", 2),
        ("f <= -0.0", 2),
        ("f >= 0.0::DOUBLE", 10),
        ("s > 5", 3),
        ("s = -0.0", 2),
        ("f = -1", 0),
        ("f IN (0.5, 'NaN'::DOUBLE)", 4),
    ];
    for file in ["f.parquet", "f.arrow"] {
        for (condition, expected) in cases {
            let sql = format!("SELECT count(*) FROM '{file}' WHERE {condition}");
            let found = count(&session, &sql).await;
            assert_eq!(found, expected, "{file}: {condition}");
        }
        let distinct = format!("SELECT count(DISTINCT f) FROM '{file}'");
        assert_eq!(count(&session, &distinct).await, 7, "{file}");
        let joined = format!("SELECT count(*) FROM '{file}' a JOIN '{file}' b USING (f)");
        assert_eq!(count(&session, &joined).await, 5 + 9 + 4, "{file}");
    }
}

#[tokio::test]
async fn sums_of_infinities_are_above_all_numbers() {
    let session = Session::builder().build().unwrap();
    let rows = "(VALUES (1, 'inf'::DOUBLE), (1, '-inf'::DOUBLE), (2, 1e0)) t(k, v)";
    for function in ["sum", "avg"] {
        let grouped = format!(
            "SELECT count(*) FROM (SELECT k FROM {rows} GROUP BY k HAVING {function}(v) > 5)"
        );
        assert_eq!(count(&session, &grouped).await, 1, "{function}");
        let whole =
            format!("SELECT count(*) FROM (SELECT {function}(v) AS x FROM {rows}) WHERE x > 5");
        assert_eq!(count(&session, &whole).await, 1, "{function}");
        let windows = format!(
            "SELECT count(*) FROM (SELECT {function}(v) OVER (PARTITION BY k) AS x FROM {rows}) WHERE x > 5"
        );
        assert_eq!(count(&session, &windows).await, 2, "{function}");
    }
}
