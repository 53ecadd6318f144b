//! A single file: staged under a `.` name beside the target, renamed over it.

use std::path::{Path, PathBuf};

use super::inside::PAUSE;
use super::{Mode, Stage, names, parent, recover};
use crate::error::{At, Error, Result};
use crate::vfs::{Kind, Metadata, Vfs, VfsFile, if_exists};

/// How often the staged file is made again because a sweeper took it.
const TRIES: usize = 64;

#[derive(Debug)]
pub(super) struct Staging {
    pub(super) path: PathBuf,
}

impl Staging {
    pub(super) fn new(
        vfs: &dyn Vfs,
        target: &Path,
        id: &str,
        _found: Option<Metadata>,
    ) -> Result<Self> {
        let dir = parent(target);
        let found = if_exists(vfs.metadata(dir)).at("look at", dir)?;
        match found.map(|found| found.kind) {
            Some(Kind::Directory) => {}
            Some(_) => return Err(super::refused(dir, "it is a file, not a directory")),
            None => return Err(super::refused(dir, "the directory does not exist")),
        }
        recover::sweep(vfs, dir);
        Ok(Self {
            path: names::beside(target, id),
        })
    }

    pub(super) fn publish(self, stage: &Stage) -> Result<Option<String>> {
        let vfs = &*stage.vfs;
        let renamed = match stage.mode {
            Mode::Error | Mode::Ignore => vfs.rename_new(&self.path, &stage.target),
            Mode::Overwrite | Mode::Append => vfs.rename(&self.path, &stage.target),
        };
        if let Err(error) = renamed {
            self.abort(vfs);
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Err(Error::Exists {
                    path: stage.target.clone(),
                    directory: false,
                });
            }
            return Err(error).at("replace", &stage.target);
        }
        vfs.sync_dir(stage.parent()).at("sync", stage.parent())?;
        Ok(None)
    }

    pub(super) fn abort(self, vfs: &dyn Vfs) {
        // A failure leaves a file that nobody locks: the next write into this directory sweeps it.
        let _ = vfs.remove_file(&self.path);
    }
}

/// Makes the staged file and locks it, with the permissions and the owner of what it replaces.
pub(super) fn create_locked(vfs: &dyn Vfs, path: &Path, target: &Path) -> Result<Box<dyn VfsFile>> {
    let mut file = create_and_lock(vfs, path, target)?;
    if let Some(replaced) = if_exists(vfs.metadata(target)).at("look at", target)? {
        let ours = vfs.link_metadata(path).at("look at", path)?;
        if (ours.user, ours.group) != (replaced.user, replaced.group) {
            // Only root may give files away; others keep their own name on it.
            let _ = file.set_owner(replaced.user, replaced.group);
        }
        if ours.mode != replaced.mode {
            file.set_mode(replaced.mode)
                .at("set the permissions of", path)?;
        }
    }
    Ok(file)
}

/// A sweeper may take the file between its making and its locking: then it is made again.
fn create_and_lock(vfs: &dyn Vfs, path: &Path, target: &Path) -> Result<Box<dyn VfsFile>> {
    for _ in 0..TRIES {
        match vfs.create(path) {
            // The sweeper has the lock and is about to remove it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => {
                let mut file = created.at("create", path)?;
                if file.try_lock().at("lock", path)? {
                    return Ok(file);
                }
            }
        }
        vfs.pause(PAUSE);
    }
    Err(Error::Busy {
        path: target.to_path_buf(),
    })
}
