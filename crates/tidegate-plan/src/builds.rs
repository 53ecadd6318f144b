//! Build sides that the tasks of a stage share.
//!
//! Each task runs a plan of its own. The table of a join whose build side every partition is given is the same in all of
//! them, though, and takes a task longer than its own rows if it is large. Of these joins a task takes the table that
//! another one of its stage in this process has made, or makes it for the others.
//!
//! What a task finds out while it runs stays its own: the values of its subqueries, and the filter that a join makes for
//! its probe side, which may follow from other joins of the task. So a build side that such a filter reaches, one that scans
//! files, is not shared, and neither is one that draws random numbers.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use tidegate_operators::shuffle::ShuffleReadExec;

use crate::graph::gives_build_rows;
use crate::repeats::has_volatile_expressions;

type Plan = Arc<dyn ExecutionPlan>;

/// The tables of the joins of a stage.
#[derive(Debug)]
pub struct Builds {
    /// Of each such join, in the order in which a plan is walked. The table is kept by whoever is made from it.
    joins: Vec<Option<Plan>>,
}

impl Builds {
    /// Those of a plan of the stage.
    pub fn of(plan: &Plan) -> Result<Self> {
        let mut joins = Vec::new();
        plan.apply(|node| {
            joins.push(shares_its_build(node).then(|| Arc::clone(node)));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self { joins })
    }

    /// Another plan of the same stage, with these tables.
    pub fn shared_by(&self, plan: Plan) -> Result<Plan> {
        shared(plan, &mut self.joins.iter())
    }
}

fn shared<'a>(plan: Plan, joins: &mut impl Iterator<Item = &'a Option<Plan>>) -> Result<Plan> {
    let Some(other) = joins.next() else {
        return Err(DataFusionError::Internal(
            "two plans of a stage differ".into(),
        ));
    };
    let children = plan.children().into_iter();
    let children = children.map(|child| shared(Arc::clone(child), joins));
    let children = children.collect::<Result<Vec<_>>>()?;
    let plan = replace_children_if_necessary(plan, children)?;
    let other = other.as_ref().and_then(|other| other.downcast_ref());
    match (plan.downcast_ref::<HashJoinExec>(), other) {
        (Some(join), Some(other)) => with_the_table_of(join, other),
        _ => Ok(plan),
    }
}

/// A join on its own inputs and by its own expressions, with another one's table.
fn with_the_table_of(join: &HashJoinExec, other: &HashJoinExec) -> Result<Plan> {
    let children = vec![Arc::clone(join.left()), Arc::clone(join.right())];
    let builder = other.builder().with_new_children(children)?;
    let builder = builder
        .with_on(join.on().to_vec())
        .with_filter(join.filter().cloned());
    let mut shared = builder.build()?;
    for filter in join.dynamic_expressions_produced() {
        let filter = filter as Arc<dyn Any + Send + Sync>;
        let filter = filter.downcast::<DynamicFilterPhysicalExpr>();
        let filter = filter.map_err(|_| {
            DataFusionError::Internal("the filter of a join is of another kind".into())
        })?;
        shared = shared.with_dynamic_filter_expr(filter)?;
    }
    Ok(Arc::new(shared))
}

/// Whether the tasks of a stage share the table of this join. It then has one set of metrics in all of them.
pub(crate) fn shares_its_build(plan: &Plan) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some_and(|join| {
        *join.partition_mode() == PartitionMode::CollectLeft
            && !gives_build_rows(*join.join_type())
            && !join.on().iter().any(|(build, _)| is_volatile(build))
            && is_the_same_in_all(join.left())
    })
}

fn is_the_same_in_all(plan: &Plan) -> bool {
    let children = plan.children();
    let is_leaf = children.is_empty();
    let reads_files = is_leaf
        && !plan.is::<ShuffleReadExec>()
        && !plan.is::<EmptyExec>()
        && !plan.is::<PlaceholderRowExec>();
    let varies = reads_files || has_volatile_expressions(plan.as_ref());
    !varies && children.into_iter().all(is_the_same_in_all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{JoinType, NullEquality, internal_err};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::error::Result;
    use datafusion::execution::TaskContext;
    use datafusion::physical_expr::expressions::{col, lit};
    use datafusion::physical_plan::joins::utils::JoinFilter;
    use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
    use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
    use datafusion::physical_plan::projection::ProjectionExec;
    use datafusion::physical_plan::{ExecutionPlan, collect};

    use super::{Builds, Plan, shares_its_build};
    use crate::restricted;

    /// The row 2, joined with the rows 1 and 2 of one partition and 2 and 3 of another one.
    fn stage(join_type: JoinType) -> Result<Plan> {
        let row = Arc::new(PlaceholderRowExec::new(Arc::new(Schema::empty())));
        let build = ProjectionExec::try_new(vec![(lit(2_i64), "k".to_owned())], row)?;
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let batch = |values: Vec<i64>| {
            let values = Arc::new(Int64Array::from(values));
            RecordBatch::try_new(Arc::clone(&schema), vec![values])
        };
        let partitions = [vec![batch(vec![1, 2])?], vec![batch(vec![2, 3])?]];
        let probe = MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&schema), None)?;
        let on = vec![(col("k", &build.schema())?, col("k", &schema)?)];
        Ok(Arc::new(HashJoinExec::try_new(
            Arc::new(build),
            probe,
            on,
            None,
            &join_type,
            None,
            PartitionMode::CollectLeft,
            NullEquality::NullEqualsNothing,
            false,
        )?))
    }

    fn rows_of(plan: &Plan) -> usize {
        let metrics = plan.metrics();
        metrics
            .and_then(|metrics| metrics.output_rows())
            .unwrap_or(0)
    }

    #[tokio::test]
    async fn the_tasks_of_a_stage_make_a_table_once() -> Result<()> {
        let builds = Builds::of(&stage(JoinType::Inner)?)?;
        let (mut built, mut alone) = (0, 0);
        for partition in 0..2 {
            let shared = restricted(&builds.shared_by(stage(JoinType::Inner)?)?, partition)?;
            let own = restricted(&stage(JoinType::Inner)?, partition)?;
            for (plan, made) in [(shared, &mut built), (own, &mut alone)] {
                let context = Arc::new(TaskContext::default());
                let batches = collect(Arc::clone(&plan), context).await?;
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(rows, 1, "each partition has a 2");
                *made += rows_of(plan.children()[0]);
            }
        }
        assert_eq!((built, alone), (1, 2));
        Ok(())
    }

    /// The same join, under a condition.
    fn with_condition(plan: &Plan) -> Result<Plan> {
        let join = plan.downcast_ref::<HashJoinExec>();
        let builder = join.map(HashJoinExec::builder);
        let condition = JoinFilter::new(lit(true), Vec::new(), Arc::new(Schema::empty()));
        match builder {
            Some(builder) => builder.with_filter(Some(condition)).build_exec(),
            None => internal_err!("it is a join"),
        }
    }

    #[test]
    fn the_condition_of_a_join_stays_that_of_the_task() -> Result<()> {
        let one = with_condition(&stage(JoinType::Inner)?)?;
        let two = with_condition(&stage(JoinType::Inner)?)?;
        let shared = Builds::of(&one)?.shared_by(Arc::clone(&two))?;
        let condition = |plan: &Plan| {
            let join = plan.downcast_ref::<HashJoinExec>();
            let filter = join.and_then(HashJoinExec::filter);
            filter.map(|filter| Arc::clone(filter.expression()))
        };
        let of = [&one, &two, &shared].map(condition);
        let [Some(one), Some(two), Some(shared)] = of else {
            return internal_err!("each has a condition");
        };
        assert!(Arc::ptr_eq(&shared, &two) && !Arc::ptr_eq(&shared, &one));
        Ok(())
    }

    #[test]
    fn what_a_build_side_gives_at_the_end_is_not_shared() -> Result<()> {
        assert!(shares_its_build(&stage(JoinType::Inner)?));
        assert!(shares_its_build(&stage(JoinType::RightAnti)?));
        assert!(!shares_its_build(&stage(JoinType::Left)?));
        Ok(())
    }
}
