//! A table whose files are dealt into another number of partitions than the session's.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use crate::table::FilesTable;

/// A table of files that is read in so many partitions, where its files are large or many enough.
#[derive(Debug)]
pub struct SplitTable {
    table: Arc<FilesTable>,
    partitions: usize,
}

impl SplitTable {
    /// The table in so many partitions.
    pub fn new(table: Arc<FilesTable>, partitions: usize) -> Self {
        Self { table, partitions }
    }
}

#[async_trait]
impl TableProvider for SplitTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn statistics(&self) -> Option<Statistics> {
        self.table.statistics()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.table
            .scan_in(state, projection, filters, limit, self.partitions)
    }
}
