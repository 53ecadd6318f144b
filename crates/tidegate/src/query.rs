//! A planned query: run it as a stream, collect it, explain it, watch it, cancel it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tidegate_operators::rejects::RejectLog;
use tidegate_runtime::progress::{self, ScanTotals};
use tidegate_runtime::{CpuPool, TaskProgress};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::notice::Notice;
use crate::progress::Progress;

/// What running a query gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// Rows.
    Rows,
    /// Files were written; the stream has one row with the number of rows written.
    Write,
    /// An effect on the session, and no rows.
    Command,
}

/// A statement that is planned and has not run.
pub struct Query {
    pub(crate) kind: QueryKind,
    pub(crate) schema: SchemaRef,
    pub(crate) explain: String,
    pub(crate) start: Start,
    pub(crate) state: Arc<QueryState>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pool: CpuPool,
}

pub(crate) type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;
pub(crate) type Start = Box<
    dyn FnOnce(Arc<QueryState>) -> futures::future::BoxFuture<'static, Result<BatchStream>> + Send,
>;

/// What a query and its handles share.
pub(crate) struct QueryState {
    started: Mutex<Option<Instant>>,
    rows_out: AtomicU64,
    cancelled: AtomicBool,
    done: AtomicBool,
    wake: Notify,
    notices: Mutex<Vec<Notice>>,
    watched: OnceLock<(Arc<dyn ExecutionPlan>, ScanTotals)>,
    tasks: OnceLock<Arc<TaskProgress>>,
    /// Thousandths that were shown already: progress never falls back.
    shown: AtomicU64,
    rejects: OnceLock<Arc<RejectLog>>,
    /// How much of its time limit planning took.
    planned_in: OnceLock<Duration>,
    /// What is to be done once its rows have arrived.
    arrival: Mutex<Option<Arrival>>,
}

/// What is to be done once the rows of a query have arrived.
pub(crate) type Arrival = Box<dyn FnOnce() -> Result<()> + Send>;

/// Until a query has ended its progress stays below this many thousandths.
const SHOWN_MAX: u64 = 990;

impl QueryState {
    pub(crate) fn new(notices: Vec<Notice>) -> Arc<Self> {
        Arc::new(Self {
            started: Mutex::new(None),
            rows_out: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            done: AtomicBool::new(false),
            wake: Notify::new(),
            notices: Mutex::new(notices),
            watched: OnceLock::new(),
            tasks: OnceLock::new(),
            shown: AtomicU64::new(0),
            rejects: OnceLock::new(),
            planned_in: OnceLock::new(),
            arrival: Mutex::new(None),
        })
    }

    /// Names the plan whose counters tell how far the query is.
    pub(crate) fn watch(&self, plan: &Arc<dyn ExecutionPlan>) {
        self.watched
            .get_or_init(|| (Arc::clone(plan), progress::totals(plan)));
    }

    /// Names what tells how far the query is, where it runs in tasks.
    pub(crate) fn watch_tasks(&self, tasks: Arc<TaskProgress>) {
        self.tasks.get_or_init(|| tasks);
    }

    /// What tells how far it is, where it runs in tasks.
    pub(crate) fn tasks(&self) -> Option<Arc<TaskProgress>> {
        self.tasks.get().cloned()
    }

    /// Says how long planning took, once.
    pub(crate) fn planned_in(&self, took: Duration) {
        self.planned_in.get_or_init(|| took);
    }

    /// Says what is to be done once its rows have arrived.
    pub(crate) fn on_arrival(&self, arrival: Arrival) {
        *self.arrival.lock() = Some(arrival);
    }

    fn arrived(&self) -> Result<()> {
        match (
            self.done.load(Ordering::Acquire),
            self.arrival.lock().take(),
        ) {
            (true, Some(arrival)) => arrival(),
            _ => Ok(()),
        }
    }

    /// Names the log that counts the rows that are left out.
    pub(crate) fn count_rejects(&self, rejects: Arc<RejectLog>) {
        self.rejects.get_or_init(|| rejects);
    }

    /// The rows that were left out, once the plan has started.
    pub(crate) fn rejects(&self) -> Option<Arc<RejectLog>> {
        self.rejects.get().map(Arc::clone)
    }

    /// Marks the end, once, and says what was left out.
    fn end(&self) {
        if self.done.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.rejects.get().map_or(0, |log| log.count()) {
            0 => {}
            1 => self.notice(Notice::warning(
                "1 row was left out; SELECT * FROM reject_rows shows it".into(),
            )),
            n => self.notice(Notice::warning(format!(
                "{n} rows were left out; SELECT * FROM reject_rows lists them"
            ))),
        }
    }

    /// Adds something the user should know.
    pub(crate) fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    fn progress(&self) -> Progress {
        let done = self.done.load(Ordering::Acquire);
        let (counters, totals) = match self.watched.get() {
            Some((plan, totals)) => (progress::counters(plan), *totals),
            None => Default::default(),
        };
        let now = match (self.tasks.get(), totals.bytes) {
            (Some(tasks), _) => tasks.fraction(),
            (None, 0) => None,
            (None, bytes) => Some(counters.passed.min(bytes) as f64 / bytes as f64),
        };
        let fraction = match (done, now) {
            (true, _) => Some(1.0),
            (false, None) => None,
            (false, Some(now)) => {
                let now = ((now * 1000.0) as u64).min(SHOWN_MAX);
                let shown = self.shown.fetch_max(now, Ordering::Relaxed);
                Some(shown.max(now) as f64 / 1000.0)
            }
        };
        Progress {
            bytes_read: counters.bytes,
            bytes_total: totals.bytes,
            rows_read: counters.rows,
            rows_out: self.rows_out.load(Ordering::Relaxed),
            elapsed: self.started.lock().map(|s| s.elapsed()).unwrap_or_default(),
            fraction,
            done,
        }
    }
}

impl Query {
    /// What running it gives.
    pub fn kind(&self) -> QueryKind {
        self.kind
    }

    /// The names and types of its columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The graph of stages that will run, as `EXPLAIN` prints it.
    pub fn explain(&self) -> &str {
        &self.explain
    }

    /// What the user should know so far; there may be more when the query has ended.
    pub fn notices(&self) -> Vec<Notice> {
        self.state.notices.lock().clone()
    }

    /// A handle to watch and cancel it from elsewhere.
    pub fn handle(&self) -> QueryHandle {
        QueryHandle {
            state: Arc::clone(&self.state),
        }
    }

    /// Starts it. Batches come with back-pressure; dropping the stream cancels the query.
    pub async fn stream(self) -> Result<RowStream> {
        *self.state.started.lock() = Some(Instant::now());
        let spent = self.state.planned_in.get().copied().unwrap_or_default();
        let deadline = self.timeout.map(|limit| Deadline::new(limit, spent));
        let deadline = deadline.transpose()?;
        let start = (self.start)(Arc::clone(&self.state));
        let inner = match self.pool.run(start).await {
            Ok(stream) => stream?,
            Err(panicked) => return Err(Error::new(ErrorKind::Bug, "panic", panicked.to_string())),
        };
        Ok(RowStream {
            inner,
            schema: self.schema,
            deadline,
            cancelled: Box::pin(wait_cancelled(Arc::clone(&self.state))),
            state: self.state,
        })
    }

    /// Runs it to its end and returns all batches.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        let handle = self.handle();
        let mut stream = self.stream().await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        handle.arrived()?;
        Ok(batches)
    }
}

async fn wait_cancelled(state: Arc<QueryState>) {
    loop {
        let woken = state.wake.notified();
        if state.cancelled.load(Ordering::Acquire) {
            return;
        }
        woken.await;
    }
}

/// Watches and cancels a query. Cheap to clone.
#[derive(Clone)]
pub struct QueryHandle {
    state: Arc<QueryState>,
}

impl QueryHandle {
    /// How far the query is.
    pub fn progress(&self) -> Progress {
        self.state.progress()
    }

    /// Says that the rows of a query that has ended are where they belong. A durable query ends with that: until then it
    /// gives its rows again when it is run again.
    pub fn arrived(&self) -> Result<()> {
        self.state.arrived()
    }

    /// Stops the query; its stream ends with an error of kind `Cancelled`.
    pub fn cancel(&self) {
        self.state.cancelled.store(true, Ordering::Release);
        self.state.wake.notify_waiters();
    }

    /// What the user should know so far.
    pub fn notices(&self) -> Vec<Notice> {
        self.state.notices.lock().clone()
    }
}

/// The rows of a running query. Dropping it cancels the query.
pub struct RowStream {
    inner: BatchStream,
    schema: SchemaRef,
    deadline: Option<Deadline>,
    cancelled: Pin<Box<dyn Future<Output = ()> + Send>>,
    state: Arc<QueryState>,
}

impl RowStream {
    /// The names and types of the columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch; `None` after the last one and after an error.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        StreamExt::next(self).await
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.state.done.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if self.cancelled.as_mut().poll(cx).is_ready() {
            self.state.end();
            let error = Error::new(ErrorKind::Cancelled, "cancelled", "the query was cancelled");
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.poll(cx)
        {
            let error = deadline.error();
            self.state.end();
            return Poll::Ready(Some(Err(error)));
        }
        let item = futures::ready!(self.inner.as_mut().poll_next(cx));
        match &item {
            Some(Ok(batch)) => {
                let rows = batch.num_rows() as u64;
                self.state.rows_out.fetch_add(rows, Ordering::Relaxed);
            }
            Some(Err(_)) | None => self.state.end(),
        }
        Poll::Ready(item)
    }
}

/// Does something that takes at most so long; what it does then is left to itself.
pub(crate) async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T> {
    let Some(limit) = limit else {
        return Ok(work.await);
    };
    let mut deadline = Deadline::new(limit, Duration::ZERO)?;
    let over = std::future::poll_fn(|cx| match deadline.poll(cx) {
        true => Poll::Ready(deadline.error()),
        false => Poll::Pending,
    });
    tokio::select! {
        biased;
        done = work => Ok(done),
        error = over => Err(error),
    }
}

/// A time limit with a thread of its own: a runtime whose threads all compute keeps no time.
struct Deadline {
    limit: Duration,
    passed: tokio::sync::oneshot::Receiver<()>,
    /// Wakes the thread when it goes, so that the thread goes with the query.
    _query: std::sync::mpsc::Sender<()>,
}

impl Deadline {
    /// A limit of which some time is spent already.
    fn new(limit: Duration, spent: Duration) -> Result<Self> {
        let left = limit.saturating_sub(spent);
        let (say, passed) = tokio::sync::oneshot::channel();
        let (query, ended) = std::sync::mpsc::channel::<()>();
        let wait = move || {
            if ended.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // The query may have ended this instant: then nobody listens.
                let _ = say.send(());
            }
        };
        let thread = std::thread::Builder::new().name("tidegate-deadline".into());
        thread.spawn(wait).map_err(|error| {
            let message = format!("cannot start the thread of the time limit: {error}");
            Error::new(ErrorKind::Io, "io", message)
        })?;
        Ok(Self {
            limit,
            passed,
            _query: query,
        })
    }

    fn error(&self) -> Error {
        let limit = crate::settings::format_duration(self.limit);
        let message = format!("the query ran longer than its limit of {limit}");
        Error::new(ErrorKind::Limit, "timeout", message)
            .with_hint("raise it with --timeout or SET timeout = '…'")
    }

    /// Whether the time is over; else the task is woken when it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.passed).poll(cx), Poll::Ready(Ok(())))
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        self.state.end();
    }
}
