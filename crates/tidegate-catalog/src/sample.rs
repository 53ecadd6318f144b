//! Which rows of a table are looked at before it is planned: the first ones of a few row groups, or of a few files.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use tidegate_operators::source::NamesAdapterFactory;

use crate::evidence::TableEvidence;
use crate::table::{FilesTable, Reading};

/// Rows of a sample, over all its places.
const ROWS: usize = 16_384;

/// A table of at most so many rows is read whole: often it is sorted by what is asked for.
const WHOLE_ROWS: usize = 110_000;

/// Places that are looked into, whatever the share that was asked for.
const PLACES_MIN: usize = 2;
const PLACES_MAX: usize = 8;

/// A sample has no more bytes than this, and a batch of rows above it; batches are small for the sake of long rows.
const BYTES_MAX: usize = 16 << 20;
const BATCH_ROWS: usize = 256;

/// Text is read in pieces of so many bytes, from its start until there are rows enough.
const TEXT_BYTES: u64 = 128 << 10;

/// A scan of a sample.
#[derive(Debug, Clone)]
pub struct SampleScan {
    /// Each partition is a chunk of rows that follow each other in the table.
    pub plan: Arc<dyn ExecutionPlan>,
    /// These are all rows of the table.
    pub is_whole: bool,
    /// A chunk is full when it has so many bytes: the rest of it is not read.
    pub chunk_bytes_max: usize,
}

impl FilesTable {
    /// What the footers tell of the table, without reading a row.
    pub fn evidence(&self) -> TableEvidence {
        TableEvidence::of(self)
    }

    /// The columns of which a sample would tell more than is known: those whose distinct values are asked for and not
    /// settled, and `others`: those of conditions, and those that are asked for together.
    pub fn worth_sampling(
        &self,
        evidence: &TableEvidence,
        distinct: &BTreeSet<String>,
        others: impl Iterator<Item = String>,
    ) -> BTreeSet<String> {
        let unsettled = distinct.iter().filter(|name| !evidence.settles(name));
        let names = unsettled.cloned().chain(others);
        names
            .filter(|name| self.file_schema().index_of(name).is_ok())
            .collect()
    }

    /// A scan of some rows of `columns`, in `percent` of the row groups or files. None if there is nothing to read, or if it would take requests to a store.
    pub fn sample(
        &self,
        state: &dyn Session,
        columns: &BTreeSet<String>,
        percent: usize,
    ) -> Result<Option<SampleScan>> {
        let is_local = self.store_url.as_str().starts_with("file:");
        let schema = self.table_schema();
        let places: Vec<usize> = columns
            .iter()
            .filter_map(|name| schema.index_of(name).ok())
            .collect();
        if !is_local || percent == 0 || places.is_empty() || !self.damaged.is_empty() {
            return Ok(None);
        }
        let (chunks, all) = match &self.reading {
            Reading::Parquet(_) => self.row_groups(percent),
            Reading::Records { .. } => self.heads(percent),
        };
        if chunks.is_empty() {
            return Ok(None);
        }
        let (is_whole, limit) = match all {
            true => (true, None),
            false => (false, Some(ROWS.div_ceil(chunks.len()))),
        };
        let source = self.source(state, Some(TEXT_BYTES))?;
        let chunk_bytes_max = BYTES_MAX / chunks.len();
        let groups = chunks.into_iter().map(|file| FileGroup::new(vec![file]));
        let config = FileScanConfigBuilder::new(self.store_url.clone(), source)
            .with_file_groups(groups.collect())
            .with_projection_indices(Some(places))?
            .with_limit(limit)
            .with_batch_size(Some(BATCH_ROWS))
            .with_expr_adapter(Some(Arc::new(NamesAdapterFactory)))
            .build();
        Ok(Some(SampleScan {
            plan: DataSourceExec::from_data_source(config),
            is_whole,
            chunk_bytes_max,
        }))
    }

    /// A few row groups, evenly spaced, and whether they are the whole table and few rows.
    fn row_groups(&self, percent: usize) -> (Vec<PartitionedFile>, bool) {
        let Reading::Parquet(facts) = &self.reading else {
            return (Vec::new(), false);
        };
        let files = facts.iter().enumerate();
        let groups: Vec<(usize, u64)> = files
            .filter_map(|(at, facts)| Some((at, facts.as_ref()?)))
            .flat_map(|(at, facts)| facts.row_groups.iter().map(move |group| (at, group.start)))
            .collect();
        let rows = self.all_statistics().num_rows.get_value();
        let all = groups.len() <= PLACES_MAX && rows.is_some_and(|rows| *rows <= WHOLE_ROWS);
        let chosen = match all {
            true => (0..groups.len()).collect(),
            false => spaced(groups.len(), percent),
        };
        let one = |place: usize| {
            let (at, start) = groups[place];
            let mut file = self.partitioned_file(at);
            // A row group belongs to the range that holds its start.
            file.range = Some(FileRange {
                start: start as i64,
                end: start as i64 + 1,
            });
            file
        };
        (chosen.into_iter().map(one).collect(), all)
    }

    /// The heads of a few files, evenly spaced, and whether they are the whole table.
    fn heads(&self, percent: usize) -> (Vec<PartitionedFile>, bool) {
        let chosen = spaced(self.files.len(), percent);
        let all = chosen.len() == self.files.len()
            && self.files.iter().all(|file| file.meta.size <= TEXT_BYTES);
        let heads = chosen.into_iter().map(|at| self.partitioned_file(at));
        (heads.collect(), all)
    }
}

/// The places of `percent` of `count` things, evenly spaced.
fn spaced(count: usize, percent: usize) -> Vec<usize> {
    let places = (count.saturating_mul(percent) / 100)
        .clamp(PLACES_MIN, PLACES_MAX)
        .min(count);
    (0..places)
        .map(|place| (2 * place + 1) * count / (2 * places))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_and_bounded() {
        assert_eq!(spaced(0, 5), Vec::<usize>::new());
        assert_eq!(spaced(1, 5), [0]);
        assert_eq!(spaced(2, 5), [0, 1]);
        assert_eq!(spaced(53, 5), [13, 39]);
        assert_eq!(spaced(1000, 5).len(), PLACES_MAX);
    }
}
