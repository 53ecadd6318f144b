//! Long chains made flat. `a OR b OR …` arrives as a tree as deep as the chain is long, and
//! whatever walks it needs that much stack; the same chain as a balanced tree is shallow.
//! AND, OR and UNION ALL are associative; other chains are measured and refused when too long.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, SetQuantifier, Value, ValueWithSpan, Values,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::Result;
use super::source::{Limits, Source, too_nested};
use super::walk::{Flow, Stop, change};

/// A chain of comparisons of one column with literals becomes an IN list from here on.
const IN_LIST_MIN: usize = 32;

pub(crate) fn query(query: &mut Query, source: &Source, limits: &Limits) -> Result<()> {
    match change(query, &mut Balance { source, limits }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Balance<'a> {
    source: &'a Source,
    limits: &'a Limits,
}

impl VisitorMut for Balance<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        match self.set_operations(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if let Expr::BinaryOp {
            op: op @ (BinaryOperator::And | BinaryOperator::Or),
            left,
            ..
        } = expr
            && matches!(left.as_ref(), Expr::BinaryOp { op: inner, .. } if inner == op)
        {
            let op = op.clone();
            chain(expr, &op);
        }
        ControlFlow::Continue(())
    }
}

impl Balance<'_> {
    /// Balances UNION ALL; other chains of queries may be as long as nesting may be deep.
    fn set_operations(&self, body: &mut SetExpr) -> Result<()> {
        let mut length = 0usize;
        let mut mixed = false;
        let mut at: &SetExpr = body;
        while let SetExpr::SetOperation {
            left,
            op,
            set_quantifier,
            ..
        } = at
        {
            length += 1;
            mixed |= !(*op == SetOperator::Union && *set_quantifier == SetQuantifier::All);
            at = left;
        }
        if mixed && length > self.limits.nesting_max {
            use datafusion::sql::sqlparser::ast::Spanned;
            return Err(too_nested(self.limits).at(self.source.range(at.span())));
        }
        if mixed || length < 3 {
            return Ok(());
        }
        let mut queries = Vec::with_capacity(length + 1);
        let mut rest = std::mem::replace(body, nothing());
        while let SetExpr::SetOperation { left, right, .. } = rest {
            queries.push(*right);
            rest = *left;
        }
        queries.push(rest);
        queries.reverse();
        *body = fold(queries, &|left, right| SetExpr::SetOperation {
            left: Box::new(left),
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All,
            right: Box::new(right),
        })
        .unwrap_or_else(nothing);
        Ok(())
    }
}

fn nothing() -> SetExpr {
    SetExpr::Values(Values {
        explicit_row: false,
        value_keyword: false,
        rows: vec![],
    })
}

fn null() -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::Null,
        span: Span::empty(),
    })
}

fn chain(expr: &mut Expr, op: &BinaryOperator) {
    let mut operands = Vec::new();
    let mut rest = std::mem::replace(expr, null());
    loop {
        match rest {
            Expr::BinaryOp {
                left,
                op: inner,
                right,
            } if inner == *op => {
                operands.push(*right);
                rest = *left;
            }
            other => {
                operands.push(other);
                break;
            }
        }
    }
    operands.reverse();
    *expr = match in_list(operands, op) {
        Ok(list) => list,
        Err(operands) => fold(operands, &|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: op.clone(),
            right: Box::new(right),
        })
        .unwrap_or_else(null),
    };
}

/// `x = 1 OR x = 2 OR …` as `x IN (1, 2, …)`, and `x <> 1 AND …` as NOT IN: the same value for
/// every x, NULL included. Only literals of one kind, lest the list change their types.
fn in_list(operands: Vec<Expr>, op: &BinaryOperator) -> Result<Expr, Vec<Expr>> {
    let (wanted, negated) = match op {
        BinaryOperator::Or => (BinaryOperator::Eq, false),
        _ => (BinaryOperator::NotEq, true),
    };
    let parts = |expr: &Expr| match expr {
        Expr::BinaryOp { left, op, right } if *op == wanted => Some((left.clone(), kind(right)?)),
        _ => None,
    };
    let first = operands.first().and_then(parts);
    let same = |expr: &Expr| {
        matches!((&first, expr), (Some((column, of_kind)), Expr::BinaryOp { left, op, right })
            if *op == wanted && left == column && kind(right) == Some(*of_kind))
    };
    if operands.len() < IN_LIST_MIN || !operands.iter().all(same) {
        return Err(operands);
    }
    let mut column = None;
    let list = operands
        .into_iter()
        .filter_map(|expr| match expr {
            Expr::BinaryOp { left, right, .. } => {
                column.get_or_insert(left);
                Some(*right)
            }
            _ => None,
        })
        .collect();
    match column {
        Some(expr) => Ok(Expr::InList {
            expr,
            list,
            negated,
        }),
        None => Ok(null()),
    }
}

/// The kind of a literal whose chains may become lists.
fn kind(expr: &Expr) -> Option<u8> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(0),
            Value::SingleQuotedString(_) => Some(1),
            _ => None,
        },
        _ => None,
    }
}

/// A balanced tree over the operands in their order.
fn fold<T>(operands: Vec<T>, join: &impl Fn(T, T) -> T) -> Option<T> {
    let mut level = operands;
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut pairs = level.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => join(left, right),
                None => left,
            });
        }
        level = next;
    }
    level.pop()
}
