//! Opens one file, or one range of it, as a stream of projected batches.
//!
//! Local files are read and decoded on the thread that polls the stream, which gives way often.
//! What can only be read by waiting (compressed or binary files in an object store) is read on a
//! blocking thread.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::metrics::{Count, MetricBuilder};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::ObjectStore;
use tokio::sync::mpsc;

use super::flow::guarded;
use super::text::Pace;
use super::{Format, RecordSource, csv_text, json_text};
use crate::input::{InputFile, Place};
use crate::{avro, ipc};

/// Batches that a blocking thread may be ahead of the stream that takes them.
const AHEAD_BATCHES: usize = 2;

/// The batches of one file, made by the thread that asks for them.
pub(crate) trait Batches: Send {
    /// Goes on, not for long.
    fn next_batch(&mut self) -> Result<Step>;
}

/// What [`Batches`] came to.
pub(crate) enum Step {
    /// The columns wanted, then the row number if it is wanted.
    Batch(RecordBatch),
    /// Nothing yet: ask again.
    Again,
    /// There is no more.
    Done,
}

/// Batches as a stream.
pub(crate) type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// What opening a file needs to know.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) source: RecordSource,
    pub(crate) input: InputFile,
    /// The bytes to read, if not all.
    pub(crate) range: Option<std::ops::Range<u64>>,
}

pub(super) struct Opener {
    source: RecordSource,
    store: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
    bytes_scanned: Count,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(
        source: RecordSource,
        store: Arc<dyn ObjectStore>,
        url: ObjectStoreUrl,
        partition: usize,
    ) -> Self {
        let bytes_scanned = MetricBuilder::new(&source.metrics).counter("bytes_scanned", partition);
        Self {
            source,
            store,
            url,
            bytes_scanned,
        }
    }
}

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let projector = self.source.scan.for_file(&file)?;
        self.bytes_scanned.add(file.effective_size() as usize);
        let range = file
            .range
            .as_ref()
            .map(|range| range.start as u64..range.end as u64);
        let input = InputFile::new(Arc::clone(&self.store), &self.url, file.object_meta);
        let opening = Opening {
            source: self.source.clone(),
            input,
            range,
        };
        Ok(Box::pin(async move {
            let batches = open(opening).await?;
            Ok(batches
                .map(move |batch| projector.project_batch(&batch?))
                .boxed())
        }))
    }
}

async fn open(opening: Opening) -> Result<BatchStream> {
    if opening.input.meta.size == 0 {
        return Ok(stream::empty().boxed());
    }
    match opening.source.format.as_ref() {
        Format::Csv { dialect, said } => csv_text::open(&opening, dialect, said).await,
        Format::Json(options) => json_text::open(&opening, options).await,
        Format::Arrow => in_turn(opening, |opening| ipc::open(&opening)),
        Format::Avro => in_turn(opening, |opening| avro::open(&opening)),
    }
}

/// Runs a reader that blocks: in place for a local file, else on a thread that may wait.
pub(crate) fn in_turn(
    opening: Opening,
    open: impl FnOnce(Opening) -> Result<Box<dyn Batches>> + Send + 'static,
) -> Result<BatchStream> {
    if opening.input.local.is_some() {
        return Ok(stream::try_unfold((open(opening)?, Pace::new()), next_local).boxed());
    }
    let (sender, receiver) = mpsc::channel(AHEAD_BATCHES);
    tokio::task::spawn_blocking(move || {
        let name = Arc::clone(opening.input.name());
        // A panic must not look like the end of the file.
        let sent = guarded(&name, Place::File, || send_all(open(opening)?, &sender));
        if let Err(error) = sent {
            // When nobody listens any more, nobody needs the error.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(stream::unfold(receiver, next_sent).boxed())
}

type Local = (Box<dyn Batches>, Pace);

async fn next_local((mut batches, mut pace): Local) -> Result<Option<(RecordBatch, Local)>> {
    loop {
        pace.breathe().await;
        match batches.next_batch()? {
            Step::Batch(batch) => return Ok(Some((batch, (batches, pace)))),
            Step::Again => {}
            Step::Done => return Ok(None),
        }
    }
}

type Receiver = mpsc::Receiver<Result<RecordBatch>>;

async fn next_sent(mut receiver: Receiver) -> Option<(Result<RecordBatch>, Receiver)> {
    receiver.recv().await.map(|batch| (batch, receiver))
}

fn send_all(
    mut batches: Box<dyn Batches>,
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    while !sender.is_closed() {
        match batches.next_batch()? {
            Step::Batch(batch) => {
                if sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Step::Again => {}
            Step::Done => break,
        }
    }
    Ok(())
}
