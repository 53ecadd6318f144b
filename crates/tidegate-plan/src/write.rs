//! Writing as a node of the logical plan: what COPY, CREATE TABLE AS and INSERT come to.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, internal_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use tidegate_operators::write::{Layout, WriteExec, WriteSpec};

use crate::distribute::{self, ShufflePlanner};
use crate::join_order;
use crate::map::MapPlanner;

/// Writes the rows of its input and gives one row: how many there were, as `count`.
#[derive(Debug, Clone)]
pub struct Write {
    /// What is written.
    pub input: LogicalPlan,
    /// Where, and how.
    pub spec: WriteSpec,
    schema: DFSchemaRef,
}

/// A plan that writes the rows of `input`.
pub fn write(input: LogicalPlan, spec: WriteSpec) -> crate::Result<LogicalPlan> {
    let schema = Schema::new(vec![Field::new("count", DataType::UInt64, false)]);
    let node = Write {
        input,
        spec,
        schema: Arc::new(DFSchema::try_from(schema)?),
    };
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    }))
}

fn as_write(plan: &LogicalPlan) -> Option<&Write> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Write>(),
        _ => None,
    }
}

/// Whether a plan writes files.
pub(crate) fn is_write(plan: &LogicalPlan) -> bool {
    as_write(plan).is_some()
}

/// Whether a plan writes one file, in the order in which rows come.
pub(crate) fn needs_one_partition(plan: &LogicalPlan) -> bool {
    as_write(plan).is_some_and(|write| write.spec.layout == Layout::File)
}

// Its bytes stand for a spec where it must be hashed or ordered; the schema is always the same.
impl PartialEq for Write {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input && self.spec == other.spec
    }
}

impl Eq for Write {}

impl Hash for Write {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.spec.encode().hash(state);
    }
}

impl PartialOrd for Write {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let by_spec = self.spec.encode().cmp(&other.spec.encode());
        self.input
            .partial_cmp(&other.input)
            .map(|by_input| by_input.then(by_spec))
    }
}

impl UserDefinedLogicalNodeCore for Write {
    fn name(&self) -> &str {
        "Write"
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
        write!(
            f,
            "Write: {} to {}",
            self.spec.format.name(),
            self.spec.target
        )
    }

    fn with_exprs_and_inputs(
        &self,
        _: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self {
                input,
                ..self.clone()
            }),
            _ => internal_err!("a write has one input"),
        }
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        // Every column is written, whichever of the count's columns are asked for.
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}

/// DataFusion's planner on a plan with every movement of rows written into it, which also knows [`Write`], shuffles,
/// functions over batches and the rows noted on joins.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let plan = distribute::distributed(logical_plan.clone(), session)?;
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![
            Arc::new(WritePlanner),
            Arc::new(join_order::EstimatedPlanner),
            Arc::new(ShufflePlanner),
            Arc::new(MapPlanner),
        ]);
        planner.create_physical_plan(&plan, session).await
    }
}

struct WritePlanner;

#[async_trait]
impl ExtensionPlanner for WritePlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(write), [input]) = (node.as_any().downcast_ref::<Write>(), inputs) else {
            return Ok(None);
        };
        let exec = WriteExec::try_new(Arc::clone(input), write.spec.clone())?;
        Ok(Some(Arc::new(exec)))
    }
}
