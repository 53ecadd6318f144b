//! What the steps of a plan are guessed to take: seconds of one thread, rows and bytes.
//!
//! Rows are those of the estimates. Time is reckoned without those of a probe side that match nothing: the filter that a join
//! finds while it runs keeps pages of them from being read, and the join itself is soon done with the others. Where they
//! are sealed before they get there, they are all written. Constants were fitted to TPC-H and TPC-DS of scale 10 on one
//! machine; on another one all of them are wrong by about the same factor.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::JoinType;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use tidegate_operators::shuffle::{Filters, ShuffleExec};

use crate::graph::{Step, Word};

pub(crate) type Plan = Arc<dyn ExecutionPlan>;

/// Bytes of files that a thread reads in a second.
const SCAN_BYTES_PER_SECOND: f64 = 250e6;
/// The part of a scan that is read whatever a filter takes out: its own columns, and pages of which it keeps something.
const SCAN_OF_KEYS: f64 = 0.6;
/// What a thread needs to put a row to a filter that a join found.
const FILTER_SECONDS_PER_ROW: f64 = 8e-9;
/// What a thread needs for a key of a row that it groups.
const KEY_SECONDS_PER_ROW: f64 = 30e-9;
/// Bytes of a text beside its view, in the mean.
const TEXT_BYTES: f64 = 16.0;
/// Elements of a list, in the mean.
const LIST_LENGTH: f64 = 4.0;

/// The operators of a plan, parents first.
pub(crate) fn operators(plan: &Plan) -> Vec<&Plan> {
    let mut nodes = vec![plan];
    for child in plan.children() {
        nodes.extend(operators(child));
    }
    nodes
}

/// A step, with what it is guessed to do.
pub(crate) struct Work<'a> {
    pub(crate) step: &'a Step,
    /// Seconds of one thread.
    pub(crate) seconds: f64,
    /// Rows that come out, but for those that a join above soon drops.
    kept: f64,
    /// Rows that come out.
    pub(crate) rows: f64,
    /// Bytes of these rows.
    pub(crate) bytes: f64,
    pub(crate) inputs: Vec<Work<'a>>,
}

impl<'a> Work<'a> {
    /// That of a plan, whose operators are `nodes`, parents first.
    pub(crate) fn of(step: &'a Step, nodes: &[&Plan]) -> Self {
        reckoned(step, nodes, 1.0, f64::INFINITY)
    }

    /// Seconds of this step and all below.
    pub(crate) fn total(&self) -> f64 {
        self.seconds + self.inputs.iter().map(Self::total).sum::<f64>()
    }
}

/// `kept` is the part of the rows that filters found above leave, `most` a bound of them from above.
fn reckoned<'a>(step: &'a Step, nodes: &[&Plan], kept: f64, most: f64) -> Work<'a> {
    let operators: Vec<_> = step
        .operators
        .iter()
        .filter_map(|at| nodes.get(*at))
        .collect();
    let below = kept_below(step, &operators, kept);
    let inputs = step.inputs.iter().zip(below);
    let beyond = most_below(step, nodes, most);
    let inputs: Vec<_> = inputs
        .map(|(input, kept)| reckoned(input, nodes, kept, beyond))
        .collect();
    let of = |input: &Work<'_>| input.rows;
    let rows = rows_of(step, &inputs, of).min(most);
    let left = rows_of(step, &inputs, |input| input.kept).min(most);
    let left = left.min(rows * kept);
    let schema = operators.first().map(|plan| plan.schema());
    let bytes = schema.map_or(0.0, |schema| rows * row_bytes(&schema));
    Work {
        seconds: seconds(step, &operators, &inputs, left, kept),
        step,
        kept: left,
        rows,
        bytes,
        inputs,
    }
}

/// Rows of a step: of what gives no more than it takes, at most those of its input.
fn rows_of<'a>(step: &Step, inputs: &[Work<'a>], of: impl Fn(&Work<'a>) -> f64) -> f64 {
    let guessed = step.estimate.rows.map_or(f64::INFINITY, |rows| rows as f64);
    let adds = matches!(
        step.word,
        Word::Join | Word::Union | Word::Scan | Word::Other
    );
    let bound = match inputs {
        [input] if !adds => guessed.min(of(input)),
        _ => guessed,
    };
    if bound.is_finite() { bound } else { 0.0 }
}

/// What an aggregate of one partition gives to the one that has all: at most the groups of each partition.
fn most_below(step: &Step, nodes: &[&Plan], most: f64) -> f64 {
    match (step.word, step.inputs.as_slice()) {
        (Word::Aggregate, [input]) if input.word == Word::Shuffle => {
            let partial = input.inputs.first();
            let partial = partial.filter(|partial| partial.word == Word::Aggregate);
            let at = partial.and_then(|partial| partial.operators.first());
            let partitions = at
                .and_then(|at| nodes.get(*at))
                .map_or(f64::INFINITY, |plan| {
                    plan.output_partitioning().partition_count() as f64
                });
            let groups = step.estimate.rows;
            groups.map_or(f64::INFINITY, |groups| groups.max(1) as f64 * partitions)
        }
        (Word::Shuffle, _) => most,
        _ => f64::INFINITY,
    }
}

/// Which part of the rows of each input the filters leave that this step and those above find.
fn kept_below(step: &Step, operators: &[&&Plan], kept: f64) -> Vec<f64> {
    match (step.word, step.inputs.as_slice()) {
        (Word::Map | Word::Union, inputs) => vec![kept; inputs.len()],
        (Word::Shuffle, inputs) => {
            let shuffle = operators
                .iter()
                .find_map(|plan| plan.downcast_ref::<ShuffleExec>());
            let passes = shuffle.is_some_and(|shuffle| shuffle.filters() == Filters::Pass);
            vec![if passes { kept } else { 1.0 }; inputs.len()]
        }
        // The rows of the first input pass, once the values of the others are known.
        (Word::Join, [_, values @ ..])
            if operators.iter().any(|plan| plan.is::<ScalarSubqueryExec>()) =>
        {
            let of_values = values.iter().map(|_| 1.0);
            std::iter::once(kept).chain(of_values).collect()
        }
        (Word::Join, [_, probe]) => {
            let matched = match (finds_a_filter(operators), step.estimate.rows) {
                (true, Some(out)) => matched(out, probe),
                _ => 1.0,
            };
            vec![1.0, kept * matched]
        }
        (_, inputs) => vec![1.0; inputs.len()],
    }
}

/// Whether a join of these tells its probe side what matches, and gives a row for what does.
fn finds_a_filter(operators: &[&&Plan]) -> bool {
    let mut joins = operators
        .iter()
        .filter_map(|plan| plan.downcast_ref::<HashJoinExec>());
    joins.any(|join| {
        let gives_matches = matches!(join.join_type(), JoinType::Inner | JoinType::RightSemi);
        gives_matches && !join.dynamic_expressions_produced().is_empty()
    })
}

/// Which part of the rows of a probe side matches.
fn matched(out: u64, probe: &Step) -> f64 {
    match probe.estimate.rows {
        Some(probed) if probed > 0 => (out as f64 / probed as f64).min(1.0),
        _ => 1.0,
    }
}

fn seconds(step: &Step, operators: &[&&Plan], inputs: &[Work<'_>], rows: f64, kept: f64) -> f64 {
    let given: f64 = inputs.iter().map(|input| input.kept).sum();
    let per_row = match step.word {
        Word::Scan => {
            let bytes: f64 = operators.iter().map(|plan| scanned(plan)).sum();
            let part = SCAN_OF_KEYS + (1.0 - SCAN_OF_KEYS) * kept;
            let put = match (kept < 1.0, step.estimate.rows) {
                (true, Some(rows)) => rows as f64 * FILTER_SECONDS_PER_ROW,
                _ => 0.0,
            };
            return bytes * part / SCAN_BYTES_PER_SECOND + put;
        }
        Word::Map | Word::Limit | Word::Union | Word::Read | Word::Other => 5e-9,
        Word::Shuffle => 20e-9,
        Word::Join => 60e-9,
        Word::Aggregate => {
            let grouped = operators.iter().map(|plan| grouping(plan));
            return given * grouped.fold(KEY_SECONDS_PER_ROW, f64::max) + rows * 60e-9;
        }
        Word::Sort | Word::Window => 200e-9,
        Word::Write => 300e-9,
    };
    (given + rows) * per_row
}

/// Seconds that an aggregate needs for a row: for each set of its keys, by their number.
fn grouping(plan: &Plan) -> f64 {
    let aggregate = plan.downcast_ref::<AggregateExec>();
    let Some(keys) = aggregate.map(AggregateExec::group_expr) else {
        return 0.0;
    };
    let (sets, keys) = (keys.groups().len().max(1), keys.expr().len());
    sets as f64 * (1 + keys) as f64 * KEY_SECONDS_PER_ROW
}

/// Bytes that a scan reads: of its files the share of the columns that are asked for.
fn scanned(plan: &Plan) -> f64 {
    let scan = plan.downcast_ref::<DataSourceExec>();
    let config = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let (Some(scan), Some(config)) = (scan, config) else {
        return 0.0;
    };
    let files = config.file_groups.iter().flat_map(|group| group.iter());
    let bytes: u64 = files.map(|file| file.effective_size()).sum();
    let all = config.file_schema().fields().len().max(1);
    let columns = ExecutionPlan::schema(scan).fields().len().min(all);
    bytes as f64 * columns as f64 / all as f64
}

/// Bytes of a row, as it is written.
fn row_bytes(schema: &Schema) -> f64 {
    let fields = schema.fields().iter();
    fields.map(|field| value_bytes(field.data_type())).sum()
}

fn value_bytes(of: &DataType) -> f64 {
    match of {
        DataType::Null => 0.0,
        DataType::Boolean => 0.125,
        DataType::Utf8View | DataType::BinaryView => 16.0 + TEXT_BYTES,
        DataType::Utf8 | DataType::Binary => 4.0 + TEXT_BYTES,
        DataType::LargeUtf8 | DataType::LargeBinary => 8.0 + TEXT_BYTES,
        DataType::Dictionary(key, _) => value_bytes(key),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => 8.0 + LIST_LENGTH * value_bytes(field.data_type()),
        DataType::FixedSizeBinary(length) => f64::from(*length),
        DataType::FixedSizeList(field, length) => {
            f64::from(*length) * value_bytes(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().map(|f| value_bytes(f.data_type())).sum(),
        of => of.primitive_width().unwrap_or(16) as f64,
    }
}
