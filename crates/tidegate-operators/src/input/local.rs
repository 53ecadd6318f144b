//! Local files: open, compare with the pin, read in place, compare again.
//!
//! Reads are plain system calls on the calling thread. Handing each of them to a pool of
//! blocking threads was measured to cost more than the reads themselves.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::{Error, InputFile};

/// An open local file that is still the one that was listed.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    pin: InputFile,
}

impl LocalFile {
    /// Opens `input`, which must be local, and compares it with its pin.
    pub fn open(input: &InputFile) -> Result<Self, Error> {
        let io = |source| Error::Io {
            file: Arc::clone(input.name()),
            source,
        };
        let path = input.local.as_ref().ok_or_else(|| {
            io(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a local file",
            ))
        })?;
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => input.changed("it is no longer there"),
            _ => io(source),
        })?;
        let opened = Self {
            file,
            pin: input.clone(),
        };
        opened.check()?;
        Ok(opened)
    }

    /// The file this is a handle of.
    pub fn input(&self) -> &InputFile {
        &self.pin
    }

    /// Reads `range` and makes sure that it was read from the pinned version.
    pub fn read_at(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.read_vec_at(range)?.into())
    }

    /// As [`LocalFile::read_at`], into a vector of its own.
    pub fn read_vec_at(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut buffer = Vec::new();
        self.append_at(range, &mut buffer)?;
        Ok(buffer)
    }

    /// As [`LocalFile::read_at`], behind what `buffer` holds already.
    pub fn append_at(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<(), Error> {
        if range.start > range.end || range.end > self.pin.meta.size {
            return Err(self.pin.changed(format!(
                "bytes {} to {} were asked for, it has {}",
                range.start, range.end, self.pin.meta.size
            )));
        }
        let kept = buffer.len();
        buffer.resize(kept + (range.end - range.start) as usize, 0);
        if let Err(source) = self.file.read_exact_at(&mut buffer[kept..], range.start) {
            return Err(match source.kind() {
                io::ErrorKind::UnexpectedEof => self.pin.changed("it was truncated"),
                _ => Error::Io {
                    file: Arc::clone(self.pin.name()),
                    source,
                },
            });
        }
        self.check()
    }

    /// Compares the open file with its pin.
    pub fn check(&self) -> Result<(), Error> {
        let stat = self.file.metadata().map_err(|source| Error::Io {
            file: Arc::clone(self.pin.name()),
            source,
        })?;
        if stat.is_dir() {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(Error::Io {
                file: Arc::clone(self.pin.name()),
                source,
            });
        }
        let pin = &self.pin.meta;
        if stat.len() != pin.size {
            let what = format!("it had {} bytes and has {} now", pin.size, stat.len());
            return Err(self.pin.changed(what));
        }
        // A time of zero without a tag is a file nobody has listed: only its size is known.
        let listed = pin.e_tag.is_some() || pin.last_modified.timestamp_micros() != 0;
        if listed && modified(&stat) != pin.last_modified {
            return Err(self.pin.changed("its modification time is another"));
        }
        if pin.e_tag.as_ref().is_some_and(|tag| *tag != tag_of(&stat)) {
            return Err(self.pin.changed("it was replaced by another file"));
        }
        Ok(())
    }
}

/// A local file from its first byte to its last.
pub(super) struct PinnedReader {
    file: LocalFile,
    read_bytes: u64,
}

impl PinnedReader {
    pub(super) fn new(file: LocalFile) -> Self {
        Self {
            file,
            read_bytes: 0,
        }
    }
}

impl Read for PinnedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.file.pin.meta.size;
        let rest = size.saturating_sub(self.read_bytes);
        let wanted = buffer
            .len()
            .min(usize::try_from(rest).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = (&self.file.file).read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(self.file.pin.changed("it was truncated").into_io());
        }
        self.read_bytes += read as u64;
        self.file.check().map_err(Error::into_io)?;
        Ok(read)
    }
}

pub(super) fn object_meta(stat: &Metadata, location: Path) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: modified(stat),
        size: stat.len(),
        e_tag: Some(tag_of(stat)),
        version: None,
    }
}

fn modified(stat: &Metadata) -> DateTime<Utc> {
    stat.modified().unwrap_or(SystemTime::UNIX_EPOCH).into()
}

/// The tag that object stores give to local files: inode, time and size.
fn tag_of(stat: &Metadata) -> String {
    let micros = stat
        .modified()
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default()
        .as_micros();
    format!("{:x}-{micros:x}-{:x}", stat.ino(), stat.len())
}
