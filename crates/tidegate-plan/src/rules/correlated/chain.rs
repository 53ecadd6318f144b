//! Subqueries that DataFusion joins rightly: a chain of operators from the top down to the conditions that refer
//! outwards, each of which can give the columns of those conditions besides its own.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, FetchType, Filter, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, SkipType,
};

use super::references::{Outer, Reach, beyond, lateral, outer_columns, subquery_in};

/// What a subquery is asked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Whether it has a row.
    Exists,
    /// Whether a value is among its rows.
    Membership,
    /// Its only row.
    Value,
    /// Its rows beside the ones it belongs to.
    Lateral,
}

/// Moves the parts of an inner join's condition that refer outwards above the join, where they can be pulled up.
pub(super) fn conditions_above_joins(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| match node {
        LogicalPlan::Join(mut join)
            if join.join_type == JoinType::Inner
                && lateral(&join.right).is_none()
                && join.filter.as_ref().is_some_and(Expr::contains_outer) =>
        {
            let parts = join.filter.take().map(split_conjunction_owned);
            let (above, within): (Vec<_>, Vec<_>) = parts
                .unwrap_or_default()
                .into_iter()
                .partition(Expr::contains_outer);
            join.filter = conjunction(within);
            let filtered = above.into_iter().try_fold(
                LogicalPlanBuilder::from(LogicalPlan::Join(join)),
                LogicalPlanBuilder::filter,
            )?;
            Ok(Transformed::yes(filtered.build()?))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// Whether a subquery is such a chain.
pub(super) fn is_plain(plan: &LogicalPlan, kind: Kind, reach: Reach) -> Result<bool> {
    let single = matches!(kind, Kind::Value | Kind::Lateral);
    let (mut filtered, mut grouped) = (false, false);
    let mut node = plan;
    while !outer_columns(node, reach)?.is_empty() {
        if !beyond(node, reach)?.is_empty() {
            return Ok(false);
        }
        let outside = node.contains_outer_reference();
        node = match node {
            LogicalPlan::Projection(projection) if !outside => &projection.input,
            LogicalPlan::Distinct(Distinct::All(input)) => input,
            LogicalPlan::Filter(filter) => {
                let mut parts = split_conjunction(&filter.predicate).into_iter();
                let outwards = |part: &&Expr| part.contains_outer();
                let fits = |part: &Expr| {
                    let plain = !part
                        .exists(|e| Ok(subquery_in(e).is_some()))
                        .unwrap_or(true);
                    plain && (!grouped || is_equality(part, filter.input.schema()))
                };
                if !parts.by_ref().filter(outwards).all(fits) {
                    return Ok(false);
                }
                filtered = true;
                &filter.input
            }
            LogicalPlan::Aggregate(aggregate) if !outside => {
                let sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
                // Without GROUP BY there is a row for each row outside, also where nothing matches.
                let one_row = aggregate.group_expr.is_empty();
                if aggregate.group_expr.iter().any(sets)
                    || one_row && (!single || filtered || grouped)
                {
                    return Ok(false);
                }
                grouped = true;
                &aggregate.input
            }
            // One row is as good as all of them.
            LogicalPlan::Limit(limit) if kind == Kind::Exists && std::ptr::eq(node, plan) => {
                let none_skipped = matches!(limit.get_skip_type()?, SkipType::Literal(0));
                if !none_skipped || !matches!(limit.get_fetch_type()?, FetchType::Literal(_)) {
                    return Ok(false);
                }
                &limit.input
            }
            _ => return Ok(false),
        };
    }
    Ok(true)
}

/// Whether a condition makes one group of those of an aggregate: a column that equals something outside.
fn is_equality(condition: &Expr, schema: &DFSchema) -> bool {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return false;
    };
    // Intervals are not compared as they are.
    let column = |expr: &Expr| match expr {
        Expr::Column(column) => schema
            .field_from_column(column)
            .is_ok_and(|field| !matches!(field.data_type(), DataType::Interval(_))),
        _ => false,
    };
    (column(left) && !right.any_column_refs()) || (column(right) && !left.any_column_refs())
}

/// Gives the columns that are compared with ones outside names of their own, if another column could be taken for one
/// of them: the join that the subquery becomes knows them by their names alone.
pub(super) fn with_own_names(
    plan: LogicalPlan,
    outer: &[Outer],
    number: usize,
    reach: Reach,
) -> Result<LogicalPlan> {
    match clash(&plan, outer, reach)? {
        true => renamed(plan, number, reach, &mut 0),
        false => Ok(plan),
    }
}

fn clash(plan: &LogicalPlan, outer: &[Outer], reach: Reach) -> Result<bool> {
    let mut above: Vec<&LogicalPlan> = Vec::new();
    let mut compared: Vec<&Column> = Vec::new();
    let mut node = plan;
    while !outer_columns(node, reach)?.is_empty() {
        if let LogicalPlan::Filter(filter) = node {
            let columns = columns_compared(filter);
            if !columns.is_empty() && !compared.is_empty() {
                return Ok(true);
            }
            let alike = |column: &&Column| {
                let schemas = above.iter().map(|node| node.schema());
                let mut schemas = schemas.chain([filter.input.schema()]);
                schemas.any(|schema| has_other(schema, column))
                    || outer.iter().any(|outer| outer.column == **column)
            };
            if columns.iter().any(alike) {
                return Ok(true);
            }
            compared.extend(columns);
        }
        above.push(node);
        node = match node.inputs().as_slice() {
            [input] => input,
            _ => break,
        };
    }
    Ok(false)
}

/// The columns inside that a filter compares with columns outside.
fn columns_compared(filter: &Filter) -> Vec<&Column> {
    let parts = split_conjunction(&filter.predicate);
    let outwards = parts.into_iter().filter(|part| part.contains_outer());
    let mut columns: Vec<&Column> = outwards.flat_map(Expr::column_refs).collect();
    columns.sort();
    columns.dedup();
    columns
}

/// Whether another column has the name of this one.
fn has_other(schema: &DFSchema, column: &Column) -> bool {
    schema.iter().any(|(of_table, field)| {
        *field.name() == column.name && of_table != column.relation.as_ref()
    })
}

fn renamed(
    plan: LogicalPlan,
    number: usize,
    reach: Reach,
    count: &mut usize,
) -> Result<LogicalPlan> {
    if outer_columns(&plan, reach)?.is_empty() {
        return Ok(plan);
    }
    let plan = match plan {
        LogicalPlan::Filter(filter) => LogicalPlan::Filter(renamed_filter(filter, number, count)?),
        plan => plan,
    };
    plan.map_children(|input| renamed(input, number, reach, count).map(Transformed::yes))?
        .data
        .recompute_schema()
}

fn renamed_filter(filter: Filter, number: usize, count: &mut usize) -> Result<Filter> {
    let names: Vec<(Column, String)> = columns_compared(&filter)
        .into_iter()
        .map(|column| {
            *count += 1;
            (column.clone(), format!("__inner_{number}_{count}"))
        })
        .collect();
    let all = filter
        .input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column);
    let named = names
        .iter()
        .map(|(column, name)| Expr::Column(column.clone()).alias(name));
    let input = LogicalPlanBuilder::new_from_arc(Arc::clone(&filter.input))
        .project(all.chain(named).collect::<Vec<_>>())?
        .build()?;
    let rename = |part: Expr| match part.contains_outer() {
        false => Ok(part),
        true => part
            .transform_up(|expr| match expr {
                Expr::Column(column) => {
                    let name = names.iter().find(|(named, _)| *named == column);
                    Ok(match name {
                        Some((_, name)) => {
                            Transformed::yes(Expr::Column(Column::new_unqualified(name)))
                        }
                        None => Transformed::no(Expr::Column(column)),
                    })
                }
                other => Ok(Transformed::no(other)),
            })
            .data(),
    };
    let parts = split_conjunction_owned(filter.predicate.clone());
    let parts = parts.into_iter().map(rename).collect::<Result<Vec<_>>>()?;
    let predicate = conjunction(parts).unwrap_or(filter.predicate);
    Filter::try_new(predicate, Arc::new(input))
}
