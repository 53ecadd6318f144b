//! Files as one table: explicit path-sorted file groups, partition columns, statistics.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use tidegate_operators::csv;
use tidegate_operators::parquet::PinnedReaderFactory;
use tidegate_operators::source::{self, Batching, NamesAdapterFactory, RecordSource, ScanAccess};

use crate::error::{Error, Kind, Result};
use crate::file::{DataFile, InputSnapshot};
use crate::footer::{self, FileFacts, Piece, Weight};
use crate::format::Format;
use crate::groups::{self, Candidate, Dealing};
use crate::prune;

/// A table over a fixed list of files. Made by [`crate::Catalog::resolve_path`]; it never lists again.
#[derive(Debug)]
pub struct FilesTable {
    /// As the user wrote it.
    pub(crate) text: String,
    pub(crate) format: Format,
    pub(crate) location: Option<String>,
    /// INVARIANT: sorted by path; as long as `partitions`, and as the facts of a Parquet table.
    pub(crate) files: Vec<DataFile>,
    pub(crate) store_url: ObjectStoreUrl,
    /// The columns of the files, then the partition columns.
    pub(crate) schema: TableSchema,
    pub(crate) partitions: Vec<Arc<[ScalarValue]>>,
    pub(crate) reading: Reading,
    pub(crate) damaged: Damaged,
    pub(crate) scan: ScanAccess,
    pub(crate) notices: Vec<String>,
    pub(crate) snapshot: OnceLock<Arc<InputSnapshot>>,
    pub(crate) statistics: OnceLock<TableStatistics>,
}

/// Why files of a table cannot be read, by their place: an error once a scan is to read one of them.
pub(crate) type Damaged = BTreeMap<usize, Error>;

/// How the files are read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// None for a damaged file.
    Parquet(Vec<Option<Arc<FileFacts>>>),
    /// The rows a byte are an estimate from a sample.
    Records {
        format: source::Format,
        rows_per_byte: Option<f64>,
    },
}

/// Gives pieces of at least this weight.
type Cutter<'a> = Box<dyn Fn(u64) -> Vec<Piece> + 'a>;

#[derive(Debug)]
pub(crate) struct TableStatistics {
    files: Vec<Arc<Statistics>>,
    all: Statistics,
}

impl FilesTable {
    /// The path as the user wrote it.
    pub fn path(&self) -> &str {
        &self.text
    }

    /// What stands before the name of a file in a plan to make it a whole path or URL: `/`, `s3://bucket/`.
    pub fn file_prefix(&self) -> &str {
        self.store_url
            .as_str()
            .strip_prefix("file://")
            .unwrap_or(self.store_url.as_str())
    }

    /// The directory or prefix this table is all of, to which files can be added. None for a file, a list or a glob.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The format of the files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How the files are written, of separated values; none of other formats, and without files.
    pub fn dialect(&self) -> Option<&csv::Dialect> {
        match &self.reading {
            Reading::Records {
                format: source::Format::Csv { dialect, .. },
                ..
            } => Some(dialect),
            Reading::Records { .. } | Reading::Parquet(_) => None,
        }
    }

    /// The columns of the files: those of the table without the ones from directory names.
    pub fn file_schema(&self) -> &SchemaRef {
        self.schema.file_schema()
    }

    /// The files in the order they are read.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// The columns that come from directory names.
    pub fn partition_columns(&self) -> &[FieldRef] {
        self.schema.table_partition_cols()
    }

    /// What the user should know about how the files were read: one line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Exactly what this table reads.
    pub fn snapshot(&self) -> Arc<InputSnapshot> {
        Arc::clone(
            self.snapshot
                .get_or_init(|| Arc::new(InputSnapshot::of(&self.files))),
        )
    }

    fn table_statistics(&self) -> &TableStatistics {
        self.statistics.get_or_init(|| {
            let files: Vec<Arc<Statistics>> = match &self.reading {
                Reading::Parquet(facts) => {
                    let facts = facts.iter().zip(&self.partitions);
                    facts
                        .map(|(facts, values)| match facts {
                            Some(facts) => facts.statistics_for(self.schema.file_schema(), values),
                            None => Arc::new(Statistics::new_unknown(self.schema.table_schema())),
                        })
                        .collect()
                }
                Reading::Records { rows_per_byte, .. } => {
                    let estimate = |file: &DataFile| {
                        footer::estimate(self.schema.table_schema(), file.meta.size, *rows_per_byte)
                    };
                    self.files
                        .iter()
                        .map(|file| Arc::new(estimate(file)))
                        .collect()
                }
            };
            let all = footer::merge(&files, self.schema.table_schema());
            TableStatistics { files, all }
        })
    }

    /// The statistics of all files together.
    pub(crate) fn all_statistics(&self) -> &Statistics {
        &self.table_statistics().all
    }

    /// The columns of the files, then the partition columns.
    pub(crate) fn table_schema(&self) -> &SchemaRef {
        self.schema.table_schema()
    }

    /// Whether rows that cannot be read are left out, and counted.
    pub fn may_leave_rows_out(&self) -> bool {
        match &self.reading {
            Reading::Parquet(_) => false,
            Reading::Records { format, .. } => match format {
                source::Format::Csv { dialect, .. } => dialect.on_error == csv::OnError::Skip,
                source::Format::Json(options) => options.on_error == csv::OnError::Skip,
                source::Format::Arrow | source::Format::Avro => false,
            },
        }
    }

    /// The files with their partition values, in the order they are read.
    pub(crate) fn partitioned_file(&self, at: usize) -> PartitionedFile {
        let mut file = PartitionedFile::new_from_meta(self.files[at].meta.clone());
        file.partition_values = self.partitions[at].to_vec();
        file
    }

    /// The places of the files that the filters leave, and whether `limit` left out more.
    fn chosen(
        &self,
        state: &dyn Session,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<(Vec<usize>, bool)> {
        let (on_partitions, others): (Vec<Expr>, Vec<Expr>) = filters
            .iter()
            .cloned()
            .partition(|filter| prune::is_applicable(filter, self.partition_columns()));
        let mut chosen: Vec<usize> = match on_partitions.is_empty() {
            true => (0..self.files.len()).collect(),
            false => {
                let kept = prune::kept(
                    state,
                    &on_partitions,
                    self.partition_columns(),
                    &self.partitions,
                )?;
                (0..self.files.len()).filter(|at| kept[*at]).collect()
            }
        };
        if let Some((_, error)) = self.damaged.iter().find(|(at, _)| chosen.contains(at)) {
            return Err(error.again().into());
        }
        let before = chosen.len();
        if let Some(limit) = limit.filter(|_| others.is_empty()) {
            chosen.truncate(self.enough_for(&chosen, limit));
        }
        let cut = chosen.len() < before;
        Ok((chosen, cut))
    }

    /// How many of the first files surely hold `limit` rows.
    fn enough_for(&self, chosen: &[usize], limit: usize) -> usize {
        let mut rows = 0usize;
        for (count, at) in chosen.iter().enumerate() {
            if rows >= limit && count > 0 {
                return count;
            }
            match self.table_statistics().files[*at].num_rows {
                datafusion::common::stats::Precision::Exact(exact) => {
                    rows = rows.saturating_add(exact)
                }
                _ => return chosen.len(),
            }
        }
        chosen.len()
    }

    /// An error when a column is read whose values would lose something.
    fn check_intervals(&self, chosen: &[usize], projection: Option<&Vec<usize>>) -> Result<()> {
        let Reading::Parquet(facts) = &self.reading else {
            return Ok(());
        };
        let schema = self.schema.table_schema();
        let is_read = |name: &String| {
            let at = schema.index_of(name).ok();
            at.is_some_and(|at| projection.is_none_or(|columns| columns.contains(&at)))
        };
        let lossy = chosen.iter().find_map(|at| {
            let facts = facts[*at].as_ref()?;
            let column = facts.intervals.iter().find(|name| is_read(name))?;
            Some((column, &self.files[*at].path))
        });
        match lossy {
            None => Ok(()),
            Some((column, file)) => Err(Error::new(
                Kind::Unsupported,
                format!("the column `{column}` of `{file}` holds intervals, and their months cannot be read"),
            )
            .file(&**file)
            .hint("leave the column out, or write it as text, or as months and days apart")),
        }
    }

    /// Whether it is known, before the files are dealt for a scan, that all rows are read in one partition. Of several
    /// files it is not known: to deal thousands twice costs more than a shuffle that is taken out again.
    pub fn is_one_partition(&self, state: &dyn Session) -> datafusion::error::Result<bool> {
        match (self.files.len(), state.config().target_partitions()) {
            (0, _) | (_, 1) => Ok(true),
            (1, partitions) => {
                let config = self.dealt(state, &[0], partitions, Ok)?;
                Ok(config.file_groups.len() <= 1)
            }
            _ => Ok(false),
        }
    }

    /// A scan in at most so many partitions.
    pub(crate) fn scan_in(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
        partitions: usize,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let (chosen, cut) = self.chosen(state, filters, limit)?;
        if chosen.is_empty() {
            return Ok(Arc::new(EmptyExec::new(projected(
                self.schema.table_schema(),
                projection,
            )?)));
        }
        self.check_intervals(&chosen, projection)?;
        let statistics = self.table_statistics();
        let statistics = match chosen.len() == self.files.len() {
            true => statistics.all.clone(),
            false => {
                let files: Vec<_> = chosen
                    .iter()
                    .map(|at| Arc::clone(&statistics.files[*at]))
                    .collect();
                let merged = footer::merge(&files, self.schema.table_schema());
                if cut { merged.to_inexact() } else { merged }
            }
        };
        let config = self.dealt(state, &chosen, partitions, |config| {
            let config = config
                .with_statistics(statistics)
                .with_projection_indices(projection.cloned())?;
            Ok(config.with_limit(limit))
        })?;
        Ok(DataSourceExec::from_data_source(config))
    }

    /// A scan of some files, dealt into partitions, with what `with` says of it.
    fn dealt(
        &self,
        state: &dyn Session,
        chosen: &[usize],
        partitions: usize,
        with: impl FnOnce(FileScanConfigBuilder) -> datafusion::error::Result<FileScanConfigBuilder>,
    ) -> datafusion::error::Result<FileScanConfig> {
        let groups = self.groups(state, chosen, partitions);
        let source = self.source(state, None)?;
        let config = FileScanConfigBuilder::new(self.store_url.clone(), source)
            .with_file_groups(groups)
            .with_expr_adapter(Some(Arc::new(NamesAdapterFactory)));
        let config = with(config)?.build();
        // Files of records are cut by their source.
        let cut = match self.reading {
            Reading::Parquet(_) => None,
            Reading::Records { .. } => {
                let min = state.config_options().optimizer.repartition_file_min_size;
                let source = config.file_source();
                source.repartitioned(partitions, min, None, &config)?
            }
        };
        let mut config = cut.unwrap_or(config);
        if let Batching::Random(seed) = batching(state) {
            let paths = chosen.iter().map(|at| &self.files[*at].meta.location);
            config.file_groups =
                groups::at_random(config.file_groups, paths.collect(), partitions, seed);
        }
        Ok(config)
    }

    fn groups(&self, state: &dyn Session, chosen: &[usize], partitions: usize) -> Vec<FileGroup> {
        let statistics = self.table_statistics();
        let weight = match (&self.reading, batching(state)) {
            (Reading::Parquet(_), Batching::EqualRows) => Weight::Rows,
            // How many rows of text there are is not known before it is read.
            _ => Weight::Bytes,
        };
        let cutter = |at: &usize| self.cutter(*at, weight);
        let cutters: Vec<_> = chosen.iter().map(cutter).collect();
        let candidates = chosen.iter().zip(&cutters).map(|(at, cutter)| {
            let mut file = self.partitioned_file(*at);
            file.statistics = Some(Arc::clone(&statistics.files[*at]));
            Candidate {
                weight: self.weight(*at, weight),
                file,
                cut: cutter.as_deref(),
            }
        });
        let min = state.config_options().optimizer.repartition_file_min_size;
        let dealing = Dealing {
            partitions,
            cut_from_bytes: min as u64,
        };
        groups::deal(candidates.collect(), dealing)
    }

    /// Row groups are cut here; files of records are cut by their source.
    fn cutter(&self, at: usize, weight: Weight) -> Option<Cutter<'_>> {
        let Reading::Parquet(facts) = &self.reading else {
            return None;
        };
        let (facts, size) = (facts[at].as_ref()?, self.files[at].meta.size);
        Some(Box::new(move |at_least| {
            footer::pieces(&facts.row_groups, size, weight, at_least)
        }))
    }

    fn weight(&self, at: usize, weight: Weight) -> u64 {
        match (&self.reading, weight) {
            (Reading::Parquet(facts), Weight::Rows) => {
                let groups = facts[at].iter().flat_map(|facts| &facts.row_groups);
                groups.map(|group| group.rows).sum()
            }
            _ => self.files[at].meta.size,
        }
    }

    /// How rows are decoded. `chunk_bytes` of text are read at a time, if it is said how many.
    pub(crate) fn source(
        &self,
        state: &dyn Session,
        chunk_bytes: Option<u64>,
    ) -> datafusion::error::Result<Arc<dyn FileSource>> {
        match &self.reading {
            Reading::Records { format, .. } => {
                let source = RecordSource::new(format.clone(), self.schema.clone())?;
                let source = source.with_access(&self.scan);
                Ok(Arc::new(match chunk_bytes {
                    Some(bytes) => source.with_chunk_bytes(bytes),
                    None => source,
                }))
            }
            Reading::Parquet(_) => {
                let mut options = state.default_table_options().parquet;
                options.global.coerce_int96 = Some(footer::INT96_UNIT.0.to_owned());
                let readers =
                    PinnedReaderFactory::of(state.runtime_env(), &self.store_url, &self.scan)?;
                let source = ParquetSource::new(self.schema.clone())
                    .with_table_parquet_options(options)
                    .with_parquet_file_reader_factory(Arc::new(readers));
                Ok(Arc::new(source))
            }
        }
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.table_statistics().all.clone())
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(
                |filter| match prune::is_applicable(filter, self.partition_columns()) {
                    true => TableProviderFilterPushDown::Exact,
                    false if matches!(self.reading, Reading::Parquet(_)) => {
                        TableProviderFilterPushDown::Inexact
                    }
                    false => TableProviderFilterPushDown::Unsupported,
                },
            )
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let partitions = state.config().target_partitions();
        self.scan_in(state, projection, filters, limit, partitions)
    }
}

fn batching(state: &dyn Session) -> Batching {
    let said = state.config().get_extension::<Batching>();
    said.map_or_else(Batching::default, |said| *said)
}

fn projected(
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
) -> datafusion::error::Result<SchemaRef> {
    match projection {
        None => Ok(Arc::clone(schema)),
        Some(columns) => Ok(Arc::new(Schema::project(schema, columns)?)),
    }
}
