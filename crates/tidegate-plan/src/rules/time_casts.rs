//! Casts between texts, dates and timestamps with and without a zone mean what they mean in PostgreSQL: a time without
//! a zone is one of the session's zone, a text's offset says nothing where none is asked for. Arrow takes the zone of
//! the column, or Greenwich, and knows no time that a clock shows twice.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast, try_cast};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_expressions;
use super::session_zone::zone_of;
use crate::sql::{text_of_time, time_of_text};
use crate::times::{in_zone, is_utc};

/// Comes after type coercion, so that its casts are seen too.
#[derive(Debug)]
pub struct TimeCasts;

impl AnalyzerRule for TimeCasts {
    fn name(&self) -> &str {
        "tidegate_time_casts"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = zone_of(config);
        let rewrite = |expr, schema: &DFSchema| rewrite_expr(expr, schema, zone);
        plan.transform_up_with_subqueries(|plan| rewrite_expressions(plan, rewrite))
            .data()
    }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let (or_null, inner, field) = match &expr {
        Expr::Cast(Cast { expr, field }) => (false, expr, field),
        Expr::TryCast(TryCast { expr, field }) => (true, expr, field),
        _ => return Ok(Transformed::no(expr)),
    };
    let to = field.data_type();
    let Ok(from) = inner.get_type(schema) else {
        return Ok(Transformed::no(expr));
    };
    let cast_to = |value: Expr, to: &DataType| match or_null {
        true => try_cast(value, to.clone()),
        false => cast(value, to.clone()),
    };
    Ok(match (&from, to) {
        (from, DataType::Timestamp(unit, shown)) if is_text(from) => {
            let like = match shown {
                Some(_) => DataType::Timestamp(*unit, Some(zone.into())),
                None => to.clone(),
            };
            let null = ScalarValue::try_from(&like)?;
            let time = time_of_text(inner.as_ref().clone(), or_null, null);
            Transformed::yes(match like == *to {
                true => time,
                false => cast(time, to.clone()),
            })
        }
        (DataType::Timestamp(unit, shown), to) if is_text(to) => {
            let mut time = inner.as_ref().clone();
            if shown.as_deref().is_some_and(|shown| shown != zone) {
                time = cast(time, DataType::Timestamp(*unit, Some(zone.into())));
            }
            Transformed::yes(cast(text_of_time(time), to.clone()))
        }
        (DataType::Timestamp(_, Some(shown)), to) if loses_zone(to) => {
            // Arrow gives a time of day in the zone of the type, everything else in Greenwich's.
            let is_time = matches!(to, DataType::Time32(_) | DataType::Time64(_));
            if is_utc(zone) && (is_utc(shown) || !is_time) {
                return Ok(Transformed::no(expr));
            }
            let local = in_zone(inner.as_ref().clone(), zone);
            Transformed::yes(cast_to(local, to))
        }
        (
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64,
            DataType::Timestamp(unit, Some(shown)),
        ) => {
            if is_utc(zone) && is_utc(shown) {
                return Ok(Transformed::no(expr));
            }
            let local = cast_to(inner.as_ref().clone(), &DataType::Timestamp(*unit, None));
            Transformed::yes(cast_to(in_zone(local, zone), to))
        }
        _ => Transformed::no(expr),
    })
}

fn loses_zone(to: &DataType) -> bool {
    use DataType::{Date32, Date64, Time32, Time64, Timestamp};
    matches!(
        to,
        Timestamp(_, None) | Date32 | Date64 | Time32(_) | Time64(_)
    )
}

/// Whether values of a type are texts.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    }
}
