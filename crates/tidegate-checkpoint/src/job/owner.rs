//! The one owner of a job: whoever holds the lock of its lock file. The kernel frees it with the process.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::name;
use crate::error::{At, Error, Result};
use crate::vfs::{LockFile, Vfs, VfsLock, if_exists};

/// Somebody who only looks whether a job is owned keeps others out for a moment.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
const NOTE_BYTES_MAX: u64 = 1000;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The lock of a job, held.
#[derive(Debug)]
pub(super) struct Owner {
    lock: Box<dyn VfsLock>,
    path: PathBuf,
    /// The last sign of life of the owner before.
    pub(super) last_beat_ms: i64,
}

/// Takes the lock of the job in `dir`; `None` when that is not there.
pub(super) fn take(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Owner>> {
    let path = dir.join(name::LOCK);
    for _ in 0..TRIES {
        match vfs.try_lock(&path, LockFile::Create) {
            Ok(Some(lock)) => return owner(vfs, path, lock).map(Some),
            Ok(None) => vfs.pause(PAUSE),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Unsupported => return Err(no_locks(dir)),
            Err(error) => return Err(error).at("lock", &path),
        }
    }
    Err(Error::Owned {
        path: dir.to_path_buf(),
        by: note(vfs, &path),
    })
}

/// Who owns the job in `dir` now.
pub(super) fn of(vfs: &dyn Vfs, dir: &Path) -> Result<Option<String>> {
    let path = dir.join(name::LOCK);
    let is_locked = if_exists(vfs.is_locked(&path)).at("look at", &path)?;
    Ok(is_locked.unwrap_or(false).then(|| note(vfs, &path)))
}

fn owner(vfs: &dyn Vfs, path: PathBuf, lock: Box<dyn VfsLock>) -> Result<Owner> {
    // A lock that does not keep us out either keeps nobody out.
    if !vfs.is_locked(&path).at("look at", &path)? {
        return Err(no_locks(path.parent().unwrap_or(&path)));
    }
    let last_beat_ms = vfs.metadata(&path).at("look at", &path)?.modified_ms;
    // For a message only: a job runs without it.
    let _ = lock.note(own_note(vfs).as_bytes());
    let _ = lock.set_modified(last_beat_ms);
    Ok(Owner {
        lock,
        path,
        last_beat_ms,
    })
}

fn no_locks(dir: &Path) -> Error {
    Error::Refused {
        path: dir.to_path_buf(),
        why: "its file system has no locks that keep a second process out".into(),
    }
}

fn own_note(vfs: &dyn Vfs) -> String {
    format!("process {}\nboot {}\n", std::process::id(), boot_id(vfs))
}

/// What tells this run of this machine from others.
fn boot_id(vfs: &dyn Vfs) -> String {
    let bytes = vfs.read(Path::new(BOOT_ID), NOTE_BYTES_MAX);
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    text.unwrap_or_default()
}

/// Who wrote the note of a lock, for the user.
fn note(vfs: &dyn Vfs, path: &Path) -> String {
    let bytes = vfs.read(path, NOTE_BYTES_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let process = lines.next().and_then(|line| line.strip_prefix("process "));
    let boot = lines.next().and_then(|line| line.strip_prefix("boot "));
    match process.and_then(|number| number.parse::<u32>().ok()) {
        Some(number) if boot.is_some_and(|boot| boot != boot_id(vfs)) => {
            format!("process {number} of another machine")
        }
        Some(number) => format!("process {number}"),
        None => "another process".into(),
    }
}

impl Owner {
    /// The same on a copy of its disk.
    #[cfg(test)]
    pub(super) fn forked(&self, lock: impl FnOnce(u64) -> Box<dyn VfsLock>) -> Self {
        Self {
            lock: lock(self.lock.inode()),
            path: self.path.clone(),
            ..*self
        }
    }

    /// An error when the lock file is another one: then somebody else may own the job as well.
    pub(super) fn check(&self, vfs: &dyn Vfs) -> Result<()> {
        let found = if_exists(vfs.link_metadata(&self.path)).at("look at", &self.path)?;
        match found.is_some_and(|found| found.inode == self.lock.inode()) {
            true => Ok(()),
            false => Err(Error::Corrupt {
                path: self.path.clone(),
                why: "it is not the lock that this process took".into(),
            }),
        }
    }

    /// Gives a sign of life.
    pub(super) fn beat(&self, now_ms: i64) {
        // Without it less is known, and nothing is wrong.
        let _ = self.lock.set_modified(now_ms);
    }
}
