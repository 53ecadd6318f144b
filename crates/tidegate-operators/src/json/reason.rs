//! Why a record is refused, in words; and the record written anew where a column of text meets a nested value.

use std::fmt::Write;

use arrow::datatypes::{DataType, Fields};

use super::columns::{decimal_fits, exact_double, is_decimal};
use super::keys::Keys;
use super::value::{Object, Value, parse};

/// A record longer than this is cut in a message.
const SHOWN_CHARS: usize = 60;

/// What is wrong with a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The field at fault, with dots between nested names.
    pub(super) field: Option<String>,
    pub(super) what: String,
}

/// The fields of a record.
pub(super) fn object(record: &[u8]) -> Result<Object<'_>, Reason> {
    let value = parse(record).map_err(|error| Reason {
        field: None,
        what: format!(
            "not valid JSON: {} (at byte {})",
            error.what,
            error.offset + 1
        ),
    })?;
    match value {
        Value::Object(fields) => Ok(fields),
        other => {
            let what = format!(
                "every record must be an object, this one is {}",
                other.words()
            );
            Err(Reason { field: None, what })
        }
    }
}

/// Checks one record against the keys and the fields of the table and appends it to `out` as the decoder takes it.
pub(super) fn rewrite(
    record: &[u8],
    keys: &Keys,
    fields: &Fields,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let mut given = object(record)?;
    keys.check(&mut given)?;
    let mut path = String::new();
    check_fields(&given, fields, &mut path)?;
    let mut text = String::with_capacity(record.len());
    write_object(&given, Some(fields), &mut text);
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
    Ok(())
}

type Given<'a> = [(std::borrow::Cow<'a, str>, Value<'a>)];

fn check_fields(given: &Given<'_>, fields: &Fields, path: &mut String) -> Result<(), Reason> {
    for (name, value) in given {
        if let Some((_, field)) = fields.find(name) {
            let kept = path.len();
            if kept > 0 {
                path.push('.');
            }
            path.push_str(name);
            check(value, field.data_type(), path)?;
            path.truncate(kept);
        }
    }
    Ok(())
}

fn check(value: &Value<'_>, wanted: &DataType, path: &mut String) -> Result<(), Reason> {
    let fits = match (value, wanted) {
        (Value::Null, _) => true,
        (Value::Object(given), DataType::Struct(fields)) => {
            return check_fields(given, fields, path);
        }
        (Value::Array(values), DataType::List(item)) => {
            return values
                .iter()
                .try_for_each(|value| check(value, item.data_type(), path));
        }
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
        (_, DataType::Struct(_) | DataType::List(_)) | (Value::Array(_) | Value::Object(_), _) => {
            false
        }
        (Value::Bool(_), wanted) => *wanted == DataType::Boolean,
        (_, DataType::Boolean) => false,
        (Value::Number(text), wanted) => number_fits(text, wanted),
        (Value::String(text), wanted) => number_fits(text, wanted),
    };
    match fits {
        true => Ok(()),
        false => {
            let what = format!(
                "{} was expected, this is {}",
                type_words(wanted),
                shown(value)
            );
            Err(Reason {
                field: Some(path.clone()),
                what,
            })
        }
    }
}

fn number_fits(text: &str, wanted: &DataType) -> bool {
    match wanted {
        DataType::Int64 => text.parse::<i64>().is_ok(),
        DataType::Int32 => text.parse::<i32>().is_ok(),
        DataType::Int16 => text.parse::<i16>().is_ok(),
        DataType::Int8 => text.parse::<i8>().is_ok(),
        DataType::UInt64 => text.parse::<u64>().is_ok(),
        DataType::UInt32 => text.parse::<u32>().is_ok(),
        DataType::UInt16 => text.parse::<u16>().is_ok(),
        DataType::UInt8 => text.parse::<u8>().is_ok(),
        DataType::Null => false,
        t if t.is_floating() => exact_double(text).is_some(),
        t if is_decimal(t) => decimal_fits(text, t),
        _ => true,
    }
}

fn type_words(wanted: &DataType) -> String {
    match wanted {
        DataType::Boolean => "a boolean".to_owned(),
        DataType::Struct(_) => "an object".to_owned(),
        DataType::List(_) => "an array".to_owned(),
        DataType::Null => "null (no row of the sample has a value)".to_owned(),
        t if t.is_integer() => format!(
            "a whole number of {} bits",
            t.primitive_width().unwrap_or(8) * 8
        ),
        t if t.is_floating() => "a number a double holds exactly".to_owned(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            format!("a decimal of {p} digits, {s} of them behind the point,")
        }
        DataType::Timestamp(..) => "a timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "a date".to_owned(),
        _ => "a value of the column's type".to_owned(),
    }
}

fn shown(value: &Value<'_>) -> String {
    let mut text = String::new();
    write_value(value, None, &mut text);
    if text.chars().count() > SHOWN_CHARS {
        text = text.chars().take(SHOWN_CHARS).chain(['…']).collect();
    }
    match value {
        Value::Array(_) | Value::Object(_) => format!("{} (`{text}`)", value.words()),
        _ => format!("`{text}`"),
    }
}

fn write_object(given: &Given<'_>, fields: Option<&Fields>, out: &mut String) {
    out.push('{');
    for (i, (name, value)) in given.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        let wanted = fields
            .and_then(|fields| fields.find(name))
            .map(|(_, f)| f.data_type());
        write_value(value, wanted, out);
    }
    out.push('}');
}

/// Writes a value; a nested one becomes text where the table wants text.
fn write_value(value: &Value<'_>, wanted: Option<&DataType>, out: &mut String) {
    let wants_text = matches!(
        wanted,
        Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    );
    match value {
        Value::Array(_) | Value::Object(_) if wants_text => {
            let mut text = String::new();
            write_value(value, None, &mut text);
            write_text(&text, out);
        }
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number),
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            let item = match wanted {
                Some(DataType::List(item)) => Some(item.data_type()),
                _ => None,
            };
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(value, item, out);
            }
            out.push(']');
        }
        Value::Object(given) => {
            let fields = match wanted {
                Some(DataType::Struct(fields)) => Some(fields),
                _ => None,
            };
            write_object(given, fields, out);
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        // Writing text as JSON does not fail; the arm keeps the record well formed if it ever did.
        Err(_) => {
            let _ = write!(out, "\"\"");
        }
    }
}
