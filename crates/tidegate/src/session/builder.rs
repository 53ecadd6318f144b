//! Makes a session: settings, sandbox, and what is handed in rather than read in place.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::{Mutex, RwLock};
use tidegate_catalog::{self as catalog, Access, Catalog, Place, Stores};
use tidegate_checkpoint::temp::TempRoot;
use tidegate_checkpoint::{RealVfs, Vfs};
use tidegate_operators::parquet::FooterCache;
use tidegate_operators::rejects::{Limits, RejectLog};
use tidegate_operators::source::ScanAccess;
use tidegate_plan::Registry;
use tidegate_runtime::{Damage, Fault, Gate, Worker, budget};

use super::{Inner, Session};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::Settings;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Called between the steps of planning.
pub type StepHook = Arc<dyn Fn() + Send + Sync>;

/// Consumers of memory that an error about the limit names.
const CONSUMERS_NAMED: usize = 3;

/// Makes a [`Session`].
///
/// ```
/// let session = tidegate::Session::builder()
///     .settings(tidegate::Settings::default().threads(1))
///     .read_only()
///     .build()?;
/// # Ok::<(), tidegate::Error>(())
/// ```
pub struct SessionBuilder {
    settings: Settings,
    read_only: bool,
    allow_paths: Option<Vec<PathBuf>>,
    no_network: bool,
    clock: Clock,
    between_steps: Option<StepHook>,
    workers: Vec<Arc<dyn Worker>>,
    fault: Option<Fault>,
    damage: Option<Damage>,
    seed: Option<u64>,
    user: String,
    working_dir: Option<PathBuf>,
    home: Option<PathBuf>,
    stdin: Option<Arc<dyn Fn() -> std::io::Result<PathBuf> + Send + Sync>>,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            read_only: false,
            allow_paths: None,
            no_network: false,
            clock: Arc::new(Utc::now),
            between_steps: None,
            workers: Vec::new(),
            fault: None,
            damage: None,
            seed: None,
            user: std::env::var("USER").unwrap_or_else(|_| "tidegate".into()),
            working_dir: None,
            home: std::env::var_os("HOME").map(PathBuf::from),
            stdin: None,
        }
    }
}

impl SessionBuilder {
    /// The settings to start with.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Nothing may be written but temporary files.
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Only what is below this directory may be read or written. Call it again for another.
    pub fn allow_path(mut self, directory: impl Into<PathBuf>) -> Self {
        self.allow_paths
            .get_or_insert_default()
            .push(directory.into());
        self
    }

    /// No object store and no HTTP.
    pub fn no_network(self) -> Self {
        Self {
            no_network: true,
            ..self
        }
    }

    /// The clock that `now()` and the like read.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Runs the tasks of stages on these workers, instead of on the threads of this process.
    pub fn workers(self, workers: Vec<Arc<dyn Worker>>) -> Self {
        Self { workers, ..self }
    }

    /// Decides which attempts of tasks fail, for tests of what happens then.
    #[doc(hidden)]
    pub fn fault(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// Is told of the files that tasks have sealed, for tests of what happens when they are damaged.
    #[doc(hidden)]
    pub fn damage(self, damage: Damage) -> Self {
        Self {
            damage: Some(damage),
            ..self
        }
    }

    /// Called twice for each statement that is planned, on the thread that plans it: when its SQL is a plan, and when
    /// that is optimized. A process that must stay small can let go there of what only the step before needed.
    pub fn between_steps(self, hook: StepHook) -> Self {
        Self {
            between_steps: Some(hook),
            ..self
        }
    }

    /// The source of every random number: a session with the same seed that runs the same statements draws the same
    /// ones. Without it each session draws others.
    pub fn seed(self, seed: u64) -> Self {
        let seed = Some(seed);
        Self { seed, ..self }
    }

    /// What `current_user` answers.
    pub fn user(self, user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            ..self
        }
    }

    /// Where relative paths start; the process's working directory if it is not said.
    pub fn working_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self {
            working_dir: Some(directory.into()),
            ..self
        }
    }

    /// What `'-'` reads: called at most once, it puts standard input into a file and names it.
    pub fn stdin(self, spool: Arc<dyn Fn() -> std::io::Result<PathBuf> + Send + Sync>) -> Self {
        Self {
            stdin: Some(spool),
            ..self
        }
    }

    /// Makes the session.
    ///
    /// # Errors
    ///
    /// When the temporary directory cannot be made, or a path of the sandbox does not exist.
    pub fn build(self) -> Result<Session> {
        let access = self.access()?;
        let stores = Stores::new(access.clone()).with_home(std::env::home_dir());
        let stores = Arc::new(stores);
        let gate = Gate::new(self.settings.queries_max, self.settings.queries_waiting_max);
        let temp = Arc::new(temporary(&self.settings)?);
        let runtime = runtime(&self.settings, &temp, &stores)?;
        let working_dir = match self.working_dir {
            Some(directory) => directory,
            None => std::env::current_dir().map_err(|error| {
                Error::new(
                    ErrorKind::Io,
                    "io",
                    format!("there is no working directory: {error}"),
                )
            })?,
        };
        let place = Place {
            working_dir,
            home: self.home,
        };
        let scan = ScanAccess {
            footers: Arc::new(FooterCache::new(self.settings.footer_cache as usize)),
            ..ScanAccess::default()
        };
        let settings = catalog::Settings {
            scan: scan.clone(),
            sample_bytes_max: self.settings.sample_cache as usize,
            place: place.clone(),
            stdin: self.stdin,
            ..catalog::Settings::default()
        };
        let reject_limits = Limits {
            rows_max: self.settings.reject_limit,
            ..Limits::default()
        };
        Ok(Session {
            inner: Arc::new(Inner {
                initial: self.settings.clone(),
                settings: RwLock::new(self.settings),
                catalog: Catalog::new(access, stores, settings),
                runtime,
                temp,
                scan,
                place,
                tables_made: AtomicUsize::new(0),
                tables_held: Mutex::default(),
                registry: RwLock::new(Registry::new()),
                parameters: RwLock::default(),
                rejects: Mutex::new(Arc::new(RejectLog::new(reject_limits))),
                pool: OnceLock::new(),
                clock: self.clock,
                between_steps: self.between_steps,
                workers: self.workers,
                fault: self.fault,
                gate: Arc::new(gate),
                damage: self.damage,
                seed: self.seed.unwrap_or_else(|| RealVfs.unique()),
                statements: AtomicU64::new(0),
                user: self.user,
            }),
        })
    }

    /// What the builder or the settings forbid is forbidden.
    fn access(&self) -> Result<Access> {
        let mut access = Access::everything();
        if self.read_only || self.settings.read_only {
            access = access.without_writes();
        }
        if self.no_network || self.settings.no_network {
            access = access.without_network();
        }
        let set = Some(&self.settings.allow_path).filter(|paths| !paths.is_empty());
        match self.allow_paths.as_ref().or(set) {
            Some(paths) => access
                .with_allow_paths(paths)
                .map_err(convert::from_catalog),
            None => Ok(access),
        }
    }
}

fn temporary(settings: &Settings) -> Result<TempRoot> {
    let base = settings.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let limit = settings
        .temp_limit
        .unwrap_or_else(|| budget::disk_default(&base));
    TempRoot::open(&base, limit).map_err(|error| {
        Error::new(
            ErrorKind::Io,
            "temp_dir",
            format!(
                "cannot use temporary directory `{}`: {error}",
                base.display()
            ),
        )
        .with_hint("choose another with --temp-dir")
    })
}

fn runtime(settings: &Settings, temp: &TempRoot, stores: &Arc<Stores>) -> Result<Arc<RuntimeEnv>> {
    let bytes = settings.memory_limit.unwrap_or_else(budget::memory_default);
    let named = std::num::NonZeroUsize::new(CONSUMERS_NAMED).expect("it is not zero");
    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes as usize), named);
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![
            temp.path().to_path_buf(),
        ]))
        .with_max_temp_directory_size(temp.limit());
    // Listings are ours and always fresh; nothing here may remember one.
    let caches = CacheManagerConfig::default()
        .with_list_files_cache_limit(0)
        .with_list_files_cache_ttl(Some(Duration::ZERO));
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_cache_manager(caches)
        .with_object_store_registry(Arc::clone(stores) as _)
        .build_arc()
        .map_err(|error| convert::from_datafusion(error, None, None))
}
