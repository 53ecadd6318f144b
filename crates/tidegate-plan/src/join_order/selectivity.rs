//! The share of rows that a condition leaves when there was no sample to ask.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::guess::Guess;

/// A comparison with a bound.
const RANGE: f64 = 0.33;
/// Between two bounds.
const BETWEEN: f64 = 0.2;
/// A pattern of text.
const PATTERN: f64 = 0.1;
const IS_NULL: f64 = 0.05;
/// Anything else.
const OTHER: f64 = 0.25;

/// The share of the rows of `input` for which `expr` holds.
pub(super) fn share(expr: &Expr, input: &Guess) -> f64 {
    let share = match expr {
        Expr::BinaryExpr(binary) => binary_share(binary, input),
        Expr::Not(inner) => 1.0 - share(inner, input),
        Expr::Alias(alias) => share(&alias.expr, input),
        Expr::Literal(value, _) => match value {
            datafusion::common::ScalarValue::Boolean(Some(true)) => 1.0,
            _ => 0.0,
        },
        Expr::IsNull(_) | Expr::IsUnknown(_) => IS_NULL,
        Expr::IsNotNull(_) | Expr::IsNotUnknown(_) => 1.0 - IS_NULL,
        Expr::IsTrue(inner) | Expr::IsNotFalse(inner) => share(inner, input),
        Expr::IsFalse(inner) | Expr::IsNotTrue(inner) => 1.0 - share(inner, input),
        Expr::Like(like) => negated(PATTERN, like.negated),
        Expr::SimilarTo(like) => negated(PATTERN, like.negated),
        Expr::Between(between) => negated(BETWEEN, between.negated),
        Expr::InList(list) => {
            let hit = list.list.len() as f64 / input.distinct(&list.expr);
            negated(hit.min(0.5), list.negated)
        }
        _ => OTHER,
    };
    share.clamp(0.0, 1.0)
}

fn negated(share: f64, is_negated: bool) -> f64 {
    if is_negated { 1.0 - share } else { share }
}

fn binary_share(binary: &BinaryExpr, input: &Guess) -> f64 {
    let sides = || (share(&binary.left, input), share(&binary.right, input));
    match binary.op {
        Operator::And => {
            let (left, right) = sides();
            left * right
        }
        Operator::Or => {
            let (left, right) = sides();
            1.0 - (1.0 - left) * (1.0 - right)
        }
        Operator::Eq | Operator::IsNotDistinctFrom => equal(binary, input),
        Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal(binary, input),
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => RANGE,
        Operator::LikeMatch
        | Operator::ILikeMatch
        | Operator::RegexMatch
        | Operator::RegexIMatch => PATTERN,
        Operator::NotLikeMatch
        | Operator::NotILikeMatch
        | Operator::RegexNotMatch
        | Operator::RegexNotIMatch => 1.0 - PATTERN,
        _ => OTHER,
    }
}

/// One of the values of the side that has more.
fn equal(binary: &BinaryExpr, input: &Guess) -> f64 {
    let values = |side: &Expr| match side.column_refs().is_empty() {
        true => 1.0,
        false => input.distinct(side),
    };
    1.0 / values(&binary.left).max(values(&binary.right)).max(1.0)
}
