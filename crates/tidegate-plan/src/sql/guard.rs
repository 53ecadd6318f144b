//! Nothing is ignored: every clause of a query that DataFusion's planner would drop, or would
//! answer wrongly, is refused with its place.
//!
//! Each check takes a node of the parser's tree apart without `..`, so that a field added by
//! a newer parser does not compile until somebody has decided what becomes of it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, Expr, Function, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause,
    NamedWindowExpr, Offset, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias,
    TableAliasColumnDef, TableFactor, TableFunctionArgs, TableWithJoins, Values, Visitor,
    WildcardAdditionalOptions, WindowType, With,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::distribute_by;
use super::error::{Error, Result};
use super::source::Source;
use super::walk::{Flow, Stop, each_expression, look};

/// Refuses what would be ignored or answered wrongly in a query.
pub(crate) fn check(query: &Query, source: &Source) -> Result<()> {
    match look(query, &mut Guard { source }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

pub(super) struct Guard<'a> {
    pub(super) source: &'a Source,
}

impl Visitor for Guard<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        flow(self.query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        flow(self.select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        flow(self.table_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        flow(self.expr(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Box<Error>> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

impl Guard<'_> {
    pub(super) fn refuse(&self, what: &str, span: Span) -> Error {
        Error::unsupported(format!("{what} is not supported")).at(self.source.range(span))
    }

    pub(super) fn refuse_if(&self, present: bool, what: &str, span: Span) -> Result<()> {
        if present {
            Err(self.refuse(what, span))
        } else {
            Ok(())
        }
    }

    fn query(&self, query: &Query) -> Result<()> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let end = body.span();
        if let Some(with) = with {
            self.with(with)?;
        }
        self.set_expr(body)?;
        if let Some(order_by) = order_by {
            self.order_by(order_by)?;
        }
        if let Some(limit) = limit_clause {
            self.limit(limit, end)?;
        }
        if fetch.is_some() {
            return Err(self.refuse("FETCH FIRST", end).hint("write LIMIT n"));
        }
        if !locks.is_empty() {
            return Err(self
                .refuse("FOR UPDATE or FOR SHARE", end)
                .hint("leave it out: a query reads one state of its files"));
        }
        self.refuse_if(for_clause.is_some(), "FOR XML, JSON or BROWSE", end)?;
        self.refuse_if(settings.is_some(), "SETTINGS", end)
            .map_err(|error| error.hint("write SET name = value before the query"))?;
        self.refuse_if(format_clause.is_some(), "FORMAT", end)
            .map_err(|error| error.hint("choose the output with -F, or write COPY … TO"))?;
        let is_clause = distribute_by::is_clause(pipe_operators);
        let is_refused = !pipe_operators.is_empty() && !is_clause;
        self.refuse_if(is_refused, "the pipe syntax `|>`", end)
    }

    fn with(&self, with: &With) -> Result<()> {
        let With {
            with_token: _,
            recursive,
            cte_tables,
        } = with;
        for cte in cte_tables {
            let Cte {
                alias,
                query,
                from,
                materialized,
                closing_paren_token: _,
            } = cte;
            self.table_alias(alias)?;
            self.refuse_if(from.is_some(), "FROM after a WITH query", alias.span())?;
            self.refuse_if(
                materialized.is_some(),
                "MATERIALIZED on a WITH query",
                alias.span(),
            )?;
            if *recursive {
                self.recursive(query)?;
            }
        }
        Ok(())
    }

    /// DataFusion plans only the two sides of the UNION of a recursive query.
    fn recursive(&self, query: &Query) -> Result<()> {
        let SetExpr::SetOperation { set_quantifier, .. } = query.body.as_ref() else {
            return Ok(());
        };
        let extra = query.order_by.is_some() || query.limit_clause.is_some();
        if extra {
            return Err(self
                .refuse(
                    "ORDER BY or LIMIT inside a recursive WITH query",
                    query.span(),
                )
                .hint("put it on the query that reads it"));
        }
        self.refuse_if(
            query.with.is_some(),
            "WITH inside a recursive WITH query",
            query.span(),
        )?;
        self.refuse_if(
            matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            ),
            "BY NAME in a recursive WITH query",
            query.span(),
        )
    }

    fn set_expr(&self, body: &SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(_) | SetExpr::Query(_) => Ok(()),
            SetExpr::Table(_) => Err(self
                .refuse("TABLE inside a query", body.span())
                .hint("write FROM t")),
            SetExpr::Values(values) => {
                let Values {
                    explicit_row: _,
                    value_keyword,
                    rows: _,
                } = values;
                self.refuse_if(*value_keyword, "VALUE", body.span())
                    .map_err(|error| error.hint("write VALUES"))
            }
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                self.set_operation(*op, *set_quantifier, right.span())?;
                self.set_expr(left)?;
                self.set_expr(right)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(self.refuse("a statement that changes data inside a query", body.span()))
            }
        }
    }

    fn set_operation(&self, op: SetOperator, quantifier: SetQuantifier, at: Span) -> Result<()> {
        let plain = matches!(quantifier, SetQuantifier::None | SetQuantifier::Distinct);
        match op {
            SetOperator::Union => Ok(()),
            SetOperator::Minus => Err(self.refuse("MINUS", at).hint("write EXCEPT")),
            SetOperator::Except | SetOperator::Intersect if plain => Ok(()),
            SetOperator::Except | SetOperator::Intersect => Err(self
                .refuse(&format!("{op} {quantifier}"), at)
                .hint(format!("write {op}, which removes duplicates"))),
        }
    }

    fn limit(&self, limit: &LimitClause, end: Span) -> Result<()> {
        match limit {
            LimitClause::LimitOffset {
                limit: _,
                offset,
                limit_by,
            } => {
                if let Some(Offset { value: _, rows: _ }) = offset {}
                self.refuse_if(!limit_by.is_empty(), "LIMIT … BY", end)
            }
            LimitClause::OffsetCommaLimit { .. } => Err(self
                .refuse("LIMIT with two numbers", end)
                .hint("write LIMIT n OFFSET m")),
        }
    }

    fn order_by(&self, order_by: &OrderBy) -> Result<()> {
        let OrderBy { kind, interpolate } = order_by;
        self.refuse_if(interpolate.is_some(), "INTERPOLATE", order_by.span())?;
        match kind {
            OrderByKind::All(_) => Ok(()),
            OrderByKind::Expressions(exprs) => self.order_by_exprs(exprs),
        }
    }

    pub(super) fn order_by_exprs(&self, exprs: &[OrderByExpr]) -> Result<()> {
        for item in exprs {
            let OrderByExpr {
                expr,
                options: _,
                with_fill,
            } = item;
            self.refuse_if(with_fill.is_some(), "WITH FILL", expr.span())?;
        }
        Ok(())
    }

    fn select(&self, select: &Select) -> Result<()> {
        let Select {
            select_token,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor: _,
        } = select;
        let at = select_token.0.span;
        self.refuse_if(!optimizer_hints.is_empty(), "an optimizer hint", at)?;
        self.refuse_if(select_modifiers.is_some(), "a modifier of SELECT", at)?;
        self.refuse_if(top.is_some(), "TOP", at)
            .map_err(|error| error.hint("write LIMIT n at the end of the query"))?;
        self.refuse_if(exclude.is_some(), "EXCLUDE after the list of columns", at)
            .map_err(|error| error.hint("write `* EXCLUDE (a, b)`"))?;
        if let Some(into) = into {
            return Err(self
                .refuse("SELECT INTO", into.name.span())
                .hint("write CREATE TABLE t AS SELECT …"));
        }
        self.refuse_if(!lateral_views.is_empty(), "LATERAL VIEW", at)
            .map_err(|error| error.hint("write CROSS JOIN UNNEST(list)"))?;
        if let Some(prewhere) = prewhere {
            return Err(self.refuse("PREWHERE", prewhere.span()).hint("write WHERE"));
        }
        self.refuse_if(!connect_by.is_empty(), "CONNECT BY", at)
            .map_err(|error| error.hint("write WITH RECURSIVE"))?;
        self.refuse_first(cluster_by, "CLUSTER BY")?;
        self.refuse_first(distribute_by, "DISTRIBUTE BY")?;
        if let Some(first) = sort_by.first() {
            return Err(self.refuse("SORT BY", first.span()).hint("write ORDER BY"));
        }
        self.refuse_if(
            value_table_mode.is_some(),
            "SELECT AS STRUCT or AS VALUE",
            at,
        )?;
        self.group_by(group_by, at)?;
        for item in projection {
            self.select_item(item)?;
        }
        for table in from {
            self.table_with_joins(table)?;
        }
        for window in named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
                self.window_spec(spec)?;
            }
        }
        let elsewhere: Vec<&Expr> = qualify.iter().chain(distinct_on(distinct)).collect();
        self.no_named_window(&elsewhere)
    }

    fn refuse_first(&self, exprs: &[Expr], what: &str) -> Result<()> {
        match exprs.first() {
            Some(first) => Err(self.refuse(what, first.span())),
            None => Ok(()),
        }
    }

    /// DataFusion resolves the name of a window in the list of columns only.
    fn no_named_window(&self, exprs: &[&Expr]) -> Result<()> {
        for expr in exprs {
            let mut found = None;
            each_expression(*expr, &mut |inner| {
                if let Expr::Function(Function {
                    over: Some(WindowType::NamedWindow(name)),
                    ..
                }) = inner
                {
                    found.get_or_insert(name.span);
                }
            });
            if let Some(span) = found {
                return Err(self
                    .refuse("the name of a window outside the list of columns", span)
                    .hint("write the window out: OVER (PARTITION BY … ORDER BY …)"));
            }
        }
        Ok(())
    }

    fn group_by(&self, group_by: &GroupByExpr, at: Span) -> Result<()> {
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
        match modifiers.first() {
            Some(modifier) => Err(self
                .refuse(&format!("GROUP BY … {modifier}"), at)
                .hint("write GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a), (b))")),
            None => Ok(()),
        }
    }

    fn select_item(&self, item: &SelectItem) -> Result<()> {
        match item {
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { expr: _, alias: _ } => Ok(()),
            SelectItem::ExprWithAliases { expr, aliases: _ } => {
                Err(self.refuse("more than one alias", expr.span()))
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                if let SelectItemQualifiedWildcardKind::Expr(expr) = kind {
                    return Err(self.refuse("`.*` on an expression", expr.span()));
                }
                self.wildcard(options)
            }
            SelectItem::Wildcard(options) => self.wildcard(options),
        }
    }

    fn wildcard(&self, options: &WildcardAdditionalOptions) -> Result<()> {
        let WildcardAdditionalOptions {
            wildcard_token,
            opt_ilike,
            opt_exclude: _,
            opt_except: _,
            opt_replace: _,
            opt_rename,
            opt_alias,
        } = options;
        let at = wildcard_token.0.span;
        self.refuse_if(opt_ilike.is_some(), "`* ILIKE`", at)?;
        self.refuse_if(opt_rename.is_some(), "`* RENAME`", at)
            .map_err(|error| error.hint("write `* EXCLUDE (a), a AS b`"))?;
        self.refuse_if(opt_alias.is_some(), "an alias of `*`", at)
    }

    fn table_with_joins(&self, table: &TableWithJoins) -> Result<()> {
        let TableWithJoins { relation: _, joins } = table;
        for join in joins {
            self.join(join)?;
        }
        Ok(())
    }

    fn join(&self, join: &Join) -> Result<()> {
        let Join {
            relation,
            global,
            join_operator,
        } = join;
        let at = relation.span();
        self.refuse_if(*global, "GLOBAL JOIN", at)?;
        let constraint = match join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::LeftSemi(constraint)
            | JoinOperator::RightSemi(constraint)
            | JoinOperator::LeftAnti(constraint)
            | JoinOperator::RightAnti(constraint) => constraint,
            JoinOperator::CrossJoin(JoinConstraint::None) => return Ok(()),
            JoinOperator::CrossJoin(_) => {
                return Err(Error::syntax("CROSS JOIN takes no condition")
                    .at(self.source.range(at))
                    .hint("write JOIN … ON …"));
            }
            JoinOperator::Semi(_) => {
                return Err(self.refuse("SEMI JOIN", at).hint("write LEFT SEMI JOIN"));
            }
            JoinOperator::Anti(_) => {
                return Err(self.refuse("ANTI JOIN", at).hint("write LEFT ANTI JOIN"));
            }
            JoinOperator::CrossApply | JoinOperator::OuterApply => {
                return Err(self
                    .refuse("APPLY", at)
                    .hint("write CROSS JOIN LATERAL (…)"));
            }
            JoinOperator::AsOf {
                match_condition: _,
                constraint: _,
            } => {
                return Err(self
                    .refuse("ASOF JOIN", at)
                    .hint("join on the keys and keep the nearest row with row_number() OVER (…)"));
            }
            JoinOperator::StraightJoin(_)
            | JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                return Err(self.refuse("this kind of join", at));
            }
        };
        match constraint {
            JoinConstraint::On(_) | JoinConstraint::Using(_) | JoinConstraint::Natural => Ok(()),
            JoinConstraint::None => Err(Error::syntax("this JOIN has no condition")
                .at(self.source.range(at))
                .hint("add ON … or USING (…), or write CROSS JOIN")),
        }
    }

    fn table_alias(&self, alias: &TableAlias) -> Result<()> {
        let TableAlias {
            explicit: _,
            name,
            columns,
            at,
        } = alias;
        self.refuse_if(at.is_some(), "AT after an alias", name.span)?;
        for column in columns {
            let TableAliasColumnDef { name, data_type } = column;
            self.refuse_if(
                data_type.is_some(),
                "a type in a list of aliases",
                name.span,
            )?;
        }
        Ok(())
    }

    fn table_factor(&self, factor: &TableFactor) -> Result<()> {
        let at = factor.span();
        let alias = match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let at = name.span();
                if let Some(TableFunctionArgs { args: _, settings }) = args {
                    self.refuse_if(settings.is_some(), "SETTINGS", at)?;
                }
                self.refuse_if(!with_hints.is_empty(), "a hint on a table", at)?;
                self.refuse_if(version.is_some(), "an older version of a table", at)?;
                self.refuse_if(*with_ordinality, "WITH ORDINALITY", at)?;
                self.refuse_if(!partitions.is_empty(), "PARTITION after a table", at)
                    .map_err(|error| error.hint("filter on the partition column in WHERE"))?;
                self.refuse_if(json_path.is_some(), "a path into a table", at)?;
                self.sample(sample.is_some(), at)?;
                self.refuse_if(!index_hints.is_empty(), "a hint on a table", at)?;
                alias
            }
            TableFactor::Derived {
                lateral: _,
                subquery: _,
                alias,
                sample,
            } => {
                self.sample(sample.is_some(), at)?;
                alias
            }
            TableFactor::Function {
                lateral: _,
                name: _,
                args: _,
                with_ordinality,
                alias,
            } => {
                self.refuse_if(*with_ordinality, "WITH ORDINALITY", at)?;
                alias
            }
            TableFactor::UNNEST {
                alias,
                array_exprs: _,
                with_offset,
                with_offset_alias: _,
                with_ordinality,
            } => {
                self.refuse_if(*with_offset, "WITH OFFSET", at)?;
                self.refuse_if(*with_ordinality, "WITH ORDINALITY", at)?;
                alias
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                self.table_with_joins(table_with_joins)?;
                alias
            }
            TableFactor::TableFunction { expr: _, alias: _ } => {
                return Err(self
                    .refuse("TABLE(…)", at)
                    .hint("write the function itself"));
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                return Err(self
                    .refuse("PIVOT or UNPIVOT", at)
                    .hint("write one aggregate with FILTER (WHERE …) for each column"));
            }
            TableFactor::MatchRecognize { .. } => {
                return Err(self.refuse("MATCH_RECOGNIZE", at));
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => {
                return Err(self.refuse("this kind of table", at));
            }
        };
        match alias {
            Some(alias) => self.table_alias(alias),
            None => Ok(()),
        }
    }

    fn sample(&self, present: bool, at: Span) -> Result<()> {
        self.refuse_if(present, "TABLESAMPLE", at)
            .map_err(|error| error.hint(SAMPLE_HINT))
    }
}

/// What to write instead of a sample.
pub(super) const SAMPLE_HINT: &str =
    "filter with WHERE random() < p, where p is the part of the rows, 0.1 for 10 percent";

fn distinct_on(distinct: &Option<Distinct>) -> impl Iterator<Item = &Expr> {
    match distinct {
        Some(Distinct::On(exprs)) => exprs.as_slice(),
        Some(Distinct::All | Distinct::Distinct) | None => &[],
    }
    .iter()
}
