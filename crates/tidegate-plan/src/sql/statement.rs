//! The statements there are. Everything a user may write becomes one of these or an error.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast;

use super::source::Source;

/// One statement of a script.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Its bytes in the script.
    pub span: Range<usize>,
    /// Its text.
    pub text: String,
    pub(crate) source: Arc<Source>,
    /// How deep its expressions go: the planner recurses that far.
    pub(crate) nesting: usize,
}

/// A query, ready to plan: friendly SQL rewritten, ignored clauses refused, files and reader
/// calls replaced by the generated names in `tables`.
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) ast: Box<ast::Query>,
    pub(crate) tables: Vec<TableRef>,
    /// The names of parameters, without the `$`, in order of appearance.
    pub(crate) parameters: Vec<String>,
}

impl Query {
    /// The tables, files and reader calls it reads.
    pub fn tables(&self) -> &[TableRef] {
        &self.tables
    }

    /// The parameters it needs, without the `$`, each once.
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }
}

/// What a statement wants.
#[derive(Debug, Clone)]
pub enum Statement {
    /// Rows: plan it and run it.
    Query(Query),
    /// A plan to show.
    Explain(Explain),
    /// Rows into files: plan the query, write its rows.
    Copy(Copy),
    /// A new table from a query.
    CreateTableAs(CreateTableAs),
    /// Rows into a table.
    Insert(Insert),
    /// A name for files.
    CreateExternalTable(CreateExternalTable),
    /// A name for a query.
    CreateView(CreateView),
    /// A name to forget.
    Drop(Drop),
    /// A setting to change.
    Set(Set),
    /// A setting to put back.
    Reset(Option<Name>),
    /// Something to list.
    Show(Show),
    /// The columns of a table or query: plan it, the rows are in the plan.
    Describe(Query),
    /// Statistics of each column: plan it and run it.
    Summarize(Query),
}

impl Statement {
    /// The query inside, if there is one to plan.
    pub fn query(&self) -> Option<&Query> {
        match self {
            Self::Query(query) | Self::Describe(query) | Self::Summarize(query) => Some(query),
            Self::Explain(explain) => explain.statement.query(),
            Self::Copy(copy) => Some(&copy.query),
            Self::CreateTableAs(create) => Some(&create.query),
            Self::Insert(insert) => Some(&insert.query),
            Self::CreateView(view) => Some(&view.query),
            Self::CreateExternalTable(_)
            | Self::Drop(_)
            | Self::Set(_)
            | Self::Reset(_)
            | Self::Show(_) => None,
        }
    }

    /// A verb for progress and reports: `SELECT`, `COPY`, …
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Query(_) => "SELECT",
            Self::Explain(_) => "EXPLAIN",
            Self::Copy(_) => "COPY",
            Self::CreateTableAs(_) => "CREATE TABLE",
            Self::Insert(_) => "INSERT",
            Self::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
            Self::CreateView(_) => "CREATE VIEW",
            Self::Drop(_) => "DROP",
            Self::Set(_) => "SET",
            Self::Reset(_) => "RESET",
            Self::Show(_) => "SHOW",
            Self::Describe(_) => "DESCRIBE",
            Self::Summarize(_) => "SUMMARIZE",
        }
    }
}

/// A name as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The parts, catalog first, quotes removed, case kept.
    pub parts: Vec<String>,
    /// Its bytes in the script.
    pub span: Option<Range<usize>>,
}

impl Name {
    /// The name as DataFusion refers to tables.
    pub fn table_reference(&self) -> TableReference {
        match self.parts.as_slice() {
            [catalog, schema, table] => {
                TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())
            }
            [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
            _ => TableReference::bare(self.parts.join(".")),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

/// Something a query reads. Resolve it, and hand its table to `plan` under `key`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRef {
    /// The name under which `plan` looks for the table.
    pub key: String,
    /// What is read.
    pub kind: TableRefKind,
    /// Where it stands in the script.
    pub span: Option<Range<usize>>,
}

/// The ways to say what is read.
#[derive(Debug, Clone, PartialEq)]
pub enum TableRefKind {
    /// A table or view: look it up in the catalog.
    Name(TableReference),
    /// A file, directory, glob or URL in quotes: let the catalog find the format.
    Path(String),
    /// `read_csv('…', …)`: the format is said and the options are named.
    Reader {
        /// In lower case.
        function: String,
        /// In order; the first unnamed ones are paths.
        arguments: Vec<Argument>,
    },
}

/// An argument of a reader call or an option of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// In lower case; none for a positional argument.
    pub name: Option<String>,
    /// What it says.
    pub value: Value,
    /// Where it stands in the script.
    pub span: Option<Range<usize>>,
}

/// A literal in an option.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// `true`, `false`, or an option without a value.
    Boolean(bool),
    /// A number, as written, without underscores.
    Number(String),
    /// A string, or a bare word.
    Text(String),
    /// `['a', 'b']` or `(a, b)`.
    List(Vec<Value>),
    /// `{'a': 'INTEGER'}`.
    Map(Vec<(String, Value)>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Number(text) | Self::Text(text) => f.write_str(text),
            Self::List(values) => {
                let inner: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", inner.join(", "))
            }
            Self::Map(entries) => {
                let inner: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                write!(f, "{{{}}}", inner.join(", "))
            }
        }
    }
}

/// `EXPLAIN …`.
#[derive(Debug, Clone)]
pub struct Explain {
    /// Run it and show what happened.
    pub analyze: bool,
    /// Show more.
    pub verbose: bool,
    /// Show where it would be sealed as a durable job.
    pub durable: bool,
    /// `FORMAT x`, in lower case.
    pub format: Option<String>,
    /// What to explain.
    pub statement: Box<Statement>,
}

/// `COPY … TO …`.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The rows; a table is a query for all of it.
    pub query: Query,
    /// The file, directory or URL.
    pub target: String,
    /// Where the target stands in the script.
    pub target_span: Option<Range<usize>>,
    /// `FORMAT x` or `STORED AS x`, in lower case; else the suffix says.
    pub format: Option<String>,
    /// `MODE x`, in lower case.
    pub mode: Option<String>,
    /// The columns of the sub-directories.
    pub partition_by: Vec<String>,
    /// All other options.
    pub options: Vec<Argument>,
}

/// `CREATE TABLE … AS …`.
#[derive(Debug, Clone)]
pub struct CreateTableAs {
    /// The table.
    pub name: Name,
    /// Replace a table of this name.
    pub or_replace: bool,
    /// Do nothing if there is one.
    pub if_not_exists: bool,
    /// New names for the columns; none keeps those of the query.
    pub columns: Vec<String>,
    /// The directory; else the session's own.
    pub location: Option<String>,
    /// `STORED AS x`, in lower case.
    pub format: Option<String>,
    /// What to do when the directory holds data, in lower case.
    pub mode: Option<String>,
    /// The columns of the sub-directories.
    pub partition_by: Vec<String>,
    /// All other options.
    pub options: Vec<Argument>,
    /// The rows.
    pub query: Query,
}

/// `INSERT INTO …`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table.
    pub table: TableRef,
    /// The columns named, in order; none means all.
    pub columns: Vec<Name>,
    /// The rows.
    pub query: Query,
}

/// `CREATE EXTERNAL TABLE …`.
#[derive(Debug, Clone)]
pub struct CreateExternalTable {
    /// The table.
    pub name: Name,
    /// Replace a table of this name.
    pub or_replace: bool,
    /// Do nothing if there is one.
    pub if_not_exists: bool,
    /// The columns, if they are said; else the files say.
    pub columns: Vec<Column>,
    /// `STORED AS x`, in lower case; else the files say.
    pub format: Option<String>,
    /// Where the files are.
    pub location: String,
    /// The columns that are directories, with their types if said.
    pub partition_by: Vec<(String, Option<DataType>)>,
    /// All other options.
    pub options: Vec<Argument>,
}

/// A column of a table definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// `CREATE VIEW …`. Keep the text: a view is planned anew where it is used, and handed to
/// `plan` as DataFusion's `ViewTable`.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// The view.
    pub name: Name,
    /// Replace a view of this name.
    pub or_replace: bool,
    /// Do nothing if there is one.
    pub if_not_exists: bool,
    /// New names for the columns; none keeps those of the query.
    pub columns: Vec<String>,
    /// The query.
    pub query: Query,
    /// The text of the query: parse it again to use the view.
    pub text: String,
}

/// `DROP TABLE|VIEW …`.
#[derive(Debug, Clone)]
pub struct Drop {
    /// True for a view.
    pub view: bool,
    /// No error if there is none.
    pub if_exists: bool,
    /// What to drop.
    pub names: Vec<Name>,
}

/// `SET x = y`.
#[derive(Debug, Clone)]
pub struct Set {
    /// The setting, in lower case, without the `tidegate.`.
    pub name: String,
    /// Where the name stands in the script.
    pub span: Option<Range<usize>>,
    /// The value.
    pub value: Value,
}

/// `SHOW …`.
#[derive(Debug, Clone)]
pub enum Show {
    /// All settings.
    All,
    /// One setting, in lower case, without the `tidegate.`.
    Setting(Name),
    /// All tables and views.
    Tables,
    /// All functions.
    Functions,
    /// The columns of a table: plan it as `DESCRIBE`.
    Columns(Query),
}
