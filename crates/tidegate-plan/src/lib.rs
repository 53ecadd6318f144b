//! From SQL to a graph of stages: dialect, rules, compilation, encoding and EXPLAIN of plans.
//!
//! Owns everything between SQL text and the [`StageGraph`] that the runtime executes. It decides and never acts:
//! it spawns nothing, reads no clock, draws no random number, opens no file and never calls `execute`.

pub mod arithmetic;
mod builds;
mod codec;
mod compile;
mod cut;
mod distribute;
mod durable;
mod evidence;
mod explain;
mod foreseen;
mod given;
mod graph;
mod join_order;
mod map;
mod measured;
mod registry;
mod repeats;
pub mod rules;
mod session;
mod settings;
pub mod sql;
mod steps;
mod times;
mod work;
mod write;

pub use builds::Builds;
pub use codec::{attach, decode, decode_graph, decode_task, encode, encode_graph};
pub use compile::{Optimized, PlanInputs, compile};
pub use cut::restricted;
pub use distribute::{By, Met, Movement, PARTITIONS_MAX, Partition, Shuffle, Why, partition};
pub use durable::{Checkpoint, CheckpointMode, Choice, Choices, explain_choices};
pub use evidence::{Evidence, Question, ScanFiles, scan_files};
pub use explain::{ExplainFormat, explain, explain_analyze};
pub use foreseen::Foreseen;
pub use graph::{
    Distribution, Edge, EdgeForm, Estimate, Repeats, Stage, StageGraph, StageId, Step, StepTree,
    Word,
};
pub use map::map_batches;
pub use measured::{Measured, TaskRan};
pub use registry::{Registry, is_internal};
pub use session::session_state;
pub use settings::{Execution, PlanSettings};
pub use tidegate_operators::map::{Batches, Columns, MapFunction};
pub use tidegate_operators::source::ScanAccess;
pub use write::{Write, write};

use datafusion::error::DataFusionError;

/// What can go wrong between a logical plan and a stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DataFusion refused the plan; the caller maps it as it maps every error of DataFusion.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    /// An encoded stage is not one of ours or is damaged.
    #[error("an encoded stage cannot be read: {0}")]
    Undecodable(String),
    /// Something Tidegate does not do; the message says what to do instead.
    #[error("{0}")]
    Unsupported(String),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
