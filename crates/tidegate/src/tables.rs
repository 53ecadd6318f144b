//! What the tables of a statement are: names, views, paths and reader calls become providers.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use tidegate_catalog::{Catalog, FilesTable, Named, ReaderOptions, Value};
use tidegate_operators::csv;
use tidegate_plan::sql::{self, Argument, Statement, TableRef, TableRefKind};

use crate::convert::{self, Views};
use crate::error::{Error, ErrorKind, Result};
use crate::information;
use crate::notice::Notice;
use crate::planner::Planner;

/// Views inside views inside views: deeper ones are refused, so that a view of itself is too.
const VIEW_DEPTH_MAX: usize = 32;
/// How the messages about them end; they are told once, and not again by each view around.
const TOO_DEEP: &str = "is read through more than 32 views";
const READS_ITSELF: &str = "reads itself";

/// The tables of a statement by key, and what was noticed while they were opened.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) providers: HashMap<String, Arc<dyn TableProvider>>,
    pub(crate) notices: Vec<Notice>,
}

impl Tables {
    /// Opens everything a statement reads, and `target`, which it only writes.
    pub(crate) async fn of(
        planner: &Planner,
        references: &[TableRef],
        target: Option<&TableRef>,
        depth: usize,
    ) -> Result<Self> {
        let mut tables = Tables::default();
        for reference in references {
            let opened = match target {
                Some(target) if target == reference => tables.target(planner, reference).await,
                _ => tables.open(planner, reference, depth).await,
            };
            let provider = opened.map_err(|error| at(error, &reference.span))?;
            tables.providers.insert(reference.key.clone(), provider);
        }
        Ok(tables)
    }

    async fn open(
        &mut self,
        planner: &Planner,
        reference: &TableRef,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        match &reference.kind {
            TableRefKind::Path(path) => self.files(planner, path, &ReaderOptions::default()).await,
            TableRefKind::Reader {
                function,
                arguments,
            } => {
                let (paths, options) = reader(function, arguments)?;
                let [path] = paths.as_slice() else {
                    return self.several(planner, &paths, &options).await;
                };
                self.files(planner, path, &options).await
            }
            TableRefKind::Name(name) => match (name.schema(), name.table()) {
                (Some(schema), table) if schema.eq_ignore_ascii_case("information_schema") => {
                    match table.eq_ignore_ascii_case("columns") {
                        true => self.all_columns(planner, depth).await,
                        false => information::table(planner, table),
                    }
                }
                (Some(schema), _) if !schema.eq_ignore_ascii_case("public") => Err(Error::new(
                    ErrorKind::Sql,
                    "unknown_table",
                    format!("there is no schema `{schema}`"),
                )
                .with_hint(format!(
                    "tables have names of one part; a path is written in single quotes: '{schema}.{}'",
                    name.table()
                ))),
                (_, table) => self.named(planner, table, depth).await,
            },
        }
    }

    /// A table to add files to; what is none is refused later.
    async fn target(
        &mut self,
        planner: &Planner,
        reference: &TableRef,
    ) -> Result<Arc<dyn TableProvider>> {
        if let TableRefKind::Name(name) = &reference.kind
            && let Ok(found) = planner.catalog.look_up(name.table())
            && let Named::Files { path, options } = &found.named
        {
            let table = planner.catalog.resolve_target(path, options).await;
            return Ok(table.map_err(convert::from_catalog)?);
        }
        self.open(planner, reference, 0).await
    }

    async fn named(
        &mut self,
        planner: &Planner,
        name: &str,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        let found = match planner.catalog.look_up(name) {
            Ok(found) => found,
            Err(error) => {
                return information::session_table(planner, name)
                    .ok_or_else(|| convert::from_catalog(error));
            }
        };
        match found.named {
            Named::Files { path, options } => self.files(planner, &path, &options).await,
            Named::Provider(provider) => Ok(provider),
            Named::View { sql } => self.view(planner, &found.name, sql, depth).await,
        }
    }

    /// `information_schema.columns`. A table that cannot be opened has none, and that is said.
    async fn all_columns(
        &mut self,
        planner: &Planner,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        let mut found = Vec::new();
        for name in planner.catalog.table_names() {
            match Box::pin(self.named(planner, &name, depth)).await {
                Ok(table) => found.push((name, table.schema())),
                Err(error) => self.notices.push(Notice::warning(format!(
                    "the columns of `{name}` are not known: {}",
                    error.message
                ))),
            }
        }
        information::provider(information::columns(&found)?)
    }

    async fn view(
        &mut self,
        planner: &Planner,
        name: &str,
        text: String,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        if depth >= VIEW_DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::Sql,
                "limit",
                format!("view `{name}` {TOO_DEEP}"),
            ));
        }
        let inside = |error: Error| {
            let message = match error.message {
                deep if deep == format!("view `{name}` {TOO_DEEP}") => {
                    format!("view `{name}` {READS_ITSELF}")
                }
                deep if deep.ends_with(TOO_DEEP) || deep.ends_with(READS_ITSELF) => deep,
                message => format!("view `{name}`: {message}"),
            };
            Error {
                message,
                span: None,
                ..error
            }
        };
        let (plan, notices) = Box::pin(planner.view_plan(&text, depth + 1))
            .await
            .map_err(inside)?;
        self.notices.extend(notices);
        Ok(Arc::new(ViewTable::new(plan, Some(text))))
    }

    async fn files(
        &mut self,
        planner: &Planner,
        path: &str,
        options: &ReaderOptions,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = planner
            .catalog
            .resolve_path(path, options)
            .await
            .map_err(convert::from_catalog)?;
        self.notices.extend(notices(&table));
        Ok(table)
    }

    /// `read_csv(['a.csv', 'b.csv'])`: one table over all of them, as a union by name.
    async fn several(
        &mut self,
        planner: &Planner,
        paths: &[String],
        options: &ReaderOptions,
    ) -> Result<Arc<dyn TableProvider>> {
        let table = planner
            .catalog
            .resolve_paths(paths, options)
            .await
            .map_err(convert::from_catalog)?;
        self.notices.extend(notices(&table));
        Ok(table)
    }
}

/// A table, a view or a path as FROM holds it. What neither names a table nor looks like a path was meant to be a table.
pub(crate) fn quoted(catalog: &Catalog, table: &str) -> String {
    let path = table.contains(['/', '.', '*', ':', '\\']) || Path::new(table).exists();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    match table.split_once('.') {
        Some((schema, name)) if schema.eq_ignore_ascii_case("information_schema") => {
            format!("information_schema.{}", quoted(name))
        }
        _ if catalog.look_up(table).is_ok() || !path => quoted(table),
        _ => format!("'{}'", table.replace('\'', "''")),
    }
}

/// Whether a statement reads a view.
pub(crate) fn views(catalog: &Catalog, statement: &Statement) -> Views {
    let is_view = |reference: &TableRef| match &reference.kind {
        TableRefKind::Name(name) => catalog
            .look_up(name.table())
            .is_ok_and(|found| matches!(found.named, Named::View { .. })),
        _ => false,
    };
    match references(statement).iter().any(is_view) {
        true => Views::Read,
        false => Views::None,
    }
}

fn notices(table: &FilesTable) -> impl Iterator<Item = Notice> + '_ {
    table.notices().iter().cloned().map(Notice::info)
}

fn at(error: Error, span: &Option<Range<usize>>) -> Error {
    Error {
        span: error.span.or_else(|| span.clone()),
        ..error
    }
}

/// The paths and options of a reader call.
fn reader(function: &str, arguments: &[Argument]) -> Result<(Vec<String>, ReaderOptions)> {
    let mut paths = Vec::new();
    let mut named = Vec::new();
    for argument in arguments {
        match (&argument.name, &argument.value) {
            (Some(name), _) => named.push((name.as_str(), argument)),
            (None, sql::Value::Text(path)) => paths.push(path.clone()),
            (None, sql::Value::List(list)) => paths.extend(list.iter().map(ToString::to_string)),
            (None, _) => {
                return Err(Error::new(
                    ErrorKind::Sql,
                    "type_mismatch",
                    format!("`{function}` takes a path in single quotes, or a list of paths"),
                ));
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::new(
            ErrorKind::Sql,
            "invalid",
            format!("`{function}` needs a path"),
        ));
    }
    let mut options = ReaderOptions::default();
    let format = function
        .strip_prefix("read_")
        .map(|rest| rest.trim_end_matches("_auto"))
        .unwrap_or(function);
    options
        .set("format", Value::Text(format.to_string()))
        .map_err(convert::from_catalog)?;
    for (name, argument) in named {
        options
            .set(name, value(&argument.value))
            .map_err(|error| at(convert::from_catalog(error), &argument.span))?;
    }
    Ok((paths, options))
}

/// The options of CREATE EXTERNAL TABLE.
fn options(format: Option<&str>, arguments: &[Argument]) -> Result<ReaderOptions> {
    let mut options = ReaderOptions::default();
    if let Some(format) = format {
        options
            .set("format", Value::Text(format.to_string()))
            .map_err(convert::from_catalog)?;
    }
    for argument in arguments {
        let name = argument.name.as_deref().unwrap_or_default();
        // DataFusion's spelling: 'format.has_header' and the like.
        let bare = match name.strip_prefix("format.").unwrap_or(name) {
            "has_header" => "header",
            "delimiter" => "delim",
            other => other,
        };
        options
            .set(bare, value(&argument.value))
            .map_err(|error| at(convert::from_catalog(error), &argument.span))?;
    }
    Ok(options)
}

/// How CREATE EXTERNAL TABLE says its files are read.
pub(crate) fn external(table: &sql::CreateExternalTable) -> Result<ReaderOptions> {
    let mut options = options(table.format.as_deref(), &table.options)?;
    options.columns = table
        .columns
        .iter()
        .map(|column| Field::new(&column.name, column.data_type.clone(), true))
        .collect();
    for (name, data_type) in &table.partition_by {
        let declared = table.columns.iter().find(|column| column.name == *name);
        let data_type = data_type
            .clone()
            .or(declared.map(|column| column.data_type.clone()));
        if let Some(data_type) = data_type {
            options.partition_types.push((name.clone(), data_type));
        }
        options.columns.retain(|field| field.name() != name);
    }
    check_readable(table, &options)?;
    Ok(options)
}

/// INSERT must not write into a table what it cannot read.
fn check_readable(table: &sql::CreateExternalTable, options: &ReaderOptions) -> Result<()> {
    let Some(format) = options.format.filter(|format| format.is_separated()) else {
        return Ok(());
    };
    let mut fields = options.columns.iter();
    match fields.find(|field| !csv::can_read(field.data_type())) {
        None => Ok(()),
        Some(field) => {
            let kind = sql::sql_name(field.data_type());
            let message = format!(
                "the column `{}` is declared as {kind}, which cannot be read from {}",
                field.name(),
                format.name().to_uppercase()
            );
            let error = Error::new(ErrorKind::Sql, "unsupported", message);
            Err(error
                .with_hint("declare it as VARCHAR, and cast it in queries")
                .at(&table.name.span))
        }
    }
}

fn value(value_: &sql::Value) -> Value {
    match value_ {
        sql::Value::Null => Value::Null,
        sql::Value::Boolean(yes) => Value::Bool(*yes),
        sql::Value::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => Value::Int(whole),
            (_, Ok(number)) => Value::Float(number),
            _ => Value::Text(text.clone()),
        },
        sql::Value::Text(text) => Value::Text(text.clone()),
        sql::Value::List(list) => Value::List(list.iter().map(value).collect()),
        sql::Value::Map(map) => {
            Value::Map(map.iter().map(|(key, v)| (key.clone(), value(v))).collect())
        }
    }
}

/// The table that an INSERT adds to, unless it reads it as well.
pub(crate) fn target(statement: &Statement) -> Option<&TableRef> {
    let mut inner = statement;
    while let Statement::Explain(explain) = inner {
        inner = &explain.statement;
    }
    match inner {
        Statement::Insert(insert) => {
            let mut read = insert.query.tables().iter();
            let is_read = read.any(|table| table.key == insert.table.key);
            (!is_read).then_some(&insert.table)
        }
        _ => None,
    }
}

/// What a statement reads, without repeats.
pub(crate) fn references(statement: &Statement) -> Vec<TableRef> {
    let mut seen = Vec::new();
    for reference in sql::references(statement) {
        if !seen.contains(&reference) {
            seen.push(reference);
        }
    }
    seen
}
