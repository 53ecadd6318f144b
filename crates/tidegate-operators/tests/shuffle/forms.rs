//! Moves rows in either form, and says what must have come out.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::utils::compare_rows;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt, future};
use tidegate_checkpoint::frames::Origin;
use tidegate_checkpoint::{RealVfs, TempRoot, Vfs};
use tidegate_operators::shuffle::{
    Edges, EdgesOfTask, Filters, Ranges, Sealed, SealedWriter, ShuffleExec, ShuffleReadExec, To,
    partitions_of,
};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Stream,
    Sealed,
}

pub(crate) const FORMS: [Form; 2] = [Form::Stream, Form::Sealed];

/// What there is of memory and disk.
pub(crate) struct Setup {
    pub(crate) pool: Arc<dyn MemoryPool>,
    pub(crate) temp: Arc<TempRoot>,
    _base: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn new(memory: usize, disk: u64) -> Self {
        let base = tempfile::tempdir().unwrap();
        let temp = TempRoot::open(base.path(), disk).unwrap();
        Self {
            pool: Arc::new(GreedyMemoryPool::new(memory)),
            temp: Arc::new(temp),
            _base: base,
        }
    }

    pub(crate) fn config() -> SessionConfig {
        SessionConfig::new().with_batch_size(BATCH_ROWS)
    }

    pub(crate) fn context(&self, config: SessionConfig) -> Arc<TaskContext> {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&self.pool));
        let runtime = Arc::new(runtime.build().unwrap());
        let context = TaskContext::default().with_session_config(config);
        Arc::new(context.with_runtime(runtime))
    }

    /// Files of tasks that are there now.
    pub(crate) fn files(&self) -> usize {
        let names = std::fs::read_dir(self.temp.path()).unwrap();
        let is_of_task = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("task-");
        names
            .filter(|entry| is_of_task(&entry.as_ref().unwrap().file_name()))
            .count()
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new(1 << 30, 1 << 30)
    }
}

/// Rows that are read from memory.
pub(crate) fn input(partitions: Vec<Vec<RecordBatch>>) -> Arc<dyn ExecutionPlan> {
    let schema = partitions.iter().flatten().next().unwrap().schema();
    MemorySourceConfig::try_new_exec(&partitions, schema, None).unwrap()
}

pub(crate) fn column(input: &Arc<dyn ExecutionPlan>, name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &input.schema()).unwrap()
}

pub(crate) fn ordered(input: &Arc<dyn ExecutionPlan>, name: &str) -> To {
    let sort = PhysicalSortExpr::new_default(column(input, name));
    To::Single {
        order: LexOrdering::new([sort]),
    }
}

pub(crate) fn shuffle(
    input: &Arc<dyn ExecutionPlan>,
    to: &To,
    fetch: Option<usize>,
) -> Arc<dyn ExecutionPlan> {
    let shuffle = ShuffleExec::try_new(Arc::clone(input), to.clone(), Filters::Pass).unwrap();
    match fetch {
        Some(_) => shuffle.with_fetch(fetch).unwrap(),
        None => Arc::new(shuffle),
    }
}

/// The batches of each partition that comes out.
pub(crate) async fn moved(
    form: Form,
    input: &Arc<dyn ExecutionPlan>,
    to: &To,
    fetch: Option<usize>,
    setup: &Setup,
) -> Result<Vec<Vec<RecordBatch>>> {
    let shuffle = shuffle(input, to, fetch);
    let (plan, context) = match form {
        Form::Stream => (shuffle, setup.context(Setup::config())),
        Form::Sealed => {
            let shuffle = shuffle.downcast_ref::<ShuffleExec>().unwrap();
            let sealed = sealed(shuffle, setup).await?;
            reading(shuffle, sealed, setup)
        }
    };
    all_of(&plan, &context).await
}

/// Runs all partitions side by side to their ends.
pub(crate) async fn all_of(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Vec<Vec<RecordBatch>>> {
    let partitions = 0..plan.output_partitioning().partition_count();
    let all = partitions.map(|partition| {
        let rows = plan.execute(partition, Arc::clone(context));
        async move { rows?.try_collect::<Vec<_>>().await }
    });
    future::try_join_all(all).await
}

/// The files of all tasks, one an input partition.
pub(crate) async fn sealed(shuffle: &ShuffleExec, setup: &Setup) -> Result<Vec<Arc<Sealed>>> {
    let context = setup.context(Setup::config());
    let mut all = Vec::new();
    for task in 0..shuffle.input().output_partitioning().partition_count() {
        let mut writer = writer(shuffle, task, setup, &context)?;
        let mut rows = shuffle.input().execute(task, Arc::clone(&context))?;
        while let Some(batch) = rows.next().await {
            writer.write(batch?)?;
        }
        all.push(Arc::new(writer.seal()?));
    }
    Ok(all)
}

pub(crate) fn writer(
    shuffle: &ShuffleExec,
    task: usize,
    setup: &Setup,
    context: &TaskContext,
) -> Result<SealedWriter> {
    let origin = Origin {
        stage: 4,
        task: task as u32,
        ..Origin::default()
    };
    let path = setup
        .temp
        .path()
        .join(format!("task-{task}-{}", RealVfs.unique()));
    let disk = setup.temp.reserve(0).unwrap();
    SealedWriter::create(shuffle, Arc::new(RealVfs), &path, origin, disk, context)
}

struct Files(Vec<Arc<Sealed>>);

impl Edges for Files {
    fn read(
        &self,
        _: usize,
        partition: usize,
        _: &TaskContext,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let vfs: Arc<dyn Vfs> = Arc::new(RealVfs);
        Ok(self
            .0
            .iter()
            .map(|task| task.rows(&vfs, partition))
            .collect())
    }
}

/// A plan that reads the files.
pub(crate) fn reading(
    shuffle: &ShuffleExec,
    files: Vec<Arc<Sealed>>,
    setup: &Setup,
) -> (Arc<dyn ExecutionPlan>, Arc<TaskContext>) {
    let statistics = Arc::new(Statistics::new_unknown(&shuffle.schema()));
    let read: Arc<dyn ExecutionPlan> = Arc::new(ShuffleReadExec::of(shuffle, 0, statistics));
    let edges = Arc::new(EdgesOfTask(Arc::new(Files(files))));
    (read, setup.context(Setup::config().with_extension(edges)))
}

/// Rows as text, in the order in which they are.
pub(crate) fn texts(batches: &[RecordBatch]) -> Vec<String> {
    if batches.iter().all(|batch| batch.num_columns() == 0) {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        return vec![String::new(); rows];
    }
    let text = pretty_format_batches(batches).unwrap().to_string();
    let lines: Vec<&str> = text.lines().collect();
    // Rules and names around; cells are as wide as the widest.
    let rows = lines
        .get(3..lines.len().saturating_sub(1))
        .unwrap_or_default();
    let trimmed = |row: &&str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        cells.join("|")
    };
    rows.iter().map(trimmed).collect()
}

pub(crate) fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// The range of a row, as its values compare with the bounds one by one.
fn range_of(ranges: &Ranges, batch: &RecordBatch, row: usize) -> usize {
    let options: Vec<_> = ranges.order().iter().map(|key| key.options).collect();
    let keys = ranges.order().iter().map(|key| {
        let values = key.expr.evaluate(batch).unwrap();
        let values = values.into_array(batch.num_rows()).unwrap();
        ScalarValue::try_from_array(&values, row).unwrap()
    });
    let keys: Vec<ScalarValue> = keys.collect();
    let bounds = ranges.bounds().iter();
    let not_behind = bounds.filter(|bound| {
        let bound = bound.iter().zip(&keys);
        let bound: Vec<_> = bound
            .map(|(value, key)| value.cast_to(&key.data_type()).unwrap())
            .collect();
        compare_rows(&bound, &keys, &options).unwrap().is_le()
    });
    not_behind.count()
}

/// Rows by ranges of columns, each of them descending or not, NULL first or not.
pub(crate) fn ranges(
    input: &Arc<dyn ExecutionPlan>,
    by: &[(&str, bool, bool)],
    bounds: Vec<Vec<ScalarValue>>,
) -> To {
    let keys = by.iter().map(|(name, descending, nulls_first)| {
        let options = SortOptions::new(*descending, *nulls_first);
        PhysicalSortExpr::new(column(input, name), options)
    });
    To::Range(Ranges::try_new(LexOrdering::new(keys).unwrap(), bounds).unwrap())
}

/// Moves rows and looks whether what came out is what a shuffle promises.
pub(crate) async fn check(what: &str, form: Form, given: &[Vec<RecordBatch>], to: &To) {
    let setup = Setup::default();
    let input = input(given.to_vec());
    let found = moved(form, &input, to, None, &setup).await.unwrap();
    let about = format!("{what}, {form:?}, {to}");
    assert_eq!(found.len(), to.partitions(), "{about}");
    let all = |parts: &[Vec<RecordBatch>]| -> Vec<String> {
        parts.iter().flat_map(|part| texts(part)).collect()
    };
    assert_eq!(sorted(all(&found)), sorted(all(given)), "{about}");
    let batches = || found.iter().flatten();
    assert!(
        batches().all(|batch| batch.schema() == input.schema()),
        "{about}"
    );
    match to {
        To::Hash { keys, partitions } => {
            let placed = found.iter().enumerate();
            for (at, batch) in placed.flat_map(|(at, part)| part.iter().map(move |b| (at, b))) {
                let keys = keys
                    .iter()
                    .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()));
                let keys = keys.collect::<Result<Vec<ArrayRef>>>().unwrap();
                let places = partitions_of(&keys, *partitions).unwrap();
                assert!(
                    places.iter().all(|place| *place == at),
                    "{about}: {places:?} in {at}"
                );
            }
        }
        To::Single { order: Some(_) } => {
            let key = |row: &String| {
                row.split('|')
                    .nth(1)
                    .unwrap()
                    .parse::<i64>()
                    .unwrap_or(i64::MIN)
            };
            let keys: Vec<i64> = texts(&found[0]).iter().map(key).collect();
            assert!(keys.is_sorted(), "{about}: {keys:?}");
        }
        To::Forward { .. } => {
            for (at, (found, given)) in found.iter().zip(given).enumerate() {
                let rows = |part: &[RecordBatch]| texts(part);
                assert_eq!(rows(found), rows(given), "{about}: partition {at}");
            }
        }
        To::Range(ranges) => {
            for (at, batch) in found
                .iter()
                .enumerate()
                .flat_map(|(at, part)| part.iter().map(move |b| (at, b)))
            {
                for row in 0..batch.num_rows() {
                    assert_eq!(range_of(ranges, batch, row), at, "{about}, row {row}");
                }
            }
        }
        To::RoundRobin { .. } | To::Random { .. } | To::Broadcast | To::Single { order: None } => {}
    }
    drop(found);
    assert_eq!(
        (setup.files(), setup.temp.used(), setup.pool.reserved()),
        (0, 0, 0),
        "{about}"
    );
}
