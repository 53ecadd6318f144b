//! The one column that `USING (k)` and `NATURAL` make of two. DataFusion takes the left one's for it, which is NULL
//! where only the right side of a RIGHT or FULL join has a row, and calls it ambiguous in WHERE. So it is written out:
//! `l.k`, `r.k` or `coalesce(l.k, r.k)`.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, Join, JoinConstraint,
    JoinOperator, ObjectName, ObjectNamePart, OrderBy, OrderByKind, Query, Select, SelectItem,
    SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::error::{Error, Result};
use super::names::constraint;
use super::source::Source;
use super::virtual_columns::{call, key, name_of};
use super::walk::{Flow, Stop, change};

type Tables = HashMap<String, Arc<dyn TableProvider>>;

/// Writes the merged columns of every join out.
pub(crate) fn write_out(query: &mut Query, tables: &Tables, source: &Source) -> Result<()> {
    let mut joins = Joins {
        tables,
        source,
        with_queries: Vec::new(),
    };
    match change(query, &mut joins) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Joins<'a> {
    tables: &'a Tables,
    source: &'a Source,
    /// The WITH queries in sight, the innermost last, with their columns as [`Relation`] has them.
    with_queries: Vec<(String, Option<Vec<String>>)>,
}

impl VisitorMut for Joins<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = aliased(&cte.alias).or_else(|| self.selected(&cte.query.body));
            let name = cte.alias.name.value.clone();
            self.with_queries.push((name, columns));
        }
        let order_by = query.order_by.as_mut();
        match self.body(&mut query.body, order_by) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        let own = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        self.with_queries.truncate(self.with_queries.len() - own);
        ControlFlow::Continue(())
    }
}

/// One table in FROM.
struct Relation {
    name: String,
    /// Its columns in order, if they are known before the query is planned.
    columns: Option<Vec<String>>,
}

impl Relation {
    fn may_have(&self, column: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.iter().any(|name| name == column))
    }

    fn column(&self, column: &Ident) -> Merged {
        Merged {
            values: vec![qualified(&self.name, column)],
            differs: false,
        }
    }
}

/// Where the value of a merged column comes from.
#[derive(Clone)]
struct Merged {
    /// The first of these that is not NULL.
    values: Vec<Expr>,
    /// DataFusion would take another one.
    differs: bool,
}

impl Merged {
    fn value(&self) -> Expr {
        match self.values.as_slice() {
            [one] => one.clone(),
            several => call("coalesce", several.to_vec()),
        }
    }
}

/// The columns that an alias names.
fn aliased(alias: &TableAlias) -> Option<Vec<String>> {
    let columns = alias.columns.iter().map(|column| column.name.value.clone());
    Some(columns.collect()).filter(|columns: &Vec<String>| !columns.is_empty())
}

/// What `*` shows, in order: columns and their values.
type Star = Vec<(String, Expr)>;

/// The merged columns of a FROM clause, in the order of the joins.
#[derive(Default)]
struct Scope {
    relations: Vec<Relation>,
    merged: Vec<(Ident, Merged)>,
    /// None if some columns are not known.
    star: Option<Star>,
    /// A join in parentheses that has an alias is among them: what it has is not looked for.
    opaque: bool,
}

/// A column that USING names, on both sides.
struct Pair {
    column: Ident,
    left: Merged,
    right: Merged,
}

impl Pair {
    fn equal(&self) -> Expr {
        binary(self.left.value(), BinaryOperator::Eq, self.right.value())
    }

    fn merged(self, side: Side) -> (Ident, Merged) {
        let merged = match side {
            Side::Left => self.left,
            Side::Right => Merged {
                differs: true,
                ..self.right
            },
            Side::Both => Merged {
                values: [self.left.values, self.right.values].concat(),
                differs: true,
            },
        };
        (self.column, merged)
    }
}

fn and(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::And, right)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

impl Scope {
    fn merged(&self, column: &str) -> Option<&Merged> {
        let mut found = self.merged.iter().filter(|(name, _)| name.value == column);
        found.next_back().map(|(_, merged)| merged)
    }

    /// The columns of USING whose tables are known.
    fn pairs(&self, names: &[ObjectName], right: &Scope) -> Vec<Pair> {
        if self.opaque || right.opaque {
            return Vec::new();
        }
        let pair = |name: &ObjectName| {
            let [ObjectNamePart::Identifier(column)] = name.0.as_slice() else {
                return None;
            };
            let in_right = match right.relations.as_slice() {
                [one] => Some(one.column(column)),
                _ => right.find(column),
            };
            Some(Pair {
                column: column.clone(),
                left: self.find(column)?,
                right: in_right?,
            })
        };
        names.iter().filter_map(pair).collect()
    }

    /// Whether a column of a name may be among these.
    fn may_have(&self, column: &str) -> bool {
        self.merged(column).is_some() || self.relations.iter().any(|r| r.may_have(column))
    }

    /// The merged columns of these and of another side, but those whose name the other one has too.
    fn visible_beside(&self, other: &Scope) -> Vec<(Ident, Merged)> {
        let own = self.merged.iter();
        own.filter(|(column, _)| !other.may_have(&column.value))
            .cloned()
            .collect()
    }

    /// Adds what was joined last, which shows all but what is merged.
    fn add(&mut self, right: Scope, merged: Vec<(Ident, Merged)>) {
        let is_merged = |name: &String| merged.iter().any(|(column, _)| column.value == *name);
        let more = right.star.as_ref().map(|star| {
            let own = star.iter().filter(|(name, _)| !is_merged(name));
            own.cloned().collect::<Star>()
        });
        self.star = self
            .star
            .take()
            .zip(more)
            .map(|(star, more)| [star, more].concat());
        let more = right.visible_beside(self);
        self.merged.extend(more);
        let columns: Vec<Ident> = merged.iter().map(|(column, _)| column.clone()).collect();
        self.merged.extend(merged);
        let mut star = self.star.take();
        for (name, value) in star.iter_mut().flatten() {
            if columns.iter().any(|column| column.value == *name)
                && let Some(whole) = self.merged(name)
            {
                *value = whole.value();
            }
        }
        self.star = star;
        self.opaque |= right.opaque;
        self.relations.extend(right.relations);
    }

    /// The column of the tables so far, if it is known which one has it.
    fn find(&self, column: &Ident) -> Option<Merged> {
        if let Some(merged) = self.merged(&column.value) {
            return Some(merged.clone());
        }
        let mut owners = self.relations.iter().filter(|r| r.may_have(&column.value));
        match (owners.next(), owners.next()) {
            (Some(owner), None) => Some(owner.column(column)),
            _ => None,
        }
    }
}

/// The columns of a table.
fn star_of(relation: &Relation) -> Option<Star> {
    let columns = relation.columns.as_ref()?.iter();
    let value = |column: &String| qualified(&relation.name, &Ident::new(column));
    Some(
        columns
            .map(|column| (column.clone(), value(column)))
            .collect(),
    )
}

fn qualified(relation: &str, column: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![
        Ident::with_quote('"', relation),
        Ident {
            quote_style: Some('"'),
            ..column.clone()
        },
    ])
}

impl Joins<'_> {
    fn body(&self, body: &mut SetExpr, order_by: Option<&mut OrderBy>) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, None)?;
                self.body(right, None)
            }
            // An inner query is visited by itself.
            _ => Ok(()),
        }
    }

    fn select(&self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
        let mut merged: HashMap<String, Merged> = HashMap::new();
        let mut star = Some(Star::new());
        for table in &mut select.from {
            let scope = self.joins(table)?;
            // Of a column merged twice the last join has the whole of it.
            let found = scope.merged.into_iter();
            merged.extend(found.map(|(name, merged)| (name.value, merged)));
            star = star
                .zip(scope.star)
                .map(|(star, more)| [star, more].concat());
        }
        if merged.is_empty() {
            return Ok(());
        }
        self.show(&mut select.projection, &merged, star)?;
        for item in &mut select.projection {
            projected(item, &merged);
        }
        replace(&mut select.selection, &merged);
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            replace(exprs, &merged);
        }
        replace(&mut select.having, &merged);
        replace(&mut select.qualify, &merged);
        replace(&mut select.named_window, &merged);
        replace(&mut select.distinct, &merged);
        if let Some(OrderBy {
            kind: OrderByKind::Expressions(keys),
            ..
        }) = order_by
        {
            for key in keys {
                // A bare name is the column that SELECT gives, if it gives one.
                let given = matches!(&key.expr, Expr::Identifier(ident)
                    if select.projection.iter().any(|item| gives(item, &ident.value)));
                if !given {
                    replace(&mut key.expr, &merged);
                }
            }
        }
        Ok(())
    }

    /// Lists the columns of `*` where DataFusion would show others or not find them.
    fn show(
        &self,
        projection: &mut Vec<SelectItem>,
        merged: &HashMap<String, Merged>,
        star: Option<Star>,
    ) -> Result<()> {
        let plain = |options: &WildcardAdditionalOptions| {
            options.opt_exclude.is_none()
                && options.opt_except.is_none()
                && options.opt_replace.is_none()
        };
        let differs = merged.values().any(|merged| merged.differs);
        let mut shown = Vec::new();
        for item in std::mem::take(projection) {
            let SelectItem::Wildcard(options) = &item else {
                shown.push(item);
                continue;
            };
            match &star {
                _ if plain(options) && !differs => shown.push(item),
                Some(star) => shown.extend(listed(star, options)),
                None if differs => {
                    return Err(Error::unsupported(
                        "`*` over a RIGHT or FULL join with USING or NATURAL is not supported here: the columns of a table in it are not known yet",
                    )
                    .at(self.source.range(item.span()))
                    .hint("list the columns"));
                }
                None => shown.push(item),
            }
        }
        *projection = shown;
        Ok(())
    }

    /// Looks at the joins of a FROM item from left to right.
    fn joins(&self, table: &mut TableWithJoins) -> Result<Scope> {
        let mut scope = self.factor(&mut table.relation)?;
        for join in &mut table.joins {
            self.join(&mut scope, join)?;
        }
        Ok(scope)
    }

    /// What a table or a join in parentheses has.
    fn factor(&self, factor: &mut TableFactor) -> Result<Scope> {
        let span = factor.span();
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } = factor
        {
            let inside = self.joins(table_with_joins)?;
            if alias.is_none() {
                return Ok(inside);
            }
            if inside.merged.iter().any(|(_, merged)| merged.differs) {
                return Err(Error::unsupported("an alias of a RIGHT or FULL join with USING or NATURAL in parentheses is not supported")
                    .at(self.source.range(span))
                    .hint("write (SELECT * FROM …) in place of the join"));
            }
            return Ok(Scope {
                opaque: true,
                ..Scope::default()
            });
        }
        let relation = self.relation(factor);
        Ok(Scope {
            star: relation.as_ref().and_then(star_of),
            relations: relation.into_iter().collect(),
            ..Scope::default()
        })
    }

    fn join(&self, scope: &mut Scope, join: &mut Join) -> Result<()> {
        let right = self.factor(&mut join.relation)?;
        let side = Side::of(&join.join_operator);
        let unknown = Error::unsupported("this join with USING or NATURAL beside RIGHT or FULL is not supported: where the merged column comes from is not known")
            .at(self.source.range(join.relation.span()))
            .hint("write ON l.k = r.k and, for the merged column, coalesce(l.k, r.k)");
        let semi = matches!(
            join.join_operator,
            JoinOperator::LeftSemi(_) | JoinOperator::LeftAnti(_)
        );
        let Some(constraint) = constraint(&mut join.join_operator) else {
            scope.add(right, Vec::new());
            return Ok(());
        };
        if let JoinConstraint::On(on) = constraint {
            let merged = scope.merged.iter().cloned();
            let visible = merged.chain(right.visible_beside(scope));
            replace(
                on,
                &visible.map(|(name, merged)| (name.value, merged)).collect(),
            );
        }
        if matches!(constraint, JoinConstraint::Natural) {
            let common = match scope.opaque || right.opaque {
                false => common_columns(&scope.relations, &right.relations),
                true => None,
            };
            match common.filter(|names| !names.is_empty()) {
                Some(names) => *constraint = JoinConstraint::Using(names),
                None if side.is_outer() => return Err(unknown),
                None => {}
            }
        }
        if semi || matches!(constraint, JoinConstraint::Natural) {
            scope.star = None;
        }
        let JoinConstraint::Using(names) = &*constraint else {
            scope.add(right, Vec::new());
            return Ok(());
        };
        let pairs = scope.pairs(names, &right);
        let all = pairs.len() == names.len();
        // DataFusion takes a column of three tables for ambiguous, if there is a fourth one.
        let listed = scope.star.is_some() && right.star.is_some();
        let again = |column: &str| {
            right.merged(column).is_some() || listed && scope.merged(column).is_some()
        };
        let rewritten = pairs
            .iter()
            .any(|pair| pair.left.differs || pair.right.differs || again(&pair.column.value));
        if !all && (rewritten || side.is_outer()) {
            return Err(unknown);
        }
        if rewritten && let Some(on) = pairs.iter().map(Pair::equal).reduce(and) {
            // DataFusion would join by the left one's column only.
            *constraint = JoinConstraint::On(on);
        }
        let merged = pairs.into_iter().map(|pair| {
            let (column, mut merged) = pair.merged(side);
            merged.differs |= rewritten;
            (column, merged)
        });
        scope.add(right, merged.collect());
        Ok(())
    }

    fn relation(&self, factor: &TableFactor) -> Option<Relation> {
        let alias = match factor {
            TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_ref(),
            _ => return None,
        };
        let columns = alias.and_then(aliased).or_else(|| match factor {
            TableFactor::Table {
                name, args: None, ..
            } => self.columns_of(&key(name)),
            TableFactor::Derived { subquery, .. } => self.selected(&subquery.body),
            _ => None,
        });
        let name = match alias {
            Some(alias) => alias.name.value.clone(),
            None => name_of(factor)?,
        };
        Some(Relation { name, columns })
    }

    fn columns_of(&self, table: &str) -> Option<Vec<String>> {
        let mut with_queries = self.with_queries.iter().rev();
        if let Some((_, columns)) = with_queries.find(|(name, _)| name == table) {
            return columns.clone();
        }
        let schema = self.tables.get(table)?.schema();
        Some(
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        )
    }

    /// The names of the columns of a query, if its text and the tables say them all.
    fn selected(&self, body: &SetExpr) -> Option<Vec<String>> {
        let select = match body {
            SetExpr::Select(select) => select,
            SetExpr::Query(query) => return self.selected(&query.body),
            SetExpr::SetOperation { left, .. } => return self.selected(left),
            _ => return None,
        };
        let mut names = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => names.push(alias.value.clone()),
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => names.push(ident.value.clone()),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => {
                    names.push(idents.last()?.value.clone());
                }
                SelectItem::Wildcard(options) => {
                    let mut star = Star::new();
                    for table in &select.from {
                        star.extend(self.joins(&mut table.clone()).ok()?.star?);
                    }
                    let shown = listed(&star, options);
                    names.extend(shown.into_iter().filter_map(|item| match item {
                        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value),
                        _ => None,
                    }));
                }
                _ => return None,
            }
        }
        Some(names)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

impl Side {
    /// Which side of a join is sure to have the row.
    fn of(operator: &JoinOperator) -> Self {
        match operator {
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Self::Right,
            JoinOperator::FullOuter(_) => Self::Both,
            _ => Self::Left,
        }
    }

    fn is_outer(self) -> bool {
        !matches!(self, Self::Left)
    }
}

fn common_columns(left: &[Relation], right: &[Relation]) -> Option<Vec<ObjectName>> {
    let mut ours = BTreeSet::new();
    for relation in left {
        ours.extend(relation.columns.as_ref()?.iter());
    }
    let mut common: Vec<&String> = Vec::new();
    for relation in right {
        for name in relation.columns.as_ref()? {
            if ours.contains(name) && !common.contains(&name) {
                common.push(name);
            }
        }
    }
    let named = |name: &String| ObjectName::from(vec![Ident::with_quote('"', name)]);
    Some(common.into_iter().map(named).collect())
}

/// Replaces unqualified names outside of inner queries, which have tables of their own.
fn replace(part: &mut impl VisitMut, merged: &HashMap<String, Merged>) {
    struct Replacer<'a> {
        merged: &'a HashMap<String, Merged>,
        inner: usize,
    }

    impl VisitorMut for Replacer<'_> {
        type Break = Stop;

        fn pre_visit_query(&mut self, _: &mut Query) -> Flow {
            self.inner += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> Flow {
            self.inner -= 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
            if self.inner == 0
                && let Expr::Identifier(ident) = expr
                && let Some(merged) = self.merged.get(&ident.value)
            {
                *expr = merged.value();
            }
            ControlFlow::Continue(())
        }
    }

    let _ = change(part, &mut Replacer { merged, inner: 0 });
}

/// A merged column keeps its name, also where `*` shows it.
fn projected(item: &mut SelectItem, merged: &HashMap<String, Merged>) {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
            if let Some(found) = merged.get(&ident.value) {
                *item = SelectItem::ExprWithAlias {
                    expr: found.value(),
                    alias: Ident::with_quote('"', ident.value.clone()),
                };
            }
        }
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            replace(expr, merged);
        }
        _ => {}
    }
}

/// The columns of `*` with their values, less those it leaves out.
fn listed(star: &Star, options: &WildcardAdditionalOptions) -> Vec<SelectItem> {
    let last = |name: &ObjectName| {
        let ident = name.0.last().and_then(|part| part.as_ident());
        ident.map(|ident| ident.value.clone())
    };
    let mut left_out: BTreeSet<String> = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(one)) => last(one).into_iter().collect(),
        Some(ExcludeSelectItem::Multiple(all)) => all.iter().filter_map(last).collect(),
        None => BTreeSet::new(),
    };
    if let Some(except) = &options.opt_except {
        let names = std::iter::once(&except.first_element).chain(&except.additional_elements);
        left_out.extend(names.map(|ident| ident.value.clone()));
    }
    let replaced = |name: &str| {
        let mut items = options
            .opt_replace
            .iter()
            .flat_map(|replace| &replace.items);
        items.find(|item| item.column_name.value == name)
    };
    star.iter()
        .filter(|(name, _)| !left_out.contains(name))
        .map(|(name, value)| SelectItem::ExprWithAlias {
            expr: replaced(name).map_or(value, |item| &item.expr).clone(),
            alias: Ident::with_quote('"', name),
        })
        .collect()
}

fn gives(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value == name,
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value == name,
        SelectItem::Wildcard(_) => true,
        _ => false,
    }
}
