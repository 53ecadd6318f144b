//! What a user wrote where a table is expected: a file, directory, glob, URL or `-`. Pure text; nothing is looked up here.

use std::path::{Path, PathBuf};

use url::Url;

use crate::error::{Error, Kind, Result};
use crate::near;

/// The schemes of remote paths, as users write them.
const SCHEMES: [&str; 11] = [
    "file", "s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "http", "https",
];

/// Where relative paths and `~` start from. Handed in, never read in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Relative paths start here. Must be absolute.
    pub working_dir: PathBuf,
    /// What `~` stands for; without it `~` is an error.
    pub home: Option<PathBuf>,
}

/// A path as written, understood but not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, directory or glob of this machine.
    Local {
        /// Absolute, with whatever glob characters the user wrote.
        path: String,
        /// How many leading components of `path` the user did not write.
        unwritten: usize,
    },
    /// An object, prefix or glob in an object store or on a web server.
    Remote {
        /// Scheme and bucket or host only.
        store: Url,
        /// Percent-decoded key with whatever glob characters the user wrote; no leading `/`.
        key: String,
        /// The query of an http(s) URL: part of the address, possibly a secret.
        query: Option<String>,
    },
    /// Standard input.
    Stdin,
}

impl Location {
    /// Understands `text`.
    ///
    /// ```
    /// # use tidegate_catalog::{Location, Place};
    /// let place = Place { working_dir: "/work".into(), home: None };
    /// let Location::Local { path, .. } = Location::parse("data/*.csv", &place)? else { unreachable!() };
    /// assert_eq!(path, "/work/data/*.csv");
    /// # Ok::<(), tidegate_catalog::Error>(())
    /// ```
    pub fn parse(text: &str, place: &Place) -> Result<Self> {
        let invalid = |what: &str| Error::new(Kind::Invalid, format!("`{text}` {what}"));
        if text.is_empty() {
            return Err(Error::new(Kind::Invalid, "the path is empty"));
        }
        if text.contains('\0') {
            return Err(invalid("is not a path: it holds a zero byte"));
        }
        if matches!(text, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
            return Ok(Self::Stdin);
        }
        if let Some((scheme, rest)) = scheme_of(text) {
            return match scheme.as_str() {
                "file" => local_url(text, rest),
                _ if SCHEMES.contains(&scheme.as_str()) => remote(text, &scheme),
                _ => {
                    let error = invalid("has a scheme that is not supported")
                        .hint("supported are files, s3, gs, az, abfss, http and https");
                    let near = near::near_names(&scheme, SCHEMES);
                    Err(match near::did_you_mean(&near) {
                        Some(hint) => error.hint(hint),
                        None => error,
                    })
                }
            };
        }
        local(text, place)
    }

    /// Whether a table name is really a path: it has a `/`, a known extension, a glob character or is `-`.
    pub fn looks_like_path(text: &str) -> bool {
        text == "-"
            || text == "."
            || text == ".."
            || text.contains('/')
            || text.starts_with('~')
            || text.contains(['*', '?'])
            || crate::format::by_extension(text).is_some()
    }
}

fn scheme_of(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let plausible = scheme.len() >= 2
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '-');
    plausible.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn local(text: &str, place: &Place) -> Result<Location> {
    let typed = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = place.home.as_ref().ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    format!("`{text}` cannot be resolved: no home directory is set"),
                )
            })?;
            return Ok(Location::Local {
                path: join(home, rest.trim_start_matches('/'))?,
                unwritten: depth(home),
            });
        }
        _ => text,
    };
    if typed.starts_with('/') {
        return Ok(Location::Local {
            path: typed.to_owned(),
            unwritten: 0,
        });
    }
    Ok(Location::Local {
        path: join(&place.working_dir, typed)?,
        unwritten: depth(&place.working_dir),
    })
}

fn join(base: &Path, rest: &str) -> Result<String> {
    let base = base
        .to_str()
        .ok_or_else(|| Error::new(Kind::Invalid, "the working directory is not valid UTF-8"))?;
    Ok(format!("{}/{rest}", base.trim_end_matches('/')))
}

fn depth(path: &Path) -> usize {
    path.components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .count()
}

fn local_url(text: &str, rest: &str) -> Result<Location> {
    let path = match rest.strip_prefix("localhost/") {
        Some(path) => format!("/{path}"),
        None if rest.starts_with('/') => rest.to_owned(),
        None => {
            return Err(
                Error::new(Kind::Invalid, format!("`{text}` names another machine"))
                    .hint("write `file:///path` with three slashes"),
            );
        }
    };
    Ok(Location::Local {
        path: percent_decode(&path, text)?,
        unwritten: 0,
    })
}

fn remote(text: &str, scheme: &str) -> Result<Location> {
    let invalid = || {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not a valid URL", without_secrets(text)),
        )
    };
    let (_, rest) = text.split_once("://").ok_or_else(invalid)?;
    let (authority, tail) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(invalid().hint("the bucket or host is missing"));
    }
    let store = Url::parse(&format!("{scheme}://{authority}/"))
        .map_err(|error| invalid().caused_by(error))?;
    let (key, query) = match tail.split_once('?') {
        Some((key, query)) if scheme.starts_with("http") => (key, Some(query.to_owned())),
        _ => (tail, None),
    };
    // Keys of buckets are written as they are; only a web address is percent-encoded.
    let key = if scheme.starts_with("http") {
        percent_decode(key, &without_secrets(text))?
    } else {
        key.to_owned()
    };
    Ok(Location::Remote { store, key, query })
}

/// The URL without user, password and query.
pub(crate) fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = if scheme.starts_with("http") {
        rest.split(['?', '#']).next().unwrap_or_default()
    } else {
        rest
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // `abfss://container@account/` keeps its container: only a password hides a user.
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || scheme.starts_with("http") => host,
        _ => authority,
    };
    format!("{scheme}://{authority}{path}")
}

pub(crate) fn percent_decode(text: &str, whole: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| {
        Error::new(
            Kind::Invalid,
            format!("`{whole}` is not valid UTF-8 after percent-decoding"),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place() -> Place {
        Place {
            working_dir: "/w/d=1".into(),
            home: Some("/home/u".into()),
        }
    }

    fn check_local(text: &str, path: &str, unwritten: usize) {
        assert_eq!(
            Location::parse(text, &place()).unwrap(),
            Location::Local {
                path: path.into(),
                unwritten
            }
        );
    }

    #[test]
    fn local_paths_become_absolute() {
        check_local("a/*.csv", "/w/d=1/a/*.csv", 2);
        check_local("/a/b", "/a/b", 0);
        check_local("~/x", "/home/u/x", 2);
        check_local("~", "/home/u/", 2);
        check_local("file:///a%20b/c?.csv", "/a b/c?.csv", 0);
        check_local("file://localhost/a", "/a", 0);
        check_local("a~b", "/w/d=1/a~b", 2);
        assert_eq!(Location::parse("-", &place()).unwrap(), Location::Stdin);
    }

    #[test]
    fn urls_are_split_into_store_and_key() {
        let check = |text: &str, store: &str, key: &str, query: Option<&str>| {
            let location = Location::parse(text, &place()).unwrap();
            let expect = Location::Remote {
                store: Url::parse(store).unwrap(),
                key: key.into(),
                query: query.map(str::to_owned),
            };
            assert_eq!(location, expect, "{text}");
        };
        check("s3://b/a/*.parquet", "s3://b/", "a/*.parquet", None);
        check("s3://b/a?b%20c", "s3://b/", "a?b%20c", None);
        check("S3://b", "s3://b/", "", None);
        check(
            "https://h:81/a%20b.csv?sig=x",
            "https://h:81/",
            "a b.csv",
            Some("sig=x"),
        );
        check(
            "abfss://c@acc.dfs.core.windows.net/x",
            "abfss://c@acc.dfs.core.windows.net/",
            "x",
            None,
        );
    }

    #[test]
    fn what_is_not_a_path_is_said_so() {
        let message = |text: &str| {
            let error = Location::parse(text, &place()).unwrap_err();
            format!("{error} | {}", error.hint.as_deref().unwrap_or_default())
        };
        assert_eq!(message(""), "the path is empty | ");
        assert_eq!(
            message("a\0b"),
            "`a\\u{0}b` is not a path: it holds a zero byte | "
        );
        assert_eq!(
            message("htps://x/y"),
            "`htps://x/y` has a scheme that is not supported | did you mean `https` or `http`?"
        );
        assert_eq!(
            message("file://host/y"),
            "`file://host/y` names another machine | write `file:///path` with three slashes"
        );
        assert_eq!(
            message("s3:///y"),
            "`s3:///y` is not a valid URL | the bucket or host is missing"
        );
    }

    #[test]
    fn secrets_of_urls_are_left_out() {
        assert_eq!(without_secrets("https://u:p@h/a?sig=1"), "https://h/a");
        assert_eq!(without_secrets("abfss://c@acc/x"), "abfss://c@acc/x");
        assert_eq!(without_secrets("s3://k:s@b/x"), "s3://b/x");
    }
}
