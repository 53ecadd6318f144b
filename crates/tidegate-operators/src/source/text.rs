//! Text formats as blocks of whole records, cut exactly.
//!
//! 1. A [`Cut`] walks over the bytes once, from the first byte to the last, and says where the
//!    last whole record ends. It alone knows quotes and nesting, and counts lines and rows.
//! 2. A file that one stream reads alone is walked by that stream ([`Alone`]).
//! 3. A file that several partitions share is walked by whoever needs the next chunk
//!    ([`SharedFile`]). A record belongs to the chunk it *ends* in, so the chunks are disjoint and
//!    complete. What is read on the way to a later chunk is kept for the partition it belongs
//!    to, up to a limit; beyond it the partition reads again, at the position found.
//!
//! Guessing a boundary (the first line end after an offset) was rejected: inside quotes it is wrong.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use parking_lot::Mutex;

use crate::input::{Error, InputFile, LocalFile, Place};

/// A remote file is asked for this much at a time.
const REMOTE_READ_BYTES: u64 = 8 << 20;

/// A stream gives way to others when it has worked this long without a pause.
const SLICE: Duration = Duration::from_millis(10);

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// Its first byte in the (decompressed) content.
    pub(crate) offset: u64,
    /// Its first line, counted from 1.
    pub(crate) line: u64,
    /// Its number among the records, counted from 0.
    pub(crate) row: u64,
}

impl At {
    pub(crate) const START: At = At {
        offset: 0,
        line: 1,
        row: 0,
    };
}

/// Finds the ends of records.
pub(crate) trait Cut: Send {
    /// Adds what `data` begins with to `pieces` and says how many bytes are dealt with. `data` begins
    /// where the call before ended, so a tail that is not whole is handed in again with more behind
    /// it. The cutter may overwrite separators that are no part of a record.
    fn cut(&mut self, data: &mut [u8], at_end: bool, pieces: &mut Vec<Piece>) -> Result<usize>;

    /// Where the first byte not dealt with stands.
    fn at(&self) -> At;
}

/// Whole records that follow one another, and where the first of them begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    pub(crate) at: At,
}

/// Bytes, and the records in them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
}

impl Block {
    /// The records and their places.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&[u8], At)> {
        self.pieces
            .iter()
            .map(|piece| (&self.bytes[piece.range.clone()], piece.at))
    }
}

/// The limits of reading text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextLimits {
    pub(crate) chunk_bytes: u64,
    pub(crate) record_bytes_max: u64,
    pub(crate) kept_bytes_max: u64,
}

/// The blocks of one part of a shared file, in order.
pub(crate) struct Blocks {
    file: Arc<SharedFile>,
    next: usize,
    end: usize,
}

impl Blocks {
    /// The records that belong to the bytes of `range`, which begins at a boundary of chunks.
    pub(crate) fn new(file: Arc<SharedFile>, range: &Range<u64>) -> Self {
        let (next, end) = (
            file.chunks_before(range.start),
            file.chunks_before(range.end),
        );
        Self { file, next, end }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Block>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let block = self.file.block(self.next).await?;
        self.next += 1;
        Ok(block)
    }
}

/// A file that one stream reads from its first byte to its last.
pub(crate) struct Alone {
    content: Content,
    cutter: Box<dyn Cut>,
    carry: Vec<u8>,
    limits: TextLimits,
    name: Arc<str>,
    at_end: bool,
    done: bool,
}

/// Where the bytes come from.
pub(crate) enum Content {
    /// A plain local file and the next byte to read: no copy on the way.
    Local(LocalFile, u64),
    /// Anything else, decompressed.
    Stream(Box<dyn Read + Send>),
}

impl Content {
    /// Appends up to `wanted` bytes, fewer only at the end; true if the end is known to be reached.
    pub(crate) fn append(
        &mut self,
        name: &Arc<str>,
        wanted: u64,
        to: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        match self {
            Self::Local(file, next) => {
                let size = file.input().meta.size;
                let end = size.min(*next + wanted);
                file.append_at(*next..end, to)?;
                *next = end;
                Ok(end == size)
            }
            Self::Stream(reader) => {
                to.reserve(wanted.min(1 << 30) as usize);
                let read = reader
                    .take(wanted)
                    .read_to_end(to)
                    .map_err(|e| Error::from_io(name, e))?;
                Ok((read as u64) < wanted)
            }
        }
    }
}

impl Alone {
    /// Reads `head`, which stands at the cutter's place (the flag: it is all there is), then `content`.
    pub(crate) fn new(
        (head, whole): (Vec<u8>, bool),
        content: Content,
        cutter: Box<dyn Cut>,
        name: &Arc<str>,
        limits: TextLimits,
    ) -> Self {
        let name = Arc::clone(name);
        Self {
            content,
            cutter,
            carry: head,
            limits,
            name,
            at_end: whole,
            done: false,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Block>> {
        if self.done {
            return Ok(None);
        }
        let mut bytes = std::mem::take(&mut self.carry);
        let mut pieces = Vec::new();
        let mut in_vain = false;
        loop {
            let (chunk, known) = (self.limits.chunk_bytes, bytes.len() as u64);
            if !self.at_end && (in_vain || known < chunk) {
                // A long record grows geometrically, so it is walked over a few times at most.
                let wanted = if known < chunk { chunk - known } else { known };
                self.at_end = self.content.append(&self.name, wanted, &mut bytes)?;
            }
            let end = self.cutter.cut(&mut bytes, self.at_end, &mut pieces)?;
            check_record(
                &self.name,
                &self.limits,
                bytes.len() - end,
                self.cutter.at(),
            )?;
            self.done = self.at_end;
            if !pieces.is_empty() || self.at_end {
                self.carry = bytes[end..].to_vec();
                bytes.truncate(end);
                return Ok((!pieces.is_empty()).then_some(Block { bytes, pieces }));
            }
            bytes.drain(..end);
            in_vain = true;
        }
    }
}

fn check_record(name: &Arc<str>, limits: &TextLimits, tail: usize, at: At) -> Result<()> {
    if tail as u64 <= limits.record_bytes_max + limits.chunk_bytes {
        return Ok(());
    }
    let what = format!(
        "a record is longer than {} bytes (is a quote never closed? `max_line_bytes` raises the limit)",
        limits.record_bytes_max
    );
    Err(Error::Limit {
        file: Arc::clone(name),
        place: Place::Line(at.line),
        what,
    }
    .into())
}

/// The files that the partitions of one scan share, by their place in the store.
#[derive(Default)]
pub(crate) struct SharedFiles {
    files: Mutex<HashMap<String, Arc<SharedFile>>>,
}

impl std::fmt::Debug for SharedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedFiles").finish_non_exhaustive()
    }
}

impl SharedFiles {
    pub(crate) fn get(
        &self,
        input: &InputFile,
        make: impl FnOnce() -> SharedFile,
    ) -> Arc<SharedFile> {
        let mut files = self.files.lock();
        let key = input.meta.location.to_string();
        Arc::clone(files.entry(key).or_insert_with(|| Arc::new(make())))
    }
}

/// A file whose chunks are dealt to several streams.
pub(crate) struct SharedFile {
    input: InputFile,
    limits: TextLimits,
    head: tokio::sync::OnceCell<Bytes>,
    walk: tokio::sync::Mutex<Walk>,
}

/// How far the walk over a shared file has come.
struct Walk {
    file: Option<LocalFile>,
    /// A piece of a remote file and its first byte.
    ahead: (u64, Bytes),
    /// Made when the walk begins.
    cutter: Option<Box<dyn Cut>>,
    /// The beginning of a record that ends in a chunk not yet read.
    carry: Vec<u8>,
    /// For each chunk walked over: its first byte and its records.
    spans: Vec<(u64, Vec<Piece>)>,
    kept: BTreeMap<usize, Vec<u8>>,
    kept_bytes: u64,
    failed: Option<Arc<DataFusionError>>,
}

impl SharedFile {
    pub(crate) fn new(input: InputFile, limits: TextLimits) -> Self {
        let walk = Walk {
            file: None,
            ahead: (0, Bytes::new()),
            cutter: None,
            carry: Vec::new(),
            spans: Vec::new(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            failed: None,
        };
        Self {
            input,
            limits,
            head: tokio::sync::OnceCell::new(),
            walk: walk.into(),
        }
    }

    /// The first bytes of the file, read once.
    pub(crate) async fn head(&self, bytes: u64) -> Result<Bytes> {
        let size = self.input.meta.size;
        let head = self
            .head
            .get_or_try_init(|| self.input.fetch_range(0..size.min(bytes)))
            .await?;
        Ok(head.clone())
    }

    /// Gives the walk its cutter, if it has none.
    pub(crate) async fn start(&self, make: impl FnOnce() -> Result<Box<dyn Cut>>) -> Result<()> {
        let mut walk = self.walk.lock().await;
        if walk.cutter.is_none() {
            walk.cutter = Some(make()?);
        }
        Ok(())
    }

    /// The number of chunks before `offset`, which is a boundary of chunks or the end.
    fn chunks_before(&self, offset: u64) -> usize {
        usize::try_from(offset.div_ceil(self.limits.chunk_bytes)).unwrap_or(usize::MAX)
    }

    /// The records that end in chunk `index`.
    async fn block(&self, index: usize) -> Result<Option<Block>> {
        if index >= self.chunks_before(self.input.meta.size) {
            return Ok(None);
        }
        let (start, pieces) = loop {
            let mut walk = self.walk.lock().await;
            if let Some(error) = &walk.failed {
                return Err(DataFusionError::Shared(Arc::clone(error)));
            }
            if let Some((start, pieces)) = walk.spans.get(index).cloned() {
                let Some(bytes) = walk.kept.remove(&index) else {
                    break (start, pieces);
                };
                walk.kept_bytes -= bytes.len() as u64;
                return Ok(Some(Block { bytes, pieces }));
            }
            match self.step(&mut walk).await {
                Ok(block) if walk.spans.len() == index + 1 => return Ok(Some(block)),
                Ok(block) => walk.keep(block, self.limits.kept_bytes_max),
                Err(error) => {
                    let error = Arc::new(error);
                    walk.failed = Some(Arc::clone(&error));
                    return Err(DataFusionError::Shared(error));
                }
            }
            drop(walk);
            tokio::task::yield_now().await;
        };
        let length = pieces.last().map_or(0, |piece| piece.range.end as u64);
        let mut bytes = self
            .input
            .fetch_range(start..start + length)
            .await?
            .to_vec();
        // What a cutter overwrites lies between records: the decoder must not see it either.
        let mut end = 0;
        for piece in &pieces {
            bytes[end..piece.range.start].fill(b' ');
            end = piece.range.end;
        }
        Ok(Some(Block { bytes, pieces }))
    }

    /// Walks over the next chunk.
    async fn step(&self, walk: &mut Walk) -> Result<Block> {
        let size = self.input.meta.size;
        let Some(mut cutter) = walk.cutter.take() else {
            return exec_err!("a walk over `{}` did not start", self.input.name());
        };
        // The first record may begin behind the first chunk, when a header is long.
        let first = cutter.at().offset;
        let start = walk.spans.len() as u64 * self.limits.chunk_bytes;
        let end = size.min(start + self.limits.chunk_bytes).max(first);
        let mut bytes = std::mem::take(&mut walk.carry);
        let next = start.max(first + bytes.len() as u64);
        walk.append(&self.input, next..end.max(next), &mut bytes)
            .await?;
        let mut pieces = Vec::new();
        let cut = cutter.cut(&mut bytes, end >= size, &mut pieces)?;
        check_record(
            self.input.name(),
            &self.limits,
            bytes.len() - cut,
            cutter.at(),
        )?;
        walk.cutter = Some(cutter);
        walk.carry = bytes[cut..].to_vec();
        bytes.truncate(cut);
        walk.spans.push((first, pieces.clone()));
        if end == size {
            walk.file = None;
        }
        Ok(Block { bytes, pieces })
    }
}

impl Walk {
    async fn append(
        &mut self,
        input: &InputFile,
        range: Range<u64>,
        to: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if input.local.is_some() {
            if self.file.is_none() {
                self.file = Some(LocalFile::open(input)?);
            }
            return match &self.file {
                Some(file) => file.append_at(range, to),
                None => Ok(()),
            };
        }
        let (start, bytes) = &self.ahead;
        if range.start < *start || range.end > start + bytes.len() as u64 {
            let end = input
                .meta
                .size
                .min(range.end.max(range.start + REMOTE_READ_BYTES));
            self.ahead = (range.start, input.fetch_range(range.start..end).await?);
        }
        let (start, bytes) = &self.ahead;
        let from = (range.start - start) as usize;
        to.extend_from_slice(&bytes[from..from + (range.end - range.start) as usize]);
        Ok(())
    }

    fn keep(&mut self, block: Block, bytes_max: u64) {
        let bytes = block.bytes.len() as u64;
        if self.kept_bytes + bytes <= bytes_max {
            self.kept_bytes += bytes;
            self.kept.insert(self.spans.len() - 1, block.bytes);
        }
    }
}

/// Lets others run when a stream has worked for a while.
pub(crate) struct Pace {
    since: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
        }
    }

    pub(crate) async fn breathe(&mut self) {
        if self.since.elapsed() >= SLICE {
            tokio::task::yield_now().await;
            self.since = Instant::now();
        }
    }
}
