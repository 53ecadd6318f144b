//! The parts of a date that DataFusion's `date_part` has not: decade, century and millennium,
//! and those of a difference of times.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_part;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use tidegate_operators::interval_text::intervals;

use crate::arithmetic::over_array;

/// The function in place of DataFusion's.
pub(super) fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Parts {
            theirs: date_part(),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// Plans `extract(part FROM t)` as [`function`].
#[derive(Debug)]
pub(crate) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(function().call(args)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    theirs: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Parts {
    as_theirs!();

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [part, time] = args.args.as_mut_slice() else {
            return exec_err!("{} takes two arguments", self.name());
        };
        if let DataType::Duration(_) = time.data_type() {
            *time = over_array(time, |array| Ok(days_apart(array)))?;
        }
        let years = match part {
            ColumnarValue::Scalar(part) => part.try_as_str().flatten().and_then(years),
            ColumnarValue::Array(_) => None,
        };
        let Some(years) = years else {
            return self.theirs.invoke_with_args(args);
        };
        let span = match time.data_type() {
            DataType::Interval(_) => |year: i32, years| year / years,
            _ => number,
        };
        *part = ColumnarValue::Scalar(ScalarValue::from("year"));
        let year = self.theirs.invoke_with_args(args)?;
        over_array(&year, |array| {
            let year = array.as_primitive::<Int32Type>();
            let numbers: Int32Array = year.unary(|year| span(year, years));
            Ok(Arc::new(numbers))
        })
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.theirs.inner().preimage(args, literal, info)
    }
}

/// A difference of times as the interval it is shown as, with its days apart from its hours. DataFusion has no seconds
/// of differences beyond 68 years, and counts all of their hours.
fn days_apart(differences: &ArrayRef) -> ArrayRef {
    match intervals(differences) {
        Some(interval) => {
            let rows = 0..differences.len();
            let values = rows.map(|row| (!differences.is_null(row)).then(|| interval(row)));
            Arc::new(values.collect::<IntervalMonthDayNanoArray>())
        }
        None => Arc::clone(differences),
    }
}

/// The years of a part.
fn years(part: &str) -> Option<i32> {
    match part.trim_matches(['\'', '"']).to_lowercase().as_str() {
        "decade" | "decades" => Some(10),
        "century" | "centuries" => Some(100),
        "millennium" | "millenniums" | "millennia" => Some(1000),
        _ => None,
    }
}

/// The first century begins with the year 1, the one before it ends with the year 0; the decade of a year is what is
/// left of it without its last digit.
fn number(year: i32, years: i32) -> i32 {
    match years {
        10 => year.div_euclid(10),
        _ if year > 0 => (year - 1) / years + 1,
        _ => year / years - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centuries_begin_with_their_second_year() {
        for (year, century, millennium, decade) in [
            (2024, 21, 3, 202),
            (2001, 21, 3, 200),
            (2000, 20, 2, 200),
            (1, 1, 1, 0),
            (0, -1, -1, 0),
            (-99, -1, -1, -10),
            (-100, -2, -1, -10),
        ] {
            let found = [100, 1000, 10].map(|years| number(year, years));
            assert_eq!(found, [century, millennium, decade], "{year}");
        }
    }
}
