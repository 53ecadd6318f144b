//! Lists what a path names in an object store: one object, everything below a prefix, or what a glob matches.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::file::DataFile;
use crate::footer::first_line;
use crate::near;
use crate::pattern::{self, Part};
use crate::walk::{ICEBERG_LOG, LOGS, table_format};

/// What was found in a store.
#[derive(Debug, Default)]
pub(crate) struct RemoteListing {
    /// Sorted by path.
    pub(crate) files: Vec<DataFile>,
    /// Objects without a byte: left out.
    pub(crate) empty: Vec<String>,
    pub(crate) single: bool,
}

/// What is asked of a store.
pub(crate) struct Asked<'a> {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Scheme and bucket or host.
    pub(crate) base: &'a Url,
    /// The key as the user wrote it.
    pub(crate) key: &'a str,
    pub(crate) files_max: usize,
    pub(crate) table_formats: bool,
}

impl Asked<'_> {
    /// The object of exactly this key first, then everything below it, or what it matches as a glob.
    pub(crate) async fn list(&self) -> Result<RemoteListing> {
        let is_web = self.base.scheme().starts_with("http");
        if !self.key.is_empty() && !self.key.ends_with('/') {
            let location = Path::parse(self.key).map_err(|error| {
                Error::new(
                    Kind::Invalid,
                    format!("`{}` is not a valid key", self.shown(self.key)),
                )
                .caused_by(error)
            })?;
            match self.store.head(&location).await {
                Ok(meta) if meta.size == 0 => {
                    let shown = self.shown(self.key);
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("`{shown}` is empty: it has no bytes"),
                    )
                    .file(shown));
                }
                Ok(meta) => {
                    return Ok(RemoteListing {
                        files: vec![self.file(meta)],
                        single: true,
                        ..RemoteListing::default()
                    });
                }
                Err(_) if is_web && pattern::is_pattern(self.key) => {}
                Err(object_store::Error::NotFound { .. }) if is_web => {
                    return Err(self.missing(None));
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&error).caused_by(error)),
            }
        }
        if is_web {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "`{}` is no file, and a web server cannot be listed",
                    self.shown(self.key)
                ),
            )
            .hint("name one file"));
        }
        self.below().await
    }

    async fn below(&self) -> Result<RemoteListing> {
        let patterns: Vec<Vec<Part>> = match pattern::is_pattern(self.key) {
            true => pattern::parse(self.key)?,
            false => vec![
                self.key
                    .split('/')
                    .filter(|name| !name.is_empty())
                    .map(|name| Part::Name(name.into()))
                    .collect(),
            ],
        };
        let patterns: Vec<Vec<Part>> =
            match pattern::is_pattern(self.key) && !self.key.ends_with('/') {
                true => patterns,
                false => patterns
                    .into_iter()
                    .map(|mut parts| {
                        parts.push(Part::Any);
                        parts
                    })
                    .collect(),
            };
        let prefix = common_prefix(&patterns);
        if !self.table_formats {
            self.refuse_inside(&prefix).await?;
        }
        let prefix_path = Path::from_iter(prefix.iter().copied());
        let mut found = RemoteListing::default();
        let mut tables: BTreeSet<(String, &'static str)> = BTreeSet::new();
        let mut objects = self.store.list(Some(&prefix_path));
        while let Some(meta) = objects
            .try_next()
            .await
            .map_err(|error| self.failed(&error).caused_by(error))?
        {
            let key = meta.location.as_ref().to_owned();
            let names: Vec<&str> = key.split('/').collect();
            tables.extend(table_root(&names));
            if !patterns
                .iter()
                .any(|parts| pattern::matches_path(parts, &names))
            {
                continue;
            }
            if meta.size == 0 {
                found.empty.push(self.shown(&key));
            } else if found.files.len() >= self.files_max {
                return Err(
                    Error::new(Kind::Limit, format!("more than {} files", self.files_max))
                        .hint("narrow the glob, or raise `files_max`"),
                );
            } else {
                found.files.push(self.file(meta));
            }
        }
        found
            .files
            .sort_unstable_by(|a, b| a.meta.location.cmp(&b.meta.location));
        found.empty.sort_unstable();
        let read = |root: &str| {
            found
                .files
                .iter()
                .any(|file| file.meta.location.as_ref().starts_with(root))
        };
        if let Some((root, format)) = tables
            .iter()
            .find(|(root, _)| !self.table_formats && read(root))
        {
            return Err(table_format(self.shown(root).trim_end_matches('/'), format));
        }
        if found.files.is_empty() {
            return Err(self.missing(self.beside(&prefix).await));
        }
        Ok(found)
    }

    /// An error if a directory above `prefix` is one of a table format: the listing sees only what is below.
    async fn refuse_inside(&self, prefix: &[&str]) -> Result<()> {
        let above = (0..prefix.len()).flat_map(|depth| LOGS.map(|log| (depth, log)));
        let looked = above.map(|(depth, log)| async move {
            let names = prefix[..depth].iter().copied().chain([log]);
            let inside = Path::from_iter(names);
            let mut objects = self.store.list(Some(&inside));
            // What may not be listed is not known to be one.
            while let Ok(Some(meta)) = objects.try_next().await {
                let names: Vec<&str> = meta.location.as_ref().split('/').collect();
                if let Some((root, format)) = table_root(&names) {
                    return Some((root, format));
                }
                if log != ICEBERG_LOG {
                    break;
                }
            }
            None
        });
        let found = futures::future::join_all(looked).await;
        match found.into_iter().flatten().next() {
            Some((root, format)) => Err(table_format(
                self.shown(&root).trim_end_matches('/'),
                format,
            )),
            None => Ok(()),
        }
    }

    /// The names in the directory of the missing key, if they can be had.
    async fn beside(&self, prefix: &[&str]) -> Option<Vec<String>> {
        let parent = Path::from_iter(prefix.iter().copied().take(prefix.len().saturating_sub(1)));
        let listed = self.store.list_with_delimiter(Some(&parent)).await.ok()?;
        let objects = listed
            .objects
            .iter()
            .filter_map(|meta| meta.location.filename());
        let prefixes = listed
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename());
        Some(objects.chain(prefixes).map(str::to_owned).collect())
    }

    fn missing(&self, beside: Option<Vec<String>>) -> Error {
        let shown = self.shown(self.key);
        let what = match pattern::is_pattern(self.key) {
            true => format!("no file matches `{shown}`"),
            false => format!("`{shown}` does not exist"),
        };
        let error = Error::new(Kind::NotFound, what).file(shown);
        let wanted = self
            .key
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let names = beside
            .filter(|_| !pattern::is_pattern(self.key))
            .unwrap_or_default();
        match near::did_you_mean(&near::near_names(wanted, names.iter().map(String::as_str))) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        let shown = self.shown(self.key);
        match error {
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Error::new(
                Kind::Io,
                format!("`{shown}` cannot be read: the store denies it"),
            )
            .hint("check the credentials in the environment")
            .file(shown),
            // Listings have no kinds of errors of their own.
            error if is_denied(&first_line(error)) => Error::new(
                Kind::Io,
                format!("`{shown}` cannot be read: the store denies it"),
            )
            .hint("check the credentials in the environment")
            .file(shown),
            _ => Error::new(
                Kind::Io,
                format!(
                    "`{shown}` cannot be read: {}",
                    without_urls(&first_line(error))
                ),
            )
            .file(shown),
        }
    }

    fn file(&self, meta: ObjectMeta) -> DataFile {
        DataFile::remote(self.shown(meta.location.as_ref()), meta)
    }

    /// The address of a key without secrets.
    fn shown(&self, key: &str) -> String {
        let base = crate::path::without_secrets(self.base.as_str());
        format!("{}/{key}", base.trim_end_matches('/'))
    }
}

/// The directory, with its `/`, of a table format's log that this key lies in, and the format.
fn table_root(names: &[&str]) -> Option<(String, &'static str)> {
    let at = |wanted: &str| names.iter().position(|name| *name == wanted);
    let is_iceberg = names.last()?.ends_with(".metadata.json");
    let (at, format) = match (at("_delta_log"), at(".hoodie"), at("metadata")) {
        (Some(at), ..) => (at, "a Delta Lake table"),
        (_, Some(at), _) => (at, "a Hudi table"),
        (_, _, Some(at)) if is_iceberg => (at, "an Iceberg table"),
        _ => return None,
    };
    Some((
        names[..at].iter().map(|name| format!("{name}/")).collect(),
        format,
    ))
}

/// The names that all patterns begin with.
fn common_prefix(patterns: &[Vec<Part>]) -> Vec<&str> {
    let Some((first, others)) = patterns.split_first() else {
        return Vec::new();
    };
    // The last part is a file: never a part of the prefix.
    let names = first[..first.len().saturating_sub(1)]
        .iter()
        .map_while(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            _ => None,
        });
    let same = |(at, name): &(usize, &str)| {
        others
            .iter()
            .all(|parts| parts.get(*at) == Some(&Part::Name((*name).to_owned())))
    };
    names
        .enumerate()
        .take_while(same)
        .map(|(_, name)| name)
        .collect()
}

/// Whether the words of an answer of HTTP say that the credentials do not suffice.
fn is_denied(text: &str) -> bool {
    text.contains("403 Forbidden") || text.contains("401 Unauthorized")
}

/// Leaves addresses out of a message: their queries can be secrets.
fn without_urls(text: &str) -> String {
    let words = text
        .split(' ')
        .map(|word| if word.contains("://") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use object_store::memory::InMemory;

    async fn list(key: &str) -> String {
        let store = Arc::new(InMemory::new());
        for key in [
            "t/1.parquet",
            "t/a/2.parquet",
            "t/_x/3.parquet",
            "t/a=1/4.parquet",
            "u.csv",
            "delta/_delta_log/0.json",
            "delta/1.parquet",
            "delta/y=1/2.parquet",
            "ice/data/1.parquet",
            "ice/metadata/a.avro",
            "ice/metadata/v1.metadata.json",
        ] {
            store.put(&Path::from(key), "x".into()).await.unwrap();
        }
        store
            .put(&Path::from("t/0.parquet"), "".into())
            .await
            .unwrap();
        let base = Url::parse("s3://b/").unwrap();
        let asked = Asked {
            store,
            base: &base,
            key,
            files_max: 100,
            table_formats: false,
        };
        match asked.list().await {
            Ok(found) => found
                .files
                .iter()
                .map(|file| &*file.path)
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("{error} | {}", error.hint.as_deref().unwrap_or_default()),
        }
    }

    #[tokio::test]
    async fn keys_prefixes_and_globs_find_their_objects() {
        let all = "s3://b/t/1.parquet s3://b/t/a/2.parquet s3://b/t/a=1/4.parquet";
        for (key, expect) in [
            ("u.csv", "s3://b/u.csv"),
            ("t", all),
            ("t/", all),
            ("t/**/*.parquet", all),
            ("t/*.parquet", "s3://b/t/1.parquet"),
            ("{u,v}.csv", "s3://b/u.csv"),
            (
                "t/a*/[24].parquet",
                "s3://b/t/a/2.parquet s3://b/t/a=1/4.parquet",
            ),
            (
                "w.csv",
                "`s3://b/w.csv` does not exist | did you mean `u.csv`?",
            ),
            ("t/*.csv", "no file matches `s3://b/t/*.csv` | "),
            (
                "t/0.parquet",
                "`s3://b/t/0.parquet` is empty: it has no bytes | ",
            ),
        ] {
            assert_eq!(list(key).await, expect, "{key}");
        }
        for key in ["delta", "delta/y=1", "delta/y=1/", "delta/*/*.parquet"] {
            assert!(
                list(key)
                    .await
                    .starts_with("`s3://b/delta` is a Delta Lake table"),
                "{key}"
            );
        }
        assert!(
            list("ice/data")
                .await
                .starts_with("`s3://b/ice` is an Iceberg table")
        );
        assert_eq!(list("delta/1.parquet").await, "s3://b/delta/1.parquet");
    }
}
