//! Reading a file of frames.

use std::path::{Path, PathBuf};

use super::format::{HEAD_BYTES, HEADER_BYTES, TRAILER_BYTES, Trailer, frame_of, head, header};
use super::{Frame, FrameFile};
use crate::error::{At, Error, Result};
use crate::vfs::{Vfs, VfsRead};

/// How much of a file is hashed at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader {
    path: PathBuf,
    file: Box<dyn VfsRead>,
}

impl FrameReader {
    /// The bytes of a frame, which are what was written.
    pub fn read(&self, frame: &Frame) -> Result<Vec<u8>> {
        let mut all = self.bytes(frame.offset, HEAD_BYTES + frame.bytes as usize)?;
        let bytes = all.split_off(HEAD_BYTES);
        if frame_of(&all, frame.offset) != Some(*frame) {
            return Err(self.damaged("a frame is another one"));
        }
        if all != head(frame, &bytes) {
            return Err(self.damaged("the check of a frame does not agree with its bytes"));
        }
        Ok(bytes)
    }

    pub(super) fn open(vfs: &dyn Vfs, path: &Path) -> Result<Self> {
        let file = vfs.open_read(path).at("open", path)?;
        let path = path.to_path_buf();
        Ok(Self { path, file })
    }

    /// Checks that the file begins and ends as it should.
    pub(super) fn check(&self, file: &FrameFile) -> Result<()> {
        if self.bytes(0, HEADER_BYTES)? != header(&file.origin) {
            return Err(self.damaged("its header is another one"));
        }
        if self.end(file.bytes)? != file.trailer().encoded() {
            return Err(self.damaged("its end is another one"));
        }
        Ok(())
    }

    /// How many frames the file says it has, which [`FrameReader::check`] confirms.
    pub(super) fn frames(&self, bytes: u64) -> Result<u32> {
        Ok(Trailer::frames_of(&self.end(bytes)?))
    }

    /// The frames of a file that another process has made.
    pub(super) fn walk(&self, file: &FrameFile) -> Result<Vec<Frame>> {
        let end = file.bytes - TRAILER_BYTES as u64;
        let mut at = HEADER_BYTES as u64;
        if u64::from(file.count) > (end - at) / HEAD_BYTES as u64 {
            return Err(self.damaged("it counts more frames than it can hold"));
        }
        let mut frames = Vec::with_capacity(file.count as usize);
        for sequence in 0..file.count {
            let frame = frame_of(&self.bytes(at, HEAD_BYTES)?, at);
            let frame = frame.filter(|frame| frame.sequence == sequence);
            let frame = frame.ok_or_else(|| self.damaged("the head of a frame is another one"))?;
            at += HEAD_BYTES as u64 + u64::from(frame.bytes);
            if at > end {
                return Err(self.damaged("a frame is longer than the file"));
            }
            frames.push(frame);
        }
        let rows: u64 = frames.iter().map(|frame| u64::from(frame.rows)).sum();
        if at != end || rows != file.rows {
            return Err(self.damaged("its frames are not those it counts"));
        }
        Ok(frames)
    }

    /// The hash of everything before the hash.
    pub(super) fn hash(&self, file: &FrameFile) -> Result<[u8; 32]> {
        let end = file.bytes - TRAILER_BYTES as u64 + file.trailer().hashed().len() as u64;
        let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
        while at < end {
            let length = CHUNK_BYTES.min(end - at);
            hasher.update(&self.bytes(at, length as usize)?);
            at += length;
        }
        Ok(*hasher.finalize().as_bytes())
    }

    pub(super) fn damaged(&self, why: &str) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            why: why.into(),
        }
    }

    fn end(&self, bytes: u64) -> Result<Vec<u8>> {
        self.bytes(bytes - TRAILER_BYTES as u64, TRAILER_BYTES)
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
}
