//! `x <> 0 AND 1 / x > 2` does not divide by zero. SQL leaves the order of conditions open and DataFusion uses that: it
//! computes the second one for every row, or pushes it down alone.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, when};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_whole_expressions;
use super::in_subquery::has_predicate_subquery;
use crate::arithmetic::{CheckedOp, Operation};

/// Makes a divisor NULL for the rows that a condition before it decides: `false AND NULL` is false, `true OR NULL` is
/// true. Integers and decimals only, for floats are never divided by zero. Comes after type coercion and before checked
/// arithmetic.
#[derive(Debug)]
pub struct GuardedDivision;

impl AnalyzerRule for GuardedDivision {
    fn name(&self) -> &str {
        "tidegate_guarded_division"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            rewrite_whole_expressions(plan, |expr, schema| {
                expr.transform_down(|expr| rewrite_expr(expr, schema))
            })
        })
        .data()
    }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::Case(case) = expr {
        return guard_case(case, schema);
    }
    let Expr::BinaryExpr(BinaryExpr {
        op: op @ (Operator::And | Operator::Or),
        ..
    }) = expr
    else {
        return Ok(Transformed::no(expr));
    };
    if !divides(&expr, schema)? {
        return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
    }
    let guarded = guard_chain(expr, op, &mut Vec::new(), schema)?;
    Ok(Transformed::new(guarded, true, TreeNodeRecursion::Jump))
}

/// Guards the parts of a chain of one operator by those before them, from left to right.
fn guard_chain(
    expr: Expr,
    op: Operator,
    guards: &mut Vec<Expr>,
    schema: &DFSchema,
) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: own,
            right,
        }) if own == op => {
            let left = Box::new(guard_chain(*left, op, guards, schema)?);
            let right = Box::new(guard_chain(*right, op, guards, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        part if divides(&part, schema)? => {
            // Inside of it there may be a chain of the other operator.
            let part = part
                .transform_down(|expr| rewrite_expr(expr, schema))
                .data()?;
            let columns = part.column_refs();
            let about_it = |guard: &&Expr| !guard.column_refs().is_disjoint(&columns);
            let about_it = guards.iter().filter(about_it).cloned();
            let before = match op {
                Operator::And => about_it.reduce(Expr::and),
                _ => about_it.reduce(Expr::or),
            };
            match before {
                Some(before) => null_divisors(part, &undecided(before, op), schema),
                None => Ok(part),
            }
        }
        part => {
            // What is drawn anew each time decides nothing, and a subquery is not to run twice.
            if !part.is_volatile() && !has_predicate_subquery(&part) {
                guards.push(part.clone());
            }
            Ok(part)
        }
    }
}

/// DataFusion makes AND and OR of a CASE that gives true or false: its branches are guarded as their parts are.
fn guard_case(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let boolean = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Boolean));
    let decides = case.expr.is_none()
        && case
            .when_then_expr
            .iter()
            .all(|(_, then)| boolean(then) || matches!(then.get_type(schema), Ok(DataType::Null)));
    let whole = Expr::Case(case.clone());
    let repeats = !whole.is_volatile() && !has_predicate_subquery(&whole);
    if !decides || !repeats || !divides(&whole, schema)? {
        return Ok(Transformed::no(whole));
    }
    let guarded = |part: &mut Expr, condition: Option<&Expr>| -> Result<()> {
        // Inside of it there may be a chain.
        let inner = std::mem::take(part).transform_down(|expr| rewrite_expr(expr, schema));
        *part = match condition {
            Some(condition) => null_divisors(inner.data()?, condition, schema)?,
            None => inner.data()?,
        };
        Ok(())
    };
    let mut before: Option<Expr> = None;
    for (when, then) in &mut case.when_then_expr {
        guarded(when, before.as_ref())?;
        let condition = when.as_ref().clone();
        guarded(then, Some(&condition.clone().is_true()))?;
        let not_this = condition.is_not_true();
        before = Some(match before {
            Some(before) => before.and(not_this),
            None => not_this,
        });
    }
    if let Some(otherwise) = &mut case.else_expr {
        guarded(otherwise, before.as_ref())?;
    }
    Ok(Transformed::new(
        Expr::Case(case),
        true,
        TreeNodeRecursion::Jump,
    ))
}

/// Whether the parts before leave the value of a chain open.
fn undecided(before: Expr, op: Operator) -> Expr {
    match op {
        Operator::And => before.is_not_false(),
        _ => before.is_not_true(),
    }
}

fn null_divisors(expr: Expr, condition: &Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        mut expr if fails_by_zero(&expr, schema)? => {
            if let Some(divisor) = divisor(&mut expr) {
                let null = Expr::Literal(ScalarValue::try_from(divisor.get_type(schema)?)?, None);
                let value = std::mem::take(divisor);
                *divisor = when(condition.clone(), value).otherwise(null)?;
            }
            Ok(Transformed::yes(expr))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn divides(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    expr.exists(|expr| fails_by_zero(expr, schema))
}

fn fails_by_zero(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let divisor = match expr {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Divide | Operator::Modulo) => {
            binary.right.as_ref()
        }
        Expr::ScalarFunction(call) if is_quotient(call) => &call.args[1],
        _ => return Ok(false),
    };
    if matches!(divisor, Expr::Literal(..)) {
        return Ok(false);
    }
    let divisor = divisor.get_type(schema)?;
    Ok(divisor.is_integer() || divisor.is_decimal())
}

fn divisor(expr: &mut Expr) -> Option<&mut Expr> {
    match expr {
        Expr::BinaryExpr(binary) => Some(&mut binary.right),
        Expr::ScalarFunction(call) => call.args.get_mut(1),
        _ => None,
    }
}

/// Of decimals the planner has made the checked function already.
fn is_quotient(call: &ScalarFunction) -> bool {
    let checked = call.func.inner().downcast_ref::<CheckedOp>();
    checked.is_some_and(|checked| checked.operation() == Operation::Divide) && call.args.len() == 2
}
