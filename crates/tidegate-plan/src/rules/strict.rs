//! What a strict query does so that it gives the same bits each time: sums and averages of doubles do not depend on the
//! order of the rows, and rows that an ORDER BY leaves as equals are ordered by their other columns.

use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Sort};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_expressions;
use crate::arithmetic::reproducible_in_place_of;

/// Makes a plan give the same each time, where that can be had. It needs the types, so it comes after coercion.
#[derive(Debug)]
pub struct Strict;

impl AnalyzerRule for Strict {
    fn name(&self) -> &str {
        "tidegate_strict"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            rewrite_expressions(plan, reproducible)?.transform_data(|plan| Ok(total_order(plan)))
        });
        Ok(rewritten?.data)
    }
}

/// The aggregate that does not depend on the order of the rows, in place of one of doubles that does.
fn reproducible(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(mut aggregate) = expr else {
        return Ok(Transformed::no(expr));
    };
    let params = &aggregate.params;
    let is_double = match params.args.first() {
        Some(argument) => argument.get_type(schema)? == arrow::datatypes::DataType::Float64,
        None => false,
    };
    let instead = reproducible_in_place_of(&aggregate.func);
    let instead = instead.filter(|_| is_double && !params.distinct);
    let changed = instead.is_some();
    aggregate.func = instead.unwrap_or(aggregate.func);
    Ok(Transformed::new_transformed(
        Expr::AggregateFunction(aggregate),
        changed,
    ))
}

/// A sort by its keys and then by every other column.
fn total_order(plan: LogicalPlan) -> Transformed<LogicalPlan> {
    let LogicalPlan::Sort(Sort {
        mut expr,
        input,
        fetch,
    }) = plan
    else {
        return Transformed::no(plan);
    };
    let is_key = |column: &Expr| expr.iter().any(|key| key.expr == *column);
    let fields = input.schema().iter();
    let sortable = fields.filter(|(_, field)| {
        RowConverter::supports_fields(&[SortField::new(field.data_type().clone())])
    });
    let others = sortable.map(|field| Expr::Column(field.into()));
    let others: Vec<_> = others.filter(|column| !is_key(column)).collect();
    let changed = !others.is_empty();
    expr.extend(others.into_iter().map(|column| column.sort(true, false)));
    Transformed::new_transformed(LogicalPlan::Sort(Sort { expr, input, fetch }), changed)
}
