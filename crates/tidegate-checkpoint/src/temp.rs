//! A private temporary directory: only its owner may look into it, a lock tells whether its
//! process lives, a limit bounds its bytes, and what dead processes left is removed at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{At, Error, Result};
use crate::vfs::{Kind, LockFile, RealVfs, Vfs, VfsLock, if_exists};

const PREFIX: &str = "tidegate-tmp-";
const LOCK: &str = "lock";
/// Tries to make a directory that a sweeper takes away at the same time.
const TRIES: usize = 64;

/// A private temporary directory of this process, removed when dropped.
///
/// ```
/// use tidegate_checkpoint::TempRoot;
///
/// let base = tempfile::tempdir()?;
/// let root = TempRoot::open(base.path(), 1000)?;
/// let first = root.reserve(600)?;
/// assert!(root.reserve(600).is_err());
/// drop(first);
/// assert_eq!(root.used(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TempRoot {
    path: PathBuf,
    account: Arc<Account>,
    _lock: Box<dyn VfsLock>,
}

#[derive(Debug)]
struct Account {
    path: PathBuf,
    limit: u64,
    used: AtomicU64,
}

/// Bytes of temporary space, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    bytes: u64,
}

impl TempRoot {
    /// Makes a private directory below `base` (which is made when missing) with room for
    /// `limit` bytes, and removes those of dead processes.
    pub fn open(base: &Path, limit: u64) -> Result<Self> {
        std::fs::create_dir_all(base).at("make", base)?;
        sweep(base);
        let (path, lock) = claim(base)?;
        let account = Account {
            path: path.clone(),
            limit,
            used: AtomicU64::new(0),
        };
        Ok(Self {
            path,
            account: Arc::new(account),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its limit in bytes.
    pub fn limit(&self) -> u64 {
        self.account.limit
    }

    /// Bytes reserved now.
    pub fn used(&self) -> u64 {
        self.account.used.load(Ordering::Relaxed)
    }

    /// Removes it with all that is in it, although somebody may still hold it: for the end of a
    /// process.
    pub fn remove(&self) {
        // The next process sweeps what cannot be removed now.
        let _ = std::fs::remove_dir_all(&self.path);
    }

    /// Counts `bytes` towards the limit until the reservation is dropped.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let mut reservation = Reservation {
            account: Arc::clone(&self.account),
            bytes: 0,
        };
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

impl Drop for TempRoot {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Reservation {
    /// Bytes reserved by it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves more; on failure what it had stays reserved.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        let account = &self.account;
        let fits = |used: u64| {
            used.checked_add(bytes)
                .filter(|used| *used <= account.limit)
        };
        match account
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(Error::TempLimit {
                path: account.path.clone(),
                limit: account.limit,
                used,
                wanted: bytes,
            }),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Makes a directory and locks it. Another process may sweep it between the two: then it is made
/// again under another name.
fn claim(base: &Path) -> Result<(PathBuf, Box<dyn VfsLock>)> {
    for _ in 0..TRIES {
        let path = base.join(format!("{PREFIX}{:016x}", RealVfs.unique()));
        RealVfs.make_dir(&path, 0o700).at("make", &path)?;
        let lock_path = path.join(LOCK);
        let lock = if_exists(RealVfs.try_lock(&lock_path, LockFile::Create));
        if let Some(Some(lock)) = lock.at("lock", &lock_path)? {
            return Ok((path, lock));
        }
    }
    Err(Error::Busy {
        path: base.to_path_buf(),
    })
}

/// Removes directories of dead processes of this user: those whose lock can be had. A process can
/// die between making its directory and locking it, or while it removes one whose lock is gone
/// already, so a missing lock is made. Whoever lives and has not locked its own yet then finds it
/// taken and makes another (see [`claim`]).
fn sweep(base: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for name in RealVfs.list(base).unwrap_or_default() {
        let path = base.join(&name);
        let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX))
            && RealVfs
                .link_metadata(&path)
                .is_ok_and(|found| found.kind == Kind::Directory && found.user == user);
        if !ours {
            continue;
        }
        if let Ok(Some(_lock)) = RealVfs.try_lock(&path.join(LOCK), LockFile::Create) {
            // Links in it are removed, not followed.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let root = TempRoot::open(base.path(), 10).unwrap();
        let mode = std::fs::metadata(root.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(root.path().join("spill"), b"x").unwrap();
        drop(root);
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_directories_of_dead_processes_are_swept() {
        let base = tempfile::tempdir().unwrap();
        let alive = TempRoot::open(base.path(), 10).unwrap();
        let dead = base.path().join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), b"").unwrap();
        std::fs::write(dead.join("spill"), b"x").unwrap();
        let unlocked = base.path().join(format!("{PREFIX}killed-before-it-locked"));
        std::fs::create_dir(&unlocked).unwrap();
        let half_removed = base.path().join(format!("{PREFIX}killed-while-removing"));
        std::fs::create_dir(&half_removed).unwrap();
        std::fs::write(half_removed.join("spill"), b"x").unwrap();
        std::fs::create_dir(base.path().join("other")).unwrap();
        let second = TempRoot::open(base.path(), 10).unwrap();
        assert!(alive.path().exists() && second.path().exists() && !dead.exists());
        assert!(!unlocked.exists() && !half_removed.exists());
        assert!(base.path().join("other").exists());
    }

    #[test]
    fn many_that_open_at_once_do_not_sweep_each_other() {
        let base = tempfile::tempdir().unwrap();
        let open = || {
            for _ in 0..200 {
                let root = TempRoot::open(base.path(), 10).unwrap();
                assert!(root.path().join(LOCK).exists());
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(open))));
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_limit_holds_at_its_edge() {
        let base = tempfile::tempdir().unwrap();
        let root = TempRoot::open(base.path(), 100).unwrap();
        let mut half = root.reserve(50).unwrap();
        half.grow(50).unwrap();
        let error = root.reserve(1).unwrap_err();
        assert!(error.is_storage_full(), "{error}");
        assert!(half.grow(u64::MAX).is_err());
        drop(half);
        assert_eq!(root.reserve(100).unwrap().bytes(), 100);
    }
}
