//! Reads what an earlier stage has shuffled: the place in a stage's plan where another stage's output comes in.
//!
//! ```text
//! stage 0: … ─▶ ShuffleExec ══ edge ══▶ ShuffleReadExec ─▶ … :stage 1
//! ```
//!
//! An edge that streams never gets here: its stages are put together into one plan before they run.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, exec_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, stream};

use super::{ShuffleExec, To};

/// What comes along the edges of a stage; an extension of the configuration that its tasks run with.
pub trait Edges: Send + Sync + 'static {
    /// The rows of one partition, from each task that wrote some, in the order of the tasks.
    fn read(
        &self,
        edge: usize,
        partition: usize,
        context: &TaskContext,
    ) -> Result<Vec<SendableRecordBatchStream>>;
}

/// [`Edges`] as a type of known size, which extensions must have.
pub struct EdgesOfTask(pub Arc<dyn Edges>);

/// Gives the rows of an edge.
#[derive(Debug, Clone)]
pub struct ShuffleReadExec {
    edge: usize,
    to: To,
    /// The one partition that a task reads; all of them otherwise.
    partition: Option<usize>,
    /// Rows that are asked of all tasks together.
    fetch: Option<usize>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ShuffleReadExec {
    /// In place of a shuffle: it has the shuffle's own properties, so that what is above does not see a difference.
    pub fn of(shuffle: &ShuffleExec, edge: usize, statistics: Arc<Statistics>) -> Self {
        Self {
            edge,
            to: shuffle.to().clone(),
            partition: None,
            fetch: shuffle.fetch(),
            statistics,
            properties: Arc::clone(shuffle.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Rows of `schema`, divided as `to` says.
    pub fn new(schema: SchemaRef, edge: usize, to: To, fetch: Option<usize>) -> Self {
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
        if let To::Single { order: Some(order) } = &to {
            equivalences.add_ordering(order.iter().cloned());
        }
        Self {
            edge,
            partition: None,
            fetch,
            statistics: Arc::new(Statistics::new_unknown(&schema)),
            properties: Arc::new(properties(equivalences, to.partitioning())),
            metrics: ExecutionPlanMetricsSet::new(),
            to,
        }
    }

    /// Which of the stage's inputs it reads.
    pub fn edge(&self) -> usize {
        self.edge
    }

    /// The same along another edge.
    pub fn along(&self, edge: usize) -> Self {
        Self {
            edge,
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.clone()
        }
    }

    /// How the rows were divided.
    pub fn to(&self) -> &To {
        &self.to
    }

    /// The one partition that is read, if it is only one of several.
    pub fn partition(&self) -> Option<usize> {
        self.partition
    }

    /// The same, of which only one partition is read: as a plan of one partition.
    pub fn restricted(&self, partition: usize) -> Self {
        let equivalences = self.properties.equivalence_properties().clone();
        let one = Partitioning::UnknownPartitioning(1);
        Self {
            partition: Some(partition),
            properties: Arc::new(properties(equivalences, one)),
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.clone()
        }
    }
}

fn properties(equivalences: EquivalenceProperties, partitioning: Partitioning) -> PlanProperties {
    let (emission, bounded) = (EmissionType::Incremental, Boundedness::Bounded);
    PlanProperties::new(equivalences, partitioning, emission, bounded)
        .with_scheduling_type(SchedulingType::Cooperative)
}

impl DisplayAs for ShuffleReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleReadExec: edge={}, {}", self.edge, self.to)
    }
}

impl ExecutionPlan for ShuffleReadExec {
    fn name(&self) -> &'static str {
        "ShuffleReadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

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
        self.to.apply_expressions(f)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let Some(edges) = context.session_config().get_extension::<EdgesOfTask>() else {
            return exec_err!("a stage was run without the stages before it");
        };
        let from = self.partition.unwrap_or(partition);
        let rows = edges.0.read(self.edge, from, &context)?;
        if let To::Single { order: Some(order) } = &self.to {
            let memory = MemoryConsumer::new(format!("ShuffleReadExec[{partition}]"));
            return StreamingMergeBuilder::new()
                .with_streams(rows)
                .with_schema(self.schema())
                .with_expressions(order)
                .with_metrics(metrics)
                .with_fetch(self.fetch)
                .with_batch_size(context.session_config().batch_size())
                .with_reservation(memory.register(context.memory_pool()))
                .build();
        }
        let rows = stream::iter(rows).flatten();
        let rows = Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows));
        Ok(Box::pin(LimitStream::new(rows, 0, self.fetch, metrics)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let partitions = self.properties.partitioning.partition_count();
        Ok(match args.partition() {
            Some(_) if partitions > 1 => Arc::new(Statistics::new_unknown(&self.schema())),
            _ => Arc::clone(&self.statistics),
        })
    }
}
