//! Files for a live directory: staged in `_tidegate/<id>/`, decided by an intent, then renamed
//! into place one by one. Removals, of an overwrite that cannot exchange, come last.
//!
//! 1. `_tidegate/<id>/lock` is held from the first file to the end: its holder lives.
//! 2. Files, their directories, and the way to them are synced.
//! 3. `_tidegate/lock` is taken: one publishes at a time.
//! 4. The intent is written, synced and renamed to its name. **This decides.**
//! 5. Files are renamed into place; directories are synced; what is to go is removed.
//! 6. The intent is removed, then the rest of `_tidegate/<id>`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::intent::{Intent, Removal};
use super::names::{self, FileName};
use super::tree::{self, Descend};
use super::{FileEntry, Lock, Mode, Stage, beside, exists, target};
use crate::error::{At, Error, Result};
use crate::vfs::{Kind, LockFile, Vfs, if_exists};

/// Between two tries for a lock.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// Tries for the lock of publishing: half a minute. Publishing is renames only.
pub(super) const PUBLISH_TRIES: usize = 6000;
/// Tries to make staging that a sweeper takes away at the same time.
const TRIES: usize = 64;

#[derive(Debug)]
pub(super) struct Staging {
    /// `<target>/_tidegate/<id>`
    dir: PathBuf,
    lock: Lock,
}

impl Staging {
    pub(super) fn new(vfs: &dyn Vfs, target: &Path, id: &str) -> Result<Self> {
        let staging = Self::claim(vfs, target, id)?;
        let data = staging.data();
        if let Err(error) = vfs.make_dir(&data, 0o777).at("make", &data) {
            staging.abort(vfs);
            return Err(error);
        }
        Ok(staging)
    }

    /// As `new`, with a directory that was staged elsewhere on the same device.
    pub(super) fn adopt(vfs: &dyn Vfs, target: &Path, id: &str, data: &Path) -> Result<Self> {
        let staging = Self::claim(vfs, target, id)?;
        if let Err(error) = vfs.rename(data, &staging.data()).at("move", data) {
            staging.abort(vfs);
            return Err(error);
        }
        Ok(staging)
    }

    fn claim(vfs: &dyn Vfs, target: &Path, id: &str) -> Result<Self> {
        let all = target.join(names::INSIDE);
        let dir = all.join(id);
        let lock_path = dir.join(names::LOCK);
        for _ in 0..TRIES {
            make_if_missing(vfs, &all)?;
            // Whoever publishes or sweeps removes `_tidegate` when it is done with it.
            match vfs.make_dir(&dir, 0o777) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.at("make", &dir)?,
            }
            match if_exists(vfs.try_lock(&lock_path, LockFile::Create)).at("lock", &lock_path)? {
                Some(Some(lock)) => return Ok(Self { dir, lock }),
                Some(None) | None => vfs.pause(PAUSE),
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
        let (lock, intent) = match self.prepare(stage, files) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.abort(vfs);
                return Err(error);
            }
        };
        // From here on nothing is undone: the intent may be on the disk even if a call says no.
        let unfinished = |source| Error::Unfinished {
            path: stage.target.clone(),
            source: Box::new(source),
        };
        let (draft, decided) = (
            self.dir.join(names::INTENT_DRAFT),
            self.dir.join(names::INTENT),
        );
        vfs.rename(&draft, &decided)
            .at("commit", &decided)
            .map_err(unfinished)?;
        vfs.sync_dir(&self.dir)
            .at("sync", &self.dir)
            .map_err(unfinished)?;
        apply(vfs, &stage.target, &self.dir, &intent).map_err(unfinished)?;
        // Published and durable; what remains of the staging is swept at the next use.
        let _ = finish(vfs, &self.dir, self.lock);
        release(vfs, &stage.target, lock);
        Ok(None)
    }

    /// Everything before the decision; gives the lock of publishing.
    fn prepare(&self, stage: &Stage, files: &[FileEntry]) -> Result<(Lock, Intent)> {
        let (vfs, target) = (&*stage.vfs, &stage.target);
        let all = target.join(names::INSIDE);
        self.check_in_place(stage)?;
        for dir in [&self.dir, &all, target] {
            vfs.sync_dir(dir).at("sync", dir)?;
        }
        let lock = publish_lock(vfs, target)?;
        let prepared = self.draft(stage, files);
        match prepared {
            Ok(intent) => Ok((lock, intent)),
            Err(error) => {
                release(vfs, target, lock);
                Err(error)
            }
        }
    }

    fn draft(&self, stage: &Stage, files: &[FileEntry]) -> Result<Intent> {
        let (vfs, target) = (&*stage.vfs, &stage.target);
        self.check_in_place(stage)?;
        let remove = match stage.mode {
            Mode::Error | Mode::Ignore => match target::content(vfs, target)? {
                target::Content::Data => {
                    return Err(Error::Exists {
                        path: target.clone(),
                        directory: true,
                    });
                }
                target::Content::Nothing | target::Content::OnlyOurs => Vec::new(),
            },
            Mode::Append => {
                check_names_free(vfs, target, files)?;
                Vec::new()
            }
            Mode::Overwrite => match target::content(vfs, target)? {
                target::Content::Data => {
                    target::check_overwrite(vfs, target)?;
                    all_files(vfs, target)?
                }
                target::Content::Nothing | target::Content::OnlyOurs => Vec::new(),
            },
        };
        let intent = Intent::new(files.to_vec(), remove);
        intent.write_draft(vfs, &self.dir)?;
        Ok(intent)
    }

    /// An error when the directory around our staging was replaced by another process.
    fn check_in_place(&self, stage: &Stage) -> Result<()> {
        let lock = exists(&*stage.vfs, &self.dir.join(names::LOCK))?;
        if lock.is_some_and(|lock| lock.inode == self.lock.inode()) {
            return Ok(());
        }
        Err(Error::Replaced {
            path: stage.target.clone(),
        })
    }

    pub(super) fn abort(self, vfs: &dyn Vfs) {
        let target = self
            .dir
            .parent()
            .and_then(Path::parent)
            .map(Path::to_path_buf);
        // What cannot be removed is unlocked by now, and swept later.
        let _ = beside::remove_staging(vfs, &self.dir, self.lock);
        if let Some(target) = target {
            tidy(vfs, &target);
        }
    }
}

/// Waits for the lock of publishing into `target`.
pub(super) fn publish_lock(vfs: &dyn Vfs, target: &Path) -> Result<Lock> {
    let all = target.join(names::INSIDE);
    let path = all.join(names::LOCK);
    for _ in 0..PUBLISH_TRIES {
        make_if_missing(vfs, &all)?;
        match if_exists(vfs.try_lock(&path, LockFile::Create)).at("lock", &path)? {
            Some(Some(lock)) => return Ok(lock),
            Some(None) | None => vfs.pause(PAUSE),
        }
    }
    Err(Error::Busy {
        path: target.to_path_buf(),
    })
}

/// Whether some process publishes into `target` at the moment.
pub(super) fn is_publishing(vfs: &dyn Vfs, target: &Path) -> Result<bool> {
    let path = target.join(names::INSIDE).join(names::LOCK);
    match if_exists(vfs.try_lock(&path, LockFile::MustExist)).at("lock", &path) {
        Ok(lock) => Ok(matches!(lock, Some(None))),
        // Who may not open the lock cannot tell.
        Err(error) if error.is_permission_denied() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock of publishing back, and removes `_tidegate` when nobody uses it.
pub(super) fn release(vfs: &dyn Vfs, target: &Path, lock: Lock) {
    let all = target.join(names::INSIDE);
    if matches!(vfs.list(&all), Ok(held) if held.iter().all(|name| name == names::LOCK)) {
        // Removed under the lock; who waits for it sees that the file it locked is gone.
        let _ = vfs.remove_file(&all.join(names::LOCK));
        let _ = vfs.remove_dir(&all);
    }
    drop(lock);
}

/// Removes an unused `_tidegate`, unless somebody publishes.
fn tidy(vfs: &dyn Vfs, target: &Path) {
    let path = target.join(names::INSIDE).join(names::LOCK);
    if let Ok(Some(lock)) = vfs.try_lock(&path, LockFile::Create) {
        release(vfs, target, lock);
    }
}

/// Does what an intent says; done twice, it does nothing more.
pub(super) fn apply(vfs: &dyn Vfs, target: &Path, commit: &Path, intent: &Intent) -> Result<()> {
    let data = commit.join(names::DATA);
    let dirs = make_dirs(vfs, target, &intent.add)?;
    for file in &intent.add {
        let name = FileName::parse(&file.name)?;
        let (staged, published) = (data.join(name.as_str()), target.join(name.as_str()));
        // Not staged any more: published by an earlier try.
        if exists(vfs, &staged)?.is_some() {
            vfs.rename(&staged, &published).at("publish", &published)?;
        }
    }
    for dir in dirs.iter().map(PathBuf::as_path).chain([target]) {
        vfs.sync_dir(dir).at("sync", dir)?;
    }
    remove_all(vfs, target, &intent.remove)
}

/// Makes the directories of the files, and forces them to the disk from the outermost in: a file
/// renamed into a directory that is lost is lost with it.
fn make_dirs(vfs: &dyn Vfs, target: &Path, files: &[FileEntry]) -> Result<BTreeSet<PathBuf>> {
    let mut dirs = BTreeSet::new();
    for file in files {
        let names = FileName::parse(&file.name)?.dirs();
        dirs.extend(names.iter().map(|dir| target.join(dir)));
    }
    // A path sorts before those below it.
    let mut holding = BTreeSet::new();
    for dir in &dirs {
        make_if_missing(vfs, dir)?;
        holding.insert(super::parent(dir));
    }
    for dir in holding {
        vfs.sync_dir(dir).at("sync", dir)?;
    }
    Ok(dirs)
}

fn remove_all(vfs: &dyn Vfs, target: &Path, removals: &[Removal]) -> Result<()> {
    let mut changed = BTreeSet::new();
    for removal in removals {
        let name = FileName::parse(&removal.name)?;
        let path = target.join(name.as_str());
        if exists(vfs, &path)?.is_some_and(|found| found.inode == removal.inode) {
            vfs.remove_file(&path).at("remove", &path)?;
        }
        changed.insert(target.to_path_buf());
        changed.extend(name.dirs().iter().map(|dir| target.join(dir)));
    }
    for dir in changed.iter().rev() {
        // A directory with something in it stays; one that became empty goes.
        if dir == target || if_exists(vfs.remove_dir(dir)).is_err() {
            vfs.sync_dir(dir).at("sync", dir)?;
        }
    }
    Ok(())
}

/// Removes a commit that is done: its intent first, so that what follows is mere sweeping.
pub(super) fn finish(vfs: &dyn Vfs, commit: &Path, lock: Lock) -> Result<()> {
    let intent = commit.join(names::INTENT);
    if_exists(vfs.remove_file(&intent)).at("remove", &intent)?;
    beside::remove_staging(vfs, commit, lock)
}

/// Every file in the directory, as removals.
fn all_files(vfs: &dyn Vfs, target: &Path) -> Result<Vec<Removal>> {
    let mut files = Vec::new();
    tree::walk(vfs, target, &mut |path, found| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path == Path::new(names::INSIDE) || names::is_beside(&name) {
            return Ok(Descend::No);
        }
        if found.kind != Kind::Directory {
            let Some(name) = path.to_str() else {
                let why = format!("the name `{}` in it is not valid UTF-8", path.display());
                return Err(super::refused(target, why));
            };
            files.push(Removal {
                name: name.to_owned(),
                inode: found.inode,
            });
        }
        Ok(Descend::Yes)
    })?;
    Ok(files)
}

fn check_names_free(vfs: &dyn Vfs, target: &Path, files: &[FileEntry]) -> Result<()> {
    for file in files {
        let path = target.join(&file.name);
        if exists(vfs, &path)?.is_some() {
            return Err(Error::Exists {
                path,
                directory: false,
            });
        }
    }
    Ok(())
}

fn make_if_missing(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    match vfs.make_dir(dir, 0o777) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match exists(vfs, dir)? {
            Some(found) if found.kind != Kind::Directory => {
                Err(super::refused(dir, "it is not a directory"))
            }
            _ => Ok(()),
        },
        made => made.at("make", dir),
    }
}
