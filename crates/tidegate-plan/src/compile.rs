//! From a logical plan to a stage graph: the one way every statement goes.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::graph::{Distribution, Stage, StageGraph};
use crate::{PlanSettings, Result, repeats, steps};

/// Everything a compilation may know: with equal inputs it gives equal graphs.
#[derive(Debug, Clone)]
pub struct PlanInputs {
    /// The state to plan with, from [`crate::session_state`]: functions, rules and configuration.
    pub state: SessionState,
    /// The settings `state` was made from.
    pub settings: Arc<PlanSettings>,
}

/// Optimizes a logical plan, chooses its operators and cuts it into stages.
///
/// Asynchronous because DataFusion's physical planner is; it awaits no input or output of its own.
pub async fn compile(plan: LogicalPlan, inputs: &PlanInputs) -> Result<StageGraph> {
    compile_optimized(&optimize(plan, inputs)?, inputs).await
}

/// The first half of [`compile`], for who has to do something between the halves.
pub fn optimize(plan: LogicalPlan, inputs: &PlanInputs) -> Result<LogicalPlan> {
    Ok(inputs.state.optimize(&plan)?)
}

/// The second half of [`compile`].
pub async fn compile_optimized(plan: &LogicalPlan, inputs: &PlanInputs) -> Result<StageGraph> {
    let planner = inputs.state.query_planner();
    let plan = planner.create_physical_plan(plan, &inputs.state).await?;
    Ok(StageGraph::single(stage(plan, &inputs.settings)?))
}

/// The stage of a physical plan; everything but the plan and the settings follows from it.
pub(crate) fn stage(plan: Arc<dyn ExecutionPlan>, settings: &Arc<PlanSettings>) -> Result<Stage> {
    let steps = steps::describe(&plan)?;
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
