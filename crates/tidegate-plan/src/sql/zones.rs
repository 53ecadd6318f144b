//! `t AT TIME ZONE 'Europe/Berlin'` as the call of a function, and the literals that say nanoseconds as what they are.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Ident, Query, TimezoneInfo, TypedString, Value, ValueWithSpan,
    VisitorMut,
};

use super::naming;
use super::walk::{Flow, Stop, change};
use crate::times::at_time_zone;

/// Rewrites them for a session of this zone.
pub(super) fn rewrite(query: &mut Query, zone: &str) {
    let _ = change(query, &mut Zones { zone });
}

struct Zones<'a> {
    zone: &'a str,
}

impl VisitorMut for Zones<'_> {
    type Break = Stop;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                let take =
                    |expr: &mut Expr| std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                let time = match take(timestamp) {
                    time if text(&time).is_some() => instant(time),
                    time => time,
                };
                let session = Expr::value(Value::SingleQuotedString(self.zone.to_owned()));
                let call = [time, take(time_zone), session];
                *expr = naming::call(at_time_zone().name(), call);
            }
            Expr::TypedString(TypedString {
                data_type, value, ..
            }) => sharpen(data_type, &value.value),
            Expr::Cast {
                expr, data_type, ..
            } => {
                if let Expr::Value(value) = expr.as_ref() {
                    sharpen(data_type, &value.value);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// A bare text is an instant to PostgreSQL.
fn instant(text: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text),
        data_type: DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        array: false,
        format: None,
    }
}

/// A TIMESTAMP has microseconds; the text of a literal may say more.
fn sharpen(data_type: &mut DataType, value: &Value) {
    if let DataType::Timestamp(digits @ None, _) = data_type
        && let Value::SingleQuotedString(text) = value
        && fraction_digits(text) > 6
    {
        *digits = Some(9);
    }
}

fn fraction_digits(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|c: char| !c.is_ascii_digit());
    let digits = &fraction[..end.unwrap_or(fraction.len())];
    digits.trim_end_matches('0').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_a_fraction_are_counted() {
        for (text, expect) in [
            ("2024-01-01", 0),
            ("2024-01-01 00:00:00.1234567", 7),
            ("2024-01-01 00:00:00.123456000+02", 6),
            ("2024-01-01 00:00:00.123456789Z", 9),
        ] {
            assert_eq!(fraction_digits(text), expect, "{text}");
        }
    }
}
