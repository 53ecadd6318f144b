//! A subquery used as a value is NULL where it has no row. DataFusion takes the value's nullability from the column of
//! the subquery alone, and folds IS NULL, COALESCE, CASE and `=` over it away where that column cannot be NULL: a
//! literal, a count, a column of a partition.

mod maybe_null;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::{Distinct, Expr, FetchType, LogicalPlan, SkipType, Subquery, Union};
use datafusion::optimizer::AnalyzerRule;

pub(crate) use maybe_null::{MaybeNull, maybe_null};

use super::expressions::rewrite_expressions;

/// Says of each such value that it may be NULL, and of all that is made of it. Comes before all rules that ask what
/// may be NULL.
#[derive(Debug)]
pub struct SubqueryNulls;

impl AnalyzerRule for SubqueryNulls {
    fn name(&self) -> &str {
        "tidegate_subquery_nulls"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        match hides_nulls(&plan)? {
            // What a node gives changes with what its inputs and subqueries give, so each is looked at.
            true => plan.transform_up_with_subqueries(rewrite_node).data(),
            false => Ok(plan),
        }
    }
}

/// Whether there is such a value in a statement.
fn hides_nulls(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(hides_null(expr)))?;
            Ok(match found {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })
    })?;
    Ok(found)
}

/// Whether an expression is a value that may be NULL and does not say so.
fn hides_null(expr: &Expr) -> bool {
    let Expr::ScalarSubquery(subquery) = expr else {
        return false;
    };
    let plan = &subquery.subquery;
    match plan.schema().fields().as_ref() {
        [column] => !column.is_nullable() && !has_one_row(plan),
        _ => false,
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = rewrite_expressions(plan, |expr, _| Ok(rewrite_expr(expr)))?.data;
    let plan = match plan {
        LogicalPlan::Union(union) => LogicalPlan::Union(nullable_union(union)?),
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(plan))
}

fn rewrite_expr(expr: Expr) -> Transformed<Expr> {
    match expr {
        value if hides_null(&value) => Transformed::yes(maybe_null().call(vec![value])),
        // Looked at after the value in it, which may have got one already.
        Expr::ScalarFunction(mut call) if call.func.inner().is::<MaybeNull>() => {
            match call.args.first() {
                Some(Expr::ScalarFunction(inner)) if inner.func.inner().is::<MaybeNull>() => {
                    Transformed::yes(call.args.remove(0))
                }
                _ => Transformed::no(Expr::ScalarFunction(call)),
            }
        }
        // In two pairs of parentheses a subquery is still the rows of IN.
        Expr::InList(list) => rows_of_in(list),
        // What the query around gives may be NULL by now; the field here is as it was.
        Expr::OuterReferenceColumn(field, column) if !field.is_nullable() => {
            let field = field.as_ref().clone().with_nullable(true);
            Transformed::yes(Expr::OuterReferenceColumn(Arc::new(field), column))
        }
        other => Transformed::no(other),
    }
}

fn rows_of_in(list: InList) -> Transformed<Expr> {
    let Some(subquery) = only_subquery(&list.list).cloned() else {
        return Transformed::no(Expr::InList(list));
    };
    Transformed::yes(Expr::InSubquery(InSubquery {
        expr: list.expr,
        subquery,
        negated: list.negated,
    }))
}

fn only_subquery(list: &[Expr]) -> Option<&Subquery> {
    match list {
        [Expr::ScalarSubquery(subquery)] => Some(subquery),
        [Expr::ScalarFunction(call)] if call.func.inner().is::<MaybeNull>() => {
            only_subquery(&call.args)
        }
        _ => None,
    }
}

/// Whether a query has one row whatever the data is. One that may have several is asked for its value, for that would be
/// an error.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Window(window) => has_one_row(&window.input),
        LogicalPlan::Distinct(Distinct::All(input)) => has_one_row(input),
        LogicalPlan::Sort(sort) => sort.fetch != Some(0) && has_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(limit) => {
            let skips_none = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
            let fetches = match limit.get_fetch_type() {
                Ok(FetchType::Literal(rows)) => rows != Some(0),
                _ => false,
            };
            skips_none && fetches && has_one_row(&limit.input)
        }
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        LogicalPlan::Values(values) => values.values.len() == 1,
        _ => false,
    }
}

/// A column of a union may be NULL where one of an input may be.
fn nullable_union(union: Union) -> Result<Union> {
    let nullable = |at: usize| {
        let mut columns = union
            .inputs
            .iter()
            .map(|input| input.schema().fields().get(at));
        columns.any(|column| column.is_some_and(|column| column.is_nullable()))
    };
    let fields = union
        .schema
        .iter()
        .enumerate()
        .map(|(at, (of_table, field))| {
            let nullable = field.is_nullable() || nullable(at);
            let field = field.as_ref().clone().with_nullable(nullable);
            (of_table.cloned(), Arc::new(field))
        });
    let known = &union.schema;
    let schema = DFSchema::new_with_metadata(fields.collect(), known.metadata().clone())?
        .with_functional_dependencies(known.functional_dependencies().clone())?;
    let schema = Arc::new(schema);
    Ok(Union { schema, ..union })
}
