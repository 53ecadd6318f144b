//! Makes the session of a call: settings, tables and views of the configuration, paths, parameters.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate::{Error, Session};

use crate::call::{Call, Task};
use crate::config::Config;
use crate::console::Console;
use crate::failure::Failure;
use crate::memory;
use crate::report;
use crate::stdin::{self, Use};

/// The sub-commands, for a path that was meant to be one.
const VERBS: &[&str] = &[
    "run",
    "resume",
    "jobs",
    "job",
    "inspect",
    "doctor",
    "demo",
    "config",
    "completions",
    "man",
];

/// Makes the session.
pub(crate) async fn session(
    call: &Call,
    config: &Config,
    console: &Console,
) -> Result<Session, Failure> {
    let used_for = match &call.task {
        Task::Run(run) if !run.reads_stdin => Use::Data,
        Task::Examine(_) => Use::Data,
        _ => Use::Sql,
    };
    let session = Session::builder()
        .settings(config.settings.clone())
        .stdin(stdin::spool(&config.settings, used_for))
        .between_steps(memory::planning_steps())
        .build()?;
    for (name, path) in &config.tables {
        let made = session.register_path(name, path).await;
        made.map_err(|error| configured("table", name, error))?;
    }
    let mut given = BTreeMap::new();
    for path in &call.paths {
        register(&session, path, &mut given, console).await?;
    }
    for (name, query) in &config.views {
        let made = session.register_view(name, query);
        made.map_err(|error| configured("view", name, error))?;
    }
    for (name, value) in &call.params {
        session.set_param(name, value.clone());
    }
    Ok(session)
}

/// Makes the files of a directory tables, or a file a table named by the start of its name. `given` are the names from
/// other paths of this call, and which file has each: the first one keeps it.
async fn register(
    session: &Session,
    path: &Path,
    given: &mut BTreeMap<String, String>,
    console: &Console,
) -> Result<(), Failure> {
    let Some(text) = path.to_str() else {
        let message = format!("the path `{}` is not UTF-8", path.display());
        return Err(Failure::usage("bad_path", message));
    };
    let remote = text.contains("://");
    if path.is_dir() || (remote && text.ends_with('/')) {
        let (names, notices) = session.open_directory(text).await?;
        for notice in &notices {
            report::notice(console, notice);
        }
        given.extend(names.into_iter().map(|name| (name, text.to_owned())));
        return Ok(());
    }
    if !remote && !path.exists() {
        return Err(missing(text));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.split('.').find(|part| !part.is_empty()));
    let name = stem.unwrap_or(text);
    match given.get(name) {
        None => session.register_path(name, text).await?,
        Some(first) if first == text => {}
        Some(_) => report::note(
            console,
            format!(
                "`{text}` has no name of its own: `{name}` is another table; query it as FROM '{text}'"
            ),
        ),
    }
    given
        .entry(name.to_owned())
        .or_insert_with(|| text.to_owned());
    Ok(())
}

fn missing(text: &str) -> Failure {
    let message = format!("there is no file or directory `{text}`");
    let failure = Failure::usage("missing_path", message);
    let near = VERBS
        .iter()
        .find(|verb| strsim::damerau_levenshtein(verb, text) <= 2);
    match near {
        Some(verb) => failure.with_hint(format!("did you mean the sub-command `{verb}`?")),
        None if text.contains(' ') => failure.with_hint("SQL is given with -c"),
        None => failure,
    }
}

fn configured(what: &str, name: &str, error: Error) -> Failure {
    let message = format!("{what} `{name}` of the configuration: {}", error.message);
    Failure::Failed(Error {
        message,
        span: None,
        ..error
    })
}
