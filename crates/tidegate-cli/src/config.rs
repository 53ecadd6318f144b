//! Settings from everywhere: flag, then `TIDEGATE_*`, then `./tidegate.toml`, then the user's own
//! `config.toml`, then the default. Each value remembers where it came from.

use std::ops::Range;
use std::path::{Path, PathBuf};

use tidegate::{Error, ErrorKind, Origin, Settings};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::report::Source;

/// The file of a project, in the current directory.
const PROJECT_FILE: &str = "tidegate.toml";
/// The prefix of environment variables that are settings.
const ENVIRONMENT_PREFIX: &str = "TIDEGATE_";
/// Settings that forbid: a project's file may add to what the user forbids and never take away.
const SANDBOX: &[&str] = &["read_only", "no_network", "allow_path"];
/// The longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Settings, and the tables and views of the configuration files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// The settings, with origins.
    pub(crate) settings: Settings,
    /// Names and paths of `[tables]`.
    pub(crate) tables: Vec<(String, String)>,
    /// Names and queries of `[views]`.
    pub(crate) views: Vec<(String, String)>,
    /// What the user should know: variables that look like settings and are none.
    pub(crate) warnings: Vec<String>,
}

/// A failure, and the text of the file it points into.
#[derive(Debug)]
pub(crate) struct Located {
    /// What is wrong.
    pub(crate) failure: Failure,
    /// Where.
    pub(crate) source: Option<Source>,
}

impl From<Failure> for Box<Located> {
    fn from(failure: Failure) -> Self {
        Box::new(Located {
            failure,
            source: None,
        })
    }
}

/// Whether configuration files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Those that exist.
    Read,
    /// None, as `--no-rc` wants it.
    Ignore,
}

/// Gathers the settings, weakest first.
pub(crate) fn resolve(
    files: Files,
    flags: &[(&'static str, String)],
) -> Result<Config, Box<Located>> {
    let mut config = Config::default();
    if files == Files::Read {
        if let Some(path) = user_file() {
            config.read_file(&path, Trust::User)?;
        }
        config.read_file(Path::new(PROJECT_FILE), Trust::Project)?;
    }
    config.read_environment()?;
    for (name, value) in flags {
        let set = config.settings.set(name, value, Origin::Flag);
        set.map_err(Failure::Usage)?;
    }
    Ok(config)
}

/// `$XDG_CONFIG_HOME/tidegate/config.toml`, or the same below `~/.config`.
fn user_file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("tidegate").join("config.toml"))
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The user.
    User,
    /// Whoever made the directory the user is in.
    Project,
}

/// What is wrong at a place of a file.
fn wrong(span: Range<usize>, code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Usage, code, message).with_span(span)
}

impl Config {
    fn read_file(&mut self, path: &Path, trust: Trust) -> Result<(), Box<Located>> {
        let Some(text) = text_of(path)? else {
            return Ok(());
        };
        self.read_text(path, &text, trust).map_err(|error| {
            let source = Source {
                name: path.display().to_string(),
                text,
            };
            Box::new(Located {
                failure: Failure::Usage(error),
                source: Some(source),
            })
        })
    }

    fn read_text(&mut self, path: &Path, text: &str, trust: Trust) -> Result<(), Error> {
        let table = DeTable::parse(text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let message = format!("`{}` is not TOML: {message}", path.display());
            wrong(error.span().unwrap_or(0..0), "bad_config", message)
        })?;
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("tables", DeValue::Table(tables)) => read_pairs(tables, &mut self.tables)?,
                ("views", DeValue::Table(views)) => read_pairs(views, &mut self.views)?,
                (group, DeValue::Table(inner)) => {
                    for (key, value) in inner {
                        let name = format!("{group}.{}", key.get_ref());
                        self.read_setting(&name, key.span(), value, path, trust)?;
                    }
                }
                (name, _) => self.read_setting(name, key.span(), value, path, trust)?,
            }
        }
        Ok(())
    }

    fn read_setting(
        &mut self,
        name: &str,
        span: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        path: &Path,
        trust: Trust,
    ) -> Result<(), Error> {
        let at_key = |error: Error| error.with_span(span.clone());
        let def = Settings::definition(name).map_err(at_key)?;
        let text = setting_text(value)?;
        if trust == Trust::Project && SANDBOX.contains(&def.name) {
            let now = self.settings.get(def.name).map_err(at_key)?;
            if loosens(def.name, &now, &text) {
                let message = format!(
                    "`{}` may not loosen `{}`, which is `{now}`",
                    path.display(),
                    def.name
                );
                return Err(wrong(value.span(), "loosened_sandbox", message));
            }
        }
        let set = self
            .settings
            .set(def.name, &text, Origin::File(path.into()));
        set.map_err(|error| error.with_span(value.span()))
    }

    fn read_environment(&mut self) -> Result<(), Failure> {
        let mut variables: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| name.starts_with(ENVIRONMENT_PREFIX) && !value.is_empty())
            .collect();
        variables.sort();
        for (variable, value) in variables {
            let name = variable[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase();
            let known = |def: &&tidegate::SettingDef| def.name.replace('.', "_") == name;
            let Some(def) = Settings::definitions().iter().find(known) else {
                let near = Settings::definition(&name).err().and_then(|e| e.hint);
                let near = near.map(|hint| format!(": {hint}")).unwrap_or_default();
                let warning = format!("`{variable}` is not the name of a setting{near}");
                self.warnings.push(warning);
                continue;
            };
            let Ok(value) = value.into_string() else {
                let message = format!("the value of `{variable}` is not UTF-8");
                return Err(Failure::usage("bad_setting", message));
            };
            let origin = Origin::Environment(variable.clone());
            self.settings.set(def.name, &value, origin).map_err(|e| {
                let message = format!("{} (from `{variable}`)", e.message);
                Failure::Usage(Error { message, ..e })
            })?;
        }
        Ok(())
    }
}

/// The text of a file; nothing if there is none.
fn text_of(path: &Path) -> Result<Option<String>, Failure> {
    let named = |error| Failure::io(&format!("cannot read `{}`", path.display()), error);
    let too_long = || {
        let message = format!("`{}` is longer than 1 MiB", path.display());
        Failure::usage("bad_config", message)
    };
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let size = match std::fs::metadata(path) {
        Ok(data) if data.is_file() => data.len(),
        Ok(_) => return Ok(None),
        // A home that cannot be looked into is as good as none.
        Err(e) if matches!(e.kind(), NotFound | NotADirectory | PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(named(error)),
    };
    if size > FILE_BYTES_MAX {
        return Err(too_long());
    }
    std::fs::read_to_string(path).map(Some).map_err(named)
}

fn read_pairs(table: &DeTable<'_>, into: &mut Vec<(String, String)>) -> Result<(), Error> {
    for (key, value) in table {
        let Some(text) = value.get_ref().as_str() else {
            let message = format!("`{}` is not a text", key.get_ref());
            return Err(wrong(value.span(), "bad_config", message));
        };
        let name = key.get_ref().to_string();
        into.retain(|(known, _)| *known != name);
        into.push((name, text.to_string()));
    }
    Ok(())
}

/// The value of a setting as the text that `SET` takes.
fn setting_text(value: &Spanned<DeValue<'_>>) -> Result<String, Error> {
    Ok(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_string(),
        DeValue::Float(number) => number.as_str().to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Array(items) => {
            let items: Result<Vec<String>, Error> = items.iter().map(setting_text).collect();
            items?.join(":")
        }
        _ => {
            let message = "a setting is a text, a number, true, false or a list".into();
            return Err(wrong(value.span(), "bad_config", message));
        }
    })
}

/// Whether a value of a sandbox setting allows what the one before it does not.
fn loosens(name: &str, now: &str, wanted: &str) -> bool {
    let on = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "true" | "on" | "always");
    if name != "allow_path" {
        return on(now) && !on(wanted);
    }
    let parts = |text: &str| -> Vec<PathBuf> {
        let parts = text.split(':').filter(|part| !part.is_empty());
        parts.map(real).collect()
    };
    let allowed = parts(now);
    let wanted = parts(wanted);
    let inside = |path: &PathBuf| allowed.iter().any(|root| path.starts_with(root));
    !allowed.is_empty() && (wanted.is_empty() || !wanted.iter().all(inside))
}

/// The path without links and dots, or one that is inside of nothing.
fn real(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(format!("missing:{path}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Config, (String, Range<usize>)> {
        let mut config = Config::default();
        match config.read_text(Path::new("t.toml"), text, Trust::Project) {
            Ok(()) => Ok(config),
            Err(error) => Err((error.message, error.span.unwrap())),
        }
    }

    #[test]
    fn settings_tables_and_views_are_read() {
        let config =
            read("threads = 2\ntimeout = '2s'\n[tables]\na = 'x/'\n[views]\nb = 'q'").unwrap();
        assert_eq!(config.settings.get("threads").unwrap(), "2");
        assert_eq!(config.settings.get("timeout").unwrap(), "2s");
        assert_eq!(
            config.settings.origin("threads").unwrap(),
            Origin::File("t.toml".into())
        );
        assert_eq!(config.tables, [("a".to_string(), "x/".to_string())]);
        assert_eq!(config.views, [("b".to_string(), "q".to_string())]);
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let place = |text: &str| read(text).unwrap_err().1;
        assert_eq!(place("threds = 2"), 0..6);
        assert_eq!(place("threads = 'x'"), 10..13);
        assert_eq!(place("a.b.c = 1"), 2..3);
        assert!(read("threads = ").unwrap_err().0.contains("is not TOML"));
        assert!(
            read("[tables]\na = 1")
                .unwrap_err()
                .0
                .contains("not a text")
        );
    }

    #[test]
    fn a_project_may_forbid_more_and_never_less() {
        let root = std::env::temp_dir().canonicalize().unwrap();
        let root = root.to_str().unwrap();
        assert!(loosens("read_only", "true", "false"));
        assert!(!loosens("read_only", "false", "true"));
        assert!(!loosens("allow_path", "", root));
        assert!(!loosens("allow_path", root, root));
        assert!(loosens("allow_path", root, "/"));
        assert!(loosens("allow_path", root, ""));
    }
}
