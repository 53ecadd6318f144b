//! Runs a graph stage by stage: each task is its own decoded plan, restricted to its partition, and what it writes is
//! sealed before anybody reads it. A task that fails is tried again, and nothing else with it.
//!
//! ```text
//! Scheduler ─▶ Run ─▶ decode ▸ attach ▸ restrict ▸ execute ▸ SealedWriter ─▶ Outputs ─▶ Scheduler
//! ```

mod outputs;
mod task;

pub use task::{Damage, Fault};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};
use tidegate_checkpoint::{TempRoot, Vfs};
use tidegate_operators::shuffle::{Sealed, ShuffleExec, ShuffleReadExec};
use tidegate_operators::source::ScanAccess;
use tidegate_plan::{Registry, StageGraph, StageId, encode};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use crate::pool::CpuPool;
use crate::run::{Running, run_stream};
use crate::scheduler::{
    Action, AttemptId, Event, Limits, Policy, Scheduler, StageSpec, TaskId, Why, WorkerId,
};
use outputs::Outputs;

/// The one worker: this process.
const HERE: WorkerId = WorkerId(0);

/// What tasks run with.
pub struct StagedQuery {
    /// What is run. Nothing is attached to its scans.
    pub graph: StageGraph,
    /// The functions that plans may name.
    pub registry: Registry,
    /// What scans read with.
    pub access: ScanAccess,
    /// Configuration, functions and resources.
    pub state: SessionState,
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// Where the files of tasks go, and how large they may be together.
    pub temp: Arc<TempRoot>,
    /// How often and how long tasks are tried.
    pub limits: Limits,
    /// Which task comes first.
    pub policy: Policy,
    /// Makes tasks fail.
    pub fault: Option<Fault>,
    /// Damages what they have sealed.
    pub damage: Option<Damage>,
}

/// A task could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The scheduler gave up.
    #[error("task {task} of the query: {why}")]
    Task {
        /// Which one.
        task: TaskId,
        /// Why.
        why: Why,
    },
    /// What it wrote is lost, and what it would write now does not go with what others have read.
    #[error(
        "what task {0} of the query has written is lost, and running it again would divide its rows otherwise"
    )]
    Divides(TaskId),
    /// The scheduler gave up, and not because of one task.
    #[error("the query: {0}")]
    Job(Why),
}

/// Starts a graph on the pool.
pub fn run_staged(pool: &CpuPool, query: StagedQuery) -> Running {
    let (handle, slots) = (pool.handle(), pool.threads());
    run_stream(
        pool,
        async move { Arc::new(query).answer(handle, slots).await },
    )
}

impl StagedQuery {
    async fn answer(
        self: Arc<Self>,
        handle: Handle,
        slots: usize,
    ) -> Result<SendableRecordBatchStream> {
        let stages = self.graph.stages();
        let last = stages.len() - 1;
        let ends_with_shuffle = self.graph.result().plan.is::<ShuffleExec>();
        let sealed = match ends_with_shuffle {
            true => stages.len(),
            false => last,
        };
        let tasks = stages[..sealed].iter().map(|stage| stage.tasks()).collect();
        let outputs = Arc::new(Outputs::new(tasks, Arc::clone(&self.vfs)));
        let encoded = stages.iter().map(encode);
        let encoded = encoded.collect::<tidegate_plan::Result<Vec<_>>>();
        let encoded = encoded.map_err(external)?;
        if sealed > 0 {
            self.seal(&encoded[..sealed], &outputs, &handle, slots)
                .await?;
        }
        let result = self.graph.result();
        if let Some(shuffle) = result.plan.downcast_ref::<ShuffleExec>() {
            let statistics = StatisticsContext::new();
            let statistics = statistics.compute(shuffle, &StatisticsArgs::new())?;
            let read = ShuffleReadExec::of(shuffle, 0, statistics);
            let context = self.context_of(&outputs, vec![StageId(last)]);
            return read.execute(0, context);
        }
        let task = TaskId {
            stage: last,
            partition: 0,
        };
        let plan = self.plan_of(&encoded[last], task)?;
        let inputs = result.inputs.iter().map(|edge| edge.from);
        plan.execute(0, self.context_of(&outputs, inputs.collect()))
    }

    /// Runs all tasks of these stages.
    async fn seal(
        self: &Arc<Self>,
        encoded: &[Bytes],
        outputs: &Arc<Outputs>,
        handle: &Handle,
        slots: usize,
    ) -> Result<()> {
        let stages = self.graph.stages()[..encoded.len()].iter();
        let specs = stages.map(|stage| StageSpec {
            inputs: stage.inputs.iter().map(|edge| edge.from.0).collect(),
            tasks: stage.tasks(),
            cost: stage.estimate.rows.unwrap_or(0) as f64 / stage.tasks().max(1) as f64,
        });
        let scheduler = Scheduler::new(specs.collect(), self.limits.clone(), self.policy.clone());
        let mut job = Job {
            query: self,
            encoded,
            outputs,
            handle,
            scheduler: scheduler.map_err(external)?,
            start: Instant::now(),
            running: JoinSet::new(),
            aborts: HashMap::new(),
            errors: HashMap::new(),
            sealed: HashSet::new(),
            wake: None,
        };
        job.run(slots).await
    }
}

/// Stages that are being sealed.
struct Job<'a> {
    query: &'a Arc<StagedQuery>,
    encoded: &'a [Bytes],
    outputs: &'a Arc<Outputs>,
    handle: &'a Handle,
    scheduler: Scheduler,
    start: Instant,
    // Dropped with the job, which stops them.
    running: JoinSet<(TaskId, AttemptId, Result<Sealed>)>,
    aborts: HashMap<(TaskId, AttemptId), AbortHandle>,
    /// The last error of each task.
    errors: HashMap<TaskId, DataFusionError>,
    /// Tasks whose output others may have read.
    sealed: HashSet<TaskId>,
    wake: Option<Duration>,
}

impl Job<'_> {
    async fn run(&mut self, slots: usize) -> Result<()> {
        let joined = Event::WorkerJoined {
            worker: HERE,
            slots,
        };
        let mut actions = self.step(joined);
        actions.extend(self.step(Event::Begin));
        loop {
            for action in actions {
                match action {
                    Action::Run { task, attempt, .. } => self.start(task, attempt)?,
                    Action::Cancel { task, attempt, .. } => {
                        if let Some(running) = self.aborts.remove(&(task, attempt)) {
                            running.abort();
                        }
                    }
                    Action::WakeAt { at } => self.wake = Some(at),
                    Action::Finished => return Ok(()),
                    Action::Fail { task, why } => return Err(self.failure(task, why)),
                }
            }
            actions = self.next().await;
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.step(self.start.elapsed(), event)
    }

    fn start(&mut self, task: TaskId, attempt: AttemptId) -> Result<()> {
        let is_again = self.sealed.contains(&task);
        if is_again && !self.query.graph.stages()[task.stage].divides_alike() {
            return Err(external(Failed::Divides(task)));
        }
        let (query, outputs) = (Arc::clone(self.query), Arc::clone(self.outputs));
        let stage = self.encoded[task.stage].clone();
        let work = task::attempt(query, stage, task, attempt, outputs);
        let abort = self.running.spawn_on(work, self.handle);
        self.aborts.insert((task, attempt), abort);
        Ok(())
    }

    /// Waits for what happens next.
    async fn next(&mut self) -> Vec<Action> {
        let wake = self.wake.map(|at| self.start + at);
        let asleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.running.join_next() => match done {
                Ok((task, attempt, result)) => self.done(task, attempt, result),
                // It was cancelled: the scheduler knows.
                Err(_) => Vec::new(),
            },
            () = asleep => {
                self.wake = None;
                self.step(Event::Woken)
            }
        }
    }

    fn done(&mut self, task: TaskId, attempt: AttemptId, result: Result<Sealed>) -> Vec<Action> {
        self.aborts.remove(&(task, attempt));
        match result {
            Ok(sealed) => {
                let actions = self.step(Event::Sealed { task, attempt });
                // Another attempt may have won: then this one's file goes.
                if self.scheduler.sealed(task) == Some(attempt) {
                    self.sealed.insert(task);
                    self.outputs.put(task, sealed);
                    self.outputs
                        .forget_what_is_read(self.query.graph.stages(), task.stage);
                }
                actions
            }
            Err(error) => {
                let class = task::class_of(&error);
                self.errors.insert(task, error);
                self.step(Event::Failed {
                    task,
                    attempt,
                    class,
                })
            }
        }
    }

    fn failure(&mut self, task: Option<TaskId>, why: Why) -> DataFusionError {
        let Some(task) = task else {
            return external(Failed::Job(why));
        };
        let last = self.errors.remove(&task);
        last.unwrap_or_else(|| external(Failed::Task { task, why }))
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
