//! The frame of an Avro file, checked block by block and handed on without compression.
//!
//! The decoder behind it ends quietly where a file is cut short, does not look at the marks between
//! blocks, and never ends when a block holds more than it says. So each block is read whole,
//! unpacked within a limit, and walked over before the decoder sees it.

use std::io::{self, Read};
use std::sync::Arc;

use super::snappy;
use super::walk::Walker;
use crate::input::{Error, InputFile, Place, Reader};

const MAGIC: &[u8; 4] = b"Obj\x01";

/// Schema and notes in front of the blocks.
const HEADER_BYTES_MAX: u64 = 64 << 20;

type Mark = [u8; 16];

#[derive(Debug, Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

/// An Avro file as the decoder is to see it.
pub(super) struct Container {
    reader: Reader,
    name: Arc<str>,
    codec: Codec,
    mark: Mark,
    walker: Walker,
    /// What was made and not yet read.
    ready: Vec<u8>,
    next: usize,
    number: u64,
    limit: u64,
    done: bool,
}

impl Container {
    pub(super) fn open(file: &InputFile, limit: u64) -> Result<Self, Error> {
        let name = Arc::clone(file.name());
        let mut reader = file.open()?;
        let damaged = |what: &str| Error::damaged(&name, Place::File, what);
        let mut head = (&mut reader).take(HEADER_BYTES_MAX);
        let mut input = Input {
            reader: &mut head,
            name: &name,
            place: Place::File,
        };
        if input.bytes(4)? != MAGIC {
            return Err(damaged("this is no Avro file"));
        }
        let (mut schema, mut codec) = (None, Codec::Null);
        loop {
            let mut count = input.long()?;
            if count < 0 {
                input.long()?;
                count = count.saturating_neg();
            }
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let (key, value) = (input.text()?, input.text()?);
                match key.as_slice() {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Codec::of(&value).map_err(|what| damaged(&what))?,
                    _ => {}
                }
            }
        }
        let mark: Mark = input
            .bytes(16)?
            .try_into()
            .map_err(|_| damaged("it is cut short"))?;
        let schema = schema.ok_or_else(|| damaged("it has no schema"))?;
        let walker = Walker::new(&schema).map_err(|what| damaged(&what))?;
        let ready = header(&schema, &mark);
        let (next, number, done) = (0, 0, false);
        Ok(Self {
            reader,
            name,
            codec,
            mark,
            walker,
            ready,
            next,
            number,
            limit,
            done,
        })
    }

    /// Makes the next block ready, or finds the end.
    fn fill(&mut self) -> Result<(), Error> {
        self.number += 1;
        let place = Place::Block(self.number);
        let damaged = |what: String| Error::damaged(&self.name, place, what);
        let mut input = Input {
            reader: &mut self.reader,
            name: &self.name,
            place,
        };
        let Some(count) = input.long_or_end()? else {
            self.done = true;
            return Ok(());
        };
        let size = input.long()?;
        let (Ok(count), Ok(size)) = (u64::try_from(count), u64::try_from(size)) else {
            return Err(damaged("a length is negative".to_owned()));
        };
        if size > self.limit {
            return Err(damaged(format!(
                "it claims {size} bytes, more than {}",
                self.limit
            )));
        }
        let packed = input.bytes(size)?;
        if input.bytes(16)? != self.mark {
            return Err(damaged("the mark behind it is wrong".to_owned()));
        }
        let data = self.codec.unpack(packed, self.limit).map_err(damaged)?;
        self.walker.check(&data, count).map_err(damaged)?;
        self.ready.clear();
        self.next = 0;
        if count > 0 {
            put_long(count as i64, &mut self.ready);
            put_long(data.len() as i64, &mut self.ready);
            self.ready.extend_from_slice(&data);
            self.ready.extend_from_slice(&self.mark);
        }
        Ok(())
    }
}

impl Read for Container {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.next == self.ready.len() && !self.done {
            self.fill().map_err(Error::into_io)?;
        }
        let read = buffer.len().min(self.ready.len() - self.next);
        buffer[..read].copy_from_slice(&self.ready[self.next..self.next + read]);
        self.next += read;
        Ok(read)
    }
}

/// The header of an uncompressed file of the same schema.
fn header(schema: &[u8], mark: &Mark) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    put_long(2, &mut header);
    for text in [&b"avro.schema"[..], schema, b"avro.codec", b"null"] {
        put_long(text.len() as i64, &mut header);
        header.extend_from_slice(text);
    }
    put_long(0, &mut header);
    header.extend_from_slice(mark);
    header
}

fn put_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads what a file claims to hold, and no more than it holds.
struct Input<'a, R> {
    reader: &'a mut R,
    name: &'a Arc<str>,
    place: Place,
}

impl<R: Read> Input<'_, R> {
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        match read.map_err(|error| Error::from_io(self.name, error))? as u64 == count {
            true => Ok(bytes),
            false => Err(Error::damaged(
                self.name,
                self.place,
                "the file is cut short",
            )),
        }
    }

    fn text(&mut self) -> Result<Vec<u8>, Error> {
        let length = self.long()?;
        let length = u64::try_from(length)
            .map_err(|_| Error::damaged(self.name, self.place, "a length is negative"))?;
        self.bytes(length)
    }

    fn long(&mut self) -> Result<i64, Error> {
        match self.long_or_end()? {
            Some(number) => Ok(number),
            None => Err(Error::damaged(
                self.name,
                self.place,
                "the file is cut short",
            )),
        }
    }

    fn long_or_end(&mut self) -> Result<Option<i64>, Error> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let mut byte = [0];
            let read = self.reader.read(&mut byte);
            if read.map_err(|error| Error::from_io(self.name, error))? == 0 {
                return match shift {
                    0 => Ok(None),
                    _ => Err(Error::damaged(
                        self.name,
                        self.place,
                        "the file is cut short",
                    )),
                };
            }
            number |= u64::from(byte[0] & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte[0] < 0x80 {
                return Ok(Some((number >> 1) as i64 ^ -((number & 1) as i64)));
            }
        }
        Err(Error::damaged(
            self.name,
            self.place,
            "a number is too long",
        ))
    }
}

impl Codec {
    fn of(name: &[u8]) -> Result<Self, String> {
        Ok(match name {
            b"null" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            b"bzip2" => Self::Bzip2,
            b"xz" => Self::Xz,
            other => {
                let name = String::from_utf8_lossy(other);
                return Err(format!("its compression `{name}` is not known"));
            }
        })
    }

    fn unpack(self, packed: Vec<u8>, limit: u64) -> Result<Vec<u8>, String> {
        let packed = packed.as_slice();
        match self {
            Self::Null => Ok(packed.to_vec()),
            Self::Snappy => snappy::unpack(packed, limit),
            Self::Deflate => read_all(flate2::read::DeflateDecoder::new(packed), limit),
            Self::Bzip2 => read_all(bzip2::read::MultiBzDecoder::new(packed), limit),
            Self::Xz => read_all(liblzma::read::XzDecoder::new_multi_decoder(packed), limit),
            Self::Zstandard => match zstd::stream::read::Decoder::new(packed) {
                Ok(reader) => read_all(reader, limit),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

fn read_all(reader: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut data);
    let read = read.map_err(|error| format!("its compressed data is damaged: {error}"))?;
    match read as u64 > limit {
        true => Err(format!("unpacked it has more than {limit} bytes")),
        false => Ok(data),
    }
}
