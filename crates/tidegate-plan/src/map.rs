//! A function of the embedding program over batches, as a node of the logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, internal_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use tidegate_operators::map::{MapBatchesExec, MapFunction};

/// Gives the rows of its input as a function makes them.
#[derive(Debug, Clone)]
struct MapBatches {
    input: LogicalPlan,
    function: Arc<MapFunction>,
    schema: DFSchemaRef,
}

/// A plan of the rows of `input` as `function` makes them.
pub fn map_batches(input: LogicalPlan, function: Arc<MapFunction>) -> crate::Result<LogicalPlan> {
    let node = MapBatches::of(input, function)?;
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    }))
}

/// Whether a plan applies a function to batches.
pub(crate) fn is_map(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<MapBatches>(),
        _ => false,
    }
}

impl MapBatches {
    fn of(input: LogicalPlan, function: Arc<MapFunction>) -> DataFusionResult<Self> {
        let columns = function.columns(input.schema().as_arrow())?;
        let schema = Arc::new(DFSchema::try_from(columns.as_ref().clone())?);
        Ok(Self {
            input,
            function,
            schema,
        })
    }
}

// Names are those of one registry: each stands for one function.
impl PartialEq for MapBatches {
    fn eq(&self, other: &Self) -> bool {
        (&self.input, self.function.name()) == (&other.input, other.function.name())
    }
}

impl Eq for MapBatches {}

impl Hash for MapBatches {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, self.function.name()).hash(state);
    }
}

impl PartialOrd for MapBatches {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.input, self.function.name());
        own.partial_cmp(&(&other.input, other.function.name()))
    }
}

impl UserDefinedLogicalNodeCore for MapBatches {
    fn name(&self) -> &str {
        "MapBatches"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MapBatches: {}", self.function.name())
    }

    fn with_exprs_and_inputs(
        &self,
        _: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Self::of(input, Arc::clone(&self.function)),
            _ => internal_err!("a function over batches has one input"),
        }
    }
}

/// Plans functions over batches.
pub(crate) struct MapPlanner;

#[async_trait]
impl ExtensionPlanner for MapPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(map), [input]) = (node.as_any().downcast_ref::<MapBatches>(), inputs) else {
            return Ok(None);
        };
        let exec = MapBatchesExec::try_new(Arc::clone(input), Arc::clone(&map.function))?;
        Ok(Some(Arc::new(exec)))
    }
}
