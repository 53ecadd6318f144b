//! What dates, times and intervals mean beside each other, where DataFusion gives them another meaning than PostgreSQL.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, SortExpr, cast, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{change_inside, compared, compares, membership, rewrite_expressions};
use crate::arithmetic::{Comparable, sql_type};
use crate::sql::{Code, Error};

/// - Intervals are compared and sorted by their length.
/// - A date plus or minus an interval is a timestamp, unless the interval is a constant of whole days: then it stays
///   a date. PostgreSQL makes both timestamps; DataFusion drops the hours.
/// - A date, time or interval is not compared with a number.
///
/// Comes before type coercion, which would do all of this in its own way.
#[derive(Debug)]
pub struct Temporal;

impl AnalyzerRule for Temporal {
    fn name(&self) -> &str {
        "tidegate_temporal"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node).data()
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite_expressions(plan, rewrite_expr)?
        .transform_data(|plan| Ok(sort_by_length(plan)))?
        .map_data(LogicalPlan::recompute_schema)
}

fn sort_by_length(plan: LogicalPlan) -> Transformed<LogicalPlan> {
    let LogicalPlan::Sort(mut sort) = plan else {
        return Transformed::no(plan);
    };
    let schema = merge_schema(&[&sort.input]);
    let changed = lengths(&mut sort.expr, &schema);
    Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
}

/// Makes intervals among the keys of an order their lengths.
pub(super) fn lengths(keys: &mut [SortExpr], schema: &DFSchema) -> bool {
    let mut changed = false;
    for key in keys {
        if let Ok(kind @ DataType::Interval(_)) = key.expr.get_type(schema) {
            to_length(&mut key.expr, &kind);
            changed = true;
        }
    }
    changed
}

fn rewrite_expr(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut changed = compare(compared(&mut expr), schema)?;
    let expr = match expr {
        Expr::BinaryExpr(mut binary) if !compares(binary.op) => {
            changed = rewrite_binary(&mut binary, schema)?;
            Expr::BinaryExpr(binary)
        }
        Expr::InSubquery(_) => {
            changed = compare_inside(&mut expr, schema)?;
            expr
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" => {
            return nullif(Expr::ScalarFunction(call), schema);
        }
        Expr::AggregateFunction(mut call) => {
            let AggregateFunction { params, .. } = &mut call;
            changed |= lengths(&mut params.order_by, schema);
            Expr::AggregateFunction(call)
        }
        Expr::WindowFunction(mut call) => {
            let WindowFunction { params, .. } = &mut *call;
            changed |= lengths(&mut params.order_by, schema);
            Expr::WindowFunction(call)
        }
        other => other,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

fn rewrite_binary(binary: &mut BinaryExpr, schema: &DFSchema) -> Result<bool> {
    let BinaryExpr { left, op, right } = binary;
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(false);
    };
    match (*op, left_type, right_type) {
        (
            Operator::Plus | Operator::Minus,
            DataType::Date32 | DataType::Date64,
            DataType::Interval(_),
        ) => Ok(keep_hours(left, right)),
        (Operator::Plus, DataType::Interval(_), DataType::Date32 | DataType::Date64) => {
            Ok(keep_hours(right, left))
        }
        // Both would become decimals, whose quotient is not the whole number that integers give.
        (Operator::Divide, left_type, DataType::UInt64) if left_type.is_signed_integer() => {
            to_type(right, DataType::Int64);
            Ok(true)
        }
        (Operator::Divide, DataType::UInt64, right_type) if right_type.is_signed_integer() => {
            to_type(left, DataType::Int64);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Makes a date a timestamp where an interval has more than whole days, or may have.
fn keep_hours(date: &mut Expr, interval: &Expr) -> bool {
    let changes = !whole_days(interval);
    if changes {
        to_type(date, DataType::Timestamp(TimeUnit::Microsecond, None));
    }
    changes
}

fn whole_days(interval: &Expr) -> bool {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => value.nanoseconds == 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => value.milliseconds == 0,
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => true,
        Expr::Negative(inner) => whole_days(inner),
        _ => false,
    }
}

/// Brings what is compared to lengths if there are intervals, and refuses numbers beside dates and times.
fn compare(exprs: Vec<&mut Expr>, schema: &DFSchema) -> Result<bool> {
    let typed: Vec<(&mut Expr, DataType)> = exprs
        .into_iter()
        .filter_map(|expr| expr.get_type(schema).ok().map(|kind| (expr, kind)))
        .collect();
    let kinds: Vec<&DataType> = typed.iter().map(|(_, kind)| kind).collect();
    let intervals = are_intervals(&kinds)?;
    if intervals {
        for (expr, kind) in typed {
            if kind != DataType::Null {
                to_length(expr, &kind);
            }
        }
    }
    Ok(intervals)
}

/// As [`compare`], for IN over a subquery.
fn compare_inside(expr: &mut Expr, schema: &DFSchema) -> Result<bool> {
    let Some((predicate, inside)) = membership(expr) else {
        return Ok(false);
    };
    let Ok(outside) = predicate.expr.get_type(schema) else {
        return Ok(false);
    };
    let intervals = are_intervals(&[&outside, &inside])?;
    if intervals {
        if outside != DataType::Null {
            to_length(&mut predicate.expr, &outside);
        }
        if inside != DataType::Null {
            change_inside(predicate, |value| to_length(value, &inside))?;
        }
    }
    Ok(intervals)
}

/// Whether types that are compared are intervals; an error if they are a number and a date, time or interval.
fn are_intervals(kinds: &[&DataType]) -> Result<bool> {
    let temporal = kinds.iter().find(|kind| kind.is_temporal());
    let number = kinds.iter().find(|kind| kind.is_numeric());
    if let (Some(temporal), Some(number)) = (temporal, number) {
        let (temporal, number) = (sql_type(temporal), sql_type(number));
        return Err(DataFusionError::External(Box::new(
            Error::new(
                Code::TypeMismatch,
                format!("a value of type {temporal} cannot be compared with one of type {number}"),
            )
            .hint("cast one of them, or compare extract(epoch FROM …) with the number"),
        )));
    }
    Ok(kinds
        .iter()
        .any(|kind| matches!(kind, DataType::Interval(_))))
}

/// `nullif(a, b)` of intervals, whose value is not their length.
fn nullif(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let [value, other] = call.args.as_slice() else {
        return Ok(Transformed::no(expr));
    };
    let (mut left, mut right) = (value.clone(), other.clone());
    if !compare(vec![&mut left, &mut right], schema)? {
        return Ok(Transformed::no(expr));
    }
    let null = ScalarValue::try_from(value.get_type(schema)?)?;
    let chosen = when(left.eq(right), Expr::Literal(null, None)).otherwise(value.clone())?;
    Ok(Transformed::yes(chosen))
}

/// Makes a value of a type the length of the interval it is.
pub(super) fn to_length(expr: &mut Expr, kind: &DataType) {
    if !matches!(kind, DataType::Duration(_)) {
        to_type(expr, DataType::Interval(IntervalUnit::MonthDayNano));
    }
    *expr = Comparable::IntervalLength.of(std::mem::take(expr));
}

fn to_type(expr: &mut Expr, data_type: DataType) {
    *expr = cast(std::mem::take(expr), data_type);
}
