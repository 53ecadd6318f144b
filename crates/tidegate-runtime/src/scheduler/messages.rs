//! What goes into the scheduler and what comes out: the graph of stages, events and actions.

use std::fmt;
use std::time::Duration;

/// One stage: so many tasks over the output of earlier stages.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSpec {
    /// Earlier stages, by their number. Every task of all of them is sealed before one of this runs.
    pub inputs: Vec<usize>,
    /// How many tasks, at least one.
    pub tasks: usize,
    /// What one task is expected to take: seconds, or any unit if no limit is a factor of it.
    pub cost: f64,
}

/// A task of this job: one partition of one stage.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The number of the stage.
    pub stage: usize,
    /// The partition within it.
    pub partition: usize,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.partition)
    }
}

/// One try of a task, counted for each task from 0.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u32);

/// A worker from its start to its end. One that was lost never comes back under its number: a late
/// message could not be told from a new start.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// Why an attempt failed, as far as it matters for what comes next.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// It may go well the next time: tried again after a pause.
    Retryable,
    /// It ran out of memory: tried again with nothing beside it.
    Repartition,
    /// It will fail again: the job ends.
    Fatal,
    /// The sealed output of `input` is lost or damaged: that is made again, then this.
    Corrupt {
        /// The task whose output could not be read.
        input: TaskId,
    },
}

/// What happened. Each may come late, twice or not at all.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The job begins: nothing runs before.
    Begin,
    /// A worker is there, and can run so many tasks at once. Said again, the last number counts.
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// How many tasks it runs at once.
        slots: usize,
    },
    /// A worker is gone, with all it ran.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
    },
    /// An attempt has sealed its output.
    Sealed {
        /// The task.
        task: TaskId,
        /// The attempt whose output it is.
        attempt: AttemptId,
    },
    /// An attempt failed.
    Failed {
        /// The task.
        task: TaskId,
        /// The attempt that failed.
        attempt: AttemptId,
        /// Why.
        class: FailureClass,
    },
    /// The sealed output of a task is there no more.
    OutputLost {
        /// The task that made it.
        task: TaskId,
    },
    /// The time that a [`Action::WakeAt`] asked for has come.
    Woken,
}

/// What to do, in this order.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start this attempt there.
    Run {
        /// The task.
        task: TaskId,
        /// Which try of it.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// Stop this attempt. Its slot counts as free at once: a worker that is still stopping it
    /// starts what comes next when it has.
    Cancel {
        /// The task.
        task: TaskId,
        /// Which try of it.
        attempt: AttemptId,
        /// Where it runs.
        worker: WorkerId,
    },
    /// Hand in [`Event::Woken`] at this time. The last one said counts.
    WakeAt {
        /// The time since the start.
        at: Duration,
    },
    /// Everything is sealed; the last action.
    Finished,
    /// The job has failed; the last action.
    Fail {
        /// The task it failed of, if it was one.
        task: Option<TaskId>,
        /// Why.
        why: Why,
    },
}

/// Why a job failed.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// A failure that would come again.
    #[error("it failed for good")]
    Fatal,
    /// The last allowed attempt failed.
    #[error("its last allowed attempt failed")]
    Exhausted,
    /// The last allowed attempt was on a worker that was lost: the task may be what kills them.
    #[error("the worker of its last allowed attempt was lost")]
    WorkerLost,
    /// The last allowed attempt ran longer than a task may.
    #[error("it is stuck: its last allowed attempt ran longer than a task may")]
    Stuck,
    /// Its output was lost once more than allowed.
    #[error("its output was lost too often")]
    OutputLost,
    /// Its output was lost after others had used it, and made again it could be another.
    #[error("its output was lost after it had been used, and need not be the same when made again")]
    Varies,
    /// There was nobody to run anything.
    #[error("no worker was there to run tasks")]
    NoWorkers,
}

/// Why a graph or its limits cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// There is no stage.
    #[error("a job needs a stage")]
    NoStage,
    /// A stage has no task.
    #[error("stage {stage} has no task")]
    NoTask {
        /// The stage.
        stage: usize,
    },
    /// An input is not an earlier stage.
    #[error("stage {stage} reads stage {input}, which is not before it")]
    Input {
        /// The stage.
        stage: usize,
        /// What it reads.
        input: usize,
    },
    /// A cost is not a number, or below zero.
    #[error("the cost of a task of stage {stage} is {cost}")]
    Cost {
        /// The stage.
        stage: usize,
        /// Its cost.
        cost: f64,
    },
    /// There are more or fewer costs than tasks.
    #[error("{costs} costs for the {tasks} tasks of stage {stage}")]
    Costs {
        /// The stage.
        stage: usize,
        /// Its tasks.
        tasks: usize,
        /// The costs given.
        costs: usize,
    },
    /// There is no such task.
    #[error("there is no task {task}")]
    Task {
        /// The task named.
        task: TaskId,
    },
    /// There is no such stage.
    #[error("there is no stage {stage}")]
    Stage {
        /// The stage named.
        stage: usize,
    },
    /// A limit that leaves nothing to do.
    #[error("`{limit}` must be above zero")]
    Limit {
        /// Its name.
        limit: &'static str,
    },
}
