//! Which files a filter on partition columns leaves. Each distinct combination of partition values is judged once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

/// Whether `filter` speaks of partition columns only, in a way that can be judged without rows.
pub(crate) fn is_applicable(filter: &Expr, partitions: &[FieldRef]) -> bool {
    let names: Vec<&str> = partitions
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let needs_more = |expr: &Expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarVariable(..)
                | Expr::Lambda(_)
                | Expr::LambdaVariable(_)
        )
    };
    !names.is_empty()
        && expr_applicable_for_cols(&names, filter)
        && !filter.column_refs().is_empty()
        && !filter.exists(|expr| Ok(needs_more(expr))).unwrap_or(true)
}

/// For each file whether all of `filters` hold for its partition values.
pub(crate) fn kept(
    state: &dyn Session,
    filters: &[Expr],
    fields: &[FieldRef],
    values: &[Arc<[ScalarValue]>],
) -> Result<Vec<bool>> {
    let (distinct, places) = distinct(values);
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let columns = (0..fields.len())
        .map(|column| ScalarValue::iter_to_array(distinct.iter().map(|row| row[column].clone())))
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(distinct.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
    let df_schema = DFSchema::try_from(schema)?;
    let mut kept = vec![true; distinct.len()];
    for filter in filters {
        let expr = state.create_physical_expr(unqualified(filter.clone())?, &df_schema)?;
        let answer = expr.evaluate(&batch)?.into_array(distinct.len())?;
        let answer: &BooleanArray = as_boolean_array(&answer)?;
        for (at, keep) in kept.iter_mut().enumerate() {
            *keep &= answer.is_valid(at) && answer.value(at);
        }
    }
    Ok(places.into_iter().map(|place| kept[place]).collect())
}

/// The distinct rows, and for each row its place among them. Equal rows share their memory.
fn distinct(values: &[Arc<[ScalarValue]>]) -> (Vec<&[ScalarValue]>, Vec<usize>) {
    let mut rows: Vec<&[ScalarValue]> = Vec::new();
    let mut known: HashMap<*const ScalarValue, usize> = HashMap::new();
    let places = values.iter().map(|row| {
        *known.entry(row.as_ptr()).or_insert_with(|| {
            rows.push(row);
            rows.len() - 1
        })
    });
    let places = places.collect();
    (rows, places)
}

fn unqualified(expr: Expr) -> Result<Expr> {
    expr.transform(|node| match node {
        Expr::Column(column) if column.relation.is_some() => Ok(Transformed::yes(Expr::Column(
            Column::new_unqualified(column.name),
        ))),
        other => Ok(Transformed::no(other)),
    })
    .data()
}
