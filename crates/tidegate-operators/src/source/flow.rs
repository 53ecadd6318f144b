//! Blocks of text on their way to record batches.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use futures::stream::{self, StreamExt};

use super::opener::{BatchStream, Batches, Opening, Step, in_turn};
use super::text::{Alone, At, Block, Blocks, Content, Cut, Pace, TextLimits};
use crate::input::{Compression, Error, LocalFile, Place, Reader};
use crate::unwinding::catch;

/// A header is looked for in so many bytes at most.
const HEAD_BYTES_MAX: usize = 64 << 20;

/// Turns whole records into batches.
pub(crate) trait Decode: Send {
    /// The records in `bytes`, the first of which stands at `at`: the columns wanted, then the row
    /// number if it is wanted.
    fn decode(&mut self, bytes: &[u8], at: At) -> Result<Vec<RecordBatch>>;

    /// What is left over when there are no more records.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}

/// How the reading of a file begins, told by its first bytes.
pub(super) struct Start {
    /// Stands at the first record.
    pub(super) cutter: Box<dyn Cut>,
    pub(super) decoder: Box<dyn Decode>,
}

/// The limits of a scan over text whose records may have `record_bytes_max` bytes.
pub(super) fn limits(opening: &Opening, record_bytes_max: u64) -> TextLimits {
    TextLimits {
        chunk_bytes: opening.source.chunk_bytes,
        record_bytes_max,
        kept_bytes_max: opening.source.access.limits.kept_bytes_max,
    }
}

/// No batches.
pub(super) fn nothing() -> Result<BatchStream> {
    Ok(stream::empty().boxed())
}

/// The batches of a part of a file that several streams share.
pub(super) fn shared(blocks: Blocks, decoding: Decoding) -> Result<BatchStream> {
    Ok(stream::try_unfold((blocks, decoding, Pace::new()), next_shared).boxed())
}

type Shared = (Blocks, Decoding, Pace);

async fn next_shared(
    (mut blocks, mut decoding, mut pace): Shared,
) -> Result<Option<(RecordBatch, Shared)>> {
    loop {
        pace.breathe().await;
        if let Some(batch) = decoding.ready.pop_front() {
            return Ok(Some((batch, (blocks, decoding, pace))));
        }
        match blocks.next().await? {
            Some(block) => decoding.push(&block)?,
            None if decoding.done => return Ok(None),
            None => decoding.finish()?,
        }
    }
}

/// Stands between a file's bytes and the reader of its text.
pub(super) type Wrap = Box<dyn FnOnce(Reader) -> Box<dyn Read + Send> + Send>;

/// The batches of a file that this stream reads alone. `start` says how to begin, or that it must see
/// more than the bytes it is shown; the flag says that there are no more.
pub(super) fn alone(
    opening: &Opening,
    limits: TextLimits,
    wrap: Option<Wrap>,
    mut start: impl FnMut(&Opening, &[u8], bool) -> Result<Option<Start>> + Send + 'static,
) -> Result<BatchStream> {
    in_turn(opening.clone(), move |opening| {
        let name = Arc::clone(opening.input.name());
        let (mut head, mut content, mut whole) = begin(&opening, limits.chunk_bytes, wrap)?;
        loop {
            if let Some(Start { cutter, decoder }) = start(&opening, &head, whole)? {
                let skip = usize::try_from(cutter.at().offset).unwrap_or(usize::MAX);
                head.drain(..skip.min(head.len()));
                let alone = Alone::new((head, whole), content, cutter, &name, limits);
                let decoding = Decoding::new(decoder, &name);
                return Ok(Box::new(AloneBatches { alone, decoding }) as Box<dyn Batches>);
            }
            if whole || head.len() > HEAD_BYTES_MAX {
                return Err(Error::limit(&name, "its header is too long").into());
            }
            let more = (head.len() as u64).max(1);
            whole = content.append(&name, more, &mut head)?;
        }
    })
}

/// The first bytes of a file's text, what follows, and whether nothing does.
fn begin(opening: &Opening, bytes: u64, wrap: Option<Wrap>) -> Result<(Vec<u8>, Content, bool)> {
    let name = opening.input.name();
    let mut head = Vec::new();
    if opening.input.local.is_some() && wrap.is_none() {
        let mut content = Content::Local(LocalFile::open(&opening.input)?, 0);
        let whole = content.append(name, bytes, &mut head)?;
        if Compression::of(&head) == Compression::None {
            return Ok((head, content, whole));
        }
        head.clear();
    }
    let reader = opening.input.open()?;
    let mut content = Content::Stream(match wrap {
        Some(wrap) => wrap(reader),
        None => Box::new(reader),
    });
    let whole = content.append(name, bytes, &mut head)?;
    Ok((head, content, whole))
}

/// A decoder and what it has made that nobody has taken yet.
pub(super) struct Decoding {
    decoder: Box<dyn Decode>,
    ready: VecDeque<RecordBatch>,
    name: Arc<str>,
    done: bool,
}

impl Decoding {
    pub(super) fn new(decoder: Box<dyn Decode>, name: &Arc<str>) -> Self {
        Self {
            decoder,
            ready: VecDeque::new(),
            name: Arc::clone(name),
            done: false,
        }
    }

    fn push(&mut self, block: &Block) -> Result<()> {
        for (bytes, at) in block.records() {
            let batches = guarded(&self.name, Place::Line(at.line), || {
                self.decoder.decode(bytes, at)
            })?;
            self.ready
                .extend(batches.into_iter().filter(|batch| batch.num_rows() > 0));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.done = true;
        let rest = guarded(&self.name, Place::File, || self.decoder.finish())?;
        self.ready.extend(rest.filter(|batch| batch.num_rows() > 0));
        Ok(())
    }
}

struct AloneBatches {
    alone: Alone,
    decoding: Decoding,
}

impl Batches for AloneBatches {
    fn next_batch(&mut self) -> Result<Step> {
        if let Some(batch) = self.decoding.ready.pop_front() {
            return Ok(Step::Batch(batch));
        }
        match self.alone.next()? {
            Some(block) => {
                self.decoding.push(&block)?;
                Ok(self
                    .decoding
                    .ready
                    .pop_front()
                    .map_or(Step::Again, Step::Batch))
            }
            None if self.decoding.done => Ok(Step::Done),
            None => self.decoding.finish().map(|()| Step::Again),
        }
    }
}

/// Runs a decoder; a panic in it is damage of the file.
pub(crate) fn guarded<T>(
    name: &Arc<str>,
    place: Place,
    decode: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch(decode).unwrap_or_else(|| {
        Err(Error::damaged(name, place, "the data is damaged: decoding it failed").into())
    })
}
