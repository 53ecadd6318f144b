//! Directories of Parquet files through DataFusion: union, partitions, statistics, pruning, row counts.
#![allow(clippy::unwrap_used, missing_docs, deprecated)]

mod dir;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalDayTimeArray, RecordBatch, StringArray,
};
use arrow::datatypes::IntervalDayTime;
use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, stats::Precision};
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use dir::{Dir, context, run};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tidegate_catalog::{FilesTable, Kind, Value};

impl Dir {
    fn parquet(&self, file: &str, columns: Vec<(&str, ArrayRef)>) {
        self.parquet_with(
            file,
            columns,
            WriterProperties::builder()
                .set_max_row_group_row_count(Some(1_000))
                .build(),
        );
    }

    fn parquet_with(
        &self,
        file: &str,
        columns: Vec<(&str, ArrayRef)>,
        properties: WriterProperties,
    ) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(
            std::fs::File::create(path).unwrap(),
            batch.schema(),
            Some(properties),
        )
        .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn files_are_united_by_name_and_widened() {
    let dir = Dir::new(&[]);
    dir.parquet(
        "d/1.parquet",
        vec![
            ("a", Arc::new(Int16Array::from(vec![1, 2])) as ArrayRef),
            ("b", texts(&["x", "y"])),
        ],
    );
    dir.parquet(
        "d/2.parquet",
        vec![
            ("c", Arc::new(Date32Array::from(vec![1])) as ArrayRef),
            (
                "a",
                Arc::new(
                    Decimal128Array::from(vec![350])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ),
            ),
        ],
    );
    dir.parquet(
        "d/3.parquet",
        vec![
            ("a", Arc::new(Int32Array::from(vec![70_000])) as ArrayRef),
            ("e", texts(&["z"])),
        ],
    );
    assert_eq!(
        dir.query("d", &[], "SELECT a, b, c, e FROM t ORDER BY a")
            .await,
        "1.00,x,NULL,NULL; 2.00,y,NULL,NULL; 3.50,NULL,1970-01-02,NULL; 70000.00,NULL,NULL,z"
    );
    assert_eq!(
        dir.query("d", &[], "SELECT count(*), min(a), max(a), count(c) FROM t")
            .await,
        "4,1.00,70000.00,1"
    );
    assert_eq!(
        dir.query("d", &[], "SELECT b FROM t WHERE a > 1.5 AND a < 3")
            .await,
        "y"
    );
}

#[tokio::test]
async fn types_without_a_common_one_are_an_error_or_text() {
    let dir = Dir::new(&[]);
    dir.parquet("d/1.parquet", vec![("a", ints(&[7]))]);
    dir.parquet("d/2.parquet", vec![("a", texts(&["x"]))]);
    let error = dir.table("d", &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Schema);
    assert!(error.to_string().contains("1.parquet") && error.to_string().contains("2.parquet"));
    let text = [("schema_mode", Value::from("widen_to_string"))];
    assert_eq!(
        dir.query("d", &text, "SELECT a FROM t ORDER BY a").await,
        "7; x"
    );
    assert_eq!(
        dir.query("d", &text, "SELECT min(a), max(a) FROM t").await,
        "7,x"
    );
}

/// DuckDB writes intervals like this; they are decoded without their months.
#[tokio::test]
async fn intervals_that_would_lose_their_months_are_not_read() {
    let dir = Dir::new(&[]);
    let days = IntervalDayTimeArray::from(vec![IntervalDayTime::new(2, 3)]);
    let columns: [(&str, ArrayRef); 2] = [("a", ints(&[7])), ("i", Arc::new(days))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    for (name, plain) in [("foreign.parquet", true), ("ours.parquet", false)] {
        let options = ArrowWriterOptions::new().with_skip_arrow_metadata(plain);
        let file = std::fs::File::create(dir.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let foreign = dir.table("foreign.parquet", &[]).await.unwrap();
    assert_eq!(
        run(Arc::<FilesTable>::clone(&foreign), "SELECT a FROM t").await,
        "7"
    );
    let context = context();
    context.register_table("t", foreign).unwrap();
    let read = context
        .sql("SELECT i FROM t")
        .await
        .unwrap()
        .collect()
        .await;
    let error = read.unwrap_err().to_string();
    assert!(error.contains("the column `i` of"), "{error}");
    let ours = dir.query("ours.parquet", &[], "SELECT i FROM t").await;
    assert_eq!(ours, "2 days 0.003 secs");
}

#[tokio::test]
async fn partitions_are_columns_and_prune() {
    let dir = Dir::new(&[]);
    for (year, region) in [
        (2024, "eu"),
        (2024, "us"),
        (2025, "__HIVE_DEFAULT_PARTITION__"),
        (2026, "a%20b"),
    ] {
        dir.parquet(
            &format!("d/year={year}/region={region}/x.parquet"),
            vec![("v", ints(&[year, year + 1]))],
        );
    }
    let all = "SELECT year, region, count(*), count(region) FROM t GROUP BY ALL ORDER BY 1, 2";
    let all = all.replace("GROUP BY ALL", "GROUP BY 1, 2");
    assert_eq!(
        dir.query("d", &[], &all).await,
        "2024,eu,2,2; 2024,us,2,2; 2025,NULL,2,0; 2026,a b,2,2"
    );
    assert_eq!(
        dir.query(
            "d",
            &[],
            "SELECT count(*), count(region), min(year), max(region) FROM t"
        )
        .await,
        "8,6,2024,us"
    );
    assert_eq!(
        dir.query("d", &[], "SELECT v FROM t WHERE region IS NULL ORDER BY v")
            .await,
        "2025; 2026"
    );
    assert_eq!(
        dir.query(
            "d",
            &[],
            "SELECT v FROM t WHERE year > 2024 AND region LIKE 'a%' AND v > 2026"
        )
        .await,
        "2027"
    );
    assert_eq!(
        dir.query("d/year=2024", &[], "SELECT DISTINCT year FROM t")
            .await,
        "2024"
    );
    assert_eq!(
        dir.query("d", &[], "SELECT v FROM t WHERE year = 1999")
            .await,
        ""
    );

    let context = context();
    context
        .register_table("t", dir.table("d", &[]).await.unwrap())
        .unwrap();
    let plan = context
        .sql("SELECT v FROM t WHERE year = 2024")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    assert_eq!(files_in(&plan), 2);
}

/// How many files the scan below opens.
fn files_in(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let shown = datafusion::physical_plan::displayable(plan.as_ref())
        .indent(true)
        .to_string();
    shown.matches(".parquet").count()
}

#[tokio::test]
async fn a_partition_key_wins_over_a_column_of_its_name() {
    let dir = Dir::new(&[]);
    dir.parquet(
        "d/k=1/x.parquet",
        vec![("k", ints(&[9])), ("v", ints(&[5]))],
    );
    let table = dir.table("d", &[]).await.unwrap();
    assert!(
        table.notices()[0].contains("the directory name counts"),
        "{:?}",
        table.notices()
    );
    assert_eq!(run(table, "SELECT k, v FROM t").await, "1,5");
    let off = [("hive_partitioning", Value::Bool(false))];
    assert_eq!(dir.query("d", &off, "SELECT k, v FROM t").await, "9,5");
}

#[tokio::test]
async fn statistics_are_those_of_a_listing_table() {
    let dir = Dir::new(&[]);
    let values: Vec<i64> = (0..5_000).collect();
    let names: Vec<String> = values.iter().map(|v| format!("n{v:05}")).collect();
    for file in 0..3 {
        let shifted: Vec<i64> = values.iter().map(|v| v + file * 100).collect();
        let names = texts(&names.iter().map(String::as_str).collect::<Vec<_>>());
        dir.parquet(
            &format!("d/p={file}/x.parquet"),
            vec![("a", ints(&shifted)), ("b", names)],
        );
    }
    let ours = dir.table("d", &[]).await.unwrap();
    let context = context();
    let options = ListingOptions::new(Arc::new(
        datafusion::datasource::file_format::parquet::ParquetFormat::default(),
    ))
    .with_table_partition_cols(vec![("p".into(), arrow::datatypes::DataType::Int64)]);
    let url = ListingTableUrl::parse(format!("{}/d/", dir.path().display())).unwrap();
    let config = ListingTableConfig::new(url)
        .with_listing_options(options)
        .infer_schema(&context.state())
        .await
        .unwrap();
    let theirs = ListingTable::try_new(config).unwrap();
    for projection in [None, Some(vec![0]), Some(vec![2, 1])] {
        let ours = ours
            .scan(&context.state(), projection.as_ref(), &[], None)
            .await
            .unwrap();
        let theirs = theirs
            .scan(&context.state(), projection.as_ref(), &[], None)
            .await
            .unwrap();
        assert_eq!(ours.schema(), theirs.schema());
        let (mut ours, mut theirs) = (
            ours.partition_statistics(None).unwrap().as_ref().clone(),
            theirs.partition_statistics(None).unwrap().as_ref().clone(),
        );
        for statistics in [&mut ours, &mut theirs] {
            statistics.total_byte_size = Precision::Absent;
        }
        assert_eq!(ours, theirs);
    }
    let statistics = ours.statistics().unwrap();
    assert_eq!(statistics.num_rows, Precision::Exact(15_000));
    assert_eq!(
        statistics.column_statistics[0].max_value,
        Precision::Exact(ScalarValue::Int64(Some(5_199)))
    );
}

#[tokio::test]
async fn bounds_are_exact_only_where_every_row_group_has_them() {
    let dir = Dir::new(&[]);
    let bare = || {
        WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .build()
    };
    dir.parquet(
        "d/1.parquet",
        vec![
            ("a", ints(&[5, 6])),
            (
                "f",
                Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef,
            ),
        ],
    );
    dir.parquet_with(
        "d/2.parquet",
        vec![
            ("a", ints(&[1, 9])),
            ("f", Arc::new(Float64Array::from(vec![0.0, 2.0]))),
        ],
        bare(),
    );
    assert_eq!(
        dir.query("d", &[], "SELECT min(a), max(a), count(a) FROM t")
            .await,
        "1,9,4"
    );
    assert_eq!(
        dir.query("d/1.parquet", &[], "SELECT max(f) FROM t").await,
        "NaN"
    );
    let all_null = Arc::new(Int64Array::from(vec![None, None])) as ArrayRef;
    dir.parquet("n/1.parquet", vec![("a", all_null)]);
    dir.parquet("n/2.parquet", vec![("a", ints(&[3, 4]))]);
    dir.parquet("n/3.parquet", vec![("b", ints(&[3, 4]))]);
    let table = dir.table("n", &[]).await.unwrap();
    let column = table.statistics().unwrap().column_statistics[0].clone();
    assert_eq!(
        column.min_value,
        Precision::Exact(ScalarValue::Int64(Some(3)))
    );
    assert_eq!(column.null_count, Precision::Exact(4));
    assert_eq!(
        run(table, "SELECT min(a), max(a), count(a), count(*) FROM t").await,
        "3,4,2,6"
    );
}

#[tokio::test]
async fn large_files_are_cut_into_ranges_without_losing_a_row() {
    let dir = Dir::new(&[]);
    for file in 0..3 {
        let values: Vec<i64> = (0..40_000).map(|v| v * 7_919 % 1_000_003 + file).collect();
        dir.parquet(&format!("d/{file}.parquet"), vec![("a", ints(&values))]);
    }
    let table = dir.table("d", &[]).await.unwrap();
    let config = SessionConfig::new()
        .with_target_partitions(3)
        .with_repartition_file_min_size(1_000);
    let context = SessionContext::new_with_config(config);
    context
        .register_table("t", Arc::clone(&table) as Arc<dyn TableProvider>)
        .unwrap();
    let plan = table.scan(&context.state(), None, &[], None).await.unwrap();
    assert!(files_in(&plan) >= 9, "{}", files_in(&plan));
    let found = context
        .sql("SELECT count(a), sum(a) FROM t WHERE a >= 0")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let whole = run(table, "SELECT count(a), sum(a) FROM t WHERE a >= 0").await;
    let value = |column: usize| {
        ScalarValue::try_from_array(found[0].column(column), 0)
            .unwrap()
            .to_string()
    };
    assert_eq!(format!("{},{}", value(0), value(1)), whole);
    assert!(whole.starts_with("120000,"));
}

#[tokio::test]
async fn damaged_files_are_named_or_left_out() {
    let dir = Dir::new(&[]);
    dir.parquet("d/1.parquet", vec![("a", ints(&[1]))]);
    for (name, bytes) in [
        ("2", &b"PAR1 but not really PAR1"[..]),
        ("3", b"x"),
        ("4", b"PAR1\xff\xff\xff\x7fPAR1"),
    ] {
        std::fs::write(dir.path().join(format!("d/{name}.parquet")), bytes).unwrap();
    }
    let error = dir.table("d", &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(
        error
            .to_string()
            .contains("d/2.parquet`: its footer claims"),
        "{error}"
    );
    assert_eq!(
        error.hint.as_deref(),
        Some("leave such files out with `on_corrupt = 'skip'`")
    );
    let skip = [("on_corrupt", Value::from("skip"))];
    let table = dir.table("d", &skip).await.unwrap();
    assert_eq!(table.notices().len(), 3);
    assert_eq!(run(table, "SELECT a FROM t").await, "1");
}

#[tokio::test]
async fn a_damaged_file_that_a_filter_leaves_out_does_no_harm() {
    let dir = Dir::new(&[]);
    for year in [2024, 2025] {
        dir.parquet(
            &format!("d/year={year}/1.parquet"),
            vec![("a", ints(&[year, 1]))],
        );
    }
    dir.write("d/year=2023/1.parquet", b"PAR1 but not really PAR1");
    let table = dir.table("d", &[]).await.unwrap();
    let context = context();
    context.register_table("t", table).unwrap();
    let answer = |sql: &'static str| {
        let context = context.clone();
        async move {
            let found = context.sql(sql).await.unwrap().collect().await;
            let shown = |batches: Vec<RecordBatch>| {
                ScalarValue::try_from_array(batches[0].column(0), 0)
                    .unwrap()
                    .to_string()
            };
            found.map(shown).map_err(|error| error.to_string())
        }
    };
    assert_eq!(
        answer("SELECT sum(a) FROM t WHERE year = 2025")
            .await
            .unwrap(),
        "2026"
    );
    assert_eq!(
        answer("SELECT count(*) FROM t WHERE year > 2023")
            .await
            .unwrap(),
        "4"
    );
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT max(a) FROM t WHERE year < 2025",
    ] {
        let error = answer(sql).await.unwrap_err();
        assert!(
            error.contains("year=2023/1.parquet`: its footer claims"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn names_that_differ_in_case_only_are_one_column() {
    let dir = Dir::new(&[]);
    dir.parquet(
        "d/1.parquet",
        vec![("Id", ints(&[1, 2])), ("v", texts(&["a", "b"]))],
    );
    dir.parquet(
        "d/2.parquet",
        vec![("V", texts(&["c", "d"])), ("id", ints(&[3, 4]))],
    );
    let check =
        async |sql: &str, expect: &str| assert_eq!(dir.query("d", &[], sql).await, expect, "{sql}");
    check("SELECT * FROM t ORDER BY \"Id\"", "1,a; 2,b; 3,c; 4,d").await;
    check("SELECT v FROM t WHERE \"Id\" >= 4", "d").await;
    check("SELECT max(\"Id\"), min(v), count(v) FROM t", "4,a,4").await;
    check("SELECT \"Id\" FROM t WHERE v = 'c'", "3").await;
    // A file that has both spellings means two columns, and then each file its own.
    dir.parquet("e/1.parquet", vec![("x", ints(&[1])), ("X", ints(&[2]))]);
    dir.parquet("e/2.parquet", vec![("X", ints(&[3]))]);
    assert_eq!(
        dir.query("e", &[], "SELECT x, \"X\" FROM t ORDER BY \"X\"")
            .await,
        "1,2; NULL,3"
    );
}

#[tokio::test]
async fn every_row_knows_its_file_and_place() {
    let dir = Dir::new(&[]);
    dir.parquet("d/1.parquet", vec![("a", ints(&[10, 20]))]);
    dir.parquet("d/2.parquet", vec![("a", ints(&[30]))]);
    let found = dir
        .query(
            "d",
            &[],
            "SELECT a, input_file_name(), file_row_index() FROM t ORDER BY a",
        )
        .await;
    let base = dir.path().display().to_string();
    let base = base.trim_start_matches('/');
    assert_eq!(
        found,
        format!("10,{base}/d/1.parquet,0; 20,{base}/d/1.parquet,1; 30,{base}/d/2.parquet,0")
    );
}

#[tokio::test]
async fn a_snapshot_is_the_listing() {
    let dir = Dir::new(&[]);
    dir.parquet("d/1.parquet", vec![("a", ints(&[10, 20]))]);
    let one = dir.table("d", &[]).await.unwrap().snapshot();
    assert_eq!(one, dir.table("d/*.parquet", &[]).await.unwrap().snapshot());
    dir.parquet("d/2.parquet", vec![("a", ints(&[30]))]);
    let two = dir.table("d", &[]).await.unwrap().snapshot();
    assert_ne!(one.id, two.id);
    assert_eq!(one.files[0], two.files[0]);
}
