//! Where a durable statement is sealed: at the shuffles where writing costs little beside the work that a kill would
//! have done again.
//!
//! The work of a step and the cost of an edge are guessed in seconds, from estimated rows and the bytes of files. What
//! was not sealed when a process dies is lost, so:
//!
//! 1. A statement that takes less than twice `max_loss` seals nothing but its result: killed at some moment, it loses less than
//!    `max_loss` in the mean.
//! 2. Otherwise an edge is sealed if that costs at most a quarter of the work on either side of it, as long as all that is
//!    sealed costs at most a tenth of the statement; or if it costs less than the work that is expected to be lost there:
//!    work × the time that follows / `mtbf`, for kills that come at random (a Poisson process; Young 1974, Daly 2006).
//!    Next to nothing of the whole statement is always little enough. The tenth is spent from the scans upwards.
//! 3. The others stream: their stages are one region, which runs, and after a kill runs again, as a whole.
//!
//! A stage between sealed edges is run in tasks, each of which is sealed alone; there are as many as it takes for one to
//! last about `max_loss`, within a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlanProperties, replace_children_if_necessary};
use serde::{Deserialize, Serialize};
use tidegate_operators::shuffle::{Filters, ShuffleExec, To};
use tidegate_operators::write::WriteExec;

use crate::graph::{Repeats, Step, Word, is_shared_build};
use crate::work::{self, Plan, Work};

/// Bytes of rows that a thread writes, or reads again, in a second: compressed, and put to the disk by the system while
/// others are computed. What it costs less to stream them is not in it.
const SEAL_BYTES_PER_SECOND: f64 = 2e9;
/// What a sealed file costs beside its bytes.
const SEAL_SECONDS_PER_TASK: f64 = 0.002;
/// The part of the work of a statement that sealing may cost.
const BUDGET: f64 = 0.1;
/// The part of the work on one side of an edge that sealing it may cost.
const BUDGET_OF_EDGE: f64 = 0.25;
/// What costs no more than this part of the whole is sealed without further ado: a shuffle that streams would keep the
/// stages around it from running in tasks.
const SMALL: f64 = 0.005;
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
    /// Bytes that there is room for.
    #[serde(default)]
    pub room: u64,
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

/// What was decided about a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choices {
    /// Seconds that all of it is guessed to take.
    pub total: f64,
    /// Its edges.
    pub edges: Vec<Choice>,
}

/// What is sealed of a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seals {
    /// The positions of the shuffles that are sealed, parents first.
    pub(crate) at: HashMap<usize, bool>,
    pub(crate) choices: Choices,
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
    let nodes = work::operators(plan);
    let work = Work::of(root, &nodes);
    let total = work.total() / checkpoint.threads.max(1) as f64;
    let mut choose = Choose {
        nodes,
        checkpoint,
        total,
        before: 0.0,
        spent: 0.0,
        bytes: 0.0,
        seals: Seals::default(),
        longest: 0.0,
    };
    choose.visit(&work, 0.0);
    let longest = choose.longest / checkpoint.max_loss.as_secs_f64().max(0.001);
    let mut seals = choose.seals;
    seals.choices.total = total;
    seals.tasks_per_thread = match checkpoint.mode {
        CheckpointMode::Auto => (longest.ceil() as usize).clamp(1, TASKS_PER_THREAD_MAX),
        CheckpointMode::All | CheckpointMode::None => 1,
    };
    seals
}

struct Choose<'a> {
    nodes: Vec<&'a Plan>,
    checkpoint: &'a Checkpoint,
    /// Seconds that the whole statement takes.
    total: f64,
    /// Seconds of the steps that were visited: about what runs before.
    before: f64,
    /// Seconds that it costs to seal what was chosen.
    spent: f64,
    /// Bytes of what was chosen.
    bytes: f64,
    seals: Seals,
    /// Seconds of the longest stretch between two seals that can run in tasks.
    longest: f64,
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

    /// Visits a step whose consumer, up to the next shuffle, takes so long.
    fn visit(&mut self, work: &Work<'_>, consumer: f64) -> Unsealed {
        let step = work.step;
        let own = work.seconds / self.threads();
        let above = match step.word {
            Word::Shuffle => 0.0,
            _ => consumer + own,
        };
        let mut unsealed = Unsealed {
            seconds: own,
            is_region: false,
        };
        for input in &work.inputs {
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
        let choice = self.choice(work, position, &to, unsealed, consumer);
        let sealed = choice.sealed;
        if sealed && position > 0 {
            self.spent += choice.cost;
            self.bytes += choice.bytes;
        }
        self.seals.at.insert(position, sealed);
        self.seals.choices.edges.push(choice);
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
        edge: &Work<'_>,
        position: usize,
        to: &To,
        unsealed: Unsealed,
        consumer: f64,
    ) -> Choice {
        let (step, bytes, work) = (edge.step, edge.bytes, unsealed.seconds);
        let spent = 2.0 * bytes / SEAL_BYTES_PER_SECOND;
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
            CheckpointMode::Auto if self.total < 2.0 * max_loss => (
                false,
                format!(
                    "all of it takes {}, less than twice max_loss",
                    time(self.total)
                ),
            ),
            CheckpointMode::Auto if self.bytes + bytes > self.checkpoint.room as f64 => (
                false,
                format!(
                    "with what else is sealed it is more than the {} that there is room for",
                    crate::explain::bytes_text(self.checkpoint.room)
                ),
            ),
            CheckpointMode::Auto if expected > cost => (
                true,
                format!("kills are expected to cost {} here", time(expected)),
            ),
            CheckpointMode::Auto if cost <= SMALL * self.total => (
                true,
                format!("sealing costs {}, next to nothing", time(cost)),
            ),
            CheckpointMode::Auto if cost > BUDGET_OF_EDGE * around => (
                false,
                format!(
                    "sealing costs {}, more than a quarter of the {} around it",
                    time(cost),
                    time(around)
                ),
            ),
            CheckpointMode::Auto if self.spent + cost > BUDGET * self.total => (
                false,
                format!(
                    "sealing costs {}, and with what else is sealed more than a tenth of all",
                    time(cost)
                ),
            ),
            CheckpointMode::Auto => (
                true,
                format!(
                    "sealing costs {}, and all of it at most a tenth",
                    time(cost)
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
pub fn explain_choices(choices: &Choices, checkpoint: &Checkpoint) -> String {
    let mode = match checkpoint.mode {
        CheckpointMode::Auto => "auto",
        CheckpointMode::All => "all",
        CheckpointMode::None => "none",
    };
    let (max_loss, mtbf) = (checkpoint.max_loss, checkpoint.mtbf);
    let mut text = format!(
        "checkpoints: mode {mode}, max_loss {}, mtbf {}; about {} of work\n",
        time(max_loss.as_secs_f64()),
        time(mtbf.as_secs_f64()),
        time(choices.total)
    );
    let width = choices.edges.iter().map(|c| c.edge.chars().count()).max();
    let width = width.unwrap_or(0).min(EDGE_WIDTH_MAX);
    for choice in choices.edges.iter().rev() {
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
