//! The sealed form of a shuffle: a task scatters its rows into one file of frames, and the tasks after it read the
//! frames of their partition once the file is whole.
//!
//! Each frame is a small stream of Arrow IPC that stands alone: schema, dictionaries and one batch.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::repartition::BatchPartitioner;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use tidegate_checkpoint::Vfs;
use tidegate_checkpoint::frames::{FrameFile, FrameReader, FrameWriter, Origin};
use tidegate_checkpoint::temp::Reservation;

use super::compact::{bytes_of, compacted, compacted_inside};
use super::number::{self, Numberer};
use super::{ShuffleExec, To};

/// What one task writes.
pub struct SealedWriter {
    schema: SchemaRef,
    scatter: Scatter,
    /// Rows that wait until they are many enough for a frame, by partition.
    waiting: Vec<BatchCoalescer>,
    memory: MemoryReservation,
    options: IpcWriteOptions,
    frames: FrameWriter,
    disk: Reservation,
}

enum Scatter {
    /// Into one partition.
    All(usize),
    Apart(Box<BatchPartitioner>),
    Numbered(Box<Numberer>, Box<BatchPartitioner>),
}

impl Scatter {
    fn new(to: &To, task: usize, schema: &SchemaRef) -> Result<Self> {
        let partitions = to.partitions();
        let timer = MetricBuilder::new(&ExecutionPlanMetricsSet::new()).subset_time("scatter", 0);
        Ok(match to {
            To::Single { .. } | To::Broadcast => Scatter::All(0),
            To::Forward { .. } => Scatter::All(task),
            To::Hash { .. } => {
                let apart = BatchPartitioner::try_new(to.partitioning(), timer, 0, 1)?;
                Scatter::Apart(Box::new(apart))
            }
            To::RoundRobin { .. } | To::Random { .. } | To::Range(_) => {
                let values = number::values(partitions)?;
                let numberer = Numberer::new(to, task, schema, values)?;
                let by = number::partitioning(numberer.schema().fields().len(), partitions);
                let apart = BatchPartitioner::try_new(by, timer, 0, 1)?;
                Scatter::Numbered(Box::new(numberer), Box::new(apart))
            }
        })
    }

    /// The rows of a batch by partition.
    fn scattered(&mut self, batch: RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        match self {
            Scatter::All(partition) => Ok(vec![(*partition, batch)]),
            Scatter::Apart(apart) => apart.partition_iter(batch)?.collect(),
            Scatter::Numbered(numberer, apart) => {
                let numbered = numberer.number(&batch)?;
                let parts = apart.partition_iter(numbered)?.map(|part| {
                    let (partition, rows) = part?;
                    Ok((partition, number::bare(&rows, batch.schema_ref())?))
                });
                parts.collect()
            }
        }
    }
}

impl SealedWriter {
    /// Makes the file of a task of the stage that ends with `shuffle`. Its bytes are counted in `disk`.
    pub fn create(
        shuffle: &ShuffleExec,
        vfs: Arc<dyn Vfs>,
        path: &Path,
        origin: Origin,
        disk: Reservation,
        context: &TaskContext,
    ) -> Result<Self> {
        let partitions = shuffle.to().partitions();
        let schema = datafusion::physical_plan::ExecutionPlan::schema(shuffle);
        let rows = context.session_config().batch_size();
        let waiting = || BatchCoalescer::new(Arc::clone(&schema), rows);
        let scatter = Scatter::new(shuffle.to(), origin.task as usize, &schema)?;
        let consumer = MemoryConsumer::new(format!("SealedWriter[{}]", origin.task));
        let is_durable = origin.job != [0; 32];
        // What is forced to the disk is compressed: that costs less than the disk. A temporary file hardly gets there.
        let compression = is_durable.then_some(CompressionType::LZ4_FRAME);
        Ok(Self {
            waiting: (0..partitions).map(|_| waiting()).collect(),
            schema: Arc::clone(&schema),
            scatter,
            memory: consumer.register(context.memory_pool()),
            options: IpcWriteOptions::default().try_with_compression(compression)?,
            frames: match is_durable {
                false => FrameWriter::create(vfs, path, origin),
                true => FrameWriter::create_durable(vfs, path, origin),
            }
            .map_err(external)?,
            disk,
        })
    }

    /// Scatters the rows of a batch.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = compacted_inside(&batch)?;
        let (bytes, rows) = (bytes_of(&batch), batch.num_rows().max(1));
        for (partition, part) in self.scatter.scattered(batch)? {
            // Parts stand in one memory, of which each holds its share.
            let share = (bytes as u128 * part.num_rows() as u128 / rows as u128) as usize;
            self.waiting[partition].push_batch(part)?;
            while let Some(full) = self.waiting[partition].next_completed_batch() {
                self.append(partition, &full)?;
            }
            if self.memory.try_grow(share).is_err() {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what waits, however little it is.
    fn flush(&mut self) -> Result<()> {
        for partition in 0..self.waiting.len() {
            self.waiting[partition].finish_buffered_batch()?;
            while let Some(rest) = self.waiting[partition].next_completed_batch() {
                self.append(partition, &rest)?;
            }
        }
        self.memory.free();
        Ok(())
    }

    fn append(&mut self, partition: usize, batch: &RecordBatch) -> Result<()> {
        let freed = bytes_of(batch).min(self.memory.size());
        let batch = compacted(batch)?;
        let mut bytes = Vec::new();
        let options = self.options.clone();
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &self.schema, options)?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        self.disk.grow(bytes.len() as u64).map_err(external)?;
        self.memory.shrink(freed);
        let (partition, rows) = (partition as u32, batch.num_rows() as u32);
        self.frames
            .append(partition, rows, &bytes)
            .map_err(external)
    }

    /// Ends the file: only now can it be read.
    pub fn seal(mut self) -> Result<Sealed> {
        self.flush()?;
        Ok(Sealed {
            schema: self.schema,
            file: self.frames.finish().map_err(external)?,
            stays: false,
            _disk: self.disk,
        })
    }
}

/// What a task has written, whole. It is removed when nobody reads it any more, unless it is a job's.
#[derive(Debug)]
pub struct Sealed {
    schema: SchemaRef,
    file: FrameFile,
    stays: bool,
    _disk: Reservation,
}

impl Sealed {
    /// What a job has sealed: the job removes it. `disk` counts its bytes.
    pub fn of_job(schema: SchemaRef, file: FrameFile, disk: Reservation) -> Self {
        Self {
            schema,
            file,
            stays: true,
            _disk: disk,
        }
    }

    /// The same, made permanent as `file`, which may have another path.
    pub fn kept(mut self, keep: impl FnOnce(FrameFile) -> Result<FrameFile>) -> Result<Self> {
        self.file = keep(self.file.clone())?;
        self.stays = true;
        Ok(self)
    }

    /// The file.
    pub fn file(&self) -> &FrameFile {
        &self.file
    }

    /// The rows of one partition.
    pub fn rows(
        self: &Arc<Self>,
        vfs: &Arc<dyn Vfs>,
        partition: usize,
    ) -> SendableRecordBatchStream {
        // What another process has sealed is found when it is read.
        let loaded = self.file.load(vfs.as_ref());
        let frames: Vec<_> = match &loaded {
            Ok(()) => self.file.of(partition as u32).copied().collect(),
            Err(_) => Vec::new(),
        };
        let lost = loaded
            .err()
            .map(|error| Err(Unreadable::of(&self.file, error)));
        let (sealed, vfs) = (Arc::clone(self), Arc::clone(vfs));
        let mut reader: Option<FrameReader> = None;
        let batches = stream::iter(frames).map(move |frame| {
            let unreadable = |error| Unreadable::of(&sealed.file, error);
            let open = match &reader {
                Some(open) => open,
                None => reader.insert(sealed.file.open(vfs.as_ref()).map_err(unreadable)?),
            };
            decoded(&open.read(&frame).map_err(unreadable)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream::iter(lost).chain(batches),
        ))
    }
}

/// What a task has sealed cannot be read: it must be made again.
#[derive(Debug, thiserror::Error)]
#[error("what task {stage}.{task} of the query has written cannot be read: {why}")]
pub struct Unreadable {
    /// The stage that wrote it.
    pub stage: u32,
    /// The task that wrote it.
    pub task: u32,
    why: String,
}

impl Unreadable {
    /// Output that is not there.
    pub fn gone(stage: u32, task: u32) -> Self {
        Self {
            stage,
            task,
            why: "it is not there".into(),
        }
    }

    fn of(file: &FrameFile, error: tidegate_checkpoint::Error) -> DataFusionError {
        use tidegate_checkpoint::Error::{Corrupt, Io};
        let is_lost = match &error {
            Corrupt { .. } => true,
            Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        if !is_lost {
            return external(error);
        }
        let origin = file.origin();
        DataFusionError::External(Box::new(Self {
            stage: origin.stage,
            task: origin.task,
            why: error.to_string(),
        }))
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // What cannot be removed goes with its directory.
        let _ = std::fs::remove_file(self.file.path());
    }
}

fn decoded(bytes: &[u8]) -> Result<RecordBatch> {
    let mut batches = StreamReader::try_new(bytes, None)?;
    match batches.next() {
        Some(batch) => Ok(batch?),
        None => Err(internal_datafusion_err!("a frame without rows")),
    }
}

fn external(error: tidegate_checkpoint::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
