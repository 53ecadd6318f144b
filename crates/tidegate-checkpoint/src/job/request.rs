//! The request of a job: what it is asked to do. Its file is what makes a directory a job.

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::name;
use crate::error::{At, Error, Result};
use crate::vfs::Vfs;

const MAGIC: &[u8; 8] = b"TIDEREQ\x01";
const HASH_BYTES: usize = 32;
/// A request larger than this is refused.
pub const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Stands for a request in the files of its job.
pub(super) fn fingerprint(request: &[u8]) -> [u8; 32] {
    *blake3::hash(request).as_bytes()
}

/// The request of the job in `dir`; `None` when that is no job.
pub(super) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name::REQUEST);
    let corrupt = |why: &str| Error::Corrupt {
        path: path.clone(),
        why: why.into(),
    };
    let bytes_max = REQUEST_BYTES_MAX + (MAGIC.len() + HASH_BYTES) as u64;
    let bytes = match vfs.read(&path, bytes_max) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            return Err(corrupt("it is larger than a request can be"));
        }
        Err(error) => return Err(error).at("read", &path),
    };
    let Some((checked, hash)) = bytes.split_last_chunk::<HASH_BYTES>() else {
        return Err(corrupt("it is cut short"));
    };
    let Some(request) = checked.strip_prefix(MAGIC) else {
        return Err(corrupt("it is no request of this version"));
    };
    if blake3::hash(checked).as_bytes() != hash {
        return Err(corrupt("its hash does not agree with its bytes"));
    }
    Ok(Some(request.to_vec()))
}

/// Writes a request where nobody takes it for one yet.
pub(super) fn write(vfs: &dyn Vfs, draft: &Path, request: &[u8]) -> Result<()> {
    let mut checked = MAGIC.to_vec();
    checked.extend_from_slice(request);
    let hash = blake3::hash(&checked);
    let mut file = vfs.create(draft).at("make", draft)?;
    let written = file
        .write_all(&checked)
        .and_then(|()| file.write_all(hash.as_bytes()));
    written.at("write", draft)?;
    file.sync().at("sync", draft)
}
