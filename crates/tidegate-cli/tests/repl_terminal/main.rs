//! The REPL in a real pseudo-terminal: keys in, screen out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod commands;
mod completing;
mod environment;
mod paging;
mod pty;
mod running;
mod screen;
mod secrets;
mod typing;

use std::path::Path;

use pty::{Start, Terminal};

/// A directory with a few small files.
fn data() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("zones.csv", "zone_id,zone_name\n1,north\n2,south\n3,east\n");
    write("trips.csv", "trip_id,fare\n10,2.5\n11,4.5\n");
    std::fs::create_dir(directory.path().join("nested")).unwrap();
    write("nested/inner.csv", "alpha,beta\n1,2\n");
    directory
}

/// The shell in that directory.
fn open(directory: &Path) -> Terminal {
    Terminal::open(directory, Start::default())
}

/// An executable script in that directory; gives its path.
fn script(directory: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}
