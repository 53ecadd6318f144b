//! Directory trees: walking and removing them, through the seam.

use std::path::{Path, PathBuf};

use super::exists;
use crate::error::{At, Error, Result};
use crate::vfs::{Kind, Metadata, Vfs, if_exists};

/// Directories nested deeper than this are refused.
const DEPTH_MAX: usize = 64;

/// Removes a file or a directory with all it holds; what is gone already is no error. Links are
/// removed, not followed.
pub(crate) fn remove(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    remove_below(vfs, path, DEPTH_MAX)
}

fn remove_below(vfs: &dyn Vfs, path: &Path, depth: usize) -> Result<()> {
    let Some(found) = exists(vfs, path)? else {
        return Ok(());
    };
    if found.kind != Kind::Directory {
        return if_exists(vfs.remove_file(path))
            .at("remove", path)
            .map(drop);
    }
    let depth = deeper(path, depth)?;
    for name in if_exists(vfs.list(path))
        .at("list", path)?
        .unwrap_or_default()
    {
        remove_below(vfs, &path.join(name), depth)?;
    }
    if_exists(vfs.remove_dir(path)).at("remove", path).map(drop)
}

/// Visits everything below `dir`, a directory before what it holds. `visit` says whether to
/// descend into a directory.
pub(crate) fn walk(
    vfs: &dyn Vfs,
    dir: &Path,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<Descend>,
) -> Result<()> {
    walk_below(vfs, dir, PathBuf::new(), DEPTH_MAX, visit)
}

/// Whether a walk goes into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descend {
    Yes,
    No,
}

fn walk_below(
    vfs: &dyn Vfs,
    root: &Path,
    below: PathBuf,
    depth: usize,
    visit: &mut dyn FnMut(&Path, &Metadata) -> Result<Descend>,
) -> Result<()> {
    let dir = root.join(&below);
    let depth = deeper(&dir, depth)?;
    // Others may be at work in the same directory: what is gone is not visited.
    for name in if_exists(vfs.list(&dir))
        .at("list", &dir)?
        .unwrap_or_default()
    {
        let relative = below.join(name);
        let Some(found) = exists(vfs, &root.join(&relative))? else {
            continue;
        };
        let descend = visit(&relative, &found)?;
        if found.kind == Kind::Directory && descend == Descend::Yes {
            walk_below(vfs, root, relative, depth, visit)?;
        }
    }
    Ok(())
}

fn deeper(path: &Path, depth: usize) -> Result<usize> {
    depth.checked_sub(1).ok_or_else(|| Error::Refused {
        path: path.to_path_buf(),
        why: format!("it is nested deeper than {DEPTH_MAX} directories"),
    })
}
