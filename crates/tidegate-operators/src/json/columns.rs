//! From what the JSON decoder gives to the types of the table, without losing a digit.
//!
//! The decoder reads `1.5` into an integer column as 1, and any digits into a double. So numbers
//! are decoded as the text they are written in, and converted here, strictly.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListArray, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

/// What the decoder is asked for where the table has `wanted`.
pub(super) fn decoded_type(wanted: &DataType) -> DataType {
    match wanted {
        t if t.is_integer() || t.is_floating() || is_decimal(t) => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(decoded_fields(fields)),
        DataType::List(item) => DataType::List(decoded_field(item).into()),
        other => other.clone(),
    }
}

fn decoded_field(field: &Field) -> Field {
    Field::new(field.name(), decoded_type(field.data_type()), true)
}

/// As [`decoded_type`], for several fields.
pub(super) fn decoded_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| decoded_field(field)).collect()
}

pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// Converts a decoded column to the table's type; a value that would change is an error.
pub(super) fn convert(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    match wanted {
        DataType::Struct(fields) => {
            let given = array.as_struct();
            let columns = given
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| convert(column, field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            let nulls = given.nulls().cloned();
            let built = match columns.is_empty() {
                true => StructArray::new_empty_fields(given.len(), nulls),
                false => StructArray::try_new(fields.clone(), columns, nulls)?,
            };
            Ok(Arc::new(built))
        }
        DataType::List(item) => {
            let given = array.as_list::<i32>();
            let values = convert(given.values(), item.data_type())?;
            let (offsets, nulls) = (given.offsets().clone(), given.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                values,
                nulls,
            )?))
        }
        DataType::Float64 => Ok(Arc::new(doubles(array)?)),
        DataType::Float32 | DataType::Float16 => cast(&(Arc::new(doubles(array)?) as _), wanted),
        t if is_decimal(t) => {
            for text in array.as_string::<i32>().iter().flatten() {
                check(decimal_fits(text, t), text, t)?;
            }
            cast(array, wanted)
        }
        _ => cast(array, wanted),
    }
}

fn cast(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(
        array,
        wanted,
        &CastOptions {
            safe: false,
            ..CastOptions::default()
        },
    )
}

fn check(fits: bool, text: &str, wanted: &DataType) -> Result<(), ArrowError> {
    match fits {
        true => Ok(()),
        false => Err(ArrowError::CastError(format!(
            "`{text}` is no exact {wanted}"
        ))),
    }
}

fn doubles(array: &ArrayRef) -> Result<Float64Array, ArrowError> {
    let texts = array.as_string::<i32>();
    let mut doubles = Float64Builder::with_capacity(texts.len());
    for text in texts {
        let Some(text) = text else {
            doubles.append_null();
            continue;
        };
        let number = exact_double(text);
        check(number.is_some(), text, &DataType::Float64)?;
        doubles.append_option(number);
    }
    Ok(doubles.finish())
}

/// The double a number stands for; an integer that no double equals is none.
pub(super) fn exact_double(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let whole = text.len() > 15 && !text.contains(['.', 'e', 'E']);
    if whole
        && text
            .parse::<i128>()
            .is_ok_and(|integer| number as i128 != integer)
    {
        return None;
    }
    (number.is_finite() || !text.contains(|c: char| c.is_ascii_digit())).then_some(number)
}

/// True if `text` is a number that fits the decimal type with every digit.
pub(super) fn decimal_fits(text: &str, wanted: &DataType) -> bool {
    let (precision, scale) = match wanted {
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            (*p as usize, (*s).max(0) as usize)
        }
        _ => return true,
    };
    let digits = text.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    !digits.is_empty()
        && all_digits(whole)
        && all_digits(fraction)
        && fraction.trim_end_matches('0').len() <= scale
        && whole.len() + scale <= precision
}
