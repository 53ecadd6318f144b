//! One task of a write: the rows of one input partition into files, in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::Count;
use futures::StreamExt;

use super::destination::{Maker, OpenFile, Shape};
use super::encode::{Encoder, encoder, failed};
use super::error::{Error, Result};
use super::format::WriteFormat;
use super::hive::{Partitioning, Splitter};

/// Encoded bytes are handed to the file in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 20;
/// Rows of a directory that wait for its encoder take so much at most, in so many batches.
const ROWS_KEPT_BYTES: usize = 1 << 20;
const BATCHES_KEPT: usize = 64;
/// The memory of a single encoder counts from here on.
const ENCODER_BYTES_COUNTED: usize = 16 << 20;
/// After so many directories of a batch the task counts its memory and gives way: it can be stopped
/// only in between.
const DIRS_IN_A_ROW: usize = 32;

const WHAT: &str = "partitions";

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
    /// Memory that the encoders of one task take at most: the rest is for what makes the rows.
    pub(super) encoder_bytes_max: usize,
    /// In the names of files; no other write has it.
    pub(super) id: String,
    /// Of all files of all tasks.
    pub(super) bytes_max: Option<u64>,
    pub(super) bytes: AtomicU64,
    pub(super) files: AtomicU64,
}

impl Plan {
    /// Counts bytes that are about to be written.
    fn count(&self, bytes: usize) -> Result<()> {
        let before = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        match self.bytes_max {
            Some(max) if before + bytes as u64 > max => Err(Error::TempLimit { bytes_max: max }),
            _ => Ok(()),
        }
    }
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
    parts: HashMap<usize, Part>,
    /// Of these the ones whose file is open.
    files_open: usize,
    /// What they take of the memory.
    parts_bytes: usize,
    begun: usize,
    /// Counts batches, to tell which file was not written to for longest.
    clock: u64,
    rows: u64,
    counts: Counts,
    memory: MemoryReservation,
}

/// An encoder with its file. Of many directories each has little to write yet: an encoder is begun
/// when there are rows for it, a file when there is a chunk for that, so that a directory gets few
/// files and few are open.
struct Part {
    /// Until there is an encoder: its tables would take more than they do.
    rows: Rows,
    encoder: Option<Box<dyn Encoder<Vec<u8>>>>,
    file: Option<OpenFile>,
    bytes: u64,
    /// Its share of the memory of the task.
    counted: usize,
    used_at: u64,
}

/// Rows that wait for more.
#[derive(Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Rows {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = compact(batch)?;
        self.bytes += bytes_of(&batch);
        self.batches.push(batch);
        if self.batches.len() >= BATCHES_KEPT {
            let all = concat_batches(&self.batches[0].schema(), &self.batches);
            let all = all.map_err(|error| failed(WHAT, error))?;
            self.bytes = bytes_of(&all);
            self.batches = vec![all];
        }
        Ok(())
    }
}

/// The values of a dictionary are shared by all that was taken from it.
fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes = batch
        .columns()
        .iter()
        .map(|column| match column.as_any_dictionary_opt() {
            Some(dictionary) => dictionary.keys().get_array_memory_size(),
            None => column.get_array_memory_size(),
        });
    bytes.sum()
}

/// Views hold on to all the text of the batch they were taken from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        });
    RecordBatch::try_new(batch.schema(), columns.collect()).map_err(|error| failed(WHAT, error))
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
        let (parts, files_open, parts_bytes) = (HashMap::new(), 0, 0);
        let (begun, clock, rows) = (0, 0, 0);
        Ok(Self {
            plan,
            partition,
            splitter,
            parts,
            files_open,
            parts_bytes,
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
                tokio::task::yield_now().await;
            }
        }
        if self.plan.shape == Shape::File && self.parts.is_empty() {
            self.begin(0)?;
        }
        self.finish_all().await?;
        Ok(self.rows)
    }

    /// Writes one file without rows, so that a directory tells its columns.
    pub(super) async fn write_empty(mut self) -> Result<()> {
        self.begin(0)?;
        self.finish_all().await
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.clock += 1;
        self.rows += batch.num_rows() as u64;
        self.counts.rows.add(batch.num_rows());
        match &mut self.splitter {
            None => {
                self.write_to(0, &batch).await?;
                self.open(0).await?;
            }
            Some(splitter) => {
                for (nth, (dir, rows)) in splitter.split(&batch)?.into_iter().enumerate() {
                    if nth % DIRS_IN_A_ROW == DIRS_IN_A_ROW - 1 {
                        self.account().await?;
                        tokio::task::yield_now().await;
                    }
                    self.write_to(dir, &rows).await?;
                }
            }
        }
        self.account().await
    }

    async fn write_to(&mut self, dir: usize, batch: &RecordBatch) -> Result<()> {
        let used_at = self.clock;
        let part = self.parts.entry(dir).or_insert_with(|| Part::new(used_at));
        part.used_at = used_at;
        if self.splitter.is_some() && part.encoder.is_none() {
            part.rows.push(batch)?;
            if part.rows.bytes < ROWS_KEPT_BYTES {
                self.recount(dir);
                return Ok(());
            }
            self.make_room(dir).await?;
            return self.encode_rows(dir).await;
        }
        self.begin(dir)?;
        self.encode(dir, batch).await
    }

    /// Encodes the rows that waited.
    async fn encode_rows(&mut self, dir: usize) -> Result<()> {
        let rows = self.parts.get_mut(&dir);
        let rows = rows.map(|part| std::mem::take(&mut part.rows));
        for batch in rows.unwrap_or_default().batches {
            // The one before may have ended its file.
            self.begin(dir)?;
            self.encode(dir, &batch).await?;
        }
        Ok(())
    }

    async fn encode(&mut self, dir: usize, batch: &RecordBatch) -> Result<()> {
        let Some(part) = self.parts.get_mut(&dir) else {
            return Ok(());
        };
        let Some(encoder) = &mut part.encoder else {
            return Ok(());
        };
        let rows_max = self.plan.format.rows_at_once();
        for start in (0..batch.num_rows()).step_by(rows_max) {
            if start > 0 {
                tokio::task::yield_now().await;
            }
            let rows = rows_max.min(batch.num_rows() - start);
            encoder.write(&batch.slice(start, rows))?;
        }
        let waiting = encoder.output().len();
        let bytes = part.bytes + waiting as u64;
        if waiting >= CHUNK_BYTES {
            self.send(dir).await?;
        }
        self.recount(dir);
        if self.plan.shape == Shape::Directory
            && self.plan.file_bytes_max.is_some_and(|max| bytes >= max)
        {
            self.finish(dir).await?;
        }
        Ok(())
    }

    /// Ends files when one more encoder would take too much: some take a hundred megabytes each.
    async fn make_room(&mut self, dir: usize) -> Result<()> {
        let one_more = self.encoder_bytes();
        let is_encoder = |(other, part): (&usize, &Part)| *other != dir && part.encoder.is_some();
        while self.parts_bytes + one_more > self.plan.encoder_bytes_max
            && self.parts.iter().any(is_encoder)
        {
            self.finish_largest(Some(dir)).await?;
        }
        Ok(())
    }

    /// Gives a directory its encoder, if it has none.
    fn begin(&mut self, dir: usize) -> Result<()> {
        let used_at = self.clock;
        let part = self.parts.entry(dir).or_insert_with(|| Part::new(used_at));
        if part.encoder.is_none() {
            let schema = Arc::clone(&self.plan.schema);
            part.encoder = Some(encoder(&self.plan.format, schema, Vec::new())?);
            self.recount(dir);
            if self.encoder_bytes() >= ENCODER_BYTES_COUNTED {
                let bytes = self.bytes_in_memory();
                self.memory.try_resize(bytes)?;
            }
        }
        Ok(())
    }

    /// Opens the file of a directory; for that the one that was not written to for longest may
    /// have to end.
    async fn open(&mut self, dir: usize) -> Result<()> {
        if self.parts.get(&dir).is_none_or(|part| part.file.is_some()) {
            return Ok(());
        }
        while self.files_open >= self.plan.open_files_max {
            let open = self.parts.iter().filter(|(_, part)| part.file.is_some());
            let Some(oldest) = open.min_by_key(|(_, part)| part.used_at) else {
                break;
            };
            let oldest = *oldest.0;
            self.finish(oldest).await?;
        }
        let name = self.next_name(dir);
        let file = self.plan.maker.create(name).await?;
        self.plan.files.fetch_add(1, Ordering::Relaxed);
        self.counts.files.add(1);
        if let Some(part) = self.parts.get_mut(&dir) {
            part.file = Some(file);
            self.files_open += 1;
        }
        Ok(())
    }

    /// Hands what is encoded to the file.
    async fn send(&mut self, dir: usize) -> Result<()> {
        self.open(dir).await?;
        let Some(Part {
            encoder: Some(encoder),
            file: Some(file),
            bytes,
            ..
        }) = self.parts.get_mut(&dir)
        else {
            return Ok(());
        };
        let encoded = std::mem::take(encoder.output());
        *bytes += encoded.len() as u64;
        self.plan.count(encoded.len())?;
        self.counts.bytes.add(encoded.len());
        file.write(encoded).await
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
        if self
            .parts
            .get(&dir)
            .is_some_and(|part| part.encoder.is_none())
        {
            Box::pin(self.encode_rows(dir)).await?;
        }
        // Many small files are finished without ever having been open for long.
        Box::pin(self.open(dir)).await?;
        let Some(part) = self.parts.remove(&dir) else {
            return Ok(());
        };
        self.files_open -= usize::from(part.file.is_some());
        self.parts_bytes -= part.counted;
        part.finish(&self.plan, &self.counts).await
    }

    async fn finish_all(&mut self) -> Result<()> {
        let mut dirs: Vec<_> = self.parts.keys().copied().collect();
        dirs.sort_unstable();
        for dir in dirs {
            self.finish(dir).await?;
        }
        Ok(())
    }

    /// Counts the memory of a directory's encoder anew.
    fn recount(&mut self, dir: usize) {
        let one = self.encoder_bytes();
        if let Some(part) = self.parts.get_mut(&dir) {
            let itself = if part.encoder.is_some() { one } else { 0 };
            let bytes = part.bytes_in_memory() + itself;
            self.parts_bytes = self.parts_bytes - part.counted + bytes;
            part.counted = bytes;
        }
    }

    /// What one encoder takes beside what it keeps.
    fn encoder_bytes(&self) -> usize {
        let columns = self.plan.schema.fields().len();
        match (self.plan.format.encoder_bytes(columns), &self.splitter) {
            // The memory of the only one is lost in that of the rest.
            (..ENCODER_BYTES_COUNTED, None) => 0,
            (bytes, _) => bytes,
        }
    }

    /// Reports the memory in use. When there is not enough, encoders give up what they keep: the
    /// only one its rows so far, of many the largest end their files.
    async fn account(&mut self) -> Result<()> {
        let bytes = self.bytes_in_memory();
        let fits = self.splitter.is_none() || self.parts_bytes <= self.plan.encoder_bytes_max;
        if fits && self.memory.try_resize(bytes).is_ok() {
            return Ok(());
        }
        match &self.splitter {
            None => {
                if let Some(Part {
                    encoder: Some(encoder),
                    ..
                }) = self.parts.get_mut(&0)
                {
                    encoder.flush()?;
                }
                self.send(0).await?;
                self.recount(0);
            }
            Some(_) => self.finish_largest(None).await?,
        }
        let bytes = self.bytes_in_memory();
        self.memory.try_resize(bytes)?;
        Ok(())
    }

    /// Ends the files that take the most memory until half of it is free.
    async fn finish_largest(&mut self, but_for: Option<usize>) -> Result<()> {
        let bytes_left = self.parts_bytes / 2;
        let others = self.parts.iter().filter(|(dir, _)| Some(**dir) != but_for);
        let sizes = others.map(|(dir, part)| (part.counted, *dir));
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        for (_, dir) in sizes {
            if self.parts_bytes <= bytes_left {
                break;
            }
            self.finish(dir).await?;
        }
        Ok(())
    }

    fn bytes_in_memory(&self) -> usize {
        self.parts_bytes + self.splitter.as_ref().map_or(0, Splitter::bytes)
    }
}

impl Part {
    fn new(used_at: u64) -> Self {
        Self {
            rows: Rows::default(),
            encoder: None,
            file: None,
            bytes: 0,
            counted: 0,
            used_at,
        }
    }

    async fn finish(self, plan: &Plan, counts: &Counts) -> Result<()> {
        let rest = match self.encoder {
            Some(encoder) => encoder.finish()?,
            None => Vec::new(),
        };
        let Some(mut file) = self.file else {
            return Ok(());
        };
        if !rest.is_empty() {
            plan.count(rest.len())?;
            counts.bytes.add(rest.len());
            file.write(rest).await?;
        }
        file.finish().await
    }

    fn bytes_in_memory(&mut self) -> usize {
        let encoder = self.encoder.as_mut();
        let encoder = encoder.map(|encoder| encoder.bytes_buffered() + encoder.output().capacity());
        self.rows.bytes + encoder.unwrap_or_default()
    }
}
