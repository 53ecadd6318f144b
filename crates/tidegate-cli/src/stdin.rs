//! `FROM '-'`: standard input, put into a temporary file, as the engine reads files more than once.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate::Settings;

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Puts standard input into a file and names it; called at most once.
pub(crate) type Spool = Arc<dyn Fn() -> io::Result<PathBuf> + Send + Sync>;

/// Who reads standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It holds the SQL.
    Sql,
    /// Queries may read it.
    Data,
}

/// Makes the spool. Its file has no name, so that nothing is left of it however the process ends.
pub(crate) fn spool(settings: &Settings, used_for: Use) -> Spool {
    let directory = settings.get("temp_dir").ok().filter(|dir| dir != "auto");
    let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let most = settings.get("temp_limit").ok();
    let most = most.and_then(|text| tidegate::parse_bytes(&text).ok());
    let kept: Mutex<Option<Kept>> = Mutex::new(None);
    Arc::new(move || {
        if used_for == Use::Sql {
            let message = "standard input holds the statements";
            return Err(io::Error::other(message));
        }
        let (path, mut file) = open(&directory)?;
        copy(io::stdin().lock(), &mut file, most.unwrap_or(u64::MAX))?;
        if let Ok(mut kept) = kept.lock() {
            *kept = Some(file);
        }
        Ok(path)
    })
}

/// What the path of a spool is good for as long as it is kept.
#[cfg(target_os = "linux")]
type Kept = std::fs::File;
#[cfg(not(target_os = "linux"))]
type Kept = tempfile::NamedTempFile;

/// A file without a name, by the path under which the process can open it again.
#[cfg(target_os = "linux")]
fn open(directory: &Path) -> io::Result<(PathBuf, Kept)> {
    let file = tempfile::tempfile_in(directory)?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    Ok((PathBuf::from(format!("/proc/self/fd/{descriptor}")), file))
}

#[cfg(not(target_os = "linux"))]
fn open(directory: &Path) -> io::Result<(PathBuf, Kept)> {
    let file = tempfile::Builder::new()
        .prefix("tidegate-stdin-")
        .tempfile_in(directory)?;
    Ok((file.path().to_path_buf(), file))
}

fn copy(mut from: impl Read, to: &mut impl Write, most: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut copied = 0u64;
    loop {
        let bytes = match from.read(&mut chunk) {
            Ok(0) => return to.flush(),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        copied += bytes as u64;
        if copied > most {
            let message = "standard input is longer than temp_limit allows";
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        to.write_all(&chunk[..bytes])?;
    }
}
