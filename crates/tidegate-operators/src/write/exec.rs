//! The operator that writes its input and gives one row, `count`: the number of rows written.
//!
//! ```text
//! partition 0 ──▶ task 0 ──▶ files ─┐
//! partition 1 ──▶ task 1 ──▶ files ─┼──▶ commit ──▶ count
//! partition n ──▶ task n ──▶ files ─┘
//! ```
//!
//! Input: any number of partitions; one, in order, when the target is a single file. Output: one
//! partition of one row. A failed or dropped run leaves nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::runtime::JoinSet;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, OrderingRequirements};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, EvaluationType, SchedulingType,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
    ExecutionPlanProperties, InputDistributionRequirements, Partitioning as Partitions,
    PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};

use tidegate_checkpoint::Intended;

use super::destination::{self, Destination, Shape};
use super::encode::check_schema;
use super::error::Error;
use super::hive::Partitioning;
use super::spec::{Layout, WriteSpec};
use super::task::{Counts, Plan, Task};

/// Is told what a write is about to publish, and how many rows it holds.
pub type BeforeCommit =
    dyn Fn(&Intended, u64) -> Result<(), tidegate_checkpoint::Error> + Send + Sync;

/// [`BeforeCommit`] as an extension of the configuration that a write runs with: it may refuse the commit.
pub struct CommitGate(pub Arc<BeforeCommit>);

/// Writes its input as a [`WriteSpec`] says. Stores are taken from the task's runtime environment,
/// so a decoded plan needs nothing attached.
#[derive(Debug, Clone)]
pub struct WriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<WriteSpec>,
    partitioning: Partitioning,
    /// The order of the input when the write was planned: files keep it.
    order: Option<OrderingRequirements>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WriteExec {
    /// Checks that the columns of `input` can be written as `spec` says.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Result<Self, Error> {
        let schema = input.schema();
        let partitioning =
            Partitioning::new(&spec.partition_by, &schema, spec.partition_columns_in_files)?;
        check_schema(&spec.format, &*partitioning.file_schema(&schema)?)?;
        spec.place()?;
        let order = input
            .output_ordering()
            .cloned()
            .map(OrderingRequirements::from);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(count_schema()),
            Partitions::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        Ok(Self {
            input,
            spec: Arc::new(spec),
            partitioning,
            order,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What is written where.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }

    /// The plan whose rows are written.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The node without its input, as bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.spec.encode()
    }

    /// The node from its bytes and its one input.
    pub fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Self, Error> {
        match inputs {
            [input] => Self::try_new(Arc::clone(input), WriteSpec::decode(bytes)?),
            _ => Err(Error::Encode {
                format: "the plan of a write",
                why: format!("it has one input, not {}", inputs.len()),
            }),
        }
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        write!(
            f,
            "WriteExec: target={}, format={}",
            spec.target,
            spec.format.suffix()
        )?;
        if let Some(mode) = spec.mode {
            write!(f, ", mode={}", mode.name())?;
        }
        if !spec.partition_by.is_empty() {
            write!(f, ", partition_by=[{}]", spec.partition_by.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &'static str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match self.spec.layout {
            Layout::File => Distribution::SinglePartition,
            Layout::Directory | Layout::ByTarget => Distribution::UnspecifiedDistribution,
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone()]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        // Of the files: a sort below must not be optimized away.
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Arc::new(Self {
            input,
            metrics,
            ..self.as_ref().clone()
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
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
        if partition != 0 {
            return Err(DataFusionError::Execution(format!(
                "a write has one partition, not {partition}"
            )));
        }
        let write = self.clone();
        let counted = async move { count_batch(write.run(context).await?) };
        let stream = futures::stream::once(counted);
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            count_schema(),
            stream,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl WriteExec {
    async fn run(self, context: Arc<TaskContext>) -> Result<u64, Error> {
        let gate = context.session_config().get_extension::<CommitGate>();
        let opened = destination::open(&self.spec, &context, gate.is_some()).await?;
        let Some((destination, shape)) = opened else {
            return Ok(0);
        };
        match self.write_files(&destination, shape, context).await {
            Ok(rows) => {
                destination.commit(gate, rows).await?;
                Ok(rows)
            }
            Err(error) => {
                destination.abort().await;
                Err(error)
            }
        }
    }

    async fn write_files(
        &self,
        destination: &Destination,
        shape: Shape,
        context: Arc<TaskContext>,
    ) -> Result<u64, Error> {
        let input = match shape {
            Shape::File => single(&self.input),
            Shape::Directory => Arc::clone(&self.input),
        };
        let partitions = input.output_partitioning().partition_count();
        let plan = Arc::new(Plan {
            format: self.spec.format.clone(),
            shape,
            maker: destination.maker(),
            schema: self.partitioning.file_schema(&input.schema())?,
            partitioning: self.partitioning.clone(),
            file_bytes_max: self.spec.file_bytes_max,
            open_files_max: (self.spec.open_files_max / partitions.max(1)).max(1),
            encoder_bytes_max: encoder_memory(&context) / partitions.max(1),
            id: destination.id(),
            bytes_max: self.spec.bytes_max,
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for partition in 0..partitions {
            let task = self.task(&plan, partition, &input.schema(), &context)?;
            let rows = input.execute(partition, Arc::clone(&context))?;
            tasks.spawn(task.run(rows));
        }
        let mut rows = 0;
        while let Some(done) = tasks.join_next().await {
            // The set is dropped with an error: it stops the other tasks.
            rows += done
                .map_err(|error| Error::Input(DataFusionError::ExecutionJoin(Box::new(error))))??;
        }
        if plan.files.load(Ordering::Relaxed) == 0 && self.partitioning.is_empty() {
            self.task(&plan, 0, &input.schema(), &context)?
                .write_empty()
                .await?;
        }
        Ok(rows)
    }

    fn task(
        &self,
        plan: &Arc<Plan>,
        partition: usize,
        schema: &SchemaRef,
        context: &TaskContext,
    ) -> Result<Task, Error> {
        let count = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        let counts = Counts {
            rows: count("rows_written"),
            bytes: count("bytes_written"),
            files: count("files_written"),
        };
        let memory =
            MemoryConsumer::new(format!("WriteExec[{partition}]")).register(context.memory_pool());
        Task::new(Arc::clone(plan), partition, schema, counts, memory)
    }
}

/// Half of the memory there is for queries.
fn encoder_memory(context: &TaskContext) -> usize {
    match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 2,
        MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
    }
}

/// The input as one partition; its order is kept if it has one.
fn single(input: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if input.output_partitioning().partition_count() == 1 {
        return Arc::clone(input);
    }
    match input.output_ordering() {
        Some(order) => Arc::new(SortPreservingMergeExec::new(
            order.clone(),
            Arc::clone(input),
        )),
        None => Arc::new(CoalescePartitionsExec::new(Arc::clone(input))),
    }
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "count",
        DataType::UInt64,
        false,
    )]))
}

fn count_batch(rows: u64) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![rows]));
    Ok(RecordBatch::try_new(count_schema(), vec![column])?)
}
