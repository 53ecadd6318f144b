//! Keeps DataFusion's nested-loop join from spilling where its spilling loses or repeats rows.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::JoinType;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use tidegate_operators::spill_scope::{SpillScope, SpillScopeExec};

use super::changed;

/// Puts each nested-loop join but inner ones under a scope that forbids spilling: out of memory it fails, where
/// DataFusion would answer with wrong rows.
#[derive(Debug)]
pub struct NestedLoopGuard;

impl PhysicalOptimizerRule for NestedLoopGuard {
    fn name(&self) -> &str {
        "tidegate_nested_loop_guard"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, |node| {
            match node.downcast_ref::<NestedLoopJoinExec>() {
                Some(join) if spills_wrongly(join) => {
                    let scoped = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
                        Arc::new(SpillScopeExec::new(Arc::clone(input), SpillScope::Allowed))
                    };
                    let inputs = vec![scoped(join.left()), scoped(join.right())];
                    let join = replace_children_if_necessary(Arc::clone(node), inputs)?;
                    let guarded = SpillScopeExec::new(join, SpillScope::Forbidden);
                    Ok(Some(Arc::new(guarded) as _))
                }
                _ => Ok(None),
            }
        })
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Every join that has to remember which rows found a match does so per partition, or per part of the left side, once
/// it spills: with several partitions the left ones repeat or lose rows, and even with one partition RIGHT and FULL
/// joins lose the unmatched rows of the right side.
fn spills_wrongly(join: &NestedLoopJoinExec) -> bool {
    *join.join_type() != JoinType::Inner
}
