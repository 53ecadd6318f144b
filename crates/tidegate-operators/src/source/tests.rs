//! Scans of small files through `DataSourceExec`, as a query runs them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod binary;
mod changes;
mod json;
pub(crate) mod mutated;
mod remote;
mod splits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::{Format, RecordSource, ScanAccess};
use crate::csv::{Dialect, OnError};
use crate::input::InputFile;
use crate::json::JsonOptions;

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(&path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
    path
}

fn listed(path: &Path) -> PartitionedFile {
    PartitionedFile::new_from_meta(InputFile::local(path).unwrap().meta)
}

fn fields(columns: &[(&str, DataType)]) -> Arc<Schema> {
    let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn csv() -> Format {
    Format::Csv {
        dialect: Dialect::default(),
        said: Vec::new(),
    }
}

fn skipping() -> Format {
    let dialect = Dialect {
        on_error: OnError::Skip,
        ..Dialect::default()
    };
    Format::Csv {
        dialect,
        said: Vec::new(),
    }
}

fn json() -> Format {
    Format::Json(JsonOptions::default())
}

/// A scan under test.
#[derive(Clone)]
struct Scan {
    format: Format,
    schema: Arc<Schema>,
    partition_columns: Vec<FieldRef>,
    files: Vec<PartitionedFile>,
    access: ScanAccess,
    chunk_bytes: u64,
    columns: Option<Vec<usize>>,
}

impl Scan {
    fn new(format: Format, columns: &[(&str, DataType)], files: &[PathBuf]) -> Self {
        Self {
            format,
            schema: fields(columns),
            partition_columns: Vec::new(),
            files: files.iter().map(|path| listed(path)).collect(),
            access: ScanAccess::default(),
            chunk_bytes: 64,
            columns: None,
        }
    }

    fn plan(&self) -> Arc<dyn ExecutionPlan> {
        let table = TableSchema::builder(Arc::clone(&self.schema))
            .with_table_partition_cols(self.partition_columns.clone())
            .build();
        let source = RecordSource::new(self.format.clone(), table)
            .unwrap()
            .with_access(&self.access)
            .with_chunk_bytes(self.chunk_bytes);
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
                .with_projection_indices(self.columns.clone())
                .unwrap()
                .with_file_group(FileGroup::new(self.files.clone()))
                .build();
        DataSourceExec::from_data_source(config)
    }

    /// The plan dealt to `partitions`.
    fn dealt(&self, partitions: usize) -> Arc<dyn ExecutionPlan> {
        let context = SessionContext::new();
        let mut options = context.copied_config().options().as_ref().clone();
        options.optimizer.repartition_file_min_size = 1;
        let plan = self.plan();
        plan.repartitioned(partitions, &options)
            .unwrap()
            .unwrap_or(plan)
    }

    fn rows(&self) -> Result<Vec<String>> {
        rows(&self.plan())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn task() -> Arc<TaskContext> {
    SessionContext::new().task_ctx()
}

fn batches(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
    runtime().block_on(datafusion::physical_plan::collect(Arc::clone(plan), task()))
}

/// Each row as text.
fn rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<String>> {
    Ok(batches(plan)?.iter().flat_map(text_of).collect())
}

fn text_of(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let formats: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
        .collect();
    let row = |i| {
        formats
            .iter()
            .map(|f| f.value(i).to_string())
            .collect::<Vec<_>>()
            .join("|")
    };
    (0..batch.num_rows()).map(row).collect()
}

fn message(result: Result<Vec<String>>) -> String {
    match result {
        Ok(rows) => panic!("{} rows instead of an error", rows.len()),
        Err(error) => text_of_error(&error),
    }
}

fn text_of_error(error: &DataFusionError) -> String {
    match error {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::Shared(inner) => text_of_error(inner),
        DataFusionError::Context(_, inner) => text_of_error(inner),
        other => format!("not ours: {other}"),
    }
}

fn hive(name: &str, value: &str) -> (FieldRef, ScalarValue) {
    (
        Arc::new(Field::new(name, DataType::Utf8, true)),
        ScalarValue::from(value),
    )
}
