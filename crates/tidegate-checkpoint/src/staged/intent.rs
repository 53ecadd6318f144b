//! The intent: one small file whose rename decides that files appear in a live directory.

use std::io::Write;
use std::path::Path;

use super::names::{self, FileName};
use super::{FileEntry, exists};
use crate::error::{At, Error, Result};
use crate::vfs::Vfs;

/// An intent larger than this is refused; it is some two million files.
const BYTES_MAX: u64 = 512 << 20;
const FORMAT: u32 = 1;

/// Which files a commit adds and which it removes. Names are relative to the target directory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Intent {
    format: u32,
    pub(super) add: Vec<FileEntry>,
    pub(super) remove: Vec<Removal>,
}

/// A file to remove, unless another has taken its name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Removal {
    pub(super) name: String,
    pub(super) inode: u64,
}

impl Intent {
    pub(super) fn new(add: Vec<FileEntry>, remove: Vec<Removal>) -> Self {
        Self {
            format: FORMAT,
            add,
            remove,
        }
    }

    /// Writes the draft and forces it to the disk; nothing is decided yet.
    pub(super) fn write_draft(&self, vfs: &dyn Vfs, commit: &Path) -> Result<()> {
        let path = commit.join(names::INTENT_DRAFT);
        let body = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .at("write", &path)?;
        let sum = blake3::hash(&body).to_string();
        let mut file = vfs.create(&path).at("create", &path)?;
        let written = file
            .write_all(&body)
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.write_all(sum.as_bytes()));
        written.at("write", &path)?;
        file.sync().at("sync", &path)
    }

    /// The intent of a commit, if it was decided. A damaged one is an error and not "undecided":
    /// files may have been published already.
    pub(super) fn read(vfs: &dyn Vfs, commit: &Path) -> Result<Option<Self>> {
        let path = commit.join(names::INTENT);
        if exists(vfs, &path)?.is_none() {
            return Ok(None);
        }
        let bytes = vfs.read(&path, BYTES_MAX).at("read", &path)?;
        let corrupt = |why: &str| Error::Corrupt {
            path: path.clone(),
            why: why.to_owned(),
        };
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let (body, sum) = bytes.split_at(end.ok_or_else(|| corrupt("it is cut short"))?);
        if blake3::hash(body).to_string().as_bytes() != &sum[1..] {
            return Err(corrupt("its checksum does not match"));
        }
        let intent: Self =
            serde_json::from_slice(body).map_err(|error| corrupt(&error.to_string()))?;
        if intent.format != FORMAT {
            return Err(corrupt("it was written by another version"));
        }
        let names = intent.add.iter().map(|file| &file.name);
        for name in names.chain(intent.remove.iter().map(|file| &file.name)) {
            FileName::parse(name).map_err(|error| corrupt(&error.to_string()))?;
        }
        Ok(Some(intent))
    }
}
