//! Starts a graph, and tells its query what to watch.

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, TaskContext};
use tidegate_checkpoint::RealVfs;
use tidegate_operators::source::{self, ScanAccess};
use tidegate_plan::{EdgeForm, Foreseen, StageGraph};
use tidegate_runtime::scheduler::{Limits, Policy, Speculation, TaskTimeout};
use tidegate_runtime::{Running, StagedQuery, run, run_staged};

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::format_bytes;
use crate::job::Step;
use crate::notice::Notice;
use crate::query::QueryState;
use crate::session::Session;
use crate::settings::Settings;

/// A graph with what its scans read with.
pub(crate) struct Attached {
    /// Put together, if its stages run at the same time.
    pub(crate) graph: StageGraph,
    access: ScanAccess,
    step: Option<Step>,
    /// Whether what the step seals is kept.
    is_durable: bool,
}

/// Gives the scans of a graph what they read with (footers, limits, and a fresh log for rejected rows), and puts its
/// stages together if they run at the same time.
pub(crate) fn attach(
    session: &Session,
    graph: StageGraph,
    query: &Arc<QueryState>,
    step: Option<Step>,
) -> Result<Attached> {
    let rejects = session.new_rejects();
    let access = ScanAccess {
        rejects: Some(Arc::clone(&rejects)),
        ..session.inner.scan.clone()
    };
    query.count_rejects(rejects);
    if graph.is_undivided() {
        let said = "the rows of this statement are not divided: it runs in one partition";
        query.notice(Notice::info(said.into()));
    }
    foresee(session, graph.foreseen(), query);
    // A step whose plan cannot be written down runs as any query.
    let is_durable = step.is_some() && graph.encoded().is_some();
    if is_staged(&graph) || is_durable {
        return Ok(Attached {
            graph,
            access,
            step,
            is_durable,
        });
    }
    let runtime = &session.inner.runtime;
    let attached = graph
        .map_plans(|plan| source::attach(Arc::clone(plan), &access, runtime))
        .map_err(|error| convert::from_datafusion(error, None, None))?;
    let graph = attached
        .joined()
        .map_err(|error| convert::from_plan(error, None, None))?;
    Ok(Attached {
        graph,
        access,
        step,
        is_durable,
    })
}

/// Says before the first task what is expected to be more than there is room for.
fn foresee(session: &Session, needs: Foreseen, query: &QueryState) {
    let takes = [
        (
            "tables of joins",
            needs.memory,
            session.memory_limit(),
            "`memory_limit`",
        ),
        (
            "stages",
            needs.disk,
            session.room(),
            "the disk that `temp_limit` leaves",
        ),
    ];
    for (what, needed, there, whence) in takes {
        if needed > there {
            query.notice(Notice::info(format!(
                "the {what} of this statement are expected to need about {}, and {whence} is {}: it may end there",
                format_bytes(needed),
                format_bytes(there),
            )));
        }
    }
}

/// Whether stages run one after the other. Where there is only one, it just runs.
fn is_staged(graph: &StageGraph) -> bool {
    let mut edges = graph.stages().iter().flat_map(|stage| &stage.inputs);
    edges.any(|edge| edge.form == EdgeForm::Sealed)
}

/// Starts a graph on the session's threads when it is its turn.
pub(crate) async fn start(
    session: &Session,
    state: &SessionState,
    attached: &Attached,
    query: &Arc<QueryState>,
) -> Result<Running> {
    let settings = session.settings();
    let place = session
        .inner
        .gate
        .enter(settings.query_priority, settings.queue_timeout);
    let place = place.await.map_err(|refused| {
        Error::new(ErrorKind::Limit, "queue", refused.to_string()).with_hint(
            "end others, or raise `queries_max`, `queries_waiting_max` or `queue_timeout`",
        )
    })?;
    Ok(started(session, state, attached, query)?.at(place))
}

fn started(
    session: &Session,
    state: &SessionState,
    attached: &Attached,
    query: &Arc<QueryState>,
) -> Result<Running> {
    let pool = session.pool()?;
    let plan = Arc::clone(&attached.graph.result().plan);
    if is_staged(&attached.graph) || attached.is_durable {
        let settings = session.settings();
        let staged = staged(session, state, attached, &settings)?;
        query.watch_tasks(Arc::clone(&staged.progress));
        return Ok(run_staged(&pool, staged));
    }
    query.watch(&plan);
    let context = match &attached.step {
        Some(step) => TaskContext::from(&with_gate(state, step)),
        None => TaskContext::from(state),
    };
    Ok(run(&pool, plan, Arc::new(context)))
}

fn staged(
    session: &Session,
    state: &SessionState,
    attached: &Attached,
    settings: &Settings,
) -> Result<StagedQuery> {
    let Some(encoded) = attached.graph.encoded() else {
        let message = "stages that run apart were not written down when they were planned";
        return Err(Error::new(ErrorKind::Bug, "defect", message));
    };
    let step = attached.step.as_ref();
    Ok(StagedQuery {
        graph: attached.graph.clone(),
        encoded: encoded.to_vec(),
        durable: step.filter(|_| attached.is_durable).map(Step::durable),
        progress: Arc::default(),
        registry: session.inner.registry.read().clone(),
        access: attached.access.clone(),
        state: step.map_or_else(|| state.clone(), |step| with_gate(state, step)),
        vfs: Arc::new(RealVfs),
        temp: Arc::clone(&session.inner.temp),
        limits: Limits {
            attempts_max: settings.task_attempts,
            speculation: settings.speculation.then(Speculation::default),
            task_timeout: settings.task_timeout.map(TaskTimeout::Fixed),
            ..Limits::default()
        },
        policy: settings.scheduling.parse().unwrap_or(Policy::Fifo),
        workers: session.inner.workers.clone(),
        fault: session.inner.fault.clone(),
        damage: session.inner.damage.clone(),
    })
}

/// The state of a step, whose writes note what they are about to publish.
fn with_gate(state: &SessionState, step: &Step) -> SessionState {
    let config = state.config().clone().with_extension(Arc::new(step.gate()));
    SessionStateBuilder::from(state.clone())
        .with_config(config)
        .build()
}
