//! Numbers with an exponent are doubles, as in DuckDB; all other literals with a point are exact
//! decimals.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Query, Value, ValueWithSpan, VisitorMut,
};

use super::walk::{Flow, Stop, change};

/// `1e3` becomes `CAST('1e3' AS DOUBLE)`.
pub(crate) fn to_doubles(query: &mut Query) {
    let _ = change(query, &mut Exponents);
}

struct Exponents;

impl VisitorMut for Exponents {
    type Break = Stop;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if let Expr::Value(ValueWithSpan {
            value: Value::Number(digits, _),
            span,
        }) = expr
            && digits.contains(['e', 'E'])
        {
            let text = Value::SingleQuotedString(std::mem::take(digits)).with_span(*span);
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(text)),
                data_type: DataType::Double(ExactNumberInfo::None),
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}
