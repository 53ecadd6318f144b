//! What a query reads: names, files in quotes, reader calls. Files and calls are replaced by
//! generated names, under which the caller hands in the tables it found for them.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Spanned,
    TableAlias, TableFactor, TableFunctionArgs, UnaryOperator, Value as SqlValue, VisitorMut,
};

use super::error::{Code, Error, Result, did_you_mean, near};
use super::source::Source;
use super::statement::{Argument, TableRef, TableRefKind, Value};
use super::walk::{Flow, Stop, change};

/// The reader functions.
pub const READERS: [&str; 9] = [
    "read_parquet",
    "read_csv",
    "read_csv_auto",
    "read_tsv",
    "read_json",
    "read_json_auto",
    "read_ndjson",
    "read_avro",
    "read_arrow",
];

/// The generated names begin so.
const GENERATED: &str = "\u{1}input";

/// Lists the tables of a query and replaces files and reader calls.
pub(crate) fn extract(
    query: &mut Query,
    source: &Source,
    generated: &mut usize,
) -> Result<Vec<TableRef>> {
    let mut collector = Collector {
        source,
        generated,
        found: Vec::new(),
        scope: Vec::new(),
        aliases: Vec::new(),
    };
    match change(query, &mut collector) {
        ControlFlow::Continue(()) => Ok(collector.found),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Collector<'a> {
    source: &'a Source,
    generated: &'a mut usize,
    found: Vec<TableRef>,
    /// The names of WITH queries in sight.
    scope: Vec<String>,
    /// The aliases made up so far.
    aliases: Vec<String>,
}

impl VisitorMut for Collector<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let Some(with) = &mut query.with else {
            return ControlFlow::Continue(());
        };
        for cte in &mut with.cte_tables {
            // Not in its own sight, unless recursive: `WITH t AS (SELECT … FROM t)` reads the table.
            if !with.recursive {
                change(&mut cte.query, self)?;
            }
            self.scope.push(cte.alias.name.value.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        if let Some(with) = &query.with {
            let kept = self.scope.len() - with.cte_tables.len();
            self.scope.truncate(kept);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        match self.factor(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl Collector<'_> {
    fn factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table {
            name, alias, args, ..
        } = factor
        else {
            return Ok(());
        };
        let span = self.source.range(name.span());
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let kind = match (parts.as_slice(), args.as_ref()) {
            ([one], None) if one.value.starts_with(GENERATED) => return Ok(()),
            ([one], None) if one.quote_style == Some('\'') => TableRefKind::Path(one.value.clone()),
            ([one], Some(args)) if is_reader(&one.value) => TableRefKind::Reader {
                function: one.value.to_ascii_lowercase(),
                arguments: self.arguments(args)?,
            },
            ([one], Some(_)) if one.value.to_ascii_lowercase().starts_with("read_") => {
                let error =
                    Error::new(Code::UnknownFunction, format!("there is no reader `{one}`"))
                        .at(span);
                return Err(match did_you_mean(&near(&one.value, READERS)) {
                    Some(hint) => error.hint(hint),
                    None => error.hint(format!("there are {}", READERS.join(", "))),
                });
            }
            (_, Some(_)) => return Ok(()),
            (parts, None) => return self.name(parts, span),
        };
        let key = format!("{GENERATED}{}", *self.generated);
        *self.generated += 1;
        if alias.is_none()
            && let Some(stem) = stem(&kind)
            && !self.aliases.contains(&stem)
        {
            self.aliases.push(stem.clone());
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', stem),
                columns: vec![],
                at: None,
            });
        }
        let mut generated = Ident::with_quote('"', key.clone());
        generated.span = name.span();
        *name = ObjectName::from(vec![generated]);
        *args = None;
        self.found.push(TableRef { key, kind, span });
        Ok(())
    }

    fn name(&mut self, parts: &[&Ident], span: Option<std::ops::Range<usize>>) -> Result<()> {
        let reference = match parts {
            [table] if self.is_with_query(&table.value) => return Ok(()),
            [table] => TableReference::bare(table.value.as_str()),
            [schema, table] => TableReference::partial(schema.value.as_str(), table.value.as_str()),
            [catalog, schema, table] => TableReference::full(
                catalog.value.as_str(),
                schema.value.as_str(),
                table.value.as_str(),
            ),
            _ => {
                return Err(
                    Error::syntax("the name of a table has one, two or three parts").at(span),
                );
            }
        };
        let key = reference.to_string();
        if !self.found.iter().any(|found| found.key == key) {
            self.found.push(TableRef {
                key,
                kind: TableRefKind::Name(reference),
                span,
            });
        }
        Ok(())
    }

    fn is_with_query(&self, name: &str) -> bool {
        self.scope
            .iter()
            .any(|found| found.eq_ignore_ascii_case(name))
    }

    fn arguments(&self, args: &TableFunctionArgs) -> Result<Vec<Argument>> {
        args.args.iter().map(|arg| self.argument(arg)).collect()
    }

    fn argument(&self, arg: &FunctionArg) -> Result<Argument> {
        let (name, expr, span) = match arg {
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => (Some(name), expr, name.span.union(&expr.span())),
            // `delim = ';'` reads as a comparison.
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            })) => match left.as_ref() {
                Expr::Identifier(name) => (Some(name), right.as_ref(), name.span),
                _ => return Err(self.no_argument(left)),
            },
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (None, expr, expr.span()),
            other => {
                return Err(
                    Error::syntax(format!("`{other}` is not an argument of a reader"))
                        .at(self.source.range(other.span())),
                );
            }
        };
        Ok(Argument {
            name: name.map(|name| name.value.to_ascii_lowercase()),
            value: self.value(expr)?,
            span: self.source.range(span),
        })
    }

    fn no_argument(&self, expr: &Expr) -> Error {
        let what = match expr {
            Expr::Value(value) if matches!(value.value, SqlValue::Placeholder(_)) => {
                "a parameter cannot stand in the arguments of a reader"
            }
            _ => "the arguments of a reader are literals: texts, numbers, lists and maps",
        };
        Error::unsupported(what).at(self.source.range(expr.span()))
    }

    fn value(&self, expr: &Expr) -> Result<Value> {
        let list = |exprs: &[Expr]| -> Result<Value> {
            exprs
                .iter()
                .map(|expr| self.value(expr))
                .collect::<Result<_>>()
                .map(Value::List)
        };
        Ok(match expr {
            Expr::Value(value) => match &value.value {
                SqlValue::Number(digits, _) => Value::Number(digits.clone()),
                SqlValue::SingleQuotedString(text)
                | SqlValue::DoubleQuotedString(text)
                | SqlValue::EscapedStringLiteral(text) => Value::Text(text.clone()),
                SqlValue::DollarQuotedString(text) => Value::Text(text.value.clone()),
                SqlValue::Boolean(value) => Value::Boolean(*value),
                SqlValue::Null => Value::Null,
                _ => return Err(self.no_argument(expr)),
            },
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: inner,
            } => match self.value(inner)? {
                Value::Number(digits) => Value::Number(format!("-{digits}")),
                _ => return Err(self.no_argument(expr)),
            },
            Expr::Identifier(ident) => Value::Text(ident.value.clone()),
            Expr::Array(array) => list(&array.elem)?,
            Expr::Tuple(exprs) => list(exprs)?,
            Expr::Nested(inner) => self.value(inner)?,
            Expr::Dictionary(fields) => Value::Map(
                fields
                    .iter()
                    .map(|field| Ok((field.key.value.clone(), self.value(&field.value)?)))
                    .collect::<Result<_>>()?,
            ),
            Expr::Map(map) => Value::Map(
                map.entries
                    .iter()
                    .map(|entry| match self.value(&entry.key)? {
                        Value::Text(key) => Ok((key, self.value(&entry.value)?)),
                        _ => Err(self.no_argument(&entry.key)),
                    })
                    .collect::<Result<_>>()?,
            ),
            other => return Err(self.no_argument(other)),
        })
    }
}

fn is_reader(name: &str) -> bool {
    READERS
        .iter()
        .any(|reader| reader.eq_ignore_ascii_case(name))
}

/// The name by which columns of a file may be qualified: that of the file, without suffixes.
fn stem(kind: &TableRefKind) -> Option<String> {
    let path = match kind {
        TableRefKind::Path(path) => path,
        TableRefKind::Reader { arguments, .. } => match &arguments.first()?.value {
            Value::Text(path) => path,
            _ => return None,
        },
        TableRefKind::Name(_) => return None,
    };
    let last = path
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()?;
    let stem = last.split('.').next()?;
    let plain = !stem.is_empty() && !stem.contains(['*', '?', '[', '{']);
    plain.then(|| stem.to_string())
}
