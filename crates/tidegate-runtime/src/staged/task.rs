//! One attempt of one task, from the bytes of its stage to its sealed output.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use tidegate_checkpoint as checkpoint;
use tidegate_checkpoint::frames::Origin;
use tidegate_operators::shuffle::{EdgesOfTask, Sealed, SealedWriter, ShuffleExec, Unreadable};
use tidegate_operators::source;
use tidegate_plan::{StageId, TaskRan, decode_task, restricted};

use super::builds::BuildsOfStages;
use super::outputs::{EdgesOfStage, Outputs};
use super::{Call, StagedQuery, external};
use crate::scheduler::{AttemptId, FailureClass, TaskId};

/// Decides whether an attempt fails, when all but its seal is done.
pub type Fault = Arc<dyn Fn(TaskId, AttemptId) -> Option<DataFusionError> + Send + Sync>;

/// Is told of each file that a task has sealed, and may damage it.
pub type Damage = Arc<dyn Fn(TaskId, &Path) + Send + Sync>;

/// Runs an attempt to its end.
pub(super) async fn run(call: &Call) -> Result<Sealed> {
    let began = Instant::now();
    let (query, task, attempt) = (&call.query, call.task, call.attempt);
    let plan = query.plan_of(task, Some(&call.builds))?;
    let Some(shuffle) = plan.downcast_ref::<ShuffleExec>() else {
        return Err(DataFusionError::Internal(
            "a stage that is sealed ends with a shuffle".into(),
        ));
    };
    let _watch = query.progress.watch((task, attempt), &plan);
    let context = query.context_of(&call.outputs, task.stage);
    let (path, origin) = match &query.durable {
        Some(durable) => durable.place(task, attempt),
        None => query.place(task, attempt),
    };
    let disk = query.temp.reserve(0).map_err(external)?;
    let vfs = Arc::clone(&query.vfs);
    let mut writer = SealedWriter::create(shuffle, vfs, &path, origin, disk, &context)?;
    let mut rows = shuffle.input_in_one()?.execute(0, context)?;
    while let Some(batch) = rows.next().await {
        writer.write(batch?)?;
    }
    if let Some(error) = query.fault.as_ref().and_then(|fault| fault(task, attempt)) {
        return Err(error);
    }
    let mut sealed = writer.seal()?;
    if let Some(durable) = &query.durable {
        sealed = durable.seal(task, attempt, sealed, began.elapsed()).await?;
    }
    let is_whole = query.graph.stages()[task.stage].is_region();
    query.progress.measured.add(
        &query.graph,
        &TaskRan {
            stage: task.stage,
            partition: (!is_whole).then_some(task.partition),
            plan: &plan,
            sealed: (sealed.file().rows(), sealed.file().bytes()),
        },
    );
    if let Some(damage) = &query.damage {
        damage(task, sealed.file().path());
    }
    Ok(sealed)
}

impl StagedQuery {
    /// Where an attempt writes what is gone with this process, and who it says it is.
    fn place(&self, task: TaskId, attempt: AttemptId) -> (PathBuf, Origin) {
        let name = format!("shuffle-{:016x}-{task}-{}", self.vfs.unique(), attempt.0);
        let origin = Origin {
            stage: task.stage as u32,
            task: task.partition as u32,
            attempt: attempt.0,
            ..Origin::default()
        };
        (self.temp.path().join(name), origin)
    }

    /// A fresh plan of one task, but for the tables of joins that it shares with others of its stage.
    pub(super) fn plan_of(
        &self,
        task: TaskId,
        builds: Option<&BuildsOfStages>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stage = &self.encoded[task.stage];
        let plan = decode_task(stage, &self.registry, task.stage, task.partition);
        let plan = plan.map_err(external)?;
        let plan = source::attach(plan, &self.access, self.state.runtime_env())?;
        if self.graph.stages()[task.stage].is_region() {
            return Ok(plan);
        }
        let plan = match builds {
            Some(builds) => builds.shared_by(task.stage, plan)?,
            None => plan,
        };
        restricted(&plan, task.partition)
    }

    /// The context of a task of a stage. A scan of it reads its own files only, unless the stage runs as a whole.
    pub(super) fn context_of(&self, outputs: &Arc<Outputs>, stage: usize) -> Arc<TaskContext> {
        let stage = &self.graph.stages()[stage];
        let inputs = stage.inputs.iter().map(|edge| edge.from);
        self.reading(outputs, inputs.collect(), stage.is_region())
    }

    /// The context of what reads these stages.
    pub(super) fn reading(
        &self,
        outputs: &Arc<Outputs>,
        inputs: Vec<StageId>,
        shares_files: bool,
    ) -> Arc<TaskContext> {
        let edges = EdgesOfStage {
            outputs: Arc::clone(outputs),
            inputs,
        };
        let mut config = self.state.config().clone();
        let execution = &mut config.options_mut().execution;
        execution.enable_file_stream_work_stealing &= shares_files;
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
