//! A movement of rows as a node of the logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use tidegate_operators::shuffle::{Filters, ShuffleExec, To};

/// How rows are divided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum Movement {
    /// By a hash of the keys.
    Hash {
        /// What is hashed.
        keys: Vec<Expr>,
        /// How many partitions.
        partitions: usize,
    },
    /// Batch by batch in turn.
    RoundRobin {
        /// How many partitions.
        partitions: usize,
    },
    /// All of them to every partition of the join above.
    Broadcast,
    /// All into one partition, as they come.
    Single,
    /// All into one partition, merged in the order of the sort below.
    SingleOrdered,
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Movement::Hash { keys, partitions } => {
                let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
                write!(f, "hash({}) in {partitions}", keys.join(", "))
            }
            Movement::RoundRobin { partitions } => write!(f, "round robin in {partitions}"),
            Movement::Broadcast => write!(f, "broadcast"),
            Movement::Single => write!(f, "single"),
            Movement::SingleOrdered => write!(f, "single, ordered"),
        }
    }
}

/// Gives the rows of its input, divided anew.
#[derive(Debug, Clone)]
pub struct Shuffle {
    /// Whose rows are moved.
    pub input: LogicalPlan,
    /// Where to.
    pub to: Movement,
    /// What may pass down while the rows come up.
    pub filters: Filters,
}

impl Shuffle {
    /// A plan of the rows of `input`, moved.
    pub(super) fn plan(input: LogicalPlan, to: Movement, filters: Filters) -> LogicalPlan {
        LogicalPlan::Extension(Extension {
            node: Arc::new(Self { input, to, filters }),
        })
    }
}

impl PartialEq for Shuffle {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input && self.to == other.to
    }
}

impl Eq for Shuffle {}

impl Hash for Shuffle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.to.hash(state);
    }
}

impl PartialOrd for Shuffle {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.to.partial_cmp(&other.to),
            by_input => by_input,
        }
    }
}

impl UserDefinedLogicalNodeCore for Shuffle {
    fn name(&self) -> &str {
        "Shuffle"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        match &self.to {
            Movement::Hash { keys, .. } => keys.clone(),
            _ => vec![],
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Shuffle: {}", self.to)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("a shuffle has one input");
        };
        let to = match &self.to {
            Movement::Hash { partitions, .. } => Movement::Hash {
                keys: exprs,
                partitions: *partitions,
            },
            other => other.clone(),
        };
        let filters = self.filters;
        Ok(Self { input, to, filters })
    }
}

/// Plans shuffles.
pub(crate) struct ShufflePlanner;

#[async_trait]
impl ExtensionPlanner for ShufflePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(shuffle) = node.as_any().downcast_ref::<Shuffle>() else {
            return Ok(None);
        };
        let ([input], [logical]) = (inputs, logical_inputs) else {
            return internal_err!("a shuffle has one input");
        };
        let mut input = Arc::clone(input);
        let to = match &shuffle.to {
            Movement::Hash { keys, partitions } => {
                let schema = logical.schema();
                let keys = keys
                    .iter()
                    .map(|key| planner.create_physical_expr(key, schema, session, planning));
                To::Hash {
                    keys: keys.collect::<Result<_>>()?,
                    partitions: *partitions,
                }
            }
            Movement::RoundRobin { partitions } => To::RoundRobin {
                partitions: *partitions,
            },
            Movement::Broadcast => To::Broadcast,
            Movement::Single => To::Single { order: None },
            Movement::SingleOrdered => {
                let Some(sort) = input.downcast_ref::<SortExec>() else {
                    return internal_err!("an ordered shuffle stands above a sort");
                };
                let order = sort.expr().clone();
                let fetch = sort.fetch();
                let sort = sort.clone().with_preserve_partitioning(true);
                input = Arc::new(sort);
                let to = To::Single { order: Some(order) };
                let shuffle = ShuffleExec::try_new(input, to, shuffle.filters)?;
                return Ok(Some(Arc::new(shuffle.fetching(fetch)?)));
            }
        };
        let shuffle = ShuffleExec::try_new(input, to, shuffle.filters)?;
        Ok(Some(Arc::new(shuffle)))
    }
}
