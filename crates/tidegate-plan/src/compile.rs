//! From a logical plan to a stage graph: the one way every statement goes.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::distribute::{self, is_foreign};
use crate::evidence::{self, Evidence, Question};
use crate::graph::{Distribution, EdgeForm, Stage, StageGraph};
use crate::join_order::{self, Noted};
use crate::{PlanSettings, Result, cut, encode, repeats, steps};

/// Everything a compilation may know: with equal inputs it gives equal graphs.
#[derive(Debug, Clone)]
pub struct PlanInputs {
    /// The state to plan with, from [`crate::session_state`]: functions, rules and configuration.
    pub state: SessionState,
    /// The settings `state` was made from.
    pub settings: Arc<PlanSettings>,
    /// What is known of the tables; see [`Optimized::questions`].
    pub evidence: Evidence,
}

impl PlanInputs {
    /// Inputs without evidence.
    pub fn new(state: SessionState, settings: Arc<PlanSettings>) -> Self {
        Self {
            state,
            settings,
            evidence: Evidence::default(),
        }
    }
}

/// A logical plan after the rules that need no knowledge of the files.
#[derive(Debug, Clone)]
pub struct Optimized(LogicalPlan);

impl Optimized {
    /// Checks and simplifies a plan and pushes conditions down to the scans.
    pub fn new(plan: &LogicalPlan, state: &SessionState) -> Result<Self> {
        Ok(Self(state.optimize(plan)?))
    }

    /// What would help to plan it: the caller may find it out and hand it in as [`PlanInputs::evidence`].
    pub fn questions(&self, settings: &PlanSettings) -> Result<Vec<Question>> {
        match settings.join_order {
            true => Ok(evidence::questions(&self.0)?),
            false => Ok(evidence::questions_of_ranges(&self.0)?),
        }
    }

    /// The rest of [`compile`].
    pub async fn compile(self, inputs: &PlanInputs) -> Result<StageGraph> {
        let plan = distribute::with_bounds(self.0, &inputs.evidence)?;
        let plan = match inputs.settings.join_order {
            true => join_order::order(plan, &inputs.evidence, &inputs.state)?,
            false => plan,
        };
        let partitions = inputs.state.config().target_partitions();
        let mut undivided = false;
        let plan = match physical(&plan, &inputs.state).await {
            Err(error) if is_foreign(&error) && partitions > 1 => {
                let state = SessionStateBuilder::from(inputs.state.clone())
                    .with_config(inputs.state.config().clone().with_target_partitions(1));
                undivided = true;
                physical(&plan, &state.build()).await?
            }
            plan => plan?,
        };
        let (plan, noted) = join_order::forget(plan)?;
        let form = inputs.settings.execution.form();
        let mut graph = cut::cut(Arc::clone(&plan), &noted, form, &inputs.settings)?;
        // What cannot be written down, such as a recursion, runs at once.
        if form == EdgeForm::Sealed && graph.stages().iter().any(|stage| encode(stage).is_err()) {
            graph = cut::cut(plan, &noted, EdgeForm::Stream, &inputs.settings)?;
        }
        Ok(match undivided {
            true => graph.undivided(),
            false => graph,
        })
    }
}

/// Optimizes a logical plan, orders its joins, chooses its operators and cuts it into stages.
///
/// Asynchronous because DataFusion's physical planner is; it awaits no input or output of its own.
pub async fn compile(plan: LogicalPlan, inputs: &PlanInputs) -> Result<StageGraph> {
    Optimized::new(&plan, &inputs.state)?.compile(inputs).await
}

/// The operators of a plan.
async fn physical(
    plan: &LogicalPlan,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let planner = state.query_planner();
    planner.create_physical_plan(plan, state).await
}

/// The stage of a physical plan; everything but the plan, the estimates and the settings follows from it.
pub(crate) fn stage(
    plan: Arc<dyn ExecutionPlan>,
    noted: &Noted,
    settings: &Arc<PlanSettings>,
) -> Result<Stage> {
    let steps = steps::describe(&plan, noted)?;
    Ok(Stage {
        inputs: vec![],
        output: Distribution::of(plan.as_ref()),
        repeats: repeats::of(plan.as_ref()),
        estimate: steps.root.estimate,
        steps,
        plan,
        settings: Arc::clone(settings),
    })
}
