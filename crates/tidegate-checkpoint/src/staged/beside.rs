//! A whole directory: staged beside the target, renamed into its place or exchanged with it.

use std::io;
use std::path::{Path, PathBuf};

use super::{FileEntry, Lock, Mode, Place, Stage, inside, names, parent, recover, target, tree};
use crate::error::{At, Error, Result};
use crate::vfs::{LockFile, Metadata, Vfs, if_exists};

/// How often staging is made again because a sweeper took it between its making and its locking.
const TRIES: usize = 16;

#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    lock: Lock,
    /// Parents of the target that were made for it, innermost first.
    made: Vec<PathBuf>,
}

/// Stages beside the target, or inside where the parent is no place for it: not ours to write,
/// or on another device, as around a mount point.
pub(super) fn start(
    vfs: &dyn Vfs,
    target: &Path,
    id: &str,
    found: Option<Metadata>,
) -> Result<Place> {
    let above = parent(target);
    if let Some(found) = found {
        let outside = vfs.metadata(above).at("look at", above)?;
        if outside.device != found.device || above == target {
            return inside::Staging::new(vfs, target, id).map(Place::Inside);
        }
    }
    let made = make_parents(vfs, above)?;
    recover::sweep(vfs, above);
    match Staging::new(vfs, target, id, made) {
        Err(error) if found.is_some() && error.is_permission_denied() => {
            inside::Staging::new(vfs, target, id).map(Place::Inside)
        }
        staging => {
            let staging = staging?;
            if let Some(found) = found {
                let data = staging.data();
                let ours = vfs.metadata(&data).at("look at", &data)?;
                if (ours.user, ours.group) != (found.user, found.group) {
                    // Only root may give files away; others keep their own name on it.
                    let _ = vfs.set_owner(&data, found.user, found.group);
                }
                vfs.set_mode(&data, found.mode)
                    .at("set the permissions of", &data)?;
            }
            Ok(Place::Beside(staging))
        }
    }
}

fn make_parents(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut above = dir;
    while if_exists(vfs.metadata(above))
        .at("look at", above)?
        .is_none()
    {
        missing.push(above.to_path_buf());
        above = parent(above);
    }
    for dir in missing.iter().rev() {
        match vfs.make_dir(dir, 0o777) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.at("make", dir)?,
        }
        vfs.sync_dir(parent(dir)).at("sync", parent(dir))?;
    }
    Ok(missing)
}

impl Staging {
    fn new(vfs: &dyn Vfs, target: &Path, id: &str, made: Vec<PathBuf>) -> Result<Self> {
        let dir = names::beside(target, id);
        let lock_path = dir.join(names::LOCK);
        for _ in 0..TRIES {
            match vfs.make_dir(&dir, 0o777) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.at("make", &dir)?,
            }
            match if_exists(vfs.try_lock(&lock_path, LockFile::Create)).at("lock", &lock_path)? {
                Some(Some(lock)) => {
                    let staging = Self { dir, lock, made };
                    let data = staging.data();
                    vfs.make_dir(&data, 0o777).at("make", &data)?;
                    return Ok(staging);
                }
                // A sweeper is at it: wait until it is gone.
                Some(None) | None => vfs.pause(super::inside::PAUSE),
            }
        }
        Err(Error::Busy {
            path: target.to_path_buf(),
        })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join(names::DATA)
    }

    pub(super) fn publish(self, stage: &Stage, files: &[FileEntry]) -> Result<Option<String>> {
        let vfs = &*stage.vfs;
        let (data, target) = (self.data(), &stage.target);
        let renamed = vfs.rename(&data, target);
        let taken = match &renamed {
            Ok(()) => return self.published(stage),
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::ResourceBusy
            ),
        };
        let outcome = match (taken, stage.mode) {
            (false, _) => renamed.at("make", target),
            (true, Mode::Error | Mode::Ignore) => check_still_empty(vfs, target),
            (true, Mode::Append) => target::check_append(vfs, target),
            (true, Mode::Overwrite) => match self.exchange(stage) {
                Ok(Exchanged::Done) => return self.published(stage),
                Ok(Exchanged::CannotHere) => Ok(()),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(()) => self.publish_inside(stage, files),
            Err(error) => {
                self.abort(vfs);
                Err(error)
            }
        }
    }

    /// Swaps the staged directory with the target, while nobody publishes into the old one.
    fn exchange(&self, stage: &Stage) -> Result<Exchanged> {
        let vfs = &*stage.vfs;
        target::check_overwrite(vfs, &stage.target)?;
        let lock = match inside::publish_lock(vfs, &stage.target) {
            Err(error) if error.is_permission_denied() => None,
            lock => Some(lock?),
        };
        let exchanged = match vfs.exchange(&self.data(), &stage.target) {
            Ok(()) => Ok(Exchanged::Done),
            Err(error) if is_hopeless(&error) => Ok(Exchanged::CannotHere),
            Err(error) => Err(error).at("replace", &stage.target),
        };
        match (&exchanged, lock) {
            (Ok(Exchanged::Done), _) | (_, None) => {}
            (_, Some(lock)) => inside::release(vfs, &stage.target, lock),
        }
        exchanged
    }

    /// Forces the new name to the disk and removes the staging with what was replaced.
    fn published(self, stage: &Stage) -> Result<Option<String>> {
        let vfs = &*stage.vfs;
        vfs.sync_dir(stage.parent()).at("sync", stage.parent())?;
        vfs.sync_dir(&self.dir).at("sync", &self.dir)?;
        Ok(remove_staging(vfs, &self.dir, self.lock)
            .err()
            .map(|error| {
                format!(
                    "the replaced files could not be removed and remain in `{}`: {error}",
                    self.dir.display()
                )
            }))
    }

    /// Carries the staged files into the target directory and publishes them one by one.
    fn publish_inside(self, stage: &Stage, files: &[FileEntry]) -> Result<Option<String>> {
        let vfs = &*stage.vfs;
        let moved = inside::Staging::adopt(vfs, &stage.target, &stage.id, &self.data());
        match moved {
            Ok(inside) => {
                // Empty by now; if it stays, a later sweep takes it.
                let _ = remove_staging(vfs, &self.dir, self.lock);
                inside.publish(stage, files)
            }
            Err(error) => {
                self.abort(vfs);
                Err(error)
            }
        }
    }

    pub(super) fn abort(self, vfs: &dyn Vfs) {
        // What cannot be removed is unlocked by now, and swept later.
        let _ = remove_staging(vfs, &self.dir, self.lock);
        for dir in self.made {
            // Somebody may have put something there meanwhile: then it stays.
            let _ = vfs.remove_dir(&dir);
        }
    }
}

enum Exchanged {
    Done,
    CannotHere,
}

fn check_still_empty(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    match target::content(vfs, dir)? {
        target::Content::Data => Err(Error::Exists {
            path: dir.to_path_buf(),
            directory: true,
        }),
        target::Content::Nothing | target::Content::OnlyOurs => Ok(()),
    }
}

/// Whether an exchange can never work here, so that files have to be moved one by one.
fn is_hopeless(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::PermissionDenied
    )
}

/// Removes staging whose lock we hold: the lock file last, so that nobody else begins.
pub(super) fn remove_staging(vfs: &dyn Vfs, dir: &Path, lock: Lock) -> Result<()> {
    for name in if_exists(vfs.list(dir))
        .at("list", dir)?
        .unwrap_or_default()
    {
        if name != names::LOCK {
            tree::remove(vfs, &dir.join(name))?;
        }
    }
    let lock_path = dir.join(names::LOCK);
    if_exists(vfs.remove_file(&lock_path)).at("remove", &lock_path)?;
    drop(lock);
    match if_exists(vfs.remove_dir(dir)) {
        // Another write began in it after the lock file was gone.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.at("remove", dir).map(drop),
    }
}
