//! A movement of rows as a node of the logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::compute::SortOptions;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, SortExpr, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use tidegate_operators::shuffle::{Filters, Ranges, ShuffleExec, To};

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
    /// Row by row in turn.
    RoundRobin {
        /// How many partitions.
        partitions: usize,
    },
    /// As the files of the table below are dealt, if into so many partitions; else row by row in turn.
    Dealt {
        /// How many partitions.
        partitions: usize,
    },
    /// Row by row by chance.
    Random {
        /// How many partitions.
        partitions: usize,
        /// Where the chance comes from.
        seed: u64,
    },
    /// By ranges of an order.
    Range {
        /// The order.
        keys: Vec<SortExpr>,
        /// Where one range ends and the next one begins.
        bounds: Vec<Vec<ScalarValue>>,
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
            Movement::Dealt { partitions } => write!(f, "dealt in {partitions}"),
            Movement::Random { partitions, seed } => write!(f, "random({seed}) in {partitions}"),
            Movement::Range { keys, bounds } => {
                let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
                write!(f, "range({}) in {}", keys.join(", "), bounds.len() + 1)
            }
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
    /// What it is there for.
    pub why: Why,
}

/// What a shuffle is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Something above needs it. In which order rows come does not matter.
    Needed,
    /// It was asked for. Rows that come in an order stay in it.
    Asked,
}

impl Shuffle {
    /// A plan of the rows of its input, moved.
    pub(super) fn plan(self) -> LogicalPlan {
        let node = Arc::new(self);
        LogicalPlan::Extension(Extension { node })
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
            Movement::Range { keys, .. } => keys.iter().map(|key| key.expr.clone()).collect(),
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
            Movement::Range { keys, bounds } => {
                let keys = keys.iter().zip(exprs).map(|(key, expr)| SortExpr {
                    expr,
                    ..key.clone()
                });
                Movement::Range {
                    keys: keys.collect(),
                    bounds: bounds.clone(),
                }
            }
            other => other.clone(),
        };
        Ok(Self {
            input,
            to,
            ..self.clone()
        })
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
        let schema = logical.schema();
        let physical = |key| planner.create_physical_expr(key, schema, session, planning);
        let to = match &shuffle.to {
            Movement::Hash { keys, partitions } => To::Hash {
                keys: keys.iter().map(physical).collect::<Result<_>>()?,
                partitions: *partitions,
            },
            Movement::Dealt { partitions }
                if input.output_partitioning().partition_count() == *partitions =>
            {
                return Ok(Some(input));
            }
            Movement::RoundRobin { partitions } | Movement::Dealt { partitions } => {
                To::RoundRobin {
                    partitions: *partitions,
                }
            }
            Movement::Random { partitions, seed } => To::Random {
                partitions: *partitions,
                seed: *seed,
            },
            Movement::Range { keys, bounds } => {
                let keys = keys.iter().map(|key| {
                    let options = SortOptions::new(!key.asc, key.nulls_first);
                    Ok(PhysicalSortExpr::new(physical(&key.expr)?, options))
                });
                To::Range(ranges(keys.collect::<Result<_>>()?, bounds)?)
            }
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
        let moved = ShuffleExec::try_new(input, to, shuffle.filters)?;
        Ok(Some(Arc::new(match shuffle.why {
            Why::Asked => moved.keeping_order(),
            Why::Needed => moved,
        })))
    }
}

/// Ranges by these keys. One that is there twice, as two texts may come to one expression, says nothing more.
fn ranges(keys: Vec<PhysicalSortExpr>, bounds: &[Vec<ScalarValue>]) -> Result<Ranges> {
    let mut kept: Vec<usize> = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let is_there = |other: &usize| keys[*other].expr.eq(&key.expr);
        if !kept.iter().any(is_there) {
            kept.push(at);
        }
    }
    // Bounds of fewer keys are those of the first ones.
    let width = bounds.first().map_or(keys.len(), Vec::len);
    kept.retain(|at| *at < width);
    let of_bound = |bound: &Vec<ScalarValue>| kept.iter().map(|at| bound[*at].clone()).collect();
    let bounds = bounds.iter().map(of_bound).collect();
    let keys = kept.iter().map(|at| keys[*at].clone());
    match LexOrdering::new(keys) {
        Some(order) => Ranges::try_new(order, bounds),
        None => internal_err!("ranges have no key"),
    }
}
