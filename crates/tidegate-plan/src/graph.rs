//! The stage graph: what the scheduler runs and what EXPLAIN prints.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::JoinType;
use datafusion::physical_expr::expressions::UnKnownColumn;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use serde::{Deserialize, Serialize};
use tidegate_operators::shuffle::{ShuffleExec, ShuffleReadExec, To};

use crate::durable::Choices;
use crate::foreseen::Foreseen;
use crate::{PlanSettings, repeats};

/// The position of a stage in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub usize);

/// The stages of one query.
#[derive(Debug, Clone)]
pub struct StageGraph {
    // INVARIANT: not empty; the inputs of a stage name earlier stages; the last stage is the result.
    stages: Vec<Stage>,
    is_undivided: bool,
    encoded: Option<Vec<Bytes>>,
    choices: Choices,
    foreseen: Foreseen,
}

impl StageGraph {
    /// A graph of these stages, inputs before their consumers.
    ///
    /// # Errors
    ///
    /// If there is none, or one reads a stage that does not come before it.
    pub fn new(stages: Vec<Stage>) -> crate::Result<Self> {
        let mut edges = stages.iter().enumerate();
        let is_earlier =
            |(number, stage): (usize, &Stage)| stage.inputs.iter().all(|edge| edge.from.0 < number);
        match !stages.is_empty() && edges.all(is_earlier) {
            true => Ok(Self {
                stages,
                is_undivided: false,
                encoded: None,
                choices: Choices::default(),
                foreseen: Foreseen::default(),
            }),
            false => Err(crate::Error::Undecodable(
                "a stage reads one that is not before it".into(),
            )),
        }
    }

    /// The same graph with other plans in its stages.
    pub fn map_plans<E>(
        &self,
        mut f: impl FnMut(&Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, E>,
    ) -> Result<Self, E> {
        let stages = self.stages.iter().map(|stage| {
            Ok(Stage {
                plan: f(&stage.plan)?,
                ..stage.clone()
            })
        });
        Ok(Self {
            stages: stages.collect::<Result<_, E>>()?,
            ..self.clone()
        })
    }

    /// With the bytes of its stages.
    pub(crate) fn with_encoded(self, encoded: Vec<Bytes>) -> Self {
        Self {
            encoded: Some(encoded),
            ..self
        }
    }

    pub(crate) fn with_choices(self, choices: Choices) -> Self {
        let foreseen = self.foreseen.sealing(&choices);
        Self {
            choices,
            foreseen,
            ..self
        }
    }

    pub(crate) fn with_foreseen(self, foreseen: Foreseen) -> Self {
        Self { foreseen, ..self }
    }

    /// What it is expected to need of memory and disk.
    pub fn foreseen(&self) -> Foreseen {
        self.foreseen
    }

    /// The bytes of its stages as they were planned, if they run one after the other or are a job's.
    pub fn encoded(&self) -> Option<&[Bytes]> {
        self.encoded.as_deref()
    }

    /// What of it is sealed and why, if it is a statement of a durable job.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    pub(crate) fn undivided(self) -> Self {
        Self {
            is_undivided: true,
            ..self
        }
    }

    /// Whether it runs in one partition although more were asked for: its rows would have been moved where no shuffle
    /// stands.
    pub fn is_undivided(&self) -> bool {
        self.is_undivided
    }

    /// The same graph with the plan of each stage put in the place where a later one reads it: the plan of the
    /// result stage is the whole query, for edges that all stream.
    ///
    /// # Errors
    ///
    /// If a stage reads one that is not there.
    pub fn joined(&self) -> crate::Result<Self> {
        crate::cut::joined(self)
    }

    /// The stages, inputs before their consumers.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stage whose output is the answer.
    pub fn result(&self) -> &Stage {
        &self.stages[self.stages.len() - 1]
    }

    /// The columns of the answer.
    pub fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.result().plan.schema()
    }
}

/// A part of a query that runs without moving rows between stages.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Where its input comes from. Empty: it reads only tables.
    pub inputs: Vec<Edge>,
    /// What it does, in Tidegate's words.
    pub steps: StepTree,
    /// The operators that do it.
    pub plan: Arc<dyn ExecutionPlan>,
    /// How its output is divided.
    pub output: Distribution,
    /// What running it again gives.
    pub repeats: Repeats,
    /// How much is expected to come out.
    pub estimate: Estimate,
    /// The settings it was planned with.
    pub settings: Arc<PlanSettings>,
}

impl Stage {
    /// Its tasks, one for each partition that its operators work on; one for a region.
    pub fn tasks(&self) -> usize {
        match self.is_region() {
            true => 1,
            false => self.body().output_partitioning().partition_count(),
        }
    }

    /// Whether its partitions cannot run apart, because rows stream between them, or because they tell each other which
    /// rows of a shared build side found a match: then it runs as a whole.
    pub fn is_region(&self) -> bool {
        contains_shuffle(self.body()) || shares_a_build(self.body())
    }

    /// What is below the shuffle that ends it.
    fn body(&self) -> &Arc<dyn ExecutionPlan> {
        match self.plan.downcast_ref::<ShuffleExec>() {
            Some(shuffle) => shuffle.input(),
            None => &self.plan,
        }
    }

    /// Whether each of its tasks, run again, divides its rows as it did before. If not, what it wrote before must not be
    /// mixed with what it writes then: rows would be there twice, or not at all.
    pub fn divides_alike(&self) -> bool {
        repeats::divides_alike(&self.plan)
    }
}

fn shares_a_build(plan: &Arc<dyn ExecutionPlan>) -> bool {
    is_shared_build(plan) || plan.children().into_iter().any(shares_a_build)
}

/// Whether all partitions of a join use one build side whose unmatched, or once matched, rows come out.
pub(crate) fn is_shared_build(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let (join_type, probe) = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        match join.partition_mode() {
            PartitionMode::CollectLeft => (join.join_type(), join.right()),
            PartitionMode::Partitioned | PartitionMode::Auto => return false,
        }
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        (join.join_type(), join.right())
    } else {
        return false;
    };
    gives_build_rows(*join_type) && probe.output_partitioning().partition_count() > 1
}

/// Whether rows of the build side come out at the end of a join: those that matched nothing, or something.
pub(crate) fn gives_build_rows(join_type: JoinType) -> bool {
    matches!(
        join_type,
        JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::Full
    )
}

fn contains_shuffle(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<ShuffleExec>() || plan.children().into_iter().any(contains_shuffle)
}

/// A connection from an earlier stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The stage that writes it.
    pub from: StageId,
    /// How it is carried.
    pub form: EdgeForm,
}

/// How rows travel along an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeForm {
    /// Through a bounded queue in memory: both stages run at the same time.
    Stream,
    /// Written, verified and journalled: the consumer starts when it is complete.
    Sealed,
}

/// How rows are divided among partitions.
#[derive(Debug, Clone)]
pub enum Distribution {
    /// All in one partition, in an order or none.
    Single {
        /// The order of the rows.
        order: Option<LexOrdering>,
    },
    /// By a hash of the keys.
    Hash {
        /// What is hashed.
        keys: Vec<Arc<dyn PhysicalExpr>>,
        /// How many partitions.
        partitions: usize,
    },
    /// By ranges of an order.
    Range {
        /// The order.
        key: LexOrdering,
        /// How many partitions.
        partitions: usize,
    },
    /// As it came, or dealt in turn: nothing is promised.
    RoundRobin {
        /// How many partitions.
        partitions: usize,
    },
    /// At random, the same for the same seed.
    Random {
        /// How many partitions.
        partitions: usize,
        /// Where the random numbers come from.
        seed: u64,
    },
    /// Every partition has all rows.
    Broadcast,
}

impl Distribution {
    /// How the output of an operator is divided.
    pub fn of(plan: &dyn ExecutionPlan) -> Self {
        let shuffle = plan.downcast_ref::<ShuffleExec>().map(ShuffleExec::to);
        let read = || Some(plan.downcast_ref::<ShuffleReadExec>()?.to());
        match shuffle.or_else(read) {
            Some(To::Broadcast) if shuffle.is_some() => return Distribution::Broadcast,
            // To those above it is divided somehow.
            Some(To::Random { partitions, seed }) => {
                return Distribution::Random {
                    partitions: *partitions,
                    seed: *seed,
                };
            }
            Some(To::Range(ranges)) => {
                return Distribution::Range {
                    key: ranges.order().clone(),
                    partitions: ranges.count(),
                };
            }
            _ => {}
        }
        match plan.output_partitioning() {
            partitioning if partitioning.partition_count() <= 1 => Distribution::Single {
                order: plan.output_ordering().cloned(),
            },
            // A key that is no longer among the columns promises nothing to anybody.
            Partitioning::Hash(keys, partitions)
                if keys.iter().any(|key| key.is::<UnKnownColumn>()) =>
            {
                Distribution::RoundRobin {
                    partitions: *partitions,
                }
            }
            Partitioning::Hash(keys, partitions) => Distribution::Hash {
                keys: keys.clone(),
                partitions: *partitions,
            },
            Partitioning::Range(range) => Distribution::Range {
                key: range.ordering().clone(),
                partitions: range.partition_count(),
            },
            other => Distribution::RoundRobin {
                partitions: other.partition_count(),
            },
        }
    }

    /// How many partitions there are; `None` for one that has no number of its own.
    pub fn partitions(&self) -> Option<usize> {
        match self {
            Distribution::Single { .. } => Some(1),
            Distribution::Hash { partitions, .. }
            | Distribution::Range { partitions, .. }
            | Distribution::RoundRobin { partitions }
            | Distribution::Random { partitions, .. } => Some(*partitions),
            Distribution::Broadcast => None,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::steps::{expression, list, ordering};
        match self {
            Distribution::Single { order: None } => write!(f, "single"),
            Distribution::Single { order: Some(order) } => {
                write!(f, "single, ordered by {}", ordering(order))
            }
            Distribution::Hash { keys, partitions } => {
                write!(
                    f,
                    "hash({}) in {partitions}",
                    list(keys.iter().map(|key| expression(key.as_ref())))
                )
            }
            Distribution::Range { key, partitions } => {
                write!(f, "range({}) in {partitions}", ordering(key))
            }
            Distribution::RoundRobin { partitions } => write!(f, "{partitions} partitions"),
            Distribution::Random { partitions, seed } => {
                write!(f, "random({seed}) in {partitions}")
            }
            Distribution::Broadcast => write!(f, "broadcast"),
        }
    }
}

/// What running a stage, or a part of one, again gives. Worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Repeats {
    /// The same rows in the same order: lost output may be computed again alone.
    Exactly,
    /// The same rows in any order: it may be computed again unless a consumer depends on the order.
    AnyOrder,
    /// Perhaps other rows: consumers must be computed again with it.
    Varies,
}

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Repeats::Exactly => "exact",
            Repeats::AnyOrder => "unordered",
            Repeats::Varies => "varies",
        })
    }
}

/// How much is expected to come out of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Rows, if anything is known.
    pub rows: Option<u64>,
    /// Bytes, if anything is known.
    pub bytes: Option<u64>,
    /// The rows are counted, not guessed.
    pub exact: bool,
}

/// What a step does, in the words that the whole of Tidegate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// Reads a table.
    Scan,
    /// Filters and computes row by row.
    Map,
    /// Moves rows between partitions.
    Shuffle,
    /// Reduces groups.
    Aggregate,
    /// Brings two inputs together.
    Join,
    /// Orders.
    Sort,
    /// Computes over neighbouring rows.
    Window,
    /// Stops after some rows.
    Limit,
    /// Reads what an earlier stage has shuffled.
    Read,
    /// Puts inputs one after the other.
    Union,
    /// Writes files.
    Write,
    /// What no word fits, under the name of its operator.
    Other,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Word::Scan => "scan",
            Word::Map => "map",
            Word::Shuffle => "shuffle",
            Word::Aggregate => "aggregate",
            Word::Join => "join",
            Word::Sort => "sort",
            Word::Window => "window",
            Word::Limit => "limit",
            Word::Read => "read",
            Word::Union => "union",
            Word::Write => "write",
            Word::Other => "step",
        })
    }
}

/// The steps of a stage, the last one first.
#[derive(Debug, Clone)]
pub struct StepTree {
    /// The step that gives the output.
    pub root: Step,
}

/// One line of EXPLAIN.
#[derive(Debug, Clone)]
pub struct Step {
    /// The word.
    pub word: Word,
    /// Its particulars, one line.
    pub detail: String,
    /// How its output is divided.
    pub output: Distribution,
    /// How much comes out.
    pub estimate: Estimate,
    /// What running up to here again gives.
    pub repeats: Repeats,
    /// The operators that do it, as positions in the plan walked parents first; the first one gives the output.
    pub operators: Vec<usize>,
    /// What it reads.
    pub inputs: Vec<Step>,
}
