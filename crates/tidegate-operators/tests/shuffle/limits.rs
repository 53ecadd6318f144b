//! Little memory and little disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_operators::shuffle::{ShuffleExec, To};

use super::forms::{BATCH_ROWS, Form, Setup, column, input, moved, sealed, shuffle, texts, writer};

fn batch(first: i64) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 64));
    let text = "y".repeat(200);
    let text: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 64]));
    RecordBatch::try_from_iter([("k", keys), ("t", text)]).unwrap()
}

/// Makes batches when they are asked for, and counts them.
#[derive(Debug)]
struct Counted {
    schema: SchemaRef,
    batches: usize,
    made: Arc<AtomicUsize>,
}

impl PartitionStream for Counted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let made = Arc::clone(&self.made);
        let batches = (0..self.batches).map(move |at| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(batch(at as i64 * 64))
        });
        let schema = Arc::clone(&self.schema);
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches)))
    }
}

fn counted(partitions: usize, batches: usize) -> (Arc<dyn ExecutionPlan>, Arc<AtomicUsize>) {
    let (schema, made) = (batch(0).schema(), Arc::new(AtomicUsize::new(0)));
    let one = || -> Arc<dyn PartitionStream> {
        Arc::new(Counted {
            schema: Arc::clone(&schema),
            batches,
            made: Arc::clone(&made),
        })
    };
    let all = (0..partitions).map(|_| one()).collect();
    let plan = StreamingTableExec::try_new(Arc::clone(&schema), all, None, [], false, None);
    (Arc::new(plan.unwrap()), made)
}

fn by_hash(given: &Arc<dyn ExecutionPlan>, partitions: usize) -> To {
    To::Hash {
        keys: vec![column(given, "k")],
        partitions,
    }
}

/// Nobody reads on: what is not asked for is not made.
#[tokio::test]
async fn a_slow_reader_holds_back_what_streams() {
    let (given, made) = counted(2, 5_000);
    for to in [
        by_hash(&given, 3),
        To::RoundRobin { partitions: 3 },
        To::Random {
            partitions: 3,
            seed: 5,
        },
        To::Single { order: None },
    ] {
        made.store(0, Ordering::SeqCst);
        let (setup, plan) = (Setup::default(), shuffle(&given, &to, None));
        let context = setup.context(Setup::config());
        let mut parts: Vec<_> = (0..to.partitions())
            .map(|at| plan.execute(at, Arc::clone(&context)).unwrap())
            .collect();
        for part in &mut parts {
            part.next().await.unwrap().unwrap();
        }
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
        let ahead = made.load(Ordering::SeqCst);
        assert!(
            ahead < 100,
            "{to}: {ahead} batches of 10,000 were made for three that were read"
        );
    }
}

/// One partition is read to its end before another one is begun: the rows of the others spill.
#[tokio::test]
async fn partitions_that_wait_spill_beyond_the_memory_limit() {
    let memory = 400_000;
    let (given, _) = counted(2, 200);
    let turns = To::RoundRobin { partitions: 3 };
    for to in [by_hash(&given, 3), turns] {
        let setup = Setup::new(memory, 1 << 30);
        let plan = shuffle(&given, &to, None);
        let context = setup.context(Setup::config());
        let mut rows = 0;
        let parts: Vec<_> = (0..3)
            .map(|at| plan.execute(at, Arc::clone(&context)).unwrap())
            .collect();
        for mut part in parts {
            while let Some(batch) = part.try_next().await.unwrap() {
                rows += batch.num_rows();
                assert!(setup.pool.reserved() <= memory);
            }
        }
        assert_eq!(rows, 2 * 200 * 64, "{to}");
        let spilled = plan.metrics().unwrap().spilled_rows().unwrap();
        assert!(spilled > 10_000, "{to}: {spilled} rows spilled");
    }
}

#[tokio::test]
async fn little_memory_makes_smaller_frames_and_the_same_rows() {
    let (given, _) = counted(2, 100);
    let to = by_hash(&given, 32);
    let plan = shuffle(&given, &to, None);
    let shuffle: &ShuffleExec = plan.downcast_ref().unwrap();
    let frames = |files: &[Arc<tidegate_operators::shuffle::Sealed>]| -> usize {
        files.iter().map(|task| task.file().frames().len()).sum()
    };
    let (plenty, little) = (Setup::default(), Setup::new(60_000, 1 << 30));
    let (many, few) = (
        sealed(shuffle, &little).await.unwrap(),
        sealed(shuffle, &plenty).await.unwrap(),
    );
    assert!(
        frames(&many) > frames(&few) * 3 / 2,
        "{} {}",
        frames(&many),
        frames(&few)
    );
    assert_eq!(little.pool.reserved(), 0);
    drop((many, few));
    let expected = moved(Form::Sealed, &given, &to, None, &plenty)
        .await
        .unwrap();
    let found = moved(Form::Sealed, &given, &to, None, &little)
        .await
        .unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(texts(found), texts(expected));
    }
}

/// Rows that wait are counted once, in however many partitions they are: a batch is not as large as it is many times.
#[tokio::test]
async fn what_waits_is_counted_for_what_it_is() {
    let batches: Vec<RecordBatch> = (0..40).map(|at| batch(at * 64)).collect();
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let given = input(vec![batches]);
    let to = by_hash(&given, 64);
    let plan = shuffle(&given, &to, None);
    let setup = Setup::default();
    let context = setup.context(Setup::config());
    let mut writer = writer(plan.downcast_ref().unwrap(), 0, &setup, &context).unwrap();
    let mut rows = given.execute(0, context).unwrap();
    let mut most = 0;
    while let Some(batch) = rows.next().await {
        writer.write(batch.unwrap()).unwrap();
        most = most.max(setup.pool.reserved());
    }
    assert!(
        most > bytes / 4 && most < bytes * 5 / 4,
        "{most} of {bytes}"
    );
    drop(writer);
    assert_eq!(setup.pool.reserved(), 0);
    assert_eq!(BATCH_ROWS, 64);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_no_file() {
    let (given, _) = counted(1, 100);
    let setup = Setup::new(1 << 30, 20_000);
    let to = by_hash(&given, 2);
    let error = moved(Form::Sealed, &given, &to, None, &setup)
        .await
        .unwrap_err();
    let DataFusionError::External(error) = error else {
        unreachable!("{error}");
    };
    let full = error.downcast_ref::<tidegate_checkpoint::Error>().unwrap();
    assert!(full.is_storage_full(), "{full}");
    assert_eq!(
        (setup.files(), setup.temp.used(), setup.pool.reserved()),
        (0, 0, 0)
    );
}
