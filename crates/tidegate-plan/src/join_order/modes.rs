//! How each hash join runs, by the rows noted on its inputs: which side is built, and whether the build is shared or
//! both sides are divided by a hash.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

/// A build of at most so many rows is shared whatever the other side has.
const SHARED_ROWS: usize = 1_500_000;

/// A build of at most so many rows is shared if the other side has [`SHARED_RATIO`] times as many: to divide them costs
/// more than one thread that builds.
const SHARED_ROWS_MAX: usize = 16_000_000;
const SHARED_RATIO: usize = 4;

/// A table of at most so many rows is small.
const SMALL_ROWS: usize = 8_192;

/// Chooses before DataFusion does, which then finds nothing left to choose.
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
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) if *join.partition_mode() == PartitionMode::Auto => {
                Ok(match chosen(join)? {
                    Some(join) => Transformed::yes(join),
                    None => Transformed::no(node),
                })
            }
            _ => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Builds the side whose keys spare more reading, after DataFusion built the one with fewer rows.
#[derive(Debug)]
pub(crate) struct SmallBuilds;

impl PhysicalOptimizerRule for SmallBuilds {
    fn name(&self) -> &str {
        "tidegate_small_builds"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) if right_spares_more(join)? => Ok(Transformed::yes(
                join.swap_inputs(PartitionMode::CollectLeft)?,
            )),
            _ => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether the right one of two small sides is to be built, even if it has more rows: it reads less than the other one and
/// has lost rows. Its keys are a filter for what the other side reads, and its table costs next to nothing.
fn right_spares_more(join: &HashJoinExec) -> Result<bool> {
    let is_shared = *join.partition_mode() == PartitionMode::CollectLeft;
    if !is_shared || *join.join_type() != JoinType::Inner {
        return Ok(false);
    }
    let (Some(left), Some(right)) = (rows(join.left())?, rows(join.right())?) else {
        return Ok(false);
    };
    if left.max(right) > SMALL_ROWS {
        return Ok(false);
    }
    let (Some(by_left), Some(by_right)) = (rows_read(join.left())?, rows_read(join.right())?)
    else {
        return Ok(false);
    };
    Ok(by_right < by_left && right.saturating_mul(2) <= by_right)
}

fn chosen(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (Some(left), Some(right)) = (rows(join.left())?, rows(join.right())?) else {
        return Ok(None);
    };
    if join.null_aware {
        return Ok(None);
    }
    let swap = right < left && join.join_type().supports_swap();
    let (build, probe) = if swap { (right, left) } else { (left, right) };
    let is_shared = build <= SHARED_ROWS
        || build <= SHARED_ROWS_MAX && probe >= build.saturating_mul(SHARED_RATIO);
    let mode = match is_shared {
        true => PartitionMode::CollectLeft,
        false => PartitionMode::Partitioned,
    };
    Ok(Some(match swap {
        true => join.swap_inputs(mode)?,
        false => Arc::new(join.builder().with_partition_mode(mode).build()?),
    }))
}

/// Rows that all scans below give.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let inputs = plan.children();
    if inputs.is_empty() {
        return rows(plan);
    }
    let mut all = 0usize;
    for input in inputs {
        match rows_read(input)? {
            Some(read) => all = all.saturating_add(read),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

fn rows(input: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().copied())
}
