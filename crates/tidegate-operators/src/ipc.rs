//! Arrow IPC, as a file and as a stream, told by the first bytes.
//!
//! Every length a file states is compared with what the file has before anything is allocated for
//! it, and what unpacks is limited: the decoder itself trusts them.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileDecoder, StreamDecoder, read_footer_length};
use arrow::ipc::{Block, Message, MessageHeader, RecordBatch as BatchHeader};
use arrow::ipc::{root_as_footer, root_as_message};
use bytes::Bytes;
use datafusion::error::Result;

use crate::input::{Compression, Error, InputFile, LocalFile, Place};
use crate::source::flow::guarded;
use crate::source::opener::{Batches, Opening, Step};
use crate::source::project::with_rows;
use crate::source::{Adapter, first_line};

const FILE_MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A batch cannot say that it has more rows.
const BATCH_ROWS_MAX: i64 = i32::MAX as i64;

/// The columns of an Arrow file. Blocks.
pub(crate) fn schema(file: &InputFile, unpacked_bytes_max: u64) -> Result<Schema, Error> {
    let name = file.name();
    let read = || -> Result<Schema> {
        Ok(match open_any(file, unpacked_bytes_max)? {
            Any::File(raw) => FileBlocks::open(name, raw, unpacked_bytes_max)?
                .schema
                .as_ref()
                .clone(),
            Any::Stream(mut messages) => messages.schema()?.as_ref().clone(),
        })
    };
    guarded(name, Place::File, read).map_err(|error| Error::of(name, error))
}

/// The batches of an Arrow file.
pub(crate) fn open(opening: &Opening) -> Result<Box<dyn Batches>> {
    let source = &opening.source;
    let limit = source.access().limits.unpacked_bytes_max;
    let name = Arc::clone(opening.input.name());
    let any = open_any(&opening.input, limit)?;
    let first = opening.range.as_ref().is_none_or(|range| range.start == 0);
    let (given, adapter) = match any {
        Any::File(raw) => {
            let range = opening.range.clone().filter(|_| raw.is_plain());
            let nothing = range.is_none() && !first;
            let mut blocks = guarded(&name, Place::File, || FileBlocks::open(&name, raw, limit))?;
            let adapter = Adapter::new(&name, &blocks.schema, source)?;
            guarded(&name, Place::File, || {
                blocks.start(&adapter, range, source.wants_rows())
            })?;
            if nothing {
                blocks.batches.clear();
            }
            (Given::File(blocks), adapter.narrowed())
        }
        Any::Stream(mut messages) => {
            let schema = guarded(&name, Place::File, || messages.schema())?;
            if !first {
                messages.stop();
            }
            let adapter = Adapter::new(&name, &schema, source)?;
            (Given::Stream(messages), adapter)
        }
    };
    let row = match &given {
        Given::File(blocks) => blocks.first_row,
        Given::Stream(_) => 0,
    };
    Ok(Box::new(IpcBatches {
        given,
        adapter,
        name,
        schema: Arc::clone(source.read_schema()),
        row,
        rows: source.wants_rows(),
        batch_rows: source.batch_rows(),
        rest: None,
    }))
}

enum Any {
    File(Raw),
    Stream(Messages),
}

fn open_any(file: &InputFile, limit: u64) -> Result<Any, Error> {
    let head = file.read_head(8)?;
    let damaged = |what: &str| Error::damaged(file.name(), Place::File, what);
    match head.bytes.as_slice() {
        bytes if bytes.starts_with(FILE_MAGIC) => {
            Ok(Any::File(Raw::open(file, head.compression, limit)?))
        }
        bytes if bytes.starts_with(b"FEA1") => Err(damaged(
            "this is Feather version 1, only version 2 (Arrow IPC) can be read",
        )),
        [a, b, c, d, ..] => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            if [*a, *b, *c, *d] != CONTINUATION && u64::from(length) > file.meta.size {
                return Err(damaged("this is no Arrow IPC file or stream"));
            }
            Ok(Any::Stream(Messages::new(file, limit)?))
        }
        _ => Err(damaged(
            "this is no Arrow IPC file or stream: it is too short",
        )),
    }
}

/// The bytes of an Arrow file, in any order.
enum Raw {
    Local(LocalFile),
    Remote(InputFile),
    Unpacked(Bytes),
}

impl Raw {
    fn open(file: &InputFile, compression: Compression, limit: u64) -> Result<Self, Error> {
        if compression != Compression::None {
            let mut bytes = Vec::new();
            let read = file.open()?.take(limit + 1).read_to_end(&mut bytes);
            read.map_err(|e| Error::from_io(file.name(), e))?;
            if bytes.len() as u64 > limit {
                let what = format!("unpacked it has more than {limit} bytes");
                return Err(Error::limit(file.name(), what));
            }
            return Ok(Self::Unpacked(bytes.into()));
        }
        match file.local {
            Some(_) => Ok(Self::Local(LocalFile::open(file)?)),
            None => Ok(Self::Remote(file.clone())),
        }
    }

    fn is_plain(&self) -> bool {
        !matches!(self, Self::Unpacked(_))
    }

    fn size(&self) -> u64 {
        match self {
            Self::Local(file) => file.input().meta.size,
            Self::Remote(file) => file.meta.size,
            Self::Unpacked(bytes) => bytes.len() as u64,
        }
    }

    /// `range` lies within the file.
    fn read(&self, range: Range<u64>) -> Result<Buffer, Error> {
        match self {
            Self::Local(file) => Ok(Buffer::from_vec(file.read_vec_at(range)?)),
            Self::Remote(file) => Ok(Buffer::from(file.read_range(range)?)),
            Self::Unpacked(bytes) => Ok(Buffer::from(
                bytes.slice(range.start as usize..range.end as usize),
            )),
        }
    }
}

/// The blocks of a file with a footer.
struct FileBlocks {
    name: Arc<str>,
    raw: Raw,
    schema: SchemaRef,
    decoder: FileDecoder,
    dictionaries: Vec<Block>,
    /// Those still to be read, the last one first.
    batches: Vec<(usize, Block)>,
    first_row: u64,
    limit: u64,
}

impl FileBlocks {
    fn open(name: &Arc<str>, raw: Raw, limit: u64) -> Result<Self> {
        let damaged = |what: String| Error::damaged(name, Place::File, what);
        let size = raw.size();
        let tail = match size.checked_sub(10) {
            Some(start) => raw.read(start..size)?,
            None => return Err(damaged("it is too short".to_owned()).into()),
        };
        let tail: [u8; 10] = tail
            .as_slice()
            .try_into()
            .map_err(|_| damaged("it is too short".to_owned()))?;
        let length = read_footer_length(tail)
            .map_err(|_| damaged("its end is missing or damaged".to_owned()))?
            as u64;
        let Some(start) = (size - 10).checked_sub(length).filter(|_| length <= limit) else {
            let what = format!("its footer claims {length} bytes, the file has {size}");
            return Err(damaged(what).into());
        };
        let bytes = raw.read(start..size - 10)?;
        let footer =
            root_as_footer(&bytes).map_err(|_| damaged("its footer is damaged".to_owned()))?;
        let schema = footer
            .schema()
            .filter(|schema| schema.endianness() == arrow::ipc::Endianness::Little)
            .ok_or_else(|| damaged("its footer has no schema that can be read".to_owned()))?;
        let schema = Arc::new(arrow::ipc::convert::fb_to_schema(schema));
        let dictionaries: Vec<Block> = footer.dictionaries().iter().flatten().copied().collect();
        let batches: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
        for (i, block) in dictionaries.iter().chain(&batches).enumerate() {
            if range_of(block).is_none_or(|range| range.end > size) {
                let what = "it claims to lie outside the file";
                return Err(Error::damaged(name, Place::Block(i as u64 + 1), what).into());
            }
        }
        let decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
        let batches = batches.into_iter().enumerate().rev().collect();
        let name = Arc::clone(name);
        Ok(Self {
            name,
            raw,
            schema,
            decoder,
            dictionaries,
            batches,
            first_row: 0,
            limit,
        })
    }

    /// Gets ready to read the columns of `adapter` from the batches that begin in `range`.
    fn start(&mut self, adapter: &Adapter, range: Option<Range<u64>>, rows: bool) -> Result<()> {
        let schema = Arc::clone(&self.schema);
        let decoder = std::mem::replace(
            &mut self.decoder,
            FileDecoder::new(schema, arrow::ipc::MetadataVersion::V5),
        );
        self.decoder = decoder.with_projection(adapter.needed());
        for block in std::mem::take(&mut self.dictionaries) {
            let (place, buffer) = (Place::File, self.read(&block, Place::File)?);
            self.decoder
                .read_dictionary(&block, &buffer)
                .map_err(|e| self.arrow(place, &e))?;
        }
        let Some(range) = range else { return Ok(()) };
        let begins_in = |block: &Block| range.contains(&(block.offset() as u64));
        if rows {
            let before = self
                .batches
                .iter()
                .filter(|(_, block)| (block.offset() as u64) < range.start);
            for (i, block) in before {
                let start = block.offset() as u64;
                let bytes = self
                    .raw
                    .read(start..start + block.metaDataLength() as u64)?;
                let message =
                    message_of(&bytes).map_err(|e| self.arrow(Place::Block(*i as u64 + 1), &e))?;
                let length = message
                    .header_as_record_batch()
                    .map_or(0, |batch| batch.length());
                self.first_row += length.max(0) as u64;
            }
        }
        self.batches.retain(|(_, block)| begins_in(block));
        Ok(())
    }

    fn read(&self, block: &Block, place: Place) -> Result<Buffer> {
        let range = range_of(block).unwrap_or_default();
        let buffer = self.raw.read(range)?;
        let message = message_of(&buffer).map_err(|e| self.arrow(place, &e))?;
        let body = buffer
            .get(block.metaDataLength() as usize..)
            .unwrap_or_default();
        check_message(&message, body, self.limit)
            .map_err(|what| Error::damaged(&self.name, place, what))?;
        Ok(buffer)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some((i, block)) = self.batches.pop() {
            let place = Place::Block(i as u64 + 1);
            let buffer = self.read(&block, place)?;
            let batch = self.decoder.read_record_batch(&block, &buffer);
            if let Some(batch) = batch.map_err(|e| self.arrow(place, &e))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn arrow(&self, place: Place, error: &ArrowError) -> Error {
        Error::damaged(
            &self.name,
            place,
            format!("the data is damaged: {}", first_line(error)),
        )
    }
}

fn range_of(block: &Block) -> Option<Range<u64>> {
    let start = u64::try_from(block.offset()).ok()?;
    let header = u64::try_from(block.metaDataLength()).ok()?;
    let body = u64::try_from(block.bodyLength()).ok()?;
    Some(start..start.checked_add(header)?.checked_add(body)?)
}

/// The message that stands behind its length.
fn message_of(bytes: &[u8]) -> Result<Message<'_>, ArrowError> {
    let start = if bytes.starts_with(&CONTINUATION) {
        8
    } else {
        4
    };
    let bytes = bytes.get(start..).unwrap_or_default();
    root_as_message(bytes).map_err(|_| ArrowError::IpcError("a message cannot be read".to_owned()))
}

/// Checks what a message says of its body.
fn check_message(message: &Message<'_>, body: &[u8], limit: u64) -> Result<(), String> {
    let batch: Option<BatchHeader<'_>> = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message
            .header_as_dictionary_batch()
            .and_then(|dictionary| dictionary.data()),
        _ => return Ok(()),
    };
    let Some(batch) = batch else {
        return Err("a message has no content".to_owned());
    };
    if !(0..=BATCH_ROWS_MAX).contains(&batch.length()) {
        return Err(format!("it claims {} rows", batch.length()));
    }
    let mut unpacked = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let (start, length) = (buffer.offset(), buffer.length());
        let end = start
            .checked_add(length)
            .filter(|end| *end >= start && start >= 0);
        if end.is_none_or(|end| end > body.len() as i64) {
            return Err("a column claims to lie outside the block".to_owned());
        }
        let prefix = body
            .get(start as usize..)
            .and_then(|rest| rest.first_chunk::<8>());
        if let (Some(_), true, Some(prefix)) = (batch.compression(), length >= 8, prefix) {
            unpacked = unpacked.saturating_add(i64::from_le_bytes(*prefix).max(0) as u64);
        }
    }
    match unpacked > limit {
        true => Err(format!(
            "unpacked it would take {unpacked} bytes, more than {limit}"
        )),
        false => Ok(()),
    }
}

/// The messages of a stream, one after another.
struct Messages {
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
    decoder: StreamDecoder,
    /// A batch that was read on the way to the schema.
    early: Option<RecordBatch>,
    number: u64,
    limit: u64,
    done: bool,
}

impl Messages {
    fn new(file: &InputFile, limit: u64) -> Result<Self, Error> {
        let reader: Box<dyn Read + Send> =
            Box::new(std::io::BufReader::with_capacity(1 << 16, file.open()?));
        let name = Arc::clone(file.name());
        let decoder = StreamDecoder::new();
        Ok(Self {
            name,
            reader,
            decoder,
            early: None,
            number: 0,
            limit,
            done: false,
        })
    }

    fn schema(&mut self) -> Result<SchemaRef> {
        while self.decoder.schema().is_none() && !self.done {
            self.early = self.step()?;
        }
        match self.decoder.schema() {
            Some(schema) => Ok(schema),
            None => Err(self.damaged("the stream has no schema").into()),
        }
    }

    fn stop(&mut self) {
        self.early = None;
        self.done = true;
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.early.take() {
            return Ok(Some(batch));
        }
        while !self.done {
            if let Some(batch) = self.step()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Hands the next message to the decoder, or the end.
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        self.number += 1;
        let mut message = Vec::from(CONTINUATION);
        let mut length = self.word()?;
        if length == Some(CONTINUATION) {
            length = self.word()?;
        }
        let length = length.map_or(0, u32::from_le_bytes);
        message.extend_from_slice(&length.to_le_bytes());
        self.done = length == 0;
        if !self.done {
            self.append(u64::from(length), &mut message)?;
            let header = message_of(&message).map_err(|e| self.damaged(&first_line(&e)))?;
            let body = u64::try_from(header.bodyLength())
                .map_err(|_| self.damaged("a length is negative"))?;
            let start = message.len();
            self.append(body, &mut message)?;
            let header = message_of(&message).map_err(|e| self.damaged(&first_line(&e)))?;
            check_message(&header, &message[start..], self.limit)
                .map_err(|what| self.damaged(&what))?;
        }
        let mut buffer = Buffer::from_vec(message);
        let batch = self.decoder.decode(&mut buffer);
        batch.map_err(|e| self.damaged(&first_line(&e)).into())
    }

    /// Four bytes, or none at the end.
    fn word(&mut self) -> Result<Option<[u8; 4]>, Error> {
        let mut word = Vec::new();
        let read = self.reader.by_ref().take(4).read_to_end(&mut word);
        read.map_err(|e| Error::from_io(&self.name, e))?;
        match word.as_slice() {
            [] => Ok(None),
            _ => Ok(Some(
                word.try_into()
                    .map_err(|_| self.damaged("it is cut short"))?,
            )),
        }
    }

    fn append(&mut self, bytes: u64, to: &mut Vec<u8>) -> Result<(), Error> {
        if bytes > self.limit {
            return Err(self.damaged(&format!(
                "it claims {bytes} bytes, more than {}",
                self.limit
            )));
        }
        let read = self.reader.by_ref().take(bytes).read_to_end(to);
        match read.map_err(|e| Error::from_io(&self.name, e))? as u64 == bytes {
            true => Ok(()),
            false => Err(self.damaged("it is cut short")),
        }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.name, Place::Block(self.number), what)
    }
}

enum Given {
    File(FileBlocks),
    Stream(Messages),
}

struct IpcBatches {
    given: Given,
    adapter: Adapter,
    name: Arc<str>,
    schema: SchemaRef,
    row: u64,
    rows: bool,
    batch_rows: usize,
    /// A batch of the file that was given out in part.
    rest: Option<RecordBatch>,
}

impl Batches for IpcBatches {
    fn next_batch(&mut self) -> Result<Step> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let given = &mut self.given;
                let next = guarded(&self.name, Place::File, || match given {
                    Given::File(blocks) => blocks.next(),
                    Given::Stream(messages) => messages.next(),
                })?;
                match next {
                    Some(batch) => batch,
                    None => return Ok(Step::Done),
                }
            }
        };
        let rows = batch.num_rows().min(self.batch_rows);
        if rows == 0 {
            return Ok(Step::Again);
        }
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let adapted = self.adapter.adapt(&batch.slice(0, rows))?;
        let first = self.rows.then_some(self.row);
        self.row += rows as u64;
        Ok(Step::Batch(with_rows(adapted, &self.schema, first)?))
    }
}
