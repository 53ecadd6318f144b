//! How DataFusion reads Parquet files: in place, pinned, in few system calls.
//!
//! A local read is a system call on the thread that decodes; object_store would hand it to another
//! thread, which costs more than the read. Ranges that lie close together are read as one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footer::{index_places, load};
use super::pages::Chunks;
use super::thrift;
use crate::input::{Error, InputFile, LocalFile, Place};
use crate::source::ScanAccess;

/// Local ranges with less than this between them are read as one.
const LOCAL_GAP_BYTES: u64 = 16 << 10;

/// Remote ranges with less than this between them are read as one.
const REMOTE_GAP_BYTES: u64 = 1 << 20;

/// The metric of a scan that counts the bytes of its files that are dealt with, read or skipped.
pub const BYTES_PASSED: &str = "bytes_passed";

type ParquetResult<T> = parquet::errors::Result<T>;

/// The files that partitions are reading at the moment.
pub(super) type Reading = Arc<Mutex<HashMap<usize, Arc<str>>>>;

/// Makes the readers of a Parquet scan.
#[derive(Debug)]
pub struct PinnedReaderFactory {
    store: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
    access: ScanAccess,
    reading: Reading,
}

impl PinnedReaderFactory {
    /// Readers of files in `store`, which is registered under `url`.
    pub fn new(store: Arc<dyn ObjectStore>, url: ObjectStoreUrl, access: &ScanAccess) -> Self {
        Self {
            store,
            url,
            access: access.clone(),
            reading: Reading::default(),
        }
    }

    /// Readers of files in the store that `runtime` knows under `url`.
    pub fn of(runtime: &RuntimeEnv, url: &ObjectStoreUrl, access: &ScanAccess) -> Result<Self> {
        Ok(Self::new(runtime.object_store(url)?, url.clone(), access))
    }

    pub(super) fn reading(&self) -> Reading {
        Arc::clone(&self.reading)
    }
}

impl ParquetFileReaderFactory for PinnedReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let location = file.object_meta.location.as_ref();
        let passed = MetricBuilder::new(metrics).counter(BYTES_PASSED, partition_index);
        let passed = Passed::new(&file, passed);
        let metrics = ParquetFileMetrics::new(partition_index, location, metrics);
        let input = InputFile::new(Arc::clone(&self.store), &self.url, file.object_meta);
        self.reading
            .lock()
            .insert(partition_index, Arc::clone(input.name()));
        let access = self.access.clone();
        Ok(Box::new(PinnedReader {
            input,
            local: None,
            access,
            metrics,
            passed: Some(passed),
            index: None,
            pages: None,
        }))
    }
}

pub(super) struct PinnedReader {
    input: InputFile,
    /// Opened by the first read.
    local: Option<LocalFile>,
    access: ScanAccess,
    metrics: ParquetFileMetrics,
    /// How far a scan is; nothing outside of one.
    passed: Option<Passed>,
    /// The footer, and where all its page indexes lie: they are checked when they are read.
    index: Option<(Arc<ParquetMetaData>, Range<u64>)>,
    /// The footer, and where its columns lie: their pages are checked when they are read.
    pages: Option<(Arc<ParquetMetaData>, Chunks)>,
}

/// How much of its part of a file a reader has dealt with. Row groups lie one after the other, so
/// what lies before the group that is read is done, whichever of its columns were read.
struct Passed {
    range: Range<u64>,
    done: u64,
    count: Count,
}

impl Passed {
    fn new(file: &PartitionedFile, count: Count) -> Self {
        let range = match &file.range {
            Some(range) => range.start.max(0) as u64..range.end.max(0) as u64,
            None => 0..file.object_meta.size,
        };
        Self {
            range,
            done: 0,
            count,
        }
    }

    /// All that lies before a place of the file is done.
    fn up_to(&mut self, place: u64) {
        let done = place.clamp(self.range.start, self.range.end) - self.range.start;
        if done > self.done {
            self.count.add((done - self.done) as usize);
            self.done = done;
        }
    }
}

fn parquet_error(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl PinnedReader {
    /// A reader outside of a scan, of a file whose footer is known.
    pub(super) fn of(input: InputFile, footer: &Arc<ParquetMetaData>, access: &ScanAccess) -> Self {
        let metrics = ExecutionPlanMetricsSet::new();
        let metrics = ParquetFileMetrics::new(0, input.name(), &metrics);
        Self {
            input,
            local: None,
            access: access.clone(),
            metrics,
            passed: None,
            index: None,
            pages: Some((Arc::clone(footer), Chunks::of(footer))),
        }
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes, Error> {
        let size = self.input.meta.size;
        if range.start > range.end || range.end > size {
            let what = format!(
                "it claims data from byte {} to byte {}, it has {size} bytes",
                range.start, range.end
            );
            return Err(Error::damaged(self.input.name(), Place::File, what));
        }
        self.metrics
            .bytes_scanned
            .add((range.end - range.start) as usize);
        match self.local()? {
            Some(local) => local.read_at(range),
            None => self.input.fetch_range(range).await,
        }
    }

    fn local(&mut self) -> Result<Option<&LocalFile>, Error> {
        if self.local.is_none() && self.input.local.is_some() {
            self.local = Some(LocalFile::open(&self.input)?);
        }
        Ok(self.local.as_ref())
    }

    /// Page indexes are decoded as they come, read as one range; what is no index passes unseen.
    fn check_index(&self, range: &Range<u64>, bytes: &[u8]) -> Result<(), Error> {
        let footer = match &self.index {
            Some((footer, place)) if place == range => footer,
            _ => return Ok(()),
        };
        for place in index_places(footer) {
            let slice = (place.start - range.start) as usize..(place.end - range.start) as usize;
            let Some(slice) = bytes.get(slice).filter(|slice| !slice.is_empty()) else {
                continue;
            };
            thrift::check(slice, self.access.limits.unpacked_bytes_max).map_err(|what| {
                let what = format!("a page index is damaged: {what}");
                Error::damaged(self.input.name(), Place::File, what)
            })?;
        }
        Ok(())
    }

    fn check_pages(&self, range: &Range<u64>, bytes: &[u8]) -> Result<(), Error> {
        let Some((footer, chunks)) = &self.pages else {
            return Ok(());
        };
        chunks
            .check(footer, range, bytes)
            .map_err(|what| Error::damaged(self.input.name(), Place::File, what))
    }

    async fn read_all(&mut self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, Error> {
        let gap = if self.input.local.is_some() {
            LOCAL_GAP_BYTES
        } else {
            REMOTE_GAP_BYTES
        };
        let mut pieces = Vec::new();
        for range in merged(&ranges, gap) {
            let bytes = self.read(range.clone()).await?;
            pieces.push((range.start, bytes));
        }
        let part = |range: &Range<u64>| {
            let at = pieces
                .partition_point(|(start, _)| *start <= range.start)
                .saturating_sub(1);
            match pieces.get(at) {
                Some((start, bytes)) if range.start < range.end => {
                    bytes.slice((range.start - start) as usize..(range.end - start) as usize)
                }
                _ => Bytes::new(),
            }
        };
        let parts: Vec<Bytes> = ranges.iter().map(part).collect();
        for (range, bytes) in ranges.iter().zip(&parts) {
            self.check_pages(range, bytes)?;
        }
        Ok(parts)
    }
}

/// The ranges in order, those close together as one.
fn merged(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges
        .iter()
        .filter(|range| range.start != range.end)
        .cloned()
        .collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

impl AsyncFileReader for PinnedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let bytes = self.read(range.clone()).await.map_err(parquet_error)?;
            self.check_index(&range, &bytes).map_err(parquet_error)?;
            self.check_pages(&range, &bytes).map_err(parquet_error)?;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let first = ranges.iter().map(|range| range.start).min();
        if let (Some(passed), Some(first)) = (&mut self.passed, first) {
            passed.up_to(first);
        }
        async move { self.read_all(ranges).await.map_err(parquet_error) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            self.local().map_err(parquet_error)?;
            let (file, input) = (self.local.as_ref(), &self.input);
            let fetch = |range| async move {
                match file {
                    Some(file) => file.read_at(range),
                    None => input.fetch_range(range).await,
                }
            };
            let footer = load(input, &self.access.footers, &self.access.limits, fetch);
            let footer = footer.await.map_err(parquet_error)?;
            let places = index_places(&footer).into_iter();
            let all = places.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
            self.index = all.map(|all| (Arc::clone(&footer), all));
            self.pages = Some((Arc::clone(&footer), Chunks::of(&footer)));
            Ok(footer)
        }
        .boxed()
    }
}

impl Drop for PinnedReader {
    fn drop(&mut self) {
        let ratio = &self.metrics.scan_efficiency_ratio;
        ratio.add_part(self.metrics.bytes_scanned.value());
        ratio.set_total(self.input.meta.size as usize);
        if let Some(passed) = &mut self.passed {
            passed.up_to(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_ranges_are_read_as_one() {
        let ranges = [100..200, 0..10, 250..260, 5000..5001, 7..7];
        assert_eq!(merged(&ranges, 100), [0..260, 5000..5001]);
        assert_eq!(merged(&ranges, 40), [0..10, 100..200, 250..260, 5000..5001]);
    }
}
