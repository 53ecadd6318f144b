//! Statements that write files: COPY, INSERT and CREATE TABLE AS. What is staged is published by
//! the write operator; a name is registered only after that.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Fields, Schema};
use datafusion::logical_expr::LogicalPlan;
use futures::TryStreamExt;
use tidegate_catalog::{Appended, Existing, FilesTable, Format, Location, Named, ReaderOptions};
use tidegate_operators::csv;
use tidegate_operators::write::{
    Compression, CsvOptions, Request, Value, WriteFormat, WriteMode, WriteSpec,
};
use tidegate_plan::StageGraph;
use tidegate_plan::sql::{self, Argument, Parsed, Statement};
use tidegate_runtime::budget;

use crate::convert;
use crate::dataflow::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::information;
use crate::job::Step;
use crate::notice::Notice;
use crate::planner::Planner;
use crate::private;
use crate::query::{BatchStream, Query, QueryKind, QueryState, Start};
use crate::running;
use crate::session::Session;

/// A name to give to what was written, once it is there.
struct Registration {
    name: String,
    span: Option<Range<usize>>,
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
pub(super) async fn plan(
    session: &Session,
    planner: &Planner,
    parsed: Parsed,
    step: Option<Step>,
) -> Result<Query> {
    let wanted = wanted(session, planner, &parsed, step.as_ref()).await?;
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
    if let Some(step) = &step
        && let Some(rows) = written_before(session, step)?
    {
        let query = registered(session, rows, wanted.registration);
        super::on_arrival(session, &query.state, Some(step));
        return Ok(query);
    }
    let graph = match super::stored(session, step.as_ref())? {
        Some(graph) => graph,
        None => {
            check_once(&wanted.request, step.as_ref())?;
            let (graph, notices) =
                compiled(session, planner, &parsed, &wanted.request, step.as_ref()).await?;
            notices.into_iter().for_each(|notice| state.notice(notice));
            graph
        }
    };
    super::on_arrival(session, &state, step.as_ref());
    let writing = Writing {
        target: wanted.request.target,
        registration: wanted.registration,
        step,
    };
    let start = start(session, planner, graph.clone(), Some(parsed), writing);
    written(session, planner, &graph, start, state)
}

/// The query of a dataflow that writes.
pub(super) async fn flow(
    session: &Session,
    planner: &Planner,
    logical: LogicalPlan,
    notices: Vec<Notice>,
    output: &Output,
) -> Result<Query> {
    let request = output.request();
    let spec = spec(session, planner, &request).await?;
    check_append(planner, &spec, &logical).await?;
    let graph = graph_of(planner, logical, spec, None).await?;
    let writing = Writing {
        target: request.target,
        registration: None,
        step: None,
    };
    let start = start(session, planner, graph.clone(), None, writing);
    written(session, planner, &graph, start, QueryState::new(notices))
}

/// What happens beside the writing itself.
struct Writing {
    target: String,
    registration: Option<Registration>,
    step: Option<Step>,
}

fn written(
    session: &Session,
    planner: &Planner,
    graph: &StageGraph,
    start: Start,
    state: Arc<QueryState>,
) -> Result<Query> {
    Ok(Query {
        kind: QueryKind::Write,
        schema: information::count_schema(),
        explain: graph.to_string(),
        start,
        state,
        timeout: planner.settings.timeout,
        pool: session.pool()?,
    })
}

/// The rows that a step has written, if it has.
fn written_before(session: &Session, step: &Step) -> Result<Option<u64>> {
    if let Some(rows) = step.done() {
        return Ok(Some(rows));
    }
    let published = step.published()?;
    if let Some(rows) = published {
        let at_ms = (session.inner.clock)().timestamp_millis();
        step.finish(rows, 0, at_ms)?;
    }
    Ok(published)
}

/// What a write gives that was done before.
fn registered(session: &Session, rows: u64, registration: Option<Registration>) -> Query {
    let session_ = session.clone();
    let start: Start = Box::new(move |_| {
        Box::pin(async move {
            if let Some(registration) = registration {
                registration.apply(&session_)?;
            }
            let batch = information::count(rows)?;
            Ok(Box::pin(futures::stream::iter([Ok(batch)])) as BatchStream)
        })
    });
    super::simple(
        session,
        QueryKind::Write,
        information::count_schema(),
        start,
    )
}

/// Files that are added in an object store cannot be told from those of an earlier try.
fn check_once(request: &Request, step: Option<&Step>) -> Result<()> {
    let appends = request.mode.as_deref() == Some("append");
    let is_remote = request.target.contains("://") && !request.target.starts_with("file://");
    match step.is_some() && appends && is_remote {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Sql,
            "unsupported",
            "a durable job cannot add files to an object store exactly once",
        )
        .with_hint("write to a new directory, or to a local one")),
    }
}

/// The graph of a statement that writes, for EXPLAIN.
pub(super) async fn graph(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
) -> Result<(StageGraph, Vec<Notice>)> {
    let wanted = wanted(session, planner, parsed, None).await?;
    compiled(session, planner, parsed, &wanted.request, None).await
}

async fn compiled(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    request: &Request,
    step: Option<&Step>,
) -> Result<(StageGraph, Vec<Notice>)> {
    let spec = spec(session, planner, request).await?;
    let (logical, notices) = planner.logical(parsed).await?;
    let inputs = super::inputs(step, &logical)?;
    // INSERT writes as its table is read.
    if !matches!(parsed.statement, Statement::Insert(_)) {
        check_append(planner, &spec, &logical).await?;
    }
    let graph = graph_of(planner, logical, spec, Some(parsed)).await?;
    super::keep(step, &graph, inputs)?;
    Ok((graph, notices))
}

async fn spec(session: &Session, planner: &Planner, request: &Request) -> Result<WriteSpec> {
    let mut request = request.clone();
    request.target = target(session, &request.target).await?;
    request.open_files_max = Some(planner.settings.open_files);
    let mut spec = WriteSpec::new(&request).map_err(|error| convert::from_write(&error))?;
    spec.open_files_max = spec.open_files_max.min(open_files()).max(1);
    if private::holds(session, &spec.target) {
        spec.bytes_max = Some(private::bytes_left(session));
    }
    Ok(spec)
}

/// Refuses to add to a directory what would make it no table any more.
async fn check_append(planner: &Planner, spec: &WriteSpec, logical: &LogicalPlan) -> Result<()> {
    if spec.mode != Some(WriteMode::Append) {
        return Ok(());
    }
    let new = appended(spec, logical.schema().as_arrow());
    let checked = planner.catalog.check_append(&spec.target, &new).await;
    checked.map_err(convert::from_catalog)
}

async fn graph_of(
    planner: &Planner,
    logical: LogicalPlan,
    spec: WriteSpec,
    parsed: Option<&Parsed>,
) -> Result<StageGraph> {
    let logical = tidegate_plan::write(logical, spec)
        .map_err(|error| convert::from_plan(error, parsed, Some(&planner.state)))?;
    planner.graph(logical, parsed).await
}

fn appended(spec: &WriteSpec, schema: &Schema) -> Appended {
    let in_files = |field: &&FieldRef| {
        let is_field = |name: &String| name.eq_ignore_ascii_case(field.name());
        spec.partition_columns_in_files || !spec.partition_by.iter().any(is_field)
    };
    let fields: Fields = schema.fields().iter().filter(in_files).cloned().collect();
    Appended {
        suffix: spec.format.suffix(),
        separated: match &spec.format {
            WriteFormat::Csv(csv) => Some((csv.delimiter, csv.header)),
            _ => None,
        },
        partition_by: spec.partition_by.clone(),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn start(
    session: &Session,
    planner: &Planner,
    graph: StageGraph,
    parsed: Option<Parsed>,
    writing: Writing,
) -> Start {
    let session = session.clone();
    let state = planner.state.clone();
    Box::new(move |query: Arc<QueryState>| {
        Box::pin(async move {
            let stages = graph.stages().len();
            let graph = running::attach(&session, graph, &query, writing.step.clone())?;
            let running = running::start(&session, &state, &graph, &query).await?;
            let written = async move {
                let Writing {
                    target,
                    registration,
                    step,
                } = writing;
                let failed = super::failures(&session, parsed, state);
                let is_step = step.is_some();
                let failed = |error| super::of_step(failed(error), is_step);
                let batches: Vec<RecordBatch> = running.map_err(failed).try_collect().await?;
                if let Some(step) = &step {
                    let at_ms = (session.inner.clock)().timestamp_millis();
                    step.finish(information::counted(&batches), stages, at_ms)?;
                }
                if private::holds(&session, &target) {
                    private::count(&session, &target)?;
                }
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
        let catalog = &session.inner.catalog;
        let replaced = catalog.look_up(&self.name).map(|found| found.named);
        let named = Named::Files {
            path: self.path.clone(),
            options: self.options,
        };
        catalog
            .register(&self.name, named, self.existing)
            .map_err(convert::from_catalog)
            .map_err(|error| error.at(&self.span))?;
        match replaced {
            Ok(Named::Files { path, .. }) if path != self.path => private::remove(session, &path),
            _ => {}
        }
        Ok(())
    }
}

async fn wanted(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    step: Option<&Step>,
) -> Result<Wanted> {
    match &parsed.statement {
        Statement::Copy(copy) => Ok(Wanted {
            request: Request {
                target: copy.target.clone(),
                format: copy.format.clone(),
                mode: copy.mode.clone(),
                partition_by: copy.partition_by.clone(),
                options: options(&copy.options),
                ..Request::default()
            },
            registration: None,
            skip: false,
        }),
        Statement::Insert(insert) => inserted(planner, insert).await,
        Statement::CreateTableAs(create) => created(session, create, step),
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
        .resolve_target(path, options)
        .await
        .map_err(convert::from_catalog)?;
    let Some(location) = table.location() else {
        return Err(refused("its location is not one directory"));
    };
    let target = format!("{}/", location.trim_end_matches('/'));
    let registration = table.dialect().filter(|_| options.columns.is_empty());
    let registration = registration.map(|_| Registration {
        name: found.name.clone(),
        span: insert.table.span.clone(),
        path: path.clone(),
        options: keeping_types(options, &table),
        existing: Existing::Replace,
    });
    Ok(Wanted {
        request: Request {
            target,
            format: Some(table.format().name().to_string()),
            like: as_read(&table, options).map_err(|error| {
                Error::new(
                    error.kind,
                    error.code,
                    format!("cannot insert into `{name}`: {error}"),
                )
                .at(&insert.table.span)
            })?,
            mode: Some("append".into()),
            partition_by: table
                .partition_columns()
                .iter()
                .map(|f| f.name().clone())
                .collect(),
            ..Request::default()
        },
        registration,
        skip: false,
    })
}

/// A text that looks like a number must not change the type of its column.
fn keeping_types(options: &ReaderOptions, table: &FilesTable) -> ReaderOptions {
    let mut options = options.clone();
    options.keep_types(table.file_schema());
    options
}

/// The format of new files of a table, such that the table reads them as they were written; none
/// where the name of the format says it all.
fn as_read(table: &FilesTable, options: &ReaderOptions) -> Result<Option<WriteFormat>> {
    let compression = match options.compression {
        None => Compression::None,
        Some(said) => Compression::named(said.name()).map_err(|e| convert::from_write(&e))?,
    };
    let format = table.format();
    if !format.is_separated() {
        let mut named = match (options.compression, format) {
            (Some(_), Format::Json) => WriteFormat::named(format.name()),
            _ => return Ok(None),
        };
        if let Ok(WriteFormat::Json(json)) = &mut named {
            json.compression = compression;
        }
        return named.map(Some).map_err(|error| convert::from_write(&error));
    }
    let dialect = match table.dialect() {
        Some(dialect) => dialect.clone(),
        None => options.dialect(format).map_err(convert::from_catalog)?,
    };
    check_order(table, &dialect)?;
    let csv = CsvOptions::for_table(&dialect).map_err(|error| convert::from_write(&error))?;
    Ok(Some(WriteFormat::Csv(CsvOptions {
        compression,
        suffix: Some(format.name().to_owned()),
        ..csv
    })))
}

/// Files without a header, and those whose names are replaced, are read by the order of their
/// columns: it must be that of the table.
fn check_order(table: &FilesTable, dialect: &csv::Dialect) -> Result<()> {
    let fields = table.file_schema().fields();
    let begins_with = |names: &[String]| {
        names.len() <= fields.len()
            && names
                .iter()
                .zip(fields)
                .all(|(name, field)| name == field.name())
    };
    let by_place = match dialect.header {
        true => begins_with(&dialect.given_names),
        false => dialect.column_names.is_empty() || begins_with(&dialect.column_names),
    };
    if by_place {
        return Ok(());
    }
    let message =
        "its files are read by the order of their columns, which is not that of the table";
    Err(Error::new(ErrorKind::Sql, "unsupported", message))
}

/// Files that a write may have open, as far as the system lets this process.
fn open_files() -> usize {
    usize::try_from(budget::open_files()).unwrap_or(usize::MAX)
}

/// CREATE TABLE AS writes Parquet: at its location, or in the session's private directory.
fn created(session: &Session, create: &sql::CreateTableAs, step: Option<&Step>) -> Result<Wanted> {
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
        None => match step {
            Some(step) => step.table(&private::plain(&name))?,
            None => private::directory(session, &name)?,
        },
    };
    let mode = match (existing, &create.mode) {
        (Existing::Replace, None) => "overwrite",
        (_, Some(said)) => said,
        (Existing::Error | Existing::Keep, None) => "error",
    };
    let format = create.format.clone().unwrap_or_else(|| "parquet".into());
    Ok(Wanted {
        request: Request {
            target: path.clone(),
            format: Some(format),
            mode: Some(mode.into()),
            partition_by: create.partition_by.clone(),
            options: options(&create.options),
            ..Request::default()
        },
        registration: Some(Registration {
            name: create.name.to_string(),
            span: create.name.span.clone(),
            path,
            options: ReaderOptions::default(),
            existing: Existing::Replace,
        }),
        skip: exists && existing == Existing::Keep,
    })
}

/// The target as an absolute path or URL, if the sandbox allows it.
async fn target(session: &Session, text: &str) -> Result<String> {
    let inner = &session.inner;
    let location = Location::parse(text, &inner.place).map_err(convert::from_catalog)?;
    match location {
        Location::Local { path, .. } => {
            if !private::holds(session, &path) {
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
        Location::Remote { store, .. } => {
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
            if store.scheme().starts_with("http") {
                return Err(Error::new(
                    ErrorKind::Sql,
                    "unsupported",
                    "a web address cannot be written to",
                )
                .with_hint("write to a file, or to s3://, gs:// or az://"));
            }
            // The plan finds it by its URL, also when nothing was read from it before.
            let stores = inner.catalog.stores();
            let opened = stores.open(&store, None).await;
            opened.map_err(convert::from_catalog)?;
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
