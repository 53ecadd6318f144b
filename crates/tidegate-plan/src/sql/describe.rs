//! DESCRIBE and SUMMARIZE as plans, and the projections that INSERT and CREATE put on top of
//! their query.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, Result as DataFusionResult, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{
    approx_distinct, approx_percentile_cont, avg, count, max, min, stddev,
};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit, when};

use super::error::{Code, Error, Result, did_you_mean, near};
use super::naming;
use super::statement::Insert;
use super::types::sql_name;
use super::wording;

/// One row for each column: its name, its type, and whether it may be NULL.
pub(crate) fn columns(schema: &Schema) -> DataFusionResult<LogicalPlan> {
    let row = |field: &Arc<Field>| {
        vec![
            lit(naming::plain(field.name())),
            lit(sql_name(field.data_type())),
            lit(if field.is_nullable() { "YES" } else { "NO" }),
        ]
    };
    let rows: Vec<Vec<Expr>> = schema.fields().iter().map(row).collect();
    let names = ["column_name", "column_type", "null"];
    LogicalPlanBuilder::values(rows)?
        .project(
            (1..=3).zip(names).map(|(at, name)| {
                Expr::Column(Column::from_name(format!("column{at}"))).alias(name)
            }),
        )?
        .build()
}

/// The statistics, by name, in the order shown.
const STATISTICS: [&str; 9] = [
    "min",
    "max",
    "approx_unique",
    "avg",
    "std",
    "q25",
    "q50",
    "q75",
    "null_percentage",
];

/// One row for each column of `plan`: its name, its type and its statistics.
///
/// 1. One aggregate computes all statistics of all columns in one pass;
/// 2. a projection gathers each statistic into a list over the columns;
/// 3. the lists are unnested side by side into rows.
pub(crate) fn summary(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let fields: Vec<Arc<Field>> = plan.schema().fields().iter().cloned().collect();
    let columns = plan.schema().columns();
    let mut aggregates = vec![count(lit(1i64)).alias("rows")];
    for (at, (column, field)) in columns.into_iter().zip(&fields).enumerate() {
        for (statistic, expr) in statistics(Expr::Column(column), field.data_type())? {
            aggregates.push(expr.alias(format!("{statistic} {at}")));
        }
    }
    let aggregated = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), aggregates)?;
    let named: Vec<String> = aggregated
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();

    let texts = |texts: Vec<String>| make_array(texts.into_iter().map(lit).collect());
    let mut lists = vec![
        texts(
            fields
                .iter()
                .map(|f| naming::plain(f.name()).to_string())
                .collect(),
        )
        .alias("column_name"),
        texts(fields.iter().map(|f| sql_name(f.data_type())).collect()).alias("column_type"),
    ];
    let rows = || Expr::Column(Column::from_name("rows"));
    for statistic in STATISTICS {
        let of_column = |at: usize| {
            let name = format!("{statistic} {at}");
            let data_type = type_of(statistic);
            match named.contains(&name) {
                false => Ok(lit(ScalarValue::try_from(&data_type)?)),
                true if statistic == "null_percentage" => nulls(Column::from_name(name), rows()),
                true => Ok(cast(Expr::Column(Column::from_name(name)), data_type)),
            }
        };
        let values = (0..fields.len())
            .map(of_column)
            .collect::<DataFusionResult<Vec<_>>>()?;
        lists.push(make_array(values).alias(statistic));
    }
    let count = make_array(fields.iter().map(|_| rows()).collect()).alias("count");
    lists.insert(lists.len() - 1, count);
    let columns: Vec<Column> = lists
        .iter()
        .map(|expr| Column::from_name(expr.schema_name().to_string()))
        .collect();
    aggregated
        .project(lists)?
        .unnest_columns_with_options(columns, Default::default())?
        .build()
}

fn type_of(statistic: &str) -> DataType {
    match statistic {
        "min" | "max" | "q25" | "q50" | "q75" => DataType::Utf8,
        "approx_unique" => DataType::Int64,
        _ => DataType::Float64,
    }
}

/// The percentage of rows that are NULL, to two places; none of no rows.
fn nulls(counted: Column, rows: Expr) -> DataFusionResult<Expr> {
    let all = || cast(rows.clone(), DataType::Float64);
    let missing = all() - cast(Expr::Column(counted), DataType::Float64);
    let percent =
        datafusion::functions::expr_fn::round(vec![lit(100.0) * missing / all(), lit(2i64)]);
    when(rows.clone().gt(lit(0i64)), percent).end()
}

/// What can be said of a column of this type.
fn statistics(column: Expr, data_type: &DataType) -> DataFusionResult<Vec<(&'static str, Expr)>> {
    let mut found = vec![("null_percentage", count(column.clone()))];
    let plain = !data_type.is_nested()
        && !matches!(
            data_type,
            DataType::Null | DataType::Interval(_) | DataType::Boolean
        );
    if plain || matches!(data_type, DataType::Boolean) {
        found.push(("min", min(column.clone())));
        found.push(("max", max(column.clone())));
    }
    if plain && !data_type.is_floating() && !data_type.is_decimal() {
        found.push(("approx_unique", approx_distinct(column.clone())));
    } else if plain {
        // Counted by its text: the sketch takes neither floats nor decimals.
        found.push((
            "approx_unique",
            approx_distinct(cast(column.clone(), DataType::Utf8)),
        ));
    }
    if data_type.is_numeric() {
        let float = || cast(column.clone(), DataType::Float64);
        found.push(("avg", avg(float())));
        found.push(("std", stddev(float())));
        for (name, at) in [("q25", 0.25), ("q50", 0.5), ("q75", 0.75)] {
            let sort = float().sort(true, false);
            found.push((name, approx_percentile_cont(sort, lit(at), None)));
        }
    }
    Ok(found)
}

/// The same rows under new column names, if there are any.
pub(crate) fn renamed(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        return Err(Error::new(
            Code::Invalid,
            format!(
                "{} column names are given for {} columns",
                names.len(),
                columns.len()
            ),
        ));
    }
    let exprs: Vec<Expr> = columns
        .into_iter()
        .zip(names)
        .map(|(column, name)| Expr::Column(column).alias(name))
        .collect();
    project(plan, exprs)
}

fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| super::errors::translate(error, None, None))
}

/// The rows of an INSERT with the table's columns, in its order and of its types; columns not
/// named are NULL.
pub(crate) fn inserted(insert: &Insert, plan: LogicalPlan, table: &Schema) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let mut targets = Vec::new();
    for name in &insert.columns {
        let spelled = name.to_string();
        let at = table
            .fields()
            .iter()
            .position(|field| *field.name() == spelled)
            .or_else(|| {
                table
                    .fields()
                    .iter()
                    .position(|field| field.name().eq_ignore_ascii_case(&spelled))
            });
        let Some(at) = at else {
            let names = near(
                &spelled,
                table.fields().iter().map(|field| field.name().as_str()),
            );
            let error = Error::new(
                Code::UnknownColumn,
                format!("the table has no column `{spelled}`"),
            )
            .at(name.span.clone());
            return Err(match did_you_mean(&names) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        };
        if targets.contains(&at) {
            return Err(Error::new(
                Code::Duplicate,
                format!("the column `{spelled}` is named twice"),
            )
            .at(name.span.clone()));
        }
        targets.push(at);
    }
    if insert.columns.is_empty() {
        targets = (0..table.fields().len()).collect();
    }
    if targets.len() != columns.len() {
        return Err(Error::new(
            Code::TypeMismatch,
            format!(
                "INSERT gives {} where the table takes {}",
                wording::columns(&columns.len().to_string()),
                targets.len()
            ),
        )
        .at(insert.table.span.clone()));
    }
    let exprs = table
        .fields()
        .iter()
        .enumerate()
        .map(
            |(at, field)| match targets.iter().position(|target| *target == at) {
                Some(given) => Ok(cast(
                    Expr::Column(columns[given].clone()),
                    field.data_type().clone(),
                )
                .alias(field.name())),
                None => ScalarValue::try_from(field.data_type())
                    .map(|null| lit(null).alias(field.name()))
                    .map_err(|error| super::errors::translate(error, None, None)),
            },
        )
        .collect::<Result<Vec<_>>>()?;
    project(plan, exprs)
}
