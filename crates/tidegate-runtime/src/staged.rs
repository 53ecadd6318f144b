//! Runs a graph stage by stage: each task is its own decoded plan, restricted to its partition, and what it writes is
//! sealed before anybody reads it. A task that fails is tried again, and nothing else with it. A stage in which rows
//! stream between partitions is one task. Of a durable job what is sealed outlives the process: see [`Durable`].
//!
//! ```text
//! Scheduler ─▶ Run ─▶ decode ▸ attach ▸ restrict ▸ execute ▸ SealedWriter ─▶ Outputs ─▶ Scheduler
//! ```

mod builds;
mod durable;
mod outputs;
mod progress;
mod task;
mod worker;

pub use durable::Durable;
pub use progress::TaskProgress;
pub use task::{Damage, Fault};
pub use worker::{Call, Here, Ran, Worker};

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};
use futures::{FutureExt, TryStreamExt};
use tidegate_checkpoint::{TempRoot, Vfs};
use tidegate_operators::shuffle::{Sealed, ShuffleExec, ShuffleReadExec};
use tidegate_operators::source::ScanAccess;
use tidegate_operators::write::WriteExec;
use tidegate_plan::{Registry, Repeats, StageGraph, StageId};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use crate::pool::CpuPool;
use crate::run::{Panicked, Running, panic_text, run_stream};
use crate::scheduler::{
    Action, AttemptId, Event, FailureClass, Limits, Policy, Scheduler, StageSpec, TaskId, Why,
    WorkerId,
};
use builds::BuildsOfStages;
use outputs::Outputs;

/// How often a job says that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// What tasks run with.
pub struct StagedQuery {
    /// What is run. Nothing is attached to its scans.
    pub graph: StageGraph,
    /// The bytes of its stages, from which each task has a plan of its own.
    pub encoded: Vec<Bytes>,
    /// The statement of a job that it is, if what it seals is to outlive this process.
    pub durable: Option<Durable>,
    /// Told how far it is.
    pub progress: Arc<TaskProgress>,
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
    /// Who runs them; without anybody the threads of this process do.
    pub workers: Vec<Arc<dyn Worker>>,
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
    let handle = pool.handle();
    let mut query = query;
    if query.workers.is_empty() {
        let slots = pool.threads();
        query.workers.push(Arc::new(Here { slots }));
    }
    run_stream(pool, async move { Arc::new(query).answer(handle).await })
}

impl StagedQuery {
    async fn answer(self: Arc<Self>, handle: Handle) -> Result<SendableRecordBatchStream> {
        let stages = self.graph.stages();
        let last = stages.len() - 1;
        let ends_with_shuffle = self.graph.result().plan.is::<ShuffleExec>();
        let sealed = match ends_with_shuffle {
            true => stages.len(),
            false => last,
        };
        let tasks = stages[..sealed].iter().map(|stage| stage.tasks()).collect();
        let outputs = Arc::new(Outputs::new(tasks, Arc::clone(&self.vfs)));
        self.progress.begin(&stages[..sealed]);
        self.recover(&outputs, sealed)?;
        self.seal(sealed, &outputs, &handle).await?;
        let result = self.graph.result();
        if let Some(shuffle) = result.plan.downcast_ref::<ShuffleExec>() {
            let statistics = StatisticsContext::new();
            let statistics = statistics.compute(shuffle, &StatisticsArgs::new())?;
            let read = ShuffleReadExec::of(shuffle, 0, statistics);
            let context = self.reading(&outputs, vec![StageId(last)], false);
            return read.execute(0, context);
        }
        if !result.plan.is::<WriteExec>() {
            return self.last(&outputs);
        }
        self.written(sealed, &outputs, &handle).await
    }

    /// Starts the stage whose output is the answer.
    fn last(&self, outputs: &Arc<Outputs>) -> Result<SendableRecordBatchStream> {
        let last = self.graph.stages().len() - 1;
        let task = TaskId {
            stage: last,
            partition: 0,
        };
        let plan = self.plan_of(task, None)?;
        self.progress.measured.watch(last, &plan);
        plan.execute(0, self.context_of(outputs, last))
    }

    /// Runs a stage that writes. Nothing of it is seen before its end, so it can be run again after what it reads
    /// was found damaged and is made again.
    async fn written(
        self: &Arc<Self>,
        sealed: usize,
        outputs: &Arc<Outputs>,
        handle: &Handle,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.graph.schema();
        for _ in 0..self.limits.losses_max {
            let batches = self.last(outputs)?.try_collect::<Vec<_>>().await;
            let lost = match &batches {
                Err(error) => match task::class_of(error) {
                    FailureClass::Corrupt { input } => Some((input, error.to_string())),
                    _ => None,
                },
                Ok(_) => None,
            };
            let Some((input, why)) = lost else {
                let batches = batches?.into_iter().map(Ok);
                let rows = futures::stream::iter(batches);
                return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
            };
            self.lose(outputs, input, &why)?;
            self.seal(sealed, outputs, handle).await?;
        }
        self.last(outputs)
    }

    /// Takes over what an earlier process has sealed.
    fn recover(&self, outputs: &Outputs, sealed: usize) -> Result<()> {
        let Some(durable) = &self.durable else {
            return Ok(());
        };
        let stages = &self.graph.stages()[..sealed];
        for (task, file) in durable.earlier(stages)? {
            let found = durable.recovered(&stages[task.stage], file, &self.temp)?;
            outputs.put(task, found);
            self.progress.sealed(task.stage);
        }
        Ok(())
    }

    /// The output of a task cannot be read any more.
    fn lose(&self, outputs: &Outputs, task: TaskId, why: &str) -> Result<()> {
        outputs.take(task);
        match &self.durable {
            Some(durable) => durable.lose(task, why),
            None => Ok(()),
        }
    }

    /// Runs all tasks of the first stages that are not sealed.
    async fn seal(
        self: &Arc<Self>,
        sealed: usize,
        outputs: &Arc<Outputs>,
        handle: &Handle,
    ) -> Result<()> {
        if sealed == 0 {
            return Ok(());
        }
        let stages = &self.graph.stages()[..sealed];
        let specs = stages.iter().map(|stage| StageSpec {
            inputs: stage.inputs.iter().map(|edge| edge.from.0).collect(),
            tasks: stage.tasks(),
            cost: stage.estimate.rows.unwrap_or(0) as f64 / stage.tasks().max(1) as f64,
        });
        let scheduler = Scheduler::new(specs.collect(), self.limits.clone(), self.policy.clone());
        let mut scheduler = scheduler.map_err(external)?;
        for (number, stage) in stages.iter().enumerate() {
            if stage.repeats == Repeats::Varies {
                scheduler = scheduler.with_varying(number).map_err(external)?;
            }
        }
        for (task, attempt) in outputs.there() {
            scheduler = scheduler.with_sealed(task, attempt).map_err(external)?;
        }
        let mut job = Job {
            query: self,
            outputs,
            builds: Arc::default(),
            handle,
            scheduler,
            start: Instant::now(),
            running: JoinSet::new(),
            aborts: HashMap::new(),
            errors: HashMap::new(),
            sealed: HashSet::new(),
            wake: None,
            beat: Instant::now(),
        };
        job.run().await
    }
}

/// Stages that are being sealed.
struct Job<'a> {
    query: &'a Arc<StagedQuery>,
    outputs: &'a Arc<Outputs>,
    builds: Arc<BuildsOfStages>,
    handle: &'a Handle,
    scheduler: Scheduler,
    start: Instant,
    // Dropped with the job, which stops them.
    running: JoinSet<(TaskId, AttemptId, WorkerId, Ran)>,
    aborts: HashMap<(TaskId, AttemptId), (WorkerId, AbortHandle)>,
    /// The last error of each task.
    errors: HashMap<TaskId, DataFusionError>,
    /// Tasks whose output others may have read.
    sealed: HashSet<TaskId>,
    wake: Option<Duration>,
    /// When the job last said that it lives.
    beat: Instant,
}

impl Job<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut actions = Vec::new();
        for (number, worker) in self.query.workers.iter().enumerate() {
            let (worker, slots) = (WorkerId(number as u32), worker.slots());
            actions.extend(self.step(Event::WorkerJoined { worker, slots }));
        }
        actions.extend(self.step(Event::Begin));
        loop {
            for action in actions {
                match action {
                    Action::Run {
                        task,
                        attempt,
                        worker,
                    } => self.start(task, attempt, worker)?,
                    Action::Cancel { task, attempt, .. } => {
                        if let Some((_, running)) = self.aborts.remove(&(task, attempt)) {
                            running.abort();
                            // Should it have been stuck, it may have been in a table that others would wait for.
                            self.builds.forget(task.stage);
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

    fn start(&mut self, task: TaskId, attempt: AttemptId, on: WorkerId) -> Result<()> {
        let is_again = self.sealed.contains(&task);
        if is_again && !self.query.graph.stages()[task.stage].divides_alike() {
            return Err(external(Failed::Divides(task)));
        }
        if let Some(durable) = &self.query.durable {
            durable.started(task, attempt)?;
        }
        let call = Call {
            query: Arc::clone(self.query),
            outputs: Arc::clone(self.outputs),
            builds: Arc::clone(&self.builds),
            task,
            attempt,
        };
        let worker = Arc::clone(&self.query.workers[on.0 as usize]);
        let ran = AssertUnwindSafe(async move { worker.run(call).await }).catch_unwind();
        let work = async move {
            let ran = ran.await.unwrap_or_else(|panic| {
                let panicked = Panicked(panic_text(&*panic));
                Ran::Ended(Err(external(panicked)))
            });
            (task, attempt, on, ran)
        };
        let abort = self.running.spawn_on(work, self.handle);
        self.aborts.insert((task, attempt), (on, abort));
        Ok(())
    }

    /// Waits for what happens next.
    async fn next(&mut self) -> Vec<Action> {
        let beats = self.query.durable.is_some().then(|| self.beat + BEAT);
        let wake = self.wake.map(|at| self.start + at);
        let alarm = wake.into_iter().chain(beats).min();
        let asleep = async {
            match alarm {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.running.join_next() => match done {
                Ok((task, attempt, _, Ran::Ended(result))) => self.done(task, attempt, result),
                Ok((_, _, worker, Ran::WorkerGone)) => self.lost(worker),
                // It was cancelled: the scheduler knows.
                Err(_) => Vec::new(),
            },
            () = asleep => {
                self.beat();
                if wake.is_none_or(|at| at > Instant::now()) {
                    return Vec::new();
                }
                self.wake = None;
                self.step(Event::Woken)
            }
        }
    }

    /// Says that the job lives, so that its report can tell what a kill took.
    fn beat(&mut self) {
        if let Some(durable) = &self.query.durable
            && self.beat.elapsed() >= BEAT
        {
            self.beat = Instant::now();
            durable.job.beat();
        }
    }

    /// A worker is gone. What it ran is not stopped: should it have sealed its output all the same, that counts.
    fn lost(&mut self, worker: WorkerId) -> Vec<Action> {
        self.aborts.retain(|_, (on, _)| *on != worker);
        self.step(Event::WorkerLost { worker })
    }

    fn done(&mut self, task: TaskId, attempt: AttemptId, result: Result<Sealed>) -> Vec<Action> {
        self.aborts.remove(&(task, attempt));
        let error = match result {
            Ok(sealed) => {
                let actions = self.step(Event::Sealed { task, attempt });
                // Another attempt may have won: then this one's file goes.
                if self.scheduler.sealed(task) == Some(attempt) {
                    self.sealed.insert(task);
                    self.outputs.put(task, sealed);
                    self.query.progress.sealed(task.stage);
                    self.forget(task.stage);
                }
                return actions;
            }
            Err(error) => error,
        };
        self.builds.forget_all();
        let class = task::class_of(&error);
        let why = error.to_string();
        self.errors.insert(task, error);
        if let Some(durable) = &self.query.durable {
            // What the report says of it may be less than happened; the failure itself is told either way.
            let _ = durable.failed(task, attempt, &why);
        }
        let actions = self.step(Event::Failed {
            task,
            attempt,
            class,
        });
        match class {
            FailureClass::Corrupt { input } if self.scheduler.sealed(input).is_none() => {
                match self.query.lose(self.outputs, input, &why) {
                    Ok(()) => actions,
                    Err(error) => self.broken(task, error),
                }
            }
            _ => actions,
        }
    }

    /// Removes the outputs that were read by all who read them.
    fn forget(&mut self, stage: usize) {
        if self.outputs.are_complete(stage) {
            self.builds.forget(stage);
        }
        let stages = self.query.graph.stages();
        for read in self.outputs.forget_what_is_read(stages, stage) {
            if let Some(durable) = &self.query.durable {
                // It stays until the job goes.
                let _ = durable.drop_stage(read);
            }
        }
    }

    /// The job itself fails, whatever the task is.
    fn broken(&mut self, task: TaskId, error: DataFusionError) -> Vec<Action> {
        self.errors.insert(task, error);
        let task = Some(task);
        let why = Why::Fatal;
        vec![Action::Fail { task, why }]
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
