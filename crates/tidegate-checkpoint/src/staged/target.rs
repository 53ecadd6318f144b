//! What the target of a write is, and whether it may be written at all.

use std::path::{Path, PathBuf};

use super::tree::{self, Descend};
use super::{names, parent, refused};
use crate::error::{At, Error, Result};
use crate::vfs::{Kind, Metadata, Vfs, if_exists};

/// Links followed before a target is refused.
const LINKS_MAX: usize = 40;

/// Names that mark a directory as a table of another system: files added or removed behind its
/// back would be ignored, or would damage it.
const FOREIGN_TABLES: [(&str, &str); 3] = [
    ("_delta_log", "Delta Lake"),
    (".hoodie", "Hudi"),
    ("metadata", "Iceberg"),
];

/// Suffixes of what an overwrite may remove. Not `txt`: it may be a table, or the notes beside one.
const DATA_SUFFIXES: [&str; 14] = [
    "parquet", "pq", "csv", "tsv", "psv", "json", "ndjson", "jsonl", "arrow", "arrows", "ipc",
    "feather", "avro", "orc",
];

/// Suffixes behind those of data.
const PACKED_SUFFIXES: [&str; 9] = [
    "gz", "gzip", "zst", "zstd", "bz2", "xz", "lz4", "snappy", "deflate",
];

/// What writers of other systems leave beside the data they wrote.
const LEFTOVERS: [&str; 5] = [
    "_SUCCESS",
    "_metadata",
    "_common_metadata",
    "_committed_",
    "_started_",
];

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It is missing or empty.
    Nothing,
    /// Only the staging of our writes.
    OnlyOurs,
    /// Something a reader would see.
    Data,
}

/// The absolute target with links followed, and what is there. A link to nothing leads to the
/// place it names.
pub(super) fn resolve(vfs: &dyn Vfs, target: &Path) -> Result<(PathBuf, Option<Metadata>)> {
    let mut path = target.to_path_buf();
    for _ in 0..LINKS_MAX {
        if let Some(found) = if_exists(vfs.metadata(&path)).at("look at", &path)? {
            if found.kind == Kind::Stream || is_standard_stream(&path) {
                // Its canonical name may be no path at all, as of a pipe behind `/dev/stdout`.
                return Ok((
                    path,
                    Some(Metadata {
                        kind: Kind::Stream,
                        ..found
                    }),
                ));
            }
            return Ok((vfs.canonicalize(&path).at("find", &path)?, Some(found)));
        }
        match if_exists(vfs.link_metadata(&path)).at("look at", &path)? {
            Some(link) if link.kind == Kind::Symlink => {
                let to = vfs.read_link(&path).at("read the link", &path)?;
                path = parent(&path).join(to);
            }
            _ => return Ok((missing(vfs, &path)?, None)),
        }
    }
    Err(refused(target, "too many links"))
}

/// The absolute path of something that is not there: its nearest existing parent has a canonical
/// name, the rest follows.
fn missing(vfs: &dyn Vfs, path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(refused(path, "it has no name"));
    };
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    match if_exists(vfs.canonicalize(above)).at("find", above)? {
        Some(above) => Ok(above.join(name)),
        None => Ok(missing(vfs, above)?.join(name)),
    }
}

fn is_standard_stream(path: &Path) -> bool {
    let path = path.to_str().unwrap_or_default();
    ["/dev/", "/proc/self/fd/"]
        .iter()
        .any(|dir| path.starts_with(dir))
        && (path.starts_with("/proc/")
            || path.starts_with("/dev/std")
            || path.starts_with("/dev/fd/"))
}

pub(super) fn content(vfs: &dyn Vfs, dir: &Path) -> Result<Content> {
    let held = vfs.list(dir).at("list", dir)?;
    if held.is_empty() {
        return Ok(Content::Nothing);
    }
    let ours = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name == names::INSIDE || names::is_beside(&name)
    };
    Ok(if held.iter().all(ours) {
        Content::OnlyOurs
    } else {
        Content::Data
    })
}

/// An error when files added to `dir` would be ignored by the system that owns it.
pub(super) fn check_append(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    for (name, system) in FOREIGN_TABLES {
        let marker = dir.join(name);
        let found = if_exists(vfs.metadata(&marker)).at("look at", &marker)?;
        if found.is_some_and(|found| found.kind == Kind::Directory) {
            let why = format!("it holds `{name}/` and looks like a table of {system}");
            return Err(refused(dir, why));
        }
    }
    Ok(())
}

/// An error unless `dir` may be replaced as a whole: it is no place to live in, and all it holds
/// looks like data.
///
/// Spark deletes whatever it finds; DuckDB asks for `OVERWRITE` and then deletes it too. One slip
/// in a path must not cost a source tree, so what is not data has to be removed by its owner.
pub(super) fn check_overwrite(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    if let Some(kept) = protected(vfs).iter().find(|kept| kept.starts_with(dir)) {
        let is = if kept == dir { "it is" } else { "it holds" };
        return Err(refused(dir, format!("{is} `{}`", kept.display())));
    }
    check_append(vfs, dir)?;
    tree::walk(vfs, dir, &mut |path, found| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == names::INSIDE || names::is_beside(&name) {
            return Ok(Descend::No);
        }
        let allowed = match found.kind {
            // Readers skip such directories: what is in there is no data of this table.
            Kind::Directory => !name.starts_with(['.', '_']),
            Kind::File | Kind::Symlink => is_data(&name),
            Kind::Stream | Kind::Other => false,
        };
        if allowed {
            Ok(Descend::Yes)
        } else {
            Err(not_data(dir, path))
        }
    })
}

/// Places that are lived in: the directory itself must stay, even when it is empty.
pub(super) fn must_stay(vfs: &dyn Vfs, dir: &Path) -> bool {
    protected(vfs).iter().any(|kept| kept.starts_with(dir))
}

fn protected(vfs: &dyn Vfs) -> Vec<PathBuf> {
    let mut kept = vfs.protected();
    kept.push(PathBuf::from("/"));
    kept
}

fn not_data(dir: &Path, path: &Path) -> Error {
    let why = format!(
        "`{}` in it is not a data file; remove it first or write elsewhere",
        path.display()
    );
    refused(dir, why)
}

/// Whether a file looks like data, or like what a writer of data leaves beside it.
fn is_data(name: &str) -> bool {
    if name == ".DS_Store" || is_leftover(name) {
        return true;
    }
    // Hadoop keeps a checksum of `a` in `.a.crc`.
    if let Some(of) = name
        .strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(".crc"))
    {
        return is_leftover(of) || is_data_file(of);
    }
    is_data_file(name)
}

fn is_leftover(name: &str) -> bool {
    LEFTOVERS.iter().any(|known| match known.strip_suffix('_') {
        Some(_) => name
            .strip_prefix(known)
            .is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit())),
        None => name == *known,
    })
}

fn is_data_file(name: &str) -> bool {
    if name.starts_with(['.', '_']) {
        return false;
    }
    let low = name.to_ascii_lowercase();
    let packed = low
        .rsplit_once('.')
        .filter(|(_, suffix)| PACKED_SUFFIXES.contains(suffix));
    let plain = packed.map_or(low.as_str(), |(stem, _)| stem);
    match plain.rsplit_once('.') {
        Some((_, suffix)) => DATA_SUFFIXES.contains(&suffix),
        // `part-00000` of Hadoop.
        None => plain.starts_with("part-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_what_belongs_to_it_is_told_from_all_else() {
        for data in [
            "a.parquet",
            "A.CSV",
            "a.csv.gz",
            "part-00000",
            "part-00000.gz",
            "part-0-9.c000.snappy.parquet",
            "_SUCCESS",
            "_committed_123",
            "._SUCCESS.crc",
            ".part-0.parquet.crc",
            ".DS_Store",
        ] {
            assert!(is_data(data), "{data}");
        }
        for other in [
            "readme.txt",
            "_notes.md",
            "_notes.csv",
            "_committed_by_me",
            "part-notes.md",
            "backup.tar.gz",
            "photo.jpg",
            "sums.crc",
            ".hidden.csv",
            "Makefile",
            "gz",
        ] {
            assert!(!is_data(other), "{other}");
        }
    }
}
