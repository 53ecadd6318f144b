//! `INTERVAL '1 day' * 3` and `INTERVAL '1 day' / 2`, which DataFusion has not: every part is scaled, and what is left
//! of a month goes to the days (30 a month), what is left of a day to the hours.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalUnit};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result, exec_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use tidegate_operators::interval_text::{IntervalText, intervals};

use super::{Error, over_arrays};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const DAYS_A_MONTH: i128 = 30;
const NANOS_A_DAY: i128 = 86_400_000_000_000;

/// Plans the operators of an interval and a number as [`functions`].
#[derive(Debug)]
pub(crate) struct IntervalScaling;

impl ExprPlanner for IntervalScaling {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let scaling = match expr.op {
            BinaryOperator::Multiply => Scaling::Multiply,
            BinaryOperator::Divide => Scaling::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            return Ok(PlannerResult::Original(expr));
        };
        let is_interval =
            |kind: &DataType| matches!(kind, DataType::Interval(_) | DataType::Duration(_));
        let factor = |kind: &DataType| match kind {
            DataType::UInt64 => Some(DataType::Float64),
            kind if kind.is_integer() => Some(DataType::Int64),
            kind if kind.is_numeric() || kind.is_null() => Some(DataType::Float64),
            _ => None,
        };
        let planned = if is_interval(&left)
            && let Some(kind) = factor(&right)
        {
            scaling.of(expr.left, cast(expr.right, kind))
        } else if is_interval(&right)
            && scaling == Scaling::Multiply
            && let Some(kind) = factor(&left)
        {
            scaling.of(expr.right, cast(expr.left, kind))
        } else {
            return Ok(PlannerResult::Original(expr));
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// The functions by which [`IntervalScaling`] plans.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 2] {
    [Scaling::Multiply, Scaling::Divide].map(Scaling::function)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scaling {
    Multiply,
    Divide,
}

impl Scaling {
    /// The name of the function, in serialized plans too: never change one.
    fn name(self) -> &'static str {
        match self {
            Self::Multiply => "interval_multiply",
            Self::Divide => "interval_divide",
        }
    }

    fn function(self) -> Arc<ScalarUDF> {
        static BOTH: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
            [Scaling::Multiply, Scaling::Divide].map(|scaling| {
                Arc::new(ScalarUDF::new_from_impl(Scale {
                    scaling,
                    signature: Signature::any(2, Volatility::Immutable),
                }))
            })
        });
        Arc::clone(&BOTH[self as usize])
    }

    fn of(self, interval: Expr, factor: Expr) -> Expr {
        self.function().call(vec![interval, factor])
    }

    fn by_whole(self, value: IntervalMonthDayNano, factor: i64) -> Result<IntervalMonthDayNano> {
        let (times, over) = match self {
            Self::Multiply => (i128::from(factor), 1),
            Self::Divide if factor == 0 => return Err(ArrowError::DivideByZero.into()),
            Self::Divide => (1, i128::from(factor)),
        };
        let months = i128::from(value.months) * times;
        let days = i128::from(value.days) * times + months % over * DAYS_A_MONTH;
        let nanos = i128::from(value.nanoseconds) * times + days % over * NANOS_A_DAY;
        let parts = (months / over, days / over, nanos / over);
        self.fitting(parts, value, &factor)
    }

    fn by_float(self, value: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
        let scaled = |part: f64| match self {
            Self::Multiply => part * factor,
            Self::Divide => part / factor,
        };
        if self == Self::Divide && factor == 0.0 {
            return Err(ArrowError::DivideByZero.into());
        }
        let months = scaled(value.months.into());
        let days = scaled(value.days.into()) + months.fract() * DAYS_A_MONTH as f64;
        let nanos = scaled(value.nanoseconds as f64) + days.fract() * NANOS_A_DAY as f64;
        if !(months.is_finite() && days.is_finite() && nanos.is_finite()) {
            return Err(self.out_of_range(value, &factor));
        }
        let parts = (months as i128, days as i128, nanos.round() as i128);
        self.fitting(parts, value, &factor)
    }

    fn fitting(
        self,
        (months, days, nanos): (i128, i128, i128),
        value: IntervalMonthDayNano,
        factor: &dyn std::fmt::Display,
    ) -> Result<IntervalMonthDayNano> {
        match (months.try_into(), days.try_into(), nanos.try_into()) {
            (Ok(months), Ok(days), Ok(nanos)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
            _ => Err(self.out_of_range(value, factor)),
        }
    }

    fn out_of_range(
        self,
        value: IntervalMonthDayNano,
        factor: &dyn std::fmt::Display,
    ) -> datafusion::error::DataFusionError {
        let symbol = match self {
            Self::Multiply => '*',
            Self::Divide => '/',
        };
        let error = Error::OutOfRange {
            type_name: "interval".into(),
            expression: format!("{} {symbol} {factor}", IntervalText(value)),
        };
        error.into()
    }
}

/// An interval or duration, scaled by a whole number or a float.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scale {
    scaling: Scaling,
    signature: Signature,
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &str {
        self.scaling.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [
                DataType::Interval(_) | DataType::Duration(_),
                DataType::Int64 | DataType::Float64,
            ] => Ok(INTERVAL),
            _ => plan_err!("{} takes an interval and a number", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args, |arrays| {
            let [value, factor] = arrays else {
                return exec_err!("{} takes two arguments", self.name());
            };
            let Some(intervals) = intervals(value) else {
                return exec_err!("{} takes an interval", self.name());
            };
            let is_null = |row| value.is_null(row) || factor.is_null(row);
            let rows = (0..value.len()).map(|row| (!is_null(row)).then_some(row));
            let scaled: IntervalMonthDayNanoArray = match factor.data_type() {
                DataType::Int64 => {
                    let factors = factor.as_primitive::<Int64Type>();
                    let one = |row| self.scaling.by_whole(intervals(row), factors.value(row));
                    rows.map(|row| row.map(one).transpose())
                        .collect::<Result<_>>()?
                }
                DataType::Float64 => {
                    let factors = factor.as_primitive::<Float64Type>();
                    let one = |row| self.scaling.by_float(intervals(row), factors.value(row));
                    rows.map(|row| row.map(one).transpose())
                        .collect::<Result<_>>()?
                }
                _ => return exec_err!("{} takes a number", self.name()),
            };
            Ok(Arc::new(scaled))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn what_is_left_of_a_part_goes_to_the_next() {
        let check = |scaling: Scaling, parts: (i32, i32, i64), factor: i64, expect: &str| {
            let value = IntervalMonthDayNano::new(parts.0, parts.1, parts.2);
            let whole = scaling.by_whole(value, factor).unwrap();
            let float = scaling.by_float(value, factor as f64).unwrap();
            assert_eq!(IntervalText(whole).to_string(), expect);
            assert_eq!(whole, float, "{expect}");
        };
        check(Scaling::Multiply, (0, 1, 0), 3, "3 days");
        check(
            Scaling::Multiply,
            (1, -1, HOUR),
            -2,
            "-2 months 2 days -02:00:00",
        );
        check(Scaling::Divide, (0, 1, 0), 2, "12:00:00");
        check(Scaling::Divide, (3, 1, 0), 2, "1 month 15 days 12:00:00");
        let value = IntervalMonthDayNano::new(1, 0, 0);
        let one_and_a_half = Scaling::Multiply.by_float(value, 1.5).unwrap();
        assert_eq!(IntervalText(one_and_a_half).to_string(), "1 month 15 days");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let value = IntervalMonthDayNano::new(1, 0, 0);
        let text = |result: Result<IntervalMonthDayNano>| result.unwrap_err().to_string();
        assert!(text(Scaling::Multiply.by_whole(value, i64::MAX)).contains("out of range"));
        assert!(text(Scaling::Multiply.by_float(value, f64::NAN)).contains("out of range"));
        assert!(text(Scaling::Divide.by_whole(value, 0)).contains("ivide by zero"));
    }
}
