//! Output columns are named by their text: `sum(a)`, `count(*)`, `a + 1`. The planner would
//! name them by its own notation and refuse two columns of one name; so each expression gets
//! an alias, and a repeated name a mark that `restore` takes off again at the end.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::{Column, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    CastKind, CharacterLength, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderBy, OrderByKind, Query,
    Select, SelectItem, SetExpr, Value, ValueWithSpan, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::walk::{Flow, Stop, change};

/// Stands between a repeated name and its number; no user can type it by accident.
const MARK: char = '\u{1}';

/// Names the columns of every SELECT in the query.
pub(crate) fn query(query: &mut Query) {
    let _ = change(query, &mut Naming);
    let _ = change(query, &mut DistinctOrder);
    if let SetExpr::Select(select) = query.body.as_mut() {
        repeat_beside_star(select);
    }
    let _ = change(query, &mut Lengths);
}

struct Naming;

impl VisitorMut for Naming {
    type Break = Stop;

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for item in &mut select.projection {
            let named = match item {
                SelectItem::UnnamedExpr(expr) => named_by(expr).map(|name| (name, false)),
                SelectItem::ExprWithAlias { alias, .. } => Some((alias.value.clone(), true)),
                _ => None,
            };
            let Some((name, aliased)) = named else {
                continue;
            };
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                rename(item, format!("{name}{MARK}{count}"));
            } else if !aliased && !is_column(item) {
                rename(item, name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT DISTINCT a + 1 … ORDER BY a + 1` sorts by the column that the result has: the planner looks for columns of
/// the tables only.
struct DistinctOrder;

impl VisitorMut for DistinctOrder {
    type Break = Stop;

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        let SetExpr::Select(select) = query.body.as_ref() else {
            return ControlFlow::Continue(());
        };
        let Some(OrderBy {
            kind: OrderByKind::Expressions(keys),
            ..
        }) = &mut query.order_by
        else {
            return ControlFlow::Continue(());
        };
        if !matches!(select.distinct, Some(Distinct::Distinct)) {
            return ControlFlow::Continue(());
        }
        for key in keys {
            let column = select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if *expr == key.expr => Some(alias),
                _ => None,
            });
            if let Some(alias) = column
                && !matches!(key.expr, Expr::Value(_))
            {
                key.expr = Expr::Identifier(alias.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT *, a`: the second `a` gets a mark too. Only at the top, where nothing but ORDER BY
/// refers to the columns by name.
fn repeat_beside_star(select: &mut Select) {
    let star = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
        )
    };
    if !select.projection.iter().any(star) {
        return;
    }
    for (at, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = named_by(expr)
        {
            rename(item, format!("{name}{MARK}{at}"));
        }
    }
}

fn is_column(item: &SelectItem) -> bool {
    matches!(
        item,
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))
    )
}

/// The name an expression gives its column.
fn named_by(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| ident.value.clone()),
        Expr::Nested(inner) => named_by(inner),
        other => Some(other.to_string()),
    }
}

fn rename(item: &mut SelectItem, name: String) {
    let placeholder = SelectItem::UnnamedExpr(Expr::Identifier(Ident::new("")));
    let alias = Ident::with_quote('"', name);
    *item = match std::mem::replace(item, placeholder) {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            SelectItem::ExprWithAlias { expr, alias }
        }
        other => other,
    };
}

/// Takes the marks off the columns of the whole plan. Columns of one name are told apart by
/// qualifiers nobody sees.
pub(crate) fn restore(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let schema = plan.schema();
    if !schema
        .fields()
        .iter()
        .any(|field| field.name().contains(MARK))
    {
        return Ok(plan);
    }
    let columns: Vec<Column> = schema.columns();
    let exprs = columns.into_iter().enumerate().map(|(at, column)| {
        let name = column
            .name
            .split(MARK)
            .next()
            .unwrap_or_default()
            .to_string();
        PlanExpr::Column(column)
            .alias_qualified(Some(TableReference::bare(format!("column{at}"))), name)
    });
    let exprs: Vec<PlanExpr> = exprs.collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// The name of an output column without the mark.
pub(crate) fn plain(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// `CAST(x AS VARCHAR(3))` keeps three characters, as in PostgreSQL.
struct Lengths;

impl VisitorMut for Lengths {
    type Break = Stop;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        let Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast,
            data_type,
            ..
        } = expr
        else {
            return ControlFlow::Continue(());
        };
        let length = match data_type {
            DataType::Varchar(length)
            | DataType::Nvarchar(length)
            | DataType::CharacterVarying(length)
            | DataType::CharVarying(length) => length.take(),
            _ => None,
        };
        if let Some(CharacterLength::IntegerLength { length, .. }) = length {
            let cast = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
            *expr = left(cast, length);
        }
        ControlFlow::Continue(())
    }
}

fn left(text: Expr, characters: u64) -> Expr {
    let count = Expr::Value(ValueWithSpan {
        value: Value::Number(characters.to_string(), false),
        span: Span::empty(),
    });
    call("left", [text, count])
}

/// The call of a function that takes nothing but its arguments.
pub(super) fn call(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
