//! Intervals as keys: `1 month` and `30 days` are equal, so they are one group, one distinct row, one partition of a
//! window and one key of a join. Arrow compares months, days and the rest one by one.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, JoinConstraint, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_expressions;
use super::temporal::{lengths, to_length};
use crate::arithmetic::least;
use crate::sql::{Code, Error};

/// Makes their lengths the keys. A group shows the first of its intervals in arrow's order.
#[derive(Debug)]
pub struct IntervalKeys;

impl AnalyzerRule for IntervalKeys {
    fn name(&self) -> &str {
        "tidegate_interval_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            rewrite_expressions(plan, rewrite_expr)?.transform_data(rewrite_keys)
        })
        .data()
    }
}

const INTERVAL: &DataType = &DataType::Interval(IntervalUnit::MonthDayNano);

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = false;
    let expr = match expr {
        Expr::WindowFunction(mut call) => {
            changed = to_lengths(&mut call.params.partition_by, schema);
            Expr::WindowFunction(call)
        }
        Expr::AggregateFunction(mut call) if call.params.distinct => {
            match call.func.name() {
                "min" | "max" => {}
                "count" => changed = to_lengths(&mut call.params.args, schema),
                name if call.params.args.iter().any(|arg| is_interval(arg, schema)) => {
                    return Err(refused(&format!("{name}(DISTINCT …)")));
                }
                _ => {}
            }
            Expr::AggregateFunction(call)
        }
        other => other,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

fn rewrite_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => grouped_by_length(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) if has_interval(input.schema()) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column);
            let aggregate = Aggregate::try_new(input, columns.collect(), Vec::new())?;
            grouped_by_length(aggregate)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = Arc::clone(distinct.input.schema());
            let mut changed = to_lengths(&mut distinct.on_expr, &schema);
            if let Some(order) = &mut distinct.sort_expr {
                changed |= lengths(order, &schema);
            }
            let distinct = LogicalPlan::Distinct(Distinct::On(distinct));
            Ok(Transformed::new_transformed(distinct, changed))
        }
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                if is_interval(left, join.left.schema()) && is_interval(right, join.right.schema())
                {
                    to_length(left, INTERVAL);
                    to_length(right, INTERVAL);
                    changed = true;
                }
            }
            if changed {
                join.join_constraint = JoinConstraint::On;
            }
            Ok(Transformed::new_transformed(
                LogicalPlan::Join(join),
                changed,
            ))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn grouped_by_length(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let intervals: Vec<bool> = aggregate
        .group_expr
        .iter()
        .map(|expr| match expr {
            Expr::GroupingSet(sets) => {
                let mut exprs = sets.distinct_expr().into_iter();
                match exprs.any(|expr| is_interval(expr, &schema)) {
                    true => Err(refused("GROUPING SETS, ROLLUP and CUBE")),
                    false => Ok(false),
                }
            }
            expr => Ok(is_interval(expr, &schema)),
        })
        .collect::<Result<_>>()?;
    if !intervals.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let shown_name = |at: usize| format!("__interval_{at}");
    let (mut groups, mut calls) = (aggregate.group_expr, aggregate.aggr_expr);
    for (at, _) in intervals.iter().enumerate().filter(|(_, is)| **is) {
        let value = std::mem::take(&mut groups[at]).unalias();
        let mut length = value.clone();
        to_length(&mut length, INTERVAL);
        groups[at] = length.alias(format!("__length_{at}"));
        calls.push(least().call(vec![value]).alias(shown_name(at)));
    }
    let shown = aggregate
        .schema
        .iter()
        .enumerate()
        .map(|(at, (of_table, field))| match intervals.get(at) {
            Some(true) => Expr::Column(Column::new_unqualified(shown_name(at)))
                .alias_qualified(of_table.cloned(), field.name()),
            _ => Expr::from((of_table, field)),
        });
    let shown: Vec<Expr> = shown.collect();
    let grouped = Aggregate::try_new(aggregate.input, groups, calls)?;
    let plan = LogicalPlanBuilder::from(LogicalPlan::Aggregate(grouped)).project(shown)?;
    Ok(Transformed::yes(plan.build()?))
}

fn to_lengths(exprs: &mut [Expr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for expr in exprs.iter_mut().filter(|expr| is_interval(expr, schema)) {
        to_length(expr, INTERVAL);
        changed = true;
    }
    changed
}

fn has_interval(schema: &DFSchema) -> bool {
    let mut fields = schema.fields().iter();
    fields.any(|field| matches!(field.data_type(), DataType::Interval(_)))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

fn refused(clause: &str) -> DataFusionError {
    let text = format!("{clause} over intervals is not supported");
    let error = Error::new(Code::Unsupported, text);
    DataFusionError::External(Box::new(
        error.hint("use their lengths: extract(epoch FROM i)"),
    ))
}
