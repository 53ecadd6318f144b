//! A pass-through node that decides whether what runs below it may spill to disk.
//!
//! DataFusion's nested-loop join, short of memory, returns wrong rows for outer, SEMI, ANTI and MARK joins once it falls
//! back to disk. Put under [`SpillScope::Forbidden`] it fails honestly instead; its inputs are put under
//! [`SpillScope::Allowed`] and keep the disk:
//!
//! ```text
//! SpillScopeExec(forbidden) ── NestedLoopJoinExec ─┬─ SpillScopeExec(allowed) ── left
//!                                                  └─ SpillScopeExec(allowed) ── right
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// Whether temporary files may be made below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SpillScope {
    /// Nothing below may write temporary files, until an `Allowed` lifts it.
    Forbidden,
    /// Lifts the nearest `Forbidden` above.
    Allowed,
}

/// Hands its input through and changes only the context it runs in.
#[derive(Debug, Clone)]
pub struct SpillScopeExec {
    input: Arc<dyn ExecutionPlan>,
    scope: SpillScope,
}

/// The runtime from before a `Forbidden`, kept in the session configuration of the context.
struct Outer(Arc<RuntimeEnv>);

impl SpillScopeExec {
    /// `input` under `scope`.
    pub fn new(input: Arc<dyn ExecutionPlan>, scope: SpillScope) -> Self {
        Self { input, scope }
    }

    /// What it hands through.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// What it decides.
    pub fn scope(&self) -> SpillScope {
        self.scope
    }
}

impl DisplayAs for SpillScopeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match self.scope {
            SpillScope::Forbidden => write!(f, "SpillScopeExec: forbidden"),
            SpillScope::Allowed => write!(f, "SpillScopeExec: allowed"),
        }
    }
}

impl ExecutionPlan for SpillScopeExec {
    fn name(&self) -> &str {
        "SpillScopeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self {
                input,
                scope: self.scope,
            })),
            _ => internal_err!("a spill scope has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, scoped(self.scope, context)?)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&input_stats[0]))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

fn scoped(scope: SpillScope, context: Arc<TaskContext>) -> Result<Arc<TaskContext>> {
    let outer = context.session_config().get_extension::<Outer>();
    let (runtime, config) = match (scope, outer) {
        (SpillScope::Allowed, Some(outer)) => {
            (Arc::clone(&outer.0), context.session_config().clone())
        }
        (SpillScope::Forbidden, outer) => {
            let runtime = context.runtime_env();
            let disk = DiskManagerBuilder::default()
                .with_mode(DiskManagerMode::Disabled)
                .build()?;
            let config = match outer {
                // Already inside one: the outermost runtime is the one to come back to.
                Some(_) if !runtime.disk_manager.tmp_files_enabled() => {
                    context.session_config().clone()
                }
                _ => context
                    .session_config()
                    .clone()
                    .with_extension(Arc::new(Outer(Arc::clone(&runtime)))),
            };
            (
                Arc::new(RuntimeEnv {
                    disk_manager: Arc::new(disk),
                    ..runtime.as_ref().clone()
                }),
                config,
            )
        }
        (SpillScope::Allowed, None) => return Ok(context),
    };
    Ok(Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        runtime,
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn allowed_gives_back_what_the_outermost_forbidden_took() {
        let free = Arc::new(TaskContext::default());
        let disk =
            |context: &Arc<TaskContext>| context.runtime_env().disk_manager.tmp_files_enabled();
        assert!(disk(&free));
        let forbidden = scoped(SpillScope::Forbidden, Arc::clone(&free)).unwrap();
        assert!(!disk(&forbidden));
        let twice = scoped(SpillScope::Forbidden, Arc::clone(&forbidden)).unwrap();
        assert!(!disk(&twice));
        for context in [forbidden, twice] {
            let allowed = scoped(SpillScope::Allowed, context).unwrap();
            assert!(Arc::ptr_eq(&allowed.runtime_env(), &free.runtime_env()));
        }
        let allowed = scoped(SpillScope::Allowed, Arc::clone(&free)).unwrap();
        assert!(Arc::ptr_eq(&allowed, &free));
        // Forbidden, allowed, and forbidden again further down.
        let inner = scoped(
            SpillScope::Forbidden,
            scoped(SpillScope::Forbidden, free).unwrap(),
        )
        .unwrap();
        assert!(!disk(
            &scoped(
                SpillScope::Forbidden,
                scoped(SpillScope::Allowed, inner).unwrap()
            )
            .unwrap()
        ));
    }
}
