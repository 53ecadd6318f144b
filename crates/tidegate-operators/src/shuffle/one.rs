//! One partition of what reads data: the leaf of a task's plan.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// Gives one partition of a leaf, as the only one.
#[derive(Debug, Clone)]
pub struct OnePartitionExec {
    leaf: Arc<dyn ExecutionPlan>,
    partition: usize,
    properties: Arc<PlanProperties>,
}

impl OnePartitionExec {
    /// Partition `partition` of `leaf`.
    pub fn new(leaf: Arc<dyn ExecutionPlan>, partition: usize) -> Self {
        let all = leaf.properties().as_ref().clone();
        let one = all.with_partitioning(Partitioning::UnknownPartitioning(1));
        Self {
            leaf,
            partition,
            properties: Arc::new(one),
        }
    }

    /// Which partition.
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// What it gives a partition of.
    pub fn leaf(&self) -> &Arc<dyn ExecutionPlan> {
        &self.leaf
    }
}

impl DisplayAs for OnePartitionExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnePartitionExec: {} of ", self.partition)?;
        self.leaf.fmt_as(t, f)
    }
}

impl ExecutionPlan for OnePartitionExec {
    fn name(&self) -> &'static str {
        "OnePartitionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    // The leaf is no input: it has more partitions than this.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.leaf.apply_expressions(f)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.leaf.execute(self.partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.leaf.metrics()
    }
}
