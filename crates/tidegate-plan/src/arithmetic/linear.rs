//! `sum(x + 1), sum(x + 2), …` as `sum(x) + 1 * count(x), sum(x) + 2 * count(x), …`: one sum in place of many.
//!
//! DataFusion has this rewrite, but looks for operators where checked functions stand. The result is the same exact
//! sum; only rows whose `x + 1` alone is out of range no longer fail a query whose answer is in range.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{HashMap, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::{columnize_expr, find_aggregate_exprs};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Projection, cast,
};

/// The rewritten plan, where two sums or more share what a constant is added to.
pub(super) fn split(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return Ok(None);
    };
    if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
        return Ok(None);
    }
    let mut shared: HashMap<&Expr, usize> = HashMap::default();
    for expr in &aggregate.aggr_expr {
        if let Some(sum) = Linear::of(expr, aggregate)? {
            *shared.entry(sum.argument).or_insert(0) += 1;
        }
    }
    if shared.values().all(|sums| *sums < 2) {
        return Ok(None);
    }
    let mut outputs = vec![];
    for expr in &aggregate.aggr_expr {
        outputs.push(match Linear::of(expr, aggregate)? {
            Some(sum) if shared[sum.argument] >= 2 => {
                sum.apart().alias(expr.schema_name().to_string())
            }
            _ => expr.clone(),
        });
    }
    let inner = Aggregate::try_new(
        Arc::clone(&aggregate.input),
        aggregate.group_expr.clone(),
        find_aggregate_exprs(outputs.iter()),
    )?;
    let inner = Arc::new(LogicalPlan::Aggregate(inner));
    let outputs = aggregate.group_expr.iter().cloned().chain(outputs);
    let outputs: Result<Vec<_>> = outputs
        .map(|expr| columnize_expr(expr, inner.as_ref()))
        .collect();
    Ok(Some(LogicalPlan::Projection(Projection::try_new(
        outputs?, inner,
    )?)))
}

/// `sum(argument + constant)` over 64-bit integers.
struct Linear<'a> {
    function: &'a AggregateFunction,
    argument: &'a Expr,
    constant: i64,
}

impl<'a> Linear<'a> {
    fn of(expr: &'a Expr, aggregate: &Aggregate) -> Result<Option<Self>> {
        let Expr::AggregateFunction(function) = unaliased(expr) else {
            return Ok(None);
        };
        let params = &function.params;
        let plain = function.func.name() == "sum"
            && !params.distinct
            && params.filter.is_none()
            && params.order_by.is_empty()
            && params.null_treatment.is_none();
        let [
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Plus,
                right,
            }),
        ] = params.args.as_slice()
        else {
            return Ok(None);
        };
        let (argument, constant) = match (left.as_ref(), right.as_ref()) {
            (argument, Expr::Literal(ScalarValue::Int64(Some(constant)), _))
            | (Expr::Literal(ScalarValue::Int64(Some(constant)), _), argument) => {
                (argument, *constant)
            }
            _ => return Ok(None),
        };
        let is_integer = argument.get_type(aggregate.input.schema())? == DataType::Int64;
        let splits = plain && is_integer && !argument.is_volatile();
        Ok(splits.then_some(Self {
            function,
            argument,
            constant,
        }))
    }

    /// `sum(argument) + constant * count(argument)`
    fn apart(self) -> Expr {
        let mut sum = self.function.clone();
        sum.params.args = vec![self.argument.clone()];
        let times = cast(count(self.argument.clone()), DataType::Int64);
        let constant = Expr::Literal(ScalarValue::Int64(Some(self.constant)), None);
        Expr::AggregateFunction(sum) + constant * times
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
