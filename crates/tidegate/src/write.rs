//! For programs that write results themselves: the formats of files, and a file that appears whole
//! or not at all.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use tidegate_checkpoint::{Mode, RealVfs, StagedFile, StagedWrite};
pub use tidegate_operators::write::{CsvOptions, Encoder, Error, WriteFormat, encoder};

use crate::error::{Error as SessionError, ErrorKind, Result};

/// A file that is being written. Until [`OutputFile::commit`] the target is what it was; dropped
/// before that, nothing was ever written. Pipes and devices are written directly.
///
/// ```
/// use std::io::Write;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("hello.txt");
/// let session = tidegate::Session::builder().build()?;
/// let mut file = session.output_file(&path)?;
/// file.write_all(b"hello")?;
/// assert!(!path.exists());
/// assert_eq!(file.commit()?, 5);
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct OutputFile {
    write: StagedWrite,
    file: BufWriter<StagedFile>,
}

impl OutputFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let write = StagedWrite::file(Arc::new(RealVfs), path, Mode::Overwrite).map_err(failed)?;
        let write = write.ok_or_else(|| {
            SessionError::new(ErrorKind::Bug, "no_write", "replacing a file gave no write")
        })?;
        let file = write.create("").map_err(failed)?;
        Ok(Self {
            write,
            file: BufWriter::new(file),
        })
    }

    /// Puts the whole file into its place, safe on the disk; returns its size in bytes.
    pub fn commit(self) -> Result<u64> {
        let file = self.file.into_inner().map_err(|error| {
            let target = self.write.target().display().to_string();
            let message = format!("cannot write `{target}`: {}", error.error());
            SessionError::new(kind(error.error().kind()), "write", message)
        })?;
        file.finish().map_err(failed)?;
        Ok(self.write.commit().map_err(failed)?.bytes)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn failed(error: tidegate_checkpoint::Error) -> SessionError {
    let kind = match error.is_storage_full() {
        true => ErrorKind::Limit,
        false => ErrorKind::Io,
    };
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    SessionError::new(kind, "write", text)
}

fn kind(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Limit,
        _ => ErrorKind::Io,
    }
}
