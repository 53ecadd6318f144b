//! From a logical plan to a stage graph: the one way every statement goes.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use crate::distribute::{self, Encoded, is_foreign};
use crate::durable::{self, Checkpoint, CheckpointMode, Choices};
use crate::evidence::{self, Evidence, Question};
use crate::graph::{Distribution, EdgeForm, Stage, StageGraph};
use crate::join_order::{self, Noted};
use crate::settings::Execution;
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
            true => Ok(evidence::questions(&self.0, settings.checkpoint.is_some())?),
            false => Ok(evidence::questions_of_ranges(&self.0)?),
        }
    }

    /// The rest of [`compile`].
    pub async fn compile(self, inputs: &PlanInputs) -> Result<StageGraph> {
        let plan = distribute::with_bounds(self.0, &inputs.evidence)?;
        let plan = match inputs.settings.join_order {
            true => join_order::order(plan, inputs)?,
            false => plan,
        };
        if let Some(checkpoint) = &inputs.settings.checkpoint {
            return durable(&plan, inputs, checkpoint).await;
        }
        let (plan, undivided) = divided(&plan, &inputs.state).await?;
        let (plan, noted) = join_order::forget(plan)?;
        let form = inputs.settings.execution.form();
        let settings = &inputs.settings;
        let mut graph = cut::cut(Arc::clone(&plan), &noted, form, None, settings)?;
        if form == EdgeForm::Sealed {
            graph = match encoded(&graph) {
                Ok(bytes) => graph.with_encoded(bytes),
                // What cannot be written down, such as a recursion, runs at once.
                Err(_) => cut::cut(plan, &noted, EdgeForm::Stream, None, settings)?,
            };
        }
        Ok(match undivided {
            true => graph.undivided(),
            false => graph,
        })
    }
}

fn encoded(graph: &StageGraph) -> Result<Vec<Bytes>> {
    graph.stages().iter().map(encode).collect()
}

/// The operators of a plan, and whether it had to be made with one partition.
async fn divided(
    plan: &LogicalPlan,
    state: &SessionState,
) -> Result<(Arc<dyn ExecutionPlan>, bool)> {
    match physical(plan, state).await {
        Err(error) if is_foreign(&error) && state.config().target_partitions() > 1 => {
            let config = planned_as(state, Execution::default(), 1);
            let state = with_config(state, config);
            Ok((physical(plan, &state).await?, true))
        }
        plan => Ok((plan?, false)),
    }
}

/// A statement of a durable job: planned once to see how long it takes, then with as many tasks as it needs.
async fn durable(
    plan: &LogicalPlan,
    inputs: &PlanInputs,
    checkpoint: &Checkpoint,
) -> Result<StageGraph> {
    let asked = inputs.state.config().target_partitions();
    let mut partitions = asked;
    loop {
        // What is sealed everywhere may run task by task; else the plan is the one that a query has which nobody seals.
        let execution = match checkpoint.mode {
            CheckpointMode::All => Execution::Staged,
            CheckpointMode::Auto | CheckpointMode::None => Execution::Pipelined,
        };
        let state = encoding(&inputs.state, execution, partitions);
        let (operators, undivided) = divided(plan, &state).await?;
        let (operators, noted) = join_order::forget(operators)?;
        let operators = durable::ended(operators)?;
        let described = steps::describe(&operators, &noted)?;
        let seals = durable::choose(&operators, &described.root, checkpoint);
        if !seals.at.iter().any(|(at, sealed)| *at > 0 && *sealed) {
            return match execution {
                Execution::Pipelined if partitions == asked => {
                    region_of(operators, &noted, inputs, seals.choices)
                }
                _ => region(plan, inputs, seals.choices).await,
            };
        }
        let wanted = checkpoint.threads * seals.tasks_per_thread;
        if checkpoint.spreads && wanted > partitions && !undivided {
            partitions = wanted;
            continue;
        }
        let (form, settings) = (EdgeForm::Sealed, &inputs.settings);
        let graph = cut::cut(operators, &noted, form, Some(&seals.at), settings)?;
        return match encoded(&graph) {
            Ok(bytes) => Ok(graph.with_encoded(bytes).with_choices(seals.choices)),
            Err(_) => region(plan, inputs, seals.choices).await,
        };
    }
}

/// All of a statement as one region, planned as a query that nobody seals.
async fn region(plan: &LogicalPlan, inputs: &PlanInputs, choices: Choices) -> Result<StageGraph> {
    let partitions = inputs.state.config().target_partitions();
    let state = encoding(&inputs.state, Execution::Pipelined, partitions);
    let (operators, _) = divided(plan, &state).await?;
    let (operators, noted) = join_order::forget(operators)?;
    region_of(durable::ended(operators)?, &noted, inputs, choices)
}

fn region_of(
    operators: Arc<dyn ExecutionPlan>,
    noted: &Noted,
    inputs: &PlanInputs,
    choices: Choices,
) -> Result<StageGraph> {
    let (form, settings) = (EdgeForm::Stream, &inputs.settings);
    let graph = cut::cut(operators, noted, form, None, settings)?;
    let graph = cut::as_region(&graph)?.with_choices(choices);
    Ok(match encoded(&graph) {
        Ok(bytes) => graph.with_encoded(bytes),
        // What cannot be written down is run again as a whole.
        Err(_) => graph,
    })
}

/// The state to plan in another way what is written down.
fn encoding(state: &SessionState, execution: Execution, partitions: usize) -> SessionState {
    let config = planned_as(state, execution, partitions);
    with_config(state, config.with_extension(Arc::new(Encoded)))
}

/// The configuration to plan in another way.
fn planned_as(state: &SessionState, execution: Execution, partitions: usize) -> SessionConfig {
    let config = state.config().clone().with_target_partitions(partitions);
    config.with_extension(Arc::new(execution))
}

fn with_config(state: &SessionState, config: SessionConfig) -> SessionState {
    SessionStateBuilder::from(state.clone())
        .with_config(config)
        .build()
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
