//! The sandbox: which paths may be touched and whether the network may be used. Checked on canonical paths,
//! so a symbolic link that leads out of an allowed directory is denied.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// What the catalog may touch. Made once, when the session is built; nothing in SQL can loosen it.
///
/// ```
/// # use tidegate_catalog::Access;
/// let access = Access::everything().without_network();
/// assert!(access.check_network("s3://bucket/x").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// INVARIANT: canonical. `None` allows every path.
    allow_paths: Option<Vec<PathBuf>>,
    network: bool,
    read_only: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self::everything()
    }
}

impl Access {
    /// No restriction.
    pub fn everything() -> Self {
        Self {
            allow_paths: None,
            network: true,
            read_only: false,
        }
    }

    /// Only paths below these directories (or exactly these files) may be touched.
    pub fn with_allow_paths<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self> {
        let canonical = paths
            .into_iter()
            .map(|path| canonical(path.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        self.allow_paths = Some(canonical);
        Ok(self)
    }

    /// No object store and no HTTP.
    pub fn without_network(mut self) -> Self {
        self.network = false;
        self
    }

    /// No writes.
    pub fn without_writes(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Whether paths are restricted at all.
    pub fn restricts_paths(&self) -> bool {
        self.allow_paths.is_some()
    }

    /// Whether nothing may be written.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The canonical form of `path` if it may be read, an error of kind [`Kind::Denied`] if not.
    /// A path that does not exist is judged by its nearest existing parent, so a denial reveals nothing.
    pub fn check_read(&self, path: &Path) -> Result<PathBuf> {
        let Some(allowed) = &self.allow_paths else {
            return canonical(path);
        };
        let denied = || {
            Error::new(
                Kind::Denied,
                format!(
                    "reading `{}` is denied: it is outside the allowed paths",
                    path.display()
                ),
            )
            .file(path.display().to_string())
            .hint("start with `--allow-path DIR` to allow another directory")
        };
        let found = canonical(path).map_err(|_| denied())?;
        if allowed.iter().any(|root| found.starts_with(root)) {
            Ok(found)
        } else {
            Err(denied())
        }
    }

    /// As [`Access::check_read`], for writing.
    pub fn check_write(&self, path: &Path) -> Result<PathBuf> {
        if self.read_only {
            return Err(Error::new(
                Kind::Denied,
                format!(
                    "writing `{}` is denied: this session is read-only",
                    path.display()
                ),
            )
            .file(path.display().to_string())
            .hint("start without `--read-only`"));
        }
        if is_own_stream(path) || (self.allow_paths.is_none() && is_descriptor(path)) {
            // What is behind it may have no path of its own, as a pipe.
            return Ok(path.to_path_buf());
        }
        self.check_read(path).map_err(|mut error| {
            error.message = error.message.replacen("reading", "writing", 1);
            error
        })
    }

    /// Whether `url` may be reached. Only scheme and host are repeated in the error.
    pub fn check_network(&self, url: &str) -> Result<()> {
        if self.network {
            return Ok(());
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = rest
            .split('/')
            .next()
            .unwrap_or_default()
            .rsplit('@')
            .next()
            .unwrap_or_default();
        Err(Error::new(
            Kind::Denied,
            format!("reading `{scheme}://{host}` is denied: this session has no network"),
        )
        .hint("start without `--no-network`"))
    }
}

/// Standard output and standard error: whoever started the process chose where they go.
fn is_own_stream(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/stderr"];
    let descriptors = [
        "/dev/fd/1",
        "/dev/fd/2",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
    ];
    names
        .iter()
        .chain(&descriptors)
        .any(|own| path == Path::new(own))
}

/// A file that is open in this process, as the shell's `>(command)`.
fn is_descriptor(path: &Path) -> bool {
    let dirs = ["/dev/fd", "/proc/self/fd"];
    path.parent()
        .is_some_and(|dir| dirs.iter().any(|known| dir == Path::new(known)))
}

/// The canonical path; for one that does not exist, its nearest existing parent's with the rest appended.
fn canonical(path: &Path) -> Result<PathBuf> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match std::fs::canonicalize(existing) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let dangling = existing.symlink_metadata().is_ok();
                match (
                    dangling,
                    existing.components().next_back(),
                    existing.parent(),
                ) {
                    (false, Some(Component::Normal(name)), Some(parent)) => {
                        missing.push(name.to_owned());
                        existing = if parent.as_os_str().is_empty() {
                            Path::new(".")
                        } else {
                            parent
                        };
                    }
                    _ => return Err(Error::io(&path.display().to_string(), error)),
                }
            }
            Err(error) => return Err(Error::io(&path.display().to_string(), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_allowed_paths_pass_and_links_that_escape_do_not() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret.csv"), "a\n1\n").unwrap();
        std::os::unix::fs::symlink(outside.join("secret.csv"), inside.join("link.csv")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", inside.join("dangling.csv")).unwrap();
        let access = Access::everything().with_allow_paths([&inside]).unwrap();

        let denied = |path: PathBuf| access.check_read(&path).unwrap_err().kind;
        assert!(access.check_read(&inside.join("new/file.csv")).is_ok());
        assert_eq!(denied(outside.join("secret.csv")), Kind::Denied);
        assert_eq!(denied(outside.join("missing.csv")), Kind::Denied);
        assert_eq!(denied(inside.join("link.csv")), Kind::Denied);
        assert_eq!(denied(inside.join("dangling.csv")), Kind::Denied);
        assert_eq!(denied(inside.join("../out/secret.csv")), Kind::Denied);
        assert_eq!(
            denied(inside.join("new/../../out/secret.csv")),
            Kind::Denied
        );
        assert_eq!(denied(root.path().join("in2")), Kind::Denied);
    }

    #[test]
    fn streams_of_the_process_may_be_written_to_whatever_is_behind_them() {
        let root = tempfile::tempdir().unwrap();
        let closed = Access::everything()
            .with_allow_paths([root.path()])
            .unwrap();
        for own in ["/dev/stdout", "/dev/fd/2", "/proc/self/fd/1"] {
            assert!(closed.check_write(Path::new(own)).is_ok(), "{own}");
        }
        let other = Path::new("/dev/fd/63");
        assert!(Access::everything().check_write(other).is_ok());
        assert_eq!(closed.check_write(other).unwrap_err().kind, Kind::Denied);
    }

    #[test]
    fn read_only_and_no_network_are_denials() {
        let access = Access::everything().without_writes().without_network();
        assert_eq!(
            access.check_write(Path::new("/tmp/x")).unwrap_err().kind,
            Kind::Denied
        );
        let error = access
            .check_network("https://user:secret@host/x?sig=1")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading `https://host` is denied: this session has no network"
        );
    }
}
