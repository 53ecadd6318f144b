//! Runs the result stage of a graph on the pool and hands its batches over with back-pressure.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::gate::Place;
use crate::pool::CpuPool;

/// Batches of the result that wait for the reader at most.
pub const RESULT_BATCHES_MAX: usize = 4;

/// A running plan: the stream of its result. Dropping it stops the work.
pub struct Running {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    work: AbortHandle,
    // Given back when the query has ended or is given up.
    place: Option<Place>,
    // Keeps the threads alive while the result is read.
    _pool: CpuPool,
}

/// Starts a plan on the pool. A panic inside it ends the query with an error, not the process.
pub fn run(pool: &CpuPool, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Running {
    run_stream(pool, async move { execute_stream(plan, context) })
}

/// Starts what gives the rows of a query on the pool. A panic inside it ends the query with an error, not the process.
pub(crate) fn run_stream(
    pool: &CpuPool,
    rows: impl Future<Output = Result<SendableRecordBatchStream>> + Send + 'static,
) -> Running {
    let (sender, batches) = mpsc::channel(RESULT_BATCHES_MAX);
    let work = async move {
        let drive = std::panic::AssertUnwindSafe(drive(rows, sender.clone()));
        if let Err(panic) = drive.catch_unwind().await {
            let error = DataFusionError::External(Box::new(Panicked(panic_text(&*panic))));
            // A closed channel means that nobody waits for the answer.
            let _ = sender.send(Err(error)).await;
        }
    };
    let work = pool.handle().spawn(work).abort_handle();
    Running {
        batches,
        work,
        place: None,
        _pool: pool.clone(),
    }
}

impl Running {
    /// The same, in a place among the queries that run.
    pub fn at(self, place: Place) -> Self {
        let mut running = self;
        running.place = Some(place);
        running
    }
}

/// A query panicked: a defect, reported as an error so that the process lives on.
#[derive(Debug, thiserror::Error)]
#[error("the query panicked: {0}")]
pub struct Panicked(pub String);

async fn drive(
    rows: impl Future<Output = Result<SendableRecordBatchStream>>,
    sender: mpsc::Sender<Result<RecordBatch>>,
) {
    let mut stream = match rows.await {
        Ok(stream) => stream,
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
        let last = batch.is_err();
        if sender.send(batch).await.is_err() || last {
            return;
        }
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_string(),
    }
}

impl Stream for Running {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let batch = std::task::ready!(self.batches.poll_recv(cx));
        if batch.is_none() {
            self.place = None;
        }
        Poll::Ready(batch)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::execution::SendableRecordBatchStream;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
    use std::time::{Duration, Instant};

    #[derive(Debug)]
    struct Source {
        schema: SchemaRef,
        next: fn(usize) -> Option<Result<RecordBatch>>,
    }

    impl PartitionStream for Source {
        fn schema(&self) -> &SchemaRef {
            &self.schema
        }

        fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
            let next = self.next;
            let stream = futures::stream::iter((0..).map_while(next));
            Box::pin(RecordBatchStreamAdapter::new(
                Arc::clone(&self.schema),
                stream,
            ))
        }
    }

    fn plan(next: fn(usize) -> Option<Result<RecordBatch>>) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]));
        let source = Arc::new(Source {
            schema: Arc::clone(&schema),
            next,
        });
        let exec = StreamingTableExec::try_new(schema, vec![source], None, vec![], true, None);
        Arc::new(exec.unwrap())
    }

    fn batch() -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(arrow::array::NullArray::new(1))]).unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_query() {
        let pool = CpuPool::new(1).unwrap();
        let plan = plan(|n| {
            if n == 1 {
                panic!("boom")
            } else {
                Some(Ok(batch()))
            }
        });
        let mut running = run(&pool, plan, Arc::default());
        assert!(running.next().await.unwrap().is_ok());
        let error = running.next().await.unwrap().unwrap_err();
        assert!(
            error.to_string().contains("the query panicked: boom"),
            "{error}"
        );
        assert!(running.next().await.is_none());
    }

    #[tokio::test]
    async fn the_producer_waits_for_the_reader() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let pool = CpuPool::new(1).unwrap();
        let plan = plan(|n| {
            MADE.fetch_max(n, Ordering::SeqCst);
            Some(Ok(batch()))
        });
        let mut running = run(&pool, plan, Arc::default());
        for _ in 0..100 {
            running.next().await.unwrap().unwrap();
        }
        assert!(MADE.load(Ordering::SeqCst) <= 100 + RESULT_BATCHES_MAX + 2);
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_the_work() {
        static ALIVE: parking_lot::Mutex<Option<Instant>> = parking_lot::Mutex::new(None);
        let pool = CpuPool::new(1).unwrap();
        let plan = plan(|_| {
            *ALIVE.lock() = Some(Instant::now());
            Some(Ok(batch()))
        });
        let mut running = run(&pool, plan, Arc::default());
        running.next().await.unwrap().unwrap();
        drop(running);
        let stopped = Instant::now() + Duration::from_millis(200);
        tokio::time::sleep_until(tokio::time::Instant::from_std(
            stopped + Duration::from_millis(50),
        ))
        .await;
        assert!(ALIVE.lock().unwrap() <= stopped);
    }
}
