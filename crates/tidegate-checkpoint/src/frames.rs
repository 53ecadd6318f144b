//! Files of frames: what a task gives to the tasks after it, each piece with its own check.
//!
//! ```text
//! header   magic 8 | stage, task, attempt 4 each | epoch 8 | reserved 32 | crc 4
//! frame    sequence, partition, rows, length 4 each | crc 4 | bytes
//! trailer  magic 8 | frames 4 | rows 8 | bytes 8 | crc 4
//! ```
//!
//! Numbers are little-endian. A frame's check covers its own numbers and bytes, so that a frame that was cut short,
//! changed or put in the place of another is found before anybody decodes it. The reserved bytes are for the
//! fingerprint of a job.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{At, Error, Result};
use crate::vfs::{Vfs, VfsFile, VfsRead};

const HEADER_MAGIC: &[u8; 8] = b"TIDEFRM\x01";
const TRAILER_MAGIC: &[u8; 8] = b"TIDEEND\x01";
const HEADER_BYTES: usize = 8 + 12 + 8 + 32 + 4;
const FRAME_BYTES: usize = 20;
const TRAILER_BYTES: usize = 8 + 4 + 8 + 8 + 4;

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The stage.
    pub stage: u32,
    /// The task of the stage.
    pub task: u32,
    /// Which try of it.
    pub attempt: u32,
    /// Which incarnation of the process.
    pub epoch: u64,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Whose it is.
    pub partition: u32,
    /// Rows in it.
    pub rows: u32,
    offset: u64,
    bytes: u32,
    sequence: u32,
}

/// A file that is whole: its frames, in the order in which they were written.
#[derive(Debug, Clone)]
pub struct FrameFile {
    path: PathBuf,
    origin: Origin,
    frames: Vec<Frame>,
    bytes: u64,
}

impl FrameFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who wrote it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.rows)).sum()
    }

    /// The frames of a partition, in order.
    pub fn of(&self, partition: u32) -> impl Iterator<Item = &Frame> {
        let is_its = move |frame: &&Frame| frame.partition == partition;
        self.frames.iter().filter(is_its)
    }

    /// Every frame, in order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Opens it, and checks that it is the file it was.
    pub fn open(&self, vfs: &dyn Vfs) -> Result<FrameReader> {
        let file = vfs.open_read(&self.path).at("open", &self.path)?;
        let reader = FrameReader {
            path: self.path.clone(),
            file,
        };
        let header = reader.bytes(0, HEADER_BYTES)?;
        if header != self.origin.header() {
            return Err(reader.damaged("its header is another one"));
        }
        let (at, trailer) = (self.bytes - TRAILER_BYTES as u64, self.trailer());
        if reader.bytes(at, TRAILER_BYTES)? != trailer {
            return Err(reader.damaged("its end is another one"));
        }
        Ok(reader)
    }

    fn trailer(&self) -> Vec<u8> {
        let mut trailer = TRAILER_MAGIC.to_vec();
        trailer.extend_from_slice(&(self.frames.len() as u32).to_le_bytes());
        trailer.extend_from_slice(&self.rows().to_le_bytes());
        trailer.extend_from_slice(&self.bytes.to_le_bytes());
        checked(trailer)
    }
}

impl Origin {
    fn header(self) -> Vec<u8> {
        let mut header = HEADER_MAGIC.to_vec();
        for number in [self.stage, self.task, self.attempt] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&self.epoch.to_le_bytes());
        header.extend_from_slice(&[0; 32]);
        checked(header)
    }
}

/// The bytes, and their check after them.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let check = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

fn check_of(numbers: &[u8], bytes: &[u8]) -> u32 {
    let mut check = crc32fast::Hasher::new();
    check.update(numbers);
    check.update(bytes);
    check.finalize()
}

/// Writes a file of frames.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_checkpoint::RealVfs;
/// use tidegate_checkpoint::frames::{FrameWriter, Origin};
///
/// let dir = tempfile::tempdir()?;
/// let origin = Origin { stage: 0, task: 3, attempt: 0, epoch: 1 };
/// let mut writer = FrameWriter::create(Arc::new(RealVfs), &dir.path().join("3"), origin)?;
/// writer.append(7, 2, b"two rows")?;
/// let file = writer.finish()?;
/// let frame = file.of(7).next().expect("it was written");
/// assert_eq!(file.open(&RealVfs)?.read(frame)?, b"two rows");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FrameWriter {
    vfs: Arc<dyn Vfs>,
    file: Box<dyn VfsFile>,
    made: FrameFile,
    finished: bool,
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameWriter").field(&self.made).finish()
    }
}

impl FrameWriter {
    /// Makes the file; an error when the name is taken.
    pub fn create(vfs: Arc<dyn Vfs>, path: &Path, origin: Origin) -> Result<Self> {
        let mut file = vfs.create(path).at("make", path)?;
        file.write_all(&origin.header()).at("write", path)?;
        Ok(Self {
            vfs,
            file,
            made: FrameFile {
                path: path.to_path_buf(),
                origin,
                frames: Vec::new(),
                bytes: HEADER_BYTES as u64,
            },
            finished: false,
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.made.bytes
    }

    /// Adds a frame.
    pub fn append(&mut self, partition: u32, rows: u32, bytes: &[u8]) -> Result<()> {
        let path = self.made.path.clone();
        let length = u32::try_from(bytes.len()).map_err(|_| Error::Misuse {
            name: path.display().to_string(),
            why: "a frame has at most 4 GiB",
        })?;
        let sequence = self.made.frames.len() as u32;
        let mut head = Vec::with_capacity(FRAME_BYTES);
        for number in [sequence, partition, rows, length] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        let check = check_of(&head, bytes);
        head.extend_from_slice(&check.to_le_bytes());
        self.file.write_all(&head).at("write", &path)?;
        self.file.write_all(bytes).at("write", &path)?;
        self.made.frames.push(Frame {
            partition,
            rows,
            offset: self.made.bytes,
            bytes: length,
            sequence,
        });
        self.made.bytes += (FRAME_BYTES + bytes.len()) as u64;
        Ok(())
    }

    /// Ends the file: only now can it be read.
    pub fn finish(mut self) -> Result<FrameFile> {
        let path = self.made.path.clone();
        self.made.bytes += TRAILER_BYTES as u64;
        let trailer = self.made.trailer();
        self.file.write_all(&trailer).at("write", &path)?;
        self.file.flush().at("write", &path)?;
        self.finished = true;
        Ok(self.made.clone())
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed goes with its directory.
            let _ = self.vfs.remove_file(&self.made.path);
        }
    }
}

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader {
    path: PathBuf,
    file: Box<dyn VfsRead>,
}

impl FrameReader {
    /// The bytes of a frame, which are what was written.
    pub fn read(&self, frame: &Frame) -> Result<Vec<u8>> {
        let mut all = self.bytes(frame.offset, FRAME_BYTES + frame.bytes as usize)?;
        let bytes = all.split_off(FRAME_BYTES);
        let (numbers, check) = all.split_at(FRAME_BYTES - 4);
        let expected = [frame.sequence, frame.partition, frame.rows, frame.bytes];
        let expected = expected.iter().flat_map(|number| number.to_le_bytes());
        if !numbers.iter().copied().eq(expected) {
            return Err(self.damaged("a frame is another one"));
        }
        if check != check_of(numbers, &bytes).to_le_bytes() {
            return Err(self.damaged("the check of a frame does not agree with its bytes"));
        }
        Ok(bytes)
    }

    fn bytes(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it is cut short"))
            }
            Err(error) => Err(error).at("read", &self.path),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::RealVfs;

    fn written(dir: &Path) -> FrameFile {
        let origin = Origin {
            stage: 1,
            task: 2,
            attempt: 0,
            epoch: 9,
        };
        let path = dir.join("f");
        let mut writer = FrameWriter::create(Arc::new(RealVfs), &path, origin).unwrap();
        writer.append(0, 1, b"a").unwrap();
        writer.append(5, 3, b"").unwrap();
        writer.append(0, 2, b"bcd").unwrap();
        writer.finish().unwrap()
    }

    fn all(file: &FrameFile) -> Result<Vec<Vec<u8>>> {
        let reader = file.open(&RealVfs)?;
        file.frames()
            .iter()
            .map(|frame| reader.read(frame))
            .collect()
    }

    #[test]
    fn frames_come_back_by_partition() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let reader = file.open(&RealVfs).unwrap();
        let of = |partition| -> Vec<Vec<u8>> {
            let frames = file.of(partition);
            frames.map(|frame| reader.read(frame).unwrap()).collect()
        };
        assert_eq!(of(0), [b"a".to_vec(), b"bcd".to_vec()]);
        assert_eq!(of(5), [b"".to_vec()]);
        assert_eq!((file.rows(), of(1).len()), (6, 0));
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), file.bytes());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let good = std::fs::read(file.path()).unwrap();
        for place in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[place / 8] ^= 1 << (place % 8);
            std::fs::write(file.path(), &bad).unwrap();
            assert!(matches!(all(&file), Err(Error::Corrupt { .. })), "{place}");
        }
        for length in 0..good.len() {
            std::fs::write(file.path(), &good[..length]).unwrap();
            assert!(matches!(all(&file), Err(Error::Corrupt { .. })), "{length}");
        }
    }

    #[test]
    fn a_file_that_is_not_finished_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let origin = written(dir.path()).origin;
        std::fs::remove_file(&path).unwrap();
        let writer = FrameWriter::create(Arc::new(RealVfs), &path, origin).unwrap();
        assert!(path.exists());
        drop(writer);
        assert!(!path.exists());
    }
}
