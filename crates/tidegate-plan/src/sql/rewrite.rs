//! What is done to a query once it is read, before any table is known:
//!
//! 1. long chains of AND, OR and UNION ALL become balanced trees;
//! 2. what would be ignored is refused (`guard`);
//! 3. friendly SQL becomes plain SQL: FROM-first, ORDER BY ALL;
//! 4. files and reader calls become generated table names (`tables`);
//! 5. every column gets the name its text gives it (`naming`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, OrderByExpr, OrderByKind, Select, SelectFlavor, SelectItem, SetExpr,
    SetOperator, SetQuantifier, Spanned, TableFactor, TableWithJoins, Value, ValueWithSpan,
    Visitor, VisitorMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::{Code, Error, Result};
use super::source::{Limits, Source, too_nested};
use super::statement::Query;
use super::walk::{Flow, Stop, change, look};
use super::{balance, distribute_by, guard, naming, tables};

/// Makes a query ready to plan; also says how deep it is.
pub(crate) fn query(
    mut ast: Box<ast::Query>,
    source: &Source,
    limits: &Limits,
    generated: &mut usize,
) -> Result<(Query, usize)> {
    balance::query(&mut ast, source, limits)?;
    let Depth {
        most: depth,
        subqueries_most,
        ..
    } = depth(&ast);
    if depth > limits.nesting_max {
        return Err(too_nested(limits));
    }
    if subqueries_most > limits.subqueries_max {
        let message = format!(
            "the statement has more than {} subqueries inside each other",
            limits.subqueries_max
        );
        return Err(Error::new(Code::Limit, message)
            .hint("write some of them as joins, or raise `sql_subqueries_max`"));
    }
    guard::check(&ast, source)?;
    let mut friendly = Friendly {
        source,
        subqueries: 0,
    };
    if let ControlFlow::Break(error) = change(ast.as_mut(), &mut friendly) {
        return Err(*error);
    }
    let tables = tables::extract(&mut ast, source, generated)?;
    let parameters = parameters(&ast);
    naming::query(&mut ast);
    Ok((
        Query {
            ast,
            tables,
            parameters,
        },
        depth,
    ))
}

/// `SELECT * FROM factor`.
pub(crate) fn select_all(factor: TableFactor) -> ast::Query {
    let table = TableWithJoins {
        relation: factor,
        joins: vec![],
    };
    wrap(SetExpr::Select(Box::new(select_star(table))))
}

/// A table, or a call that gives one, as FROM holds it.
pub(crate) fn table(name: ast::ObjectName, args: Option<ast::TableFunctionArgs>) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// A query of nothing but a body.
pub(super) fn wrap(body: SetExpr) -> ast::Query {
    ast::Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

fn select_star(table: TableWithJoins) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![table],
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

struct Friendly<'a> {
    source: &'a Source,
    /// Queries within expressions, and those that see the rows beside them, that are inside each other here.
    subqueries: usize,
}

impl VisitorMut for Friendly<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> Flow {
        if self.subqueries > 0 && distribute_by::is_clause(&query.pipe_operators) {
            let error =
                Error::unsupported("DISTRIBUTE BY in a subquery of an expression is not supported");
            let error = error.hint("leave it out: how such rows are divided changes nothing");
            return ControlFlow::Break(Box::new(error.at(self.source.range(query.span()))));
        }
        if let Err(error) = distribute_by::unfold(query, self.source) {
            return ControlFlow::Break(Box::new(error));
        }
        order_by_all(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        self.subqueries += usize::from(is_lateral(factor));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        self.subqueries -= usize::from(is_lateral(factor));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        if select.projection.is_empty() && !matches!(select.flavor, SelectFlavor::Standard) {
            select
                .projection
                .push(SelectItem::Wildcard(WildcardAdditionalOptions::default()));
        }
        select.flavor = SelectFlavor::Standard;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        self.subqueries -= usize::from(holds_subquery(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        self.subqueries += usize::from(holds_subquery(expr));
        // DataFusion puts the minus before the text of an interval, where it means the first number only.
        if let Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr: operand,
        } = expr
            && matches!(**operand, Expr::Interval(_))
        {
            let interval = std::mem::replace(&mut **operand, Expr::Identifier(ast::Ident::new("")));
            **operand = Expr::Nested(Box::new(interval));
        }
        ControlFlow::Continue(())
    }
}

/// ORDER BY ALL becomes ORDER BY 1, 2, …; where a `*` hides the number of columns, the query
/// moves into a subquery, whose columns the planner can then list itself.
fn order_by_all(query: &mut ast::Query) {
    let Some(order_by) = &mut query.order_by else {
        return;
    };
    let OrderByKind::All(options) = order_by.kind else {
        return;
    };
    if let Some(columns) = width(&query.body) {
        let ordinal = |at: usize| OrderByExpr {
            expr: Expr::Value(ValueWithSpan {
                value: Value::Number(at.to_string(), false),
                span: Span::empty(),
            }),
            options,
            with_fill: None,
        };
        order_by.kind = OrderByKind::Expressions((1..=columns).map(ordinal).collect());
        return;
    }
    let body = std::mem::replace(&mut *query.body, SetExpr::Values(no_values()));
    let inner = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(wrap(body)),
        alias: None,
        sample: None,
    };
    query.body = select_all(inner).body;
}

pub(super) fn no_values() -> ast::Values {
    ast::Values {
        explicit_row: false,
        value_keyword: false,
        rows: vec![],
    }
}

/// The number of columns, unless a `*` hides it.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let star = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
                )
            };
            let hidden = select.projection.is_empty() || select.projection.iter().any(star);
            (!hidden).then_some(select.projection.len())
        }
        SetExpr::SetOperation {
            left,
            op: SetOperator::Union,
            set_quantifier:
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName,
            ..
        } => width(left).and(None),
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Query(query) => width(&query.body),
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    }
}

/// How many expressions, queries and joins are inside each other.
#[derive(Default)]
struct Depth {
    now: usize,
    most: usize,
    /// Of these, the queries within expressions.
    subqueries: usize,
    subqueries_most: usize,
}

fn depth(query: &ast::Query) -> Depth {
    let mut depth = Depth::default();
    let _ = look(query, &mut depth);
    depth
}

impl Depth {
    fn enter(&mut self) -> Flow {
        self.now += 1;
        self.most = self.most.max(self.now);
        ControlFlow::Continue(())
    }

    fn leave(&mut self) -> Flow {
        self.now -= 1;
        ControlFlow::Continue(())
    }
}

fn is_lateral(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Derived { lateral: true, .. })
}

fn holds_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. }
    )
}

impl Visitor for Depth {
    type Break = Stop;

    fn pre_visit_query(&mut self, _: &ast::Query) -> Flow {
        self.enter()
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> Flow {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        if holds_subquery(expr) {
            self.subqueries += 1;
            self.subqueries_most = self.subqueries_most.max(self.subqueries);
        }
        self.enter()
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> Flow {
        if holds_subquery(expr) {
            self.subqueries -= 1;
        }
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> Flow {
        self.enter()
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> Flow {
        self.leave()
    }
}

fn parameters(query: &ast::Query) -> Vec<String> {
    struct Parameters(Vec<String>);

    impl Visitor for Parameters {
        type Break = Stop;

        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Flow {
            if let Value::Placeholder(name) = &value.value {
                let name = name.trim_start_matches('$').to_string();
                if !self.0.contains(&name) {
                    self.0.push(name);
                }
            }
            ControlFlow::Continue(())
        }
    }

    let mut parameters = Parameters(Vec::new());
    let _ = look(query, &mut parameters);
    parameters.0
}
