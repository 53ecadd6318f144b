//! Tables about the session itself: `information_schema`, and the rows that were rejected.

mod schema;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use tidegate_catalog::{did_you_mean, near_names};
use tidegate_operators::rejects::RejectLog;

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::planner::Planner;
use crate::settings::SettingRow;

pub(crate) use schema::columns;

/// A table of `information_schema`, but for `columns`, which needs every table opened.
pub(crate) fn table(planner: &Planner, name: &str) -> Result<Arc<dyn TableProvider>> {
    let batch = match name.to_ascii_lowercase().as_str() {
        "routines" => schema::routines(&planner.state)?,
        "schemata" => schema::schemata()?,
        "settings" => settings(&planner.settings.rows())?,
        "tables" => schema::tables(planner)?,
        "views" => schema::views(planner)?,
        _ => {
            let message = format!("there is no table `information_schema.{name}`");
            let near = did_you_mean(&near_names(name, schema::TABLES));
            let hint = near.unwrap_or_else(|| format!("there are {}", schema::TABLES.join(", ")));
            return Err(Error::new(ErrorKind::Sql, "unknown_table", message).with_hint(hint));
        }
    };
    provider(batch)
}

/// A table that every session has without registering it.
pub(crate) fn session_table(planner: &Planner, name: &str) -> Option<Arc<dyn TableProvider>> {
    match name.eq_ignore_ascii_case("reject_rows") {
        true => provider(rejects(&planner.rejects).ok()?).ok(),
        false => None,
    }
}

/// The rows of `SHOW TABLES`.
pub(crate) fn tables(planner: &Planner) -> Result<RecordBatch> {
    let mut rows: [Vec<String>; 3] = Default::default();
    for name in planner.catalog.table_names() {
        let Ok(found) = planner.catalog.look_up(&name) else {
            continue;
        };
        let (kind, location) = schema::kind(&found.named);
        rows[0].push(name);
        rows[1].push(kind.to_string());
        rows[2].push(location);
    }
    let columns: Vec<(&str, ArrayRef)> = ["table_name", "table_type", "location"]
        .into_iter()
        .zip(rows)
        .map(|(name, values)| (name, Arc::new(StringArray::from(values)) as ArrayRef))
        .collect();
    batch(columns)
}

/// The rows of `SHOW ALL`.
pub(crate) fn settings(rows: &[SettingRow]) -> Result<RecordBatch> {
    let text = |of: fn(&SettingRow) -> String| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| Some(of(row)))
                .collect::<StringArray>(),
        )
    };
    let affects: BooleanArray = rows.iter().map(|row| Some(row.affects_result)).collect();
    batch(vec![
        ("name", text(|row| row.name.to_string())),
        ("value", text(|row| row.value.clone())),
        ("origin", text(|row| row.origin.to_string())),
        ("affects_result", Arc::new(affects)),
        ("help", text(|row| row.help.to_string())),
    ])
}

/// One column of texts.
pub(crate) fn lines<'a>(name: &str, lines: impl Iterator<Item = &'a str>) -> Result<RecordBatch> {
    let values: StringArray = lines.map(Some).collect();
    batch(vec![(name, Arc::new(values))])
}

fn rejects(log: &RejectLog) -> Result<RecordBatch> {
    let rows = log.rows();
    let text = |values: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    batch(vec![
        (
            "file",
            text(rows.iter().map(|row| Some(row.file.to_string())).collect()),
        ),
        (
            "line",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.line))
                    .collect::<UInt64Array>(),
            ),
        ),
        (
            "column",
            text(
                rows.iter()
                    .map(|row| row.column.as_deref().map(String::from))
                    .collect(),
            ),
        ),
        (
            "text",
            text(rows.iter().map(|row| Some(row.text.to_string())).collect()),
        ),
        (
            "reason",
            text(
                rows.iter()
                    .map(|row| Some(row.reason.to_string()))
                    .collect(),
            ),
        ),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| convert::from_datafusion(error.into(), None, None))
}

/// A table of rows that are there.
pub(crate) fn provider(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])
        .map_err(|error| convert::from_datafusion(error, None, None))?;
    Ok(Arc::new(table))
}

/// The columns of a result that has none: statements that only have an effect.
pub(crate) fn nothing() -> Arc<Schema> {
    Arc::new(Schema::new(Vec::<Field>::new()))
}

/// The row of [`count_schema`].
pub(crate) fn count(rows: u64) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![rows]));
    RecordBatch::try_new(count_schema(), vec![column])
        .map_err(|error| convert::from_datafusion(error.into(), None, None))
}

/// The number that a write gave.
pub(crate) fn counted(batches: &[RecordBatch]) -> u64 {
    use arrow::array::AsArray;
    use arrow::datatypes::UInt64Type;
    let counts = batches.iter().filter(|batch| batch.num_columns() == 1);
    let of = |batch: &RecordBatch| {
        let column = batch.column(0).as_primitive_opt::<UInt64Type>()?;
        arrow::compute::sum(column)
    };
    counts.filter_map(of).sum()
}

/// One row with the number of rows written, as writes give it.
pub(crate) fn count_schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new(
        "count",
        DataType::UInt64,
        false,
    )]))
}
