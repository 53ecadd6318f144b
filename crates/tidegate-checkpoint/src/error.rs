//! The one error of this crate: what was being done, to which path, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when files are written, published or repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; the target is as it was before.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The target is there already; choose another mode or another target.
    #[error("`{}` already exists{}", path.display(), if *.directory { " and is not empty; use MODE overwrite or append" } else { "" })]
    Exists {
        /// The target.
        path: PathBuf,
        /// Whether it is a directory.
        directory: bool,
    },
    /// Writing there would destroy what is not ours to destroy.
    #[error("refusing to write to `{}`: {why}", path.display())]
    Refused {
        /// The target.
        path: PathBuf,
        /// The reason, for the user.
        why: String,
    },
    /// Another process is publishing into this directory and did not finish in time; try again.
    #[error("another process is writing to `{}`", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody runs this job: wait for it, or end it.
    #[error("the job in `{}` is run by {by}", path.display())]
    Owned {
        /// The directory of the job.
        path: PathBuf,
        /// Who runs it, for the user.
        by: String,
    },
    /// Another process replaced the directory while this write ran; nothing of it was published.
    #[error("`{}` was replaced by another process during the write; nothing was written", path.display())]
    Replaced {
        /// The directory.
        path: PathBuf,
    },
    /// The write is decided and will be completed by the next use of the directory, but this
    /// process could not complete it.
    #[error("the write to `{}` is committed but not completed (the next use of it completes it): {source}", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What stopped it.
        source: Box<Error>,
    },
    /// What a killed process left does not agree with itself; it is left untouched.
    #[error("`{}` is damaged: {why}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The caller broke the contract of a staged write.
    #[error("cannot write `{name}`: {why}")]
    Misuse {
        /// The file name given.
        name: String,
        /// Which rule was broken.
        why: &'static str,
    },
    /// The limit of a temporary directory is reached.
    #[error("the limit of {limit} bytes for temporary files in `{}` is reached ({used} bytes used, {wanted} more wanted)", path.display())]
    TempLimit {
        /// The temporary directory.
        path: PathBuf,
        /// Its limit in bytes.
        limit: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes asked for.
        wanted: u64,
    },
}

impl Error {
    /// Whether the disk (or a quota, or a limit of ours) is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Error::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            Error::Unfinished { source, .. } => source.is_storage_full(),
            Error::TempLimit { .. } => true,
            _ => false,
        }
    }

    /// Whether the operating system denied access, or the file system is read-only.
    pub fn is_permission_denied(&self) -> bool {
        match self {
            Error::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ),
            _ => false,
        }
    }
}

/// Gives an [`io::Result`] its path and what was being done.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing,
            path: path.to_path_buf(),
            source,
        })
    }
}
