//! Moves rows between partitions: the only operator that does.
//!
//! ```text
//!   input            ShuffleExec to hash(a) in 2          output
//!   partition 0 ──┬─▶ rows whose hash(a) % 2 = 0 ──▶ partition 0
//!   partition 1 ──┴─▶ rows whose hash(a) % 2 = 1 ──▶ partition 1
//! ```
//!
//! Inside one process rows stream through DataFusion's exchanges, which bound memory, spill, cannot deadlock and keep
//! to one hash. They stand inside this node and not among its inputs: in a plan every movement
//! is one of these nodes, and one that is not was not asked for.

mod compact;
mod hash;
mod number;
mod one;
mod ranges;
mod read;
mod sealed;
mod to;

pub use hash::partitions_of;
pub use one::OnePartitionExec;
pub use ranges::{Ranges, bounds_text};
pub use read::{Edges, EdgesOfTask, ShuffleReadExec};
pub use sealed::{Sealed, SealedWriter, Unreadable};
pub use to::To;

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, has_same_children_properties};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::{ProjectionExec, all_columns, make_with_child};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;

/// What may pass a shuffle downwards besides rows that come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Filters {
    /// Filters that a join finds out while it runs: both sides of the shuffle live in one process.
    Pass,
    /// None: what reads may run elsewhere, or later.
    Stop,
}

/// Gives the rows of its input, divided as [`To`] says.
#[derive(Debug, Clone)]
pub struct ShuffleExec {
    input: Arc<dyn ExecutionPlan>,
    to: To,
    filters: Filters,
    /// The order in which rows must come, for those of each partition to stay in it.
    order: Option<LexOrdering>,
    /// Rows that are asked of all partitions together, for one partition.
    fetch: Option<usize>,
    /// What moves the rows when both sides run in one process.
    stream: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ShuffleExec {
    /// The rows of `input`, divided as `to` says.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, to: To, filters: Filters) -> Result<Self> {
        let stream = to.stream(&input, None)?;
        let properties = Arc::new(to.properties(&input, filters));
        Ok(Self {
            input,
            to,
            filters,
            order: None,
            fetch: None,
            stream,
            properties,
        })
    }

    /// Where the rows come from.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The rows in one partition, in the order that they are merged by if there is one: where a task has all
    /// partitions of its input.
    pub fn input_in_one(&self) -> Result<Arc<dyn ExecutionPlan>> {
        if partitions(&self.input) <= 1 {
            return Ok(Arc::clone(&self.input));
        }
        let order = match &self.to {
            To::Single { order } => order.clone(),
            _ => None,
        };
        To::Single { order }.stream(&self.input, None)
    }

    /// How they are divided.
    pub fn to(&self) -> &To {
        &self.to
    }

    /// What may pass downwards.
    pub fn filters(&self) -> Filters {
        self.filters
    }

    /// The same with another input and division.
    pub fn with(&self, input: Arc<dyn ExecutionPlan>, to: To) -> Result<Self> {
        let stream = to.stream(&input, self.fetch)?;
        let properties = Arc::new(to.properties(&input, self.filters));
        Ok(Self {
            input,
            to,
            order: None,
            stream,
            properties,
            ..self.clone()
        })
    }

    /// The same, to which rows come in the order that they have now, if they are in one partition.
    pub fn keeping_order(&self) -> Self {
        let order = self.input.output_ordering();
        Self {
            order: order.filter(|_| partitions(&self.input) == 1).cloned(),
            ..self.clone()
        }
    }

    /// The same, of which one partition gives at most so many rows.
    pub fn fetching(&self, fetch: Option<usize>) -> Result<Self> {
        Ok(Self {
            fetch,
            stream: self.to.stream(&self.input, fetch)?,
            ..self.clone()
        })
    }
}

impl DisplayAs for ShuffleExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleExec: {}", self.to)?;
        match self.fetch {
            Some(fetch) => write!(f, ", fetch={fetch}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ShuffleExec {
    fn name(&self) -> &'static str {
        "ShuffleExec"
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
        let same = has_same_children_properties(self.as_ref(), &children)?;
        let Some(input) = children.pop() else {
            return internal_err!("a shuffle has one input");
        };
        let mut shuffle = self.with(input, self.to.clone())?;
        shuffle.order.clone_from(&self.order);
        if same {
            shuffle.properties = Arc::clone(&self.properties);
        }
        Ok(Arc::new(shuffle))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.to.apply_expressions(f)
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = match &self.to {
            To::Single { order } => order.clone(),
            _ => self.order.clone(),
        };
        vec![order.map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        let is_known = self.filters == Filters::Pass || self.order.is_some();
        let is_merged = matches!(self.to, To::Single { order: Some(_) });
        vec![is_merged || is_known && self.to.keeps_order(&self.input)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // What is below takes as many partitions as its files give.
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.stream.execute(partition, context)?;
        if !number::is_numbered(&self.to) {
            return Ok(rows);
        }
        let schema = self.schema();
        let bare = Arc::clone(&schema);
        let rows = rows.map(move |batch| number::bare(&batch?, &bare));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.stream.metrics()
    }

    fn child_stats_requests(&self, _: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(None)]
    }

    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut all = Arc::clone(&input_stats[0]);
        if self.fetch.is_some() {
            all = Arc::new(all.as_ref().clone().with_fetch(self.fetch, 0, 1)?);
        }
        let partitions = self.properties.partitioning.partition_count();
        if args.partition().is_none() || partitions <= 1 {
            return Ok(all);
        }
        let mut one = Statistics::new_unknown(&self.schema());
        one.num_rows = all.num_rows.map(|rows| rows / partitions).to_inexact();
        one.total_byte_size = all
            .total_byte_size
            .map(|bytes| bytes / partitions)
            .to_inexact();
        Ok(Arc::new(one))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    /// Rows are also limited in each partition below: fewer are moved.
    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if !matches!(self.to, To::Single { .. }) {
            return None;
        }
        let mut shuffle = self.clone();
        if let Some(fetch) = fetch.filter(|_| fetch != self.fetch) {
            let limited = Arc::new(LocalLimitExec::new(Arc::clone(&self.input), fetch));
            shuffle = self.with(limited, self.to.clone()).ok()?;
        }
        Some(Arc::new(shuffle.fetching(fetch).ok()?))
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let narrows = projection.expr().len() < projection.input().schema().fields().len();
        if !narrows || !all_columns(projection.expr()) || self.order.is_some() {
            return Ok(None);
        }
        let Some(to) = self.to.projected(projection.expr())? else {
            return Ok(None);
        };
        let input = make_with_child(projection, &self.input)?;
        Ok(Some(Arc::new(self.with(input, to)?)))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        // Those of the first phase are conditions of the text: they hold wherever they are asked.
        let pass = matches!(phase, FilterPushdownPhase::Pre) || self.filters == Filters::Pass;
        match pass && self.fetch.is_none() {
            true => FilterDescription::from_children(filters, &self.children()),
            false => Ok(FilterDescription::all_unsupported(
                &filters,
                &self.children(),
            )),
        }
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}

/// How many partitions a plan has.
pub(crate) fn partitions(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}
