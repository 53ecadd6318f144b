//! Durable jobs: a script that goes on where it was when its process died.
//!
//! ```text
//! request ─▶ for each statement: plan ▸ frozen spec ─▶ tasks ▸ sealed outputs ─▶ result or committed files ▸ done
//!            ╰──────────────── all of it in the job's directory, in the order of its journal ───────────────────╯
//! ```
//!
//! Statements that only change the session are run again each time. A statement that was planned runs as it was planned
//! then, from the plan that was stored; what of it is sealed is not computed again, and files are committed once.

mod inputs;
mod report;
mod request;
mod step;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tidegate_checkpoint::RealVfs;
use tidegate_checkpoint::job::{self as store, JobName, Jobs, Open, Record};
use tidegate_plan::sql;

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::query::{Query, QueryHandle, QueryKind};
use crate::script::Statement;
use crate::session::Session;

use inputs::KnownFiles;
pub(crate) use inputs::{ANEW, Inputs};
pub use report::{JobReport, JobStatus, StageReport, StatementReport, Suspect};
use request::Request;
pub(crate) use step::Step;

/// Describes a job that is about to be started or taken up; see [`Session::job`].
pub struct JobBuilder {
    session: Session,
    name: String,
    text: String,
    call: BTreeMap<String, String>,
    output: Option<String>,
    restart: bool,
}

/// A durable job of which this process is the owner, or one that has ended.
///
/// ```
/// # fn main() -> Result<(), tidegate::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let jobs = directory.path().join("jobs");
/// # let out = directory.path().join("out.csv");
/// let settings = tidegate::Settings::default().job_dir(&jobs);
/// let session = tidegate::Session::builder().settings(settings).build()?;
/// let text = format!("COPY (SELECT 42 AS answer) TO '{}'", out.display());
/// let job = session.job("nightly").sql(&text).open()?;
/// let report = session.block_on(job.run())?;
/// assert_eq!(report.statements.len(), 1);
///
/// drop(job);
/// // Run again it says that it has ended, and does nothing.
/// let again = session.job("nightly").sql(&text).open()?;
/// assert!(again.finished().is_some());
/// # Ok(())
/// # }
/// ```
pub struct Job {
    session: Session,
    name: JobName,
    statements: Vec<Statement>,
    state: State,
    resumed: bool,
    /// It ends with its only statement.
    is_one_query: bool,
    running: Mutex<Option<QueryHandle>>,
    /// What its statements have read and written.
    known: Arc<Mutex<KnownFiles>>,
}

enum State {
    /// This process owns it.
    Open(Arc<store::Job>),
    /// It has ended.
    Finished(store::Seen),
}

impl Session {
    /// A durable job of this name: new, or taken up where its last process left it.
    pub fn job(&self, name: &str) -> JobBuilder {
        JobBuilder {
            session: self.clone(),
            name: name.into(),
            text: String::new(),
            call: BTreeMap::new(),
            output: None,
            restart: false,
        }
    }

    /// The jobs there are, by name.
    pub fn jobs(&self) -> Result<Vec<JobStatus>> {
        let jobs = self.job_store()?;
        let names = jobs.names().map_err(failed)?.into_iter();
        let status = names.filter_map(|name| self.status(&jobs, &name).transpose());
        status.collect()
    }

    /// What a job has done so far.
    pub fn job_report(&self, name: &str) -> Result<JobReport> {
        let (jobs, name) = (self.job_store()?, parse(name)?);
        match jobs.look(&name).map_err(failed)? {
            Some(seen) => Ok(JobReport::of(name.to_string(), &seen)),
            None => Err(unknown(&name)),
        }
    }

    /// The request of a job: what to call to take it up.
    pub fn job_request(&self, name: &str) -> Result<JobRequest> {
        let (jobs, name) = (self.job_store()?, parse(name)?);
        let Some(seen) = jobs.look(&name).map_err(failed)? else {
            return Err(unknown(&name));
        };
        let request = Request::decode(&seen.request)?;
        Ok(JobRequest {
            text: request.text(),
            directory: request.directory,
            call: request.call,
        })
    }

    /// Removes a job with everything that is sealed of it; an error while it runs.
    pub fn remove_job(&self, name: &str) -> Result<()> {
        let (jobs, name) = (self.job_store()?, parse(name)?);
        match jobs.remove(&name).map_err(failed)? {
            true => Ok(()),
            false => Err(unknown(&name)),
        }
    }

    /// Reads everything that a job has sealed, and its output files, and tells what is wrong with them.
    pub fn verify_job(&self, name: &str) -> Result<Vec<String>> {
        let (jobs, name) = (self.job_store()?, parse(name)?);
        let Some(seen) = jobs.look(&name).map_err(failed)? else {
            return Err(unknown(&name));
        };
        let found = jobs.verify(&name, true).map_err(failed)?;
        let found = found.unwrap_or_default();
        let told =
            |problem: &store::Problem| format!("`{}`: {}", problem.path.display(), problem.why);
        let mut problems: Vec<String> = found.iter().map(told).collect();
        if let Ok(state) = store::derive(&seen.records) {
            problems.extend(step::outputs_wrong(&state));
        }
        Ok(problems)
    }

    fn status(&self, jobs: &Jobs, name: &JobName) -> Result<Option<JobStatus>> {
        let Some(seen) = jobs.look(name).map_err(failed)? else {
            return Ok(None);
        };
        let bytes = jobs.bytes(name).map_err(failed)?;
        Ok(Some(JobStatus::of(name.to_string(), &seen, bytes)))
    }

    pub(crate) fn job_store(&self) -> Result<Jobs> {
        let directory = match &self.settings().job_dir {
            Some(directory) => directory.clone(),
            None => default_directory().ok_or_else(|| {
                let message =
                    "there is no directory for jobs: neither HOME nor XDG_STATE_HOME is set";
                Error::new(ErrorKind::Usage, "job_dir", message).with_hint("say one with --job-dir")
            })?,
        };
        let clock = Arc::clone(&self.inner.clock);
        let now = Arc::new(move || clock().timestamp_millis());
        Ok(Jobs::new(Arc::new(RealVfs), directory, now))
    }

    /// Opens the job that one statement is, when queries are durable.
    pub(crate) fn job_of(&self, statement: &Statement) -> Result<Job> {
        let request = Request::new(self, std::slice::from_ref(statement), BTreeMap::new());
        let name = request.name();
        let open = |builder: JobBuilder| builder.open_with(vec![statement.clone()], &request);
        let mut job = open(self.job(&name))?;
        // Its rows have arrived, and are asked for again. What it writes, it writes once.
        if job.finished().is_some() && statement.kind() == QueryKind::Rows {
            job = open(self.job(&name).restart())?;
        }
        let is_one_query = true;
        Ok(Job {
            is_one_query,
            ..job
        })
    }
}

/// What a job was asked to do.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Its statements.
    pub text: String,
    /// Where relative paths start.
    pub directory: String,
    /// What the caller noted with it.
    pub call: BTreeMap<String, String>,
}

fn default_directory() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
    let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty());
    let state = state.map(PathBuf::from);
    let state = state.or_else(|| home.map(|home| PathBuf::from(home).join(".local/state")));
    state.map(|state| state.join("tidegate/jobs"))
}

impl JobBuilder {
    /// The statements of the job.
    pub fn sql(self, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, ..self }
    }

    /// Writes the rows of the last statement, a query, to this file or directory.
    pub fn output(self, target: impl Into<String>) -> Self {
        let output = Some(target.into());
        Self { output, ..self }
    }

    /// Notes something that belongs to the request: a job of the same name with another note is another job.
    pub fn note(mut self, name: &str, value: impl Into<String>) -> Self {
        self.call.insert(name.into(), value.into());
        self
    }

    /// Forgets what a job of this name has done, and begins anew.
    pub fn restart(self) -> Self {
        let restart = true;
        Self { restart, ..self }
    }

    /// Opens the job. Nothing has run when this returns.
    ///
    /// # Errors
    ///
    /// If the text cannot be read, another process runs the job, or a job of this name was asked for something else.
    pub fn open(self) -> Result<Job> {
        let mut statements = self.session.script(&self.text)?.statements;
        if let Some(target) = &self.output {
            statements = request::with_output(&self.session, statements, target)?;
        }
        let request = Request::new(&self.session, &statements, self.call.clone());
        self.open_with(statements, &request)
    }

    /// Opens the job and runs it in the background: [`RunningJob::wait`] tells how it ended.
    pub fn start(self) -> Result<RunningJob> {
        let job = Arc::new(self.open()?);
        let pool = job.session.pool()?;
        let running = Arc::clone(&job);
        let (say, said) = tokio::sync::oneshot::channel();
        pool.handle().spawn(async move {
            // Nobody may be waiting any more.
            let _ = say.send(running.run().await);
        });
        Ok(RunningJob { job, said })
    }

    fn open_with(self, statements: Vec<Statement>, request: &Request) -> Result<Job> {
        let name = parse(&self.name)?;
        let jobs = self.session.job_store()?;
        if self.restart {
            jobs.remove(&name).map_err(failed)?;
        }
        self.check_space(&jobs)?;
        let (state, resumed) = match jobs.open(&name, &request.encode()).map_err(failed)? {
            Open::New(job) => (State::Open(Arc::new(job)), false),
            Open::Resumed(job) => (State::Open(Arc::new(job)), true),
            Open::Finished(seen) => (State::Finished(seen), true),
            Open::OtherRequest { theirs } => return Err(request.differs(&name, &theirs)),
        };
        Ok(Job {
            session: self.session,
            name,
            statements,
            state,
            resumed,
            is_one_query: false,
            running: Mutex::default(),
            known: Arc::default(),
        })
    }

    fn check_space(&self, jobs: &Jobs) -> Result<()> {
        let Some(limit) = self.session.settings().job_space_limit else {
            return Ok(());
        };
        let names = jobs.names().map_err(failed)?;
        let bytes = names.iter().map(|name| jobs.bytes(name).map_err(failed));
        let bytes: u64 = bytes.sum::<Result<u64>>()?;
        match bytes >= limit {
            false => Ok(()),
            true => {
                let message = format!(
                    "jobs take {} of the disk, and `job_space_limit` is {}",
                    crate::format_bytes(bytes),
                    crate::format_bytes(limit)
                );
                Err(Error::new(ErrorKind::Limit, "job_space", message)
                    .with_hint("`tidegate job gc` removes those that have ended"))
            }
        }
    }
}

/// A job that runs in the background.
pub struct RunningJob {
    job: Arc<Job>,
    said: tokio::sync::oneshot::Receiver<Result<JobReport>>,
}

impl RunningJob {
    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Waits for its end.
    pub async fn wait(self) -> Result<JobReport> {
        match self.said.await {
            Ok(ended) => ended,
            Err(_) => {
                let message = "the session of the job was closed";
                Err(Error::new(ErrorKind::Cancelled, "closed", message))
            }
        }
    }
}

impl Job {
    /// Its name.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Its statements.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// When it ended, if it has.
    pub fn finished(&self) -> Option<DateTime<Utc>> {
        match &self.state {
            State::Open(_) => None,
            State::Finished(seen) => Some(report::ended_at(seen)),
        }
    }

    /// What to say of a job that has ended.
    pub fn finished_text(&self) -> Option<String> {
        let how = "--restart runs it on today's input";
        let text = |at| format!("{}; {how}", ended_text(&self.name(), at));
        self.finished().map(text)
    }

    /// Files that a job which has ended had published, and that are not there any more.
    pub fn outputs_gone(&self) -> Vec<PathBuf> {
        let State::Finished(seen) = &self.state else {
            return Vec::new();
        };
        let state = store::derive(&seen.records);
        state.map_or_else(|_| Vec::new(), |state| step::outputs_gone(&state))
    }

    /// Whether an earlier process began it.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// A statement as a query. What is done of it is not done again; the rows of a query come again.
    pub async fn query(&self, number: usize) -> Result<Query> {
        let State::Open(job) = &self.state else {
            let message = format!("the job `{}` has ended", self.name);
            return Err(Error::new(ErrorKind::Usage, "job_ended", message));
        };
        let Some(statement) = self.statements.get(number) else {
            let message = format!("the job has no statement {}", number + 1);
            return Err(Error::new(ErrorKind::Usage, "no_statement", message));
        };
        let mut step = Step::new(Arc::clone(job), number as u32, Arc::clone(&self.known));
        if self.is_one_query {
            step = step.and_end();
        }
        let query = self.session.statement_of(statement, Some(step)).await?;
        *self.running.lock() = Some(query.handle());
        Ok(query)
    }

    /// Runs what is left of it.
    pub async fn run(&self) -> Result<JobReport> {
        if self.finished().is_none() {
            for number in 0..self.statements.len() {
                let mut rows = self.query(number).await?.stream().await?;
                while let Some(batch) = rows.next().await {
                    batch?;
                }
            }
            self.end()?;
        }
        self.report()
    }

    /// Notes that all statements are done. The job is not run again then.
    pub fn end(&self) -> Result<()> {
        let State::Open(job) = &self.state else {
            return Ok(());
        };
        end(job, (self.session.inner.clock)().timestamp_millis())
    }

    /// What it has done so far.
    pub fn report(&self) -> Result<JobReport> {
        self.session.job_report(&self.name.to_string())
    }

    /// How far the statement is that runs.
    pub fn progress(&self) -> Option<Progress> {
        self.running.lock().as_ref().map(QueryHandle::progress)
    }

    /// Stops it: what is sealed stays, and the job can be taken up again.
    pub fn cancel(&self) {
        if let Some(handle) = self.running.lock().as_ref() {
            handle.cancel();
        }
    }
}

/// Notes, once, that a job has ended.
fn end(job: &store::Job, at_ms: i64) -> Result<()> {
    match job.state().ended {
        true => Ok(()),
        false => job.append(Record::Ended { at_ms }).map_err(failed),
    }
}

fn parse(name: &str) -> Result<JobName> {
    name.parse::<JobName>().map_err(|_| {
        let message = format!("`{name}` cannot be the name of a job");
        Error::new(ErrorKind::Usage, "job_name", message)
            .with_hint("names are 1 to 100 letters, digits, `-`, `_` and `.`, and do not begin with `-` or `.`")
    })
}

fn unknown(name: &JobName) -> Error {
    let message = format!("there is no job `{name}`");
    Error::new(ErrorKind::Usage, "unknown_job", message).with_hint("`tidegate jobs` lists them")
}

/// What is said of a job that has ended.
pub(crate) fn ended_text(name: &str, at: DateTime<Utc>) -> String {
    format!(
        "the job `{name}` finished on {}",
        at.format("%Y-%m-%d at %H:%M:%S UTC")
    )
}

/// An error of the job's directory.
pub(crate) fn failed(error: tidegate_checkpoint::Error) -> Error {
    convert::from_job(&error)
}

/// Whether a statement does something that a job remembers.
pub(crate) fn is_step(statement: &sql::Statement) -> bool {
    matches!(
        statement,
        sql::Statement::Query(_)
            | sql::Statement::Copy(_)
            | sql::Statement::Insert(_)
            | sql::Statement::CreateTableAs(_)
    )
}
