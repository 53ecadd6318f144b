//! Instants are shown in the session's time zone, whatever zone a file names.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::times::is_utc;

/// Gives the timestamps of a scan that have a zone the session's, which changes their type and not their values.
#[derive(Debug)]
pub struct SessionZone;

impl AnalyzerRule for SessionZone {
    fn name(&self) -> &str {
        "tidegate_session_zone"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = zone_of(config);
        plan.transform_up_with_subqueries(|plan| {
            in_zone(plan, zone)?.map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }
}

/// The session's time zone.
pub(super) fn zone_of(config: &ConfigOptions) -> &str {
    config.execution.time_zone.as_deref().unwrap_or("UTC")
}

fn in_zone(plan: LogicalPlan, zone: &str) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::TableScan(scan) = &plan else {
        return Ok(Transformed::no(plan));
    };
    let mut changed = false;
    let columns: Vec<Expr> = scan
        .projected_schema
        .iter()
        .map(|(of_table, field)| {
            let column = Expr::from((of_table, field));
            match field.data_type() {
                DataType::Timestamp(unit, Some(other)) if !is_same(other, zone) => {
                    changed = true;
                    let kind = DataType::Timestamp(*unit, Some(zone.into()));
                    cast(column, kind).alias_qualified(of_table.cloned(), field.name())
                }
                _ => column,
            }
        })
        .collect();
    if !changed {
        return Ok(Transformed::no(plan));
    }
    let shown = LogicalPlanBuilder::new_from_arc(Arc::new(plan)).project(columns)?;
    Ok(Transformed::yes(shown.build()?))
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || (is_utc(one) && is_utc(other))
}
