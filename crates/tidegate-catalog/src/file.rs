//! A file of a table, pinned by what a listing saw of it, and the snapshot of all of them.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::walk::LocalFile;

/// One data file as the listing saw it.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// The path or URL, for messages: no secrets.
    pub path: Arc<str>,
    /// Where its object store finds it, and its identity.
    pub meta: ObjectMeta,
    /// The path on this machine, if it is there.
    pub local: Option<PathBuf>,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Only of local files.
    pub inode: Option<u64>,
}

impl DataFile {
    pub(crate) fn local(file: LocalFile) -> Result<Self> {
        let location = object_store::path::Path::parse(&file.path).map_err(|error| {
            Error::new(
                Kind::Unsupported,
                format!("the file name `{}` holds a control character", file.path),
            )
            .file(&file.path)
            .hint("rename the file")
            .caused_by(error)
        })?;
        let e_tag = local_e_tag(file.inode, file.mtime_ns, file.size);
        let meta = ObjectMeta {
            location,
            last_modified: DateTime::from_timestamp_nanos(file.mtime_ns),
            size: file.size,
            e_tag: Some(e_tag),
            version: None,
        };
        let local = Some(PathBuf::from(&file.path));
        Ok(Self {
            path: file.path.into(),
            meta,
            local,
            mtime_ns: file.mtime_ns,
            inode: Some(file.inode),
        })
    }

    pub(crate) fn remote(url: String, meta: ObjectMeta) -> Self {
        let mtime_ns = meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Self {
            path: url.into(),
            meta,
            local: None,
            mtime_ns,
            inode: None,
        }
    }

    /// What a cache of something about this file is keyed by.
    pub(crate) fn key(&self) -> FileKey {
        FileKey {
            path: Arc::clone(&self.path),
            size: self.meta.size,
            modified: self.meta.last_modified,
            e_tag: self.meta.e_tag.as_deref().map(Arc::from),
        }
    }
}

/// A file at one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    path: Arc<str>,
    size: u64,
    modified: DateTime<Utc>,
    e_tag: Option<Arc<str>>,
}

/// Exactly what a table reads: one listing, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSnapshot {
    /// BLAKE3 over everything below, in hex.
    pub id: String,
    /// The files in the order they are read.
    pub files: Vec<SnapshotFile>,
}

/// One file of an [`InputSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Path or URL, without secrets.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Only of local files.
    pub inode: Option<u64>,
    /// As the store gave it.
    pub etag: Option<String>,
    /// As the store gave it.
    pub version: Option<String>,
}

impl SnapshotFile {
    /// What tells this state of the file from another one.
    pub fn pin(&self) -> String {
        match (&self.etag, &self.version) {
            (Some(etag), None) => etag.clone(),
            (etag, version) => {
                let [etag, version] =
                    [etag, version].map(|text| text.as_deref().unwrap_or_default());
                format!("{etag} {version} {} {}", self.mtime_ns, self.size)
            }
        }
    }
}

/// The [`SnapshotFile::pin`] that a listing would give a file on this machine now.
pub fn local_pin(path: &std::path::Path) -> std::io::Result<String> {
    let found = std::fs::metadata(path)?;
    let file = LocalFile::new(path.display().to_string(), &found);
    Ok(local_e_tag(file.inode, file.mtime_ns, file.size))
}

/// The same form as object_store's local file system makes, so that both agree on what a changed file is.
fn local_e_tag(inode: u64, mtime_ns: i64, size: u64) -> String {
    let mtime_us = mtime_ns.div_euclid(1_000);
    format!("{inode:x}-{:x}-{size:x}", mtime_us.max(0))
}

impl InputSnapshot {
    pub(crate) fn of(files: &[DataFile]) -> Self {
        let files: Vec<SnapshotFile> = files
            .iter()
            .map(|file| SnapshotFile {
                url: file.path.to_string(),
                size: file.meta.size,
                mtime_ns: file.mtime_ns,
                inode: file.inode,
                etag: file.meta.e_tag.clone(),
                version: file.meta.version.clone(),
            })
            .collect();
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: Option<&str>| {
            // Length first: no two different lists give the same bytes.
            hasher.update(
                &text
                    .map_or(u64::MAX, |text| text.len() as u64)
                    .to_le_bytes(),
            );
            hasher.update(text.unwrap_or_default().as_bytes());
        };
        for file in &files {
            text(Some(&file.url));
            text(Some(&format!(
                "{} {} {:?}",
                file.size, file.mtime_ns, file.inode
            )));
            text(file.etag.as_deref());
            text(file.version.as_deref());
        }
        Self {
            id: hasher.finalize().to_hex().to_string(),
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(path: &str, size: u64) -> DataFile {
        DataFile::local(LocalFile {
            path: path.into(),
            size,
            mtime_ns: 1_700_000_000_123_456_789,
            inode: 7,
        })
        .unwrap()
    }

    #[test]
    fn a_snapshot_id_changes_with_any_file() {
        let id = |files: &[DataFile]| InputSnapshot::of(files).id;
        let base = id(&[file("/a", 1), file("/b", 2)]);
        assert_eq!(base, id(&[file("/a", 1), file("/b", 2)]));
        assert_ne!(base, id(&[file("/a", 1), file("/b", 3)]));
        assert_ne!(base, id(&[file("/a", 1)]));
        assert_eq!(base.len(), 64);
    }

    #[tokio::test]
    async fn a_local_file_has_the_identity_its_object_store_gives_it() {
        use object_store::ObjectStoreExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir
            .path()
            .join("a b%20{1}.csv")
            .to_str()
            .unwrap()
            .to_owned();
        std::fs::write(&path, "x").unwrap();
        let found = std::fs::metadata(&path).unwrap();
        let file = DataFile::local(LocalFile::new(path, &found)).unwrap();
        let store = object_store::local::LocalFileSystem::new();
        assert_eq!(store.head(&file.meta.location).await.unwrap(), file.meta);
    }

    #[test]
    fn a_name_no_store_can_hold_is_an_error() {
        let file = LocalFile {
            path: "/a\nb".into(),
            size: 1,
            mtime_ns: 0,
            inode: 1,
        };
        assert_eq!(DataFile::local(file).unwrap_err().kind, Kind::Unsupported);
    }
}
