//! Settings: one name everywhere (`SET x`, `--x`, `TIDEGATE_X`, `tidegate.toml`, a field of
//! [`Settings`]). Each has a type, a default, a sentence of help and says whether it can change a
//! result. The table [`Settings::definitions`] is the one place that knows them all.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_operators::source::Batching;
use tidegate_plan::{CheckpointMode, Execution};

use crate::error::{Error, ErrorKind, Result};
pub use parse::{format_bytes, format_duration, parse_bytes, parse_duration};

/// Where the value of a setting comes from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, or a call of the embedding program.
    Flag,
    /// `SET` in this session.
    Session,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag => f.write_str("flag"),
            Origin::Session => f.write_str("SET"),
        }
    }
}

/// What is known of one setting.
#[derive(Debug)]
pub struct SettingDef {
    /// Its name, without the prefix `tidegate.`.
    pub name: &'static str,
    /// What values it takes, in words a user understands.
    pub takes: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// Whether it can change the rows of a result.
    pub affects_result: bool,
    /// Whether SQL may change it while a session runs.
    pub session: bool,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> std::result::Result<(), String>,
}

/// One row of `SHOW ALL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// The name, without prefix.
    pub name: &'static str,
    /// The value as text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// One sentence of help.
    pub help: &'static str,
    /// Whether it can change the rows of a result.
    pub affects_result: bool,
}

/// Everything that can be set, with its value and where the value came from.
///
/// ```
/// let settings = tidegate::Settings::default().memory_limit("1GiB").unwrap().threads(2);
/// assert_eq!(settings.get("memory_limit").unwrap(), "1GiB");
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) memory_limit: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) partitions: usize,
    pub(crate) batch_rows: usize,
    pub(crate) batching: Batching,
    pub(crate) temp_dir: Option<PathBuf>,
    pub(crate) temp_limit: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) time_zone: String,
    pub(crate) reject_limit: usize,
    pub(crate) history_rows: usize,
    pub(crate) last_result_limit: u64,
    pub(crate) footer_cache: u64,
    pub(crate) open_files: usize,
    pub(crate) checkpoint_max_loss: Duration,
    pub(crate) checkpoint_mode: CheckpointMode,
    pub(crate) checkpoint_mtbf: Duration,
    pub(crate) durable: bool,
    pub(crate) job_dir: Option<PathBuf>,
    pub(crate) job_space_limit: Option<u64>,
    pub(crate) strict: String,
    pub(crate) speculation: bool,
    pub(crate) task_timeout: Option<Duration>,
    pub(crate) execution: Execution,
    pub(crate) join_order: String,
    pub(crate) queries_max: usize,
    pub(crate) queries_waiting_max: usize,
    pub(crate) query_priority: i32,
    pub(crate) queue_timeout: Duration,
    pub(crate) scheduling: String,
    pub(crate) task_attempts: u32,
    pub(crate) sample_cache: u64,
    pub(crate) sampling_budget: usize,
    pub(crate) sql_bytes: u64,
    pub(crate) sql_nesting_max: usize,
    pub(crate) sql_set_operations_max: usize,
    pub(crate) sql_subqueries_max: usize,
    pub(crate) sql_tokens_max: usize,
    pub(crate) format: String,
    pub(crate) color: String,
    pub(crate) progress: String,
    pub(crate) pager: String,
    pub(crate) pager_rows: usize,
    pub(crate) max_rows: usize,
    pub(crate) null_text: String,
    pub(crate) read_only: bool,
    pub(crate) no_network: bool,
    pub(crate) allow_path: Vec<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_limit: None,
            threads: 0,
            partitions: 0,
            batch_rows: 8192,
            batching: Batching::EqualBytes,
            temp_dir: None,
            temp_limit: None,
            timeout: None,
            time_zone: "UTC".into(),
            reject_limit: 10_000,
            history_rows: 10_000,
            last_result_limit: 64 << 20,
            footer_cache: 128 << 20,
            open_files: 512,
            checkpoint_max_loss: Duration::from_secs(60),
            checkpoint_mode: CheckpointMode::Auto,
            checkpoint_mtbf: Duration::from_secs(3600),
            durable: false,
            job_dir: None,
            job_space_limit: None,
            strict: "auto".into(),
            speculation: false,
            task_timeout: None,
            execution: Execution::Auto,
            join_order: "auto".into(),
            queries_max: 16,
            queries_waiting_max: 1000,
            query_priority: 0,
            queue_timeout: Duration::from_secs(600),
            scheduling: "critical_path".into(),
            task_attempts: 4,
            sample_cache: 32 << 20,
            sampling_budget: 5,
            sql_bytes: 16 << 20,
            sql_nesting_max: 400,
            sql_set_operations_max: 100,
            sql_subqueries_max: 14,
            sql_tokens_max: 500_000,
            format: "auto".into(),
            color: "auto".into(),
            progress: "auto".into(),
            pager: "auto".into(),
            pager_rows: 100_000,
            max_rows: 40,
            null_text: "NULL".into(),
            read_only: false,
            no_network: false,
            allow_path: Vec::new(),
            origins: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Every setting there is, by name.
    pub fn definitions() -> &'static [SettingDef] {
        DEFINITIONS
    }

    /// The definition of a setting, with or without the prefix `tidegate.`, in any case.
    pub fn definition(name: &str) -> Result<&'static SettingDef> {
        let lower = name.to_ascii_lowercase().replace('-', "_");
        let bare = lower.strip_prefix("tidegate.").unwrap_or(&lower);
        DEFINITIONS
            .iter()
            .find(|def| def.name == bare || def.name.replace('.', "_") == bare)
            .ok_or_else(|| unknown_setting(name, bare))
    }

    /// Sets a setting by name from text, and remembers where the value came from.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<()> {
        let def = Self::definition(name)?;
        (def.set)(self, value.trim()).map_err(|why| {
            Error::new(
                ErrorKind::Usage,
                "bad_setting",
                format!("`{value}` is not a value of setting `{}`: {why}", def.name),
            )
            .with_hint(format!("it takes {}", def.takes))
        })?;
        self.origins.insert(def.name, origin);
        Ok(())
    }

    /// Puts a setting back to its default.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        let def = Self::definition(name)?;
        let default = (def.get)(&Settings::default());
        (def.set)(self, &default).map_err(|why| Error::new(ErrorKind::Bug, "bad_default", why))?;
        self.origins.remove(def.name);
        Ok(())
    }

    /// Puts a setting back to what it is in other settings, with its origin there.
    pub(crate) fn restore(&mut self, name: &str, from: &Settings) -> Result<()> {
        let def = Self::definition(name)?;
        let value = (def.get)(from);
        (def.set)(self, &value).map_err(|why| Error::new(ErrorKind::Bug, "bad_default", why))?;
        match from.origins.get(def.name) {
            Some(origin) => self.origins.insert(def.name, origin.clone()),
            None => self.origins.remove(def.name),
        };
        Ok(())
    }

    /// The value of a setting as text that [`Settings::set`] takes.
    pub fn get(&self, name: &str) -> Result<String> {
        Ok((Self::definition(name)?.get)(self))
    }

    /// Where the value of a setting came from.
    pub fn origin(&self, name: &str) -> Result<Origin> {
        let def = Self::definition(name)?;
        Ok(self
            .origins
            .get(def.name)
            .cloned()
            .unwrap_or(Origin::Default))
    }

    /// All settings with their values and origins, by name.
    pub fn rows(&self) -> Vec<SettingRow> {
        DEFINITIONS
            .iter()
            .map(|def| SettingRow {
                name: def.name,
                value: (def.get)(self),
                origin: self
                    .origins
                    .get(def.name)
                    .cloned()
                    .unwrap_or(Origin::Default),
                help: def.help,
                affects_result: def.affects_result,
            })
            .collect()
    }

    /// The memory that queries of a session may use together, such as `"1GiB"` or `"auto"`.
    pub fn memory_limit(mut self, size: &str) -> Result<Self> {
        self.set("memory_limit", size, Origin::Flag)?;
        Ok(self)
    }

    /// The number of threads that compute; 0 takes one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self.origins.insert("threads", Origin::Flag);
        self
    }

    /// How long a query may run.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.origins.insert("timeout", Origin::Flag);
        self
    }

    /// Where temporary files go; a private directory is made in it.
    pub fn temp_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(directory.into());
        self.origins.insert("temp_dir", Origin::Flag);
        self
    }

    /// Where durable jobs are kept.
    pub fn job_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.job_dir = Some(directory.into());
        self.origins.insert("job_dir", Origin::Flag);
        self
    }
}

fn unknown_setting(name: &str, bare: &str) -> Error {
    let error = Error::new(
        ErrorKind::Usage,
        "unknown_setting",
        format!("there is no setting `{name}`"),
    );
    let near = DEFINITIONS
        .iter()
        .map(|def| (strsim::damerau_levenshtein(def.name, bare), def.name))
        .filter(|(distance, _)| *distance <= (bare.len() / 2).min(3))
        .min();
    match near {
        Some((_, near)) => error.with_hint(format!("did you mean `{near}`?")),
        None => error.with_hint("SHOW ALL lists the settings"),
    }
}

macro_rules! setting {
    ($name:literal, $takes:literal, $help:literal, $affects:literal, $session:literal, $get:expr, $set:expr) => {
        SettingDef {
            name: $name,
            takes: $takes,
            help: $help,
            affects_result: $affects,
            session: $session,
            get: $get,
            set: $set,
        }
    };
}

#[rustfmt::skip]
static DEFINITIONS: &[SettingDef] = &[
    setting!("allow_path", "directories with `:` between them, empty for all", "Directories below which files may be read and written.", false, false,
        |s| parse::format_paths(&s.allow_path), |s, v| { s.allow_path = parse::paths(v); Ok(()) }),
    setting!("batch_rows", "a number of rows from 1 to 1000000", "Rows in a batch between operators.", false, true,
        |s| s.batch_rows.to_string(), |s, v| { s.batch_rows = parse::number(v, 1, 1_000_000)?; Ok(()) }),
    setting!("batching", "equal_bytes, equal_rows or random(SEED)", "How files and row groups are dealt into the partitions of a scan: of equal bytes; of equal rows, where Parquet footers tell them; or an equal number of pieces at random.", false, true,
        |s| s.batching.to_string(), |s, v| { s.batching = v.parse()?; Ok(()) }),
    setting!("checkpoint.max_loss", "a time such as 60s", "Work that a kill of a durable job may cost; it decides where the job is sealed.", false, true,
        |s| format_duration(s.checkpoint_max_loss), |s, v| { s.checkpoint_max_loss = parse_duration(v)?; Ok(()) }),
    setting!("checkpoint.mode", "auto, all or none", "Where a durable job is sealed: auto, where it pays; all, at every shuffle; none, only the results of statements.", false, true,
        |s| parse::format_mode(s.checkpoint_mode), |s, v| { s.checkpoint_mode = parse::mode(v)?; Ok(()) }),
    setting!("checkpoint.mtbf", "a time such as 1h", "Mean time between kills of a durable job, as far as is known; it decides where the job is sealed.", false, true,
        |s| format_duration(s.checkpoint_mtbf), |s, v| { s.checkpoint_mtbf = parse_duration(v)?; Ok(()) }),
    setting!("color", "auto, always or never", "When to colour output.", false, true,
        |s| s.color.clone(), |s, v| { s.color = parse::word(v, &["auto", "always", "never"])?; Ok(()) }),
    setting!("durable", "on or off", "Whether each query and each write is a durable job: killed and run again, it goes on from what is sealed.", false, true,
        |s| parse::format_switch(s.durable), |s, v| { s.durable = parse::switch(v)?; Ok(()) }),
    setting!("execution", "auto, pipelined or staged", "How the stages of a query run: pipelined, all at the same time; staged, one after the other, each written to temporary files before the next reads it, and a task that fails is tried again.", false, true,
        |s| s.execution.to_string(), |s, v| { s.execution = parse::word(v, &["auto", "pipelined", "staged"])?.parse().unwrap_or_default(); Ok(()) }),
    setting!("footer_cache", "a size such as 128MiB", "Memory for Parquet footers that are kept between queries.", false, false,
        |s| format_bytes(s.footer_cache), |s, v| { s.footer_cache = parse_bytes(v)?; Ok(()) }),
    setting!("format", "auto or a format of --format", "The output format of the shell.", false, true,
        |s| s.format.clone(), |s, v| { s.format = parse::word(v, FORMATS)?; Ok(()) }),
    setting!("history_rows", "a number of entries", "Entries that the history of the shell keeps.", false, false,
        |s| s.history_rows.to_string(), |s, v| { s.history_rows = parse::number(v, 0, 1_000_000)?; Ok(()) }),
    setting!("job_dir", "a directory, or auto", "Where durable jobs are kept; auto is tidegate/jobs in the user's state directory.", false, false,
        |s| s.job_dir.as_ref().map_or("auto".into(), |d| d.display().to_string()),
        |s, v| { s.job_dir = parse::or_auto(v, |v| Ok(PathBuf::from(v)))?; Ok(()) }),
    setting!("job_space_limit", "a size such as 100GiB, or none", "Disk that all durable jobs together may use before another one is refused.", false, false,
        |s| s.job_space_limit.map_or("none".into(), format_bytes), |s, v| { s.job_space_limit = parse::or_none(v, parse_bytes)?; Ok(()) }),
    setting!("join_order", "auto or off", "Whether joins are ordered by what is known of the tables; off keeps the order of the text.", false, true,
        |s| s.join_order.clone(), |s, v| { s.join_order = parse::word(v, &["auto", "off"])?; Ok(()) }),
    setting!("last_result_limit", "a size such as 64MiB, 0 for none", "Memory for the last result of the shell, the table `_`; a larger one is not kept.", false, true,
        |s| format_bytes(s.last_result_limit), |s, v| { s.last_result_limit = parse_bytes(v)?; Ok(()) }),
    setting!("max_rows", "a number of rows, 0 for all", "Rows of a result that a table on a terminal shows.", false, true,
        |s| s.max_rows.to_string(), |s, v| { s.max_rows = parse::number(v, 0, usize::MAX)?; Ok(()) }),
    setting!("memory_limit", "a size such as 1GiB, or auto", "Memory that queries may use together; auto is 65 % of what the machine or its cgroup has.", false, false,
        |s| s.memory_limit.map_or("auto".into(), format_bytes), |s, v| { s.memory_limit = parse::or_auto(v, parse_bytes)?; Ok(()) }),
    setting!("no_network", "on or off", "Whether object stores and HTTP are forbidden.", false, false,
        |s| parse::format_switch(s.no_network), |s, v| { s.no_network = parse::switch(v)?; Ok(()) }),
    setting!("null_text", "a text", "How a table on a terminal shows NULL.", false, true,
        |s| s.null_text.clone(), |s, v| { s.null_text = v.to_string(); Ok(()) }),
    setting!("open_files", "a number from 1 to 65536", "Files that a partitioned write keeps open at once.", false, true,
        |s| s.open_files.to_string(), |s, v| { s.open_files = parse::number(v, 1, 65_536)?; Ok(()) }),
    setting!("pager", "auto, always or never", "When to show a result in a pager.", false, true,
        |s| s.pager.clone(), |s, v| { s.pager = parse::word(v, &["auto", "always", "never"])?; Ok(()) }),
    setting!("pager_rows", "a number of rows, 0 for all", "Rows of a result that the pager shows at most.", false, true,
        |s| s.pager_rows.to_string(), |s, v| { s.pager_rows = parse::number(v, 0, usize::MAX)?; Ok(()) }),
    setting!("partitions", "a number from 0 to 4096, 0 for one a thread", "Partitions that run in parallel.", false, true,
        |s| s.partitions.to_string(), |s, v| { s.partitions = parse::number(v, 0, 4096)?; Ok(()) }),
    setting!("progress", "auto, always or never", "When to show the progress of a query.", false, true,
        |s| s.progress.clone(), |s, v| { s.progress = parse::word(v, &["auto", "always", "never"])?; Ok(()) }),
    setting!("queries_max", "a number from 1 to 10000", "Queries that run at the same time; others wait for their turn.", false, false,
        |s| s.queries_max.to_string(), |s, v| { s.queries_max = parse::number(v, 1, 10_000)?; Ok(()) }),
    setting!("queries_waiting_max", "a number from 0 to 100000", "Queries that may wait; one more is an error.", false, false,
        |s| s.queries_waiting_max.to_string(), |s, v| { s.queries_waiting_max = parse::number(v, 0, 100_000)?; Ok(()) }),
    setting!("query_priority", "a number from -1000 to 1000", "Of the queries that wait, those with the highest number run first.", false, true,
        |s| s.query_priority.to_string(), |s, v| { s.query_priority = parse::integer(v, -1000, 1000)?; Ok(()) }),
    setting!("queue_timeout", "a time such as 10min", "How long a query waits for its turn at most.", false, true,
        |s| format_duration(s.queue_timeout), |s, v| { s.queue_timeout = parse_duration(v)?; Ok(()) }),
    setting!("read_only", "on or off", "Whether writing anything but temporary files is forbidden.", false, false,
        |s| parse::format_switch(s.read_only), |s, v| { s.read_only = parse::switch(v)?; Ok(()) }),
    setting!("reject_limit", "a number of rows", "Rejected rows that are kept for the table reject_rows; all are counted.", false, true,
        |s| s.reject_limit.to_string(), |s, v| { s.reject_limit = parse::number(v, 0, 100_000_000)?; Ok(()) }),
    setting!("sample_cache", "a size such as 32MiB", "Memory for samples of rows that are kept between queries.", false, false,
        |s| format_bytes(s.sample_cache), |s, v| { s.sample_cache = parse_bytes(v)?; Ok(()) }),
    setting!("sampling_budget", "a percentage from 0 to 100, 0 for none", "Row groups or files that are looked into before a join is planned, of those of its tables; at least 2 and at most 8 each, small tables whole.", false, true,
        |s| s.sampling_budget.to_string(), |s, v| { s.sampling_budget = parse::number(v, 0, 100)?; Ok(()) }),
    setting!("scheduling", "fifo, round_robin, priority, longest_first or critical_path", "Which task comes first when stages are run one after the other.", false, true,
        |s| s.scheduling.clone(), |s, v| { s.scheduling = parse::word(v, &["fifo", "round_robin", "priority", "longest_first", "critical_path"])?; Ok(()) }),
    setting!("speculation", "on or off", "Whether a task that takes much longer than the others of its stage is run a second time beside; the first to end counts.", false, true,
        |s| parse::format_switch(s.speculation), |s, v| { s.speculation = parse::switch(v)?; Ok(()) }),
    setting!("sql_bytes", "a size such as 16MiB", "The longest SQL text that is accepted.", false, true,
        |s| format_bytes(s.sql_bytes), |s, v| { s.sql_bytes = parse_bytes(v)?; Ok(()) }),
    setting!("sql_nesting_max", "a number from 10 to 800", "How deep parentheses, subqueries and operators may stand inside each other.", false, true,
        |s| s.sql_nesting_max.to_string(), |s, v| { s.sql_nesting_max = parse::number(v, 10, 800)?; Ok(()) }),
    setting!("sql_set_operations_max", "a number from 1 to 400", "How many UNION, INTERSECT and EXCEPT a statement may have; UNION ALL does not count.", false, true,
        |s| s.sql_set_operations_max.to_string(), |s, v| { s.sql_set_operations_max = parse::number(v, 1, 400)?; Ok(()) }),
    setting!("sql_subqueries_max", "a number from 1 to 24", "How many subqueries may stand inside each other; each one doubles the time of planning.", false, true,
        |s| s.sql_subqueries_max.to_string(), |s, v| { s.sql_subqueries_max = parse::number(v, 1, 24)?; Ok(()) }),
    setting!("sql_tokens_max", "a number from 1000 to 10000000", "Words and signs that one statement may have.", false, true,
        |s| s.sql_tokens_max.to_string(), |s, v| { s.sql_tokens_max = parse::number(v, 1_000, 10_000_000)?; Ok(()) }),
    setting!("strict", "auto, on or off", "Whether sums of doubles do not depend on the order of the rows, and rows that an ORDER BY leaves as equals are ordered by their other columns; auto does so in durable jobs.", true, true,
        |s| s.strict.clone(), |s, v| { s.strict = parse::word(v, &["auto", "on", "off"])?; Ok(()) }),
    setting!("task_attempts", "a number from 1 to 100", "How often a task of a staged query is tried before the query fails.", false, true,
        |s| s.task_attempts.to_string(), |s, v| { s.task_attempts = parse::number(v, 1, 100)? as u32; Ok(()) }),
    setting!("task_timeout", "a time such as 10min, or none", "How long one try of a task of a staged query may take before it counts as stuck and is tried again.", false, true,
        |s| s.task_timeout.map_or("none".into(), format_duration), |s, v| { s.task_timeout = parse::or_none(v, parse_duration)?; Ok(()) }),
    setting!("temp_dir", "a directory, or auto", "Where temporary files go.", false, false,
        |s| s.temp_dir.as_ref().map_or("auto".into(), |d| d.display().to_string()),
        |s, v| { s.temp_dir = parse::or_auto(v, |v| Ok(PathBuf::from(v)))?; Ok(()) }),
    setting!("temp_limit", "a size such as 10GiB, or auto", "Disk that temporary files may use; auto is 90 % of what is free.", false, false,
        |s| s.temp_limit.map_or("auto".into(), format_bytes), |s, v| { s.temp_limit = parse::or_auto(v, parse_bytes)?; Ok(()) }),
    setting!("threads", "a number from 0 to 1024, 0 for one a core", "Threads that compute.", false, false,
        |s| s.threads.to_string(), |s, v| { s.threads = parse::number(v, 0, 1024)?; Ok(()) }),
    setting!("time_zone", "a name such as Europe/Berlin", "The time zone of now(), and of timestamps with a zone.", true, true,
        |s| s.time_zone.clone(), |s, v| { s.time_zone = parse::time_zone(v)?; Ok(()) }),
    setting!("timeout", "a time such as 30s, or none", "How long a query may run.", false, true,
        |s| s.timeout.map_or("none".into(), format_duration), |s, v| { s.timeout = parse::or_none(v, parse_duration)?; Ok(()) }),
];

const FORMATS: &[&str] = &[
    "auto", "table", "csv", "tsv", "json", "ndjson", "line", "markdown", "html", "parquet",
    "arrow", "null",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_default_is_a_value_it_takes() {
        for def in Settings::definitions() {
            let mut settings = Settings::default();
            let text = settings.get(def.name).unwrap();
            settings.set(def.name, &text, Origin::Session).unwrap();
            assert_eq!(settings.get(def.name).unwrap(), text, "{}", def.name);
        }
    }

    #[test]
    fn definitions_are_sorted_so_that_listings_are() {
        assert!(DEFINITIONS.is_sorted_by_key(|def| def.name));
    }

    #[test]
    fn an_unknown_name_suggests_a_near_one() {
        let error = Settings::default().get("memory_limt").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `memory_limit`?"));
    }

    #[test]
    fn the_prefix_may_be_left_out() {
        let mut settings = Settings::default();
        settings
            .set("tidegate.timeout", "2s", Origin::Session)
            .unwrap();
        assert_eq!(settings.get("timeout").unwrap(), "2s");
        assert_eq!(settings.origin("TIMEOUT").unwrap(), Origin::Session);
        settings.reset("timeout").unwrap();
        assert_eq!(settings.get("timeout").unwrap(), "none");
    }
}
