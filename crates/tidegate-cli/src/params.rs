//! `-p name=value`: parameters for `$name` in the SQL, typed by how the value is written.

use tidegate::Value;

use crate::failure::Failure;

/// The most digits of a decimal.
const DECIMAL_DIGITS: usize = 38;

/// Name and value of one `-p`. In order: `'text'` in single quotes is text, `null`, `true` and
/// `false` are those, digits are an integer (a decimal beyond 64 bits), digits with a point are an
/// exact decimal, `YYYY-MM-DD` is a date; everything else, leading zeros included, is text.
pub(crate) fn parse(text: &str) -> Result<(String, Value), Failure> {
    let Some((name, value)) = text.split_once('=') else {
        let message = format!("`{text}` is not a parameter");
        return Err(Failure::usage("bad_parameter", message).with_hint("write it as name=value"));
    };
    let name = name.trim().trim_start_matches('$');
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        let message = format!("`{name}` is not a name of a parameter");
        return Err(Failure::usage("bad_parameter", message)
            .with_hint("names are letters, digits and underscores"));
    }
    Ok((name.to_string(), typed(value)))
}

fn typed(text: &str) -> Value {
    let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    if let Some(inner) = quoted {
        return Value::Utf8(Some(inner.replace("''", "'")));
    }
    match text.to_ascii_lowercase().as_str() {
        "null" => return Value::Null,
        "true" => return Value::Boolean(Some(true)),
        "false" => return Value::Boolean(Some(false)),
        _ => {}
    }
    number(text)
        .or_else(|| date(text))
        .unwrap_or_else(|| Value::Utf8(Some(text.into())))
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (digits, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || leading_zero {
        return None;
    }
    if fraction.is_empty()
        && let Ok(integer) = text.parse()
    {
        return Some(Value::Int64(Some(integer)));
    }
    let precision = whole.len() + fraction.len();
    if precision > DECIMAL_DIGITS {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let unscaled = format!("{sign}{whole}{fraction}").parse().ok()?;
    let (precision, scale) = (precision as u8, fraction.len() as i8);
    Some(Value::Decimal128(Some(unscaled), precision, scale))
}

fn date(text: &str) -> Option<Value> {
    let shape = text.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    if text.len() != 10 || !shape {
        return None;
    }
    use tidegate::arrow::compute::kernels::cast_utils::Parser;
    use tidegate::arrow::datatypes::Date32Type;
    Some(Value::Date32(Some(Date32Type::parse(text)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str, expect: Value) {
        assert_eq!(parse(&format!("x={text}")).unwrap(), ("x".into(), expect));
    }

    #[test]
    fn the_way_a_value_is_written_is_its_type() {
        let text = |t: &str| Value::Utf8(Some(t.into()));
        check("7", Value::Int64(Some(7)));
        check("-7", Value::Int64(Some(-7)));
        check("0", Value::Int64(Some(0)));
        check("17.00", Value::Decimal128(Some(1700), 4, 2));
        check("-0.5", Value::Decimal128(Some(-5), 2, 1));
        check(
            "9223372036854775808",
            Value::Decimal128(Some(9_223_372_036_854_775_808), 19, 0),
        );
        check("2024-02-29", Value::Date32(Some(19_782)));
        check("2023-02-29", text("2023-02-29"));
        check("007", text("007"));
        check("1e3", text("1e3"));
        check("1.", text("1."));
        check("", text(""));
        check("-", text("-"));
        check("'7'", text("7"));
        check("'it''s'", text("it's"));
        check("a=b", text("a=b"));
        check("TRUE", Value::Boolean(Some(true)));
        check("null", Value::Null);
        check(&"9".repeat(39), text(&"9".repeat(39)));
    }

    #[test]
    fn a_parameter_has_a_name_and_a_value() {
        for bad in ["x", "=1", "a b=1", "a-b=1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("$x=1").unwrap().0, "x");
    }
}
