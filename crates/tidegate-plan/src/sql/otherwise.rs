//! What the planner does not know, written in words that it does: `mod(a, b)` as `a % b`, and the times of day in
//! intervals, `INTERVAL '1 day 22:30:00'` as `'1 day 22 hours 30 minutes 0 seconds'`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, Interval, Query, Value, ValueWithSpan, VisitorMut,
};

use super::walk::{Flow, Stop, change};

pub(super) fn rewrite(query: &mut Query) {
    let _ = change(query, &mut Otherwise);
}

struct Otherwise;

impl VisitorMut for Otherwise {
    type Break = Stop;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::Function(function) => {
                if let Some((left, right)) = operands_of_mod(function) {
                    *expr = remainder(left, right);
                }
            }
            Expr::Interval(Interval {
                value,
                leading_field: None,
                ..
            }) => spell_out(value),
            Expr::Cast {
                expr: value,
                data_type: DataType::Interval { .. },
                ..
            } => spell_out(value),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn operands_of_mod(function: &mut Function) -> Option<(Expr, Expr)> {
    if !function.name.to_string().eq_ignore_ascii_case("mod") || function.over.is_some() {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_mut_slice()
    else {
        return None;
    };
    let taken = |expr: &mut Expr| std::mem::replace(expr, Expr::Identifier(Ident::new("")));
    Some((taken(left), taken(right)))
}

fn remainder(left: Expr, right: Expr) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: nested(left),
        op: BinaryOperator::Modulo,
        right: nested(right),
    }))
}

fn spell_out(value: &mut Expr) {
    if let Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text),
        ..
    }) = value
        && text.contains(':')
    {
        let words = text.split_whitespace();
        let words = words.map(|word| times(word).unwrap_or_else(|| word.to_owned()));
        *text = words.collect::<Vec<_>>().join(" ");
    }
}

/// `-22:30:00.5` as `-22 hours -30 minutes -00.5 seconds`.
fn times(word: &str) -> Option<String> {
    let (sign, time) = match word.strip_prefix('-') {
        Some(time) => ("-", time),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (hours, rest) = time.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let below_60 = |text: &str| text.parse::<u8>().is_ok_and(|number| number < 60);
    let sound = digits(hours)
        && digits(minutes)
        && digits(whole)
        && digits(fraction)
        && below_60(minutes)
        && below_60(whole);
    sound.then(|| {
        format!("{sign}{hours} hours {sign}{minutes} minutes {sign}{whole}.{fraction} seconds")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_spelled_out() {
        for (word, expect) in [
            ("22:30", Some("22 hours 30 minutes 0.0 seconds")),
            ("-1:02:03.5", Some("-1 hours -02 minutes -03.5 seconds")),
            ("22:60", None),
            ("1:2:3:4", None),
            (":30", None),
            ("day", None),
        ] {
            assert_eq!(times(word).as_deref(), expect, "{word}");
        }
    }
}
