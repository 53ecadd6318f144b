//! Which partition each row of a task goes to, where that is no hash of its keys: in turn, by chance, or by ranges of an
//! order.
//!
//! ```text
//! rows ─▶ rows and a value, whose hash is their partition ─▶ the exchange of hashes ─▶ rows without the value
//! ```
//!
//! So there is one exchange for all divisions by row, streaming and sealed: what bounds its memory, spills and cannot
//! deadlock is not written a second time. The values are found by trying, see [`values`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;

use super::hash::partitions_of;
use super::ranges::arrays;
use super::{Ranges, To};
use crate::split_mix::{mixed, nth};

/// The name of the column of values, which is the last one.
const NAME: &str = "__partition";

/// Candidates that are hashed together.
const TRIED_TOGETHER: u64 = 4096;

/// Rounds of candidates after which the hash is not one.
const ROUNDS_MAX: u64 = 4096;

/// Whether rows are given a value to be divided by.
pub(super) fn is_numbered(to: &To) -> bool {
    matches!(to, To::RoundRobin { .. } | To::Random { .. } | To::Range(_))
}

/// How rows with their values are divided: the last one of so many columns is hashed.
pub(super) fn partitioning(columns: usize, partitions: usize) -> Partitioning {
    Partitioning::Hash(vec![Arc::new(Column::new(NAME, columns - 1))], partitions)
}

/// For each partition a value whose hash is that partition.
pub(super) fn values(partitions: usize) -> Result<Arc<[u64]>> {
    let mut found: Vec<Option<u64>> = vec![None; partitions];
    let mut missing = partitions;
    for round in 0..ROUNDS_MAX {
        let first = round * TRIED_TOGETHER;
        let tried: ArrayRef =
            Arc::new(UInt64Array::from_iter_values(first..first + TRIED_TOGETHER));
        for (value, partition) in (first..).zip(partitions_of(&[tried], partitions)?) {
            if found[partition].is_none() {
                found[partition] = Some(value);
                missing -= 1;
            }
        }
        if missing == 0 {
            return Ok(found.into_iter().flatten().collect());
        }
    }
    internal_err!("the partition hash leaves {missing} of {partitions} partitions out")
}

/// Gives the rows of one task their values.
pub(super) struct Numberer {
    by: By,
    values: Arc<[u64]>,
    /// Of the rows with their values.
    schema: SchemaRef,
}

enum By {
    Turn {
        next: u64,
    },
    Chance {
        stream: u64,
        next_row: u64,
    },
    Range {
        keys: Vec<Arc<dyn PhysicalExpr>>,
        converter: RowConverter,
        bounds: Rows,
    },
}

impl Numberer {
    /// For task `task` of a shuffle of rows of `schema`.
    pub(super) fn new(to: &To, task: usize, schema: &Schema, values: Arc<[u64]>) -> Result<Self> {
        let by = match to {
            // Tasks begin with different partitions: there may be more of them than rows of each.
            To::RoundRobin { .. } => By::Turn { next: task as u64 },
            To::Random { seed, .. } => By::Chance {
                stream: mixed(seed ^ mixed(task as u64 + 1)),
                next_row: 0,
            },
            To::Range(ranges) => By::of(ranges, schema)?,
            _ => return internal_err!("this division needs no values"),
        };
        Ok(Self {
            by,
            values,
            schema: numbered_schema(schema),
        })
    }

    /// The columns of the rows with their values.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows with their values.
    pub(super) fn number(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let values = &self.values;
        let (rows, partitions) = (batch.num_rows() as u64, values.len() as u64);
        let numbers: UInt64Array = match &mut self.by {
            By::Turn { next } => {
                let turns = *next..*next + rows;
                *next = turns.end;
                UInt64Array::from_iter_values(
                    turns.map(|turn| values[(turn % partitions) as usize]),
                )
            }
            By::Chance { stream, next_row } => {
                let places = *next_row..*next_row + rows;
                *next_row = places.end;
                let draw = |row| drawn(*stream, row) % partitions;
                UInt64Array::from_iter_values(places.map(|row| values[draw(row) as usize]))
            }
            By::Range {
                keys,
                converter,
                bounds,
            } => {
                let keys = keys
                    .iter()
                    .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()));
                let keys = keys.collect::<Result<Vec<_>>>()?;
                let rows = converter.convert_columns(&keys)?;
                let ends = bounds.iter().collect::<Vec<_>>();
                let range = |row| ends.partition_point(|end| *end <= row);
                UInt64Array::from_iter_values(rows.iter().map(|row| values[range(row)]))
            }
        };
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(numbers));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl By {
    fn of(ranges: &Ranges, schema: &Schema) -> Result<Self> {
        let fields = ranges.order().iter().map(|key| {
            let kind = key.expr.data_type(schema)?;
            Ok(SortField::new_with_options(kind, key.options))
        });
        let converter = RowConverter::new(fields.collect::<Result<_>>()?)?;
        let bounds = match ranges.bounds() {
            [] => converter.empty_rows(0, 0),
            _ => converter.convert_columns(&arrays(ranges.columns_of_bounds(schema)?)?)?,
        };
        let keys = ranges.order().iter().map(|key| Arc::clone(&key.expr));
        Ok(By::Range {
            keys: keys.collect(),
            converter,
            bounds,
        })
    }
}

fn numbered_schema(schema: &Schema) -> SchemaRef {
    let number = Arc::new(Field::new(NAME, DataType::UInt64, false));
    let fields = schema.fields().iter().cloned().chain([number]);
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The rows without their values, as rows of `schema`.
pub(super) fn bare(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = &batch.columns()[..schema.fields().len()];
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns.to_vec(),
        &rows,
    )?)
}

/// The number of a row in the sequence of a task. It counts, it does not step: which number a row gets follows from the
/// row's place alone (SplitMix64).
fn drawn(stream: u64, row: u64) -> u64 {
    nth(stream, row + 1)
}

/// The context for the input of a task. Where a row's place decides, the task reads its own files only, in their order, and
/// takes over none of another one's that is late.
fn in_place(to: &To, context: Arc<TaskContext>) -> Arc<TaskContext> {
    if to.is_by_value() {
        return context;
    }
    let mut config = context.session_config().clone();
    config
        .options_mut()
        .execution
        .enable_file_stream_work_stealing = false;
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

/// Gives the rows of its input with their values: what stands below the exchange when rows stream.
#[derive(Debug, Clone)]
pub(super) struct NumberExec {
    input: Arc<dyn ExecutionPlan>,
    to: To,
    values: Arc<OnceLock<Arc<[u64]>>>,
    properties: Arc<PlanProperties>,
}

impl NumberExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, to: To) -> Self {
        let schema = numbered_schema(&input.schema());
        let all = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            input,
            to,
            values: Arc::default(),
            properties: Arc::new(all),
        }
    }

    fn values(&self) -> Result<Arc<[u64]>> {
        if let Some(known) = self.values.get() {
            return Ok(Arc::clone(known));
        }
        let found = values(self.to.partitions())?;
        Ok(Arc::clone(self.values.get_or_init(|| found)))
    }
}

impl DisplayAs for NumberExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberExec: {}", self.to)
    }
}

impl ExecutionPlan for NumberExec {
    fn name(&self) -> &'static str {
        "NumberExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.to.clone()))),
            _ => internal_err!("rows with values have one input"),
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.to.apply_expressions(f)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.input.schema();
        let mut numberer = Numberer::new(&self.to, partition, &schema, self.values()?)?;
        let rows = self.input.execute(partition, in_place(&self.to, context))?;
        let rows = rows.map(move |batch| numberer.number(&batch?));
        let schema = Arc::clone(self.properties.equivalence_properties().schema());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_partition_has_a_value() {
        for partitions in [1, 2, 3, 7, 64, 1000, 4096] {
            let found = values(partitions).unwrap();
            let array: ArrayRef = Arc::new(UInt64Array::from(found.to_vec()));
            let places = partitions_of(&[array], partitions).unwrap();
            assert_eq!(places, (0..partitions).collect::<Vec<_>>());
        }
    }

    /// Files that were sealed before are read as they were divided: this must not change.
    #[test]
    fn what_is_drawn_is_what_it_was() {
        let stream = |seed: u64, task: u64| mixed(seed ^ mixed(task + 1));
        let found: Vec<u64> = (0..4).map(|row| drawn(stream(7, 0), row) % 1000).collect();
        let other: Vec<u64> = (0..4).map(|row| drawn(stream(7, 1), row) % 1000).collect();
        assert_eq!(found, [176, 579, 862, 324]);
        assert_eq!(other, [587, 761, 74, 897]);
    }

    #[test]
    fn what_is_drawn_is_spread() {
        let mut counts = [0; 10];
        for task in 0..10 {
            for row in 0..10_000 {
                counts[(drawn(mixed(3 ^ mixed(task + 1)), row) % 10) as usize] += 1;
            }
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }
}
