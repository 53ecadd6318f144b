//! `x <> 0 AND 1 / x > 2` does not divide by zero. SQL leaves the order of conditions open and DataFusion uses that: it
//! computes the second one for every row, or pushes it down alone.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, when};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_whole_expressions;

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
    let mut guards: Option<Expr> = None;
    let guarded = guard_chain(expr, op, &mut guards, schema)?;
    Ok(Transformed::new(guarded, true, TreeNodeRecursion::Jump))
}

/// Guards the parts of a chain of one operator by those before them, from left to right.
fn guard_chain(
    expr: Expr,
    op: Operator,
    guards: &mut Option<Expr>,
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
            match guards {
                Some(guard) => null_divisors(part, &undecided(guard.clone(), op), schema),
                None => Ok(part),
            }
        }
        part => {
            let before = guards.take();
            *guards = Some(match (before, op) {
                (None, _) => part.clone(),
                (Some(before), Operator::And) => before.and(part.clone()),
                (Some(before), _) => before.or(part.clone()),
            });
            Ok(part)
        }
    }
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
        Expr::BinaryExpr(binary) if fails_by_zero(&binary, schema)? => {
            let BinaryExpr { left, op, right } = binary;
            let null = Expr::Literal(ScalarValue::try_from(right.get_type(schema)?)?, None);
            let right = Box::new(when(condition.clone(), *right).otherwise(null)?);
            let binary = BinaryExpr { left, op, right };
            Ok(Transformed::yes(Expr::BinaryExpr(binary)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn divides(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    expr.exists(|expr| match expr {
        Expr::BinaryExpr(binary) => fails_by_zero(binary, schema),
        _ => Ok(false),
    })
}

fn fails_by_zero(binary: &BinaryExpr, schema: &DFSchema) -> Result<bool> {
    let divides = matches!(binary.op, Operator::Divide | Operator::Modulo)
        && !matches!(*binary.right, Expr::Literal(..));
    if !divides {
        return Ok(false);
    }
    let divisor = binary.right.get_type(schema)?;
    Ok(divisor.is_integer() || divisor.is_decimal())
}
