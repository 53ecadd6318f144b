//! Functions that make values comparable where arrow orders them otherwise than SQL does.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use tidegate_operators::floats::{one_nan, one_zero};
use tidegate_operators::timestamps::per_second;

use super::over_array;

/// Which value is made of another one to compare it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparable {
    /// A float with one NaN: processors give `0 / 0` a sign, by which arrow puts it below all numbers.
    OneNan,
    /// A float with one NaN and one zero, to sort by: arrow puts `-0.0` before `0.0`.
    FloatKey,
    /// The length of an interval, in nanoseconds: a month is 30 days, a day 24 hours, as in PostgreSQL. Arrow compares
    /// months, then days, then the rest.
    IntervalLength,
}

impl Comparable {
    pub(crate) const ALL: [Comparable; 3] = [
        Comparable::OneNan,
        Comparable::FloatKey,
        Comparable::IntervalLength,
    ];

    /// The name of the function, in serialized plans too: never change one.
    fn name(self) -> &'static str {
        match self {
            Comparable::OneNan => "one_nan",
            Comparable::FloatKey => "float_key",
            Comparable::IntervalLength => "interval_length",
        }
    }

    pub(crate) fn function(self) -> Arc<ScalarUDF> {
        static ALL: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
            Comparable::ALL.map(|kind| Arc::new(ScalarUDF::new_from_impl(ToComparable::new(kind))))
        });
        Arc::clone(&ALL[self as usize])
    }

    /// The call of the function.
    pub(crate) fn of(self, expr: Expr) -> Expr {
        self.function().call(vec![expr])
    }
}

/// The length of an interval in nanoseconds.
pub(super) fn interval_length(value: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 24 * 3_600 * 1_000_000_000;
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    days * DAY + i128::from(value.nanoseconds)
}

/// The function of a [`Comparable`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToComparable {
    kind: Comparable,
    signature: Signature,
}

impl ToComparable {
    fn new(kind: Comparable) -> Self {
        Self {
            kind,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    /// What the function makes.
    pub(crate) fn kind(&self) -> Comparable {
        self.kind
    }
}

impl ScalarUDFImpl for ToComparable {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // What is computed keeps the name of what the user wrote; a column and what is made of it are two.
        match args {
            [argument] if is_column(argument) => {
                Ok(format!("{}({})", self.name(), argument.schema_name()))
            }
            [argument] => Ok(argument.schema_name().to_string()),
            _ => plan_err!("{} takes one argument", self.name()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.kind, types) {
            (Comparable::OneNan | Comparable::FloatKey, [float]) if float.is_floating() => {
                Ok(float.clone())
            }
            (
                Comparable::IntervalLength,
                [
                    DataType::Interval(IntervalUnit::MonthDayNano)
                    | DataType::Duration(_)
                    | DataType::Null,
                ],
            ) => Ok(DataType::Decimal128(38, 0)),
            _ => plan_err!("{} of {types:?}", self.name()),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [value] => over_array(value, |array| self.array(array)),
            _ => exec_err!("{} takes one argument", self.name()),
        }
    }
}

/// Whether an expression has the name of a column.
fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Cast(cast) => is_column(&cast.expr),
        Expr::TryCast(cast) => is_column(&cast.expr),
        _ => false,
    }
}

impl ToComparable {
    fn array(&self, array: &ArrayRef) -> Result<ArrayRef> {
        Ok(match (self.kind, array.data_type()) {
            (Comparable::OneNan, float) if float.is_floating() => one_nan(array),
            (Comparable::FloatKey, float) if float.is_floating() => one_zero(&one_nan(array)),
            (Comparable::IntervalLength, DataType::Interval(IntervalUnit::MonthDayNano)) => {
                let lengths: Decimal128Array = array
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .unary(interval_length);
                Arc::new(lengths.with_precision_and_scale(38, 0)?)
            }
            // Arrow's cast to an interval counts days of a duration in nanoseconds, which end after 292 years.
            (Comparable::IntervalLength, DataType::Duration(unit)) => {
                let nanoseconds = i128::from(1_000_000_000 / per_second(*unit));
                let counts = cast(array, &DataType::Int64)?;
                let lengths: Decimal128Array = counts
                    .as_primitive::<Int64Type>()
                    .unary(|count| i128::from(count) * nanoseconds);
                Arc::new(lengths.with_precision_and_scale(38, 0)?)
            }
            (Comparable::IntervalLength, DataType::Null) => {
                arrow::array::new_null_array(&DataType::Decimal128(38, 0), array.len())
            }
            (_, other) => return exec_err!("{} of {other}", self.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_thirty_days_and_a_day_is_24_hours() {
        let length = |months, days, nanoseconds| {
            interval_length(IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            })
        };
        assert_eq!(length(1, 0, 0), length(0, 30, 0));
        assert_eq!(length(0, 1, 0), length(0, 0, 86_400_000_000_000));
        assert!(length(0, 1, 0) < length(0, 0, 129_600_000_000_000));
        assert!(length(i32::MAX, i32::MAX, i64::MAX) > 0);
        assert!(length(i32::MIN, i32::MIN, i64::MIN) < 0);
    }
}
