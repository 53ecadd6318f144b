//! The file system seam: every call that can fail or be cut short goes through [`Vfs`], so that
//! tests can make the n-th one fail. [`RealVfs`] is the machine's file system.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use real::RealVfs;

mod real;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (only from [`Vfs::link_metadata`]).
    Symlink,
    /// A pipe or a character device: bytes written are gone; there is nothing to replace.
    Stream,
    /// A socket, a block device, or what this crate does not know.
    Other,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes, of a file.
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Identity within the device.
    pub inode: u64,
    /// Identity of the device.
    pub device: u64,
    /// Owning user.
    pub user: u32,
    /// Owning group.
    pub group: u32,
    /// When it was last changed, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// An open file that is being written.
pub trait VfsFile: Write + Send {
    /// Forces data and size to the disk. After an error the file must be given up: the system may
    /// have marked the lost pages clean, and a second call would lie.
    fn sync(&mut self) -> io::Result<()>;
    /// Lets the system begin to put so many bytes from `offset` on to the disk, so that little is left to do for
    /// [`VfsFile::sync`]. A hint: it waits for nothing and promises nothing.
    fn begin_sync(&mut self, _offset: u64, _bytes: u64) {}
    /// Sets the permission bits.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;
    /// Gives the file to another user and group.
    fn set_owner(&mut self, user: u32, group: u32) -> io::Result<()>;
    /// Takes the lock of this file without waiting; held until the file is dropped. `false` when
    /// another holds it, or when the file has been removed meanwhile.
    fn try_lock(&mut self) -> io::Result<bool>;
}

/// An open file that is being read.
pub trait VfsRead: Debug + Send + Sync {
    /// Fills `bytes` from `offset` on; an error when the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A lock that is held until dropped, or until the process dies.
pub trait VfsLock: Debug + Send + Sync {
    /// The inode of the locked file.
    fn inode(&self) -> u64;
    /// Replaces what the locked file holds: a word for whoever finds it locked.
    fn note(&self, text: &[u8]) -> io::Result<()>;
    /// Sets when the locked file was last changed, in milliseconds since 1970: a sign of life.
    fn set_modified(&self, at_ms: i64) -> io::Result<()>;
}

/// Whether [`Vfs::try_lock`] makes the file it locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFile {
    /// Make it when it is missing.
    Create,
    /// A missing file is an error.
    MustExist,
}

/// A file system. Paths are absolute or relative to the working directory.
///
/// ```
/// use std::io::Write;
/// use tidegate_checkpoint::vfs::{RealVfs, Vfs};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a");
/// let mut file = RealVfs.create(&path)?;
/// file.write_all(b"tide")?;
/// file.sync()?;
/// assert_eq!(RealVfs.read(&path, 100)?, b"tide");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Vfs: Debug + Send + Sync + 'static {
    /// Makes a file; an error when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// Opens a pipe or device for writing, or the process's own standard streams.
    fn open_stream(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// Opens a file to be read from any place.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>>;
    /// Reads a whole file of at most `bytes_max` bytes.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
    /// What `path` names, links followed.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// What `path` names, a link not followed.
    fn link_metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Where a symbolic link points.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// The absolute path without links; it must exist.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Makes one directory with these permission bits (less the umask).
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Sets the permission bits of a path.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Gives what a path names to another user and group.
    fn set_owner(&self, path: &Path, user: u32, group: u32) -> io::Result<()>;
    /// An error unless this process may write to the file.
    fn check_writable(&self, path: &Path) -> io::Result<()>;
    /// Renames, replacing a file or an empty directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames; an error when the new name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Swaps two paths at once; `Unsupported` where the file system cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Removes a file or a link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Forces the names in a directory to the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes a lock without waiting: `None` when another holds it, in this process or in another.
    /// The locked file is the one that `path` names when the call returns.
    fn try_lock(&self, path: &Path, file: LockFile) -> io::Result<Option<Box<dyn VfsLock>>>;
    /// Whether anybody holds the lock of this file, this process included. Takes nothing that would
    /// keep another from looking; whoever tries to lock at the same moment may be refused once.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
    /// Waits between two tries.
    fn pause(&self, time: Duration);
    /// A number no other call gives, in any process.
    fn unique(&self) -> u64;
    /// Paths that must survive: they and what holds them are never overwritten.
    fn protected(&self) -> Vec<PathBuf>;
}

/// The `Ok(None)` of a path that is not there.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
