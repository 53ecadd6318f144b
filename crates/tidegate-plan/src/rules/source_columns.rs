//! Brings what only a scan knows, the file and the place of a row, into the scan.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::functions::core::file_row_index::FileRowIndexFunc;
use datafusion::functions::core::input_file_name::InputFileNameFunc;
use datafusion::physical_expr_adapter::rewrite::expr_references_scalar_udf;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

use super::changed;

/// Merges projections that use `input_file_name()` or `file_row_index()` with the scan below them, first of all:
/// DataFusion does so after it has put a shuffle between the two when the scan has one partition, and then neither
/// function has a value.
#[derive(Debug)]
pub struct SourceColumns;

impl PhysicalOptimizerRule for SourceColumns {
    fn name(&self) -> &str {
        "tidegate_source_columns"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        changed(plan, |node| {
            let projection = node.downcast_ref::<ProjectionExec>();
            match projection.filter(|projection| is_of_source(projection)) {
                Some(projection) if projection.input().is::<DataSourceExec>() => {
                    projection.input().try_swapping_with_projection(projection)
                }
                _ => Ok(None),
            }
        })
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_of_source(projection: &ProjectionExec) -> bool {
    projection.expr().iter().any(|output| {
        expr_references_scalar_udf::<InputFileNameFunc>(&output.expr)
            || expr_references_scalar_udf::<FileRowIndexFunc>(&output.expr)
    })
}
