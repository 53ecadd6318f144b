//! Durable jobs: `run`, `resume`, `jobs` and `job …`.

use std::path::Path;
use std::sync::Arc;

use tidegate::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use tidegate::{
    Error, ErrorKind, JobReport, JobStatus, QueryKind, Session, Settings, Statement, format_bytes,
    parse_duration,
};

use crate::args::{JobCall, JobVerb, RunJob};
use crate::call::{self, AfterError, Call, NamedJob, Run, Task};
use crate::console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::params;
use crate::render::{Format, Look, RenderError, whole};
use crate::report::{self, Source};
use crate::run::Runner;
use crate::shell::Shell;

/// What separates the values of a note.
const NOTE_SEPARATOR: &str = "\n";
/// The notes of a job: what was on its command line.
const PATHS: &str = "paths";
const PARAMS: &str = "params";
const FILE: &str = "file";

/// Decides what was meant.
pub(crate) fn call(what: &JobCall, settings: &Settings) -> Result<Call, Failure> {
    match what {
        JobCall::Run(run) => started(run, settings),
        JobCall::Resume { name } => resumed(name, settings),
        JobCall::Jobs | JobCall::Job(_) => Ok(Call {
            paths: Vec::new(),
            params: Vec::new(),
            task: Task::Jobs(what.clone()),
        }),
    }
}

fn started(run: &RunJob, settings: &Settings) -> Result<Call, Failure> {
    let is_stdin = run.file == Path::new("-");
    let source = match is_stdin {
        true => call::stdin(settings)?,
        false => call::file(&run.file, settings)?,
    };
    let paths = run.paths.iter().map(|path| path.display().to_string());
    let notes = vec![
        (FILE, source.name.clone()),
        (PATHS, paths.collect::<Vec<_>>().join(NOTE_SEPARATOR)),
        (PARAMS, run.params.join(NOTE_SEPARATOR)),
    ];
    let job = NamedJob {
        name: run.job.clone(),
        restart: run.restart,
        output: run.output.clone(),
        notes,
    };
    let params = run.params.iter().map(|text| params::parse(text));
    Ok(Call {
        paths: run.paths.clone(),
        params: params.collect::<Result<_, _>>()?,
        task: Task::Run(Run {
            sources: vec![source],
            reads_stdin: is_stdin,
            output: None,
            after_error: AfterError::Stop,
            job: Some(job),
        }),
    })
}

/// The call that started a job, made again.
fn resumed(name: &str, settings: &Settings) -> Result<Call, Failure> {
    let session = Session::builder().settings(settings.clone()).build()?;
    let request = session.job_request(name)?;
    if let Err(error) = std::env::set_current_dir(&request.directory) {
        let what = format!(
            "cannot go to `{}`, where the job was started",
            request.directory
        );
        return Err(Failure::io(&what, error));
    }
    let note = |name: &str| request.call.get(name).cloned().unwrap_or_default();
    let list = |name: &str| {
        let text = note(name);
        let values = text.split(NOTE_SEPARATOR).filter(|value| !value.is_empty());
        values.map(str::to_string).collect::<Vec<_>>()
    };
    let (paths, params) = (list(PATHS), list(PARAMS));
    let bound = params.iter().map(|text| params::parse(text));
    Ok(Call {
        params: bound.collect::<Result<_, _>>()?,
        paths: paths.iter().map(Into::into).collect(),
        task: Task::Run(Run {
            sources: vec![Source {
                name: note(FILE),
                text: request.text,
            }],
            reads_stdin: false,
            output: None,
            after_error: AfterError::Stop,
            job: Some(NamedJob {
                name: name.into(),
                restart: false,
                // It is a part of the statements already.
                output: None,
                notes: vec![
                    (FILE, note(FILE)),
                    (PATHS, note(PATHS)),
                    (PARAMS, note(PARAMS)),
                ],
            }),
        }),
    })
}

/// Runs what is left of a job.
pub(crate) async fn run(session: &Session, shell: &Shell, run: &Run, wanted: &NamedJob) -> Exit {
    let source = run.sources.first();
    let text = source.map(|source| source.text.clone()).unwrap_or_default();
    let mut builder = session.job(&wanted.name).sql(text);
    for (name, value) in &wanted.notes {
        builder = builder.note(name, value.clone());
    }
    if let Some(output) = &wanted.output {
        builder = builder.output(output.clone());
    }
    if wanted.restart {
        builder = builder.restart();
    }
    let job = match builder.open() {
        Ok(job) => job,
        Err(error) => {
            report::error(&shell.console, &error, source);
            return Exit::of(error.kind);
        }
    };
    if let Some(text) = job.finished_text() {
        // Whoever waits for rows must not take their absence for an answer.
        let gives_rows = |statement: &Statement| statement.kind() == QueryKind::Rows;
        match job.statements().iter().any(gives_rows) {
            true => report::loud_note(&shell.console, text),
            false => report::note(&shell.console, text),
        }
        for path in job.outputs_gone() {
            let said = format!("`{}`, which it wrote, is not there", path.display());
            report::warning(&shell.console, &said);
        }
        return Exit::Done;
    }
    if job.resumed() {
        let said = match job.report() {
            Ok(report) => {
                suspects(shell, &report);
                goes_on(&report)
            }
            Err(error) => error.to_string(),
        };
        report::note(&shell.console, said);
    }
    let mut runner = Runner::new(session, shell, run).of(&job);
    for (number, statement) in job.statements().iter().enumerate() {
        let Err(failure) = runner.logged(statement, number).await else {
            continue;
        };
        report::failure(&shell.console, &failure, source);
        let exit = match &failure {
            Failure::Failed(error) => Exit::of_job(error.kind),
            other => other.exit(),
        };
        if exit == Exit::Resumable {
            let how = format!("`tidegate resume {}` goes on with it", job.name());
            report::note(&shell.console, how);
        }
        return exit;
    }
    match job.end() {
        Ok(()) => Exit::Done,
        Err(error) => {
            report::error(&shell.console, &error, None);
            Exit::of_job(error.kind)
        }
    }
}

/// Tells of tasks that more than one process did not survive.
fn suspects(shell: &Shell, report: &JobReport) {
    for suspect in &report.suspects {
        let said = format!(
            "task {} of stage {} of statement {} was running each of {} times that the process ended: if memory was short, \
             lower `memory_limit`, or raise `partitions`",
            suspect.task, suspect.stage, suspect.statement, suspect.ends
        );
        report::note(&shell.console, said);
    }
}

/// What a job begins with that was begun before.
fn goes_on(report: &JobReport) -> String {
    let done = report.statements.iter().filter(|s| s.rows.is_some());
    format!(
        "the job `{}` goes on: {} done, {} sealed so far",
        report.name,
        counted(done.count(), "statement"),
        counted(report.tasks().0, "task"),
    )
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Lists, tells of, stops or removes jobs.
pub(crate) fn look(session: &Session, shell: &Shell, what: &JobCall) -> Result<Exit, Failure> {
    match what {
        JobCall::Jobs => {
            let batch = listed(&session.jobs()?).map_err(RenderError::on_stdout)?;
            print(session, shell, &batch)
        }
        JobCall::Job(JobVerb::Report { name }) => told(session, shell, &session.job_report(name)?),
        JobCall::Job(JobVerb::Verify { name }) => verified(session, shell, name),
        JobCall::Job(JobVerb::Cancel { name }) => cancelled(session, shell, name),
        JobCall::Job(JobVerb::Gc { names, older_than }) => {
            removed(session, shell, names, older_than.as_deref())
        }
        JobCall::Run(_) | JobCall::Resume { .. } => Ok(Exit::Done),
    }
}

fn verified(session: &Session, shell: &Shell, name: &str) -> Result<Exit, Failure> {
    let problems = session.verify_job(name)?;
    for problem in &problems {
        report::warning(&shell.console, problem);
    }
    match problems.len() {
        0 => {
            report::note(
                &shell.console,
                format!(
                    "everything that the job `{name}` has sealed and published is as it was written"
                ),
            );
            Ok(Exit::Done)
        }
        _ => Ok(Exit::Failed),
    }
}

fn cancelled(session: &Session, shell: &Shell, name: &str) -> Result<Exit, Failure> {
    let jobs = session.jobs()?;
    let Some(job) = jobs.iter().find(|job| job.name == name) else {
        return Err(Failure::usage(
            "unknown_job",
            format!("there is no job `{name}`"),
        ));
    };
    let process = job
        .pid
        .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    let Some(process) = process else {
        report::note(&shell.console, format!("nobody runs the job `{name}`"));
        return Ok(Exit::Done);
    };
    rustix::process::kill_process(process, rustix::process::Signal::TERM)
        .map_err(|error| Failure::io("cannot stop the process of the job", error.into()))?;
    report::note(
        &shell.console,
        format!("the process of the job `{name}` was told to stop"),
    );
    Ok(Exit::Done)
}

fn removed(
    session: &Session,
    shell: &Shell,
    names: &[String],
    older_than: Option<&str>,
) -> Result<Exit, Failure> {
    let age = older_than.map(parse_duration).transpose().map_err(|why| {
        let text = older_than.unwrap_or_default();
        Failure::usage("bad_flag", format!("`{text}` is not a time: {why}"))
    })?;
    let now = std::time::SystemTime::now();
    let is_old = |job: &JobStatus| match (age, job.changed) {
        (None, _) => true,
        (Some(age), Some(changed)) => now
            .duration_since(changed.into())
            .is_ok_and(|passed| passed >= age),
        (Some(_), None) => true,
    };
    let (mut count, mut bytes) = (0, 0);
    for job in session.jobs()? {
        let wanted = match names.is_empty() {
            true => job.state == "finished",
            false => names.contains(&job.name),
        };
        if wanted && is_old(&job) && job.state != "running" {
            session.remove_job(&job.name)?;
            count += 1;
            bytes += job.bytes;
        }
    }
    report::note(
        &shell.console,
        format!(
            "{} removed, {} freed",
            counted(count, "job"),
            format_bytes(bytes)
        ),
    );
    Ok(Exit::Done)
}

/// The jobs as a table.
pub(crate) fn listed(jobs: &[JobStatus]) -> Result<RecordBatch, RenderError> {
    let texts = |value: &dyn Fn(&JobStatus) -> Option<String>| -> ArrayRef {
        Arc::new(jobs.iter().map(value).collect::<StringArray>())
    };
    let numbers = |value: &dyn Fn(&JobStatus) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(jobs.iter().map(value)))
    };
    Ok(RecordBatch::try_from_iter(vec![
        ("job", texts(&|job| Some(job.name.clone()))),
        ("state", texts(&|job| Some(job.state.to_string()))),
        ("owner", texts(&|job| job.owner.clone())),
        (
            "statements_done",
            numbers(&|job| job.statements_done as u64),
        ),
        ("tasks_sealed", numbers(&|job| job.tasks_sealed as u64)),
        ("bytes", numbers(&|job| job.bytes)),
        (
            "changed",
            texts(&|job| {
                job.changed
                    .map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string())
            }),
        ),
    ])?)
}

/// The jobs that other processes were running when it last looked.
#[derive(Debug, Default)]
pub(crate) struct Watched(Vec<String>);

impl Watched {
    /// Remembers which of these run.
    pub(crate) fn look(&mut self, jobs: &[JobStatus]) {
        let running = jobs.iter().filter(|job| job.state == "running");
        self.0 = running.map(|job| job.name.clone()).collect();
    }

    /// What to say of those that run no more.
    pub(crate) fn ended(&mut self, session: &Session) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let Ok(jobs) = session.jobs() else {
            return Vec::new();
        };
        let ended = jobs
            .iter()
            .filter(|job| self.0.contains(&job.name) && job.state != "running");
        let said = ended.map(|job| format!("the job `{}` is {}", job.name, job.state));
        let said = said.collect();
        self.look(&jobs);
        said
    }
}

/// The report of a job: one object of JSON, or a table with a line for each stage.
fn told(session: &Session, shell: &Shell, report: &JobReport) -> Result<Exit, Failure> {
    if format(session) == Format::of_name("json").unwrap_or_else(Format::csv) {
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| Error::new(ErrorKind::Bug, "report", error.to_string()))?;
        return console::print(format!("{text}\n").as_bytes()).map(|()| Exit::Done);
    }
    let stages: Vec<_> = report
        .statements
        .iter()
        .flat_map(|statement| statement.stages.iter().map(move |stage| (statement, stage)))
        .collect();
    let numbers = |value: &dyn Fn(usize) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values((0..stages.len()).map(value)))
    };
    let seconds = stages.iter().map(|(_, stage)| stage.seconds);
    let batch = RecordBatch::try_from_iter(vec![
        (
            "statement",
            numbers(&|at| u64::from(stages[at].0.statement)),
        ),
        ("stage", numbers(&|at| u64::from(stages[at].1.stage))),
        ("tasks_run", numbers(&|at| stages[at].1.tasks_run as u64)),
        (
            "tasks_reused",
            numbers(&|at| stages[at].1.tasks_reused as u64),
        ),
        ("attempts", numbers(&|at| stages[at].1.attempts as u64)),
        ("bytes_sealed", numbers(&|at| stages[at].1.bytes_sealed)),
        ("bytes_reused", numbers(&|at| stages[at].1.bytes_reused)),
        (
            "seconds",
            Arc::new(Float64Array::from_iter_values(seconds)) as ArrayRef,
        ),
    ]);
    let batch = batch.map_err(|error| RenderError::from(error).on_stdout())?;
    let exit = print(session, shell, &batch)?;
    let lost: Vec<_> = report
        .seconds_lost
        .iter()
        .map(|s| format!("{s:.1}"))
        .collect();
    let kills = match lost.is_empty() {
        true => String::new(),
        false => format!("; seconds lost by each kill: {}", lost.join(", ")),
    };
    report::note(
        &shell.console,
        format!(
            "the job `{}` is {}; {} of a process{kills}",
            report.name,
            report.state,
            counted(report.starts, "start")
        ),
    );
    Ok(exit)
}

fn format(session: &Session) -> Format {
    let named = session.settings().get("format").unwrap_or_default();
    Format::of_name(&named).unwrap_or(Format::Table)
}

fn print(session: &Session, shell: &Shell, batch: &RecordBatch) -> Result<Exit, Failure> {
    let look = Look {
        max_rows: 0,
        ..shell.look(&session.settings())
    };
    let mut out = Vec::new();
    let rendered = whole(batch, &format(session), &look, &mut out);
    rendered.map_err(RenderError::on_stdout)?;
    console::print(&out).map(|()| Exit::Done)
}
