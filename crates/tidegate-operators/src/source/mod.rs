//! Scanning CSV, JSON, Arrow and Avro files: [`RecordSource`], a DataFusion file source.
//!
//! Columns are matched by name: a column a file does not have is NULL, a narrower type is widened, and
//! what cannot be widened without loss is an error that names file and column. Files of one scan may
//! differ in the order of their columns and in compression. Big plain CSV and NDJSON files are cut
//! into ranges; `text` says how the cuts are found exactly.

mod access;
mod adapt;
mod attach;
mod batching;
mod csv_text;
mod deal;
pub(crate) mod flow;
mod infer;
mod json_text;
mod names;
pub(crate) mod opener;
pub(crate) mod project;
#[cfg(test)]
mod tests;
pub(crate) mod text;
#[cfg(test)]
pub(crate) use tests::mutated::mutate;

pub use access::{ScanAccess, ScanLimits};
pub(crate) use adapt::{Adapter, first_line};
pub use adapt::{cast_column, widens};
pub use attach::{attach, record_scan};
pub use batching::Batching;
pub use csv_text::survey;
pub use infer::{InferOptions, infer};
pub use names::{NamesAdapterFactory, places};

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, apply_expression_roots};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::csv::{Dialect, Encoding};
use crate::json::JsonOptions;
use opener::Opener;
use project::ScanProjection;
use text::SharedFiles;

/// Rows a batch when nobody says how many.
const BATCH_ROWS: usize = 8192;

/// Files from this size on are cut into ranges, where their format allows it.
const CUT_BYTES_MIN: usize = 4 << 20;

/// The format of the files of a scan, and all that is decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Fields between delimiters.
    Csv {
        /// How they are written.
        dialect: Dialect,
        /// The columns whose types the user gave; those of the others were inferred.
        said: Vec<String>,
    },
    /// One value a line, or one array.
    Json(JsonOptions),
    /// Arrow IPC, as a file or as a stream: told by the first bytes.
    Arrow,
    /// Avro object container files.
    Avro,
}

impl Format {
    /// Its name in plans and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Csv { .. } => "csv",
            Self::Json(_) => "json",
            Self::Arrow => "arrow",
            Self::Avro => "avro",
        }
    }

    /// True if a plain file of the format can be read from several places at once.
    fn can_be_cut(&self) -> bool {
        match self {
            Self::Csv { dialect, .. } => dialect.encoding == Encoding::Utf8,
            Self::Json(_) | Self::Arrow => true,
            Self::Avro => false,
        }
    }
}

/// Reads files of one [`Format`]; stands in a `DataSourceExec`.
#[derive(Debug, Clone)]
pub struct RecordSource {
    format: Arc<Format>,
    table: TableSchema,
    projection: ProjectionExprs,
    scan: ScanProjection,
    batch_rows: usize,
    chunk_bytes: u64,
    metrics: ExecutionPlanMetricsSet,
    access: ScanAccess,
    /// What the partitions of this scan know of the files they share.
    shared: Arc<SharedFiles>,
}

impl RecordSource {
    /// A scan of all columns of `table`.
    pub fn new(format: Format, table: TableSchema) -> Result<Self> {
        let all: Vec<usize> = (0..table.table_schema().fields().len()).collect();
        let projection = ProjectionExprs::from_indices(&all, table.table_schema());
        Ok(Self {
            format: Arc::new(format),
            scan: ScanProjection::new(&table, &projection)?,
            projection,
            table,
            batch_rows: BATCH_ROWS,
            chunk_bytes: ScanLimits::default().chunk_bytes,
            metrics: ExecutionPlanMetricsSet::new(),
            access: ScanAccess::default(),
            shared: Arc::default(),
        })
    }

    /// The same scan with what it is given to run with. Ranges that were dealt stay valid.
    pub fn with_access(self, access: &ScanAccess) -> Self {
        Self {
            access: access.clone(),
            shared: Arc::default(),
            ..self
        }
    }

    /// The same scan reading text in chunks of `bytes`; ranges dealt before are no longer valid.
    pub fn with_chunk_bytes(self, bytes: u64) -> Self {
        Self {
            chunk_bytes: bytes.max(1),
            shared: Arc::default(),
            ..self
        }
    }

    pub(crate) fn access(&self) -> &ScanAccess {
        &self.access
    }

    pub(crate) fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// What is read from each file: the columns wanted, then the row number if it is wanted.
    pub(crate) fn read_schema(&self) -> &SchemaRef {
        &self.scan.read_schema
    }

    pub(crate) fn wants_rows(&self) -> bool {
        self.scan.rows
    }

    /// The columns wanted of each file.
    pub(crate) fn file_columns(&self) -> SchemaRef {
        let file_schema = self.table.file_schema();
        let fields = self
            .scan
            .columns
            .iter()
            .map(|&place| Arc::clone(&file_schema.fields()[place]));
        Arc::new(Schema::new(fields.collect::<Fields>()))
    }

    /// For each of [`RecordSource::file_columns`], its place among the columns `own` of a file.
    pub(crate) fn places_in<'a>(
        &'a self,
        own: impl Iterator<Item = &'a str>,
    ) -> Vec<Option<usize>> {
        let table = self.table.file_schema().fields();
        let places = names::places(own, table.iter().map(|field| field.name().as_str()));
        self.scan
            .columns
            .iter()
            .map(|&column| places[column])
            .collect()
    }

    /// The format and its options.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Bytes read at a time from a text file; ranges begin at multiples of it.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }
}

impl FileSource for RecordSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let url = base_config.object_store_url.clone();
        Ok(Arc::new(Opener::new(
            self.clone(),
            object_store,
            url,
            partition,
        )))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_rows: batch_size.max(1),
            ..self.clone()
        })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        self.format.name()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (t, self.format.as_ref()) {
            (DisplayFormatType::TreeRender, _) => Ok(()),
            (_, Format::Csv { dialect, .. }) => {
                write!(
                    f,
                    ", delimiter={:?}, header={}",
                    dialect.delimiter as char, dialect.header
                )
            }
            _ => Ok(()),
        }
    }

    fn supports_repartitioning(&self) -> bool {
        self.format.can_be_cut()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        if output_ordering.is_some() || config.preserve_order {
            return Ok(None);
        }
        let min = repartition_file_min_size.min(CUT_BYTES_MIN) as u64;
        let dealing = deal::Dealing {
            partitions: target_partitions,
            cut_bytes_min: self.format.can_be_cut().then_some(min),
            chunk_bytes: self.chunk_bytes,
        };
        Ok(deal::deal(&config.file_groups, dealing).map(|file_groups| {
            let mut dealt = config.clone();
            dealt.file_groups = file_groups;
            dealt
        }))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        deal::in_order(files)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let projection = self.projection.try_merge(projection)?;
        let scan = ScanProjection::new(&self.table, &projection)?;
        Ok(Some(Arc::new(Self {
            projection,
            scan,
            ..self.clone()
        })))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.iter(), f)
    }
}
