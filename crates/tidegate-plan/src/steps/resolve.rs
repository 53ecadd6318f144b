//! What a column stands for. The planner names a computed column by its own notation, which has no
//! parentheses: `a + b * c` for `(a + b) * c`. For people such a column is shown as the expression
//! that computes it, which is found further down in the plan.

use std::sync::Arc;

use datafusion::common::JoinSide;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, WindowExpr};

use super::detail::{function_text, window_text};
use crate::graph::Distribution;

/// Operators that are looked through for the origin of one column.
const DEPTH_MAX: usize = 64;

type Expr = Arc<dyn PhysicalExpr>;

/// An expression over the output of `input`, with computed columns in full.
pub(super) fn resolved(expr: &Expr, input: &dyn ExecutionPlan) -> Expr {
    within(expr, input, DEPTH_MAX)
}

fn within(expr: &Expr, input: &dyn ExecutionPlan, depth: usize) -> Expr {
    replaced(expr, |column| definition(input, column.index(), depth))
}

fn replaced(expr: &Expr, by: impl Fn(&Column) -> Option<Expr>) -> Expr {
    if expr.is::<DynamicFilterPhysicalExpr>() {
        return Arc::clone(expr);
    }
    let resolve = |expr: Expr| {
        let found = expr.downcast_ref::<Column>().and_then(&by);
        Ok(match found {
            Some(found) => Transformed::yes(found),
            None => Transformed::no(expr),
        })
    };
    // An expression that cannot be rebuilt is shown as it is.
    let done = Arc::clone(expr).transform_up(resolve);
    done.map_or_else(|_| Arc::clone(expr), |done| done.data)
}

/// The keys of an order over the output of `input`.
pub(super) fn sort_keys<'k>(
    keys: impl IntoIterator<Item = &'k PhysicalSortExpr>,
    input: &dyn ExecutionPlan,
) -> Vec<PhysicalSortExpr> {
    let key = |key: &PhysicalSortExpr| PhysicalSortExpr {
        expr: resolved(&key.expr, input),
        options: key.options,
    };
    keys.into_iter().map(key).collect()
}

/// The condition of a join, whose columns are picked from both sides.
pub(super) fn join_filter(
    filter: &JoinFilter,
    left: &dyn ExecutionPlan,
    right: &dyn ExecutionPlan,
) -> Expr {
    replaced(filter.expression(), |column| {
        let place = filter.column_indices().get(column.index())?;
        let side = match place.side {
            JoinSide::Left => left,
            JoinSide::Right => right,
            JoinSide::None => return None,
        };
        definition(side, place.index, DEPTH_MAX)
    })
}

/// How the output of `plan` is divided, with computed columns in full.
pub(super) fn distribution(plan: &dyn ExecutionPlan) -> Distribution {
    let ordering = |order: LexOrdering| {
        let keys = sort_keys(order.iter(), plan);
        LexOrdering::new(keys).unwrap_or(order)
    };
    match Distribution::of(plan) {
        Distribution::Single { order } => Distribution::Single {
            order: order.map(ordering),
        },
        Distribution::Hash { keys, partitions } => Distribution::Hash {
            keys: keys.iter().map(|key| resolved(key, plan)).collect(),
            partitions,
        },
        Distribution::Range { key, partitions } => Distribution::Range {
            key: ordering(key),
            partitions,
        },
        other => other,
    }
}

/// The arguments of an aggregate over rows of `aggregate`'s first input: a later phase names the
/// columns of the first.
pub(super) fn arguments(aggregate: &AggregateExec, function: &AggregateFunctionExpr) -> Vec<Expr> {
    let input = first_input(aggregate);
    let arguments = function.expressions();
    arguments.iter().map(|expr| resolved(expr, input)).collect()
}

/// The input of the first phase of an aggregate.
pub(super) fn first_input(aggregate: &AggregateExec) -> &dyn ExecutionPlan {
    let mut found = aggregate.input().as_ref();
    if aggregate.mode().input_mode() == AggregateInputMode::Raw {
        return found;
    }
    for _ in 0..DEPTH_MAX {
        if let Some(phase) = found.downcast_ref::<AggregateExec>() {
            return first_input(phase);
        }
        let mut children = found.children().into_iter();
        match (children.next(), children.next()) {
            (Some(child), None) => found = child.as_ref(),
            _ => break,
        }
    }
    found
}

/// What computes a column of the output of `plan`; nothing where its name says it.
fn definition(plan: &dyn ExecutionPlan, index: usize, depth: usize) -> Option<Expr> {
    let depth = depth.checked_sub(1)?;
    let schema = plan.schema();
    let name = schema.fields().get(index)?.name();
    if !is_computed(name) {
        return None;
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let item = &projection.expr().get(index)?.expr;
        let input = projection.input().as_ref();
        return match item.downcast_ref::<Column>() {
            Some(column) if column.name() == name => definition(input, column.index(), depth),
            _ => Some(within(item, input, depth)),
        };
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let called = |function: &&Arc<AggregateFunctionExpr>| function.name() == name;
        if let Some(function) = aggregate.aggr_expr().iter().find(called) {
            return column(&function_text(aggregate, function), index);
        }
        let (key, _) = aggregate.group_expr().expr().get(index)?;
        return Some(within(key, aggregate.input().as_ref(), depth));
    }
    if let Some(windows) = windows_of(plan)
        && let Some(window) = windows.iter().find(|window| window.name() == name)
    {
        let input = plan.children().into_iter().next()?;
        return column(&window_text(window.as_ref(), input.as_ref()), index);
    }
    // Others pass columns on under their names.
    plan.children().into_iter().find_map(|child| {
        let schema = child.schema();
        let (at, _) = schema.column_with_name(name)?;
        definition(child.as_ref(), at, depth)
    })
}

fn windows_of(plan: &dyn ExecutionPlan) -> Option<&[Arc<dyn WindowExpr>]> {
    let whole = plan.downcast_ref::<WindowAggExec>();
    whole.map(|window| window.window_expr()).or_else(|| {
        let bounded = plan.downcast_ref::<BoundedWindowAggExec>()?;
        Some(bounded.window_expr())
    })
}

fn column(text: &str, index: usize) -> Option<Expr> {
    Some(Arc::new(Column::new(text, index)))
}

/// Whether a name is the text of an expression.
pub(super) fn is_computed(name: &str) -> bool {
    const SIGNS: [char; 9] = ['(', '+', '*', '/', '%', '<', '>', '=', '|'];
    const WORDS: [&str; 4] = [" - ", " AND ", " OR ", "NOT "];
    // What several expressions have in common, computed once.
    const COMMON: &str = "__common_expr_";
    name.starts_with(COMMON) || name.contains(SIGNS) || WORDS.iter().any(|word| name.contains(word))
}

/// Whether two texts are one expression but for parentheses, spaces, case and qualifiers.
pub(super) fn alike(left: &str, right: &str) -> bool {
    squashed(left) == squashed(right)
}

fn squashed(text: &str) -> String {
    let mut squashed = String::with_capacity(text.len());
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let of_word = |c: char| c.is_alphanumeric() || c == '_';
        let named = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if of_word(c) {
            word.extend(c.to_lowercase());
        } else if c == '.' && named && chars.peek().is_some_and(|next| of_word(*next)) {
            word.clear();
        } else {
            squashed.push_str(&word);
            word.clear();
            if !c.is_whitespace() && !matches!(c, '(' | ')') {
                squashed.push(c);
            }
        }
    }
    squashed + &word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_alike_but_for_parentheses_and_qualifiers() {
        assert!(alike("(x + 1) * 2", "t.x + 1 * 2"));
        assert!(alike("sum((X+1.5))", "sum(a.b.x + 1.5)"));
        assert!(!alike("x + 1", "x + 2"));
        assert!(!alike("x + 1.5", "x + 5"));
    }

    #[test]
    fn names_of_columns_are_told_from_expressions() {
        for name in ["x", "Pickup Time", "a-b", "größe", "x.y"] {
            assert!(!is_computed(name), "{name}");
        }
        for name in [
            "x + 1",
            "sum(x)",
            "a - b",
            "NOT a",
            "a OR b",
            "__common_expr_1",
        ] {
            assert!(is_computed(name), "{name}");
        }
    }
}
