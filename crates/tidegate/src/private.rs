//! Tables that CREATE TABLE AS makes without a location: their files are in the session's private
//! directory, count towards the limit of temporary files, and go with the table.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tidegate_operators::write;

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;

/// A directory for a new table of this name.
pub(crate) fn directory(session: &Session, name: &str) -> Result<String> {
    let plain = plain(name);
    let number = session.inner.tables_made.fetch_add(1, Ordering::Relaxed);
    let tables = session.inner.temp.path().join("tables");
    std::fs::create_dir_all(&tables).map_err(|error| failed(&tables, &error))?;
    let path = tables.join(format!("{plain}-{number}"));
    Ok(format!("{}/", path.display()))
}

/// A name as a part of a path.
pub(crate) fn plain(name: &str) -> String {
    let letters = name.chars();
    letters
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect()
}

/// Whether a target is in the private directory.
pub(crate) fn holds(session: &Session, target: &str) -> bool {
    Path::new(target).starts_with(session.inner.temp.path())
}

/// Bytes of the temporary space that nobody uses.
pub(crate) fn bytes_left(session: &Session) -> u64 {
    let temp = &session.inner.temp;
    let spilled = session.inner.runtime.disk_manager.used_disk_space();
    temp.limit()
        .saturating_sub(temp.used())
        .saturating_sub(spilled)
}

/// Counts the files of a table that was written; without room for them they are removed.
pub(crate) fn count(session: &Session, target: &str) -> Result<()> {
    let directory = key(target);
    let bytes = bytes_below(&directory).map_err(|error| failed(&directory, &error))?;
    let mut held = session.inner.tables_held.lock();
    if let Some(space) = held.get_mut(&directory) {
        // Rows were added, and no more than there was room for when that began.
        let _ = space.grow(bytes.saturating_sub(space.bytes()));
        return Ok(());
    }
    match session.inner.temp.reserve(bytes) {
        Ok(space) => {
            held.insert(directory, space);
            Ok(())
        }
        Err(_) => {
            let _ = std::fs::remove_dir_all(&directory);
            let bytes_max = bytes_left(session);
            Err(convert::from_write(&write::Error::TempLimit { bytes_max }))
        }
    }
}

/// Removes the files of a table, if they are in the private directory.
pub(crate) fn remove(session: &Session, target: &str) {
    if holds(session, target) {
        let directory = key(target);
        // What cannot be removed now goes with the session.
        let _ = std::fs::remove_dir_all(&directory);
        session.inner.tables_held.lock().remove(&directory);
    }
}

fn key(target: &str) -> PathBuf {
    PathBuf::from(target.trim_end_matches('/'))
}

fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += match found.is_dir() {
            true => bytes_below(&entry.path())?,
            false => found.len(),
        };
    }
    Ok(bytes)
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot use `{}`: {error}", path.display());
    Error::new(ErrorKind::Io, "io", message)
}
