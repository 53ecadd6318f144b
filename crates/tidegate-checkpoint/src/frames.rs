//! Files of frames: what a task gives to the tasks after it, each piece with its own check.
//!
//! ```text
//! header   magic 8 | statement, stage, task, attempt 4 each | epoch 8 | job 32 | codec 1, zero 3 | ids 32 | crc 4
//! frame    sequence, partition, rows, length 4 each | crc of numbers and bytes 4 | crc of the head 4 | bytes
//! trailer  magic 8 | frames 4 | rows 8 | bytes 8 | BLAKE3 32 | crc 4
//! ```
//!
//! Numbers are little-endian. A frame that was cut short, changed or put in the place of another is found before
//! anybody decodes it. A file that is to outlive its process holds the fingerprint of its job, and the BLAKE3 of
//! everything before it; both are zero in others. The codec is 0 (plain) and the ids (of a key, and of the file for it)
//! are zero until files can be encrypted.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::error::{At, Error, Result};
use crate::vfs::{Kind, Vfs, VfsFile};
use format::{HEADER_BYTES, TRAILER_BYTES, Trailer};

pub use reader::FrameReader;

mod format;
mod reader;

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The fingerprint of the job; zero outside of jobs.
    pub job: [u8; 32],
    /// The statement of the job; zero outside of jobs.
    pub statement: u32,
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
    bytes: u64,
    rows: u64,
    count: u32,
    blake3: Option<[u8; 32]>,
    /// Filled when the file is written, or when what another process wrote is first read.
    index: Arc<OnceLock<Vec<Frame>>>,
}

/// What somebody remembers of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Who wrote it.
    pub origin: Origin,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its hash.
    pub blake3: Option<[u8; 32]>,
}

impl FrameFile {
    /// The file of another process at `path`, if it is the one that is expected: looks at its size,
    /// header and trailer. Its frames are read when they are first needed.
    pub fn find(vfs: &dyn Vfs, path: &Path, expected: &Expected) -> Result<Self> {
        let damaged = |why: String| Error::Corrupt {
            path: path.to_path_buf(),
            why,
        };
        let found = vfs.link_metadata(path).at("look at", path)?;
        if found.kind != Kind::File {
            return Err(damaged("it is no file".into()));
        }
        if found.bytes != expected.bytes {
            let (bytes, was) = (found.bytes, expected.bytes);
            return Err(damaged(format!("it has {bytes} bytes and had {was}")));
        }
        if expected.bytes < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(damaged("it is too short for a file of frames".into()));
        }
        let reader = FrameReader::open(vfs, path)?;
        let file = Self {
            path: path.to_path_buf(),
            origin: expected.origin,
            bytes: expected.bytes,
            rows: expected.rows,
            count: reader.frames(expected.bytes)?,
            blake3: expected.blake3,
            index: Arc::default(),
        };
        reader.check(&file)?;
        Ok(file)
    }

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
        self.rows
    }

    /// The hash of all before its trailer, of a file that was made to outlive its process.
    pub fn blake3(&self) -> Option<[u8; 32]> {
        self.blake3
    }

    /// Reads where the frames are, unless that is known. To be called before [`FrameFile::frames`]
    /// and [`FrameFile::of`] on a file that was found.
    pub fn load(&self, vfs: &dyn Vfs) -> Result<()> {
        match self.index.get() {
            Some(_) => Ok(()),
            None => self.open(vfs).map(drop),
        }
    }

    /// The frames of a partition, in order. See [`FrameFile::load`].
    pub fn of(&self, partition: u32) -> impl Iterator<Item = &Frame> {
        let is_its = move |frame: &&Frame| frame.partition == partition;
        self.frames().iter().filter(is_its)
    }

    /// Every frame, in order. See [`FrameFile::load`].
    pub fn frames(&self) -> &[Frame] {
        // No frames would be missing rows.
        self.index
            .get()
            .expect("a file that was found is loaded before its frames are asked for")
    }

    /// Opens it, and checks that it is the file it was.
    pub fn open(&self, vfs: &dyn Vfs) -> Result<FrameReader> {
        let reader = FrameReader::open(vfs, &self.path)?;
        reader.check(self)?;
        if self.index.get().is_none() {
            // Who was faster has found the same.
            let _ = self.index.set(reader.walk(self)?);
        }
        Ok(reader)
    }

    /// Reads all of it: an error unless every byte is what was written.
    pub fn verify(&self, vfs: &dyn Vfs) -> Result<()> {
        let reader = self.open(vfs)?;
        match self.blake3 {
            Some(hash) if reader.hash(self)? != hash => {
                Err(reader.damaged("its hash does not agree with its bytes"))
            }
            Some(_) => Ok(()),
            None => self
                .frames()
                .iter()
                .try_for_each(|frame| reader.read(frame).map(drop)),
        }
    }

    /// The same file under its new name.
    pub(crate) fn moved(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    fn trailer(&self) -> Trailer {
        Trailer {
            frames: self.count,
            rows: self.rows,
            bytes: self.bytes,
            blake3: self.blake3,
        }
    }
}

/// Writes a file of frames.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_checkpoint::RealVfs;
/// use tidegate_checkpoint::frames::{FrameWriter, Origin};
///
/// let dir = tempfile::tempdir()?;
/// let origin = Origin { task: 3, epoch: 1, ..Origin::default() };
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
    path: PathBuf,
    origin: Origin,
    frames: Vec<Frame>,
    bytes: u64,
    rows: u64,
    /// Of a file that is to outlive its process.
    hasher: Option<blake3::Hasher>,
    /// Bytes that the system was asked to put to the disk already.
    begun: u64,
    finished: bool,
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("path", &self.path)
            .field("origin", &self.origin)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// After so many bytes of a file that is to outlive its process the system is asked to put them to the disk, while the
/// next ones are computed.
const BEGIN_SYNC_BYTES: u64 = 8 << 20;

impl FrameWriter {
    /// Makes the file; an error when the name is taken. It is for this process: not hashed, and not
    /// forced to the disk.
    pub fn create(vfs: Arc<dyn Vfs>, path: &Path, origin: Origin) -> Result<Self> {
        Self::start(vfs, path, origin, None)
    }

    /// Makes a file that is to outlive this process: it is hashed, and [`FrameWriter::finish`]
    /// forces it to the disk.
    pub fn create_durable(vfs: Arc<dyn Vfs>, path: &Path, origin: Origin) -> Result<Self> {
        Self::start(vfs, path, origin, Some(blake3::Hasher::new()))
    }

    fn start(
        vfs: Arc<dyn Vfs>,
        path: &Path,
        origin: Origin,
        hasher: Option<blake3::Hasher>,
    ) -> Result<Self> {
        let file = vfs.create(path).at("make", path)?;
        let mut writer = Self {
            vfs,
            file,
            path: path.to_path_buf(),
            origin,
            frames: Vec::new(),
            bytes: 0,
            rows: 0,
            hasher,
            begun: 0,
            finished: false,
        };
        writer.write(&format::header(&origin))?;
        Ok(writer)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a frame.
    pub fn append(&mut self, partition: u32, rows: u32, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| Error::Misuse {
            name: self.path.display().to_string(),
            why: "a frame has at most 4 GiB",
        })?;
        let frame = Frame {
            partition,
            rows,
            offset: self.bytes,
            bytes: length,
            sequence: self.frames.len() as u32,
        };
        self.write(&format::head(&frame, bytes))?;
        self.write(bytes)?;
        self.rows += u64::from(rows);
        self.frames.push(frame);
        Ok(())
    }

    /// Ends the file: only now can it be read.
    pub fn finish(mut self) -> Result<FrameFile> {
        let mut trailer = Trailer {
            frames: self.frames.len() as u32,
            rows: self.rows,
            bytes: self.bytes + TRAILER_BYTES as u64,
            blake3: None,
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&trailer.hashed());
            trailer.blake3 = Some(*hasher.finalize().as_bytes());
        }
        self.write(&trailer.encoded())?;
        self.file.flush().at("write", &self.path)?;
        if self.hasher.is_some() {
            self.file.sync().at("sync", &self.path)?;
        }
        self.finished = true;
        Ok(FrameFile {
            path: self.path.clone(),
            origin: self.origin,
            bytes: trailer.bytes,
            rows: trailer.rows,
            count: trailer.frames,
            blake3: trailer.blake3,
            index: Arc::new(OnceLock::from(std::mem::take(&mut self.frames))),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        let new = self.bytes - self.begun;
        if self.hasher.is_some() && new >= BEGIN_SYNC_BYTES {
            self.file.begin_sync(self.begun, new);
            self.begun = self.bytes;
        }
        Ok(())
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed goes with its directory.
            let _ = self.vfs.remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::RealVfs;

    const ORIGIN: Origin = Origin {
        job: [7; 32],
        statement: 3,
        stage: 1,
        task: 2,
        attempt: 0,
        epoch: 9,
    };

    fn written(dir: &Path) -> FrameFile {
        let path = dir.join("f");
        filled(FrameWriter::create(Arc::new(RealVfs), &path, ORIGIN).unwrap())
    }

    fn durable(dir: &Path) -> FrameFile {
        let path = dir.join("d");
        filled(FrameWriter::create_durable(Arc::new(RealVfs), &path, ORIGIN).unwrap())
    }

    fn filled(mut writer: FrameWriter) -> FrameFile {
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
        let writer = FrameWriter::create(Arc::new(RealVfs), &path, ORIGIN).unwrap();
        assert!(path.exists());
        drop(writer);
        assert!(!path.exists());
    }

    fn expected(file: &FrameFile) -> Expected {
        Expected {
            origin: file.origin(),
            bytes: file.bytes(),
            rows: file.rows(),
            blake3: file.blake3(),
        }
    }

    /// What a later process gets: the frames of each partition.
    fn found(file: &FrameFile) -> Result<Vec<(u32, Vec<u8>)>> {
        let found = FrameFile::find(&RealVfs, file.path(), &expected(file))?;
        let reader = found.open(&RealVfs)?;
        let frames = (0..8).flat_map(|partition| found.of(partition));
        frames
            .map(|frame| Ok((frame.partition, reader.read(frame)?)))
            .collect()
    }

    #[test]
    fn another_process_finds_the_frames_that_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = durable(dir.path());
        let expected = [(0, b"a".to_vec()), (0, b"bcd".to_vec()), (5, b"".to_vec())];
        assert_eq!(found(&file).unwrap(), expected);
        file.verify(&RealVfs).unwrap();
        assert_eq!(found(&written(dir.path())).unwrap(), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_by_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = durable(dir.path());
        let good = std::fs::read(file.path()).unwrap();
        for place in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[place / 8] ^= 1 << (place % 8);
            std::fs::write(file.path(), &bad).unwrap();
            assert!(
                matches!(found(&file), Err(Error::Corrupt { .. })),
                "{place}"
            );
            assert!(file.verify(&RealVfs).is_err(), "{place}");
        }
        for length in 0..good.len() {
            std::fs::write(file.path(), &good[..length]).unwrap();
            assert!(
                matches!(found(&file), Err(Error::Corrupt { .. })),
                "{length}"
            );
        }
    }

    /// A partition that lost a frame must not look as if it had none.
    #[test]
    fn a_frame_that_changed_its_partition_is_found_by_every_reader() {
        let dir = tempfile::tempdir().unwrap();
        let file = durable(dir.path());
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[HEADER_BYTES + 4] ^= 1;
        std::fs::write(file.path(), &bytes).unwrap();
        let found = FrameFile::find(&RealVfs, file.path(), &expected(&file)).unwrap();
        let error = found.load(&RealVfs).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }

    /// The same attempt, as many rows and bytes, and others.
    #[test]
    fn a_file_of_other_bytes_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = durable(dir.path());
        let path = dir.path().join("other");
        let mut writer = FrameWriter::create_durable(Arc::new(RealVfs), &path, ORIGIN).unwrap();
        for (partition, rows, bytes) in [(0, 1, &b"A"[..]), (5, 3, b""), (0, 2, b"bcd")] {
            writer.append(partition, rows, bytes).unwrap();
        }
        let other = writer.finish().unwrap();
        assert_eq!((other.bytes(), other.rows()), (file.bytes(), file.rows()));
        assert!(FrameFile::find(&RealVfs, &path, &expected(&other)).is_ok());
        assert!(FrameFile::find(&RealVfs, &path, &expected(&file)).is_err());
    }

    #[test]
    fn a_file_of_another_origin_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = durable(dir.path());
        let others = [
            Origin {
                job: [8; 32],
                ..ORIGIN
            },
            Origin {
                statement: 4,
                ..ORIGIN
            },
            Origin { stage: 4, ..ORIGIN },
            Origin { task: 4, ..ORIGIN },
            Origin {
                attempt: 4,
                ..ORIGIN
            },
            Origin { epoch: 4, ..ORIGIN },
        ];
        for origin in others {
            let other = Expected {
                origin,
                ..expected(&file)
            };
            assert!(FrameFile::find(&RealVfs, file.path(), &other).is_err());
        }
        for bytes in [0, 1, file.bytes() - 1, u64::MAX] {
            let other = Expected {
                bytes,
                ..expected(&file)
            };
            assert!(FrameFile::find(&RealVfs, file.path(), &other).is_err());
        }
    }
}
