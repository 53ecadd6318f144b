//! Names, external tables, lists of paths, standard input, compression and interrupted writes.
#![allow(clippy::unwrap_used, missing_docs)]

mod dir;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use dir::{Dir, run};
use tidegate_catalog::{Access, Existing, Format, Kind, Named, ReaderOptions, Settings, Value};

fn record_batch() -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    RecordBatch::try_from_iter([("a", column)]).unwrap()
}

#[tokio::test]
async fn a_directory_becomes_tables_that_are_listed_when_used() {
    let dir = Dir::new(&[
        ("Trips/1.csv", "a\n1\n"),
        ("zones.csv", "b\n2\n"),
        ("zones.json", "{\"b\": 3}\n"),
        ("2026 sales.tsv", "c\td\n4\t5\n"),
        ("broken.parquet", "no"),
        ("README.md", "#"),
        (".hidden.csv", "x\n"),
    ]);
    let catalog = dir.catalog();
    let registered = catalog.register_directory(".").unwrap();
    assert_eq!(
        registered.names,
        ["Trips", "_2026_sales", "broken", "zones"]
    );
    assert_eq!(registered.notices.len(), 1, "{:?}", registered.notices);
    let table = |name: &'static str| {
        let catalog = catalog.clone();
        async move {
            catalog
                .resolve_files(&catalog.look_up(name).unwrap())
                .await
                .map(Option::unwrap)
        }
    };
    assert_eq!(
        run(table("trips").await.unwrap(), "SELECT sum(a) FROM t").await,
        "1"
    );
    dir.write("Trips/2.csv", b"a\n10\n");
    assert_eq!(
        run(table("TRIPS").await.unwrap(), "SELECT sum(a) FROM t").await,
        "11"
    );
    assert_eq!(
        run(table("_2026_sales").await.unwrap(), "SELECT c + d FROM t").await,
        "9"
    );
    assert_eq!(table("broken").await.unwrap_err().kind, Kind::Corrupt);
    assert_eq!(
        catalog.look_up("zonse").unwrap_err().hint.as_deref(),
        Some("did you mean `zones`?")
    );
    let hint = catalog.look_up("README").unwrap_err().hint;
    assert_eq!(hint, None);
    let other = dir.catalog();
    let hint = other.look_up("Trips").unwrap_err().hint;
    assert_eq!(
        hint.as_deref(),
        Some("a path is written in single quotes: FROM 'Trips'")
    );
    let view = || Named::View {
        sql: "SELECT 1".into(),
    };
    assert_eq!(
        catalog
            .register("zones", view(), Existing::Error)
            .unwrap_err()
            .kind,
        Kind::Exists
    );
    catalog.register("zones", view(), Existing::Keep).unwrap();
    assert!(matches!(
        catalog.look_up("zones").unwrap().named,
        Named::Files { .. }
    ));
    catalog
        .register("zones", view(), Existing::Replace)
        .unwrap();
    assert!(matches!(
        catalog.deregister("Zones").unwrap().named,
        Named::View { .. }
    ));
    assert!(catalog.look_up("zones").is_err());
}

#[tokio::test]
async fn declared_columns_pin_names_and_types() {
    let dir = Dir::new(&[
        ("d/1.csv", "B,a,x\n7,007,9\n"),
        ("d/2.csv", "c,a\n2026-11-25,8\n"),
        ("e/1.csv", "007,7\n"),
    ]);
    let catalog = dir.catalog();
    let mut options = ReaderOptions {
        format: Some(Format::Csv),
        ..ReaderOptions::default()
    };
    options.columns = vec![
        Field::new("a", DataType::Utf8View, true),
        Field::new("b", DataType::Int32, true),
        Field::new("c", DataType::Date32, true),
    ];
    let table = catalog.resolve_path("d", &options).await.unwrap();
    assert_eq!(
        run(Arc::clone(&table) as _, "SELECT * FROM t ORDER BY a").await,
        "007,7,NULL; 8,NULL,2026-11-25"
    );
    assert_eq!(table.schema().field(1).data_type(), &DataType::Int32);
    assert!(table.location().unwrap().ends_with("/d"));
    options.columns.pop();
    options.set("header", Value::Bool(false)).unwrap();
    assert_eq!(
        run(
            catalog.resolve_path("e", &options).await.unwrap(),
            "SELECT * FROM t"
        )
        .await,
        "007,7"
    );
    let error = catalog.resolve_path("dd", &options).await.unwrap_err();
    assert_eq!(
        dir.shown(&error),
        "`DIR/dd` does not exist | did you mean `d`?"
    );
    assert!(catalog.resolve_target("x.csv", &options).await.is_err());
    std::fs::create_dir(dir.path().join("none")).unwrap();
    assert!(catalog.resolve_path("none", &options).await.is_ok());
    let empty = catalog.resolve_target("new/dir", &options).await.unwrap();
    assert_eq!(
        run(Arc::clone(&empty) as _, "SELECT count(*), max(a) FROM t").await,
        "0,NULL"
    );
    assert!(empty.location().unwrap().ends_with("/new/dir"));
    assert_eq!(
        catalog
            .resolve_path("new/*.csv", &options)
            .await
            .unwrap_err()
            .kind,
        Kind::NotFound
    );
    let wrong = ReaderOptions {
        columns: vec![Field::new("a", DataType::Int32, true)],
        ..ReaderOptions::default()
    };
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, record_batch().schema(), None).unwrap();
    writer.write(&record_batch()).unwrap();
    writer.close().unwrap();
    dir.write("p/1.parquet", &bytes);
    let error = catalog.resolve_path("p", &wrong).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("column `a` is declared as INTEGER and is BIGINT in"),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_of_paths_is_one_table() {
    let dir = Dir::new(&[
        ("1.csv", "a\n1\n"),
        ("d/2.csv", "a\n2\n"),
        ("d/3.csv", "a\n4\n"),
    ]);
    let paths = ["1.csv".to_owned(), "d/*.csv".to_owned()];
    let table = dir
        .catalog()
        .resolve_paths(&paths, &ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!((table.path(), table.location()), ("1.csv, d/*.csv", None));
    assert_eq!(run(table, "SELECT sum(a) FROM t").await, "7");
    assert!(
        dir.catalog()
            .resolve_paths(&[], &ReaderOptions::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn standard_input_is_spooled_once() {
    let dir = Dir::new(&[("spool", "{\"a\": 5}\n")]);
    let (path, calls) = (dir.path().join("spool"), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let stdin: tidegate_catalog::Spool = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(path.clone())
    });
    let catalog = dir.catalog_with(
        Settings {
            stdin: Some(stdin),
            ..Settings::default()
        },
        Access::everything(),
    );
    for _ in 0..2 {
        let table = catalog
            .resolve_path("-", &ReaderOptions::default())
            .await
            .unwrap();
        assert_eq!(run(table, "SELECT a FROM t").await, "5");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(
        dir.catalog()
            .resolve_path("-", &ReaderOptions::default())
            .await
            .unwrap_err()
            .kind,
        Kind::Unsupported
    );
}

#[tokio::test]
async fn arrow_files_and_compressed_files_are_read() {
    let dir = Dir::new(&[]);
    let mut bytes = Vec::new();
    let mut writer =
        arrow::ipc::writer::FileWriter::try_new(&mut bytes, &record_batch().schema()).unwrap();
    writer.write(&record_batch()).unwrap();
    writer.finish().unwrap();
    drop(writer);
    dir.write("a.arrow", &bytes);
    dir.write("no_extension", &bytes);
    // `a\n1\n2\n`, by gzip.
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff, 0x4b, 0xe4, 0x32, 0xe4, 0x32, 0xe2, 2, 0, 0x80,
        0xc2, 0x7f, 0x70, 6, 0, 0, 0,
    ];
    dir.write("a.csv.gz", &gzip);
    let catalog = dir.catalog();
    for name in ["a.arrow", "no_extension", "a.csv.gz"] {
        let table = catalog
            .resolve_path(name, &ReaderOptions::default())
            .await
            .unwrap();
        assert_eq!(run(table, "SELECT sum(a) FROM t").await, "3", "{name}");
    }
    let mut options = ReaderOptions::default();
    options.set("compression", Value::from("zstd")).unwrap();
    let error = catalog.resolve_path("a.arrow", &options).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is not compressed with zst: it is uncompressed"),
        "{error}"
    );
}

#[tokio::test]
async fn what_an_interrupted_write_left_is_no_data() {
    let dir = Dir::new(&[("d/1.csv", "a\n1\n")]);
    let mode = tidegate_checkpoint::Mode::Append;
    let vfs = Arc::new(tidegate_checkpoint::RealVfs);
    let staged = tidegate_checkpoint::StagedWrite::directory(vfs, &dir.path().join("d"), mode)
        .unwrap()
        .unwrap();
    let mut file = staged.create("2.csv").unwrap();
    file.write_all(b"a\n2\n").unwrap();
    // As a killed process would: nothing is published and nothing is cleaned up.
    std::mem::forget(file);
    std::mem::forget(staged);
    let table = dir
        .catalog()
        .resolve_path("d", &ReaderOptions::default())
        .await
        .unwrap();
    assert_eq!(table.files().len(), 1);
    assert_eq!(run(table, "SELECT sum(a) FROM t").await, "1");
}
