//! One attempt of one task, from the bytes of its stage to its sealed output.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::{FutureExt, StreamExt};
use tidegate_checkpoint as checkpoint;
use tidegate_checkpoint::frames::Origin;
use tidegate_operators::shuffle::{EdgesOfTask, Sealed, SealedWriter, ShuffleExec, Unreadable};
use tidegate_plan::{StageId, attach, decode_task, restricted};

use super::outputs::{EdgesOfStage, Outputs};
use super::{StagedQuery, external};
use crate::run::{Panicked, panic_text};
use crate::scheduler::{AttemptId, FailureClass, TaskId};

/// Decides whether an attempt fails, when all but its seal is done.
pub type Fault = Arc<dyn Fn(TaskId, AttemptId) -> Option<DataFusionError> + Send + Sync>;

/// Is told of each file that a task has sealed, and may damage it.
pub type Damage = Arc<dyn Fn(TaskId, &Path) + Send + Sync>;

/// Runs an attempt to its end.
pub(super) async fn attempt(
    query: Arc<StagedQuery>,
    stage: Bytes,
    task: TaskId,
    attempt: AttemptId,
    outputs: Arc<Outputs>,
) -> (TaskId, AttemptId, Result<Sealed>) {
    let work = AssertUnwindSafe(run(&query, &stage, task, attempt, &outputs));
    let result = work.catch_unwind().await.unwrap_or_else(|panic| {
        let panicked = Panicked(panic_text(&*panic));
        Err(external(panicked))
    });
    (task, attempt, result)
}

async fn run(
    query: &StagedQuery,
    stage: &Bytes,
    task: TaskId,
    attempt: AttemptId,
    outputs: &Arc<Outputs>,
) -> Result<Sealed> {
    let plan = query.plan_of(stage, task)?;
    let Some(shuffle) = plan.downcast_ref::<ShuffleExec>() else {
        return Err(DataFusionError::Internal(
            "a stage that is sealed ends with a shuffle".into(),
        ));
    };
    let inputs = query.graph.stages()[task.stage].inputs.iter();
    let context = query.context_of(outputs, inputs.map(|edge| edge.from).collect());
    let name = format!("shuffle-{:016x}-{task}-{}", query.vfs.unique(), attempt.0);
    let origin = Origin {
        stage: task.stage as u32,
        task: task.partition as u32,
        attempt: attempt.0,
        ..Origin::default()
    };
    let disk = query.temp.reserve(0).map_err(external)?;
    let path = query.temp.path().join(name);
    let vfs = Arc::clone(&query.vfs);
    let mut writer = SealedWriter::create(shuffle, vfs, &path, origin, disk, &context)?;
    let mut rows = shuffle.input().execute(0, context)?;
    while let Some(batch) = rows.next().await {
        writer.write(batch?)?;
    }
    if let Some(error) = query.fault.as_ref().and_then(|fault| fault(task, attempt)) {
        return Err(error);
    }
    let sealed = writer.seal()?;
    if let Some(damage) = &query.damage {
        damage(task, sealed.file().path());
    }
    Ok(sealed)
}

impl StagedQuery {
    /// A fresh plan of one task.
    pub(super) fn plan_of(&self, stage: &Bytes, task: TaskId) -> Result<Arc<dyn ExecutionPlan>> {
        let stage = decode_task(stage, &self.registry, task.stage, task.partition);
        let stage = stage.map_err(external)?;
        let runtime = self.state.runtime_env();
        let stage = attach(stage, &self.access, runtime).map_err(external)?;
        restricted(&stage.plan, task.partition)
    }

    /// The context of a task that reads these stages. A scan of it reads its own files only.
    pub(super) fn context_of(
        &self,
        outputs: &Arc<Outputs>,
        inputs: Vec<StageId>,
    ) -> Arc<TaskContext> {
        let edges = EdgesOfStage {
            outputs: Arc::clone(outputs),
            inputs,
        };
        let mut config = self.state.config().clone();
        let execution = &mut config.options_mut().execution;
        execution.enable_file_stream_work_stealing = false;
        let config = config.with_extension(Arc::new(EdgesOfTask(Arc::new(edges))));
        Arc::new(TaskContext::from(&self.state).with_session_config(config))
    }
}

/// What an error says about another attempt.
pub(super) fn class_of(error: &DataFusionError) -> FailureClass {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => FailureClass::Repartition,
        DataFusionError::IoError(error) if error.kind() == std::io::ErrorKind::NotFound => {
            FailureClass::Fatal
        }
        DataFusionError::IoError(_) => FailureClass::Retryable,
        DataFusionError::External(source) => match source.downcast_ref::<Unreadable>() {
            Some(unreadable) => FailureClass::Corrupt {
                input: TaskId {
                    stage: unreadable.stage as usize,
                    partition: unreadable.task as usize,
                },
            },
            None => match source.downcast_ref::<checkpoint::Error>() {
                Some(error @ checkpoint::Error::Io { .. }) if !error.is_storage_full() => {
                    FailureClass::Retryable
                }
                _ => FailureClass::Fatal,
            },
        },
        _ => FailureClass::Fatal,
    }
}
