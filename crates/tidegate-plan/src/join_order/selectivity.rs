//! The share of rows that a condition leaves when there was no sample to ask.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::logical_expr::utils::{split_binary, split_conjunction};
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
        Expr::IsNull(inner) | Expr::IsUnknown(inner) => is_null(inner, input),
        Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => 1.0 - is_null(inner, input),
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

/// An outer join leaves NULL where it finds no partner; other columns have few.
fn is_null(expr: &Expr, input: &Guess) -> f64 {
    input.absent(expr).unwrap_or(IS_NULL)
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
        Operator::Or => alternatives(binary, input).unwrap_or_else(|| {
            let (left, right) = sides();
            1.0 - (1.0 - left) * (1.0 - right)
        }),
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

/// Alternatives over several tables, `a.x = 1 AND b.y = 2 OR a.x = 3 AND b.y = 4`, if it is so.
///
/// Where each alternative says something of one table alone, the rows of that table were held to one of these parts
/// already. What is left is that the tables meet in the same alternative.
fn alternatives(or: &BinaryExpr, input: &Guess) -> Option<f64> {
    let either = [or.left.as_ref(), or.right.as_ref()];
    let all: Vec<Alternative> = either
        .into_iter()
        .flat_map(|side| split_binary(side, Operator::Or))
        .map(|one| Alternative::new(one, input))
        .collect();
    let tables: BTreeSet<u32> = all
        .iter()
        .flat_map(|one| one.parts.keys())
        .copied()
        .collect();
    let in_all = |table: &u32| all.iter().all(|one| one.parts.contains_key(table));
    if tables.len() < 2 || !tables.iter().any(in_all) {
        return None;
    }
    let held: BTreeMap<u32, f64> = tables
        .into_iter()
        .filter(in_all)
        .map(|table| (table, all.iter().map(|one| one.parts[&table]).sum()))
        .collect();
    let meets = all.iter().map(|one| {
        let parts = one
            .parts
            .iter()
            .map(|(table, share)| match held.get(table) {
                Some(all) if *all > 0.0 => share / all,
                _ => *share,
            });
        one.rest * parts.product::<f64>()
    });
    Some(meets.sum())
}

/// The share of the rows of each table that its own part of an alternative leaves, and what the rest does.
struct Alternative {
    parts: BTreeMap<u32, f64>,
    rest: f64,
}

impl Alternative {
    fn new(expr: &Expr, input: &Guess) -> Self {
        let (mut parts, mut rest) = (BTreeMap::new(), 1.0);
        for conjunct in split_conjunction(expr) {
            let share = share(conjunct, input);
            match input.table(conjunct) {
                Some(table) => *parts.entry(table).or_insert(1.0) *= share,
                None => rest *= share,
            }
        }
        Self { parts, rest }
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
