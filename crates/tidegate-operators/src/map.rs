//! A function of the embedding program over batches of rows, under a name by which another process finds it.
//!
//! Input: any partitions. Output: the same ones, each the batches of its input with the function applied to each of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{exec_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;

/// What a function makes of the columns of its input.
pub type Columns = Arc<dyn Fn(&Schema) -> Result<SchemaRef> + Send + Sync>;

/// What a function makes of a batch.
pub type Batches = Arc<dyn Fn(RecordBatch) -> Result<RecordBatch> + Send + Sync>;

/// A function over batches.
///
/// How rows are cut into batches is not promised: what it makes of a row must not depend on the rows beside it.
#[derive(Clone)]
pub struct MapFunction {
    name: String,
    columns: Columns,
    batches: Batches,
}

impl MapFunction {
    /// The function of this name, which makes `columns` of the columns of its input and `batches` of each batch.
    pub fn new(name: impl Into<String>, columns: Columns, batches: Batches) -> Self {
        Self {
            name: name.into(),
            columns,
            batches,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that come out where these come in.
    pub fn columns(&self, input: &Schema) -> Result<SchemaRef> {
        (self.columns)(input)
    }

    /// What it makes of a batch: rows of `schema`.
    fn apply(&self, batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let made = (self.batches)(batch)?;
        let types = |schema: &Schema| -> Vec<_> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        if types(&made.schema()) != types(schema) {
            return exec_err!(
                "the function `{}` made other columns than it said",
                self.name
            );
        }
        // The names are those that were said, whatever the batch calls its columns.
        Ok(made.with_schema(Arc::clone(schema))?)
    }
}

impl fmt::Debug for MapFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapFunction")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Applies a function to each batch of its input.
#[derive(Debug, Clone)]
pub struct MapBatchesExec {
    input: Arc<dyn ExecutionPlan>,
    function: Arc<MapFunction>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl MapBatchesExec {
    /// The rows of `input` as `function` makes them.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, function: Arc<MapFunction>) -> Result<Self> {
        let schema = function.columns(&input.schema())?;
        // What is known of the input says nothing of what comes out.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self {
            input,
            function,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The function.
    pub fn function(&self) -> &Arc<MapFunction> {
        &self.function
    }
}

impl DisplayAs for MapBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapBatchesExec: {}", self.function.name)
    }
}

impl ExecutionPlan for MapBatchesExec {
    fn name(&self) -> &'static str {
        "MapBatchesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::try_new(input, Arc::clone(&self.function))?)),
            _ => internal_err!("a function over batches has one input"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (function, schema) = (Arc::clone(&self.function), Arc::clone(&self.schema));
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let timer = metrics.elapsed_compute().timer();
            let made = function.apply(batch, &schema)?;
            timer.done();
            Ok(made.record_output(&metrics))
        });
        let schema = Arc::clone(&self.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
