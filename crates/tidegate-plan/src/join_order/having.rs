//! What a condition on the counts, sums and averages of groups leaves, `HAVING sum(quantity) > 300` or `quantity < 0.2 *
//! (SELECT avg(quantity) …)`, and one on the numbers of rows in a window, `rank() <= 10`.
//!
//! A group has one row and as many more as happen to fall into it (Poisson's law), the values of a column lie evenly
//! between its bounds, and what is made of many of them is spread as a normal distribution.

use std::collections::BTreeSet;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr, LogicalPlan, Operator, Window};

use super::guess::{Guess, Guesser};
use super::selectivity;
use crate::arithmetic::Operation;

/// No condition is taken to leave less: real groups are less even than the law says.
const SHARE_MIN: f64 = 1e-5;

/// Values do not lie that evenly: of two different columns neither is taken to be always the greater.
const UNLIKE_MIN: f64 = 0.1;

impl Guesser<'_> {
    /// The share of the rows of `guess` for which a condition holds; its columns are those of `plans`.
    pub(super) fn condition(&self, expr: &Expr, plans: &[&LogicalPlan], guess: &Guess) -> f64 {
        let of_groups = self.having(expr, plans);
        of_groups.unwrap_or_else(|| selectivity::share(expr, guess))
    }

    /// The share of rows for which a comparison with a result of groups, or with the number of a row, holds, if it is one.
    pub(super) fn having(&self, condition: &Expr, plans: &[&LogicalPlan]) -> Option<f64> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
            return None;
        };
        let share = match self.among_numbered(left, *op, right, plans) {
            Some(share) => share,
            None => {
                let is_below = match op {
                    Operator::Lt | Operator::LtEq => true,
                    Operator::Gt | Operator::GtEq => false,
                    _ => return None,
                };
                let (left, right) = (self.spread(left, plans)?, self.spread(right, plans)?);
                if !left.of_groups && !right.of_groups {
                    return None;
                }
                let (least, most) = left.trusted(&right);
                let below = left.less(&right).below(0.0).clamp(least, most);
                if is_below { below } else { 1.0 - below }
            }
        };
        Some(share.clamp(SHARE_MIN, 1.0))
    }

    /// The share of rows whose number in their partition compares so with a constant.
    fn among_numbered(
        &self,
        left: &Expr,
        op: Operator,
        right: &Expr,
        plans: &[&LogicalPlan],
    ) -> Option<f64> {
        let (column, op, bound) = match (plain(left), plain(right)) {
            (Expr::Column(column), Expr::Literal(bound, _)) => (column, op, bound),
            (Expr::Literal(bound, _), Expr::Column(column)) => (column, op.swap()?, bound),
            _ => return None,
        };
        let bound = number(bound)?;
        let (window, keys) = plans.iter().find_map(|plan| numbering(plan, column))?;
        let input = self.guess(&window.input);
        let rows = (input.rows / self.partitions(keys, &input)).max(1.0);
        match op {
            Operator::Eq => Some(1.0 / rows),
            Operator::Lt => Some((bound - 1.0) / rows),
            Operator::LtEq => Some(bound / rows),
            Operator::Gt | Operator::GtEq => Some(1.0 - bound / rows),
            _ => None,
        }
    }

    /// How the values of an expression are spread.
    fn spread(&self, expr: &Expr, plans: &[&LogicalPlan]) -> Option<Spread> {
        match expr {
            Expr::Alias(alias) => self.spread(&alias.expr, plans),
            Expr::Cast(cast) => self.spread(&cast.expr, plans),
            Expr::Literal(value, _) => number(value).map(|value| Spread::even(value, value)),
            Expr::Column(column) => plans.iter().find_map(|plan| self.spread_in(plan, column)),
            Expr::ScalarSubquery(subquery) => {
                let plan = subquery.subquery.as_ref();
                let column = plan.schema().columns().into_iter().next()?;
                let mut spread = self.spread_in(plan, &column)?;
                spread.of_groups = true;
                Some(spread)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let operation = match op {
                    Operator::Plus => Operation::Add,
                    Operator::Minus => Operation::Subtract,
                    Operator::Multiply => Operation::Multiply,
                    Operator::Divide => Operation::Divide,
                    _ => return None,
                };
                let (left, right) = (self.spread(left, plans)?, self.spread(right, plans)?);
                left.and(operation, &right)
            }
            Expr::ScalarFunction(call) => {
                let mut all = Operation::ALL.into_iter();
                let operation = all.find(|one| one.function_name() == call.func.name())?;
                let [left, right] = call.args.as_slice() else {
                    return None;
                };
                let (left, right) = (self.spread(left, plans)?, self.spread(right, plans)?);
                left.and(operation, &right)
            }
            _ => None,
        }
    }

    /// How the values of a column of a plan are spread.
    fn spread_in(&self, plan: &LogicalPlan, column: &Column) -> Option<Spread> {
        let at = plan.schema().maybe_index_of_column(column)?;
        match plan {
            LogicalPlan::TableScan(scan) => {
                let (least, most) = self.evidence.of(scan)?.bounds(&column.name)?;
                Some(Spread {
                    columns: BTreeSet::from([column.name.clone()]),
                    ..Spread::even(least, most)
                })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let inside = alias.input.schema().columns().into_iter().nth(at)?;
                self.spread_in(&alias.input, &inside)
            }
            LogicalPlan::Projection(projection) => {
                self.spread(projection.expr.get(at)?, &[&projection.input])
            }
            LogicalPlan::Aggregate(aggregate) => {
                let keys = &aggregate.group_expr;
                match at.checked_sub(keys.len()) {
                    Some(result) => self.result(aggregate, aggregate.aggr_expr.get(result)?),
                    None => self.spread(&keys[at], &[&aggregate.input]),
                }
            }
            LogicalPlan::Window(window) => self.spread_in(&window.input, column),
            LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Sort(_) => {
                let mut inputs = plan.inputs().into_iter();
                inputs.find_map(|input| self.spread_in(input, column))
            }
            _ => None,
        }
    }

    /// How a result is spread over the groups.
    fn result(&self, aggregate: &Aggregate, result: &Expr) -> Option<Spread> {
        let Expr::AggregateFunction(call) = plain(result) else {
            return None;
        };
        if call.params.distinct || call.params.filter.is_some() {
            return None;
        }
        let input = self.guess(&aggregate.input);
        let groups = self.combine(
            &LogicalPlan::Aggregate(aggregate.clone()),
            std::slice::from_ref(&input),
        );
        let rows = (input.rows / groups.rows).max(1.0);
        let values = |value: &Expr| self.spread(value, &[&aggregate.input]);
        match (call.func.name(), call.params.args.as_slice()) {
            ("count", _) => Some(Spread::of_count(rows)),
            ("sum", [value]) => Some(values(value)?.summed(rows)),
            ("avg", [value]) => Some(values(value)?.averaged(rows)),
            _ => None,
        }
    }
}

/// What divides the partitions in which an expression numbers the rows, if it is such a number.
pub(super) fn numbered(expr: &Expr) -> Option<&[Expr]> {
    const NUMBERS: [&str; 3] = ["row_number", "rank", "dense_rank"];
    match expr {
        Expr::Alias(alias) => numbered(&alias.expr),
        Expr::WindowFunction(window) if NUMBERS.contains(&window.fun.name()) => {
            Some(&window.params.partition_by)
        }
        _ => None,
    }
}

/// An expression without its name and casts.
fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Cast(cast) => plain(&cast.expr),
        other => other,
    }
}

fn number(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&arrow::datatypes::DataType::Float64).ok()? {
        ScalarValue::Float64(value) => value,
        _ => None,
    }
}

/// The window that computes a column of a plan, if it numbers rows, and what divides its partitions.
fn numbering<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<(&'a Window, &'a [Expr])> {
    let at = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let inside = alias.input.schema().columns().into_iter().nth(at)?;
            numbering(&alias.input, &inside)
        }
        LogicalPlan::Projection(projection) => match plain(projection.expr.get(at)?) {
            Expr::Column(inside) => numbering(&projection.input, inside),
            _ => None,
        },
        LogicalPlan::Window(window) => match at.checked_sub(window.input.schema().fields().len()) {
            Some(own) => Some((window, numbered(window.window_expr.get(own)?)?)),
            None => numbering(&window.input, column),
        },
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Sort(_) => {
            let mut inputs = plan.inputs().into_iter();
            inputs.find_map(|input| numbering(input, column))
        }
        _ => None,
    }
}

/// The mean and the variance of numbers.
#[derive(Debug, Clone, PartialEq)]
struct Spread {
    mean: f64,
    variance: f64,
    /// They are results of groups, or computed from such.
    of_groups: bool,
    /// The names of the columns they come from.
    columns: BTreeSet<String>,
}

impl Spread {
    fn even(least: f64, most: f64) -> Self {
        Self {
            mean: f64::midpoint(least, most),
            variance: (most - least).powi(2) / 12.0,
            of_groups: false,
            columns: BTreeSet::new(),
        }
    }

    /// Of the rows of a group.
    fn of_count(rows: f64) -> Self {
        Self {
            mean: rows,
            variance: rows - 1.0,
            of_groups: true,
            columns: BTreeSet::new(),
        }
    }

    /// Of the sums of groups.
    fn summed(self, rows: f64) -> Self {
        Self {
            mean: rows * self.mean,
            variance: rows * self.variance + (rows - 1.0) * self.mean.powi(2),
            of_groups: true,
            columns: self.columns,
        }
    }

    /// Of the averages of groups.
    fn averaged(self, rows: f64) -> Self {
        Self {
            mean: self.mean,
            variance: self.variance / rows,
            of_groups: true,
            columns: self.columns,
        }
    }

    /// The numbers less others, independent of them.
    fn less(&self, other: &Self) -> Self {
        Self {
            mean: self.mean - other.mean,
            variance: self.variance + other.variance,
            of_groups: self.of_groups || other.of_groups,
            columns: self.columns.union(&other.columns).cloned().collect(),
        }
    }

    /// The numbers and others, independent of them, put together. Quotients are of constants only.
    fn and(&self, operation: Operation, other: &Self) -> Option<Self> {
        let (mean, variance) = match operation {
            Operation::Add => (self.mean + other.mean, self.variance + other.variance),
            Operation::Subtract => (self.mean - other.mean, self.variance + other.variance),
            Operation::Multiply => (
                self.mean * other.mean,
                self.variance * other.variance
                    + self.variance * other.mean.powi(2)
                    + other.variance * self.mean.powi(2),
            ),
            Operation::Divide if other.variance == 0.0 && other.mean != 0.0 => {
                (self.mean / other.mean, self.variance / other.mean.powi(2))
            }
            Operation::Divide | Operation::Negate => return None,
        };
        Some(Self {
            mean,
            variance,
            ..self.less(other)
        })
    }

    /// How small and how large a share is believed when the two are compared.
    fn trusted(&self, other: &Self) -> (f64, f64) {
        let are_known = self.columns.is_empty() || other.columns.is_empty();
        match are_known || self.columns == other.columns {
            true => (0.0, 1.0),
            false => (UNLIKE_MIN, 1.0 - UNLIKE_MIN),
        }
    }

    /// The share of the numbers below a bound.
    fn below(&self, bound: f64) -> f64 {
        if self.variance <= 0.0 {
            return f64::from(u8::from(self.mean < bound));
        }
        normal((bound - self.mean) / self.variance.sqrt())
    }
}

/// The distribution function of the standard normal distribution: Abramowitz and Stegun, "Handbook of Mathematical
/// Functions", 26.2.17; the error is less than 1e-7.
fn normal(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let sum = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let beyond = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (x, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_7),
            (-1.96, 0.024_997_9),
            (3.0, 0.998_650_1),
        ] {
            assert!((normal(x) - share).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn few_orders_of_four_lines_have_300_pieces() {
        let pieces = Spread::even(1.0, 50.0).summed(4.0);
        assert_eq!(pieces.mean, 102.0);
        let share = 1.0 - pieces.below(300.0);
        assert!((2e-5..2e-4).contains(&share), "{share}");
    }

    #[test]
    fn few_pieces_are_less_than_a_fifth_of_the_average() {
        let pieces = Spread::even(1.0, 50.0);
        let average = pieces.clone().averaged(30.0);
        let fifth = Spread::even(0.2, 0.2).and(Operation::Multiply, &average);
        let share = fifth.map(|fifth| pieces.less(&fifth).below(0.0));
        assert!(
            share.is_some_and(|share| (0.05..0.12).contains(&share)),
            "{share:?}"
        );
    }

    #[test]
    fn groups_of_one_row_have_one_row() {
        assert_eq!(Spread::of_count(1.0).below(2.0), 1.0);
        assert_eq!(Spread::of_count(1.0).below(1.0), 0.0);
    }
}
