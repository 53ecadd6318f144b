//! Expressions as a person would write them: no column positions, operators between their operands.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr,
    IsNullExpr, LikeExpr, Literal, NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};

use crate::arithmetic::{CheckedOp, Operation, ToComparable, sql_type};
use crate::rules::MaybeNull;

/// A column's name without what DataFusion's planner adds to the text of expressions: types of literals, the frames
/// of windows.
pub(crate) fn plain_name(name: &str) -> String {
    const TYPES: [&str; 14] = [
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Boolean",
        "LargeUtf8",
        "Utf8View",
        "Utf8",
    ];
    let window = name
        .find(" PARTITION BY [")
        .or_else(|| name.find(" ORDER BY ["));
    let mut rest = window.map_or(name, |end| &name[..end]);
    let mut plain = String::new();
    while let Some(first) = rest.chars().next() {
        let in_word = plain
            .chars()
            .next_back()
            .is_some_and(|last| last.is_alphanumeric() || last == '_');
        let typed = TYPES
            .iter()
            .find_map(|kind| rest.strip_prefix(kind)?.strip_prefix('('))
            .filter(|_| !in_word);
        match typed.and_then(literal) {
            Some((text, after)) => {
                plain += &text;
                rest = after;
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    if window.is_some() {
        plain + " over (…)"
    } else {
        plain
    }
}

/// The literal before the next closing parenthesis, and what follows.
fn literal(inside: &str) -> Option<(String, &str)> {
    if let Some(quoted) = inside.strip_prefix('"') {
        let end = quoted.find("\")")?;
        return Some((format!("'{}'", &quoted[..end]), &quoted[end + 2..]));
    }
    let end = inside.find(')')?;
    Some((inside[..end].to_string(), &inside[end + 1..]))
}

/// Items with commas.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

/// The keys of an order.
pub(crate) fn ordering(order: &LexOrdering) -> String {
    list(order.iter().map(sort_key))
}

/// One key of an order; the default placement of NULL goes without saying.
pub(crate) fn sort_key(sort: &PhysicalSortExpr) -> String {
    let direction = if sort.options.descending { " desc" } else { "" };
    let nulls = match (sort.options.descending, sort.options.nulls_first) {
        (false, true) => " nulls first",
        (true, false) => " nulls last",
        _ => "",
    };
    format!("{}{direction}{nulls}", expression(sort.expr.as_ref()))
}

/// An expression on one line.
pub(crate) fn expression(expr: &dyn PhysicalExpr) -> String {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return plain_name(column.name());
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return scalar(literal.value());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let precedence = binary.op().precedence();
        let (left, right) = (binary.left().as_ref(), binary.right().as_ref());
        return format!(
            "{} {} {}",
            operand(left, precedence, false),
            word(binary.op()),
            operand(right, precedence, true)
        );
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return call(function);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return format!(
            "cast({} as {})",
            expression(cast.expr().as_ref()),
            sql_type(cast.cast_type())
        );
    }
    if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
        return format!(
            "try_cast({} as {})",
            expression(cast.expr().as_ref()),
            sql_type(cast.cast_type())
        );
    }
    predicate(expr).unwrap_or_else(|| {
        datafusion::physical_expr_common::physical_expr::fmt_sql(expr).to_string()
    })
}

fn predicate(expr: &dyn PhysicalExpr) -> Option<String> {
    let whole = |expr: &Arc<dyn PhysicalExpr>| operand(expr.as_ref(), u8::MAX, false);
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return Some(format!("not {}", whole(not.arg())));
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        return Some(format!("-{}", whole(negative.arg())));
    }
    if let Some(test) = expr.downcast_ref::<IsNullExpr>() {
        return Some(format!("{} is null", whole(test.arg())));
    }
    if let Some(test) = expr.downcast_ref::<IsNotNullExpr>() {
        return Some(format!("{} is not null", whole(test.arg())));
    }
    if let Some(test) = expr.downcast_ref::<LikeExpr>() {
        let not = if test.negated() { "not " } else { "" };
        let like = if test.case_insensitive() {
            "ilike"
        } else {
            "like"
        };
        return Some(format!(
            "{} {not}{like} {}",
            whole(test.expr()),
            whole(test.pattern())
        ));
    }
    if let Some(test) = expr.downcast_ref::<InListExpr>() {
        let not = if test.negated() { "not " } else { "" };
        const SHOWN: usize = 10;
        let mut items: Vec<_> = test
            .list()
            .iter()
            .take(SHOWN)
            .map(|item| expression(item.as_ref()))
            .collect();
        if test.list().len() > SHOWN {
            items.push(format!("… {} more", test.list().len() - SHOWN));
        }
        return Some(format!(
            "{} {not}in ({})",
            whole(test.expr()),
            items.join(", ")
        ));
    }
    if expr.is::<DynamicFilterPhysicalExpr>() {
        return Some("runtime filter".into());
    }
    expr.downcast_ref::<CaseExpr>().map(case)
}

fn case(case: &CaseExpr) -> String {
    let mut text = String::from("case");
    if let Some(subject) = case.expr() {
        text += &format!(" {}", expression(subject.as_ref()));
    }
    for (when, then) in case.when_then_expr() {
        text += &format!(
            " when {} then {}",
            expression(when.as_ref()),
            expression(then.as_ref())
        );
    }
    if let Some(otherwise) = case.else_expr() {
        text += &format!(" else {}", expression(otherwise.as_ref()));
    }
    text + " end"
}

fn call(function: &ScalarFunctionExpr) -> String {
    let args = function.args();
    let inner = function.fun().inner();
    let unseen = inner.is::<ToComparable>() || inner.is::<MaybeNull>();
    if let ([argument], true) = (args, unseen) {
        return expression(argument.as_ref());
    }
    if let Some(checked) = function.fun().inner().downcast_ref::<CheckedOp>() {
        match (checked.operation(), args) {
            (Operation::Negate, [argument]) => {
                return format!("-{}", operand(argument.as_ref(), u8::MAX, false));
            }
            (operation, [left, right]) => {
                let precedence = precedence_of(operation);
                let (left, right) = (
                    operand(left.as_ref(), precedence, false),
                    operand(right.as_ref(), precedence, true),
                );
                return format!("{left} {} {right}", operation.symbol());
            }
            _ => {}
        }
    }
    format!(
        "{}({})",
        function.name(),
        list(args.iter().map(|argument| expression(argument.as_ref())))
    )
}

fn precedence_of(operation: Operation) -> u8 {
    match operation {
        Operation::Add => Operator::Plus.precedence(),
        Operation::Subtract | Operation::Negate => Operator::Minus.precedence(),
        Operation::Multiply => Operator::Multiply.precedence(),
        Operation::Divide => Operator::Divide.precedence(),
    }
}

/// An operand in parentheses where it binds less tightly than what it stands in.
fn operand(expr: &dyn PhysicalExpr, outer: u8, right: bool) -> String {
    let own = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        Some(binary.op().precedence())
    } else {
        expr.downcast_ref::<ScalarFunctionExpr>()
            .and_then(|function| function.fun().inner().downcast_ref::<CheckedOp>())
            .map(|checked| precedence_of(checked.operation()))
    };
    match own {
        Some(own)
            if own < outer || (right && own == outer && own >= Operator::Plus.precedence()) =>
        {
            format!("({})", expression(expr))
        }
        _ => expression(expr),
    }
}

fn word(operator: &Operator) -> String {
    operator.to_string().to_lowercase()
}

/// A value as SQL writes it.
pub(crate) fn scalar(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "null".into(),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarValue::Date32(_) | ScalarValue::Date64(_) => format!("date '{}'", shown(value)),
        ScalarValue::TimestampSecond(..)
        | ScalarValue::TimestampMillisecond(..)
        | ScalarValue::TimestampMicrosecond(..)
        | ScalarValue::TimestampNanosecond(..) => format!("timestamp '{}'", shown(value)),
        other => shown(other),
    }
}

/// As arrow prints the value, which for decimals is the number and not its parts.
fn shown(value: &ScalarValue) -> String {
    value
        .to_array()
        .ok()
        .and_then(|array| arrow::util::display::array_value_to_string(&array, 0).ok())
        .unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_the_planner_adds() {
        for (name, plain) in [
            ("zone", "zone"),
            ("sum(t.a * Int64(2))", "sum(t.a * 2)"),
            ("count(Int64(1))", "count(1)"),
            ("t.a = Utf8(\"x (y)\")", "t.a = 'x (y)'"),
            ("my_Int64(1)", "my_Int64(1)"),
            ("Int64(", "Int64("),
            (
                "rank() PARTITION BY [t.a] ORDER BY [t.b] ROWS …",
                "rank() over (…)",
            ),
            ("größe Utf8(\"", "größe Utf8(\""),
        ] {
            assert_eq!(plain_name(name), plain);
        }
    }
}
