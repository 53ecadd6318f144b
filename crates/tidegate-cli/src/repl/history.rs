//! Where the history lives and what is kept out of it.

use std::path::{Path, PathBuf};

/// Entries that are kept where the setting `history_rows` does not say otherwise.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Longer entries (a large paste) are not worth keeping.
pub(crate) const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// Words that a statement with a secret holds; what holds one is never kept.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "access_key",
    "account_key",
    "api_key",
    "sas_token",
    "session_token",
    "bearer",
    "credential",
];

/// The file of the history, with its directory made; `None` where there is no place to write.
pub(crate) fn file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = match set("XDG_STATE_HOME").map(PathBuf::from) {
        Some(state) if state.is_absolute() => state,
        _ => PathBuf::from(set("HOME")?).join(".local").join("state"),
    };
    let directory = state.join("tidegate");
    make_private(&directory).ok()?;
    let file = directory.join("history");
    let writable = std::fs::OpenOptions::new().append(true).open(&file).is_ok();
    (writable || !file.exists()).then_some(file)
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Whether an entry may be kept: it holds no secret, and is not huge.
pub(crate) fn may_keep(entry: &str) -> bool {
    let lower = entry.to_ascii_lowercase();
    !entry.trim().is_empty()
        && entry.len() <= ENTRY_BYTES_MAX
        && !SECRET_WORDS.iter().any(|word| lower.contains(word))
        && tidegate::redacted(entry) == entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_like_a_secret_is_not_kept() {
        for entry in [
            "create external table t stored as csv location 's3://b/x' options ('aws.secret_access_key' 'abc');",
            "CREATE SECRET s (KEY_ID 'a');",
            "select * from 'https://me:pw@host/a.csv';",
            ".params password=abc",
            ".params token=abc",
            ".params x=1 pw=a",
            "\\params pass='a b'",
            "set s3.token = abc;",
            "  ",
        ] {
            assert!(!may_keep(entry), "{entry}");
        }
        for entry in ["select 1;", "select key from t;", ".mode csv"] {
            assert!(may_keep(entry), "{entry}");
        }
    }
}
