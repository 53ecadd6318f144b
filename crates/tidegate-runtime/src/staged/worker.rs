//! Where attempts run: the seam between the scheduler and whoever computes.

use std::fmt;
use std::sync::Arc;

use datafusion::error::Result;
use futures::future::BoxFuture;
use tidegate_operators::shuffle::Sealed;

use super::builds::BuildsOfStages;
use super::outputs::Outputs;
use super::{StagedQuery, task};
use crate::scheduler::{AttemptId, TaskId};

/// Runs attempts of tasks: the threads of this process, or somebody elsewhere.
pub trait Worker: Send + Sync {
    /// How many it runs at once.
    fn slots(&self) -> usize;

    /// Runs an attempt. Dropping what it gives stops the attempt, and a panic in it fails the attempt.
    fn run(&self, call: Call) -> BoxFuture<'static, Ran>;
}

/// What became of an attempt.
pub enum Ran {
    /// It ended: with its sealed output, or with an error of its own.
    Ended(Result<Sealed>),
    /// The worker is no more, with all that it ran. It is asked for nothing again.
    WorkerGone,
}

/// An attempt that a worker is asked to run.
pub struct Call {
    pub(super) query: Arc<StagedQuery>,
    pub(super) outputs: Arc<Outputs>,
    pub(super) builds: Arc<BuildsOfStages>,
    pub(super) task: TaskId,
    pub(super) attempt: AttemptId,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("task", &self.task)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// The task.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Which try of it.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Runs it in this process, to its end.
    pub async fn run(self) -> Result<Sealed> {
        task::run(&self).await
    }
}

/// The threads of this process.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    /// How many tasks they run at once.
    pub slots: usize,
}

impl Worker for Here {
    fn slots(&self) -> usize {
        self.slots
    }

    fn run(&self, call: Call) -> BoxFuture<'static, Ran> {
        Box::pin(async move { Ran::Ended(call.run().await) })
    }
}
