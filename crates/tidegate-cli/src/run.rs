//! Runs texts of SQL one statement after the other: results to standard output or a file,
//! everything else to standard error.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::arrow::util::display::array_value_to_string;
use tidegate::write::OutputFile;
use tidegate::{Error, ErrorKind, Job, Query, QueryKind, RowStream, Session, Statement};

use crate::call::{AfterError, Output, Run};
use crate::console::{self, Loudness, StoppableStdout};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::jobs;
use crate::progress::Display;
use crate::render::{Format, Look, RenderError, renderer};
use crate::report::{self, Source};
use crate::shell::Shell;

/// The statements of a text; one that cannot be read is an error in its place.
type Statements = Vec<Result<Statement, Error>>;

/// Runs all texts; what fails is reported on the way.
pub(crate) async fn run(session: &Session, shell: &Shell, run: &Run) -> Exit {
    if let Some(job) = &run.job {
        return jobs::run(session, shell, run, job).await;
    }
    let mut exit = Exit::Done;
    let mut scripts = Vec::new();
    for source in &run.sources {
        match read(session, run, &source.text) {
            Ok(statements) => scripts.push((source, statements)),
            Err(error) => {
                report::error(&shell.console, &error, Some(source));
                exit = exit.or(Exit::of(error.kind));
                if run.after_error == AfterError::Stop {
                    return exit;
                }
            }
        }
    }
    let mut runner = Runner::new(session, shell, run);
    if let Err(failure) = runner.check_count(&scripts) {
        report::failure(&shell.console, &failure, None);
        return failure.exit();
    }
    let left: usize = scripts.iter().map(|(_, statements)| statements.len()).sum();
    // The parser has done its part; planning brings code of its own.
    crate::memory::let_go_of_code();
    runner.all(&scripts, left, exit).await
}

/// Reads a text. Where the first error ends everything, nothing of a text runs that has a
/// statement which cannot be read.
fn read(session: &Session, run: &Run, text: &str) -> Result<Statements, Error> {
    match run.after_error {
        AfterError::Stop => {
            let script = session.script(text)?;
            Ok(script.statements.into_iter().map(Ok).collect())
        }
        AfterError::GoOn => session.script_each(text),
    }
}

impl Exit {
    /// The first that is not good.
    fn or(self, later: Exit) -> Exit {
        match self {
            Exit::Done => later,
            first => first,
        }
    }
}

pub(crate) struct Runner<'a> {
    session: &'a Session,
    shell: &'a Shell,
    run: &'a Run,
    stdout: BufWriter<StoppableStdout>,
    results: usize,
    /// The job whose statements are run.
    job: Option<&'a Job>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(session: &'a Session, shell: &'a Shell, run: &'a Run) -> Self {
        Self {
            session,
            shell,
            run,
            stdout: console::stoppable_stdout(&shell.signals),
            results: 0,
            job: None,
        }
    }

    /// The same for the statements of a job.
    pub(crate) fn of(self, job: &'a Job) -> Self {
        let job = Some(job);
        Self { job, ..self }
    }

    /// Some outputs hold one result: says so before anything runs.
    fn check_count(&self, scripts: &[(&Source, Statements)]) -> Result<(), Failure> {
        let format = match &self.run.output {
            Some(output) => output.format.clone(),
            None => self.format(),
        };
        if format.takes_one_result() && self.run.output.is_none() {
            self.check_terminal()?;
        }
        let what = match &self.run.output {
            Some(output) => format!("`{}`", output.path.display()),
            None if format.takes_one_result() => "this format".into(),
            None => return Ok(()),
        };
        let statements = scripts.iter().flat_map(|(_, statements)| statements);
        let statements = statements.flatten();
        match statements.filter(|s| s.returns_rows()).count() {
            1 => Ok(()),
            count => {
                let message = format!("{what} takes exactly one result, and there are {count}");
                Err(Failure::usage("not_one_result", message))
            }
        }
    }

    /// Bytes that only programs read would ruin a terminal.
    fn check_terminal(&self) -> Result<(), Failure> {
        match self.shell.console.stdout_terminal {
            false => Ok(()),
            true => {
                let message = "this format is not for a terminal";
                Err(Failure::usage("binary_on_terminal", message)
                    .with_hint("write it into a file with -o, or redirect the output"))
            }
        }
    }

    /// The format of standard output as the settings have it now.
    fn format(&self) -> Format {
        let named = self.session.settings().get("format").unwrap_or_default();
        let auto = match self.shell.console.stdout_terminal {
            true => Format::Table,
            false => Format::csv(),
        };
        Format::of_name(&named).unwrap_or(auto)
    }

    async fn all(
        &mut self,
        scripts: &[(&Source, Statements)],
        mut left: usize,
        so_far: Exit,
    ) -> Exit {
        let mut exit = so_far;
        for (source, statements) in scripts {
            for statement in statements {
                left -= 1;
                let statement = match statement {
                    Ok(statement) => statement,
                    Err(error) => {
                        report::error(&self.shell.console, error, Some(source));
                        exit = exit.or(Exit::of(error.kind));
                        continue;
                    }
                };
                let Err(failure) = self.logged(statement, 0).await else {
                    continue;
                };
                report::failure(&self.shell.console, &failure, Some(source));
                let reader_gone = matches!(failure, Failure::ReaderGone);
                exit = exit.or(match reader_gone && left > 0 {
                    true => Exit::ReaderGone,
                    false => failure.exit(),
                });
                let ended = reader_gone || self.shell.signals.heard().is_some();
                if ended || self.run.after_error == AfterError::Stop {
                    return exit;
                }
            }
        }
        exit
    }

    /// Runs one statement, the one of this number, and logs it.
    pub(crate) async fn logged(
        &mut self,
        statement: &Statement,
        number: usize,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let log = self.shell.log.as_ref();
        if let Some(log) = log {
            log.started(&statement.text);
        }
        let outcome = self.statement(statement, number).await;
        let flushed = self.stdout.flush().map_err(Failure::stdout);
        let outcome = outcome.and_then(|rows| flushed.map(|()| rows));
        let elapsed = started.elapsed();
        match (log, &outcome) {
            (Some(log), Ok(rows)) => log.done(elapsed, *rows),
            (Some(log), Err(failure)) => log.failed(elapsed, failure),
            (None, _) => {}
        }
        if self.shell.console.loudness >= Loudness::Verbose {
            self.shell.console.remark(&time_taken(elapsed));
        }
        outcome.map(|_| ())
    }

    /// Runs one statement; returns the number of its rows.
    async fn statement(&mut self, statement: &Statement, number: usize) -> Result<u64, Failure> {
        let (session, job) = (self.session, self.job);
        let planned = async {
            match job {
                Some(job) => job.query(number).await,
                None => session.statement(statement).await,
            }
        };
        let query = tokio::select! {
            biased;
            _ = self.shell.signals.wait() => return Err(interrupted()),
            query = planned => query?,
        };
        let handle = query.handle();
        let outcome = match query.kind() {
            QueryKind::Rows => self.rows(query, statement.verb()).await,
            QueryKind::Write => self.written(query, statement).await,
            QueryKind::Command => self.command(query).await,
        };
        for notice in handle.notices() {
            report::notice(&self.shell.console, &notice);
        }
        let rows = outcome?;
        self.stdout.flush().map_err(Failure::stdout)?;
        handle.arrived()?;
        Ok(rows)
    }

    async fn rows(&mut self, query: Query, verb: &str) -> Result<u64, Failure> {
        let settings = self.session.settings();
        match &self.run.output {
            Some(Output { path, format }) => {
                let mut file = self.output_file(path).await?;
                let mut sink = Sink {
                    format: format.clone().of_result(verb),
                    look: Look::full(&settings),
                    out: &mut file,
                    clear: false,
                };
                let failed = |error: RenderError| error.on_file(path);
                let rows = sink.pour(query, self.shell, failed).await?;
                file.commit()?;
                Ok(rows)
            }
            None => {
                let format = self.format().of_result(verb);
                if self.results > 0 {
                    if format.takes_one_result() {
                        let message = "this format takes exactly one result";
                        return Err(Failure::usage("not_one_result", message));
                    }
                    let separator = format.separator().as_bytes();
                    self.stdout.write_all(separator).map_err(Failure::stdout)?;
                }
                self.results += 1;
                let mut sink = Sink {
                    format,
                    look: self.shell.look(&settings),
                    out: &mut self.stdout,
                    clear: self.shell.console.stdout_terminal,
                };
                sink.pour(query, self.shell, RenderError::on_stdout).await
            }
        }
    }

    /// Opens the file of `-o`. That waits for ever where the file is a pipe nobody reads from, but not for a signal.
    async fn output_file(&self, path: &Path) -> Result<OutputFile, Failure> {
        let (session, path) = (self.session.clone(), path.to_owned());
        let opened = tokio::task::spawn_blocking(move || session.output_file(&path));
        tokio::select! {
            biased;
            _ = self.shell.signals.wait() => Err(interrupted()),
            opened = opened => match opened {
                Ok(file) => Ok(file?),
                Err(error) => Err(Failure::io("cannot open the file", error.into())),
            },
        }
    }

    async fn written(&self, query: Query, statement: &Statement) -> Result<u64, Failure> {
        let mut running = Running::start(query, self.shell).await?;
        let mut count = String::from("0");
        while let Some(batch) = running.next().await? {
            if batch.num_rows() > 0 && batch.num_columns() > 0 {
                let text = array_value_to_string(batch.column(0), 0);
                count = text.map_err(|error| RenderError::from(error).on_stdout())?;
            }
        }
        drop(running);
        let tag = format!("{} {count}", statement.verb());
        self.shell.console.remark(&tag);
        Ok(count.parse().unwrap_or(0))
    }

    async fn command(&self, query: Query) -> Result<u64, Failure> {
        let mut running = Running::start(query, self.shell).await?;
        while running.next().await?.is_some() {}
        Ok(0)
    }
}

/// Where the rows of one result go.
struct Sink<'a> {
    format: Format,
    look: Look,
    out: &'a mut dyn Write,
    /// Whether the progress line must go before rows are written, as they share a terminal.
    clear: bool,
}

impl Sink<'_> {
    async fn pour(
        &mut self,
        query: Query,
        shell: &Shell,
        failed: impl Fn(RenderError) -> Failure,
    ) -> Result<u64, Failure> {
        let mut rows = 0;
        let mut running = Running::start(query, shell).await?;
        let schema = running.stream.schema();
        let mut renderer = renderer(&self.format, &schema, &self.look).map_err(&failed)?;
        renderer.begin(self.out).map_err(&failed)?;
        while let Some(batch) = running.next().await? {
            if self.clear {
                running.display.clear();
            }
            rows += batch.num_rows() as u64;
            renderer.batch(&batch, self.out).map_err(&failed)?;
        }
        running.display.clear();
        renderer.finish(self.out).map_err(&failed)?;
        Ok(rows)
    }
}

/// A query that runs, with its progress on display, until it ends or a signal ends it.
pub(crate) struct Running<'a> {
    shell: &'a Shell,
    /// The rows.
    pub(crate) stream: RowStream,
    /// The progress.
    pub(crate) display: Display<'a>,
    handle: tidegate::QueryHandle,
}

impl<'a> Running<'a> {
    /// Starts it.
    pub(crate) async fn start(query: Query, shell: &'a Shell) -> Result<Self, Failure> {
        crate::memory::let_go_of_code_once();
        let handle = query.handle();
        let mut display = Display::new(&shell.console, handle.clone());
        let stream = tokio::select! {
            biased;
            _ = shell.signals.wait() => return Err(interrupted()),
            stream = query.stream() => stream?,
            () = display.run() => return Err(interrupted()),
        };
        Ok(Self {
            shell,
            stream,
            display,
            handle,
        })
    }

    /// The next batch.
    pub(crate) async fn next(
        &mut self,
    ) -> Result<Option<tidegate::arrow::array::RecordBatch>, Failure> {
        let batch = tokio::select! {
            biased;
            _ = self.shell.signals.wait() => None,
            batch = self.stream.next() => Some(batch),
            () = self.display.run() => None,
        };
        match batch {
            Some(batch) => Ok(batch.transpose()?),
            None => {
                // The query's own end, so that what it was writing is taken away.
                self.handle.cancel();
                while let Some(Ok(_)) = self.stream.next().await {}
                Err(interrupted())
            }
        }
    }
}

/// What a signal ends a query with.
pub(crate) fn interrupted() -> Failure {
    Failure::Failed(Error::new(
        ErrorKind::Cancelled,
        "interrupted",
        "interrupted",
    ))
}

/// How long a statement took, for `-v`.
pub(crate) fn time_taken(elapsed: Duration) -> String {
    format!("time: {:.3} s", elapsed.as_secs_f64())
}
