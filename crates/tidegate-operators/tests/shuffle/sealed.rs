//! Sealed files: what is damaged or gone is said, and nothing is left behind.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::common::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use tidegate_checkpoint::frames::FrameFile;
use tidegate_checkpoint::{RealVfs, Vfs};
use tidegate_operators::shuffle::{Sealed, ShuffleExec, To, Unreadable};

use super::forms::{Setup, column, input, sealed, shuffle, writer};

fn given() -> Arc<dyn ExecutionPlan> {
    let batch = |first: i64| {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 100));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["some text"; 100]));
        RecordBatch::try_from_iter([("k", keys), ("t", text)]).unwrap()
    };
    input(vec![vec![batch(0)], vec![batch(500), batch(900)]])
}

fn by_hash(given: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let to = To::Hash {
        keys: vec![column(given, "k")],
        partitions: 3,
    };
    shuffle(given, &to, None)
}

fn of(plan: &Arc<dyn ExecutionPlan>) -> &ShuffleExec {
    plan.downcast_ref().unwrap()
}

async fn read(task: &Arc<Sealed>) -> Result<usize, DataFusionError> {
    let vfs: Arc<dyn Vfs> = Arc::new(RealVfs);
    let mut rows = 0;
    for partition in 0..3 {
        let batches: Vec<RecordBatch> = task.rows(&vfs, partition).try_collect().await?;
        rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    }
    Ok(rows)
}

fn names_the_task(result: Result<usize, DataFusionError>) -> bool {
    let Err(DataFusionError::External(error)) = result else {
        return false;
    };
    let found = error.downcast_ref::<Unreadable>();
    found.is_some_and(|unreadable| (unreadable.stage, unreadable.task) == (4, 1))
}

#[tokio::test]
async fn a_flipped_byte_a_cut_and_a_lost_file_name_the_task() {
    let (setup, plan) = (Setup::default(), by_hash(&given()));
    let files = sealed(of(&plan), &setup).await.unwrap();
    let task: &Arc<Sealed> = &files[1];
    let file: &FrameFile = task.file();
    let good = std::fs::read(file.path()).unwrap();
    assert_eq!(read(task).await.unwrap(), 200);
    for place in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        std::fs::write(file.path(), &bad).unwrap();
        assert!(
            names_the_task(read(task).await),
            "byte {place} of {}",
            good.len()
        );
    }
    for length in [0, 10, good.len() / 2, good.len() - 1] {
        std::fs::write(file.path(), &good[..length]).unwrap();
        assert!(names_the_task(read(task).await), "cut at {length}");
    }
    std::fs::remove_file(file.path()).unwrap();
    assert!(names_the_task(read(task).await));
    assert_eq!(read(&files[0]).await.unwrap(), 100);
}

/// One task's file in the place of another's is no file of that task.
#[tokio::test]
async fn the_file_of_another_task_is_not_taken_for_it() {
    let (setup, plan) = (Setup::default(), by_hash(&given()));
    let files = sealed(of(&plan), &setup).await.unwrap();
    std::fs::copy(files[0].file().path(), files[1].file().path()).unwrap();
    assert!(names_the_task(read(&files[1]).await));
}

#[tokio::test]
async fn nothing_is_left_of_writers_and_readers_that_stop() {
    let (setup, plan) = (Setup::default(), by_hash(&given()));
    let context = setup.context(Setup::config());
    let mut writer = writer(of(&plan), 0, &setup, &context).unwrap();
    let mut rows = of(&plan).input().execute(0, Arc::clone(&context)).unwrap();
    writer.write(rows.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(setup.files(), 1);
    drop(writer);
    assert_eq!(
        (setup.files(), setup.temp.used(), setup.pool.reserved()),
        (0, 0, 0)
    );

    let files = sealed(of(&plan), &setup).await.unwrap();
    assert_eq!(setup.files(), 2);
    let vfs: Arc<dyn Vfs> = Arc::new(RealVfs);
    let mut reader = files[1].rows(&vfs, 0);
    assert!(reader.next().await.unwrap().unwrap().num_rows() > 0);
    drop(files);
    assert_eq!(setup.files(), 1, "what is read stays");
    drop(reader);
    assert_eq!(
        (setup.files(), setup.temp.used(), setup.pool.reserved()),
        (0, 0, 0)
    );
}
