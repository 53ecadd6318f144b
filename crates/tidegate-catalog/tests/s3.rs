//! Reading from S3, against a server on loopback. Runs when `CATALOG_TEST_S3_ENDPOINT` names one (`tests/s3.sh`
//! starts one); else there is nothing to test against.
#![cfg(feature = "cloud")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tidegate_catalog::{Access, Catalog, Kind, ReaderOptions, Settings, Stores};
use url::Url;

fn parquet(from: i64) -> Vec<u8> {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![from, from + 1]));
    let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

async fn sum(catalog: &Catalog, path: &str) -> i64 {
    let table = catalog
        .resolve_path(path, &ReaderOptions::default())
        .await
        .unwrap();
    let registry = Arc::clone(catalog.stores());
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(registry)
        .build_arc()
        .unwrap();
    let context =
        SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime);
    context.register_table("t", table).unwrap();
    let rows = context
        .sql("SELECT sum(a) FROM t")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    rows[0]
        .column(0)
        .as_any()
        .downcast_ref::<Int64Array>()
        .unwrap()
        .value(0)
}

#[tokio::test]
async fn objects_prefixes_and_globs_of_a_bucket_are_tables() {
    if std::env::var_os("CATALOG_TEST_S3_ENDPOINT").is_none() {
        return;
    }
    let catalog = Catalog::new(
        Access::everything(),
        Arc::new(Stores::new(Access::everything())),
        Settings::default(),
    );
    let store: Arc<dyn ObjectStore> = catalog
        .stores()
        .open(&Url::parse("s3://tidegate-test/").unwrap(), None)
        .await
        .unwrap();
    for (key, bytes) in [
        ("t/y=1/a.parquet", parquet(1)),
        ("t/y=2/b.parquet", parquet(10)),
        ("t/_x/c.parquet", parquet(100)),
        ("c.csv", b"a,b\n5,x\n6,y\n".to_vec()),
        ("d/c.ndjson", b"{\"a\": 7}\n".to_vec()),
    ] {
        store.put(&Path::from(key), bytes.into()).await.unwrap();
    }
    assert_eq!(sum(&catalog, "s3://tidegate-test/t").await, 24);
    assert_eq!(sum(&catalog, "s3://tidegate-test/t/*/a.parquet").await, 3);
    assert_eq!(
        sum(&catalog, "s3://tidegate-test/t/y=2/b.parquet").await,
        21
    );
    assert_eq!(sum(&catalog, "s3://tidegate-test/c.csv").await, 11);
    assert_eq!(sum(&catalog, "s3://tidegate-test/d/").await, 7);
    let web = std::env::var("CATALOG_TEST_S3_ENDPOINT").unwrap();
    assert_eq!(
        sum(&catalog, &format!("{web}/tidegate-test/web/c.csv")).await,
        11
    );
    assert_eq!(
        sum(
            &catalog,
            &format!("{web}/tidegate-test/web/c.csv?signature=x")
        )
        .await,
        11
    );
    let options = ReaderOptions::default();
    let error = catalog
        .resolve_path(&format!("{web}/tidegate-test/*.csv"), &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    let table = catalog
        .resolve_path("s3://tidegate-test/t", &options)
        .await
        .unwrap();
    assert_eq!(table.partition_columns()[0].name(), "y");
    assert!(
        table
            .snapshot()
            .files
            .iter()
            .all(|file| file.etag.is_some())
    );
    let error = catalog
        .resolve_path("s3://tidegate-test/c.cvs", &options)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::NotFound, Some("did you mean `c.csv`?"))
    );
    let error = catalog
        .resolve_path("s3://tidegate-none/c.csv", &options)
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("http"), "{error}");
}
