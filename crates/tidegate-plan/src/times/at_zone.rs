//! `t AT TIME ZONE 'Europe/Berlin'`: of an instant what the clock shows there, of what a clock there shows the instant.
//! DataFusion takes it for a cast, which keeps the zone and knows no time that a clock shows twice or leaves out.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{ScalarValue, exec_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use tidegate_operators::timestamps::{Zone, per_second};

use super::{counts, out_of_range, stamps};
use crate::arithmetic::sql_type;
use crate::sql::{Code, Error};

/// The function of `AT TIME ZONE`: a time, a zone, and the zone of the session.
pub(crate) fn at_time_zone() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(AtTimeZone {
            signature: Signature::any(3, Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// A time in a zone; an instant that this makes of a clock's time has the zone as its own.
pub(crate) fn in_zone(time: Expr, zone: &str) -> Expr {
    at_time_zone().call(vec![time, lit(zone), lit(zone)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    signature: Signature,
}

impl AtTimeZone {
    /// In serialized plans too: never change it.
    const NAME: &str = "at_time_zone";
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type depends on a zone")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let session = args.scalar_arguments.get(2).copied().flatten();
        let (Some(time), Some(Some(session))) = (
            args.arg_fields.first(),
            session.map(|zone| zone.try_as_str().flatten()),
        ) else {
            return internal_err!("{} takes a time and two zones", Self::NAME);
        };
        let data_type = match time.data_type() {
            DataType::Timestamp(unit, None) => DataType::Timestamp(*unit, Some(session.into())),
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
            // As PostgreSQL, which takes the session's midnight.
            DataType::Date32 | DataType::Date64 | DataType::Null => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            other => return Err(no_time(other)),
        };
        Ok(Arc::new(Field::new(Self::NAME, data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, zone, session] = args.args.as_slice() else {
            return exec_err!("{} takes three arguments", Self::NAME);
        };
        let is_constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
        let constant = is_constant(time) && is_constant(zone);
        let rows = if constant { 1 } else { args.number_rows };
        let zones = Zones::of(zone)?;
        let Zones::One(Some(session)) = Zones::of(session)? else {
            return exec_err!("{} takes a constant zone", Self::NAME);
        };
        let time = time.to_array(rows)?;
        let shifted = shifted(&time, &zones, session, args.return_field.data_type())?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&shifted, 0)?),
            false => ColumnarValue::Array(shifted),
        })
    }
}

/// The zones of the rows.
enum Zones {
    One(Option<Zone>),
    Each(Vec<Option<Zone>>),
}

impl Zones {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let text = |text: Option<&str>| text.map(zone).transpose();
        Ok(match value {
            ColumnarValue::Scalar(scalar) if scalar.data_type().is_null() => Self::One(None),
            ColumnarValue::Scalar(scalar) => match scalar.try_as_str() {
                Some(name) => Self::One(text(name)?),
                None => return Err(no_zone(&scalar.data_type())),
            },
            ColumnarValue::Array(array) if !array.data_type().is_string() => {
                return Err(no_zone(array.data_type()));
            }
            ColumnarValue::Array(array) => {
                let names = cast(array, &DataType::Utf8)?;
                let zones = names.as_string::<i32>().iter().map(text);
                Self::Each(zones.collect::<Result<_>>()?)
            }
        })
    }

    fn at(&self, row: usize) -> Option<Zone> {
        match self {
            Self::One(zone) => *zone,
            Self::Each(zones) => zones[row],
        }
    }
}

fn zone(name: &str) -> Result<Zone> {
    let unknown = || {
        let error = Error::new(
            Code::InvalidValue,
            format!("there is no time zone `{name}`"),
        );
        DataFusionError::External(Box::new(error.hint("write it as in `Europe/Berlin`")))
    };
    Zone::read(name).ok_or_else(unknown)
}

fn no_time(found: &DataType) -> DataFusionError {
    let found = sql_type(found);
    let error = Error::new(
        Code::TypeMismatch,
        format!("AT TIME ZONE takes a timestamp, not a value of type {found}"),
    );
    DataFusionError::External(Box::new(error))
}

fn no_zone(found: &DataType) -> DataFusionError {
    let found = sql_type(found);
    let error = Error::new(
        Code::TypeMismatch,
        format!("AT TIME ZONE takes the name of a zone, not a value of type {found}"),
    );
    DataFusionError::External(Box::new(error.hint("write it as in `Europe/Berlin`")))
}

fn shifted(time: &ArrayRef, zones: &Zones, session: Zone, to: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, _) = to else {
        return internal_err!("{} gives timestamps", AtTimeZone::NAME);
    };
    let (from, time) = match time.data_type() {
        DataType::Timestamp(_, None) => (From::Clock, counts(time)?),
        DataType::Timestamp(_, Some(_)) => (From::Instant, counts(time)?),
        _ => {
            let midnights = cast(time, &DataType::Timestamp(*unit, None))?;
            (From::Midnight(session), counts(&midnights)?)
        }
    };
    let per_second = per_second(*unit);
    let one = |row: usize| {
        let zone = zones.at(row).filter(|_| !time.is_null(row))?;
        let value = time.value(row);
        let seconds = from.shift(value.div_euclid(per_second), zone);
        let value = seconds.and_then(|by| value.checked_add(by.checked_mul(per_second)?));
        Some(value.ok_or_else(out_of_range))
    };
    let values: Int64Array = (0..time.len())
        .map(|row| one(row).transpose())
        .collect::<Result<_>>()?;
    stamps(values, to)
}

/// What a time is.
#[derive(Clone, Copy)]
enum From {
    Instant,
    Clock,
    /// What the clock of a zone shows when a day begins.
    Midnight(Zone),
}

impl From {
    /// The seconds from a time to what it is in a zone.
    fn shift(self, seconds: i64, zone: Zone) -> Option<i64> {
        match self {
            Self::Instant => zone.offset_at(seconds),
            Self::Clock => Some(-zone.offset_of_clock(seconds)?),
            Self::Midnight(session) => {
                let to_instant = -session.offset_of_clock(seconds)?;
                Some(to_instant + zone.offset_at(seconds + to_instant)?)
            }
        }
    }
}
