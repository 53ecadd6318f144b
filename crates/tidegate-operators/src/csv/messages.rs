//! The words for what is wrong with a value or a record, and the way out.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::number::{self, Cell};
use super::record::{self, State};
use super::{Dialect, Error, Kind};

/// Bytes of a value quoted in a message.
const VALUE_BYTES_MAX: usize = 200;

/// A type in the words of SQL.
pub(super) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::UInt8 => "UTINYINT".into(),
        DataType::UInt16 => "USMALLINT".into(),
        DataType::UInt32 => "UINTEGER".into(),
        DataType::UInt64 => "UBIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Null => "NULL".into(),
        _ => "VARCHAR".into(),
    }
}

/// Why `text` is no value of `kind`.
pub(super) fn no_value(text: &[u8], kind: &DataType, inferred: bool, dialect: &Dialect) -> String {
    let shown = shorten(text);
    if text.is_empty() {
        return format!("an empty text is no {}", type_name(kind));
    }
    let cell = Cell {
        data: text,
        start: 0,
        end: text.len(),
    };
    if inferred && kind.is_numeric() && number::loses_signs(cell.trimmed()) {
        return format!(
            "`{shown}` starts with a zero or a plus sign, which {} would lose",
            type_name(kind)
        );
    }
    if inferred && kind.is_floating() && !number::keeps_digits(cell.trimmed()) {
        return format!("`{shown}` has more digits than {} keeps", type_name(kind));
    }
    let (_, digits) = number::sign(cell.trimmed());
    let mut points = 0;
    let plain = digits.len() > 0
        && digits.bytes().iter().all(|&byte| {
            points += usize::from(byte == dialect.decimal_separator);
            byte.is_ascii_digit() || byte == dialect.decimal_separator
        });
    if plain && points <= usize::from(matches!(kind, DataType::Decimal128(..))) && kind.is_numeric()
    {
        return format!("`{shown}` does not fit {}", type_name(kind));
    }
    let article = if kind.is_integer() && *kind == DataType::Int32 {
        "an"
    } else {
        "a"
    };
    format!("`{shown}` is not {article} {}", type_name(kind))
}

/// What to say so that the value can be read.
pub(super) fn way_out(
    column: &str,
    kind: &DataType,
    inferred: bool,
    text: &[u8],
    dialect: &Dialect,
) -> String {
    let column = column.replace('\'', "''");
    let format = match kind {
        DataType::Date32 if !inferred && dialect.date_format.is_none() => date_format(text),
        _ => None,
    };
    if let Some(format) = format {
        format!("date_format='{format}' reads such dates, types={{'{column}': 'VARCHAR'}} any text")
    } else if inferred {
        format!(
            "the type was taken from the first rows: types={{'{column}': 'VARCHAR'}}, all_text=true or a larger \
             sample_rows reads it, on_error='skip' leaves the row out"
        )
    } else {
        format!(
            "types={{'{column}': 'VARCHAR'}} reads it as text, on_error='skip' leaves the row out"
        )
    }
}

/// How a date with the year at its end is written, the day first where that is possible.
fn date_format(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let sign = text.chars().find(|c| !c.is_ascii_digit())?;
    let mut parts = text.split(sign);
    let mut number = |digits: std::ops::RangeInclusive<usize>| {
        let part = parts.next().filter(|part| digits.contains(&part.len()))?;
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| plain)
    };
    let (first, second, _) = (number(1..=2)?, number(1..=2)?, number(4..=4)?);
    let whole = parts.next().is_none() && ['.', '/', '-'].contains(&sign);
    let (day, month) = match (first, second) {
        (1..=31, 1..=12) => ("%d", "%m"),
        (1..=12, 13..=31) => ("%m", "%d"),
        _ => return None,
    };
    whole.then(|| format!("{day}{sign}{month}{sign}%Y"))
}

/// What is wrong with the record at `start`, which has not `fields` fields or has broken quotes.
pub(super) fn bad_record(
    data: &[u8],
    start: usize,
    line: u64,
    fields: usize,
    dialect: &Dialect,
    file: &Arc<str>,
) -> Error {
    let record = record::read(data, start, dialect);
    let text = &data[record.text.clone()];
    let (kind, reason, hint) = match record.state {
        State::TextAfterQuote => (
            Kind::Quote,
            "text follows a closing quote".to_owned(),
            "double the quotes inside, say escape='\\' if that is how they are written, or quote='' if they mean nothing",
        ),
        State::Unterminated { .. } => (
            Kind::Quote,
            "the quote that opens here never closes".to_owned(),
            "say quote='' if quotes mean nothing",
        ),
        _ if record.fields.len() < fields => (
            Kind::Ragged,
            format!(
                "{} where the file has {fields}",
                counted(record.fields.len())
            ),
            "null_padding=true fills short rows with NULL, on_error='skip' leaves them out",
        ),
        _ => (
            Kind::Ragged,
            format!(
                "{} where the file has {fields}",
                counted(record.fields.len())
            ),
            "on_error='skip' leaves such rows out",
        ),
    };
    Error::new(kind, file, reason).at(line, text).hint(hint)
}

fn counted(fields: usize) -> String {
    if fields == 1 {
        "1 field".to_owned()
    } else {
        format!("{fields} fields")
    }
}

/// The start of a value, for a message of one line.
pub(super) fn shorten(text: &[u8]) -> String {
    let cut = &text[..text.len().min(VALUE_BYTES_MAX)];
    let mut shown: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}
