//! Keeps filters from being pushed to the wrong one of two columns with the same name.
//!
//! DataFusion's physical filter push-down finds the columns of a filter in the operator below by name. Where an operator
//! gives two columns of one name, as a join of two tables does, it takes the first: a filter, or a filter that a join
//! makes while it runs, reaches the wrong table and rows are lost. So nothing is pushed into such an operator.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
};

use super::changed;

/// Puts a barrier over every operator with two columns of one name, before filters are pushed down.
#[derive(Debug)]
pub struct GuardSameNames;

/// Takes the barriers away, after it.
#[derive(Debug)]
pub struct UnguardSameNames;

impl PhysicalOptimizerRule for GuardSameNames {
    fn name(&self) -> &str {
        "tidegate_guard_same_names"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, |node| {
            let barrier = || -> Arc<dyn ExecutionPlan> {
                let input = Arc::clone(node);
                Arc::new(Barrier { input })
            };
            Ok(has_same_names(node).then(barrier))
        })
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl PhysicalOptimizerRule for UnguardSameNames {
    fn name(&self) -> &str {
        "tidegate_unguard_same_names"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, |node| {
            let barrier = node.downcast_ref::<Barrier>();
            Ok(barrier.map(|barrier| Arc::clone(&barrier.input)))
        })
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn has_same_names(node: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = node.schema();
    let mut names = HashSet::new();
    !schema
        .fields()
        .iter()
        .all(|field| names.insert(field.name()))
}

/// Gives its input. It takes no filters, which is what an operator does that does not say otherwise; it never runs.
#[derive(Debug, Clone)]
struct Barrier {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Barrier {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }
}

impl ExecutionPlan for Barrier {
    fn name(&self) -> &'static str {
        "Barrier"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input })),
            _ => internal_err!("a barrier has one input"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
