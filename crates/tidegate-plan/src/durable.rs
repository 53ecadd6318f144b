//! Where a durable statement is sealed: at the shuffles where writing costs little beside the work that a kill would
//! have done again.
//!
//! The work of a step and the cost of an edge are guessed in seconds, from estimated rows and the bytes of files. What
//! was not sealed when a process dies is lost, so:
//!
//! 1. A statement that takes less than `max_loss` seals nothing but its result.
//! 2. Otherwise an edge is sealed if that costs at most a tenth of the work on either side of it, or less than the work
//!    that is expected to be lost there: work × the time that follows / `mtbf`, for kills that come at random
//!    (a Poisson process; Young 1974, Daly 2006).
//!    Next to nothing of the whole statement is always little enough.
//! 3. The others stream: their stages are one region, which runs, and after a kill runs again, as a whole.
//!
//! A stage between sealed edges is run in tasks, each of which is sealed alone; there are as many as it takes for one to
//! last about `max_loss`, within a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};
use serde::{Deserialize, Serialize};
use tidegate_operators::shuffle::{Filters, ShuffleExec, To};
use tidegate_operators::write::WriteExec;

use crate::graph::{Estimate, Repeats, Step, Word, is_shared_build};

type Plan = Arc<dyn ExecutionPlan>;

/// Bytes of files that a thread reads in a second.
const SCAN_BYTES_PER_SECOND: f64 = 250e6;
/// Bytes of rows that a thread writes, and reads again, in a second.
const SEAL_BYTES_PER_SECOND: f64 = 500e6;
/// What a thread needs to put a row into the table of a join. A sealed broadcast is put into one in each task that reads it,
/// and a streamed one once for all.
const BUILD_SECONDS_PER_ROW: f64 = 80e-9;
/// What a thread needs for a key of a row that it groups.
const KEY_SECONDS_PER_ROW: f64 = 30e-9;
/// What a sealed file costs beside its bytes.
const SEAL_SECONDS_PER_TASK: f64 = 0.002;
/// The part of the work that sealing may cost.
const BUDGET: f64 = 0.1;
/// What costs no more than this part of the whole is sealed without further ado: a shuffle that streams would keep the
/// stages around it from running in tasks.
const SMALL: f64 = 0.005;
/// Bytes of a row of unknown width.
const ROW_BYTES: f64 = 64.0;
/// A longer name of an edge pushes its line to the right.
const EDGE_WIDTH_MAX: usize = 60;
/// Tasks of a stage that one thread runs one after the other, at most.
const TASKS_PER_THREAD_MAX: usize = 4;

/// How much a durable statement seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointMode {
    /// Where it pays.
    #[default]
    Auto,
    /// At every shuffle.
    All,
    /// Only the result.
    None,
}

/// How a durable statement is to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How much.
    pub mode: CheckpointMode,
    /// The mean time between two kills.
    pub mtbf: Duration,
    /// The work that a kill may cost.
    pub max_loss: Duration,
    /// Threads that work at the same time.
    pub threads: usize,
    /// Whether there may be more partitions than were asked for, so that each task is short.
    pub spreads: bool,
}

/// What was decided about an edge, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What moves along it, as EXPLAIN says it.
    pub edge: String,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Seconds of work before it that would be done again.
    pub work: f64,
    /// Seconds that sealing costs.
    pub cost: f64,
    /// Bytes that are written.
    pub bytes: f64,
    /// The reason, in words.
    pub why: String,
    /// What running all before it again gives.
    pub repeats: Repeats,
}

/// What is sealed of a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seals {
    /// The positions of the shuffles that are sealed, parents first.
    pub(crate) at: HashMap<usize, bool>,
    pub(crate) choices: Vec<Choice>,
    /// How many tasks a thread should run of the longest stage.
    pub(crate) tasks_per_thread: usize,
}

/// The plan with a place to seal at its end: its rows in one partition, or what is about to be written.
pub(crate) fn ended(plan: Plan) -> Result<Plan> {
    if let Some(write) = plan.downcast_ref::<WriteExec>() {
        let input = write.input();
        if input.is::<ShuffleExec>() {
            return Ok(plan);
        }
        let partitions = input.output_partitioning().partition_count();
        let to = To::Forward { partitions };
        let forward = ShuffleExec::try_new(Arc::clone(input), to, Filters::Stop)?;
        return replace_children_if_necessary(Arc::clone(&plan), vec![Arc::new(forward)]);
    }
    if plan.is::<ShuffleExec>() {
        return Ok(plan);
    }
    let order = plan.output_ordering().cloned();
    let single = ShuffleExec::try_new(plan, To::Single { order }, Filters::Stop)?;
    Ok(Arc::new(single))
}

/// Decides which shuffles of a plan are sealed. `root` describes the plan, and its end is sealed in any case.
pub(crate) fn choose(plan: &Plan, root: &Step, checkpoint: &Checkpoint) -> Seals {
    let mut nodes = Vec::new();
    walk(plan, &mut nodes);
    let total = total(root, &nodes) / checkpoint.threads.max(1) as f64;
    let mut choose = Choose {
        nodes,
        checkpoint,
        total,
        before: 0.0,
        seals: Seals::default(),
        longest: 0.0,
        builds: 0.0,
    };
    choose.visit(root, 0.0);
    let longest = choose.longest / checkpoint.max_loss.as_secs_f64().max(0.001);
    let affordable = choose.tasks_per_thread_max();
    let mut seals = choose.seals;
    seals.tasks_per_thread = match checkpoint.mode {
        CheckpointMode::Auto => (longest.ceil() as usize).clamp(1, affordable),
        CheckpointMode::All | CheckpointMode::None => 1,
    };
    seals
}

fn walk<'a>(plan: &'a Plan, nodes: &mut Vec<&'a Plan>) {
    nodes.push(plan);
    for child in plan.children() {
        walk(child, nodes);
    }
}

fn total(step: &Step, nodes: &[&Plan]) -> f64 {
    let below: f64 = step.inputs.iter().map(|input| total(input, nodes)).sum();
    below + seconds(step, nodes)
}

struct Choose<'a> {
    nodes: Vec<&'a Plan>,
    checkpoint: &'a Checkpoint,
    /// Seconds that the whole statement takes.
    total: f64,
    /// Seconds of the steps that were visited: about what runs before.
    before: f64,
    seals: Seals,
    /// Seconds of the longest stretch between two seals that can run in tasks.
    longest: f64,
    /// Seconds that each task which reads sealed broadcasts needs to build tables of them, in total.
    builds: f64,
}

/// Work that nothing has sealed yet.
#[derive(Clone, Copy)]
struct Unsealed {
    seconds: f64,
    /// It cannot run in tasks.
    is_region: bool,
}

impl Choose<'_> {
    fn threads(&self) -> f64 {
        self.checkpoint.threads.max(1) as f64
    }

    /// Tasks of a stage, at most.
    fn tasks(&self) -> usize {
        let partitions = self
            .nodes
            .iter()
            .map(|plan| plan.output_partitioning().partition_count());
        partitions.max().unwrap_or(1)
    }

    /// So many tasks may one thread run of a stage that building tables again keeps within the budget.
    fn tasks_per_thread_max(&self) -> usize {
        let budget = BUDGET * self.total * self.threads();
        let tasks = 1.0 + budget / self.builds.max(f64::MIN_POSITIVE);
        ((tasks / self.threads()) as usize).clamp(1, TASKS_PER_THREAD_MAX)
    }

    /// Visits a step whose consumer, up to the next shuffle, takes so long.
    fn visit(&mut self, step: &Step, consumer: f64) -> Unsealed {
        let own = seconds(step, &self.nodes) / self.threads();
        let above = match step.word {
            Word::Shuffle => 0.0,
            _ => consumer + own,
        };
        let mut unsealed = Unsealed {
            seconds: own,
            is_region: false,
        };
        for input in &step.inputs {
            let below = self.visit(input, above);
            unsealed.seconds += below.seconds;
            unsealed.is_region |= below.is_region;
        }
        let shares = step.operators.iter().any(|at| {
            let plan = self.nodes.get(*at);
            plan.is_some_and(|plan| is_shared_build(plan))
        });
        unsealed.is_region |= shares;
        self.before += own;
        if !unsealed.is_region {
            self.longest = self.longest.max(unsealed.seconds);
        }
        let position = step.operators.iter().find_map(|at| {
            let shuffle = self.nodes.get(*at)?.downcast_ref::<ShuffleExec>()?;
            Some((*at, shuffle.to().clone()))
        });
        let Some((position, to)) = position else {
            return unsealed;
        };
        let choice = self.choice(step, position, &to, unsealed, consumer);
        let sealed = choice.sealed;
        if sealed && matches!(to, To::Broadcast) {
            self.builds += rows(step) * BUILD_SECONDS_PER_ROW;
        }
        self.seals.at.insert(position, sealed);
        self.seals.choices.push(choice);
        match sealed {
            true => Unsealed {
                seconds: 0.0,
                is_region: false,
            },
            false => Unsealed {
                is_region: unsealed.is_region || !matches!(to, To::Forward { .. }),
                ..unsealed
            },
        }
    }

    fn choice(
        &self,
        step: &Step,
        position: usize,
        to: &To,
        unsealed: Unsealed,
        consumer: f64,
    ) -> Choice {
        let work = unsealed.seconds;
        let bytes = bytes(step);
        let again = match to {
            To::Broadcast => (self.tasks() - 1) as f64 * rows(step) * BUILD_SECONDS_PER_ROW,
            _ => 0.0,
        };
        let spent = 2.0 * bytes / SEAL_BYTES_PER_SECOND + again;
        let cost = spent / self.threads() + SEAL_SECONDS_PER_TASK;
        let max_loss = self.checkpoint.max_loss.as_secs_f64();
        let rest = (self.total - self.before).max(0.0);
        let expected = work * rest / self.checkpoint.mtbf.as_secs_f64().max(0.001);
        let around = work.max(consumer);
        // Of a region the partitions come out as one.
        let mixes = unsealed.is_region && matches!(to, To::Forward { .. });
        let (sealed, why) = match self.checkpoint.mode {
            _ if position == 0 => (true, "it is the result".to_string()),
            CheckpointMode::None => (false, "nothing but the result is to be sealed".into()),
            _ if mixes => (false, "what it moves streams already".into()),
            CheckpointMode::All => (true, "everything is to be sealed".into()),
            CheckpointMode::Auto if self.total < max_loss => (
                false,
                format!("all of it takes {}, less than max_loss", time(self.total)),
            ),
            CheckpointMode::Auto if expected > cost => (
                true,
                format!("kills are expected to cost {} here", time(expected)),
            ),
            CheckpointMode::Auto if cost <= SMALL * self.total => (
                true,
                format!("sealing costs {}, next to nothing", time(cost)),
            ),
            CheckpointMode::Auto if cost <= BUDGET * around => (
                true,
                format!(
                    "sealing costs {}, at most a tenth of the {} around it",
                    time(cost),
                    time(around)
                ),
            ),
            CheckpointMode::Auto => (
                false,
                format!(
                    "sealing costs {}, more than a tenth of the {} around it",
                    time(cost),
                    time(around)
                ),
            ),
        };
        Choice {
            edge: format!("{} {}", step.word, step.detail),
            sealed,
            work,
            cost,
            bytes,
            why,
            repeats: step.repeats,
        }
    }
}

/// Where a statement is sealed, for EXPLAIN: a line for each edge, with the arithmetic of the choice.
pub fn explain_choices(choices: &[Choice], checkpoint: &Checkpoint) -> String {
    let mode = match checkpoint.mode {
        CheckpointMode::Auto => "auto",
        CheckpointMode::All => "all",
        CheckpointMode::None => "none",
    };
    let (max_loss, mtbf) = (checkpoint.max_loss, checkpoint.mtbf);
    let mut text = format!(
        "checkpoints: mode {mode}, max_loss {}, mtbf {}\n",
        time(max_loss.as_secs_f64()),
        time(mtbf.as_secs_f64())
    );
    let width = choices.iter().map(|c| c.edge.chars().count()).max();
    let width = width.unwrap_or(0).min(EDGE_WIDTH_MAX);
    for choice in choices.iter().rev() {
        let word = match choice.sealed {
            true => "sealed ",
            false => "streams",
        };
        text += &format!(
            "{word}  {:width$}  {} of work before it, {} to seal: {}; {}\n",
            choice.edge,
            time(choice.work),
            crate::explain::bytes_text(choice.bytes as u64),
            choice.why,
            choice.repeats,
        );
    }
    text += "exact: run again, a stage gives the same bits; unordered: the same rows; varies: perhaps others\n";
    text
}

/// A time as people say it.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 120.0 => format!("{:.0} min", s / 60.0),
        s if s >= 10.0 => format!("{s:.0} s"),
        s if s >= 0.1 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1000.0),
    }
}

/// Rows of a step: of what gives no more than it takes, at most those of its input.
fn rows(step: &Step) -> f64 {
    let own = step.estimate.rows.map_or(f64::INFINITY, |rows| rows as f64);
    let keeps = !matches!(
        step.word,
        Word::Join | Word::Union | Word::Scan | Word::Other
    );
    let bound = match step.inputs.as_slice() {
        [input] if keeps => own.min(rows(input)),
        _ => own,
    };
    if bound.is_finite() { bound } else { 0.0 }
}

fn bytes(step: &Step) -> f64 {
    let Estimate {
        rows: guessed,
        bytes,
        ..
    } = step.estimate;
    match (bytes, guessed) {
        (Some(bytes), Some(guessed)) if guessed > 0 => {
            bytes as f64 * (rows(step) / guessed as f64).min(1.0)
        }
        (Some(bytes), _) => bytes as f64,
        (None, _) => rows(step) * ROW_BYTES,
    }
}

/// Seconds of one thread that a step takes.
fn seconds(step: &Step, nodes: &[&Plan]) -> f64 {
    let given: f64 = step.inputs.iter().map(rows).sum();
    let per_row = match step.word {
        Word::Scan => {
            let read = step.operators.iter().map(|at| read(nodes.get(*at)));
            return read.sum::<f64>() / SCAN_BYTES_PER_SECOND;
        }
        Word::Map | Word::Limit | Word::Union | Word::Read | Word::Other => 5e-9,
        Word::Shuffle => 20e-9,
        Word::Join => 60e-9,
        Word::Aggregate => {
            let grouped = step.operators.iter().map(|at| grouping(nodes.get(*at)));
            return given * grouped.fold(KEY_SECONDS_PER_ROW, f64::max) + rows(step) * 60e-9;
        }
        Word::Sort | Word::Window => 200e-9,
        Word::Write => 300e-9,
    };
    (given + rows(step)) * per_row
}

/// Seconds that an aggregate needs for a row: for each set of its keys, by their number.
fn grouping(plan: Option<&&Plan>) -> f64 {
    let aggregate = plan.and_then(|plan| plan.downcast_ref::<AggregateExec>());
    let Some(keys) = aggregate.map(AggregateExec::group_expr) else {
        return 0.0;
    };
    let (sets, keys) = (keys.groups().len().max(1), keys.expr().len());
    sets as f64 * (1 + keys) as f64 * KEY_SECONDS_PER_ROW
}

/// Bytes that a scan reads: of its files the share of the columns that are asked for.
fn read(plan: Option<&&Plan>) -> f64 {
    let scan = plan.and_then(|plan| plan.downcast_ref::<DataSourceExec>());
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
