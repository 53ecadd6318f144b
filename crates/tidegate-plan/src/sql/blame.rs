//! Where in a statement an error belongs that was met without knowing its place: at the word it
//! speaks of, or at the one expression that can have made it. What cannot be told for certain is
//! not told: a caret at the wrong place is worse than none.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
    TypedString, UnaryOperator, Value,
};

use super::errors::between;
use super::statement::{Parsed, Statement};
use super::types::{arrow_type, sql_name};
use super::walk::each_expression;

/// Words of SQL that an error speaks of when it blames a clause.
const CLAUSES: &[&str] = &[
    "LIMIT",
    "OFFSET",
    "HAVING",
    "QUALIFY",
    "WHERE",
    "LIKE",
    "DISTINCT",
    "EXISTS",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "OVER",
];

/// The place of a mistake in the text of a statement, by what its message says.
pub fn place(parsed: &Parsed, message: &str) -> Option<Range<usize>> {
    let in_backticks = || only_place(&parsed.text, between(message, "`", "`")?);
    let counted = || {
        let (_, rest) = message.split_once(" BY ")?;
        let number = rest.split(' ').next()?;
        let counts = number.bytes().all(|byte| byte.is_ascii_digit());
        only_place(&parsed.text, number).filter(|_| counts)
    };
    let condition = || {
        let places = ["WHERE", "HAVING", "ON"].map(|word| only_place(&parsed.text, word));
        let mut places = places.into_iter().flatten();
        let first = places
            .next()
            .filter(|_| message.starts_with("the condition "));
        first.filter(|_| places.next().is_none())
    };
    let clause = || {
        let words = message.split(|c: char| !c.is_ascii_alphabetic());
        words
            .filter(|word| CLAUSES.contains(word))
            .find_map(|word| only_place(&parsed.text, word))
    };
    let within = |at: Range<usize>| parsed.span.start + at.start..parsed.span.start + at.end;
    operator(parsed, message)
        .or_else(|| in_backticks().map(within))
        .or_else(|| counted().map(within))
        .or_else(|| condition().map(within))
        .or_else(|| clause().map(within))
}

/// The place of what went wrong with data while a statement ran: the one expression of the
/// statement that can have done it. The statement must read no view, whose text is another.
pub fn blame(parsed: &Parsed, message: &str) -> Option<Range<usize>> {
    let found = if message == "division by zero" {
        only(parsed, divides)
    } else if let Some((value, wanted)) = unreadable(message) {
        let literal = |expr: &Expr| text_of(expr).is_some_and(|text| text == value);
        let literals = count(parsed, literal);
        let literal_span = || span(parsed, literals.first()?);
        match literals.len() {
            1 => literal_span(),
            // The columns of a table that rows are written into cast as well.
            0 if matches!(parsed.statement, Statement::Insert(_)) => None,
            0 => only(parsed, |expr| casts_to(expr, &wanted)),
            _ => None,
        }
    } else {
        let (left, sign, right) = operation(message)?;
        only(parsed, |expr| computes(expr, left, sign, right))
    };
    found.or_else(|| is_one_of_several(parsed).then(|| start(parsed)))
}

/// The first word of a statement: for what is wrong with it as a whole.
pub fn start(parsed: &Parsed) -> Range<usize> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let end = parsed.text.find(|c| !of_word(c));
    let length = end.unwrap_or(parsed.text.len()).max(1);
    parsed.span.start..parsed.span.start + length.min(parsed.text.len())
}

/// Whether a statement is one of several in its script: which of them failed is worth knowing.
fn is_one_of_several(parsed: &Parsed) -> bool {
    let text = parsed.source.text();
    let blank = |text: &str| text.chars().all(|c| c.is_whitespace() || c == ';');
    !blank(&text[..parsed.span.start]) || !blank(&text[parsed.span.end..])
}

/// Where a word is, if it is there once as a whole word, in any case.
fn only_place(text: &str, word: &str) -> Option<Range<usize>> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    if !word.starts_with(of_word) || !text.is_ascii() {
        return None;
    }
    let (folded, wanted) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let mut places = folded.match_indices(&wanted).filter(|(at, _)| {
        let end = at + wanted.len();
        !folded[..*at].ends_with(of_word) && !folded[end..].starts_with(of_word)
    });
    match (places.next(), places.next()) {
        (Some((at, _)), None) => Some(at..at + wanted.len()),
        _ => None,
    }
}

/// The place of the only use of an operator whose operands do not fit.
fn operator(parsed: &Parsed, message: &str) -> Option<Range<usize>> {
    let sign = between(message, "cannot be combined by `", "`")?;
    only(parsed, |expr| match expr {
        Expr::BinaryOp { op, .. } => op.to_string().eq_ignore_ascii_case(sign),
        _ => false,
    })
}

/// The expressions of a statement of which something holds.
fn count(parsed: &Parsed, holds: impl Fn(&Expr) -> bool) -> Vec<Expr> {
    let mut found = Vec::new();
    let Some(query) = parsed.statement.query() else {
        return found;
    };
    each_expression(query.ast.as_ref(), &mut |expr| {
        if holds(expr) {
            found.push(expr.clone());
        }
    });
    found
}

/// The place of the one expression of which something holds.
fn only(parsed: &Parsed, holds: impl Fn(&Expr) -> bool) -> Option<Range<usize>> {
    match count(parsed, holds).as_slice() {
        [one] => span(parsed, one),
        _ => None,
    }
}

/// The bytes of an expression. The parser tells those from its first operand to its last: what
/// belongs to a cast around them, and closing brackets, are added.
fn span(parsed: &Parsed, expr: &Expr) -> Option<Range<usize>> {
    let inner = parsed.source.range(expr.span())?;
    if inner.is_empty() || inner.start < parsed.span.start || inner.end > parsed.span.end {
        return None;
    }
    let start = parsed.span.start;
    let text = &parsed.text;
    let inner = inner.start - start..inner.end - start;
    let whole = match expr {
        expr if ends_in_type(expr) => {
            let sign = inner.end + text[inner.end..].find("::")?;
            let closes = |c: char| c.is_whitespace() || c == ')';
            if !text[inner.end..sign].chars().all(closes) {
                return None;
            }
            let name = sign + 2 + blank(&text[sign + 2..]);
            let of_name = |c: char| c.is_alphanumeric() || c == '_';
            let end = text[name..].find(|c| !of_name(c));
            inner.start..end.map_or(text.len(), |end| name + end)
        }
        Expr::Cast { .. } => {
            let before = text[..inner.start].trim_end_matches(['(', ' ', '\n', '\t']);
            let named = before.to_ascii_lowercase().ends_with("cast");
            named.then(|| before.len() - "cast".len()..inner.end)?
        }
        _ => inner,
    };
    let whole = balanced(text, whole)?;
    Some(start + whole.start..start + whole.end)
}

/// Whether the last operand of an expression is cast by `::type`, which stands behind it.
fn ends_in_type(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { kind, .. } => *kind == CastKind::DoubleColon,
        Expr::BinaryOp { right, .. } => ends_in_type(right),
        Expr::UnaryOp { expr, .. } => ends_in_type(expr),
        _ => false,
    }
}

fn blank(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// The range, made longer until each bracket in it has its partner; a word before a bracket that
/// is added belongs to it.
fn balanced(text: &str, mut range: Range<usize>) -> Option<Range<usize>> {
    let (mut open, mut closed) = (0usize, 0usize);
    let mut quoted = false;
    for c in text[range.clone()].chars() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' if !quoted => open += 1,
            ')' | ']' if !quoted && open > 0 => open -= 1,
            ')' | ']' if !quoted => closed += 1,
            _ => {}
        }
    }
    let mut inside = 0usize;
    for (at, c) in text[..range.start].char_indices().rev() {
        if closed == 0 {
            break;
        }
        match c {
            ')' | ']' => inside += 1,
            '(' | '[' if inside > 0 => inside -= 1,
            '(' | '[' => {
                closed -= 1;
                let word = |c: char| c.is_alphanumeric() || c == '_';
                range.start = text[..at].trim_end_matches(word).len();
            }
            _ => {}
        }
    }
    let mut inside = 0usize;
    let mut quoted = false;
    for (at, c) in text[range.end..].char_indices() {
        match c {
            _ if open == 0 => break,
            '\'' => quoted = !quoted,
            '(' | '[' if !quoted => inside += 1,
            ')' | ']' if !quoted && inside > 0 => inside -= 1,
            ')' | ']' if !quoted => {
                range.end += at + 1;
                return balanced(text, range);
            }
            _ => {}
        }
    }
    (open == 0 && closed == 0).then_some(range)
}

/// Whether an expression can divide by zero.
fn divides(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp {
            op: BinaryOperator::Divide | BinaryOperator::Modulo,
            right,
            ..
        } => number_of(right).is_none_or(|number| number == 0.0),
        Expr::Function(function) => {
            let name = function.name.to_string().to_ascii_lowercase();
            matches!(name.as_str(), "mod" | "div" | "fmod")
        }
        _ => false,
    }
}

/// The value and the type of a cast that failed.
fn unreadable(message: &str) -> Option<(String, String)> {
    let (value, wanted) = message
        .split_once(" is not a")
        .or_else(|| message.split_once(" does not fit "))?;
    let wanted = wanted.trim_start_matches("the ");
    let wanted = wanted
        .trim_start_matches("a ")
        .trim_start_matches("n ")
        .trim();
    let wanted = wanted.trim_start_matches("an ");
    let wanted = wanted.split([',', '(']).next().unwrap_or_default();
    let name = |c: char| c.is_ascii_uppercase() || c == ' ';
    (!wanted.is_empty() && wanted.chars().all(name))
        .then(|| (value.trim_matches('`').to_string(), wanted.to_string()))
}

fn casts_to(expr: &Expr, wanted: &str) -> bool {
    let target = match expr {
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            data_type,
            ..
        } => data_type,
        Expr::TypedString(TypedString { data_type, .. }) => data_type,
        _ => return false,
    };
    let Ok(target) = arrow_type(target) else {
        return false;
    };
    let name = sql_name(&target);
    name.split('(')
        .next()
        .is_some_and(|name| name.trim() == wanted)
}

/// The text of a literal.
fn text_of(expr: &Expr) -> Option<&str> {
    let value = match expr {
        Expr::Value(value) => &value.value,
        Expr::TypedString(typed) => &typed.value.value,
        _ => return None,
    };
    match value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
        _ => None,
    }
}

/// The number that an expression is, whatever it is cast to.
fn number_of(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.replace('_', "").parse().ok(),
            _ => None,
        },
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => number_of(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => number_of(expr).map(|number| -number),
        _ => None,
    }
}

/// The operation of `bigint out of range: `1 + 2``; a function has no right side.
fn operation(message: &str) -> Option<(&str, &str, &str)> {
    let text = between(message, "out of range: `", "`")?;
    for sign in [" + ", " - ", " * ", " / "] {
        if let Some((left, right)) = text.split_once(sign) {
            return Some((left, sign.trim(), right));
        }
    }
    match text.strip_prefix("-(") {
        Some(operand) => Some(("", "-", operand.trim_end_matches(')'))),
        None => Some((text, "", "")),
    }
}

/// Whether an expression can have computed `left sign right`.
fn computes(expr: &Expr, left: &str, sign: &str, right: &str) -> bool {
    let is = |expr: &Expr, value: &str| match (number_of(expr), value.parse::<f64>()) {
        (Some(number), Ok(value)) => number == value,
        _ => true,
    };
    match expr {
        Expr::BinaryOp {
            left: l,
            op,
            right: r,
        } if !left.is_empty() => op.to_string() == sign && is(l, left) && is(r, right),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => left.is_empty() && sign == "-" && is(expr, right),
        Expr::Function(function) if sign.is_empty() => {
            let named = function.name.to_string().eq_ignore_ascii_case(left);
            named && has_arguments(&function.args)
        }
        _ => false,
    }
}

fn has_arguments(arguments: &FunctionArguments) -> bool {
    match arguments {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::parse_script;
    use super::*;

    /// What a caret stands under, of the last statement of a script.
    fn check(script: &str, message: &str, expect: Option<&str>) {
        let parsed = parse_script(script).unwrap().pop().unwrap();
        let found = blame(&parsed, message).map(|at| &script[at]);
        assert_eq!(found, expect, "{script}: {message}");
    }

    #[test]
    fn a_division_by_zero_is_the_one_that_can_be() {
        let zero = "division by zero";
        check("SELECT a, x / y FROM t", zero, Some("x / y"));
        check("SELECT a / 2, x % y FROM t", zero, Some("x % y"));
        check("SELECT x / y, y / x FROM t", zero, None);
        check("SELECT mod(x, y) FROM t", zero, Some("mod(x, y)"));
    }

    #[test]
    fn a_cast_is_the_one_to_that_type() {
        let bad = "`1a` is not an INTEGER";
        check(
            "SELECT CAST(x AS INT), CAST(y AS DATE) FROM t",
            bad,
            Some("CAST(x AS INT)"),
        );
        check(
            "SELECT (x || 'a')::int4 + 1 FROM t",
            bad,
            Some("(x || 'a')::int4"),
        );
        check(
            "SELECT x::int, TRY_CAST(y AS INT) FROM t",
            bad,
            Some("x::int"),
        );
        check("SELECT x::int, y::int FROM t", bad, None);
        check("SELECT cast('1a' as int), y::int FROM t", bad, Some("'1a'"));
        check(
            "SELECT a FROM t WHERE a = 'x'",
            "`x` is not a BIGINT",
            Some("'x'"),
        );
        check("SELECT date 'foo'", "`foo` is not a DATE", Some("'foo'"));
        check(
            "SELECT (x * 100)::tinyint FROM t",
            "200 does not fit a TINYINT",
            Some("(x * 100)::tinyint"),
        );
        check(
            "SELECT CAST(x AS DECIMAL(4, 2)) FROM t",
            "123.45 does not fit the DECIMAL, which holds at most 99.99",
            Some("CAST(x AS DECIMAL(4, 2))"),
        );
    }

    #[test]
    fn an_overflow_is_the_operation_with_these_operands() {
        let sum = "bigint out of range: `9223372036854775807 + 1`";
        check("SELECT x + 1, x + 2 FROM t", sum, Some("x + 1"));
        check("SELECT x + y, x * y FROM t", sum, Some("x + y"));
        check("SELECT x + y, y + x FROM t", sum, None);
        check(
            "SELECT x::tinyint * 100::tinyint FROM t",
            "tinyint out of range: `2 * 100`",
            Some("x::tinyint * 100::tinyint"),
        );
        check(
            "SELECT -x FROM t",
            "bigint out of range: `-(-5)`",
            Some("x"),
        );
        check(
            "SELECT sum(x), min(x) FROM t",
            "bigint out of range: `sum`",
            Some("sum(x)"),
        );
    }

    #[test]
    fn one_of_several_statements_is_marked_at_its_start() {
        check(
            "SELECT 1; SELECT x / y, y / x FROM t",
            "division by zero",
            Some("SELECT"),
        );
        let parsed = parse_script("SELECT a FROM t LIMIT 'x'")
            .unwrap()
            .pop()
            .unwrap();
        assert_eq!(place(&parsed, "LIMIT takes a whole number"), Some(16..21));
        assert_eq!(place(&parsed, "something else"), None);
    }
}
