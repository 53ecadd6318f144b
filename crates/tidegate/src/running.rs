//! Starts the result stage of a graph, and tells its query what to watch.

use std::sync::Arc;

use datafusion::execution::{SessionState, TaskContext};
use tidegate_operators::source::{self, ScanAccess};
use tidegate_plan::{Stage, StageGraph};
use tidegate_runtime::{Running, run};

use crate::convert;
use crate::error::Result;
use crate::query::QueryState;
use crate::session::Session;

/// The same graph with readers in its scans: footers, limits, and a fresh log for rejected rows.
pub(crate) fn attach(
    session: &Session,
    graph: StageGraph,
    query: &Arc<QueryState>,
) -> Result<StageGraph> {
    let rejects = session.new_rejects();
    let access = ScanAccess {
        rejects: Some(Arc::clone(&rejects)),
        ..session.inner.scan.clone()
    };
    query.count_rejects(rejects);
    let stage = graph.result().clone();
    let plan = source::attach(Arc::clone(&stage.plan), &access, &session.inner.runtime)
        .map_err(|error| convert::from_datafusion(error, None, None))?;
    Ok(StageGraph::single(Stage { plan, ..stage }))
}

/// Starts a graph whose readers are attached on the session's threads.
pub(crate) fn start(
    session: &Session,
    state: &SessionState,
    graph: &StageGraph,
    query: &Arc<QueryState>,
) -> Result<Running> {
    let plan = Arc::clone(&graph.result().plan);
    query.watch(&plan);
    let context = Arc::new(TaskContext::from(state));
    Ok(run(&session.pool()?, plan, context))
}
