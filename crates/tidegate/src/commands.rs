//! What each statement becomes: a query that runs a graph, or an effect on the session.

mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::{Existing, Named};
use tidegate_plan::sql::{self, Parsed, Show, Statement};
use tidegate_plan::{ExplainFormat, StageGraph, explain, explain_analyze, explain_choices};

use crate::convert;
use crate::dataflow::{self, Dataflow};
use crate::error::{Error, ErrorKind, Result};
use crate::information;
use crate::job::{self, Inputs, Step};
use crate::notice::Notice;
use crate::planner::{self, Planner};
use crate::private;
use crate::query::{BatchStream, Query, QueryKind, QueryState, Start};
use crate::running;
use crate::session::Session;
use crate::tables;

/// Plans a statement; of a job, if it is a step of one.
pub(crate) async fn plan(session: &Session, parsed: Parsed, step: Option<Step>) -> Result<Query> {
    let place = parsed.clone();
    let planned = planned(session, parsed, step).await;
    planned.map_err(|error| {
        let views = tables::views(&session.inner.catalog, &place.statement);
        convert::placed(convert::blamed(error, &place, views), &place)
    })
}

async fn planned(session: &Session, parsed: Parsed, step: Option<Step>) -> Result<Query> {
    let durable = match &parsed.statement {
        Statement::Explain(explain) => explain.durable,
        _ => step.is_some(),
    };
    let planner = session.planner(durable)?;
    match parsed.statement.clone() {
        Statement::Query(_) | Statement::Describe(_) | Statement::Summarize(_) => {
            rows(session, &planner, &parsed, step).await
        }
        Statement::Show(Show::Columns(_)) => rows(session, &planner, &parsed, None).await,
        Statement::Explain(explain) => self::explained(session, &planner, &parsed, &explain).await,
        Statement::Copy(_) | Statement::Insert(_) | Statement::CreateTableAs(_) => {
            write::plan(session, &planner, parsed, step).await
        }
        Statement::Show(show) => Ok(batch(session, shown(&planner, &show)?)),
        Statement::CreateView(view) => create_view(session, &planner, &parsed, view).await,
        Statement::CreateExternalTable(table) => create_external(session, &planner, table).await,
        Statement::Drop(drop) => Ok(effect(session, move |session| dropped(session, &drop))),
        Statement::Set(set) => Ok(effect(session, move |session| {
            let changed = session.set(&set.name, &set.value.to_string());
            changed.map_err(|error| Error {
                span: error.span.or(set.span),
                ..error
            })
        })),
        Statement::Reset(name) => Ok(effect(session, move |session| reset(session, name))),
    }
}

async fn rows(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    step: Option<Step>,
) -> Result<Query> {
    if let Some(graph) = stored(session, step.as_ref())? {
        return rows_of(session, planner, graph, Vec::new(), Some(parsed), step);
    }
    let (logical, notices) = planner.logical(parsed).await?;
    let inputs = inputs(step.as_ref(), &logical)?;
    let graph = planner.graph(logical, Some(parsed)).await?;
    keep(step.as_ref(), &graph, inputs)?;
    rows_of(session, planner, graph, notices, Some(parsed), step)
}

/// The query of a dataflow.
pub(crate) async fn flow(session: &Session, flow: &Dataflow) -> Result<Query> {
    let planner = session.planner(false)?;
    let registry = session.inner.registry.read().clone();
    let (logical, notices) = dataflow::built(&flow.step, &planner, &registry).await?;
    match &flow.output {
        Some(output) => write::flow(session, &planner, logical, notices, output).await,
        None => {
            let graph = planner.graph(logical, None).await?;
            rows_of(session, &planner, graph, notices, None, None)
        }
    }
}

fn rows_of(
    session: &Session,
    planner: &Planner,
    graph: StageGraph,
    notices: Vec<Notice>,
    parsed: Option<&Parsed>,
    step: Option<Step>,
) -> Result<Query> {
    let state = QueryState::new(notices);
    on_arrival(session, &state, step.as_ref());
    Ok(Query {
        kind: QueryKind::Rows,
        schema: graph.schema(),
        explain: graph.to_string(),
        start: run(session, planner, graph, parsed.cloned(), step),
        state,
        timeout: planner.settings.timeout,
        pool: session.pool()?,
    })
}

/// A job of one statement ends when its rows have arrived.
fn on_arrival(session: &Session, state: &QueryState, step: Option<&Step>) {
    if let Some(step) = step.cloned() {
        let session = session.clone();
        state.on_arrival(Box::new(move || {
            step.end((session.inner.clock)().timestamp_millis())
        }));
    }
}

/// The graph of a step that was planned before.
fn stored(session: &Session, step: Option<&Step>) -> Result<Option<StageGraph>> {
    let Some(step) = step else {
        return Ok(None);
    };
    let registry = session.inner.registry.read().clone();
    step.graph(&registry)
}

/// The inputs of a step, which are what they were to the steps before it.
fn inputs(step: Option<&Step>, plan: &LogicalPlan) -> Result<Inputs> {
    step.map_or_else(|| Ok(Inputs::default()), |step| step.inputs(plan))
}

fn keep(step: Option<&Step>, graph: &StageGraph, inputs: Inputs) -> Result<()> {
    step.map_or(Ok(()), |step| step.keep(graph, inputs))
}

/// An error of a step: running it again does not help where an input has changed.
fn of_step(error: Error, is_step: bool) -> Error {
    match is_step && error.kind == ErrorKind::InputChanged {
        true => error.with_hint(job::ANEW),
        false => error,
    }
}

/// Starts a graph: readers are attached, the plan runs on the session's threads.
fn run(
    session: &Session,
    planner: &Planner,
    graph: StageGraph,
    parsed: Option<Parsed>,
    step: Option<Step>,
) -> Start {
    let session = session.clone();
    let state = planner.state.clone();
    Box::new(move |query: Arc<QueryState>| {
        Box::pin(async move {
            let graph = running::attach(&session, graph, &query, step.clone())?;
            let batches = running::start(&session, &state, &graph, &query).await?;
            let failed = failures(&session, parsed, state);
            let is_step = step.is_some();
            let failed = move |error| of_step(failed(error), is_step);
            let batches = batches.map(move |batch| batch.map_err(&failed));
            Ok(match step {
                Some(step) => finishing(session, batches, step),
                None => Box::pin(batches) as BatchStream,
            })
        })
    })
}

/// Notes that a step is done when its last row was given out.
fn finishing(
    session: Session,
    batches: impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static,
    step: Step,
) -> BatchStream {
    let counted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counted);
    let batches = batches.inspect_ok(move |batch| {
        count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    });
    let failed = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failed);
    let batches = batches.inspect_err(move |_| fails.store(true, Ordering::Relaxed));
    let end = async move {
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let at_ms = (session.inner.clock)().timestamp_millis();
        // The result stays: it is given out again when the job is run again.
        let done = step.finish(counted.load(Ordering::Relaxed), 0, at_ms);
        done.err().map(Err)
    };
    let end = futures::stream::once(end).filter_map(std::future::ready);
    Box::pin(batches.chain(end))
}

/// What an error of a running statement is for its user; a dataflow has no text that it could speak of.
fn failures(
    session: &Session,
    parsed: Option<Parsed>,
    state: SessionState,
) -> impl Fn(DataFusionError) -> Error + Send + 'static {
    let parsed = parsed.map(|parsed| {
        let views = tables::views(&session.inner.catalog, &parsed.statement);
        (parsed, views)
    });
    move |error| match &parsed {
        Some((parsed, views)) => {
            let error = convert::from_datafusion(error, Some(parsed), Some(&state));
            convert::blamed(error, parsed, *views)
        }
        None => convert::from_datafusion(error, None, Some(&state)),
    }
}

async fn explained(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    wanted: &sql::Explain,
) -> Result<Query> {
    if wanted.durable && wanted.analyze {
        let message = "EXPLAIN ANALYZE runs a query as it is, and not as a durable job";
        return Err(Error::new(ErrorKind::Sql, "unsupported", message)
            .with_hint("leave out ANALYZE, or DURABLE"));
    }
    let format = match &wanted.format {
        Some(name) => name
            .parse::<ExplainFormat>()
            .map_err(|error| convert::from_plan(error, None, None))?,
        None => ExplainFormat::default(),
    };
    let mut inner = parsed.clone();
    inner.statement = wanted.statement.as_ref().clone();
    let (graph, notices) = match planner::kind(&inner.statement) {
        QueryKind::Write => write::graph(session, planner, &inner).await?,
        QueryKind::Rows => {
            let (logical, notices) = planner.logical(&inner).await?;
            (planner.graph(logical, Some(&inner)).await?, notices)
        }
        QueryKind::Command => {
            return Err(Error::new(
                ErrorKind::Sql,
                "unsupported",
                format!("{} has no plan to explain", inner.statement.verb()),
            ));
        }
    };
    let verbose = wanted.verbose;
    let mut text = explain(&graph, verbose, format);
    if let Some(checkpoint) = &planner.plan_settings.checkpoint
        && format == ExplainFormat::Text
    {
        text = format!("{text}\n{}", explain_choices(graph.choices(), checkpoint));
    }
    if !wanted.analyze {
        return Ok(batch(session, information::lines("plan", text.lines())?));
    }
    let (session_, state_) = (session.clone(), planner.state.clone());
    let start: Start = Box::new(move |query: Arc<QueryState>| {
        Box::pin(async move {
            let graph = running::attach(&session_, graph, &query, None)?;
            let mut batches = running::start(&session_, &state_, &graph, &query).await?;
            while let Some(batch) = batches.next().await {
                batch.map_err(|error| {
                    let views = tables::views(&session_.inner.catalog, &inner.statement);
                    let error = convert::from_datafusion(error, Some(&inner), Some(&state_));
                    convert::blamed(error, &inner, views)
                })?;
            }
            let tasks = query.tasks();
            let measured = tasks.as_ref().map(|tasks| &tasks.measured);
            let text = explain_analyze(&graph.graph, measured, verbose, format);
            let batch = information::lines("plan", text.lines())?;
            Ok(Box::pin(futures::stream::iter([Ok(batch)])) as BatchStream)
        })
    });
    Ok(Query {
        kind: QueryKind::Rows,
        schema: information::lines("plan", std::iter::empty())?.schema(),
        explain: text,
        start,
        state: QueryState::new(notices),
        timeout: planner.settings.timeout,
        pool: session.pool()?,
    })
}

fn shown(planner: &Planner, show: &Show) -> Result<RecordBatch> {
    match show {
        Show::All => information::settings(&planner.settings.rows()),
        Show::Setting(name) => {
            let wanted = name.to_string();
            let def = crate::Settings::definition(&wanted).map_err(|error| Error {
                span: error.span.or(name.span.clone()),
                ..error
            })?;
            let rows: Vec<_> = planner.settings.rows();
            let row: Vec<_> = rows
                .into_iter()
                .filter(|row| row.name == def.name)
                .collect();
            information::settings(&row)
        }
        Show::Tables => information::tables(planner),
        Show::Functions => {
            let mut names: Vec<String> = planner.state.scalar_functions().keys().cloned().collect();
            names.extend(planner.state.aggregate_functions().keys().cloned());
            names.extend(planner.state.window_functions().keys().cloned());
            names.retain(|name| !tidegate_plan::is_internal(name));
            names.sort();
            names.dedup();
            information::lines("function_name", names.iter().map(String::as_str))
        }
        Show::Columns(_) => Err(Error::new(
            ErrorKind::Bug,
            "defect",
            "SHOW COLUMNS was not planned",
        )),
    }
}

async fn create_view(
    session: &Session,
    planner: &Planner,
    parsed: &Parsed,
    view: sql::CreateView,
) -> Result<Query> {
    // Planned once now, so that a view that cannot work is refused where it is written.
    planner.logical(parsed).await?;
    let existing = existing(view.or_replace, view.if_not_exists);
    let text = match view.columns.as_slice() {
        [] => view.text,
        columns => renamed(&view.text, columns),
    };
    Ok(effect(session, move |session| {
        let named = Named::View { sql: text };
        let catalog = &session.inner.catalog;
        catalog
            .register(&view.name.to_string(), named, existing)
            .map_err(convert::from_catalog)
            .map_err(|error| Error {
                span: view.name.span,
                ..error
            })
    }))
}

/// The text of a view whose columns have new names.
fn renamed(text: &str, columns: &[String]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
        .collect();
    format!("SELECT * FROM ({text}) AS _v ({})", names.join(", "))
}

async fn create_external(
    session: &Session,
    planner: &Planner,
    table: sql::CreateExternalTable,
) -> Result<Query> {
    let options = tables::external(&table)?;
    // Opened once now, so that a table that cannot be read is refused where it is written.
    let catalog = planner.catalog.clone();
    catalog
        .resolve_target(&table.location, &options)
        .await
        .map_err(convert::from_catalog)
        .map_err(|error| Error {
            span: error.span.or(table.name.span.clone()),
            ..error
        })?;
    let existing = existing(table.or_replace, table.if_not_exists);
    Ok(effect(session, move |session| {
        let named = Named::Files {
            path: table.location,
            options,
        };
        let catalog = &session.inner.catalog;
        catalog
            .register(&table.name.to_string(), named, existing)
            .map_err(convert::from_catalog)
            .map_err(|error| Error {
                span: table.name.span,
                ..error
            })
    }))
}

pub(crate) fn existing(or_replace: bool, if_not_exists: bool) -> Existing {
    match (or_replace, if_not_exists) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Keep,
        _ => Existing::Error,
    }
}

fn dropped(session: &Session, drop: &sql::Drop) -> Result<()> {
    let catalog = &session.inner.catalog;
    for name in &drop.names {
        let place = |error| Error {
            span: name.span.clone(),
            ..convert::from_catalog(error)
        };
        let found = match catalog.look_up(&name.to_string()) {
            Ok(found) => found,
            Err(_) if drop.if_exists => continue,
            Err(error) => return Err(place(error)),
        };
        let is_view = matches!(found.named, Named::View { .. });
        if is_view != drop.view {
            let (is, use_) = match is_view {
                true => ("view", "DROP VIEW"),
                false => ("table", "DROP TABLE"),
            };
            return Err(
                Error::new(ErrorKind::Sql, "wrong_kind", format!("`{name}` is a {is}"))
                    .with_hint(format!("use {use_}"))
                    .at(&name.span),
            );
        }
        catalog.deregister(&found.name).map_err(place)?;
        if let Named::Files { path, .. } = &found.named {
            private::remove(session, path);
        }
    }
    Ok(())
}

fn reset(session: &Session, name: Option<sql::Name>) -> Result<()> {
    match name {
        Some(name) => session.reset(&name.to_string()).map_err(|error| Error {
            span: error.span.or(name.span),
            ..error
        }),
        None => crate::Settings::definitions()
            .iter()
            .filter(|def| def.session)
            .try_for_each(|def| session.reset(def.name)),
    }
}

/// A statement that changes the session when it runs and gives no rows.
fn effect(
    session: &Session,
    change: impl FnOnce(&Session) -> Result<()> + Send + 'static,
) -> Query {
    let changed = session.clone();
    let start: Start = Box::new(move |_| {
        Box::pin(async move {
            change(&changed)?;
            Ok(Box::pin(futures::stream::empty()) as BatchStream)
        })
    });
    simple(session, QueryKind::Command, information::nothing(), start)
}

/// What was done before.
pub(crate) fn nothing(session: &Session) -> Query {
    effect(session, |_| Ok(()))
}

/// A result that is known already.
fn batch(session: &Session, batch: RecordBatch) -> Query {
    let schema = batch.schema();
    let start: Start = Box::new(move |_| {
        Box::pin(async move { Ok(Box::pin(futures::stream::iter([Ok(batch)])) as BatchStream) })
    });
    simple(session, QueryKind::Rows, schema, start)
}

fn simple(session: &Session, kind: QueryKind, schema: SchemaRef, start: Start) -> Query {
    Query {
        kind,
        schema,
        explain: String::new(),
        start,
        state: QueryState::new(vec![]),
        timeout: None,
        pool: session
            .pool()
            .expect("a statement was planned, so the threads run"),
    }
}
