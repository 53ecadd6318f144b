//! Timestamps of texts as PostgreSQL reads them. Arrow's cast moves a time by the offset of its text even if no zone is
//! asked for, cuts digits off and refuses `12:34`.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use tidegate_operators::timestamps::{Written, Zone, per_second};

use super::error::{Code, Error};
use super::errors::between;
use super::wording::{clip, number};
use crate::arithmetic::over_array;
use crate::times::stamps;

/// The function of a text's timestamp: the text, whether NULL stands for what is none, and a NULL of the type.
pub(super) fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(TimestampText {
            signature: Signature::any(3, Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// The timestamp that a text says, of the type of `like`.
pub(crate) fn time_of_text(text: Expr, or_null: bool, like: ScalarValue) -> Expr {
    function().call(vec![text, lit(or_null), Expr::Literal(like, None)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampText {
    signature: Signature,
}

impl TimestampText {
    /// In serialized plans too: never change it.
    const NAME: &str = "timestamp_of_text";
}

impl ScalarUDFImpl for TimestampText {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, _, like @ DataType::Timestamp(..)] => Ok(like.clone()),
            _ => plan_err!("{} makes timestamps", Self::NAME),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [
            text,
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(or_null))),
            like,
        ] = &*args.args
        else {
            return exec_err!("{} takes a text and constants", Self::NAME);
        };
        let to = like.data_type();
        let DataType::Timestamp(unit, zone) = &to else {
            return exec_err!("{} makes timestamps", Self::NAME);
        };
        let zone = match zone.as_deref().map(Zone::read) {
            Some(None) => return exec_err!("there is no such time zone"),
            Some(zone) => zone,
            None => None,
        };
        over_array(text, |array| {
            let texts = cast(array, &DataType::Utf8)?;
            let one = |text: Option<&str>| match text.map(|text| read(text, *unit, zone)) {
                Some(Err(_)) if *or_null => Ok(None),
                read => read.transpose(),
            };
            let texts = texts.as_string::<i32>().iter();
            let values: Int64Array = texts.map(one).collect::<Result<_>>()?;
            stamps(values, &to)
        })
    }
}

/// Since 1970, rounded to the unit. In a zone a text without an offset is what the clock shows there.
fn read(text: &str, unit: TimeUnit, zone: Option<Zone>) -> Result<i64> {
    let written = Written::read(text).ok_or_else(|| no_timestamp(text))?;
    let offset = match (zone, written.offset_seconds) {
        (None, _) => Some(0),
        (Some(_), Some(offset)) => Some(offset),
        (Some(zone), None) => zone.offset_of_clock(written.seconds),
    };
    let offset = offset.ok_or_else(|| no_timestamp(text))?;
    let per_second = per_second(unit);
    let nanoseconds_each = 1_000_000_000 / per_second;
    let fraction = (written.nanoseconds + nanoseconds_each / 2) / nanoseconds_each;
    let value = i128::from(written.seconds - offset) * i128::from(per_second);
    let value = value + i128::from(fraction);
    i64::try_from(value).map_err(|_| {
        let text = format!("`{}` does not fit a TIMESTAMP(9)", clip(text));
        let error = Error::new(Code::Overflow, text);
        DataFusionError::External(Box::new(error.hint(NANOSECONDS)))
    })
}

const NANOSECONDS: &str = "nanoseconds reach from 1677 to 2262, a TIMESTAMP(6) reaches further";

fn no_timestamp(text: &str) -> DataFusionError {
    DataFusionError::External(Box::new(not_a_timestamp(text)))
}

fn not_a_timestamp(text: &str) -> Error {
    let text = format!("`{}` is not a TIMESTAMP", clip(text));
    Error::new(Code::InvalidValue, text).hint("TRY_CAST gives NULL instead")
}

/// What arrow says of timestamps, in our words.
pub(super) fn of_message(message: &str) -> Option<Error> {
    if let Some(text) = between(message, "Error parsing timestamp from '", "'") {
        return Some(not_a_timestamp(text));
    }
    // A coarser unit, counted in nanoseconds.
    let factor = message
        .split_once("Overflow happened on: ")
        .and_then(|(_, rest)| rest.split_once(" * "));
    let of_nanoseconds = match factor {
        Some((_, factor)) => {
            ["1000", "1000000", "1000000000", "86400000000000"].contains(&number(factor))
        }
        None => {
            message.contains("Overflow converting ") && message.contains(" to Nanosecond")
                || message.contains(": converted value exceeds the representable ")
        }
    };
    let error = || Error::new(Code::Overflow, "a time does not fit a TIMESTAMP(9)");
    of_nanoseconds.then(|| error().hint(NANOSECONDS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_text_is_rounded_to_the_unit() {
        let micros = |text: &str, zone| read(text, TimeUnit::Microsecond, zone).unwrap();
        assert_eq!(micros("1970-01-01 00:00:01.0000015", None), 1_000_002);
        assert_eq!(micros("1969-12-31 23:59:59.9999996", None), 0);
        assert_eq!(micros("9999-12-31 23:59:59", None), 253_402_300_799_000_000);
        let berlin = Zone::read("Europe/Berlin");
        assert_eq!(micros("1970-01-01 01:00", berlin), 0);
        assert_eq!(micros("1970-01-01 01:00+02", berlin), -3_600_000_000);
        assert_eq!(micros("1970-01-01 01:00+02", None), 3_600_000_000);
        let nanos = |text: &str| read(text, TimeUnit::Nanosecond, None);
        assert_eq!(nanos("1677-09-21 00:12:43.145224192").unwrap(), i64::MIN);
        assert!(
            nanos("9999-12-31")
                .unwrap_err()
                .to_string()
                .contains("TIMESTAMP(9)")
        );
    }
}
