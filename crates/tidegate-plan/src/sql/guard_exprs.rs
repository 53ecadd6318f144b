//! The part of the guard that looks at expressions.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DataType, DateTimeField, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Interval, Spanned, UnaryOperator, Value, ValueWithSpan, WindowFrame, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::Result;
use super::guard::Guard;

impl Guard<'_> {
    /// Refuses an expression for what it is or for what it says; what is inside it is visited
    /// on its own.
    #[rustfmt::skip] // A table: one line for each kind of expression.
    pub(super) fn expr(&self, expr: &Expr) -> Result<()> {
        let at = expr.span();
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Nested(_) | Expr::Subquery(_)
            | Expr::IsFalse(_) | Expr::IsNotFalse(_) | Expr::IsTrue(_) | Expr::IsNotTrue(_)
            | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsUnknown(_) | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(_, _) | Expr::IsNotDistinctFrom(_, _) | Expr::TypedString(_)
            | Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) | Expr::Tuple(_)
            | Expr::Dictionary(_) | Expr::Map(_) | Expr::Array(_)
            | Expr::Wildcard(_) | Expr::QualifiedWildcard(_, _)
            | Expr::InList { expr: _, list: _, negated: _ }
            | Expr::InSubquery { expr: _, subquery: _, negated: _ }
            | Expr::Between { expr: _, negated: _, low: _, high: _ }
            | Expr::AnyOp { left: _, compare_op: _, right: _, is_some: _ }
            | Expr::AllOp { left: _, compare_op: _, right: _ }
            | Expr::AtTimeZone { timestamp: _, time_zone: _ }
            | Expr::Extract { field: _, syntax: _, expr: _ }
            | Expr::Position { expr: _, r#in: _ }
            | Expr::Substring { expr: _, substring_from: _, substring_for: _, special: _, shorthand: _ }
            | Expr::Overlay { expr: _, overlay_what: _, overlay_from: _, overlay_for: _ }
            | Expr::Case { case_token: _, end_token: _, operand: _, conditions: _, else_result: _ }
            | Expr::Exists { subquery: _, negated: _ }
            | Expr::Named { expr: _, name: _ } => Ok(()),

            Expr::BinaryOp { left: _, op, right } => self.binary(op, right.span()),
            Expr::UnaryOp { op, expr: _ } => self.unary(op, at),
            Expr::CompoundFieldAccess { root, access_chain } => self.fields(root, access_chain),
            Expr::Like { negated: _, any, expr: _, pattern, escape_char }
            | Expr::ILike { negated: _, any, expr: _, pattern, escape_char } => {
                self.refuse_if(*any, "LIKE ANY", at)?;
                self.escape(escape_char.as_ref(), pattern.span())
            }
            Expr::Cast { kind: _, expr: _, data_type, array, format } => self.cast(data_type, *array, format.is_some(), at),
            Expr::Ceil { expr: _, field } | Expr::Floor { expr: _, field } => self.ceil_or_floor(field, at),
            Expr::Trim { expr: _, trim_where: _, trim_what: _, trim_characters } => {
                let several = trim_characters.as_ref().is_some_and(|list| list.len() != 1);
                self.refuse_if(several, "TRIM with more than one list of characters", at)
            }
            Expr::Value(value) => self.literal(value),
            Expr::Interval(interval) => self.interval(interval, at),
            Expr::Function(function) => self.function(function),
            Expr::Struct { values: _, fields } => self.refuse_if(!fields.is_empty(), "a STRUCT literal with types", at),

            Expr::SimilarTo { .. } => Err(self.refuse("SIMILAR TO", at).hint("write LIKE, or a regular expression: x ~ '^…$'")),
            Expr::RLike { .. } => Err(self.refuse("RLIKE or REGEXP", at).hint("write x ~ 'pattern'")),
            Expr::JsonAccess { .. } => Err(self.refuse("`:` as a path into JSON", at)),
            Expr::IsNormalized { .. } => Err(self.refuse("IS NORMALIZED", at)),
            Expr::InUnnest { .. } => Err(self.refuse("IN UNNEST", at).hint("write array_has(list, x)")),
            Expr::Convert { .. } => Err(self.refuse("CONVERT", at).hint("write CAST(x AS type)")),
            Expr::Collate { .. } => Err(self.refuse("COLLATE", at).hint("text is compared byte by byte; use lower(x) to ignore case")),
            Expr::Prefixed { .. } => Err(self.refuse("a literal with a prefix", at)),
            Expr::MatchAgainst { .. } => Err(self.refuse("MATCH AGAINST", at)),
            Expr::OuterJoin(_) => Err(self.refuse("`(+)`", at).hint("write LEFT JOIN … ON …")),
            Expr::Prior(_) => Err(self.refuse("PRIOR", at).hint("write WITH RECURSIVE")),
            Expr::Lambda(_) => Err(self.refuse("`->` as a lambda or a path into JSON", at)),
            Expr::MemberOf(_) => Err(self.refuse("MEMBER OF", at)),
        }
    }

    /// DataFusion knows `.name` behind the names of tables and columns only.
    fn fields(&self, root: &Expr, chain: &[AccessExpr]) -> Result<()> {
        let name = |access: &AccessExpr| match access {
            AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
            _ => None,
        };
        let of_column = match root {
            Expr::Identifier(_) => chain.iter().take_while(|part| name(part).is_some()).count(),
            _ => 0,
        };
        let Some(field) = chain.iter().skip(of_column).find_map(name) else {
            return Ok(());
        };
        let text = format!("`.{}` behind an expression", field.value);
        Err(self
            .refuse(&text, field.span)
            .hint(format!("write `['{0}']` in place of `.{0}`", field.value)))
    }

    fn escape(&self, sign: Option<&ValueWithSpan>, pattern: Span) -> Result<()> {
        match sign.map(|sign| &sign.value) {
            None => Ok(()),
            Some(Value::SingleQuotedString(sign)) if sign == "\\" => Ok(()),
            Some(_) => Err(self
                .refuse("ESCAPE with another sign than `\\`", pattern)
                .hint("write `\\` before a sign that is meant as itself, as in '100\\%'")),
        }
    }

    fn unary(&self, op: &UnaryOperator, at: Span) -> Result<()> {
        match op {
            UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not => Ok(()),
            other => Err(self.refuse(&format!("the operator `{other}`"), at)),
        }
    }

    fn cast(&self, data_type: &DataType, array: bool, format: bool, at: Span) -> Result<()> {
        self.refuse_if(array, "CAST … ARRAY", at)?;
        let padded = matches!(
            data_type,
            DataType::Char(Some(_)) | DataType::Character(Some(_))
        );
        self.refuse_if(padded, "a cast to CHAR(n), which pads with blanks,", at)
            .map_err(|error| error.hint("write VARCHAR(n)"))?;
        self.refuse_if(format, "CAST … FORMAT", at)
            .map_err(|error| error.hint("write to_timestamp(x, '%Y…') or to_char(x, '…')"))
    }

    fn ceil_or_floor(&self, field: &CeilFloorKind, at: Span) -> Result<()> {
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Ok(()),
            CeilFloorKind::DateTimeField(_) => Err(self
                .refuse("CEIL or FLOOR of a time", at)
                .hint("write date_trunc('day', x)")),
            CeilFloorKind::Scale(_) => Err(self
                .refuse("CEIL or FLOOR with decimal places", at)
                .hint("write round(x, n)")),
        }
    }

    fn literal(&self, value: &ValueWithSpan) -> Result<()> {
        match &value.value {
            Value::Number(_, _)
            | Value::SingleQuotedString(_)
            | Value::DoubleQuotedString(_)
            | Value::DollarQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::Boolean(_)
            | Value::Null => Ok(()),
            Value::Placeholder(name) if name.starts_with('$') => Ok(()),
            Value::Placeholder(name) => Err(self
                .refuse(&format!("the parameter `{name}`"), value.span)
                .hint("write `$1` or `$name`")),
            other => Err(self.refuse(&format!("the literal {other}"), value.span)),
        }
    }

    fn binary(&self, op: &BinaryOperator, at: Span) -> Result<()> {
        let hint = match op {
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::BitwiseOr
            | BinaryOperator::BitwiseAnd
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight
            | BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGNotILikeMatch
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt => return Ok(()),
            BinaryOperator::BitwiseXor | BinaryOperator::PGExp => Some("write power(x, y)"),
            BinaryOperator::DuckIntegerDivide | BinaryOperator::MyIntegerDivide => {
                Some("`/` on integers divides integers; else write trunc(x / y)")
            }
            BinaryOperator::Spaceship => Some("write IS NOT DISTINCT FROM"),
            BinaryOperator::Xor => Some("write (a AND NOT b) OR (b AND NOT a)"),
            _ => None,
        };
        let error = self.refuse(&format!("the operator `{op}`"), at);
        Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn interval(&self, interval: &Interval, at: Span) -> Result<()> {
        let Interval {
            value,
            leading_field: _,
            leading_precision,
            last_field,
            fractional_seconds_precision,
        } = interval;
        let precise = leading_precision.is_some() || fractional_seconds_precision.is_some();
        self.refuse_if(precise, "an INTERVAL with a precision", at)?;
        self.refuse_if(last_field.is_some(), "INTERVAL … TO …", at)
            .map_err(|error| error.hint("write the units out: INTERVAL '1 day 2 hours'"))?;
        if interval_value(value) {
            return Ok(());
        }
        Err(self
            .refuse("an INTERVAL that is not a literal", at)
            .hint("multiply one: x * INTERVAL '1 day'"))
    }

    fn function(&self, function: &Function) -> Result<()> {
        let Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            filter: _,
            null_treatment: _,
            over,
            within_group,
        } = function;
        let at = name.span();
        let call = name.to_string();
        self.refuse_if(*uses_odbc_syntax, "`{fn …}`", at)?;
        self.refuse_if(
            !matches!(parameters, FunctionArguments::None),
            "a second list of arguments",
            at,
        )?;
        self.refuse_if(call.eq_ignore_ascii_case("columns"), "COLUMNS(…)", at)
            .map_err(|error| error.hint("name the columns, or write `* EXCLUDE (a, b)`"))?;
        self.refuse_if(
            name.0.len() > 1,
            &format!("a qualified function name like `{call}`"),
            at,
        )?;
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) => {
                return Err(self
                    .refuse("a query as the argument of a function", at)
                    .hint(format!(
                        "put it into parentheses of its own: {call}((SELECT …))"
                    )));
            }
            FunctionArguments::List(list) => self.arguments(list, &call, at)?,
        }
        match over {
            Some(WindowType::WindowSpec(spec)) => self.window_spec(spec)?,
            Some(WindowType::NamedWindow(_)) | None => {}
        }
        self.order_by_exprs(within_group)
    }

    fn arguments(&self, list: &FunctionArgumentList, call: &str, at: Span) -> Result<()> {
        let FunctionArgumentList {
            duplicate_treatment: _,
            args,
            clauses,
        } = list;
        for arg in args {
            let value = match arg {
                FunctionArg::Named {
                    name: _,
                    arg,
                    operator: _,
                }
                | FunctionArg::Unnamed(arg) => arg,
                FunctionArg::ExprNamed { .. } => {
                    return Err(self.refuse("an argument named by an expression", at));
                }
            };
            match value {
                FunctionArgExpr::Expr(_) => {}
                FunctionArgExpr::Wildcard if call.eq_ignore_ascii_case("count") => {}
                FunctionArgExpr::Wildcard => {
                    return Err(self.refuse(&format!("`*` as the argument of {call}"), at));
                }
                FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::WildcardWithOptions(_) => {
                    return Err(self
                        .refuse("this kind of `*` as an argument", at)
                        .hint("write count(*)"));
                }
            }
        }
        for clause in clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                FunctionArgumentClause::OrderBy(exprs) => self.order_by_exprs(exprs)?,
                FunctionArgumentClause::Limit(_) => {
                    return Err(self.refuse("LIMIT in an argument", at));
                }
                FunctionArgumentClause::OnOverflow(_) => {
                    return Err(self.refuse("ON OVERFLOW", at));
                }
                FunctionArgumentClause::Having(_) => {
                    return Err(self
                        .refuse("HAVING in an argument", at)
                        .hint("write FILTER (WHERE …)"));
                }
                FunctionArgumentClause::Separator(_) => {
                    return Err(self
                        .refuse("SEPARATOR", at)
                        .hint("write string_agg(x, ', ')"));
                }
                FunctionArgumentClause::JsonNullClause(_)
                | FunctionArgumentClause::JsonReturningClause(_) => {
                    return Err(self.refuse("a JSON clause in an argument", at));
                }
            }
        }
        Ok(())
    }

    pub(super) fn window_spec(&self, spec: &WindowSpec) -> Result<()> {
        let WindowSpec {
            window_name,
            partition_by: _,
            order_by,
            window_frame,
        } = spec;
        if let Some(name) = window_name {
            return Err(self
                .refuse("a window that extends another", name.span)
                .hint("write the window out: OVER (PARTITION BY … ORDER BY …)"));
        }
        if let Some(WindowFrame {
            units: _,
            start_bound: _,
            end_bound: _,
        }) = window_frame
        {}
        self.order_by_exprs(order_by)
    }
}

/// What DataFusion reads after INTERVAL: a literal, its negative, or a sum of them.
fn interval_value(value: &Expr) -> bool {
    match value {
        Expr::Value(value) => matches!(
            value.value,
            Value::SingleQuotedString(_) | Value::Number(_, false)
        ),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => interval_value(expr),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Plus | BinaryOperator::Minus,
            right,
        } => interval_value(left) && interval_value(right),
        _ => false,
    }
}
