//! Subqueries used as values in the arguments of aggregates: each becomes a column below, where it can be joined.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder};

use super::Statement;
use super::references::outer_columns;

/// An aggregate over columns instead of such subqueries, if it has any.
pub(super) fn over_columns(
    aggregate: &Aggregate,
    statement: &Statement,
) -> Result<Option<LogicalPlan>> {
    let names = NamePreserver::new_for_projection();
    let mut values = Vec::new();
    let calls = aggregate.aggr_expr.iter().map(|call| {
        let name = names.save(call);
        let call = call.clone().transform_down(|expr| {
            if !is_value(&expr, aggregate, statement)? {
                return Ok(Transformed::no(expr));
            }
            let column = format!("__argument_{}", statement.next_number());
            values.push(expr.alias(&column));
            let column = Expr::Column(Column::new_unqualified(column));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        });
        Ok(name.restore(call.data()?))
    });
    let calls = calls.collect::<Result<Vec<_>>>()?;
    if values.is_empty() {
        return Ok(None);
    }
    let columns = aggregate.input.schema().columns().into_iter();
    let input = LogicalPlanBuilder::new_from_arc(Arc::clone(&aggregate.input))
        .project(columns.map(Expr::Column).chain(values))?
        .build()?;
    let groups = aggregate.group_expr.clone();
    Aggregate::try_new(Arc::new(input), groups, calls)
        .map(|aggregate| Some(LogicalPlan::Aggregate(aggregate)))
}

/// Whether an expression is a subquery that refers to the rows which are aggregated, and only to them.
fn is_value(expr: &Expr, aggregate: &Aggregate, statement: &Statement) -> Result<bool> {
    let Expr::ScalarSubquery(subquery) = expr else {
        return Ok(false);
    };
    let outer = outer_columns(&subquery.subquery, statement.reach)?;
    let schema = aggregate.input.schema();
    Ok(!outer.is_empty() && outer.iter().all(|outer| schema.has_column(&outer.column)))
}
