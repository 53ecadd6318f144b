//! How a shuffle divides rows, as plan data.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::physical_expr::projection::update_expr;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{EvaluationType, SchedulingType};
use datafusion::physical_plan::projection::ProjectionExpr;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};

use super::number::{self, NumberExec};
use super::{Filters, Ranges, partitions};

/// How rows are divided.
#[derive(Debug, Clone, PartialEq)]
pub enum To {
    /// By a hash of the keys.
    Hash {
        /// What is hashed.
        keys: Vec<Arc<dyn PhysicalExpr>>,
        /// How many partitions.
        partitions: usize,
    },
    /// Row by row in turn.
    RoundRobin {
        /// How many partitions.
        partitions: usize,
    },
    /// As they are: each partition becomes one. Only a place to cut.
    Forward {
        /// How many partitions.
        partitions: usize,
    },
    /// Row by row, by chance. Where a row goes follows from the seed, its task and its place among the task's rows.
    Random {
        /// How many partitions.
        partitions: usize,
        /// Where the chance comes from.
        seed: u64,
    },
    /// By ranges of an order.
    Range(Ranges),
    /// All of them in every partition of the join that reads them.
    Broadcast,
    /// All in one, merged by an order or as they come.
    Single {
        /// The order of the input's partitions, which the merged rows have too.
        order: Option<LexOrdering>,
    },
}

impl To {
    /// How many partitions come out. Broadcast rows are kept once.
    pub fn partitions(&self) -> usize {
        match self {
            To::Hash { partitions, .. }
            | To::RoundRobin { partitions }
            | To::Forward { partitions }
            | To::Random { partitions, .. } => *partitions,
            To::Range(ranges) => ranges.count(),
            To::Broadcast | To::Single { .. } => 1,
        }
    }

    /// Whether a row goes where its own values say, and not where its place among other rows says: then whoever divides
    /// the same rows again divides them alike, in whatever order they come.
    pub fn is_by_value(&self) -> bool {
        match self {
            To::Hash { .. }
            | To::Range(_)
            | To::Forward { .. }
            | To::Broadcast
            | To::Single { .. } => true,
            To::RoundRobin { partitions } | To::Random { partitions, .. } => *partitions <= 1,
        }
    }

    /// What moves rows inside one process. Rows that are given a value for it still have that when they come out.
    pub(super) fn stream(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        fetch: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = Arc::clone(input);
        Ok(match self {
            To::Hash { .. } => Arc::new(RepartitionExec::try_new(input, self.partitioning())?),
            To::RoundRobin { .. } | To::Random { .. } | To::Range(_) => {
                let numbered: Arc<dyn ExecutionPlan> =
                    Arc::new(NumberExec::new(input, self.clone()));
                let columns = numbered.schema().fields().len();
                let by_number = number::partitioning(columns, self.partitions());
                Arc::new(RepartitionExec::try_new(numbered, by_number)?)
            }
            To::Forward { .. } => input,
            To::Single { order: Some(order) } => {
                Arc::new(SortPreservingMergeExec::new(order.clone(), input).with_fetch(fetch))
            }
            To::Broadcast | To::Single { order: None } => {
                Arc::new(CoalescePartitionsExec::new(input).with_fetch(fetch))
            }
        })
    }

    pub(super) fn properties(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        filters: Filters,
    ) -> PlanProperties {
        let equivalences = match (filters, self) {
            (Filters::Pass, _) => self.equivalences(input),
            // What reads it in another task knows no more than this.
            (Filters::Stop, To::Forward { .. }) => {
                let mut equivalences = EquivalenceProperties::new(input.schema());
                equivalences
                    .add_orderings(input.equivalence_properties().oeq_class().iter().cloned());
                equivalences
            }
            (Filters::Stop, To::Single { order: Some(order) }) => {
                EquivalenceProperties::new_with_orderings(input.schema(), [order.clone()])
            }
            (Filters::Stop, _) => EquivalenceProperties::new(input.schema()),
        };
        let (behavior, boundedness) = (input.pipeline_behavior(), input.boundedness());
        PlanProperties::new(equivalences, self.partitioning(), behavior, boundedness)
            .with_scheduling_type(SchedulingType::Cooperative)
            .with_evaluation_type(EvaluationType::Eager)
    }

    /// What is known of the rows of `input` and holds for the rows that come out.
    fn equivalences(&self, input: &Arc<dyn ExecutionPlan>) -> EquivalenceProperties {
        let mut equivalences = input.equivalence_properties().clone();
        if !self.keeps_order(input) {
            equivalences.clear_orderings();
        }
        if partitions(input) > 1 {
            equivalences.clear_per_partition_constants();
        }
        if let To::Single { order: Some(order) } = self {
            // What was constant in each partition is left out of the orderings above, and is constant no more.
            equivalences.add_ordering(order.clone());
        }
        equivalences
    }

    pub(super) fn partitioning(&self) -> Partitioning {
        match self {
            To::Hash { keys, partitions } => Partitioning::Hash(keys.clone(), *partitions),
            To::RoundRobin { partitions } => Partitioning::RoundRobinBatch(*partitions),
            To::Forward { partitions } => Partitioning::UnknownPartitioning(*partitions),
            // Nothing above may rely on ranges: which ones two inputs have, only the shuffles know.
            To::Random { .. } | To::Range(_) => {
                Partitioning::UnknownPartitioning(self.partitions())
            }
            To::Broadcast | To::Single { .. } => Partitioning::UnknownPartitioning(1),
        }
    }

    /// Whether rows that come one after the other in a partition of `input` do so in a partition that comes out.
    pub(super) fn keeps_order(&self, input: &Arc<dyn ExecutionPlan>) -> bool {
        matches!(self, To::Single { order: Some(_) } | To::Forward { .. }) || partitions(input) <= 1
    }

    /// What it computes of a row.
    pub fn expressions(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        match self {
            To::Hash { keys, .. } => keys.iter().collect(),
            To::Range(ranges) => ranges.order().iter().map(|sort| &sort.expr).collect(),
            To::Single { order: Some(order) } => order.iter().map(|sort| &sort.expr).collect(),
            To::RoundRobin { .. }
            | To::Forward { .. }
            | To::Random { .. }
            | To::Broadcast
            | To::Single { order: None } => vec![],
        }
    }

    pub(super) fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.expressions() {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// The same over the columns of a projection of the input; none if one that is needed is not among them.
    pub(super) fn projected(&self, columns: &[ProjectionExpr]) -> Result<Option<Self>> {
        Ok(match self {
            To::Hash { keys, partitions } => {
                let keys = keys.iter().map(|key| update_expr(key, columns, false));
                let keys = keys.collect::<Result<Option<Vec<_>>>>()?;
                keys.map(|keys| To::Hash {
                    keys,
                    partitions: *partitions,
                })
            }
            To::Range(ranges) => {
                let keys = projected(ranges.order(), columns)?;
                keys.and_then(|keys| ranges.by(keys)).map(To::Range)
            }
            To::Single { order: Some(order) } => {
                projected(order, columns)?.map(|sorts| To::Single {
                    order: LexOrdering::new(sorts),
                })
            }
            other => Some(other.clone()),
        })
    }
}

/// The keys of an order over the columns of a projection; none if one of them is not there.
fn projected(
    order: &LexOrdering,
    columns: &[ProjectionExpr],
) -> Result<Option<Vec<PhysicalSortExpr>>> {
    let sorts = order.iter().map(|sort| {
        let expr = update_expr(&sort.expr, columns, false)?;
        Ok(expr.map(|expr| PhysicalSortExpr::new(expr, sort.options)))
    });
    sorts.collect()
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Hash { keys, partitions } => {
                let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
                write!(f, "hash({}) in {partitions}", keys.join(", "))
            }
            To::RoundRobin { partitions } => write!(f, "round robin in {partitions}"),
            To::Forward { partitions } => write!(f, "forward in {partitions}"),
            To::Random { partitions, seed } => write!(f, "random({seed}) in {partitions}"),
            To::Range(ranges) => write!(f, "{ranges}"),
            To::Broadcast => write!(f, "broadcast"),
            To::Single { order: None } => write!(f, "single"),
            To::Single { order: Some(order) } => write!(f, "single, ordered by {order}"),
        }
    }
}
