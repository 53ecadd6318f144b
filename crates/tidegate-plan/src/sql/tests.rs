//! Tests of the whole way from text to rows, and of every refusal on it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod clauses;
mod meaning;
mod mistakes;
mod statements;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;

use super::*;

/// Two small tables: `t` (a, b, name, price, x) and `u` (a, Fare, FARE, c).
pub(super) fn tables() -> HashMap<String, Arc<dyn TableProvider>> {
    let t = RecordBatch::try_from_iter_with_nullable([
        (
            "a",
            Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(2)])) as ArrayRef,
            true,
        ),
        (
            "b",
            Arc::new(Int32Array::from(vec![10, 20, 30, 40])) as ArrayRef,
            true,
        ),
        (
            "name",
            Arc::new(StringArray::from(vec!["x", "y", "y", "z"])) as ArrayRef,
            true,
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![150, 250, 350, -250])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ) as ArrayRef,
            true,
        ),
        (
            "x",
            Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5, -0.5])) as ArrayRef,
            true,
        ),
    ])
    .unwrap();
    let u = RecordBatch::try_from_iter_with_nullable([
        (
            "a",
            Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef,
            true,
        ),
        (
            "Fare",
            Arc::new(Int64Array::from(vec![100, 200])) as ArrayRef,
            true,
        ),
        (
            "FARE",
            Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef,
            true,
        ),
        (
            "Zone",
            Arc::new(StringArray::from(vec!["A", "B"])) as ArrayRef,
            true,
        ),
    ])
    .unwrap();
    HashMap::from([("t".to_string(), mem(t)), ("u".to_string(), mem(u))])
}

fn mem(batch: RecordBatch) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

pub(super) fn state() -> SessionState {
    let settings = crate::PlanSettings::at(chrono::DateTime::UNIX_EPOCH);
    crate::session_state(
        &settings,
        Arc::new(RuntimeEnv::default()),
        &crate::Registry::new(),
    )
}

/// Plans the one statement of `text`; every file and reader call reads `t`.
pub(super) fn planned(text: &str) -> Result<datafusion::logical_expr::LogicalPlan> {
    planned_with(text, &Parameters::new())
}

pub(super) fn planned_with(
    text: &str,
    parameters: &Parameters,
) -> Result<datafusion::logical_expr::LogicalPlan> {
    let script = parse_script(text)?;
    assert_eq!(script.len(), 1, "{text}");
    let mut tables = tables();
    let t = Arc::clone(&tables["t"]);
    for table in references(&script[0].statement) {
        // As a catalog does: names without regard to case, files by their path.
        let found = match table.kind {
            TableRefKind::Name(_) => tables.get(&table.key.to_lowercase()).cloned(),
            _ => Some(Arc::clone(&t)),
        };
        if let Some(found) = found {
            tables.insert(table.key, found);
        }
    }
    let state = state();
    plan(
        &script[0],
        &Inputs {
            state: &state,
            tables: &tables,
            parameters,
        },
    )
}

/// The rows of a statement, a line each, after a line of column names.
pub(super) fn rows(text: &str) -> Result<String> {
    rows_with(text, &Parameters::new())
}

pub(super) fn rows_with(text: &str, parameters: &Parameters) -> Result<String> {
    let plan = planned_with(text, parameters)?;
    let names: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let state = state();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let context = SessionContext::new_with_state(state.clone());
    let batches = runtime.block_on(async {
        context
            .execute_logical_plan(plan)
            .await
            .map_err(|error| from_datafusion(error, None, Some(&state)))?
            .collect()
            .await
            .map_err(|error| from_datafusion(error, None, Some(&state)))
    })?;
    let mut lines = vec![names.join("|")];
    let options = FormatOptions::default().with_null("NULL");
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(cells.join("|"));
        }
    }
    Ok(lines.join("\n"))
}

/// Asserts the rows of a statement.
#[track_caller]
pub(super) fn check(text: &str, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    match rows(text) {
        Ok(found) => assert_eq!(found, expected.join("\n"), "{text}"),
        Err(error) => panic!("{text}: {error:?}"),
    }
}

/// The error of a statement, as `code: message [text at the place] (hint)`.
pub(super) fn mistake(text: &str) -> String {
    match rows(text) {
        Ok(found) => format!("no error: {found}"),
        Err(error) => shown(text, &error),
    }
}

pub(super) fn shown(text: &str, error: &Error) -> String {
    let place = error.span.clone().map_or(String::new(), |span| {
        if span == (0..text.len()) || text.is_empty() {
            String::new()
        } else {
            format!(" [{}]", &text[span])
        }
    });
    let hint = error
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!(" ({hint})"));
    format!("{}: {}{place}{hint}", error.code, error.message)
}

pub(super) fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_string()))
}
