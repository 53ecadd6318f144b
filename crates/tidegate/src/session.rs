//! A session: settings, tables, views, functions and stores, and the way from SQL to a [`Query`].

mod builder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::catalog::{TableFunctionImpl, TableProvider};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use futures::future::BoxFuture;
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use tidegate_catalog::{Catalog, Existing, Named, Place};
use tidegate_checkpoint::temp::{Reservation, TempRoot};
use tidegate_operators::rejects::{Limits, RejectLog};
use tidegate_operators::source::ScanAccess;
use tidegate_operators::split_mix::nth;
use tidegate_plan::sql::{self, Parsed};
use tidegate_plan::{Checkpoint, MapFunction, PlanSettings, Registry, session_state};
use tidegate_runtime::{CpuPool, Damage, Fault, Gate, Worker, budget};

use crate::Value;
use crate::commands;
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::extend;
use crate::job;
use crate::notice::Notice;
use crate::planner::{self, Planner};
use crate::query::{self, Query};
use crate::script::{Script, Statement};
use crate::settings::{Origin, SettingRow, Settings};
use crate::tables;
use crate::write::OutputFile;

pub use builder::{Clock, SessionBuilder, StepHook};

/// The part of its memory, as one in so many, that a partition of a sort keeps back for merging.
const SORT_RESERVE_SHARE: u64 = 8;
/// It never keeps back more bytes than this.
const SORT_RESERVE_MAX: u64 = 10 << 20;

/// How long the end of a session waits for its threads, if they hold no staged file.
const THREADS_WAIT: Duration = Duration::from_millis(100);

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Files, or a table of the embedding program.
    Table,
    /// A query.
    View,
}

/// One line of `SHOW TABLES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// The name it is registered under.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// The path or the text of the view; empty for tables of the embedding program.
    pub location: String,
}

/// What the clones of a session share.
pub(crate) struct Inner {
    pub(crate) settings: RwLock<Settings>,
    /// The settings that the session started with: what RESET goes back to.
    initial: Settings,
    pub(crate) catalog: Catalog,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) temp: Arc<TempRoot>,
    /// Footers that were read and the limits of scans.
    pub(crate) scan: ScanAccess,
    pub(crate) place: Place,
    /// Tables that CREATE TABLE AS made in the private directory.
    pub(crate) tables_made: AtomicUsize,
    /// What these tables take of the temporary space, by directory.
    pub(crate) tables_held: Mutex<HashMap<PathBuf, Reservation>>,
    pub(crate) registry: RwLock<Registry>,
    parameters: RwLock<sql::Parameters>,
    rejects: Mutex<Arc<RejectLog>>,
    pool: OnceLock<CpuPool>,
    pub(crate) clock: Clock,
    between_steps: Option<StepHook>,
    pub(crate) workers: Vec<Arc<dyn Worker>>,
    pub(crate) fault: Option<Fault>,
    /// Where queries wait for their turn.
    pub(crate) gate: Arc<Gate>,
    pub(crate) damage: Option<Damage>,
    seed: u64,
    /// Statements that were planned: each draws random numbers of its own.
    statements: AtomicU64,
    user: String,
}

/// The engine, embedded. Cheap to clone; clones share everything.
///
/// Queries compute on threads of the session's own, so it works from any async runtime and, with
/// [`Session::block_on`], from none. It may be dropped inside async code.
///
/// ```
/// # fn main() -> Result<(), tidegate::Error> {
/// let session = tidegate::Session::builder().build()?;
/// let query = session.block_on(session.sql("SELECT 1 AS one"))?;
/// assert_eq!(query.schema().field(0).name(), "one");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
}

impl Session {
    /// Starts making a session.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// Plans one statement. Nothing has run when this returns.
    pub async fn sql(&self, text: &str) -> Result<Query> {
        let parsed = planner::one(self.parse(text)?)?;
        self.plan(parsed, None).await
    }

    /// Splits a text into statements. Spans of errors count from the start of the whole text.
    pub fn script(&self, text: &str) -> Result<Script> {
        let statements = self.parse(text)?.into_iter().map(Statement::new).collect();
        Ok(Script { statements })
    }

    /// As [`Session::script`], but a statement that cannot be read is an error in its place, and
    /// the others can run. The text as a whole must be cut into statements all the same.
    pub fn script_each(&self, text: &str) -> Result<Vec<Result<Statement>>> {
        let each = sql::parse_each_within(text, &self.limits()).map_err(convert::from_sql)?;
        let read = |parsed: sql::Result<Parsed>| match parsed {
            Ok(parsed) => Ok(Statement::new(parsed)),
            Err(error) => Err(convert::from_sql(error)),
        };
        Ok(each.into_iter().map(read).collect())
    }

    /// Plans a statement of a script.
    pub async fn statement(&self, statement: &Statement) -> Result<Query> {
        let durable = self.inner.settings.read().durable;
        if !durable || !job::is_step(&statement.parsed.statement) {
            return self.statement_of(statement, None).await;
        }
        let job = self.job_of(statement)?;
        match job.finished() {
            None => job.query(0).await,
            Some(at) => Ok(self.ended(&job.name(), at)),
        }
    }

    /// Plans a statement, perhaps of a job.
    pub(crate) async fn statement_of(
        &self,
        statement: &Statement,
        step: Option<job::Step>,
    ) -> Result<Query> {
        self.plan(statement.parsed.clone(), step).await
    }

    /// Nothing, because it was done before.
    fn ended(&self, job: &str, at: DateTime<Utc>) -> Query {
        let query = commands::nothing(self);
        let how = format!("`tidegate job gc {job}` forgets it, so that it runs on today's input");
        let said = format!("{}; {how}", job::ended_text(job, at));
        query.state.notice(Notice::info(said));
        query
    }

    /// Runs a future of this library to its end on a thread without an async runtime.
    ///
    /// # Panics
    ///
    /// Inside async code, where it would block the caller's runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self.pool() {
            Ok(pool) => pool.handle().block_on(future),
            Err(_) => futures::executor::block_on(future),
        }
    }

    /// Ends what still runs in this session and all its clones, and waits at most so long until
    /// the work has let go of its staged and temporary files. Calls to the system that hold none,
    /// as reading from a pipe that nobody writes to, are left behind. Call it before the process
    /// ends: what is left then, only the next use removes.
    ///
    /// ```
    /// let session = tidegate::Session::builder().build()?;
    /// session.close(std::time::Duration::from_secs(2));
    /// # Ok::<(), tidegate::Error>(())
    /// ```
    pub fn close(self, wait: Duration) {
        let started = Instant::now();
        if let Some(pool) = self.inner.pool.get() {
            pool.stop(wait.min(THREADS_WAIT));
        }
        tidegate_checkpoint::staged::settle(wait.saturating_sub(started.elapsed()));
        self.inner.temp.remove();
    }

    /// Binds `$name` (and `$1` under the name `1`) for the statements that follow.
    pub fn set_param(&self, name: &str, value: Value) {
        let name = name.trim_start_matches('$').to_string();
        self.inner.parameters.write().insert(name, value);
    }

    /// The parameters that are bound, by name.
    pub fn params(&self) -> Vec<(String, Value)> {
        let parameters = self.inner.parameters.read();
        let mut bound: Vec<_> = parameters
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        bound.sort_by(|a, b| a.0.cmp(&b.0));
        bound
    }

    /// Changes a setting, as `SET name = value` does.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let def = Settings::definition(name)?;
        if !def.session {
            return Err(Error::new(
                ErrorKind::Usage,
                "fixed_setting",
                format!("setting `{}` is fixed when a session starts", def.name),
            )
            .with_hint(format!(
                "start with --{} or {} in the environment",
                def.name.replace('_', "-"),
                format!("TIDEGATE_{}", def.name).to_ascii_uppercase()
            )));
        }
        self.inner
            .settings
            .write()
            .set(name, value, Origin::Session)
    }

    /// Puts a setting back to what it was when the session started, as `RESET name` does.
    pub fn reset(&self, name: &str) -> Result<()> {
        if Settings::definition(name)?.session {
            let initial = &self.inner.initial;
            return self.inner.settings.write().restore(name, initial);
        }
        self.set(name, "")
    }

    /// A copy of the settings as they are now.
    pub fn settings(&self) -> Settings {
        self.inner.settings.read().clone()
    }

    /// All settings with value and origin.
    pub fn setting_rows(&self) -> Vec<SettingRow> {
        self.inner.settings.read().rows()
    }

    /// Registers every file and sub-directory of a directory as a table; returns their names and
    /// what was left out.
    pub async fn open_directory(&self, directory: &str) -> Result<(Vec<String>, Vec<Notice>)> {
        let registered = self
            .inner
            .catalog
            .register_directory(directory)
            .map_err(convert::from_catalog)?;
        Ok((
            registered.names,
            registered.notices.into_iter().map(Notice::info).collect(),
        ))
    }

    /// Registers a file, directory, glob or URL under a name, as `CREATE EXTERNAL TABLE` does.
    pub async fn register_path(&self, name: &str, path: &str) -> Result<()> {
        let named = Named::Files {
            path: path.to_string(),
            options: Default::default(),
        };
        let catalog = self.inner.catalog.clone();
        catalog
            .register(name, named, Existing::Replace)
            .map_err(convert::from_catalog)
    }

    /// Starts a file that appears whole or not at all, where the sandbox allows it.
    pub fn output_file(&self, path: &Path) -> Result<OutputFile> {
        let access = self.inner.catalog.access();
        access.check_write(path).map_err(convert::from_catalog)?;
        OutputFile::create(path)
    }

    /// Gives a query a name. It is planned where it is used: a mistake in it is an error there.
    pub fn register_view(&self, name: &str, query: &str) -> Result<()> {
        let named = Named::View {
            sql: query.trim().trim_end_matches(';').to_string(),
        };
        self.inner
            .catalog
            .register(name, named, Existing::Error)
            .map_err(convert::from_catalog)
    }

    /// The tables and views, by name.
    pub fn tables(&self) -> Vec<TableInfo> {
        let catalog = &self.inner.catalog;
        let found = catalog
            .table_names()
            .into_iter()
            .filter_map(|name| catalog.look_up(&name).ok());
        found
            .map(|found| {
                let (kind, location) = match found.named {
                    Named::Files { path, .. } => (TableKind::Table, path),
                    Named::Provider(_) => (TableKind::Table, String::new()),
                    Named::View { sql } => (TableKind::View, sql),
                };
                TableInfo {
                    name: found.name,
                    kind,
                    location,
                }
            })
            .collect()
    }

    /// The columns of a table, a view or a path.
    pub async fn columns(&self, table: &str) -> Result<SchemaRef> {
        let from = tables::quoted(&self.inner.catalog, table);
        let text = format!("SELECT * FROM {from} LIMIT 0");
        Ok(self.sql(&text).await?.schema())
    }

    /// The names of all functions that a query may call, for completion.
    pub fn functions(&self) -> Vec<String> {
        let registry = self.inner.registry.read();
        let scalars = registry.scalars().map(|f| f.name().to_string());
        let aggregates = registry.aggregates().map(|f| f.name().to_string());
        let windows = registry.windows().map(|f| f.name().to_string());
        let mut names: Vec<String> = scalars.chain(aggregates).chain(windows).collect();
        names.retain(|name| !tidegate_plan::is_internal(name));
        names.sort();
        names.dedup();
        names
    }

    /// The names of all functions that stand in FROM, readers of files included, for completion.
    pub fn table_functions(&self) -> Vec<String> {
        let registry = self.inner.registry.read();
        let names = registry.table_functions().map(|f| f.name().to_string());
        let readers = sql::READERS.iter().map(|name| name.to_string());
        let mut names: Vec<String> = names.chain(readers).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Registers a table of the embedding program; one that it registered before is replaced.
    pub fn register_table(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.inner
            .catalog
            .register(name, Named::Provider(table), Existing::Replace)
            .map_err(convert::from_catalog)
    }

    /// Registers batches in memory as a table. All need the same columns.
    pub fn register_batches(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<()> {
        let table = datafusion::datasource::MemTable::try_new(schema, vec![batches])
            .map_err(|error| convert::from_datafusion(error, None, None))?;
        self.register_table(name, Arc::new(table))
    }

    /// Forgets a table or view. No file is touched.
    pub fn deregister(&self, name: &str) -> Result<()> {
        let forgotten = self.inner.catalog.deregister(name);
        forgotten.map(|_| ()).map_err(convert::from_catalog)
    }

    /// Registers a scalar function.
    pub fn register_udf(&self, function: ScalarUDF) {
        self.inner.registry.write().add_scalar(Arc::new(function));
    }

    /// Registers an aggregate function.
    pub fn register_udaf(&self, function: AggregateUDF) {
        self.inner
            .registry
            .write()
            .add_aggregate(Arc::new(function));
    }

    /// Registers a window function.
    pub fn register_udwf(&self, function: WindowUDF) {
        self.inner.registry.write().add_window(Arc::new(function));
    }

    /// Registers a table function, to be called in FROM.
    pub fn register_table_function(&self, name: &str, function: Arc<dyn TableFunctionImpl>) {
        self.inner
            .registry
            .write()
            .add_table_function(name, function);
    }

    /// Registers a function over batches, for [`Dataflow::map_batches`](crate::Dataflow::map_batches). `columns` says what it
    /// makes of the columns of its input. How rows are cut into batches is not promised: what it makes of a row must not
    /// depend on the rows beside it, and each batch may have as many rows as it likes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tidegate::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use tidegate::arrow::datatypes::{DataType, Field, Schema};
    ///
    /// # fn main() -> Result<(), tidegate::Error> {
    /// let session = tidegate::Session::builder().build()?;
    /// let counted = Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]));
    /// let columns = Arc::clone(&counted);
    /// session.register_map(
    ///     "count_rows",
    ///     move |_| Ok(Arc::clone(&columns)),
    ///     move |batch| {
    ///         let rows: ArrayRef = Arc::new(Int64Array::from(vec![batch.num_rows() as i64]));
    ///         Ok(RecordBatch::try_new(Arc::clone(&counted), vec![rows])?)
    ///     },
    /// );
    /// # let zones = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/zones/");
    /// let flow = session.scan(zones).map_batches("count_rows");
    /// let batches = session.block_on(session.block_on(flow.query())?.collect())?;
    /// assert!(!batches.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_map(
        &self,
        name: &str,
        columns: impl Fn(&Schema) -> extend::Result<SchemaRef> + Send + Sync + 'static,
        batches: impl Fn(RecordBatch) -> extend::Result<RecordBatch> + Send + Sync + 'static,
    ) {
        let function = MapFunction::new(name, Arc::new(columns), Arc::new(batches));
        self.inner.registry.write().add_map(function);
    }

    /// Registers an object store for URLs of this scheme and host, such as `s3://bucket`.
    pub fn register_object_store(&self, url: &str, store: Arc<dyn ObjectStore>) -> Result<()> {
        let invalid =
            |error: datafusion::error::DataFusionError| convert::from_datafusion(error, None, None);
        let parsed =
            datafusion::datasource::object_store::ObjectStoreUrl::parse(url).map_err(invalid)?;
        self.inner
            .runtime
            .register_object_store(parsed.as_ref(), store);
        Ok(())
    }

    fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        sql::parse_script_within(text, &self.limits()).map_err(convert::from_sql)
    }

    fn limits(&self) -> sql::Limits {
        let settings = self.inner.settings.read();
        sql::Limits {
            bytes_max: settings.sql_bytes as usize,
            tokens_max: settings.sql_tokens_max,
            nesting_max: settings.sql_nesting_max,
            subqueries_max: settings.sql_subqueries_max,
            set_operations_max: settings.sql_set_operations_max,
        }
    }

    async fn plan(&self, parsed: Parsed, step: Option<job::Step>) -> Result<Query> {
        let session = self.clone();
        let planned = async move { commands::plan(&session, parsed, step).await };
        self.planned(Box::pin(planned)).await
    }

    /// Plans on the session's threads, within the time limit. Boxed, for whoever waits for it may be deep on its stack.
    pub(crate) async fn planned(
        &self,
        planned: BoxFuture<'static, Result<Query>>,
    ) -> Result<Query> {
        let pool = self.pool()?;
        let limit = self.inner.settings.read().timeout;
        let started = Instant::now();
        match query::within(limit, pool.run(planned)).await? {
            Ok(query) => query.inspect(|query| query.state.planned_in(started.elapsed())),
            Err(panicked) => Err(Error::new(ErrorKind::Bug, "panic", panicked.to_string())),
        }
    }

    pub(crate) fn pool(&self) -> Result<CpuPool> {
        if let Some(pool) = self.inner.pool.get() {
            return Ok(pool.clone());
        }
        let threads = self.inner.settings.read().threads;
        let pool = CpuPool::new(threads).map_err(|error| {
            Error::new(
                ErrorKind::Limit,
                "threads",
                format!("cannot start threads: {error}"),
            )
        })?;
        Ok(self.inner.pool.get_or_init(|| pool).clone())
    }

    /// A snapshot of the session to plan one statement with.
    pub(crate) fn planner(&self, durable: bool) -> Result<Planner> {
        let settings = self.settings();
        let pool = self.pool()?;
        let threads = pool.threads();
        let plan_settings = Arc::new(PlanSettings {
            partitions: match settings.partitions {
                0 => threads,
                given => given,
            },
            batch_rows: settings.batch_rows,
            time_zone: settings.time_zone.clone(),
            seed: self.next_seed(),
            user: self.inner.user.clone(),
            sort_spill_reservation_bytes: self.sort_reserve(&settings, threads),
            join_order: settings.join_order == "auto",
            strict: match settings.strict.as_str() {
                "on" => true,
                "off" => false,
                _ => durable,
            },
            execution: settings.execution,
            batching: settings.batching,
            checkpoint: durable.then_some(Checkpoint {
                mode: settings.checkpoint_mode,
                mtbf: settings.checkpoint_mtbf,
                max_loss: settings.checkpoint_max_loss,
                threads,
                spreads: settings.partitions == 0,
                room: self.room(),
            }),
            ..PlanSettings::at((self.inner.clock)())
        });
        let registry = self.inner.registry.read();
        let state = session_state(&plan_settings, Arc::clone(&self.inner.runtime), &registry);
        Ok(Planner {
            catalog: self.inner.catalog.clone(),
            settings,
            plan_settings,
            state,
            parameters: self.inner.parameters.read().clone(),
            pool,
            rejects: Arc::clone(&self.inner.rejects.lock()),
            between_steps: self.inner.between_steps.clone(),
        })
    }

    fn next_seed(&self) -> u64 {
        let number = self.inner.statements.fetch_add(1, Ordering::Relaxed);
        nth(self.inner.seed, number)
    }

    /// What each partition of a sort keeps back to merge what it spilled: not so much that little
    /// memory has no room for the rows.
    fn sort_reserve(&self, settings: &Settings, threads: usize) -> usize {
        let partitions = match settings.partitions {
            0 => threads,
            given => given,
        };
        let memory = memory_limit(settings);
        let share = memory / (SORT_RESERVE_SHARE * partitions.max(1) as u64);
        usize::try_from(share.min(SORT_RESERVE_MAX)).unwrap_or(usize::MAX)
    }

    /// Memory that queries may use together, in bytes.
    pub(crate) fn memory_limit(&self) -> u64 {
        memory_limit(&self.inner.settings.read())
    }

    /// Bytes of temporary files and of sealed ones that there is room for.
    pub(crate) fn room(&self) -> u64 {
        let temp = &self.inner.temp;
        temp.limit().saturating_sub(temp.used())
    }

    /// A fresh log for the rows that a statement rejects; the table `reject_rows` shows it.
    pub(crate) fn new_rejects(&self) -> Arc<RejectLog> {
        let limits = Limits {
            rows_max: self.inner.settings.read().reject_limit,
            ..Limits::default()
        };
        let log = Arc::new(RejectLog::new(limits));
        *self.inner.rejects.lock() = Arc::clone(&log);
        log
    }
}

fn memory_limit(settings: &Settings) -> u64 {
    settings.memory_limit.unwrap_or_else(budget::memory_default)
}
