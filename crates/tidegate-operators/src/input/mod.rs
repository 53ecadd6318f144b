//! Files as they are read: one [`InputFile`] is one version of one file.
//!
//! A file is pinned by what its listing said (size, modification time, tag). Every read
//! checks the pin, before and after, so a file that is replaced, rewritten or truncated
//! during a query is an error that names it and never a mixture of two versions.

mod decompress;
mod local;
mod remote;

pub use decompress::Compression;
pub use local::LocalFile;
pub(crate) use remote::block_on;

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};

/// What can be wrong with an input file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or read: tell the user.
    #[error("cannot read `{file}`: {source}")]
    Io {
        /// The file as the user knows it.
        file: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
    /// The store refused or failed: tell the user; trying again may help.
    #[error("cannot read `{file}`: {}", first_line(.source))]
    Store {
        /// The file as the user knows it.
        file: Arc<str>,
        /// What the store said.
        source: object_store::Error,
    },
    /// The file is no longer the one that was listed.
    #[error("`{file}` has changed since the query was planned: {what}")]
    Changed {
        /// The file as the user knows it.
        file: Arc<str>,
        /// How it differs.
        what: String,
    },
    /// The content of the file is not what its format demands.
    #[error("`{file}`{place}: {what}")]
    Damaged {
        /// The file as the user knows it.
        file: Arc<str>,
        /// Where in the file.
        place: Place,
        /// What is wrong.
        what: String,
    },
    /// Reading would go beyond a limit; the message names the setting.
    #[error("`{file}`{place}: {what}")]
    Limit {
        /// The file as the user knows it.
        file: Arc<str>,
        /// Where in the file.
        place: Place,
        /// Which limit, and how to change it.
        what: String,
    },
}

/// A place in a file, as an error message gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, counted from 1.
    Line(u64),
    /// An element of a JSON array, counted from 1.
    Element(u64),
    /// A record batch or block, counted from 1.
    Block(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(n) => write!(f, " line {n}"),
            Self::Element(n) => write!(f, " element {n}"),
            Self::Block(n) => write!(f, " block {n}"),
        }
    }
}

impl Error {
    /// The file the error is about.
    pub fn file(&self) -> &str {
        match self {
            Self::Io { file, .. }
            | Self::Store { file, .. }
            | Self::Changed { file, .. }
            | Self::Damaged { file, .. }
            | Self::Limit { file, .. } => file,
        }
    }

    pub(crate) fn damaged(file: &Arc<str>, place: Place, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: Arc::clone(file),
            place,
            what: what.into(),
        }
    }

    pub(crate) fn limit(file: &Arc<str>, what: impl Into<String>) -> Self {
        Self::Limit {
            file: Arc::clone(file),
            place: Place::File,
            what: what.into(),
        }
    }

    /// An `io::Error` that may carry one of ours inside.
    pub(crate) fn from_io(file: &Arc<str>, error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(source) => Self::Io {
                file: Arc::clone(file),
                source,
            },
        }
    }

    /// An error of reading that may carry one of ours inside.
    pub(crate) fn of(file: &Arc<str>, error: DataFusionError) -> Self {
        let line = |error: &dyn fmt::Display| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        };
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Self::damaged(file, Place::File, line(&other)),
            },
            other => Self::damaged(file, Place::File, line(&other.strip_backtrace())),
        }
    }

    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

fn first_line(error: &object_store::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// One version of one file, local or in an object store.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// The store the file is in.
    pub store: Arc<dyn ObjectStore>,
    /// The path in the local file system, if it is there.
    pub local: Option<PathBuf>,
    /// Size, modification time and tag: the pin.
    pub meta: ObjectMeta,
    name: Arc<str>,
}

static LOCAL: LazyLock<LocalFileSystem> = LazyLock::new(LocalFileSystem::new);

impl InputFile {
    /// A file of `store`, which is registered under `url`.
    pub fn new(store: Arc<dyn ObjectStore>, url: &ObjectStoreUrl, meta: ObjectMeta) -> Self {
        let local = url
            .as_str()
            .starts_with("file://")
            .then(|| LOCAL.path_to_filesystem(&meta.location).ok())
            .flatten();
        let name = match &local {
            Some(path) => path.to_string_lossy().into(),
            None => format!("{}/{}", url.as_str().trim_end_matches('/'), meta.location).into(),
        };
        Self {
            store,
            local,
            meta,
            name,
        }
    }

    /// A local file as it is now.
    pub fn local(path: &Path) -> Result<Self, Error> {
        let name: Arc<str> = path.to_string_lossy().into();
        let io = |source| Error::Io {
            file: Arc::clone(&name),
            source,
        };
        let path = std::path::absolute(path).map_err(io)?;
        let stat = std::fs::metadata(&path).map_err(io)?;
        let location = object_store::path::Path::from_absolute_path(&path)
            .map_err(|e| io(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let meta = local::object_meta(&stat, location);
        Ok(Self {
            store: Arc::new(LocalFileSystem::new()),
            local: Some(path),
            meta,
            name,
        })
    }

    /// The file as messages name it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Opens the bytes of the file as they are, without decompression. Blocks: for a file
    /// in an object store call it on a thread that may wait.
    pub fn open_raw(&self) -> Result<Box<dyn Read + Send>, Error> {
        match &self.local {
            Some(_) => Ok(Box::new(local::PinnedReader::new(LocalFile::open(self)?))),
            None => Ok(Box::new(remote::RemoteReader::new(self)?)),
        }
    }

    /// Opens the content of the file, decompressed when its first bytes say that it is
    /// compressed, whatever its suffix. Blocks as [`InputFile::open_raw`] does.
    pub fn open(&self) -> Result<Reader, Error> {
        Reader::new(self.open_raw()?, &self.name)
    }

    /// The first `bytes_max` bytes of the content. Blocks.
    pub fn read_head(&self, bytes_max: usize) -> Result<Head, Error> {
        let mut reader = self.open()?;
        let mut bytes = Vec::new();
        let limit = bytes_max as u64 + 1;
        reader
            .by_ref()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::from_io(&self.name, e))?;
        let whole = bytes.len() <= bytes_max;
        bytes.truncate(bytes_max);
        Ok(Head {
            bytes,
            whole,
            compression: reader.compression(),
        })
    }

    /// Bytes of the file as they are on disk. Blocks.
    pub fn read_range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        match &self.local {
            Some(_) => LocalFile::open(self)?.read_at(range),
            None => remote::block_on(self.fetch_range(range)),
        }
    }

    /// Bytes of the file as they are in the store, pinned.
    pub async fn fetch_range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        match &self.local {
            Some(_) => LocalFile::open(self)?.read_at(range),
            None => remote::fetch(self, range).await,
        }
    }

    pub(crate) fn changed(&self, what: impl Into<String>) -> Error {
        Error::Changed {
            file: Arc::clone(&self.name),
            what: what.into(),
        }
    }
}

/// The beginning of a file's content.
#[derive(Debug, Clone)]
pub struct Head {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    /// True if this is all there is.
    pub whole: bool,
    /// How the file is compressed.
    pub compression: Compression,
}

/// The decompressed content of a file; its errors name the file.
pub struct Reader {
    inner: Box<dyn Read + Send>,
    compression: Compression,
    name: Arc<str>,
}

impl Reader {
    fn new(mut raw: Box<dyn Read + Send>, name: &Arc<str>) -> Result<Self, Error> {
        let mut magic = Vec::with_capacity(decompress::MAGIC_BYTES);
        raw.by_ref()
            .take(decompress::MAGIC_BYTES as u64)
            .read_to_end(&mut magic)
            .map_err(|e| Error::from_io(name, e))?;
        let compression = Compression::of(&magic);
        let raw = io::Cursor::new(magic).chain(raw);
        let inner = compression
            .decode(raw)
            .map_err(|e| Error::from_io(name, e))?;
        Ok(Self {
            inner,
            compression,
            name: Arc::clone(name),
        })
    }

    /// How the file is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let error = match error.downcast::<Error>() {
                Ok(ours) => ours,
                Err(error) if self.compression == Compression::None => Error::Io {
                    file: Arc::clone(&self.name),
                    source: error,
                },
                Err(error) => {
                    let what = format!("damaged {} data: {error}", self.compression.words());
                    Error::damaged(&self.name, Place::File, what)
                }
            };
            error.into_io()
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::compressed;
