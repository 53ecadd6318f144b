//! Names fit exactly or, failing that, without regard to case. Exactly one spelling that
//! differs in case only is taken; two are an error that lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableFactor, TableWithJoins, Value, Visitor, VisitorMut, WildcardAdditionalOptions,
};

use super::walk::{Flow, Stop, change, look};

/// Spellings by lower case.
#[derive(Default)]
struct Spellings(BTreeMap<String, BTreeSet<String>>);

impl Spellings {
    fn add(&mut self, name: &str) {
        self.0
            .entry(name.to_lowercase())
            .or_default()
            .insert(name.to_string());
    }

    /// The spelling to use instead, if the name is not one and there is exactly one other.
    fn other(&self, name: &str) -> Option<&str> {
        let spellings = self.0.get(&name.to_lowercase())?;
        if spellings.contains(name) || spellings.len() != 1 {
            return None;
        }
        spellings.first().map(String::as_str)
    }

    fn fit(&self, ident: &mut Ident) {
        if let Some(other) = self.other(&ident.value) {
            ident.value = other.to_string();
        }
    }
}

/// Respells the names in a query after the columns of its tables and its own definitions.
pub(crate) fn fit<'a>(query: &mut Query, columns: impl Iterator<Item = &'a str>) {
    let mut names = Definitions::default();
    for column in columns {
        names.columns.add(column);
    }
    let _ = look(query, &mut names);
    let _ = change(query, &mut Fitter(names));
}

#[derive(Default)]
struct Definitions {
    columns: Spellings,
    relations: Spellings,
    with_queries: Spellings,
}

impl Visitor for Definitions {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.with_queries.add(&cte.alias.name.value);
            self.relations.add(&cte.alias.name.value);
            for column in &cte.alias.columns {
                self.columns.add(&column.name.value);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.columns.add(&alias.value);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        let alias = match factor {
            TableFactor::Table { name, alias, .. } => {
                if alias.is_none()
                    && let Some(ident) = name.0.last().and_then(|part| part.as_ident())
                {
                    self.relations.add(&ident.value);
                }
                alias
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(alias) = alias {
            self.relations.add(&alias.name.value);
            for column in &alias.columns {
                self.columns.add(&column.name.value);
            }
        }
        ControlFlow::Continue(())
    }
}

struct Fitter(Definitions);

impl VisitorMut for Fitter {
    type Break = Stop;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::Identifier(ident) => self.0.columns.fit(ident),
            Expr::CompoundIdentifier(idents) => {
                if let Some((last, qualifiers)) = idents.split_last_mut() {
                    self.0.columns.fit(last);
                    for qualifier in qualifiers {
                        match self.0.relations.other(&qualifier.value) {
                            Some(other) => qualifier.value = other.to_string(),
                            None if self
                                .0
                                .relations
                                .0
                                .contains_key(&qualifier.value.to_lowercase()) => {}
                            None => self.0.columns.fit(qualifier),
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        if let TableFactor::Table { name, .. } = factor
            && let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice()
        {
            self.0.with_queries.fit(ident);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        for item in &mut select.projection {
            match item {
                SelectItem::Wildcard(options) => self.wildcard(options),
                SelectItem::QualifiedWildcard(kind, options) => {
                    if let SelectItemQualifiedWildcardKind::ObjectName(name) = kind
                        && let Some(ObjectNamePart::Identifier(ident)) = name.0.last_mut()
                    {
                        self.0.relations.fit(ident);
                    }
                    self.wildcard(options);
                }
                _ => {}
            }
        }
        for table in &mut select.from {
            self.using(table);
        }
        ControlFlow::Continue(())
    }
}

impl Fitter {
    fn wildcard(&self, options: &mut WildcardAdditionalOptions) {
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => self.column(name),
            Some(ExcludeSelectItem::Multiple(names)) => {
                names.iter_mut().for_each(|name| self.column(name));
            }
            None => {}
        }
        if let Some(except) = &mut options.opt_except {
            self.0.columns.fit(&mut except.first_element);
            except
                .additional_elements
                .iter_mut()
                .for_each(|ident| self.0.columns.fit(ident));
        }
        if let Some(replace) = &mut options.opt_replace {
            replace
                .items
                .iter_mut()
                .for_each(|item| self.0.columns.fit(&mut item.column_name));
        }
    }

    fn column(&self, name: &mut ObjectName) {
        if let Some(ObjectNamePart::Identifier(ident)) = name.0.last_mut() {
            self.0.columns.fit(ident);
        }
    }

    fn using(&self, table: &mut TableWithJoins) {
        if let TableFactor::NestedJoin {
            table_with_joins, ..
        } = &mut table.relation
        {
            self.using(table_with_joins);
        }
        for join in &mut table.joins {
            if let Some(JoinConstraint::Using(names)) = constraint(&mut join.join_operator) {
                names.iter_mut().for_each(|name| self.column(name));
            }
        }
    }
}

/// What a join joins by, if its kind can say so.
pub(super) fn constraint(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
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
        | JoinOperator::RightAnti(constraint) => Some(constraint),
        _ => None,
    }
}

/// After the planner missed a column: respells it where it stands, if the planner's own list
/// of what is in sight has exactly one such column. True if something changed.
pub(crate) fn respell(query: &mut Query, error: &DataFusionError) -> bool {
    let Some((missing, valid)) = not_found(error) else {
        return false;
    };
    let mut spellings = Spellings::default();
    let here = |column: &&Column| missing.relation.is_none() || column.relation == missing.relation;
    for column in valid.iter().filter(here) {
        spellings.add(&column.name);
    }
    let Some(other) = spellings.other(&missing.name) else {
        return false;
    };
    let mut respeller = Respeller {
        missing,
        other,
        changed: false,
    };
    let _ = change(query, &mut respeller);
    respeller.changed
}

/// The query with a check of every name in `* REPLACE (… AS name)`, which the planner does not look at: it does look at
/// those of EXCLUDE. Only to be planned, and only if there is such a name.
pub(crate) fn with_replaced_checked(query: &Query) -> Option<Query> {
    let mut found = FindReplace(false);
    let _ = look(query, &mut found);
    found.0.then(|| {
        let mut checked = query.clone();
        let _ = change(&mut checked, &mut ReplaceChecks);
        checked
    })
}

/// Whether there is a REPLACE.
struct FindReplace(bool);

impl Visitor for FindReplace {
    type Break = Stop;

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        let mut items = select.projection.iter();
        self.0 |= items.any(|item| excluding(item).is_some());
        ControlFlow::Continue(())
    }
}

struct ReplaceChecks;

impl VisitorMut for ReplaceChecks {
    type Break = Stop;

    fn post_visit_select(&mut self, select: &mut Select) -> Flow {
        let checks: Vec<SelectItem> = select.projection.iter().filter_map(excluding).collect();
        if checks.is_empty() {
            return ControlFlow::Continue(());
        }
        let one = Expr::Value(Value::Number("1".into(), false).with_empty_span());
        let mut inner = select.clone();
        inner.projection = checks;
        inner.projection.push(SelectItem::UnnamedExpr(one));
        inner.selection = None;
        inner.distinct = None;
        inner.group_by = GroupByExpr::Expressions(vec![], vec![]);
        inner.having = None;
        inner.qualify = None;
        let check = Expr::Exists {
            subquery: Box::new(super::rewrite::wrap(SetExpr::Select(Box::new(inner)))),
            negated: false,
        };
        select.selection = Some(match select.selection.take() {
            None => check,
            Some(condition) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(condition))),
                op: BinaryOperator::And,
                right: Box::new(check),
            },
        });
        ControlFlow::Continue(())
    }
}

/// `* EXCLUDE (name)` for `* REPLACE (… AS name)`.
fn excluding(item: &SelectItem) -> Option<SelectItem> {
    if !matches!(
        item,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
    ) {
        return None;
    }
    let mut item = item.clone();
    let (SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)) = &mut item
    else {
        return None;
    };
    let replace = options.opt_replace.take()?;
    let names = replace.items.into_iter();
    let names = names.map(|item| ObjectName::from(vec![item.column_name]));
    options.opt_except = None;
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names.collect()));
    Some(item)
}

/// The column the planner missed and those it had.
pub(crate) fn not_found(error: &DataFusionError) -> Option<(&Column, &[Column])> {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => Some((field, valid_fields)),
            _ => None,
        },
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => {
            not_found(inner)
        }
        DataFusionError::Shared(inner) => not_found(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(not_found),
        _ => None,
    }
}

struct Respeller<'a> {
    missing: &'a Column,
    other: &'a str,
    changed: bool,
}

impl VisitorMut for Respeller<'_> {
    type Break = Stop;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        let ident = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) if self.of_table(idents) => idents.last_mut(),
            _ => None,
        };
        if let Some(ident) = ident
            && ident.value == self.missing.name
            && self.here(ident)
        {
            ident.value = self.other.to_string();
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

impl Respeller<'_> {
    /// Whether `t.a` names the table the planner means, if it names one.
    fn of_table(&self, idents: &[Ident]) -> bool {
        match (&self.missing.relation, idents) {
            (Some(relation), [.., qualifier, _]) => qualifier.value == relation.table(),
            _ => true,
        }
    }

    /// Whether this is the place the planner means; it does not always say.
    fn here(&self, ident: &Ident) -> bool {
        self.missing.spans().first().is_none_or(|span| {
            (span.end.line, span.end.column) == (ident.span.end.line, ident.span.end.column)
        })
    }
}
