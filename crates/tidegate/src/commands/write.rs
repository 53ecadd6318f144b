//! Statements that write files: COPY, INSERT and CREATE TABLE AS. What is staged is published by
//! the write operator; a name is registered only after that.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use tidegate_catalog::{Existing, Location, Named, ReaderOptions};
use tidegate_operators::write::{Request, Value, WriteSpec};
use tidegate_plan::StageGraph;
use tidegate_plan::sql::{self, Argument, Parsed, Statement};

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::information;
use crate::notice::Notice;
use crate::planner::Planner;
use crate::query::{BatchStream, Query, QueryKind, QueryState, Start};
use crate::running;
use crate::session::Session;
use crate::tables;

/// A name to give to what was written, once it is there.
struct Registration {
    name: sql::Name,
    path: String,
    options: ReaderOptions,
    existing: Existing,
}

/// What a statement writes.
struct Wanted {
    request: Request,
    registration: Option<Registration>,
    /// The statement has nothing to do: IF NOT EXISTS, and it exists.
    skip: bool,
}

/// Plans a statement that writes.
pub(super) async fn plan(session: &Session, planner: &Planner, parsed: Parsed) -> Result<Query> {
    let wanted = wanted(session, planner, &parsed).await?;
    let state = QueryState::new(vec![]);
    if wanted.skip {
        let skipped: Start =
            Box::new(|_| Box::pin(async { Ok(Box::pin(futures::stream::empty()) as BatchStream) }));
        let query = super::simple(
            session,
            QueryKind::Write,
            information::count_schema(),
            skipped,
        );
        return Ok(query);
    }
    let (graph, notices) = compiled(session, planner, &parsed, &wanted.request).await?;
    notices.into_iter().for_each(|notice| state.notice(notice));
    let explain = graph.to_string();
    Ok(Query {
        kind: QueryKind::Write,
        schema: information::count_schema(),
        explain,
        start: start(session, planner, graph, parsed, wanted.registration),
        state,
        timeout: planner.settings.timeout,
        pool: session.pool()?,
    })
}

/// The graph of a statement that writes, for EXPLAIN.
pub(super) async fn graph(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
) -> Result<(StageGraph, Vec<Notice>)> {
    let wanted = wanted(session, planner, parsed).await?;
    compiled(session, planner, parsed, &wanted.request).await
}

async fn compiled(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    request: &Request,
) -> Result<(StageGraph, Vec<Notice>)> {
    let mut request = request.clone();
    request.target = target(session, &request.target)?;
    let mut spec = WriteSpec::new(&request).map_err(|error| convert::from_write(&error))?;
    spec.open_files_max = planner.settings.open_files;
    let (logical, notices) = planner.logical(parsed).await?;
    let logical = tidegate_plan::write(logical, spec)
        .map_err(|error| convert::from_plan(error, Some(parsed), Some(&planner.state)))?;
    Ok((planner.graph(logical, parsed).await?, notices))
}

fn start(
    session: &Session,
    planner: &Planner,
    graph: StageGraph,
    parsed: Parsed,
    registration: Option<Registration>,
) -> Start {
    let session = session.clone();
    let state = planner.state.clone();
    Box::new(move |query: Arc<QueryState>| {
        Box::pin(async move {
            let graph = running::attach(&session, graph, &query)?;
            let running = running::start(&session, &state, &graph, &query)?;
            let written = async move {
                let failed = |error| {
                    let views = tables::views(&session.inner.catalog, &parsed.statement);
                    let error = convert::from_datafusion(error, Some(&parsed), Some(&state));
                    convert::blamed(error, &parsed, views)
                };
                let batches: Vec<_> = running.map_err(failed).try_collect().await?;
                if let Some(registration) = registration {
                    registration.apply(&session)?;
                }
                Ok(futures::stream::iter(batches.into_iter().map(Ok)))
            };
            Ok(Box::pin(futures::stream::once(written).try_flatten()) as BatchStream)
        })
    })
}

impl Registration {
    fn apply(self, session: &Session) -> Result<()> {
        let named = Named::Files {
            path: self.path,
            options: self.options,
        };
        session
            .inner
            .catalog
            .register(&self.name.to_string(), named, self.existing)
            .map_err(convert::from_catalog)
            .map_err(|error| error.at(&self.name.span))
    }
}

async fn wanted(session: &Session, planner: &Planner, parsed: &Parsed) -> Result<Wanted> {
    match &parsed.statement {
        Statement::Copy(copy) => Ok(Wanted {
            request: Request {
                target: copy.target.clone(),
                format: copy.format.clone(),
                mode: copy.mode.clone(),
                partition_by: copy.partition_by.clone(),
                options: options(&copy.options),
            },
            registration: None,
            skip: false,
        }),
        Statement::Insert(insert) => inserted(planner, insert).await,
        Statement::CreateTableAs(create) => created(session, create),
        other => Err(Error::new(
            ErrorKind::Bug,
            "defect",
            format!("{} writes nothing", other.verb()),
        )),
    }
}

/// An INSERT adds files of the table's own format to its directory.
async fn inserted(planner: &Planner, insert: &sql::Insert) -> Result<Wanted> {
    let sql::TableRefKind::Name(name) = &insert.table.kind else {
        return Err(Error::new(
            ErrorKind::Sql,
            "unsupported",
            "INSERT INTO takes the name of a table",
        )
        .with_hint("write to a path with COPY (…) TO 'directory/' (MODE append)")
        .at(&insert.table.span));
    };
    let refused = |what: &str| {
        Error::new(
            ErrorKind::Sql,
            "unsupported",
            format!("cannot insert into `{name}`: {what}"),
        )
        .with_hint("INSERT INTO adds files to a table whose location is a directory")
        .at(&insert.table.span)
    };
    let found = planner
        .catalog
        .look_up(name.table())
        .map_err(convert::from_catalog)?;
    let Named::Files { path, options } = &found.named else {
        return Err(refused("it is not a table over files"));
    };
    let table = planner
        .catalog
        .resolve_path(path, options)
        .await
        .map_err(convert::from_catalog)?;
    let Some(location) = table.location() else {
        return Err(refused("its location is not one directory"));
    };
    Ok(Wanted {
        request: Request {
            target: format!("{}/", location.trim_end_matches('/')),
            format: Some(table.format().name().to_string()),
            mode: Some("append".into()),
            partition_by: table
                .partition_columns()
                .iter()
                .map(|f| f.name().clone())
                .collect(),
            options: vec![],
        },
        registration: None,
        skip: false,
    })
}

/// CREATE TABLE AS writes Parquet: at its location, or in the session's private directory.
fn created(session: &Session, create: &sql::CreateTableAs) -> Result<Wanted> {
    let name = create.name.to_string();
    let exists = session.inner.catalog.look_up(&name).is_ok();
    let existing = super::existing(create.or_replace, create.if_not_exists);
    if exists && existing == Existing::Error {
        return Err(Error::new(
            ErrorKind::Sql,
            "duplicate",
            format!("there is a table or view `{name}` already"),
        )
        .with_hint("use CREATE OR REPLACE TABLE, or DROP it first")
        .at(&create.name.span));
    }
    let path = match &create.location {
        Some(location) => format!("{}/", location.trim_end_matches('/')),
        None => private(session, &name)?,
    };
    let mode = match existing {
        Existing::Replace => "overwrite",
        Existing::Error | Existing::Keep => "error",
    };
    let format = create.format.clone().unwrap_or_else(|| "parquet".into());
    Ok(Wanted {
        request: Request {
            target: path.clone(),
            format: Some(format),
            mode: Some(mode.into()),
            partition_by: create.partition_by.clone(),
            options: options(&create.options),
        },
        registration: Some(Registration {
            name: create.name.clone(),
            path,
            options: ReaderOptions::default(),
            existing: Existing::Replace,
        }),
        skip: exists && existing == Existing::Keep,
    })
}

/// A directory of the session's own for a table; it goes with the session.
fn private(session: &Session, name: &str) -> Result<String> {
    let plain: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let number = session
        .inner
        .tables_made
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = session
        .inner
        .temp
        .path()
        .join("tables")
        .join(format!("{plain}-{number}"));
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(|error| {
        Error::new(
            ErrorKind::Io,
            "io",
            format!("cannot make `{}`: {error}", parent.display()),
        )
    })?;
    Ok(format!("{}/", path.display()))
}

/// The target as an absolute path or URL, if the sandbox allows it.
fn target(session: &Session, text: &str) -> Result<String> {
    let inner = &session.inner;
    let location = Location::parse(text, &inner.place).map_err(convert::from_catalog)?;
    match location {
        Location::Local { path, .. } => {
            let private = Path::new(&path).starts_with(inner.temp.path());
            if !private {
                let access = inner.catalog.access();
                access
                    .check_write(Path::new(&path))
                    .map_err(convert::from_catalog)?;
            }
            let slash = match text.ends_with('/') && !path.ends_with('/') {
                true => "/",
                false => "",
            };
            Ok(format!("{path}{slash}"))
        }
        Location::Remote { .. } => {
            if inner.catalog.access().is_read_only() {
                return Err(Error::new(
                    ErrorKind::Denied,
                    "denied",
                    format!("writing `{text}` is denied: the session is read-only"),
                ));
            }
            inner
                .catalog
                .access()
                .check_network(text)
                .map_err(convert::from_catalog)?;
            Ok(text.to_string())
        }
        Location::Stdin => Err(
            Error::new(ErrorKind::Usage, "invalid", "`-` cannot be written to")
                .with_hint("use '/dev/stdout'"),
        ),
    }
}

fn options(arguments: &[Argument]) -> Vec<(String, Value)> {
    let text = |value: &sql::Value| match value {
        sql::Value::Null => Value::Text("NULL".into()),
        sql::Value::Boolean(yes) => Value::Boolean(*yes),
        sql::Value::Number(number) => Value::Number(number.clone()),
        sql::Value::Text(text) => Value::Text(text.clone()),
        sql::Value::List(list) => Value::List(list.iter().map(ToString::to_string).collect()),
        sql::Value::Map(_) => Value::Text(value.to_string()),
    };
    arguments
        .iter()
        .map(|argument| {
            (
                argument.name.clone().unwrap_or_default(),
                text(&argument.value),
            )
        })
        .collect()
}
