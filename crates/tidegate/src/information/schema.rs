//! The tables of `information_schema`, with the columns that the SQL standard gives them, for
//! programs that look around before they query.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SessionState;
use tidegate_catalog::Named;
use tidegate_plan::sql::{READERS, sql_name};

use super::batch;
use crate::error::Result;
use crate::planner::Planner;
use crate::redact::redacted;

/// The catalog that every table is in.
const CATALOG: &str = "tidegate";
/// The schema that every table is in.
const SCHEMA: &str = "public";

/// The tables there are.
pub(super) const TABLES: [&str; 6] = [
    "columns", "routines", "schemata", "settings", "tables", "views",
];

/// Columns of texts that are filled row by row.
struct Rows<const N: usize> {
    names: [&'static str; N],
    values: [Vec<Option<String>>; N],
}

impl<const N: usize> Rows<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            values: std::array::from_fn(|_| Vec::new()),
        }
    }

    fn push(&mut self, row: [Option<&str>; N]) {
        for (column, value) in self.values.iter_mut().zip(row) {
            column.push(value.map(str::to_string));
        }
    }

    fn columns(self) -> Vec<(&'static str, ArrayRef)> {
        let arrays = self.values.into_iter();
        let arrays = arrays.map(|values| Arc::new(StringArray::from(values)) as ArrayRef);
        self.names.into_iter().zip(arrays).collect()
    }
}

/// `information_schema.tables`, and where each table is.
pub(super) fn tables(planner: &Planner) -> Result<RecordBatch> {
    let mut rows = Rows::new([
        "table_catalog",
        "table_schema",
        "table_name",
        "table_type",
        "location",
    ]);
    for name in planner.catalog.table_names() {
        let Ok(found) = planner.catalog.look_up(&name) else {
            continue;
        };
        let (kind, location) = kind(&found.named);
        rows.push([
            Some(CATALOG),
            Some(SCHEMA),
            Some(&name),
            Some(kind),
            Some(&location),
        ]);
    }
    for name in TABLES {
        let schema = Some("information_schema");
        rows.push([Some(CATALOG), schema, Some(name), Some("VIEW"), None]);
    }
    batch(rows.columns())
}

/// The word for a kind of table, and where it is, without credentials.
pub(super) fn kind(named: &Named) -> (&'static str, String) {
    match named {
        Named::Files { path, .. } => ("BASE TABLE", redacted(path).into_owned()),
        Named::View { sql } => ("VIEW", redacted(sql).into_owned()),
        Named::Provider(_) => ("LOCAL TEMPORARY", String::new()),
    }
}

/// `information_schema.schemata`.
pub(super) fn schemata() -> Result<RecordBatch> {
    let mut rows = Rows::new(["catalog_name", "schema_name", "schema_owner"]);
    for schema in [SCHEMA, "information_schema"] {
        rows.push([Some(CATALOG), Some(schema), None]);
    }
    batch(rows.columns())
}

/// `information_schema.views`.
pub(super) fn views(planner: &Planner) -> Result<RecordBatch> {
    let mut rows = Rows::new([
        "table_catalog",
        "table_schema",
        "table_name",
        "view_definition",
    ]);
    for name in planner.catalog.table_names() {
        if let Ok(found) = planner.catalog.look_up(&name)
            && let Named::View { sql } = &found.named
        {
            let text = redacted(sql);
            rows.push([Some(CATALOG), Some(SCHEMA), Some(&name), Some(&text)]);
        }
    }
    batch(rows.columns())
}

/// `information_schema.routines`: every function under each of its names.
pub(super) fn routines(state: &SessionState) -> Result<RecordBatch> {
    let mut found: Vec<(String, &str, Option<bool>, Option<String>)> = Vec::new();
    let described = |text: Option<&datafusion::logical_expr::Documentation>| {
        text.map(|text| text.description.trim().to_string())
    };
    let steady = |volatility| volatility == datafusion::logical_expr::Volatility::Immutable;
    let functions = state.scalar_functions().iter();
    for (name, f) in functions.filter(|(name, _)| !tidegate_plan::is_internal(name)) {
        let steady = steady(f.signature().volatility);
        let text = described(f.documentation());
        found.push((name.clone(), "SCALAR", Some(steady), text));
    }
    for (name, f) in state.aggregate_functions() {
        let steady = steady(f.signature().volatility);
        let text = described(f.documentation());
        found.push((name.clone(), "AGGREGATE", Some(steady), text));
    }
    for (name, f) in state.window_functions() {
        let steady = steady(f.signature().volatility);
        let text = described(f.documentation());
        found.push((name.clone(), "WINDOW", Some(steady), text));
    }
    let readers = READERS.iter().map(|name| name.to_string());
    for name in state.table_functions().keys().cloned().chain(readers) {
        found.push((name, "TABLE", None, None));
    }
    found.sort();
    let mut rows = Rows::new([
        "routine_catalog",
        "routine_schema",
        "routine_name",
        "routine_type",
        "function_type",
        "is_deterministic",
        "description",
    ]);
    for (name, kind, steady, text) in &found {
        let steady = steady.map(|steady| if steady { "YES" } else { "NO" });
        rows.push([
            Some(CATALOG),
            Some(SCHEMA),
            Some(name),
            Some("FUNCTION"),
            Some(kind),
            steady,
            text.as_deref(),
        ]);
    }
    batch(rows.columns())
}

/// `information_schema.columns` of tables that have been opened.
pub(crate) fn columns(tables: &[(String, SchemaRef)]) -> Result<RecordBatch> {
    let mut rows = Rows::new([
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "is_nullable",
        "data_type",
    ]);
    let [mut positions, mut precisions, mut scales] = [const { Vec::new() }; 3];
    for (table, schema) in tables {
        for (at, field) in schema.fields().iter().enumerate() {
            let nullable = if field.is_nullable() { "YES" } else { "NO" };
            rows.push([
                Some(CATALOG),
                Some(SCHEMA),
                Some(table),
                Some(field.name()),
                Some(nullable),
                Some(&sql_name(field.data_type())),
            ]);
            positions.push(i32::try_from(at + 1).ok());
            let (precision, scale) = digits(field.data_type());
            precisions.push(precision);
            scales.push(scale);
        }
    }
    let mut columns = rows.columns();
    let numbers = |values: Vec<Option<i32>>| Arc::new(Int32Array::from(values)) as ArrayRef;
    columns.insert(4, ("ordinal_position", numbers(positions)));
    columns.push(("numeric_precision", numbers(precisions)));
    columns.push(("numeric_scale", numbers(scales)));
    batch(columns)
}

/// The digits of a number, and those after its point.
fn digits(data_type: &DataType) -> (Option<i32>, Option<i32>) {
    let bits = |bits: i32| (Some(bits), Some(0));
    match data_type {
        DataType::Int8 | DataType::UInt8 => bits(8),
        DataType::Int16 | DataType::UInt16 => bits(16),
        DataType::Int32 | DataType::UInt32 => bits(32),
        DataType::Int64 | DataType::UInt64 => bits(64),
        DataType::Float32 => (Some(24), None),
        DataType::Float64 => (Some(53), None),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            (Some(i32::from(*p)), Some(i32::from(*s)))
        }
        _ => (None, None),
    }
}
