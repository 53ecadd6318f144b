//! How each hash join runs, by the rows noted on its inputs: which side is built, and whether the build is shared or
//! both sides are divided by a hash.

use std::sync::Arc;

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

fn rows(input: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().copied())
}
