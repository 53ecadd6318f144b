//! What running a plan again gives, judged operator by operator from the leaves up.
//!
//! Honest rather than hopeful: an operator or function not known here makes the result `Varies`. An operator that
//! depends on the order of its input turns `AnyOrder` into `Varies`.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use tidegate_operators::shuffle::{OnePartitionExec, ShuffleExec, To};

use crate::arithmetic;
use crate::cut::restricted;
use crate::graph::Repeats;

/// Whether a task of a stage, run again, divides its rows as it did before: because each row goes where its values say, or
/// because the same rows come in the same order.
pub(crate) fn divides_alike(stage: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(shuffle) = stage.downcast_ref::<ShuffleExec>() else {
        return true;
    };
    let repeats_exactly = || {
        let task = restricted(shuffle.input(), 0);
        task.is_ok_and(|task| of(task.as_ref()) == Repeats::Exactly)
    };
    shuffle.to().is_by_value() || repeats_exactly()
}

/// What running `plan` again gives.
pub(crate) fn of(plan: &dyn ExecutionPlan) -> Repeats {
    let inputs: Vec<_> = plan
        .children()
        .into_iter()
        .map(|child| of(child.as_ref()))
        .collect();
    step(plan, &inputs)
}

/// The same, when the answer for the inputs is known.
pub(crate) fn step(plan: &dyn ExecutionPlan, inputs: &[Repeats]) -> Repeats {
    let input = inputs.iter().copied().max().unwrap_or(Repeats::Exactly);
    if input == Repeats::Varies || has_volatile_expressions(plan) {
        return Repeats::Varies;
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return of_aggregate(aggregate, input);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return of_sort(plan, sort.expr(), sort.fetch(), input);
    }
    if let Some(shuffle) = plan.downcast_ref::<ShuffleExec>() {
        return match shuffle.to() {
            To::Single { order: Some(order) } => of_sort(plan, order, shuffle.fetch(), input),
            _ => stopped_early(plan, input.max(Repeats::AnyOrder)),
        };
    }
    if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        return of_windows(window.window_expr(), &window.schema(), input);
    }
    if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        return of_windows(window.window_expr(), &window.schema(), input);
    }
    if plan.is::<DataSourceExec>() {
        return stopped_early(plan, one_partition(plan));
    }
    if let Some(one) = plan.downcast_ref::<OnePartitionExec>() {
        return match one.leaf().is::<DataSourceExec>() {
            true => Repeats::Exactly,
            false => Repeats::Varies,
        };
    }
    by_name(plan, input)
}

fn by_name(plan: &dyn ExecutionPlan, input: Repeats) -> Repeats {
    match plan.name() {
        "FilterExec"
        | "ProjectionExec"
        | "CooperativeExec"
        | "CoalesceBatchesExec"
        | "BufferExec"
        | "UnnestExec"
        | "SpillScopeExec"
        | "OutputRequirementExec"
        | "ScalarSubqueryExec"
        | "WriteExec"
        | "GlobalLimitExec"
        | "LocalLimitExec" => stopped_early(plan, input),
        "EmptyExec" | "PlaceholderRowExec" | "LazyMemoryExec" => {
            stopped_early(plan, one_partition(plan))
        }
        "ShuffleReadExec"
        | "UnionExec"
        | "InterleaveExec"
        | "HashJoinExec"
        | "NestedLoopJoinExec"
        | "CrossJoinExec"
        | "SortMergeJoinExec"
        | "PiecewiseMergeJoinExec"
        | "SymmetricHashJoinExec"
        | "RecursiveQueryExec"
        | "WorkTableExec" => stopped_early(plan, input.max(Repeats::AnyOrder)),
        _ => Repeats::Varies,
    }
}

/// Which rows come before a limit depends on their order.
fn stopped_early(plan: &dyn ExecutionPlan, repeats: Repeats) -> Repeats {
    let limits = plan.fetch().is_some() || plan.name() == "GlobalLimitExec";
    if limits && repeats != Repeats::Exactly {
        Repeats::Varies
    } else {
        repeats
    }
}

fn one_partition(plan: &dyn ExecutionPlan) -> Repeats {
    if plan.output_partitioning().partition_count() <= 1 {
        Repeats::Exactly
    } else {
        Repeats::AnyOrder
    }
}

/// Whether an operator computes something that differs from one time to the next.
pub(crate) fn has_volatile_expressions(plan: &dyn ExecutionPlan) -> bool {
    let mut volatile = false;
    let visited = plan.apply_expressions(&mut |expr| {
        volatile |= is_volatile(expr);
        Ok(TreeNodeRecursion::Continue)
    });
    volatile || visited.is_err()
}

/// Rows that are equal in every column cannot be told apart, so ties over all columns do not matter.
fn covers_every_column<'a>(
    order: impl Iterator<Item = &'a PhysicalSortExpr>,
    schema: &arrow::datatypes::Schema,
) -> bool {
    let ordered: std::collections::HashSet<usize> = order
        .filter_map(|sort| sort.expr.downcast_ref::<Column>())
        .map(Column::index)
        .collect();
    (0..schema.fields().len()).all(|column| ordered.contains(&column))
}

fn of_sort(
    plan: &dyn ExecutionPlan,
    order: &LexOrdering,
    fetch: Option<usize>,
    input: Repeats,
) -> Repeats {
    if covers_every_column(order.iter(), &plan.schema()) {
        return one_partition(plan);
    }
    match fetch {
        None => Repeats::AnyOrder,
        Some(_) if input == Repeats::Exactly && one_partition(plan) == Repeats::Exactly => {
            Repeats::AnyOrder
        }
        Some(_) => Repeats::Varies,
    }
}

fn of_aggregate(aggregate: &AggregateExec, input: Repeats) -> Repeats {
    if aggregate.limit_options().is_some() {
        return Repeats::Varies;
    }
    // Values that are equal by the order are told apart, unless they are the order.
    let ordered = |function: &AggregateFunctionExpr| {
        let order = function.order_bys();
        let is_key = |value: &Arc<dyn PhysicalExpr>| order.iter().any(|key| key.expr.eq(value));
        let values = function.expressions();
        let mut values = values.iter().filter(|value| !value.is::<Literal>());
        !order.is_empty() && values.all(is_key)
    };
    aggregate
        .aggr_expr()
        .iter()
        .map(|function| {
            of_function(
                function.fun().name(),
                function.field().data_type(),
                ordered(function),
                input,
            )
        })
        .max()
        .unwrap_or(Repeats::AnyOrder)
        .max(Repeats::AnyOrder)
}

/// What one aggregate function over an input gives again.
fn of_function(
    name: &str,
    result: &arrow::datatypes::DataType,
    ordered: bool,
    input: Repeats,
) -> Repeats {
    let depends_on_order = if input == Repeats::Exactly {
        Repeats::AnyOrder
    } else {
        Repeats::Varies
    };
    match name {
        "count" | "min" | "max" | "median" | "bit_and" | "bit_or" | "bit_xor" | "bool_and"
        | "bool_or" | "grouping" | "percentile_cont" => Repeats::AnyOrder,
        arithmetic::REPRODUCIBLE_SUM | arithmetic::REPRODUCIBLE_AVG => Repeats::AnyOrder,
        "sum" | "avg" if !result.is_floating() => Repeats::AnyOrder,
        "first_value" | "last_value" | "nth_value" | "array_agg" | "string_agg" if ordered => {
            Repeats::AnyOrder
        }
        // Sums of floats depend on the order of the rows, approximations on how they are merged.
        "sum" | "avg" | "first_value" | "last_value" | "nth_value" | "array_agg" | "string_agg"
        | "var" | "var_pop" | "stddev" | "stddev_pop" | "covar_samp" | "covar_pop" | "corr" => {
            depends_on_order
        }
        _ => Repeats::Varies,
    }
}

fn of_windows(
    windows: &[Arc<dyn WindowExpr>],
    schema: &arrow::datatypes::Schema,
    input: Repeats,
) -> Repeats {
    windows
        .iter()
        .map(|window| of_window(window.as_ref(), schema, input))
        .max()
        .unwrap_or(input)
        .max(Repeats::AnyOrder)
}

fn of_window(
    window: &dyn WindowExpr,
    schema: &arrow::datatypes::Schema,
    input: Repeats,
) -> Repeats {
    let depends_on_order = if input == Repeats::Exactly {
        Repeats::AnyOrder
    } else {
        Repeats::Varies
    };
    let inputs = schema.fields().len().saturating_sub(1);
    let no_ties = (0..inputs).all(|column| {
        let is_it = |expr: &dyn PhysicalExpr| {
            expr.downcast_ref::<Column>()
                .is_some_and(|found| found.index() == column)
        };
        window
            .order_by()
            .iter()
            .any(|sort| is_it(sort.expr.as_ref()))
            || window
                .partition_by()
                .iter()
                .any(|expr| is_it(expr.as_ref()))
    });
    let whole = window.get_window_frame();
    let peers_together = !matches!(
        whole.units,
        datafusion::logical_expr::WindowFrameUnits::Rows
    ) || (whole.start_bound.is_unbounded() && whole.end_bound.is_unbounded());
    let aggregate = window
        .as_any()
        .downcast_ref::<PlainAggregateWindowExpr>()
        .map(|window| window.get_aggregate_expr())
        .or_else(|| {
            window
                .as_any()
                .downcast_ref::<SlidingAggregateWindowExpr>()
                .map(|w| w.get_aggregate_expr())
        });
    if let Some(function) = aggregate {
        let own = of_function(
            function.fun().name(),
            function.field().data_type(),
            no_ties,
            input,
        );
        return if peers_together || no_ties {
            own
        } else {
            own.max(depends_on_order)
        };
    }
    let rank_like = window
        .as_any()
        .downcast_ref::<StandardWindowExpr>()
        .is_some_and(|window| {
            let name = window.get_standard_func_expr().name().to_lowercase();
            ["rank", "dense_rank", "percent_rank", "cume_dist"]
                .iter()
                .any(|rank| name.starts_with(rank))
        });
    if rank_like || no_ties {
        Repeats::AnyOrder
    } else {
        depends_on_order
    }
}
