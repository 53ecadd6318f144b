//! Recovery: what killed processes left in and beside a directory is completed or removed. The
//! living are told by their locks and left alone. Recovery may itself be killed and run again.

use std::path::Path;

use super::intent::Intent;
use super::{Lock, beside, exists, inside, names, tree};
use crate::error::{At, Error, Result};
use crate::vfs::{Kind, LockFile, Vfs, if_exists};

/// What [`recover`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Writes that were decided and are now complete.
    pub completed: usize,
    /// Writes that were not decided and are now gone.
    pub undone: usize,
}

/// Whether a killed write waits in `dir` to be completed: reading the directory as it is would
/// show a part of it. For those who may not write there.
pub fn pending(vfs: &dyn Vfs, dir: &Path) -> Result<bool> {
    let all = dir.join(names::INSIDE);
    for name in if_exists(vfs.list(&all))
        .at("list", &all)?
        .unwrap_or_default()
    {
        // The lock of publishing stands beside the commits.
        let is_commit = name.to_str().is_some_and(names::is_id);
        if is_commit && exists(vfs, &all.join(name).join(names::INTENT))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Completes or removes what killed processes left in and beside `dir`; to be called at the first
/// use of a directory. Waits for a process that is publishing. A missing directory is no error.
///
/// ```
/// use tidegate_checkpoint::{RealVfs, recover};
///
/// let dir = tempfile::tempdir()?;
/// assert_eq!(recover(&RealVfs, dir.path())?.completed, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn recover(vfs: &dyn Vfs, dir: &Path) -> Result<Recovered> {
    let Some(dir) = if_exists(vfs.canonicalize(dir)).at("find", dir)? else {
        return Ok(Recovered::default());
    };
    let mut done = Recovered::default();
    done.undone += sweep(vfs, super::parent(&dir));
    let held = vfs.list(&dir).at("list", &dir)?;
    if held
        .iter()
        .any(|name| name.to_str().is_some_and(names::is_beside))
    {
        done.undone += sweep(vfs, &dir);
    }
    if held.iter().any(|name| name == names::INSIDE) {
        recover_inside(vfs, &dir, &mut done)?;
    }
    Ok(done)
}

fn recover_inside(vfs: &dyn Vfs, dir: &Path, done: &mut Recovered) -> Result<()> {
    let lock = match inside::publish_lock(vfs, dir) {
        Ok(lock) => lock,
        // A reader that may not write: only a decided write matters to it.
        Err(error) if error.is_permission_denied() && !pending(vfs, dir)? => return Ok(()),
        Err(error) => return Err(error),
    };
    let recovered = recover_commits(vfs, dir, done);
    inside::release(vfs, dir, lock);
    recovered
}

fn recover_commits(vfs: &dyn Vfs, dir: &Path, done: &mut Recovered) -> Result<()> {
    let all = dir.join(names::INSIDE);
    for name in vfs.list(&all).at("list", &all)? {
        if !name.to_str().is_some_and(names::is_id) {
            continue;
        }
        let commit = all.join(name);
        let path = commit.join(names::LOCK);
        let lock = match if_exists(vfs.try_lock(&path, LockFile::Create)).at("lock", &path)? {
            Some(Some(lock)) => lock,
            Some(None) | None => continue,
        };
        match Intent::read(vfs, &commit)? {
            Some(intent) => {
                check_staged(vfs, &commit, &intent)?;
                // The rename of the intent may not be on the disk yet, and what follows depends on it.
                vfs.sync_dir(&commit).at("sync", &commit)?;
                inside::apply(vfs, dir, &commit, &intent)?;
                inside::finish(vfs, &commit, lock)?;
                done.completed += 1;
            }
            None => {
                beside::remove_staging(vfs, &commit, lock)?;
                done.undone += 1;
            }
        }
    }
    Ok(())
}

/// Staged files that are still to be published must be what the intent says.
fn check_staged(vfs: &dyn Vfs, commit: &Path, intent: &Intent) -> Result<()> {
    for file in &intent.add {
        let path = commit.join(names::DATA).join(&file.name);
        let Some(found) = exists(vfs, &path)? else {
            continue;
        };
        let bytes = vfs.read(&path, found.bytes).at("read", &path)?;
        if bytes.len() as u64 != file.bytes || blake3::hash(&bytes).to_string() != file.blake3 {
            let why = "it is not what its write recorded".to_owned();
            return Err(Error::Corrupt { path, why });
        }
    }
    Ok(())
}

/// Removes staging in `dir` whose process is dead; gives how many. What cannot be removed stays:
/// it is under names that readers skip.
pub(super) fn sweep(vfs: &dyn Vfs, dir: &Path) -> usize {
    let held = vfs.list(dir).unwrap_or_default();
    let staged = held
        .iter()
        .filter(|name| name.to_str().is_some_and(names::is_beside));
    staged
        .filter(|name| matches!(sweep_one(vfs, &dir.join(name)), Ok(true)))
        .count()
}

fn sweep_one(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    match exists(vfs, path)?.map(|found| found.kind) {
        Some(Kind::Directory) => match try_lock(vfs, &path.join(names::LOCK), LockFile::Create)? {
            Some(lock) => beside::remove_staging(vfs, path, lock).map(|()| true),
            None => Ok(false),
        },
        Some(Kind::File) => match try_lock(vfs, path, LockFile::MustExist)? {
            Some(_lock) => tree::remove(vfs, path).map(|()| true),
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

fn try_lock(vfs: &dyn Vfs, path: &Path, file: LockFile) -> Result<Option<Lock>> {
    Ok(if_exists(vfs.try_lock(path, file))
        .at("lock", path)?
        .flatten())
}
