//! `date_trunc`, which DataFusion computes in nanoseconds: they end in the year 2262.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use tidegate_operators::timestamps::{Zone, per_second};

use super::{counts, out_of_range, stamps};
use crate::arithmetic::over_array;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The function in place of DataFusion's.
pub(super) fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(DateTrunc {
            theirs: date_trunc(),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// Timestamps of other units than nanoseconds are truncated here, everything else is DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    theirs: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DateTrunc {
    as_theirs!();

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [part, time] = args.args.as_slice() else {
            return exec_err!("{} takes two arguments", self.name());
        };
        let step = match part {
            ColumnarValue::Scalar(part) => part.try_as_str().flatten().and_then(Step::of),
            ColumnarValue::Array(_) => None,
        };
        match (step, time.data_type()) {
            (Some(step), DataType::Timestamp(unit, zone)) if unit != TimeUnit::Nanosecond => {
                let zone = match &zone {
                    Some(name) => Some(Zone::read(name).ok_or_else(out_of_range)?),
                    None => None,
                };
                over_array(time, |array| truncated(array, step, unit, zone))
            }
            _ => self.theirs.invoke_with_args(args),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }
}

/// What a time is truncated to.
#[derive(Clone, Copy)]
enum Step {
    /// So many in a second.
    Fraction(i64),
    /// Of so many seconds, by the clock.
    Seconds(i64),
    /// What begins at a midnight.
    Date(fn(NaiveDate) -> Option<NaiveDate>),
}

impl Step {
    fn of(part: &str) -> Option<Self> {
        Some(match part.to_lowercase().as_str() {
            "microsecond" => Self::Fraction(1_000_000),
            "millisecond" => Self::Fraction(1_000),
            "second" => Self::Fraction(1),
            "minute" => Self::Seconds(MINUTE),
            "hour" => Self::Seconds(HOUR),
            "day" => Self::Date(Some),
            "week" => Self::Date(|date| Some(date.week(chrono::Weekday::Mon).first_day())),
            "month" => Self::Date(|date| date.with_day(1)),
            "quarter" => Self::Date(|date| date.with_day(1)?.with_month0(date.month0() / 3 * 3)),
            "year" => Self::Date(|date| date.with_ordinal(1)),
            _ => return None,
        })
    }

    fn truncate(self, value: i64, per_second: i64, zone: Option<Zone>) -> Option<i64> {
        if let Self::Fraction(count) = self {
            let step = (per_second / count).max(1);
            return value.checked_sub(value.rem_euclid(step));
        }
        let seconds = value.div_euclid(per_second);
        let shown = match zone {
            Some(zone) => seconds + zone.offset_at(seconds)?,
            None => seconds,
        };
        let seconds = match self {
            // The offset stays: an hour that the clock shows twice begins twice.
            Self::Fraction(_) => seconds,
            Self::Seconds(count) => seconds - shown.rem_euclid(count),
            Self::Date(begin) => {
                let date = begin(DateTime::from_timestamp(shown, 0)?.date_naive())?;
                let midnight = i64::from(date.num_days_from_ce() - DAYS_TO_1970) * DAY;
                match zone {
                    Some(zone) => midnight - zone.offset_of_clock(midnight)?,
                    None => midnight,
                }
            }
        };
        seconds.checked_mul(per_second)
    }
}

/// From the first day of the year 1, which is the first one.
const DAYS_TO_1970: i32 = 719_163;

fn truncated(array: &ArrayRef, step: Step, unit: TimeUnit, zone: Option<Zone>) -> Result<ArrayRef> {
    let per_second = per_second(unit);
    let truncate = |value| {
        let truncated = step.truncate(value, per_second, zone);
        truncated.ok_or_else(out_of_range)
    };
    let values: Int64Array = counts(array)?.try_unary(truncate)?;
    stamps(values, array.data_type())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tidegate_operators::timestamps::{Written, text};

    use super::*;

    fn check(part: &str, time: &str, zone: Option<&str>, expect: &str) {
        let written = Written::read(time).unwrap();
        let value = written.seconds - written.offset_seconds.unwrap_or(0);
        let value = value * 1_000_000 + written.nanoseconds / 1000;
        let zone = zone.map(|name| Zone::read(name).unwrap());
        let step = Step::of(part).unwrap();
        let truncated = step.truncate(value, 1_000_000, zone).unwrap();
        let offset = zone.map(|zone| zone.offset_at(truncated.div_euclid(1_000_000)).unwrap());
        assert_eq!(
            text(truncated, TimeUnit::Microsecond, offset),
            expect,
            "{part} of {time}"
        );
    }

    #[test]
    fn a_part_begins_by_the_calendar() {
        for (part, expect) in [
            ("microsecond", "9999-11-30 23:59:58.123456"),
            ("millisecond", "9999-11-30 23:59:58.123"),
            ("second", "9999-11-30 23:59:58"),
            ("minute", "9999-11-30 23:59:00"),
            ("hour", "9999-11-30 23:00:00"),
            ("day", "9999-11-30 00:00:00"),
            ("week", "9999-11-29 00:00:00"),
            ("month", "9999-11-01 00:00:00"),
            ("quarter", "9999-10-01 00:00:00"),
            ("year", "9999-01-01 00:00:00"),
        ] {
            check(part, "9999-11-30 23:59:58.123456", None, expect);
        }
        check("quarter", "1500-05-31 01:00", None, "1500-04-01 00:00:00");
        check("year", "0001-01-01 01:00", None, "0001-01-01 00:00:00");
    }

    #[test]
    fn a_day_begins_by_the_clock_of_the_zone() {
        let new_york = Some("America/New_York");
        check(
            "day",
            "2024-07-01 03:00Z",
            new_york,
            "2024-06-30 00:00:00-04",
        );
        check(
            "year",
            "2024-07-01 03:00Z",
            new_york,
            "2024-01-01 00:00:00-05",
        );
        // Both hours after one o'clock of a night when the clock is set back.
        check(
            "hour",
            "2024-11-03 05:30Z",
            new_york,
            "2024-11-03 01:00:00-04",
        );
        check(
            "hour",
            "2024-11-03 06:30Z",
            new_york,
            "2024-11-03 01:00:00-05",
        );
        check(
            "hour",
            "2024-07-01 03:10Z",
            Some("Asia/Kolkata"),
            "2024-07-01 08:00:00+05:30",
        );
    }
}
