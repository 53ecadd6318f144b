//! `FROM '-'`: standard input, put into a temporary file, as the engine reads files more than once.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::NamedTempFile;
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

/// Makes the spool. The file is removed when the spool is dropped.
pub(crate) fn spool(settings: &Settings, used_for: Use) -> Spool {
    let directory = settings.get("temp_dir").ok().filter(|dir| dir != "auto");
    let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let most = settings.get("temp_limit").ok();
    let most = most.and_then(|text| tidegate::parse_bytes(&text).ok());
    let kept: Mutex<Option<NamedTempFile>> = Mutex::new(None);
    Arc::new(move || {
        if used_for == Use::Sql {
            let message = "standard input holds the statements";
            return Err(io::Error::other(message));
        }
        let mut file = tempfile::Builder::new()
            .prefix("tidegate-stdin-")
            .tempfile_in(&directory)?;
        copy(io::stdin().lock(), &mut file, most.unwrap_or(u64::MAX))?;
        let path = file.path().to_path_buf();
        if let Ok(mut kept) = kept.lock() {
            *kept = Some(file);
        }
        Ok(path)
    })
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
