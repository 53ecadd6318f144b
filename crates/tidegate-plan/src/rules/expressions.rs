//! Rewriting the expressions of one node of a logical plan, by their types.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator};

/// Rewrites every expression of a node from its leaves up; `rewrite` is told the columns it may use. What the node
/// gives keeps its names.
pub(crate) fn rewrite_expressions(
    plan: LogicalPlan,
    mut rewrite: impl FnMut(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    rewrite_whole_expressions(plan, |expr, schema| {
        expr.transform_up(|expr| rewrite(expr, schema))
    })
}

/// Rewrites each expression of a node as a whole.
pub(crate) fn rewrite_whole_expressions(
    plan: LogicalPlan,
    mut rewrite: impl FnMut(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source =
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    let names = NamePreserver::new(&plan);
    let mut named = |expr: Expr| {
        let name = names.save(&expr);
        Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
    };
    let rewritten = plan.map_expressions(|expr| match expr {
        // The keys inside have names, the set has none: under another name it would be no set.
        Expr::GroupingSet(_) => expr.map_children(&mut named),
        other => named(other),
    })?;
    match rewritten.transformed {
        true => rewritten.map_data(LogicalPlan::recompute_schema),
        false => Ok(rewritten),
    }
}

/// Whether an operator brings its sides to one type to compare them.
pub(crate) fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        operator,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// What an expression compares: these with each other, by one type. The other side of IN over a subquery is in
/// [`membership`].
pub(crate) fn compared(expr: &mut Expr) -> Vec<&mut Expr> {
    match expr {
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            vec![&mut *binary.left, &mut *binary.right]
        }
        Expr::Between(between) => {
            vec![&mut *between.expr, &mut *between.low, &mut *between.high]
        }
        Expr::InList(list) => {
            let one = std::iter::once(&mut *list.expr);
            one.chain(&mut list.list).collect()
        }
        Expr::Case(case) => match case.expr.as_deref_mut() {
            Some(base) => {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| &mut **when);
                std::iter::once(base).chain(whens).collect()
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// `x IN (SELECT y …)` of one column: `x` and the type of `y`.
pub(crate) fn membership(expr: &mut Expr) -> Option<(&mut InSubquery, DataType)> {
    let Expr::InSubquery(predicate) = expr else {
        return None;
    };
    let schema = predicate.subquery.subquery.schema();
    match schema.fields().as_ref() {
        [field] => {
            let data_type = field.data_type().clone();
            Some((predicate, data_type))
        }
        _ => None,
    }
}

/// Makes of the `y` of `x IN (SELECT y …)` what it is to be compared by.
pub(crate) fn change_inside(
    predicate: &mut InSubquery,
    change: impl FnOnce(&mut Expr),
) -> Result<()> {
    let rows = &predicate.subquery.subquery;
    let column = Column::from(rows.schema().qualified_field(0));
    let name = column.name.clone();
    let mut value = Expr::Column(column);
    change(&mut value);
    let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(rows)).project([value.alias(name)])?;
    predicate.subquery.subquery = Arc::new(rows.build()?);
    Ok(())
}
