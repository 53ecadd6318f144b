//! `x IN (SELECT y …)` with its three values: NULL where no row matches but one might, for `x` or some `y` is NULL. And
//! `x < ANY (SELECT y …)`, `x < ALL (SELECT y …)`, which DataFusion writes so itself, but not in every clause.
//!
//! DataFusion gives the NULL only for a NOT IN that stands alone in WHERE, over one column and a subquery of its own.
//! Everywhere else it makes IN a mark, true or false. There it is written with EXISTS, which has two values only.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Sort,
    Subquery, lit, not, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::correlated::is_correlated;
use super::expressions::rewrite_expressions;

/// Writes IN as EXISTS wherever its NULL could be seen. Comes before type coercion, which gives both sides of the new
/// comparisons one type.
#[derive(Debug)]
pub struct ThreeValuedIn;

impl AnalyzerRule for ThreeValuedIn {
    fn name(&self) -> &str {
        "tidegate_three_valued_in"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node).data()
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = memberships(plan)?;
    let changed = plan.transformed;
    let plan = predicates(plan.data)?;
    Ok(Transformed::new_transformed(
        plan.data,
        changed || plan.transformed,
    ))
}

/// `= ANY` and `<> ALL` are IN and NOT IN, which become joins by a hash. The column of a query that has no list of
/// columns, as VALUES, is written out.
fn memberships(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| match expr {
            Expr::SetComparison(comparison) => Ok(membership(comparison)),
            other => Ok(Transformed::no(other)),
        })?;
        let expr = expr.transform_data(|expr| expr.transform_up(with_column_written))?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

fn membership(comparison: SetComparison) -> Transformed<Expr> {
    let negated = match (comparison.op, &comparison.quantifier) {
        (Operator::Eq, SetQuantifier::Any) => false,
        (Operator::NotEq, SetQuantifier::All) => true,
        _ => return Transformed::no(Expr::SetComparison(comparison)),
    };
    Transformed::yes(Expr::InSubquery(InSubquery {
        expr: comparison.expr,
        subquery: comparison.subquery,
        negated,
    }))
}

fn with_column_written(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::InSubquery(mut predicate) = expr else {
        return Ok(Transformed::no(expr));
    };
    let plan = &predicate.subquery.subquery;
    let written = plan.schema().fields().len() != 1 || plan.head_output_expr()?.is_some();
    if !written {
        let column = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(plan)).project([column])?;
        predicate.subquery.subquery = Arc::new(rows.build()?);
    }
    Ok(Transformed::new_transformed(
        Expr::InSubquery(predicate),
        !written,
    ))
}

fn predicates(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Filter(mut filter) if has_predicate_subquery(&filter.predicate) => {
            let schema = merge_schema(&[&filter.input]);
            filter.predicate = filtering(filter.predicate, &schema, true)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join)
            if join.join_type == JoinType::Inner
                && join.filter.as_ref().is_some_and(has_subquery) =>
        {
            // The condition of an inner join filters its rows: as a filter above it, it can hold subqueries.
            let (above, within): (Vec<_>, Vec<_>) =
                split_conjunction_owned(join.filter.take().unwrap_or_else(|| lit(true)))
                    .into_iter()
                    .partition(has_subquery);
            join.filter = conjunction(within);
            let predicate = conjunction(above).unwrap_or_else(|| lit(true));
            let filtered = LogicalPlanBuilder::from(LogicalPlan::Join(join))
                .filter(predicate)?
                .build()?;
            Ok(Transformed::yes(rewrite_node(filtered)?.data))
        }
        LogicalPlan::Sort(sort)
            if sort
                .expr
                .iter()
                .any(|key| has_predicate_subquery(&key.expr)) =>
        {
            Ok(Transformed::yes(sorted_by_columns(sort)?))
        }
        other => rewrite_expressions(other, |expr, schema| match expr {
            Expr::InSubquery(predicate) => value(predicate, schema).map(Transformed::yes),
            Expr::SetComparison(predicate) => quantified(predicate, schema).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        }),
    }
}

/// The keys become columns, which can hold subqueries where those of a sort cannot.
fn sorted_by_columns(mut sort: Sort) -> Result<LogicalPlan> {
    let columns = sort.input.schema().columns();
    let mut with_keys: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
    for (at, key) in sort.expr.iter_mut().enumerate() {
        if has_predicate_subquery(&key.expr) {
            let name = format!("sort key {at}");
            let column = Expr::Column(Column::new_unqualified(&name));
            let expr = std::mem::replace(&mut key.expr, column);
            with_keys.push(expr.unalias().alias(name));
        }
    }
    let input = LogicalPlanBuilder::new_from_arc(sort.input)
        .project(with_keys)?
        .build()?;
    sort.input = rewrite_node(input)?.data.into();
    LogicalPlanBuilder::from(LogicalPlan::Sort(sort))
        .project(columns.into_iter().map(Expr::Column))?
        .build()
}

/// Whether a subquery is in an expression that a join cannot hold.
fn has_subquery(expr: &Expr) -> bool {
    let refers_outwards = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) => is_correlated(&subquery.subquery).unwrap_or(false),
        _ => false,
    };
    has_predicate_subquery(expr)
        || expr
            .exists(|expr| Ok(refers_outwards(expr)))
            .unwrap_or(false)
}

/// Whether a predicate over a query is in an expression.
pub(super) fn has_predicate_subquery(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| {
        matches!(
            expr,
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
        )
    };
    expr.exists(|expr| Ok(is_one(expr))).unwrap_or(false)
}

/// An expression that keeps a row only when it is true, so that its NULL may be false; `alone` if it is one of those
/// that WHERE joins with AND.
fn filtering(expr: Expr, schema: &DFSchema, alone: bool) -> Result<Expr> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::And | Operator::Or) =>
        {
            let alone = alone && op == Operator::And;
            let left = Box::new(filtering(*left, schema, alone)?);
            let right = Box::new(filtering(*right, schema, alone)?);
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(mut predicate) => {
                predicate.negated = !predicate.negated;
                filtering(Expr::InSubquery(predicate), schema, alone)?
            }
            inner => not(values(inner, schema)?),
        },
        Expr::InSubquery(predicate) if !predicate.negated => Expr::InSubquery(predicate),
        Expr::InSubquery(predicate) => match Parts::new(&predicate, schema)? {
            Some(parts) if !(alone && null_aware(&predicate)?) => {
                let mut all = vec![not(parts.matches)];
                all.extend(parts.null_inside.map(not));
                all.extend(parts.null_outside.map(|(null, any)| not(null).or(not(any))));
                conjunction(all).unwrap_or_else(|| lit(true))
            }
            _ => Expr::InSubquery(predicate),
        },
        other => values(other, schema)?,
    })
}

/// Whether DataFusion makes a NOT IN, alone in WHERE, an anti join that heeds NULLs.
fn null_aware(predicate: &InSubquery) -> Result<bool> {
    Ok(!is_correlated(&predicate.subquery.subquery)? && predicate.expr.any_column_refs())
}

/// Every IN inside of an expression whose three values count.
fn values(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::InSubquery(predicate) => value(predicate, schema).map(Transformed::yes),
        Expr::SetComparison(predicate) => quantified(predicate, schema).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn value(predicate: InSubquery, schema: &DFSchema) -> Result<Expr> {
    let negated = predicate.negated;
    let Some(parts) = Parts::new(&predicate, schema)? else {
        return Ok(Expr::InSubquery(predicate));
    };
    let outside = parts.null_outside.map(|(null, any)| null.and(any));
    let unknown = [parts.null_inside, outside]
        .into_iter()
        .flatten()
        .reduce(Expr::or);
    let found = match unknown {
        None => parts.matches,
        Some(unknown) => when(parts.matches, lit(true))
            .when(unknown, lit(ScalarValue::Boolean(None)))
            .otherwise(lit(false))?,
    };
    Ok(match negated {
        true => not(found),
        false => found,
    })
}

/// ANY is true if one comparison is, ALL is false if one is not; else NULL if one is unknown.
fn quantified(predicate: SetComparison, schema: &DFSchema) -> Result<Expr> {
    let SetComparison {
        expr: x,
        subquery,
        op,
        quantifier,
    } = &predicate;
    if subquery.subquery.schema().fields().len() != 1 {
        return Ok(Expr::SetComparison(predicate));
    }
    let (inner, y) = &renamed(subquery)?;
    let seen_inside = seen_from_inside(*x.clone(), schema)?;
    let comparison = Expr::BinaryExpr(BinaryExpr::new(
        Box::new(seen_inside),
        *op,
        Box::new(y.clone()),
    ));
    let unknown = exists(inner, Some(comparison.clone().is_null()))?;
    let (decides, value) = match quantifier {
        SetQuantifier::Any => (comparison, true),
        SetQuantifier::All => (not(comparison), false),
    };
    when(exists(inner, Some(decides))?, lit(value))
        .when(unknown, lit(ScalarValue::Boolean(None)))
        .otherwise(lit(!value))
}

/// What decides over `x IN (SELECT y …)`.
struct Parts {
    /// A row has `y = x`.
    matches: Expr,
    /// A row has a NULL `y`, if one can.
    null_inside: Option<Expr>,
    /// `x` is NULL, if it can be, and there is any row.
    null_outside: Option<(Expr, Expr)>,
}

impl Parts {
    /// None where the rows have several columns, which is refused.
    fn new(predicate: &InSubquery, schema: &DFSchema) -> Result<Option<Self>> {
        let x = &*predicate.expr;
        if predicate.subquery.subquery.schema().fields().len() != 1 {
            return Ok(None);
        }
        let (inner, y) = &renamed(&predicate.subquery)?;
        let y_nullable = inner.subquery.schema().field(0).is_nullable();
        let x_nullable = x.nullable(schema)?;
        let seen_inside = seen_from_inside(x.clone(), schema)?;
        Ok(Some(Self {
            matches: exists(inner, Some(y.clone().eq(seen_inside)))?,
            null_inside: y_nullable
                .then(|| exists(inner, Some(y.clone().is_null())))
                .transpose()?,
            null_outside: x_nullable
                .then(|| exists(inner, None).map(|any| (x.clone().is_null(), any)))
                .transpose()?,
        }))
    }
}

/// A subquery whose column has a name that none outside has, and that column. Else `t.x` outside and `t.x` inside would
/// be one column once the subquery is a join.
fn renamed(inner: &Subquery) -> Result<(Subquery, Expr)> {
    const NAME: &str = "__in_subquery";
    let column = Expr::Column(Column::from(inner.subquery.schema().qualified_field(0)));
    let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&inner.subquery))
        .project([column.alias(NAME)])?
        .build()?;
    let renamed = Subquery {
        subquery: Arc::new(rows),
        outer_ref_columns: inner.outer_ref_columns.clone(),
        spans: inner.spans.clone(),
    };
    Ok((renamed, Expr::Column(Column::new_unqualified(NAME))))
}

/// EXISTS over the rows of a subquery that fulfil a condition. One row is enough, where no row outside matters.
fn exists(inner: &Subquery, condition: Option<Expr>) -> Result<Expr> {
    let mut rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&inner.subquery));
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    if rows.plan().all_out_ref_exprs().is_empty() {
        rows = rows.limit(0, Some(1))?;
    }
    let rows = rows.build()?;
    Ok(Expr::Exists(Exists {
        subquery: Subquery {
            outer_ref_columns: rows.all_out_ref_exprs(),
            subquery: rows.into(),
            spans: inner.spans.clone(),
        },
        negated: false,
    }))
}

fn seen_from_inside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(
                Arc::clone(field),
                column,
            )))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}
