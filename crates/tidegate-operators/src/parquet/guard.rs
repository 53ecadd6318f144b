//! A Parquet scan whose failures name the file, whose panics are failures and whose floats have one NaN.
//!
//! DataFusion's decoder says what is wrong but not in which file, and damaged data can make it
//! panic. This stands between the scan and its consumers, put there when a plan is attached.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::Stream;
use parquet::errors::ParquetError;

use super::reader::Reading;
use crate::floats::rows_with_one_nan;
use crate::input::{Error, Place};
use crate::source::first_line;
use crate::unwinding::catch;

/// Wraps a Parquet scan.
#[derive(Clone)]
pub struct GuardedScan {
    inner: Arc<dyn DataSource>,
    reading: Reading,
}

impl GuardedScan {
    pub(crate) fn new(inner: Arc<dyn DataSource>, factory: &super::PinnedReaderFactory) -> Self {
        Self {
            inner,
            reading: factory.reading(),
        }
    }

    /// The scan inside.
    pub fn inner(&self) -> &Arc<dyn DataSource> {
        &self.inner
    }

    fn around(&self, inner: Arc<dyn DataSource>) -> Arc<dyn DataSource> {
        Arc::new(Self {
            inner,
            ..self.clone()
        })
    }
}

impl fmt::Debug for GuardedScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl DataSource for GuardedScan {
    fn open(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.open_with_args(OpenArgs::new(partition, context))
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        let (partition, reading) = (args.partition, Arc::clone(&self.reading));
        let inner = self.inner.open_with_args(args)?;
        let schema = inner.schema();
        Ok(Box::pin(GuardedStream {
            given: 0,
            inner: Some(inner),
            schema,
            partition,
            reading,
        }))
    }

    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let inner = self.inner.repartitioned(
            target_partitions,
            repartition_file_min_size,
            output_ordering,
        )?;
        Ok(inner.map(|inner| self.around(inner)))
    }

    fn output_partitioning(&self) -> Partitioning {
        self.inner.output_partitioning()
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.inner.eq_properties()
    }

    fn scheduling_type(&self) -> SchedulingType {
        self.inner.scheduling_type()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.inner.partition_statistics(partition)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        self.inner.with_fetch(limit).map(|inner| self.around(inner))
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let inner = self.inner.try_swapping_with_projection(projection)?;
        Ok(inner.map(|inner| self.around(inner)))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let pushed = self.inner.try_pushdown_filters(filters, config)?;
        let updated_node = pushed.updated_node.map(|inner| self.around(inner));
        Ok(FilterPushdownPropagation {
            updated_node,
            filters: pushed.filters,
        })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        Ok(match self.inner.try_pushdown_sort(order)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact {
                inner: self.around(inner),
            },
            SortOrderPushdownResult::Inexact { inner } => SortOrderPushdownResult::Inexact {
                inner: self.around(inner),
            },
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn with_preserve_order(&self, preserve_order: bool) -> Option<Arc<dyn DataSource>> {
        self.inner
            .with_preserve_order(preserve_order)
            .map(|inner| self.around(inner))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn DataSource>> {
        self.inner
            .with_new_state(state)
            .map(|inner| self.around(inner))
    }

    fn create_sibling_state(&self, config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        self.inner.create_sibling_state(config)
    }
}

/// After so many batches the reader gives way: what consumes them may take long over each, and
/// only between two polls of its task can a query be stopped.
const BATCHES_IN_A_ROW: u32 = 4;

struct GuardedStream {
    /// Batches given since it last gave way.
    given: u32,
    /// None once it has panicked.
    inner: Option<SendableRecordBatchStream>,
    schema: SchemaRef,
    partition: usize,
    reading: Reading,
}

impl GuardedStream {
    fn damaged(&self, what: &str) -> DataFusionError {
        let file = self.reading.lock().get(&self.partition).cloned();
        let file = file.unwrap_or_else(|| "a Parquet file".into());
        // The reader wraps its own errors, each time with the same words.
        let why = what.rsplit("arquet error: ").next().unwrap_or(what);
        let why = why.rsplit("argument error: ").next().unwrap_or(why);
        let (first, rest) = why.split_at(why.chars().next().map_or(0, char::len_utf8));
        let why = format!("{}{rest}", first.to_lowercase());
        let what = format!("the Parquet data is damaged: {why}");
        Error::damaged(&file, Place::File, what).into()
    }

    fn name_file(&self, error: DataFusionError) -> DataFusionError {
        match error {
            DataFusionError::ParquetError(error) => match *error {
                ParquetError::External(inner) => match inner.downcast::<Error>() {
                    Ok(ours) => DataFusionError::External(ours),
                    Err(other) => self.damaged(&first_line(&other)),
                },
                other => self.damaged(&first_line(&other)),
            },
            DataFusionError::ArrowError(error, _)
                if matches!(*error, ArrowError::ParquetError(_)) =>
            {
                self.damaged(&first_line(&error))
            }
            other => other,
        }
    }
}

impl Stream for GuardedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.given >= BATCHES_IN_A_ROW {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match catch(|| inner.as_mut().poll_next(cx)) {
            Some(Poll::Ready(Some(Err(error)))) => Poll::Ready(Some(Err(self.name_file(error)))),
            Some(polled) => {
                match &polled {
                    Poll::Ready(_) => self.given += 1,
                    Poll::Pending => self.given = 0,
                }
                polled.map_ok(rows_with_one_nan)
            }
            None => {
                self.inner = None;
                Poll::Ready(Some(Err(self.damaged("decoding it failed"))))
            }
        }
    }
}

impl RecordBatchStream for GuardedStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
