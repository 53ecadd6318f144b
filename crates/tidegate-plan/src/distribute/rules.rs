//! What physical planning makes of the shuffles: how joins run, aggregates that reduce before rows move, and that
//! nothing else moves rows.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext,
    replace_children_if_necessary,
};
use tidegate_operators::shuffle::{ShuffleExec, To};

use crate::join_order::is_estimated;
use crate::rules::changed;

/// Makes joins run as their inputs were divided: the side that was broadcast is built, and otherwise the smaller one.
/// It comes after DataFusion's choice, which knows nothing of the shuffles.
#[derive(Debug)]
pub(crate) struct JoinModes;

impl PhysicalOptimizerRule for JoinModes {
    fn name(&self) -> &str {
        "tidegate_join_modes"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, chosen)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn chosen(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return hash_join(join).map(Some);
    }
    // The left side of these is built. A side that is in one partition can be.
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let swap = is_broadcast(join.right()) && !is_one_partition(join.left());
        return swap.then(|| join.swap_inputs()).transpose();
    }
    if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
        let swap = is_broadcast(join.right()) && !is_one_partition(join.left());
        return swap.then(|| join.swap_inputs()).transpose();
    }
    Ok(None)
}

fn hash_join(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let (left, right) = (join.left(), join.right());
    let with = |mode| -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(join.builder().with_partition_mode(mode).build()?))
    };
    if join.null_aware || is_broadcast(left) {
        return with(PartitionMode::CollectLeft);
    }
    if is_broadcast(right) {
        return join.swap_inputs(PartitionMode::CollectLeft);
    }
    let mode = match is_one_partition(left) && is_one_partition(right) {
        true => PartitionMode::CollectLeft,
        false => PartitionMode::Partitioned,
    };
    let swap = match (rows(left)?, rows(right)?) {
        (Some(left), Some(right)) => right < left && join.join_type().supports_swap(),
        _ => false,
    };
    match swap {
        true => join.swap_inputs(mode),
        false => with(mode),
    }
}

fn is_one_partition(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.output_partitioning().partition_count() == 1
}

fn is_broadcast(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.downcast_ref::<ShuffleExec>() {
        Some(shuffle) => *shuffle.to() == To::Broadcast,
        // Keys are computed above the shuffle, and what is expected is noted there.
        None if plan.name() == "ProjectionExec" || is_estimated(plan) => {
            plan.children().into_iter().all(is_broadcast)
        }
        None => false,
    }
}

fn rows(input: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().copied())
}

/// Reduces groups before their rows are moved: final ▸ partial ▸ shuffle becomes final ▸ shuffle ▸ partial.
#[derive(Debug)]
pub(crate) struct CombineBeforeShuffle;

impl PhysicalOptimizerRule for CombineBeforeShuffle {
    fn name(&self) -> &str {
        "tidegate_combine_before_shuffle"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, combined)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn combined(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let is_final = |mode: &AggregateMode| {
        matches!(mode, AggregateMode::Final | AggregateMode::FinalPartitioned)
    };
    let Some(last) = node.downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let first = last.input().downcast_ref::<AggregateExec>();
    let first = first.filter(|first| *first.mode() == AggregateMode::Partial);
    let shuffle = first.and_then(|first| first.input().downcast_ref::<ShuffleExec>());
    // The first rows of all, and rows in an order, are those only above the shuffle.
    let shuffle = shuffle.filter(|shuffle| {
        shuffle.fetch().is_none() && !matches!(shuffle.to(), To::Single { order: Some(_) })
    });
    if *last.mode() == AggregateMode::FinalPartitioned && is_one_partition(last.input()) {
        return whole(last).map(Some);
    }
    let (true, Some(shuffle)) = (is_final(last.mode()), shuffle) else {
        return Ok(None);
    };
    // One that was asked for by fewer keys brings groups together as it is.
    let is_by_groups = match shuffle.to() {
        To::Hash { keys, .. } => is_by_groups(last, keys),
        _ => true,
    };
    if !is_by_groups {
        return Ok(None);
    }
    let to = match shuffle.to() {
        // The groups as the partial aggregate gives them, with the number of their grouping set.
        To::Hash { partitions, .. } => To::Hash {
            keys: last.group_expr().input_exprs(),
            partitions: *partitions,
        },
        other => other.clone(),
    };
    let input = Arc::clone(shuffle.input());
    let first = replace_children_if_necessary(Arc::clone(last.input()), vec![input])?;
    let shuffle = Arc::new(shuffle.with(first, to)?);
    replace_children_if_necessary(Arc::clone(node), vec![shuffle]).map(Some)
}

/// Whether rows are divided by the keys of an aggregate. Those of grouping sets always are: nothing else brings such
/// groups together.
fn is_by_groups(last: &AggregateExec, keys: &[Arc<dyn PhysicalExpr>]) -> bool {
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else {
        return false;
    };
    let groups = first.group_expr();
    let mut pairs = groups.expr().iter().zip(keys);
    !groups.is_single()
        || groups.expr().len() == keys.len() && pairs.all(|((group, _), key)| group == key)
}

/// An aggregate over one partition asks for no division of it: DataFusion would make one for grouping sets.
fn whole(last: &AggregateExec) -> Result<Arc<dyn ExecutionPlan>> {
    let aggregate = AggregateExec::try_new(
        AggregateMode::Final,
        last.group_expr().clone(),
        last.aggr_expr().to_vec(),
        last.filter_expr().to_vec(),
        Arc::clone(last.input()),
        last.input_schema(),
    )?;
    Ok(Arc::new(aggregate.with_limit_options(last.limit_options())))
}

/// Takes out what would bring the rows of one partition into one partition.
#[derive(Debug)]
pub(crate) struct UnneededShuffles;

impl PhysicalOptimizerRule for UnneededShuffles {
    fn name(&self) -> &str {
        "tidegate_unneeded_shuffles"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, |node| {
            let shuffle = node.downcast_ref::<ShuffleExec>();
            let unneeded = shuffle.filter(|shuffle| {
                matches!(shuffle.to(), To::Single { .. })
                    && is_one_partition(shuffle.input())
                    && shuffle.fetch().is_none()
            });
            Ok(unneeded.map(|shuffle| Arc::clone(shuffle.input())))
        })
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Refuses a plan in which something else than a shuffle moves rows. What no logical node names is in no stage, and an
/// exchange that claims a shuffle's division by another hash gives wrong rows.
#[derive(Debug)]
pub(crate) struct NothingElseMoves;

/// A movement that was not asked for.
#[derive(Debug, thiserror::Error)]
#[error("the plan moves rows where no shuffle stands: {0}")]
struct Foreign(String);

/// Whether planning ended because of a movement that was not asked for.
pub(crate) fn is_foreign(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::External(source) => source.is::<Foreign>(),
        _ => false,
    }
}

impl PhysicalOptimizerRule for NothingElseMoves {
    fn name(&self) -> &str {
        "tidegate_nothing_else_moves"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut found = None;
        plan.apply(|node| {
            let moves = node.is::<RepartitionExec>()
                || node.is::<CoalescePartitionsExec>()
                || node.is::<SortPreservingMergeExec>();
            if moves {
                found = Some(node.name().to_string());
            }
            Ok(match moves {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })?;
        match found {
            Some(name) => Err(DataFusionError::External(Box::new(Foreign(name)))),
            None => Ok(plan),
        }
    }

    fn schema_check(&self) -> bool {
        true
    }
}
