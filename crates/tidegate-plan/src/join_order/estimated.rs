//! Rows that are expected of joins and their inputs, noted on the plan from the order of joins until it is finished: the
//! modes of joins are chosen by them, and EXPLAIN shows them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr, make_with_child};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::guess::{Guess, Guesser};

/// Of what the rows are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    /// Joins and their inputs.
    Joins,
    /// These and what is grouped.
    JoinsAndAggregates,
}

/// Notes how many rows are expected.
pub(super) fn annotate(
    plan: LogicalPlan,
    guesser: &Guesser<'_>,
    notes: Notes,
) -> Result<(LogicalPlan, Guess)> {
    let plan = plan
        .map_subqueries(|subquery| Ok(Transformed::yes(annotate(subquery, guesser, notes)?.0)))?
        .data;
    // Guesses look at what an input is, so they are made before anything is noted on it.
    let mut guesses = Vec::new();
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        let (input, guess) = annotate(input.clone(), guesser, notes)?;
        guesses.push(guess);
        inputs.push(input);
    }
    let guess = guesser.combine(&plan, &guesses);
    if matches!(plan, LogicalPlan::Join(_)) {
        let noted = inputs.into_iter().zip(&guesses);
        inputs = noted.map(|(input, guess)| note(input, guess)).collect();
    }
    let mut inputs = inputs.into_iter();
    let plan = plan.map_children(|input| Ok(Transformed::yes(inputs.next().unwrap_or(input))))?;
    let plan = match plan.data {
        plan @ LogicalPlan::Join(_) => note(plan, &guess),
        plan @ LogicalPlan::Aggregate(_) if notes == Notes::JoinsAndAggregates => {
            note(plan, &guess)
        }
        plan => plan,
    };
    Ok((plan, guess))
}

fn note(input: LogicalPlan, guess: &Guess) -> LogicalPlan {
    if guess.is_blind || is_noted(&input) {
        return input;
    }
    let whole = |rows: f64| rows.clamp(0.0, 1e15) as usize;
    let (rows, read) = (whole(guess.rows), whole(guess.base));
    LogicalPlan::Extension(Extension {
        node: Arc::new(Estimated { input, rows, read }),
    })
}

fn is_noted(plan: &LogicalPlan) -> bool {
    expected(plan).is_some()
}

/// The rows that are expected of the inputs of a join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) rows: usize,
    /// Rows of the tables below before conditions.
    read: usize,
}

/// What was noted on a plan.
pub(crate) fn expected(plan: &LogicalPlan) -> Option<Expected> {
    let LogicalPlan::Extension(extension) = plan else {
        return None;
    };
    let noted = extension.node.as_any().downcast_ref::<Estimated>()?;
    let (rows, read) = (noted.rows, noted.read);
    Some(Expected { rows, read })
}

/// A table of at most so many rows is small.
const SMALL_ROWS: usize = 8_192;

impl Expected {
    /// Whether an inner join had better build this side although the other one has fewer rows: both are small, and this
    /// one reads less than the other one and has lost rows. Its keys are a filter for what the other side reads, and its
    /// table costs next to nothing.
    pub(crate) fn spares_more(self, other: Self) -> bool {
        let is_small = self.rows.max(other.rows) <= SMALL_ROWS;
        is_small && self.read < other.read && self.rows.saturating_mul(2) <= self.read
    }
}

/// Gives its input, of which so many rows are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Estimated {
    input: LogicalPlan,
    rows: usize,
    read: usize,
}

impl Hash for Estimated {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.rows.hash(state);
    }
}

impl PartialOrd for Estimated {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let by_input = self.input.partial_cmp(&other.input);
        by_input.map(|by_input| by_input.then(self.rows.cmp(&other.rows)))
    }
}

impl UserDefinedLogicalNodeCore for Estimated {
    fn name(&self) -> &str {
        "Estimated"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Estimated: rows={}", self.rows)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self {
                input,
                ..self.clone()
            }),
            _ => internal_err!("an estimate has one input"),
        }
    }
}

/// Plans the notes.
pub(crate) struct Planner;

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(noted), [input]) = (node.as_any().downcast_ref::<Estimated>(), inputs) else {
            return Ok(None);
        };
        let input = Arc::clone(input);
        let rows = noted.rows;
        Ok(Some(Arc::new(EstimatedExec { input, rows })))
    }
}

/// Whether an operator is such a note.
pub(crate) fn is_estimated(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<EstimatedExec>()
}

/// A build of at most so many rows is shared whatever the other side has.
const SHARED_ROWS: usize = 1_500_000;

/// A build of at most so many rows is shared if the other side has [`SHARED_RATIO`] times as many: to divide them costs
/// more than one thread that builds.
const SHARED_ROWS_MAX: usize = 16_000_000;
const SHARED_RATIO: usize = 4;

/// Whether all partitions share the side that is built, or both sides are divided by a hash.
pub(crate) fn is_shared(build: usize, probe: usize) -> bool {
    build <= SHARED_ROWS || build <= SHARED_ROWS_MAX && probe >= build.saturating_mul(SHARED_RATIO)
}

/// The plan without its notes, and the rows that were noted.
pub(crate) fn forget(plan: Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, Noted)> {
    let mut noted = Noted::default();
    let plan = plan
        .transform_up(|node| {
            Ok(match node.downcast_ref::<EstimatedExec>() {
                Some(note) => {
                    noted.add(&note.input, note.rows);
                    Transformed::yes(Arc::clone(&note.input))
                }
                None => Transformed::no(node),
            })
        })?
        .data;
    Ok((plan, noted))
}

/// Rows that are expected, by the operator that gives them. Valid as long as the plan is the one it was taken from.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    rows: HashMap<usize, usize>,
}

impl Noted {
    fn place(plan: &Arc<dyn ExecutionPlan>) -> usize {
        Arc::as_ptr(plan).cast::<()>() as usize
    }

    /// Notes the rows of an operator, and of those below it whose rows it passes on: a sort may have been put there, even
    /// one that keeps the first rows only. Then the note is of what it sorts.
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>, rows: usize) {
        let (kept, whole) = match plan.fetch() {
            Some(fetch) => (rows.cmp(&fetch), plan.with_fetch(None)),
            None => (Ordering::Less, Some(Arc::clone(plan))),
        };
        if kept != Ordering::Greater {
            self.rows.entry(Self::place(plan)).or_insert(rows);
        }
        let effect = whole.map(|whole| whole.cardinality_effect());
        if let [input] = plan.children().as_slice()
            && matches!(effect, Some(CardinalityEffect::Equal))
            && kept != Ordering::Equal
        {
            self.add(input, rows);
        }
    }

    pub(crate) fn rows(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        self.rows.get(&Self::place(plan)).copied()
    }
}

/// The note among the operators. Everything passes through it, and it never runs.
#[derive(Debug, Clone)]
struct EstimatedExec {
    input: Arc<dyn ExecutionPlan>,
    rows: usize,
}

impl DisplayAs for EstimatedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EstimatedExec: rows={}", self.rows)
    }
}

impl ExecutionPlan for EstimatedExec {
    fn name(&self) -> &'static str {
        "EstimatedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self {
                input,
                rows: self.rows,
            })),
            _ => internal_err!("an estimate has one input"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        // The note belongs to what computes, not to a computation above it.
        let is_plain = |output: &ProjectionExpr| output.expr.is::<Column>();
        if !projection.expr().iter().all(is_plain) {
            return Ok(None);
        }
        let input = make_with_child(projection, &self.input)?;
        Ok(Some(Arc::new(Self {
            input,
            rows: self.rows,
        })))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.input.schema());
        statistics.num_rows = Precision::Inexact(self.rows);
        Ok(Arc::new(statistics))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
