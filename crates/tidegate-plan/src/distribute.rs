//! Makes a dataflow of a relational plan: writes every movement of rows into it as a [`Shuffle`].
//!
//! ```text
//! plan in join order ─▶ pass.rs: shuffles where rows must come together ─▶ DataFusion's physical planner
//!                       known.rs: how rows are divided already            node.rs: the shuffle as a node
//!                       partition.rs: divisions that are asked for
//!                       bounds.rs: the bounds of ranges
//!                                                                          rules.rs: join modes, partial aggregates
//!                                                                          below the shuffle, nothing else moves rows
//! ```
//!
//! It is the last logical pass and no optimizer rule: those run several times. What the physical planner would move on
//! its own is refused by [`rules::NothingElseMoves`]; such a plan, which the tests have not met, is made again with one
//! partition, where nothing has to be moved.

mod bounds;
mod known;
mod node;
mod partition;
mod pass;
mod rules;

pub(crate) use bounds::{asked, with_bounds};
pub(crate) use node::ShufflePlanner;
pub use node::{Movement, Shuffle, Why};
pub use partition::{By, Met, PARTITIONS_MAX, Partition, partition};
pub(crate) use partition::{as_partition, check_count};
pub(crate) use pass::Scans;
pub(crate) use rules::{
    CombineBeforeShuffle, JoinModes, NothingElseMoves, UnneededShuffles, is_foreign,
};

use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use crate::evidence;
use crate::graph::EdgeForm;
use crate::settings::Execution;

/// Says, as an extension of the configuration, that a plan is written down before it runs.
#[derive(Debug)]
pub(crate) struct Encoded;

/// The plan with every movement of rows written into it.
pub(crate) fn distributed(plan: LogicalPlan, session: &dyn Session) -> Result<LogicalPlan> {
    let execution = session.config().get_extension::<Execution>();
    let execution = execution.map_or_else(Execution::default, |execution| *execution);
    let distributor = pass::Distributor {
        partitions: session.config().target_partitions(),
        is_encoded: execution.form() == EdgeForm::Sealed
            || session.config().get_extension::<Encoded>().is_some(),
        builds: match execution.form() {
            EdgeForm::Stream => pass::Builds::OfOneProcess,
            EdgeForm::Sealed => pass::Builds::OfEachTask,
        },
        scans: &|scan| evidence::scans(scan, session),
        repeats: pass::Repeats::Once,
    };
    distributor.distribute(plan)
}
