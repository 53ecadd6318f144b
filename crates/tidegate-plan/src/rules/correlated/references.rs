//! Which columns of the queries around it a query refers to.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, SubqueryAlias};

/// A column of a query further out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outer {
    pub(super) field: FieldRef,
    pub(super) column: Column,
}

pub(super) fn subquery_in(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

pub(super) fn subquery_in_mut(expr: &mut Expr) -> Option<&mut Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// The subquery of LATERAL and its alias, if the right side of a join is one.
pub(super) fn lateral(right: &LogicalPlan) -> Option<(&Subquery, Option<&TableReference>)> {
    match right {
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((subquery, Some(alias))),
            _ => None,
        },
        _ => None,
    }
}

/// How far out the subqueries of a statement refer. To look for more than there is takes time at each level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    /// To the query that they stand in.
    Next,
    /// To one around that.
    Further,
}

impl Reach {
    pub(super) fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut further = false;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Some(subquery) = subquery_in(expr) {
                        let outer = outer_columns(&subquery.subquery, Self::Next)?;
                        let inputs = node.inputs();
                        let own = |outer: &Outer| {
                            let mut schemas = inputs.iter().map(|input| input.schema());
                            schemas.any(|schema| schema.has_column(&outer.column))
                        };
                        further |= !outer.iter().all(own);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(match further {
            true => Self::Further,
            false => Self::Next,
        })
    }
}

/// The columns that a query refers to and does not have, those of the subqueries in it included.
pub(super) fn outer_columns(plan: &LogicalPlan, reach: Reach) -> Result<Vec<Outer>> {
    let mut found = Vec::new();
    collect(plan, reach, &mut found)?;
    Ok(found)
}

/// The columns that the subqueries in a node's expressions take from further out than that node.
pub(super) fn beyond(node: &LogicalPlan, reach: Reach) -> Result<Vec<Outer>> {
    let inputs = node.inputs();
    let mut found = Vec::new();
    if reach == Reach::Next {
        return Ok(found);
    }
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Some(subquery) = subquery_in(expr) {
                let outer = outer_columns(&subquery.subquery, reach)?.into_iter();
                let own =
                    |outer: &Outer| inputs.iter().any(|i| i.schema().has_column(&outer.column));
                add(&mut found, outer.filter(|outer| !own(outer)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn add(found: &mut Vec<Outer>, more: impl Iterator<Item = Outer>) {
    for outer in more {
        if !found.iter().any(|known| known.column == outer.column) {
            found.push(outer);
        }
    }
}

fn collect(plan: &LogicalPlan, reach: Reach, found: &mut Vec<Outer>) -> Result<()> {
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::OuterReferenceColumn(field, column) = expr {
                let (field, column) = (FieldRef::clone(field), column.clone());
                add(found, std::iter::once(Outer { field, column }));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    add(found, beyond(plan, reach)?.into_iter());
    if let LogicalPlan::Join(join) = plan
        && lateral(&join.right).is_some()
    {
        collect(&join.left, reach, found)?;
        let right = outer_columns(&join.right, reach)?.into_iter();
        add(
            found,
            right.filter(|outer| !join.left.schema().has_column(&outer.column)),
        );
        return Ok(());
    }
    for input in plan.inputs() {
        collect(input, reach, found)?;
    }
    Ok(())
}

/// Makes a query refer to other columns outside: the first of each pair becomes the second.
pub(super) fn redirected(plan: LogicalPlan, to: &[(Column, Outer)]) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let inputs = node.inputs().into_iter();
        let schemas: Vec<_> = inputs.map(|input| Arc::clone(input.schema())).collect();
        // A column that this node has is not the one further out.
        let beyond: Vec<(Column, Outer)> = to
            .iter()
            .filter(|(from, _)| !schemas.iter().any(|schema| schema.has_column(from)))
            .cloned()
            .collect();
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| redirected_expr(expr, to, &beyond))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        Ok(node.update_data(|node| match node {
            LogicalPlan::Subquery(mut subquery) => {
                subquery.outer_ref_columns = subquery.subquery.all_out_ref_exprs();
                LogicalPlan::Subquery(subquery)
            }
            node => node,
        }))
    })
    .data()
}

fn redirected_expr(
    mut expr: Expr,
    here: &[(Column, Outer)],
    inside: &[(Column, Outer)],
) -> Result<Transformed<Expr>> {
    if let Expr::OuterReferenceColumn(_, column) = &expr {
        let found = here.iter().find(|(from, _)| from == column);
        return Ok(match found {
            Some((_, to)) => Transformed::yes(Expr::OuterReferenceColumn(
                FieldRef::clone(&to.field),
                to.column.clone(),
            )),
            None => Transformed::no(expr),
        });
    }
    match subquery_in_mut(&mut expr) {
        Some(subquery) => {
            *subquery = redirected_subquery(subquery, inside)?;
            Ok(Transformed::yes(expr))
        }
        None => Ok(Transformed::no(expr)),
    }
}

pub(super) fn redirected_subquery(subquery: &Subquery, to: &[(Column, Outer)]) -> Result<Subquery> {
    let plan = redirected(subquery.subquery.as_ref().clone(), to)?;
    Ok(super::over(plan, subquery))
}
