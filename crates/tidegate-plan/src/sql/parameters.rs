//! `$name` and `$1` become the literals they stand for, so that types follow from values.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use arrow::temporal_conversions::{
    date32_to_datetime, timestamp_ns_to_datetime, timestamp_us_to_datetime,
};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, ExactNumberInfo, Expr, Query, TimezoneInfo, UnaryOperator,
    Value, ValueWithSpan, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::{Code, Error, Result, did_you_mean, near};
use super::source::Source;
use super::types::sql_name;
use super::walk::{Flow, Stop, change};

/// The values of parameters, by name without the `$`.
pub type Parameters = HashMap<String, ScalarValue>;

pub(crate) fn bind(query: &mut Query, values: &Parameters, source: &Source) -> Result<()> {
    match change(query, &mut Binder { values, source }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Binder<'a> {
    values: &'a Parameters,
    source: &'a Source,
}

impl VisitorMut for Binder<'_> {
    type Break = Stop;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        let Expr::Value(ValueWithSpan {
            value: Value::Placeholder(name),
            span,
        }) = expr
        else {
            return ControlFlow::Continue(());
        };
        match self.value(name, *span) {
            Ok(value) => {
                *expr = value;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error.at(self.source.range(*span)))),
        }
    }
}

impl Binder<'_> {
    fn value(&self, name: &str, span: Span) -> Result<Expr> {
        let bare = name.trim_start_matches('$');
        let Some(value) = self.values.get(bare) else {
            let error = Error::new(
                Code::MissingParameter,
                format!("the parameter `{name}` has no value"),
            );
            let names = near(bare, self.values.keys().map(String::as_str));
            return Err(match did_you_mean(&names) {
                Some(hint) => error.hint(hint),
                None => error.hint(format!("give it with -p {bare}=value")),
            });
        };
        literal(value, span).ok_or_else(|| {
            Error::unsupported(format!(
                "a parameter of type {} is not supported",
                sql_name(&value.data_type())
            ))
        })
    }
}

/// The literal of a value, if SQL has one.
fn literal(value: &ScalarValue, span: Span) -> Option<Expr> {
    let leaf = |value: Value| Expr::Value(ValueWithSpan { value, span });
    let number = |text: String| match text.strip_prefix('-') {
        Some(digits) => Expr::Nested(Box::new(Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(leaf(Value::Number(digits.to_string(), false))),
        })),
        None => leaf(Value::Number(text, false)),
    };
    let text = |text: String| leaf(Value::SingleQuotedString(text));
    let cast = |expr: Expr, data_type: SqlType| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    };
    if value.is_null() {
        let null = leaf(Value::Null);
        return Some(match value.data_type() {
            DataType::Boolean => cast(null, SqlType::Boolean),
            t if t.is_integer() => cast(null, SqlType::BigInt(None)),
            t if t.is_floating() => cast(null, SqlType::Double(ExactNumberInfo::None)),
            DataType::Date32 => cast(null, SqlType::Date),
            _ => null,
        });
    }
    Some(match value {
        ScalarValue::Boolean(Some(value)) => leaf(Value::Boolean(*value)),
        ScalarValue::Int8(_)
        | ScalarValue::Int16(_)
        | ScalarValue::Int32(_)
        | ScalarValue::Int64(_)
        | ScalarValue::UInt8(_)
        | ScalarValue::UInt16(_)
        | ScalarValue::UInt32(_)
        | ScalarValue::UInt64(_) => number(value.to_string()),
        ScalarValue::Float32(Some(v)) => cast(text(v.to_string()), SqlType::Real),
        ScalarValue::Float64(Some(v)) => {
            cast(text(v.to_string()), SqlType::Double(ExactNumberInfo::None))
        }
        ScalarValue::Decimal128(Some(v), precision, scale) => cast(
            text(decimal(&v.to_string(), *scale)),
            SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(
                u64::from(*precision),
                i64::from(*scale),
            )),
        ),
        ScalarValue::Utf8(Some(v))
        | ScalarValue::LargeUtf8(Some(v))
        | ScalarValue::Utf8View(Some(v)) => text(v.clone()),
        ScalarValue::Date32(Some(days)) => cast(
            text(date32_to_datetime(*days)?.date().to_string()),
            SqlType::Date,
        ),
        ScalarValue::TimestampNanosecond(Some(ns), None) => cast(
            text(timestamp_ns_to_datetime(*ns)?.to_string()),
            SqlType::Timestamp(Some(9), TimezoneInfo::None),
        ),
        ScalarValue::TimestampMicrosecond(Some(us), None) => cast(
            text(timestamp_us_to_datetime(*us)?.to_string()),
            SqlType::Timestamp(Some(6), TimezoneInfo::None),
        ),
        _ => return None,
    })
}

/// The digits of an unscaled number with its point put in.
fn decimal(digits: &str, scale: i8) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let scale = usize::try_from(scale).unwrap_or(0);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = padded.split_at(padded.len() - scale);
    if part.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}
