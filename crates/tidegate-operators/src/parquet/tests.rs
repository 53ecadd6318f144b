//! Parquet through DataFusion's source and our readers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::input::InputFile;
use crate::source::{ScanAccess, attach};

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]))
}

fn sample(rows: i64) -> Vec<u8> {
    let a = Int64Array::from_iter_values(0..rows);
    let b = StringArray::from_iter_values((0..rows).map(|i| format!("text {}", i % 7)));
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(a), Arc::new(b)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows as usize / 3 + 1))
        .set_bloom_filter_enabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn plan(path: &Path, context: &SessionContext, access: &ScanAccess) -> Arc<dyn ExecutionPlan> {
    let meta = InputFile::local(path).unwrap().meta;
    let source = Arc::new(ParquetSource::new(schema()));
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
        .with_file(PartitionedFile::new_from_meta(meta))
        .build();
    let scan = DataSourceExec::from_data_source(config);
    attach(scan, access, &context.runtime_env()).unwrap()
}

fn count(path: &Path, access: &ScanAccess) -> Result<usize> {
    let context = SessionContext::new();
    let plan = plan(path, &context, access);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let batches = runtime.block_on(datafusion::physical_plan::collect(plan, context.task_ctx()))?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

fn message(error: DataFusionError) -> String {
    match error {
        DataFusionError::External(inner) => inner.to_string(),
        other => format!("not ours: {other}"),
    }
}

#[test]
fn files_are_read_and_their_footers_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    std::fs::write(&path, sample(1000)).unwrap();
    let access = ScanAccess::default();
    assert_eq!(count(&path, &access).unwrap(), 1000);
    assert!(access.footers.bytes() > 0);
    let file = InputFile::local(&path).unwrap();
    let first = footer(&file, &access.footers, &access.limits).unwrap();
    let second = footer(&file, &access.footers, &access.limits).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(first.num_row_groups(), 3);
}

#[test]
fn the_cache_stays_within_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    std::fs::write(&path, sample(10)).unwrap();
    let limits = ScanAccess::default().limits;
    let file = InputFile::local(&path).unwrap();
    let one = footer(&file, &FooterCache::default(), &limits)
        .unwrap()
        .memory_size();
    let cache = FooterCache::new(3 * one);
    for i in 0..20 {
        let path = dir.path().join(format!("{i}.parquet"));
        std::fs::write(&path, sample(10)).unwrap();
        footer(&InputFile::local(&path).unwrap(), &cache, &limits).unwrap();
        assert!(cache.bytes() <= 3 * one);
    }
    assert!(cache.bytes() > 0);
    cache.clear();
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_replaced_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    std::fs::write(&path, sample(1000)).unwrap();
    let context = SessionContext::new();
    let access = ScanAccess::default();
    assert_eq!(count(&path, &access).unwrap(), 1000);
    let plan = plan(&path, &context, &access);
    let other = dir.path().join("b");
    std::fs::write(&other, sample(1000)).unwrap();
    std::fs::rename(&other, &path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let read = runtime.block_on(datafusion::physical_plan::collect(plan, context.task_ctx()));
    let found = message(read.unwrap_err());
    assert!(
        found.starts_with(&format!("`{}` has changed", path.display())),
        "{found}"
    );
}

#[test]
fn a_footer_that_asks_for_gigabytes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evil.parquet");
    // Version 1, then a schema of 2^31 elements.
    let footer = [0x15, 0x02, 0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07];
    let mut bytes = b"PAR1".to_vec();
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(b"PAR1");
    std::fs::write(&path, bytes).unwrap();
    let found = message(count(&path, &ScanAccess::default()).unwrap_err());
    assert!(
        found.contains("evil.parquet") && found.contains("claims 2147483647"),
        "{found}"
    );
    std::fs::write(&path, b"PAR1\xff\xff\xff\x7fPAR1").unwrap();
    let found = message(count(&path, &ScanAccess::default()).unwrap_err());
    assert!(
        found.contains("its footer claims 2147483647 bytes, the file has 12"),
        "{found}"
    );
    std::fs::write(&path, b"id,name\n1,x\n").unwrap();
    let found = message(count(&path, &ScanAccess::default()).unwrap_err());
    assert!(found.contains("this is no Parquet file"), "{found}");
}

/// Four numbers by pyarrow, with a checksum of their page: our writer gives none.
const WITH_CHECKSUM: &str = "504152311500154c154c15b2aad8c6021c15081500150615061c00000002000000080101000000000000000200000000000000030000000000000004000000000000001504192c35001806736368656d6115020015042502180161001608191c191c26001c1504192506001918016115001608167e167e2608491c150015001502003c290619260008000000167e16082608167e002820706172717565742d6370702d6172726f772076657273696f6e2032362e302e31191c1c0000007a00000050415231";

#[test]
fn a_page_that_is_not_what_was_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let digits = WITH_CHECKSUM.as_bytes().chunks(2);
    let mut bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(count(&path, &ScanAccess::default()).unwrap(), 4);
    // The lowest byte of the third number.
    bytes[51] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    let found = message(count(&path, &ScanAccess::default()).unwrap_err());
    assert!(
        found.ends_with("the checksum of a page of column `a` in row group 0 does not match"),
        "{found}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let file = InputFile::local(&path).unwrap();
    let access = ScanAccess::default();
    let verified = runtime.block_on(verify(&file, &access, 10)).unwrap();
    assert!(
        verified.faults[0].what.contains("the checksum of a page"),
        "{:?}",
        verified.faults
    );
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let sound = sample(60);
    for seed in 0..2000u64 {
        let path = dir.path().join(format!("m{}.parquet", seed % 7));
        std::fs::write(&path, crate::source::mutate(&sound, seed)).unwrap();
        let read = std::panic::catch_unwind(|| count(&path, &ScanAccess::default()));
        match read {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let text = message(error);
                assert!(text.contains(".parquet"), "seed {seed}: {text}");
            }
            Err(_) => panic!("seed {seed}: panicked"),
        }
    }
}
