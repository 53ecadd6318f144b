//! `_file` and `_row`: which file a row came from, and where in it. A table whose query
//! mentions them is read through a subquery that adds them by DataFusion's functions, so that
//! they are columns like others in every clause; `*` does not show them. A real column of the
//! name wins.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
    Visitor, VisitorMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use tidegate_catalog::FilesTable;

use super::error::{Code, Error, Result};
use super::rewrite;
use super::source::Source;
use super::walk::{Flow, Stop, change, look};

/// The names and the functions that fill them.
const COLUMNS: [(&str, &str); 2] = [("_file", "input_file_name"), ("_row", "file_row_index")];

type Tables = HashMap<String, Arc<dyn TableProvider>>;

/// Gives the tables of a query the virtual columns that it mentions.
pub(crate) fn rewrite(query: &mut Query, tables: &Tables, source: &Source) -> Result<()> {
    match change(query, &mut Rewriter { tables, source }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter<'a> {
    tables: &'a Tables,
    source: &'a Source,
}

/// `_file` or `t._file`, as mentioned.
struct Mention {
    qualifier: Option<String>,
    column: &'static str,
    span: Span,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Stop;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let SetExpr::Select(select) = query.body.as_mut() else {
            return ControlFlow::Continue(());
        };
        let mut mentions = Mentions::default();
        let _ = look(&query.order_by, &mut mentions);
        match self.select(select, mentions.found) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        match self.select(select, Vec::new()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// Collects mentions outside of inner queries, which have tables of their own.
#[derive(Default)]
struct Mentions {
    found: Vec<Mention>,
    inner: usize,
}

impl Visitor for Mentions {
    type Break = Stop;

    fn pre_visit_query(&mut self, _: &Query) -> Flow {
        self.inner += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        self.inner -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        if self.inner == 0
            && let Some(mention) = mention(expr)
        {
            self.found.push(mention);
        }
        ControlFlow::Continue(())
    }
}

fn mention(expr: &Expr) -> Option<Mention> {
    let idents = match expr {
        Expr::Identifier(ident) => std::slice::from_ref(ident),
        Expr::CompoundIdentifier(idents) => idents.as_slice(),
        _ => return None,
    };
    let (last, qualifiers) = idents.split_last()?;
    let (column, _) = COLUMNS.iter().find(|(column, _)| *column == last.value)?;
    Some(Mention {
        qualifier: qualifiers.last().map(|ident| ident.value.clone()),
        column,
        span: last.span,
    })
}

impl Rewriter<'_> {
    fn select(&self, select: &mut Select, mut mentions: Vec<Mention>) -> Result<()> {
        let mut found = Mentions::default();
        let _ = look(select, &mut found);
        mentions.extend(found.found);
        if mentions.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = select
            .from
            .iter()
            .flat_map(|table| self.relations(table))
            .collect();
        let mut wanted: HashMap<String, BTreeSet<&'static str>> = HashMap::new();
        for mention in &mentions {
            if let Some(name) = self.owner(mention, &names, select)? {
                wanted.entry(name).or_default().insert(mention.column);
            }
        }
        for table in &mut select.from {
            self.wrap_all(table, &wanted);
        }
        for item in &mut select.projection {
            hide(item, &wanted);
        }
        Ok(())
    }

    /// The relation a mention means; none if a real column is meant, or nothing known.
    fn owner(
        &self,
        mention: &Mention,
        names: &[String],
        select: &Select,
    ) -> Result<Option<String>> {
        let real = select
            .from
            .iter()
            .any(|table| self.has_column(table, mention));
        if real {
            return Ok(None);
        }
        if let Some(qualifier) = &mention.qualifier {
            return Ok(names.contains(qualifier).then(|| qualifier.clone()));
        }
        match names {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            several => Err(Error::new(
                Code::AmbiguousColumn,
                format!("`{}` fits more than one table here", mention.column),
            )
            .at(self.source.range(mention.span))
            .hint(format!("write `{}.{}`", several[0], mention.column))),
        }
    }

    /// The names of the tables here that may be files.
    fn relations(&self, table: &TableWithJoins) -> Vec<String> {
        factors(table)
            .filter(|factor| {
                self.provider(factor)
                    .is_some_and(|t| t.get_logical_plan().is_none())
            })
            .filter_map(name_of)
            .collect()
    }

    fn has_column(&self, table: &TableWithJoins, mention: &Mention) -> bool {
        factors(table).any(|factor| {
            let meant = mention.qualifier.is_none() || name_of(factor) == mention.qualifier;
            meant
                && self
                    .provider(factor)
                    .is_some_and(|t| t.schema().field_with_name(mention.column).is_ok())
        })
    }

    fn provider(&self, factor: &TableFactor) -> Option<&Arc<dyn TableProvider>> {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => self.tables.get(&key(name)),
            _ => None,
        }
    }

    fn wrap_all(
        &self,
        table: &mut TableWithJoins,
        wanted: &HashMap<String, BTreeSet<&'static str>>,
    ) {
        let TableWithJoins { relation, joins } = table;
        let others = joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(relation).chain(others) {
            if let TableFactor::NestedJoin {
                table_with_joins, ..
            } = factor
            {
                self.wrap_all(table_with_joins, wanted);
                continue;
            }
            let name = name_of(factor);
            if let Some(provider) = self.provider(factor)
                && let Some(name) = name
                && let Some(columns) = wanted.get(&name)
            {
                let files = provider.downcast_ref::<FilesTable>();
                wrap(factor, &name, columns, files.map(FilesTable::file_prefix));
            }
        }
    }
}

pub(super) fn key(name: &ObjectName) -> String {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| ident.value.as_str())
        .collect();
    match parts.as_slice() {
        [catalog, schema, table] => {
            datafusion::common::TableReference::full(*catalog, *schema, *table).to_string()
        }
        [schema, table] => datafusion::common::TableReference::partial(*schema, *table).to_string(),
        _ => parts.join("."),
    }
}

/// The tables of a FROM item, joins included.
fn factors(table: &TableWithJoins) -> Box<dyn Iterator<Item = &TableFactor> + '_> {
    let all = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
    Box::new(all.flat_map(|factor| match factor {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => factors(table_with_joins),
        other => Box::new(std::iter::once(other)),
    }))
}

pub(super) fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table {
            alias: Some(alias), ..
        } => Some(alias.name.value.clone()),
        TableFactor::Table { name, .. } => name
            .0
            .last()
            .and_then(|part| part.as_ident())
            .map(|ident| ident.value.clone()),
        _ => None,
    }
}

/// `t` becomes `(SELECT *, concat('/', input_file_name()) AS _file FROM t) AS t`: the name of a file
/// in a plan lacks what `prefix` adds to make it a whole path or URL.
fn wrap(
    factor: &mut TableFactor,
    name: &str,
    columns: &BTreeSet<&'static str>,
    prefix: Option<&str>,
) {
    let TableFactor::Table { alias, .. } = factor else {
        return;
    };
    let alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', name),
        columns: vec![],
        at: None,
    });
    let placeholder = TableFactor::NestedJoin {
        table_with_joins: Box::new(TableWithJoins {
            relation: TableFactor::TableFunction {
                expr: Expr::Identifier(Ident::new("")),
                alias: None,
            },
            joins: vec![],
        }),
        alias: None,
    };
    let mut subquery = rewrite::select_all(std::mem::replace(factor, placeholder));
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        for (column, function) in COLUMNS
            .iter()
            .filter(|(column, _)| columns.contains(column))
        {
            let expr = match prefix {
                Some(prefix) if *column == "_file" => {
                    call("concat", vec![text(prefix), call(function, vec![])])
                }
                _ => call(function, vec![]),
            };
            select.projection.push(SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('"', *column),
            });
        }
    }
    *factor = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery),
        alias: Some(alias),
        sample: None,
    };
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).with_empty_span())
}

pub(super) fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                .collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// `*` does not show virtual columns.
fn hide(item: &mut SelectItem, wanted: &HashMap<String, BTreeSet<&'static str>>) {
    let (options, columns): (&mut WildcardAdditionalOptions, BTreeSet<&str>) = match item {
        SelectItem::Wildcard(options) => (options, wanted.values().flatten().copied().collect()),
        SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(name),
            options,
        ) => match wanted.get(&key(name)) {
            Some(columns) => (options, columns.iter().copied().collect()),
            None => return,
        },
        _ => return,
    };
    if let Some(except) = &mut options.opt_except {
        except
            .additional_elements
            .extend(columns.into_iter().map(Ident::new));
        return;
    }
    let mut names = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => vec![],
    };
    names.extend(
        columns
            .into_iter()
            .map(|name| ObjectName::from(vec![Ident::new(name)])),
    );
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
}
