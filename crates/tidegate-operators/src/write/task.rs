//! One task of a write: the rows of one input partition into files, in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::Count;
use futures::StreamExt;

use super::destination::{Maker, OpenFile, Shape};
use super::encode::{Encoder, encoder};
use super::error::Result;
use super::format::WriteFormat;
use super::hive::{Partitioning, Splitter};

/// Encoded bytes are handed to the file in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 20;

/// What all tasks of a write share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) format: WriteFormat,
    pub(super) shape: Shape,
    pub(super) maker: Maker,
    /// Of the files: without the columns that became directories.
    pub(super) schema: SchemaRef,
    pub(super) partitioning: Partitioning,
    pub(super) file_bytes_max: Option<u64>,
    /// Of one task.
    pub(super) open_files_max: usize,
    /// In the names of files; no other write has it.
    pub(super) id: String,
    pub(super) files: AtomicU64,
}

/// What a task counts.
pub(super) struct Counts {
    pub(super) rows: Count,
    pub(super) bytes: Count,
    pub(super) files: Count,
}

/// The files of one task.
pub(super) struct Task {
    plan: Arc<Plan>,
    partition: usize,
    splitter: Option<Splitter>,
    /// By directory; a write without directories has the one of number 0.
    open: HashMap<usize, Part>,
    begun: usize,
    /// Counts batches, to tell which file was not written to for longest.
    clock: u64,
    rows: u64,
    counts: Counts,
    memory: MemoryReservation,
}

/// A file with its encoder.
struct Part {
    encoder: Box<dyn Encoder<Vec<u8>>>,
    file: OpenFile,
    bytes: u64,
    used_at: u64,
}

impl Task {
    pub(super) fn new(
        plan: Arc<Plan>,
        partition: usize,
        schema: &SchemaRef,
        counts: Counts,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let splitter = match plan.partitioning.is_empty() {
            true => None,
            false => Some(Splitter::new(plan.partitioning.clone(), schema)?),
        };
        let (open, begun, clock, rows) = (HashMap::new(), 0, 0, 0);
        Ok(Self {
            plan,
            partition,
            splitter,
            open,
            begun,
            clock,
            rows,
            counts,
            memory,
        })
    }

    /// Writes all rows of the stream; gives their number.
    pub(super) async fn run(mut self, mut input: SendableRecordBatchStream) -> Result<u64> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.write(batch).await?;
            }
        }
        if self.plan.shape == Shape::File && self.open.is_empty() {
            self.open_part(0).await?;
        }
        self.finish_all().await?;
        Ok(self.rows)
    }

    /// Writes one file without rows, so that a directory tells its columns.
    pub(super) async fn write_empty(mut self) -> Result<()> {
        self.open_part(0).await?;
        self.finish_all().await
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.clock += 1;
        self.rows += batch.num_rows() as u64;
        self.counts.rows.add(batch.num_rows());
        match &mut self.splitter {
            None => self.write_to(0, &batch).await?,
            Some(splitter) => {
                for (dir, rows) in splitter.split(&batch)? {
                    self.write_to(dir, &rows).await?;
                }
            }
        }
        self.account().await
    }

    async fn write_to(&mut self, dir: usize, batch: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&dir) {
            self.open_part(dir).await?;
        }
        let Some(part) = self.open.get_mut(&dir) else {
            return Ok(());
        };
        part.used_at = self.clock;
        part.encoder.write(batch)?;
        part.send(CHUNK_BYTES, &self.counts).await?;
        let bytes = part.bytes + part.encoder.output().len() as u64;
        if self.plan.shape == Shape::Directory
            && self.plan.file_bytes_max.is_some_and(|max| bytes >= max)
        {
            self.finish(dir).await?;
        }
        Ok(())
    }

    async fn open_part(&mut self, dir: usize) -> Result<()> {
        if self.open.len() >= self.plan.open_files_max {
            let oldest = self.open.iter().min_by_key(|(_, part)| part.used_at);
            if let Some(oldest) = oldest.map(|(dir, _)| *dir) {
                self.finish(oldest).await?;
            }
        }
        let encoder = encoder(&self.plan.format, Arc::clone(&self.plan.schema), Vec::new())?;
        let name = self.next_name(dir);
        let file = self.plan.maker.create(name).await?;
        self.plan.files.fetch_add(1, Ordering::Relaxed);
        self.counts.files.add(1);
        self.open.insert(
            dir,
            Part {
                encoder,
                file,
                bytes: 0,
                used_at: self.clock,
            },
        );
        Ok(())
    }

    /// Names sort as partitions do, and within a partition as files were begun.
    fn next_name(&mut self, dir: usize) -> String {
        let (id, suffix) = (&self.plan.id, self.plan.format.suffix());
        let name = format!("part-{id}-{:05}-{:05}.{suffix}", self.partition, self.begun);
        self.begun += 1;
        match &self.splitter {
            Some(splitter) => format!("{}/{name}", splitter.name(dir)),
            None => name,
        }
    }

    async fn finish(&mut self, dir: usize) -> Result<()> {
        let Some(part) = self.open.remove(&dir) else {
            return Ok(());
        };
        part.finish(&self.counts).await
    }

    async fn finish_all(&mut self) -> Result<()> {
        let mut dirs: Vec<_> = self.open.keys().copied().collect();
        dirs.sort_unstable();
        for dir in dirs {
            self.finish(dir).await?;
        }
        Ok(())
    }

    /// Reports the memory in use; when there is not enough, encoders give up what they keep.
    async fn account(&mut self) -> Result<()> {
        let bytes = self.bytes_in_memory();
        if self.memory.try_resize(bytes).is_ok() {
            return Ok(());
        }
        for part in self.open.values_mut() {
            part.encoder.flush()?;
            part.send(0, &self.counts).await?;
        }
        let bytes = self.bytes_in_memory();
        self.memory.try_resize(bytes)?;
        Ok(())
    }

    fn bytes_in_memory(&mut self) -> usize {
        let parts: usize = self.open.values_mut().map(Part::bytes_in_memory).sum();
        parts + self.splitter.as_ref().map_or(0, Splitter::bytes)
    }
}

impl Part {
    /// Hands encoded bytes to the file when there are at least `bytes_min`.
    async fn send(&mut self, bytes_min: usize, counts: &Counts) -> Result<()> {
        let output = self.encoder.output();
        if output.is_empty() || output.len() < bytes_min {
            return Ok(());
        }
        let bytes = std::mem::take(output);
        self.bytes += bytes.len() as u64;
        counts.bytes.add(bytes.len());
        self.file.write(bytes).await
    }

    async fn finish(mut self, counts: &Counts) -> Result<()> {
        let rest = self.encoder.finish()?;
        if !rest.is_empty() {
            counts.bytes.add(rest.len());
            self.file.write(rest).await?;
        }
        self.file.finish().await
    }

    fn bytes_in_memory(&mut self) -> usize {
        self.encoder.bytes_buffered() + self.encoder.output().capacity()
    }
}
