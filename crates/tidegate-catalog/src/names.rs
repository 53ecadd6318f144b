//! Tables and views by name. A name is looked up exactly first, then without regard to case; two candidates are an
//! error that lists them. A registered path is listed anew whenever it is resolved, so a long session sees new files.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::catalog::Catalog;
use crate::error::{Error, Kind, Result};
use crate::format;
use crate::near;
use crate::options::ReaderOptions;
use crate::path::Location;
use crate::table::FilesTable;
use crate::walk;

/// What a name stands for.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few names, and nearly all of them are files"
)]
pub enum Named {
    /// A path and how it is read: an external table, or a file of a registered directory.
    Files {
        /// As [`Catalog::resolve_path`] takes it.
        path: String,
        /// How it is read.
        options: ReaderOptions,
    },
    /// A query under a name.
    View {
        /// The text of the query.
        sql: String,
    },
    /// A table a program registered.
    Provider(Arc<dyn TableProvider>),
}

/// A name that was found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The name as it was registered.
    pub name: String,
    /// What it stands for.
    pub named: Named,
}

/// The names of a session.
pub(crate) type Names = BTreeMap<String, Named>;

/// What registering a directory gave.
#[derive(Debug, Default)]
pub struct Registered {
    /// The new names, sorted.
    pub names: Vec<String>,
    /// What was left out, and why.
    pub notices: Vec<String>,
}

impl Catalog {
    /// Gives `named` a name. An existing one is replaced only if that is wanted.
    pub fn register(&self, name: &str, named: Named, existing: Existing) -> Result<()> {
        let mut names = self.names().write();
        match existing {
            Existing::Error if names.contains_key(name) => Err(Error::new(
                Kind::Exists,
                format!("there is a table or view `{name}` already"),
            )
            .hint("use CREATE OR REPLACE, or DROP it first")),
            Existing::Keep if names.contains_key(name) => Ok(()),
            _ => {
                names.insert(name.to_owned(), named);
                Ok(())
            }
        }
    }

    /// Forgets a name and gives what it stood for.
    pub fn deregister(&self, name: &str) -> Result<Resolved> {
        let found = self.look_up(name)?;
        self.names().write().remove(&found.name);
        Ok(found)
    }

    /// What a name stands for: exactly, else without regard to case. If nothing has the name but a file or
    /// directory beside us does, the error says how to read that.
    pub fn look_up(&self, name: &str) -> Result<Resolved> {
        let found = find(&self.names().read(), name);
        match found {
            Err(error) if error.kind == Kind::NotFound && error.hint.is_none() => {
                Err(match self.path_named(name) {
                    Some(path) => {
                        error.hint(format!("a path is written in single quotes: FROM '{path}'"))
                    }
                    None => error,
                })
            }
            other => other,
        }
    }

    /// A data file or directory of the working directory with this name, or this stem.
    fn path_named(&self, name: &str) -> Option<String> {
        let dir = self.local_directory(".").ok()?;
        let entries = walk::names(&dir).ok()?;
        let is_it = |entry: &&String| {
            let is_data = format::by_extension(entry).is_some() || dir.join(entry).is_dir();
            is_data && (*entry == name || format::stem(entry) == name)
        };
        entries.iter().find(is_it).cloned()
    }

    /// All names, sorted.
    pub fn table_names(&self) -> Vec<String> {
        self.names().read().keys().cloned().collect()
    }

    /// The table of a name that stands for a path; nothing if it stands for something else.
    pub async fn resolve_files(&self, found: &Resolved) -> Result<Option<Arc<FilesTable>>> {
        match &found.named {
            Named::Files { path, options } => self.resolve_path(path, options).await.map(Some),
            Named::View { .. } | Named::Provider(_) => Ok(None),
        }
    }

    /// Makes every data file and sub-directory of `dir` a table, named by its stem. Only the directory itself is
    /// read now; a table's files are opened when it is first used.
    pub fn register_directory(&self, dir: &str) -> Result<Registered> {
        let path = self.local_directory(dir)?;
        walk::refuse_inside(&path, self.access())?;
        let entries = walk::names(&path).map_err(|error| Error::io(dir, error))?;
        let mut registered = Registered::default();
        for entry in entries {
            let whole = path.join(&entry);
            let is_dir = whole.is_dir();
            if !is_dir && (format::is_not_data(&entry) || format::by_extension(&entry).is_none()) {
                continue;
            }
            let shown = whole.display().to_string();
            let name = table_name(if is_dir { &entry } else { format::stem(&entry) });
            let named = Named::Files {
                path: shown.clone(),
                options: ReaderOptions::default(),
            };
            match self.register(&name, named, Existing::Error) {
                Ok(()) => registered.names.push(name),
                Err(_) => registered.notices.push(format!(
                    "`{shown}` has no name of its own: `{name}` is another table; query it as FROM '{shown}'"
                )),
            }
        }
        registered.names.sort_unstable();
        Ok(registered)
    }
}

/// What to do when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An error.
    Error,
    /// Leave it as it is: IF NOT EXISTS.
    Keep,
    /// Put the new one in its place: OR REPLACE.
    Replace,
}

fn find(names: &Names, name: &str) -> Result<Resolved> {
    if let Some(named) = names.get(name) {
        return Ok(Resolved {
            name: name.to_owned(),
            named: named.clone(),
        });
    }
    let low = name.to_lowercase();
    let same: Vec<&String> = names
        .keys()
        .filter(|known| known.to_lowercase() == low)
        .collect();
    match same.as_slice() {
        [only] => Ok(Resolved {
            name: (*only).clone(),
            named: names[*only].clone(),
        }),
        [] => {
            let error = Error::new(
                Kind::NotFound,
                format!("there is no table or view `{name}`"),
            );
            let near = near::near_names(name, names.keys().map(String::as_str));
            Err(match near::did_you_mean(&near) {
                Some(hint) => error.hint(hint),
                None if Location::looks_like_path(name) => {
                    error.hint(format!("a path stands in single quotes: '{name}'"))
                }
                None => error,
            })
        }
        many => {
            let listed: Vec<String> = many.iter().map(|known| format!("\"{known}\"")).collect();
            Err(Error::new(
                Kind::Ambiguous,
                format!(
                    "`{name}` is the name of {} tables: {}",
                    many.len(),
                    listed.join(", ")
                ),
            )
            .hint("write the name in double quotes exactly as it is"))
        }
    }
}

/// A name that needs no quotes: letters, digits and `_`, not beginning with a digit.
fn table_name(stem: &str) -> String {
    let mut name: String = stem
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(list: &[&str]) -> Names {
        list.iter()
            .map(|name| {
                (
                    (*name).to_owned(),
                    Named::View {
                        sql: (*name).to_owned(),
                    },
                )
            })
            .collect()
    }

    #[test]
    fn names_are_found_exactly_then_without_case() {
        let known = names(&["Trips", "zones", "ZONES"]);
        assert_eq!(find(&known, "trips").unwrap().name, "Trips");
        assert_eq!(find(&known, "ZONES").unwrap().name, "ZONES");
        let error = find(&known, "Zones").unwrap_err();
        assert_eq!(
            (error.kind, error.to_string()),
            (
                Kind::Ambiguous,
                "`Zones` is the name of 2 tables: \"ZONES\", \"zones\"".into()
            )
        );
        let error = find(&known, "trisp").unwrap_err();
        assert_eq!(
            (error.kind, error.hint.as_deref()),
            (Kind::NotFound, Some("did you mean `Trips`?"))
        );
    }

    #[test]
    fn names_from_files_need_no_quotes() {
        for (stem, expect) in [
            ("a-b c", "a_b_c"),
            ("2026", "_2026"),
            ("äb", "äb"),
            ("x.y", "x_y"),
        ] {
            assert_eq!(table_name(stem), expect);
        }
    }
}
