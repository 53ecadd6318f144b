//! What a scan gives out, in terms of what it reads from one file.
//!
//! The pushed projection speaks of the table: file columns, then partition columns, and the
//! functions `input_file_name()` and `file_row_index()`. Reading needs the file columns alone.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::functions::core::file_row_index::FileRowIndexFunc;
use datafusion::functions::core::input_file_name::InputFileNameFunc;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs, Projector};
use datafusion::physical_expr_adapter::rewrite::{
    expr_references_scalar_udf, rewrite_file_row_index_expr, rewrite_input_file_name_in_projection,
};

/// The row number's column in what is read; a name no file column has.
pub(crate) const ROW_COLUMN: &str = "\u{0}row";

/// The projection of a scan, ready to be bound to files.
#[derive(Debug, Clone)]
pub(crate) struct ScanProjection {
    /// The file columns to read, as places in the table's file schema.
    pub(crate) columns: Vec<usize>,
    /// True if the number of each row in its file is wanted, as one more column behind them.
    pub(crate) rows: bool,
    /// What is read: `columns`, then the row number.
    pub(crate) read_schema: SchemaRef,
    bound: ProjectionExprs,
    file_columns: usize,
    /// Set when every file gets the same.
    projector: Option<Projector>,
}

impl ScanProjection {
    pub(crate) fn new(table: &TableSchema, projection: &ProjectionExprs) -> Result<Self> {
        let file_schema = table.file_schema();
        let file_columns = file_schema.fields().len();
        let mut columns = Vec::new();
        let (mut rows, mut names, mut partitions) = (false, false, false);
        for output in projection {
            rows |= expr_references_scalar_udf::<FileRowIndexFunc>(&output.expr);
            names |= expr_references_scalar_udf::<InputFileNameFunc>(&output.expr);
            output.expr.apply(|node| {
                if let Some(column) = node.downcast_ref::<Column>() {
                    match column.index() < file_columns {
                        true => columns.push(column.index()),
                        false => partitions = true,
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        columns.sort_unstable();
        columns.dedup();
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|&i| file_schema.field(i).clone())
            .collect();
        if rows {
            fields.push(Field::new(ROW_COLUMN, DataType::Int64, true));
        }
        let read_schema = Arc::new(Schema::new(fields));
        let bound = projection
            .iter()
            .map(|output| {
                let expr = bind(&output.expr, &columns, file_columns)?;
                Ok(ProjectionExpr::new(expr, output.alias.clone()))
            })
            .collect::<Result<Vec<_>>>()?;
        let bound = ProjectionExprs::new(bound);
        let projector = match names || partitions {
            true => None,
            false => Some(bound.make_projector(&read_schema)?),
        };
        Ok(Self {
            columns,
            rows,
            read_schema,
            bound,
            file_columns,
            projector,
        })
    }

    /// The projection of the batches of `file`.
    pub(crate) fn for_file(&self, file: &PartitionedFile) -> Result<Projector> {
        if let Some(projector) = &self.projector {
            return Ok(projector.clone());
        }
        let bound = self.bound.clone().try_map_exprs(|expr| {
            expr.transform(|node| {
                let value = node
                    .downcast_ref::<Column>()
                    .and_then(|column| column.index().checked_sub(PARTITION_BASE))
                    .and_then(|place| file.partition_values.get(place - self.file_columns));
                Ok(match value {
                    Some(value) => {
                        let literal: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(value.clone()));
                        Transformed::yes(literal)
                    }
                    None => Transformed::no(node),
                })
            })
            .data()
        })?;
        let location = file.object_meta.location.as_ref();
        rewrite_input_file_name_in_projection(bound, location)?.make_projector(&self.read_schema)
    }
}

/// Bound references to partition columns are moved up here, out of the way of what is read.
const PARTITION_BASE: usize = 1 << 32;

fn bind(
    expr: &Arc<dyn PhysicalExpr>,
    columns: &[usize],
    file_columns: usize,
) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = Arc::clone(expr)
        .transform(|node| {
            let Some(column) = node.downcast_ref::<Column>() else {
                return Ok(Transformed::no(node));
            };
            let place = match columns.binary_search(&column.index()) {
                Ok(place) if column.index() < file_columns => place,
                _ => PARTITION_BASE + column.index(),
            };
            let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
            Ok(Transformed::yes(moved))
        })
        .data()?;
    rewrite_file_row_index_expr(moved, ROW_COLUMN, columns.len())
}

/// Appends the numbers of rows that follow one another, if they are wanted.
pub(crate) fn with_rows(
    batch: RecordBatch,
    schema: &SchemaRef,
    first: Option<u64>,
) -> Result<RecordBatch> {
    let Some(first) = first else { return Ok(batch) };
    let rows = batch.num_rows();
    let numbers = (0..rows as i64).map(|i| first as i64 + i);
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(arrow::array::Int64Array::from_iter_values(
        numbers,
    )));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
