//! What a write leaves on disk and in stores: the bytes of each format, layouts, modes, limits.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tidegate_operators::write::{
    Error, Request, Value, WriteExec, WriteFormat, WriteSpec, encoder,
};

fn encode(format: &WriteFormat, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = encoder(format, batch.schema(), Vec::new()).unwrap();
    encoder.write(batch).unwrap();
    encoder.finish().unwrap()
}

fn text(format: &WriteFormat, batch: &RecordBatch) -> String {
    String::from_utf8(encode(format, batch)).unwrap()
}

fn named(name: &str) -> WriteFormat {
    WriteFormat::named(name).unwrap()
}

fn column<A: Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// One column of each kind; the second row is NULL.
fn kinds() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let record = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Utf8, true)),
        column(StringArray::from(vec![Some("q\"q"), None])),
    )]);
    let keyed: DictionaryArray<Int32Type> = [Some("key"), None].into_iter().collect();
    let stamp = |zone: &str| {
        TimestampMicrosecondArray::from(vec![Some(1_704_067_200_500_000), None]).with_timezone(zone)
    };
    batch(vec![
        ("i", column(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("u", column(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("f", column(Float64Array::from(vec![Some(0.1 + 0.2), None]))),
        ("g", column(Float32Array::from(vec![Some(1e30), None]))),
        (
            "d",
            column(
                Decimal128Array::from(vec![Some(-1_050), None])
                    .with_precision_and_scale(38, 3)
                    .unwrap(),
            ),
        ),
        ("b", column(BooleanArray::from(vec![Some(true), None]))),
        ("s", column(StringViewArray::from(vec![Some("a,b"), None]))),
        ("day", column(Date32Array::from(vec![Some(19_723), None]))),
        (
            "t",
            column(TimestampNanosecondArray::from(vec![Some(1), None])),
        ),
        ("z", column(stamp("Europe/Berlin"))),
        (
            "time",
            column(Time64MicrosecondArray::from(vec![
                Some(3_600_000_001),
                None,
            ])),
        ),
        (
            "x",
            column(BinaryArray::from(vec![Some(&b"a\xff"[..]), None])),
        ),
        ("k", column(keyed)),
        ("l", column(list)),
        ("r", column(record)),
        ("n", column(NullArray::new(2))),
    ])
}

#[test]
fn csv_values_are_exact() {
    let lines = text(&named("csv"), &kinds());
    let mut lines = lines.lines();
    assert_eq!(
        lines.next().unwrap(),
        "i,u,f,g,d,b,s,day,t,z,time,x,k,l,r,n"
    );
    assert_eq!(
        lines.next().unwrap(),
        "-9223372036854775808,18446744073709551615,0.30000000000000004,1e30,-1.050,true,\"a,b\",2024-01-01,\
         1970-01-01 00:00:00.000000001,2024-01-01 01:00:00.5+01,01:00:00.000001,a\\xFF,key,\"[1,null]\",\
         \"{\"\"x\"\":\"\"q\\\"\"q\"\"}\","
    );
    assert_eq!(lines.next().unwrap(), ",,,,,,,,,,,,,,\"{\"\"x\"\":null}\",");
}

#[test]
fn json_values_are_exact() {
    let kinds = kinds();
    let lines = text(&named("ndjson"), &kinds);
    let first = lines.lines().next().unwrap();
    assert_eq!(
        first,
        "{\"i\":-9223372036854775808,\"u\":18446744073709551615,\"f\":0.30000000000000004,\"g\":1.0e30,\"d\":-1.050,\
         \"b\":true,\"s\":\"a,b\",\"day\":\"2024-01-01\",\"t\":\"1970-01-01 00:00:00.000000001\",\
         \"z\":\"2024-01-01 01:00:00.500+01:00\",\"time\":\"01:00:00.000001\",\"x\":\"61ff\",\"k\":\"key\",\
         \"l\":[1,null],\"r\":{\"x\":\"q\\\"q\"},\"n\":null}"
    );
    assert!(
        lines
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("{\"i\":null,\"u\":null")
    );
    let array = text(
        &named("json"),
        &batch(vec![(
            "f",
            column(Float64Array::from(vec![f64::NAN, f64::INFINITY])),
        )]),
    );
    assert_eq!(array, "[{\"f\":null},{\"f\":null}]\n");
    let empty = batch(vec![("a", column(Int32Array::from(Vec::<i32>::new())))]);
    assert_eq!(text(&named("json"), &empty), "[]\n");
    assert_eq!(text(&named("ndjson"), &empty), "");
    assert_eq!(text(&named("csv"), &empty), "a\n");
}

#[test]
fn csv_tells_null_from_empty_and_quotes_what_readers_need() {
    let values = vec![
        None,
        Some(""),
        Some("a"),
        Some("q\"q"),
        Some("l\nl"),
        Some("c\rc"),
        Some("NA"),
        Some("é,"),
    ];
    let rows = batch(vec![
        ("s p", column(StringArray::from(values))),
        ("", column(Int32Array::from(vec![1; 8]))),
    ]);
    let plain = text(&named("csv"), &rows);
    assert_eq!(
        plain,
        "s p,\"\"\n,1\n\"\",1\na,1\n\"q\"\"q\",1\n\"l\nl\",1\n\"c\rc\",1\nNA,1\n\"é,\",1\n"
    );
    let options = [
        ("null", "NA"),
        ("escape", "\\"),
        ("delim", ";"),
        ("header", "false"),
    ];
    let spec = spec("a.csv", &options).unwrap();
    let chosen = text(&spec.format, &rows);
    assert_eq!(
        chosen,
        "NA;1\n\"\";1\na;1\n\"q\\\"q\";1\n\"l\nl\";1\n\"c\rc\";1\n\"NA\";1\né,;1\n"
    );
    let numbers = batch(vec![(
        "a",
        column(Float64Array::from(vec![-1.5, f64::NAN, f64::NEG_INFINITY])),
    )]);
    assert_eq!(text(&named("csv"), &numbers), "a\n-1.5\nnan\n-inf\n");
    let spec = self::spec("a.csv", &[("delim", "-"), ("force_quote", "*")]).unwrap();
    assert_eq!(
        text(&spec.format, &numbers),
        "\"a\"\n\"-1.5\"\n\"nan\"\n\"-inf\"\n"
    );
    let spec = self::spec("a.csv", &[("date_format", "%d.%m.%Y")]).unwrap();
    assert_eq!(
        text(
            &spec.format,
            &batch(vec![("d", column(Date32Array::from(vec![0])))])
        ),
        "d\n01.01.1970\n"
    );
}

#[test]
fn compressed_text_is_that_of_the_method() {
    let rows = batch(vec![("a", column(Int64Array::from_iter_values(0..10_000)))]);
    let plain = encode(&named("csv"), &rows);
    for (suffix, magic) in [
        ("gz", &[0x1f, 0x8b][..]),
        ("zst", &[0x28, 0xb5, 0x2f, 0xfd]),
        ("bz2", b"BZh"),
        ("xz", &[0xfd, b'7', b'z', b'X', b'Z']),
    ] {
        let format = WriteFormat::from_path(&format!("a.csv.{suffix}")).unwrap();
        let bytes = encode(&format, &rows);
        assert!(
            bytes.starts_with(magic) && bytes.len() < plain.len() / 2,
            "{suffix}"
        );
        let mut read = Vec::new();
        let source = bytes.as_slice();
        match suffix {
            "gz" => std::io::copy(&mut flate2::read::GzDecoder::new(source), &mut read),
            "zst" => std::io::copy(&mut zstd::Decoder::new(source).unwrap(), &mut read),
            "bz2" => std::io::copy(&mut bzip2::read::BzDecoder::new(source), &mut read),
            _ => std::io::copy(&mut liblzma::read::XzDecoder::new(source), &mut read),
        }
        .unwrap();
        assert!(read == plain, "{suffix}");
    }
}

#[test]
fn columns_that_a_format_cannot_hold_are_named() {
    let twice = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("a", DataType::Int32, true),
        ])),
        vec![
            column(Int32Array::from(vec![1])),
            column(Int32Array::from(vec![2])),
        ],
    )
    .unwrap();
    for format in ["json", "ndjson", "parquet", "arrow"] {
        let error = encoder(&named(format), twice.schema(), Vec::new())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("cannot write column `a`") && error.contains("same name"),
            "{error}"
        );
    }
    assert_eq!(text(&named("csv"), &twice), "a,a\n1,2\n");
    let interval = Schema::new(vec![Field::new(
        "i",
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        true,
    )]);
    let error = encoder(&named("parquet"), Arc::new(interval), Vec::new())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("cannot write column `i` as parquet"),
        "{error}"
    );
}

fn spec(target: &str, options: &[(&str, &str)]) -> Result<WriteSpec, Error> {
    let option =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
    WriteSpec::new(&Request {
        target: target.to_owned(),
        format: WriteFormat::from_path(target)
            .is_none()
            .then(|| "csv".to_owned()),
        options: options.iter().map(option).collect(),
        ..Request::default()
    })
}

/// Numbers from 0 in as many partitions and batches as asked for, with a key of few values.
fn numbers(partitions: usize, batches: usize, rows: usize) -> Arc<dyn ExecutionPlan> {
    let mut next = 0;
    let mut one = || {
        let ids: Vec<i64> = (next..next + rows as i64).collect();
        next += rows as i64;
        let keys = ids
            .iter()
            .map(|id| (id % 5 != 0).then(|| format!("k/{}", id % 5)));
        batch(vec![
            ("key", column(keys.collect::<StringArray>())),
            ("id", column(Int64Array::from(ids))),
        ])
    };
    let data: Vec<Vec<RecordBatch>> = (0..partitions)
        .map(|_| (0..batches).map(|_| one()).collect())
        .collect();
    let schema = batch(vec![
        ("key", column(StringArray::from(vec![""]))),
        ("id", column(Int64Array::from(vec![0]))),
    ])
    .schema();
    MemorySourceConfig::try_new_exec(&data, schema, None).unwrap()
}

async fn run(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Result<u64, DataFusionError> {
    run_in(input, spec, SessionContext::new().task_ctx()).await
}

async fn run_in(
    input: Arc<dyn ExecutionPlan>,
    spec: WriteSpec,
    context: Arc<TaskContext>,
) -> Result<u64, DataFusionError> {
    // Through its bytes: what cannot be sent elsewhere must not pass here.
    let write = WriteExec::try_new(Arc::clone(&input), spec)?;
    let write = WriteExec::decode(&write.encode(), &[input])?;
    let result = collect(Arc::new(write), context).await?;
    assert_eq!(
        (
            result.len(),
            result[0].num_rows(),
            result[0].schema().field(0).name().as_str()
        ),
        (1, 1, "count")
    );
    Ok(result[0]
        .column(0)
        .as_any()
        .downcast_ref::<UInt64Array>()
        .unwrap()
        .value(0))
}

/// All files below, hidden ones too.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        for entry in fs::read_dir(dir.join(&below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            if dir.join(&path).is_dir() {
                todo.push(path);
            } else {
                found.insert(
                    path.display().to_string(),
                    fs::read(dir.join(&path)).unwrap(),
                );
            }
        }
    }
    found
}

fn lines(files: &BTreeMap<String, Vec<u8>>) -> usize {
    files
        .values()
        .map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() - 1)
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_holds_all_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    for _ in 0..2 {
        let spec = spec(path.to_str().unwrap(), &[]).unwrap();
        assert_eq!(run(numbers(3, 2, 100), spec).await.unwrap(), 600);
    }
    let found = files(dir.path());
    assert_eq!((found.len(), lines(&found)), (1, 600));
}

#[tokio::test]
async fn a_directory_has_a_file_for_each_partition() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}/out/", dir.path().display());
    assert_eq!(
        run(numbers(3, 2, 100), spec(&target, &[]).unwrap())
            .await
            .unwrap(),
        600
    );
    let found = files(dir.path());
    assert_eq!((found.len(), lines(&found)), (3, 600));
    let error = run(numbers(1, 1, 1), spec(&target, &[]).unwrap())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("already exists and is not empty; use MODE overwrite or append"),
        "{error}"
    );
    run(
        numbers(1, 1, 50),
        spec(&target, &[("mode", "append")]).unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(
        (files(dir.path()).len(), lines(&files(dir.path()))),
        (4, 650)
    );
    assert_eq!(
        run(
            numbers(1, 1, 7),
            spec(&target, &[("mode", "ignore")]).unwrap()
        )
        .await
        .unwrap(),
        0
    );
    run(
        numbers(1, 1, 7),
        spec(&target, &[("mode", "overwrite")]).unwrap(),
    )
    .await
    .unwrap();
    assert_eq!((files(dir.path()).len(), lines(&files(dir.path()))), (1, 7));
    // A directory that exists is one, whatever its name.
    run(
        numbers(1, 1, 1),
        spec(target.trim_end_matches('/'), &[("mode", "append")]).unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(files(dir.path()).len(), 2);
}

#[tokio::test]
async fn no_rows_still_tell_the_columns() {
    let dir = tempfile::tempdir().unwrap();
    for target in ["out/", "a.parquet", "a.arrow", "a.csv"] {
        let target = format!("{}/{target}", dir.path().display());
        assert_eq!(
            run(numbers(2, 0, 0), spec(&target, &[]).unwrap())
                .await
                .unwrap(),
            0
        );
    }
    let found = files(dir.path());
    assert_eq!(found.len(), 4);
    assert!(found.values().all(|bytes| !bytes.is_empty()));
}

#[tokio::test]
async fn large_files_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}/out", dir.path().display());
    run(
        numbers(1, 20, 1000),
        spec(&target, &[("file_size_bytes", "20KB")]).unwrap(),
    )
    .await
    .unwrap();
    let found = files(dir.path());
    assert!(
        found.len() > 5 && lines(&found) == 20_000,
        "{}",
        found.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_become_directories() {
    let dir = tempfile::tempdir().unwrap();
    for open_files_max in ["100", "1"] {
        let target = format!("{}/out{open_files_max}", dir.path().display());
        let mut spec = spec(&target, &[("max_open_files", open_files_max)]).unwrap();
        spec.partition_by = vec!["KEY".to_owned()];
        spec.layout = tidegate_operators::write::Layout::Directory;
        assert_eq!(run(numbers(2, 3, 50), spec).await.unwrap(), 300);
        let found = files(Path::new(&target));
        let mut dirs: Vec<_> = found
            .keys()
            .map(|name| name.split('/').next().unwrap())
            .collect();
        dirs.dedup();
        assert_eq!(
            dirs,
            [
                "key=__HIVE_DEFAULT_PARTITION__",
                "key=k%2F1",
                "key=k%2F2",
                "key=k%2F3",
                "key=k%2F4"
            ]
        );
        assert_eq!(lines(&found), 300);
        assert!(
            found.values().all(|bytes| bytes.starts_with(b"id\n")),
            "the key is in the path only"
        );
        if open_files_max == "100" {
            assert_eq!(found.len(), 10);
        }
    }
}

#[test]
fn partition_columns_must_exist_and_leave_others() {
    let refused = |columns: &[&str]| {
        let mut spec = spec("out/", &[]).unwrap();
        spec.partition_by = columns.iter().map(|name| (*name).to_owned()).collect();
        WriteExec::try_new(numbers(1, 1, 1), spec)
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused(&["nope"])
            .contains("cannot partition by `nope`: there is no such column; there are key, id")
    );
    assert!(refused(&["key", "key"]).contains("named twice"));
    assert!(refused(&["key", "id"]).contains("no other column is left"));
}

/// Some good batches, then an error.
#[derive(Debug)]
struct Failing(SchemaRef, RecordBatch);

impl PartitionStream for Failing {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let good = (0..50).map(|_| Ok(self.1.clone())).collect::<Vec<_>>();
        let bad = Err(DataFusionError::Execution("the input broke".to_owned()));
        let stream = futures::stream::iter(good.into_iter().chain([bad]));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0), stream))
    }
}

fn failing() -> Arc<dyn ExecutionPlan> {
    let rows = batch(vec![(
        "id",
        column(Int64Array::from_iter_values(0..10_000)),
    )]);
    let one = || Arc::new(Failing(rows.schema(), rows.clone())) as Arc<dyn PartitionStream>;
    let plan =
        StreamingTableExec::try_new(rows.schema(), vec![one(), one()], None, None, false, None);
    Arc::new(plan.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("a.csv");
    fs::write(&old, "old").unwrap();
    for target in ["a.csv", "new.parquet", "out/", "deep/er/out/"] {
        let target = format!("{}/{target}", dir.path().display());
        let error = run(failing(), spec(&target, &[]).unwrap())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("the input broke"), "{error}");
    }
    until(|| fs::read_dir(dir.path()).unwrap().count() == 1).await;
    assert_eq!(fs::read(&old).unwrap(), b"old");
}

#[tokio::test]
async fn a_dropped_write_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}/out/", dir.path().display());
    let write = WriteExec::try_new(numbers(4, 50, 1000), spec(&target, &[]).unwrap()).unwrap();
    let context = SessionContext::new().task_ctx();
    let running = tokio::spawn(collect(Arc::new(write), context));
    until(|| fs::read_dir(dir.path()).unwrap().count() == 1).await;
    running.abort();
    let _ = running.await;
    until(|| fs::read_dir(dir.path()).unwrap().count() == 0).await;
}

/// Waits for something that other tasks bring about.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(done(), "it did not come about in ten seconds");
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let write = WriteExec::try_new(numbers(1, 1, 10), spec("/dev/full", &[]).unwrap()).unwrap();
    let error = collect(Arc::new(write), SessionContext::new().task_ctx())
        .await
        .unwrap_err();
    let DataFusionError::External(error) = error else {
        unreachable!("{error}");
    };
    assert!(
        error.downcast_ref::<Error>().unwrap().is_storage_full(),
        "{error}"
    );
}

#[tokio::test]
async fn little_memory_makes_small_row_groups() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}/a.parquet", dir.path().display());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(512 << 10, 1.0)
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(Default::default(), runtime).task_ctx();
    run_in(numbers(1, 200, 1000), spec(&target, &[]).unwrap(), context)
        .await
        .unwrap();
    let file = fs::File::open(&target).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert!(reader.metadata().num_row_groups() > 1);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 200_000);
}

#[tokio::test]
async fn parquet_and_arrow_come_back_as_they_were() {
    let kinds = kinds();
    let bytes = encode(
        &named("parquet"),
        &kinds.project(&(0..15).collect::<Vec<_>>()).unwrap(),
    );
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        bytes::Bytes::from(bytes),
        10,
    )
    .unwrap();
    let read = reader.map(Result::unwrap).collect::<Vec<_>>();
    for index in 0..15 {
        let (back, there) = (read[0].column(index), kinds.column(index));
        if !matches!(there.data_type(), DataType::Dictionary(..)) {
            assert_eq!(back, there, "{}", kinds.schema().field(index).name());
        }
    }
    let bytes = encode(&named("arrow"), &kinds);
    let reader =
        arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let read = reader.map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(
        read[0].column(9).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()))
    );
    assert_eq!(
        (read[0].num_rows(), read[0].column(0)),
        (2, kinds.column(0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_show_nothing_before_the_commit() {
    let store = Arc::new(InMemory::new());
    let session = SessionContext::new();
    let url = datafusion::execution::object_store::ObjectStoreUrl::parse("mem://b").unwrap();
    session.register_object_store(url.as_ref(), Arc::clone(&store) as Arc<dyn ObjectStore>);
    let listed = || async {
        use futures::TryStreamExt;
        let found: Vec<_> = store.list(None).try_collect().await.unwrap();
        found
            .iter()
            .map(|object| object.location.to_string())
            .collect::<Vec<_>>()
    };
    let go = |input, target: &str, options: &[(&str, &str)]| {
        run_in(input, spec(target, options).unwrap(), session.task_ctx())
    };
    assert!(go(failing(), "mem://b/out/", &[]).await.is_err());
    assert!(listed().await.is_empty());
    assert_eq!(
        go(numbers(2, 1, 10), "mem://b/out/", &[]).await.unwrap(),
        20
    );
    assert_eq!(listed().await.len(), 2);
    let error = go(numbers(1, 1, 10), "mem://b/out/", &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("use MODE append"), "{error}");
    let error = go(numbers(1, 1, 10), "mem://b/out/", &[("mode", "overwrite")])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot be replaced at once"), "{error}");
    go(numbers(1, 1, 10), "mem://b/out/", &[("mode", "append")])
        .await
        .unwrap();
    assert_eq!(listed().await.len(), 3);
    go(numbers(1, 1, 10), "mem://b/one.csv", &[]).await.unwrap();
    go(numbers(1, 1, 11), "mem://b/one.csv", &[]).await.unwrap();
    let one = store
        .get(&"one.csv".into())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(one.iter().filter(|byte| **byte == b'\n').count(), 12);
    let mut by_key = spec("mem://b/keys/", &[]).unwrap();
    by_key.partition_by = vec!["key".to_owned()];
    run_in(numbers(1, 1, 10), by_key, session.task_ctx())
        .await
        .unwrap();
    let keys = listed()
        .await
        .into_iter()
        .filter(|name| name.starts_with("keys/key=k%2F1/part-"));
    assert_eq!(keys.count(), 1);
}
