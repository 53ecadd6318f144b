//! The machine's file system.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, FlockOperation, OFlags, RenameFlags};

use super::{Kind, LockFile, Metadata, Vfs, VfsFile, VfsLock, VfsRead};

/// How often a lock is taken again because its file was removed in between.
const LOCK_TRIES: usize = 64;

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealVfs;

#[derive(Debug)]
struct RealFile {
    file: File,
}

#[derive(Debug)]
struct RealLock {
    // Closing the descriptor frees the lock.
    file: File,
    inode: u64,
}

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl VfsFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&mut self, offset: u64, bytes: u64) {
        // Before Linux lets go of pages it writes them, without waiting; those it writes it keeps.
        let bytes = std::num::NonZeroU64::new(bytes);
        let _ = rustix::fs::fadvise(&self.file, offset, bytes, rustix::fs::Advice::DontNeed);
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(mode))
    }

    fn set_owner(&mut self, user: u32, group: u32) -> io::Result<()> {
        std::os::unix::fs::fchown(&self.file, Some(user), Some(group))
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(self.file.metadata()?.nlink() > 0),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            // Without locks nobody sweeps either: a sweeper that cannot lock leaves the file.
            Err(error) if lacks_locks(error) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl VfsLock for RealLock {
    fn inode(&self) -> u64 {
        self.inode
    }

    fn note(&self, text: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, text, 0)
    }

    fn set_modified(&self, at_ms: i64) -> io::Result<()> {
        let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
        self.file.set_modified(SystemTime::UNIX_EPOCH + since)
    }
}

impl VfsRead for File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, offset)
    }
}

impl Vfs for RealVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile { file }))
    }

    fn open_stream(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = match standard_stream(path) {
            Some(stream) => stream?,
            None => OpenOptions::new().write(true).open(path)?,
        };
        Ok(Box::new(RealFile { file }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        Ok(Box::new(open_file(path)?))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let taken = open_file(path)?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if taken as u64 > bytes_max {
            let why = format!("file is larger than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(bytes)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(path).map(describe)
    }

    fn link_metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::symlink_metadata(path).map(describe)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn set_owner(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(user), Some(group))
    }

    fn check_writable(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::access(path, Access::WRITE_OK)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_with(from, to, RenameFlags::NOREPLACE) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            done => return done,
        }
        if fs::symlink_metadata(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        rename_with(one, other, RenameFlags::EXCHANGE)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match rustix::fs::fsync(File::open(dir)?.as_fd()) {
            // Some network and user-space file systems have no notion of it.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn try_lock(&self, path: &Path, file: LockFile) -> io::Result<Option<Box<dyn VfsLock>>> {
        for _ in 0..LOCK_TRIES {
            let file = open_lock(path, file)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) if lacks_locks(error) => {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, error));
                }
                Err(error) => return Err(error.into()),
            }
            // The holder before us may have removed the file: then we hold a lock nobody sees.
            let held = file.metadata()?;
            match fs::symlink_metadata(path) {
                Ok(named) if named.ino() == held.ino() && named.dev() == held.dev() => {
                    let inode = held.ino();
                    return Ok(Some(Box::new(RealLock { file, inode })));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = open_lock(path, LockFile::MustExist)?;
        // A shared lock, so that two who look do not take each other for the owner.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) if lacks_locks(error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn unique(&self) -> u64 {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let mut hasher = blake3::Hasher::new();
        let mut random = [0u8; 16];
        if let Ok(mut source) = File::open("/dev/urandom") {
            // A short read leaves zeroes; what follows still tells processes apart.
            let _ = source.read(&mut random);
        }
        hasher.update(&random);
        hasher.update(&std::process::id().to_le_bytes());
        hasher.update(&CALLS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        if let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            hasher.update(&now.as_nanos().to_le_bytes());
        }
        let mut first = [0u8; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }

    fn protected(&self) -> Vec<PathBuf> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let cwd = std::env::current_dir().ok();
        let temporary = Some(std::env::temp_dir());
        let named = [home, cwd, temporary].into_iter().flatten();
        named
            .filter_map(|path| fs::canonicalize(path).ok())
            .collect()
    }
}

fn describe(metadata: fs::Metadata) -> Metadata {
    let of = metadata.file_type();
    let kind = if of.is_file() {
        Kind::File
    } else if of.is_dir() {
        Kind::Directory
    } else if of.is_symlink() {
        Kind::Symlink
    } else if of.is_fifo() || of.is_char_device() {
        Kind::Stream
    } else {
        Kind::Other
    };
    Metadata {
        kind,
        bytes: metadata.len(),
        mode: metadata.mode() & 0o7777,
        inode: metadata.ino(),
        device: metadata.dev(),
        user: metadata.uid(),
        group: metadata.gid(),
        modified_ms: metadata.mtime().saturating_mul(1000) + metadata.mtime_nsec() / 1_000_000,
    }
}

/// `/dev/stdout` and its like, shared with what already writes there: opening the path again
/// would start at offset 0 of a file that the stream was redirected to.
fn standard_stream(path: &Path) -> Option<io::Result<File>> {
    let owned = match path.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => {
            io::stdout().as_fd().try_clone_to_owned()
        }
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => {
            io::stderr().as_fd().try_clone_to_owned()
        }
        _ => return None,
    };
    Some(owned.map(File::from))
}

/// Opens a regular file: a pipe in its place is an error, and not waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    }
}

fn open_lock(path: &Path, file: LockFile) -> io::Result<File> {
    // NONBLOCK: a pipe under this name must not hang us. NOFOLLOW: nor a link lead us astray.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    options.create(file == LockFile::Create);
    match options.open(path) {
        // Another user's lock file: reading suffices to lock it.
        Err(error) if is_denied(&error) => {
            OpenOptions::new().read(true).custom_flags(flags).open(path)
        }
        opened => opened,
    }
}

fn is_denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn lacks_locks(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL].contains(&error)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags) {
        Ok(()) => Ok(()),
        Err(error @ (Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, error))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_with(_from: &Path, _to: &Path, _flags: RenameFlags) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
