//! What a condition on the counts, sums and averages of groups leaves, `HAVING sum(quantity) > 300`, and one on the
//! numbers of rows in a window, `rank() <= 10`.
//!
//! A group has one row and as many more as happen to fall into it (Poisson's law), the values of a column lie evenly
//! between its bounds, and what is made of many of them is spread as a normal distribution.

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Aggregate, BinaryExpr, Expr, LogicalPlan, Operator, Window};

use super::guess::Guesser;

/// No condition is taken to leave less: real groups are less even than the law says.
const SHARE_MIN: f64 = 1e-5;

/// Where a column of a plan comes from.
enum Origin<'a> {
    Scan(&'a LogicalPlan, Column),
    /// The aggregate, and which of its results it is.
    Result(&'a Aggregate, &'a Expr),
    /// The window, and what it computes.
    Number(&'a Window, &'a Expr),
}

impl Guesser<'_> {
    /// The share of the rows of `input` for which a comparison with a result of groups holds, if it is one.
    pub(super) fn having(&self, condition: &Expr, input: &LogicalPlan) -> Option<f64> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
            return None;
        };
        let (column, op, bound) = match (plain(left), plain(right)) {
            (Expr::Column(column), Expr::Literal(bound, _)) => (column, *op, bound),
            (Expr::Literal(bound, _), Expr::Column(column)) => (column, op.swap()?, bound),
            _ => return None,
        };
        let bound = number(bound)?;
        let share = match origin(input, column)? {
            Origin::Scan(..) => return None,
            Origin::Result(aggregate, result) => {
                let spread = self.spread(aggregate, result)?;
                match op {
                    Operator::Gt | Operator::GtEq => 1.0 - spread.below(bound),
                    Operator::Lt | Operator::LtEq => spread.below(bound),
                    _ => return None,
                }
            }
            Origin::Number(window, number) => {
                let keys = numbered(number)?;
                let input = self.guess(&window.input);
                let rows = (input.rows / self.partitions(keys, &input)).max(1.0);
                match op {
                    Operator::Eq => 1.0 / rows,
                    Operator::Lt => (bound - 1.0) / rows,
                    Operator::LtEq => bound / rows,
                    Operator::Gt | Operator::GtEq => 1.0 - bound / rows,
                    _ => return None,
                }
            }
        };
        Some(share.clamp(SHARE_MIN, 1.0))
    }

    /// How a result is spread over the groups.
    fn spread(&self, aggregate: &Aggregate, result: &Expr) -> Option<Spread> {
        let Expr::AggregateFunction(call) = plain(result) else {
            return None;
        };
        if call.params.distinct || call.params.filter.is_some() || aggregate.group_expr.is_empty() {
            return None;
        }
        let input = self.guess(&aggregate.input);
        let groups = self.combine(
            &LogicalPlan::Aggregate(aggregate.clone()),
            std::slice::from_ref(&input),
        );
        let rows = (input.rows / groups.rows).max(1.0);
        match (call.func.name(), call.params.args.as_slice()) {
            ("count", _) => Some(Spread::of_count(rows)),
            ("sum", [value]) => Some(self.values(aggregate, value)?.summed(rows)),
            ("avg", [value]) => Some(self.values(aggregate, value)?.averaged(rows)),
            _ => None,
        }
    }

    /// How the values of a column are spread.
    fn values(&self, aggregate: &Aggregate, value: &Expr) -> Option<Spread> {
        let Expr::Column(column) = plain(value) else {
            return None;
        };
        match origin(&aggregate.input, column)? {
            Origin::Scan(LogicalPlan::TableScan(scan), column) => {
                let (least, most) = self.evidence.of(scan)?.bounds(&column.name)?;
                Some(Spread::even(least, most))
            }
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

fn origin<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<Origin<'a>> {
    let at = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::TableScan(_) => Some(Origin::Scan(plan, column.clone())),
        LogicalPlan::SubqueryAlias(alias) => {
            let inside = alias.input.schema().columns().into_iter().nth(at)?;
            origin(&alias.input, &inside)
        }
        LogicalPlan::Projection(projection) => match plain(projection.expr.get(at)?) {
            Expr::Column(inside) => origin(&projection.input, inside),
            _ => None,
        },
        LogicalPlan::Aggregate(aggregate) => match at.checked_sub(aggregate.group_expr.len()) {
            Some(result) => Some(Origin::Result(aggregate, aggregate.aggr_expr.get(result)?)),
            None => match plain(&aggregate.group_expr[at]) {
                Expr::Column(inside) => origin(&aggregate.input, inside),
                _ => None,
            },
        },
        LogicalPlan::Window(window) => match at.checked_sub(window.input.schema().fields().len()) {
            Some(own) => Some(Origin::Number(window, window.window_expr.get(own)?)),
            None => origin(&window.input, column),
        },
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Sort(_) => {
            let mut inputs = plan.inputs().into_iter();
            inputs.find_map(|input| origin(input, column))
        }
        _ => None,
    }
}

/// The mean and the variance of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    mean: f64,
    variance: f64,
}

impl Spread {
    fn even(least: f64, most: f64) -> Self {
        Self {
            mean: f64::midpoint(least, most),
            variance: (most - least).powi(2) / 12.0,
        }
    }

    /// Of the rows of a group.
    fn of_count(rows: f64) -> Self {
        Self {
            mean: rows,
            variance: rows - 1.0,
        }
    }

    /// Of the sums of groups.
    fn summed(self, rows: f64) -> Self {
        Self {
            mean: rows * self.mean,
            variance: rows * self.variance + (rows - 1.0) * self.mean.powi(2),
        }
    }

    /// Of the averages of groups.
    fn averaged(self, rows: f64) -> Self {
        Self {
            mean: self.mean,
            variance: self.variance / rows,
        }
    }

    /// The share of the numbers below a bound.
    fn below(self, bound: f64) -> f64 {
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
    fn groups_of_one_row_have_one_row() {
        assert_eq!(Spread::of_count(1.0).below(2.0), 1.0);
        assert_eq!(Spread::of_count(1.0).below(1.0), 0.0);
    }
}
