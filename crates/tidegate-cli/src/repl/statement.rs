//! Runs one statement: shows its rows on the screen or writes them to a file, keeps them as `_`,
//! and tells counts, notices and times on standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use tidegate::arrow::util::display::array_value_to_string;
use tidegate::{Query, QueryKind, Statement};

use super::last::Gathered;
use super::screen::{Paging, Screen};
use super::{Repl, Target};
use crate::failure::Failure;
use crate::render::{Format, Look, RenderError, Renderer, renderer};
use crate::report;
use crate::run::{self, Running};

/// Lines of a table besides its rows: its frame, and the names and types of its columns.
const TABLE_LINES: usize = 5;

impl Repl {
    /// Runs the text of a statement. Places in errors count from its start.
    pub(super) async fn sql(&mut self, sql: &str) -> Result<(), Failure> {
        self.last_sql = sql.to_string();
        self.last.check(sql)?;
        let script = self.session.script(sql)?;
        for statement in &script.statements {
            self.logged(statement).await?;
        }
        Ok(())
    }

    /// Runs a statement, tells the log and the time.
    pub(super) async fn logged(&mut self, statement: &Statement) -> Result<(), Failure> {
        let started = Instant::now();
        if let Some(log) = &self.shell.log {
            log.started(&statement.text);
        }
        let outcome = self.statement(statement).await;
        let elapsed = started.elapsed();
        match (&self.shell.log, &outcome) {
            (Some(log), Ok(rows)) => log.done(elapsed, *rows),
            (Some(log), Err(failure)) => log.failed(elapsed, failure),
            (None, _) => {}
        }
        if self.timer && outcome.is_ok() {
            self.shell.console.message(&run::time_taken(elapsed));
        }
        outcome.map(|_| ())
    }

    /// Plans and runs it; returns the number of its rows.
    async fn statement(&mut self, statement: &Statement) -> Result<u64, Failure> {
        let query = tokio::select! {
            biased;
            _ = self.shell.signals.wait() => return Err(run::interrupted()),
            query = self.session.statement(statement) => query?,
        };
        let handle = query.handle();
        let outcome = match query.kind() {
            QueryKind::Rows => self.rows(query, statement.verb()).await,
            QueryKind::Write => self.written(query, statement.verb()).await,
            QueryKind::Command => self.command(query).await,
        };
        for notice in handle.notices() {
            report::notice(&self.shell.console, &notice);
        }
        let rows = outcome?;
        handle.arrived()?;
        Ok(rows)
    }

    async fn rows(&mut self, query: Query, verb: &str) -> Result<u64, Failure> {
        let (rows, last) = match (self.once.take(), self.target.clone()) {
            (Some(path), _) => self.in_file(query, &path, None).await?,
            (None, Target::Screen) => self.on_screen(query, verb).await?,
            (
                None,
                Target::File {
                    path,
                    format,
                    results,
                },
            ) => {
                let format = format.unwrap_or_else(|| self.format_of_file(&path));
                let poured = match results {
                    0 => self.in_file(query, &path, Some(format.clone())).await?,
                    _ => self.at_end_of_file(query, &path, &format).await?,
                };
                self.target = Target::File {
                    path,
                    format: Some(format),
                    results: results + 1,
                };
                poured
            }
        };
        if let Some(gathered) = last {
            self.last = gathered.keep(&self.session).await;
        }
        Ok(rows)
    }

    async fn on_screen(
        &mut self,
        query: Query,
        verb: &str,
    ) -> Result<(u64, Option<Gathered>), Failure> {
        let look = self.look();
        let format = self.format().of_result(verb);
        let separator = self.separator(&format)?;
        let mut out = BufWriter::new(self.screen());
        out.write_all(separator.as_bytes())
            .map_err(Failure::stdout)?;
        let poured = match format {
            Format::Table => self.table(query, &look, &mut out).await,
            _ => {
                let poured = self.pour(query, &format, &look, &mut out, RenderError::on_stdout);
                poured.await.map(|(rows, gathered)| Drawn {
                    rows,
                    last: Some(gathered),
                    counted: false,
                })
            }
        };
        let flushed = match &poured {
            Ok(_) => out.flush(),
            Err(_) => Ok(()),
        };
        let paged = out.get_ref().is_paged();
        let closed = match (&poured, flushed) {
            (Ok(_), Ok(())) => match out.into_inner() {
                Ok(screen) => screen.finish(),
                Err(error) => Err(error.into_error()),
            },
            (_, flushed) => {
                drop(out);
                flushed
            }
        };
        let drawn = match poured.map(|drawn| (drawn, closed.map_err(Failure::stdout))) {
            // The user has left the pager before the end of rows that were there.
            Ok((drawn, Err(Failure::ReaderGone))) if paged => drawn,
            Ok((drawn, closed)) => {
                closed?;
                drawn
            }
            Err(Failure::ReaderGone) if paged => return Ok((0, None)),
            Err(failure) => return Err(failure),
        };
        if !drawn.counted {
            self.count(drawn.rows, "");
        }
        Ok((drawn.rows, drawn.last))
    }

    /// Draws a table: all of its rows where the pager shows it, else its head and tail. Which it is
    /// is known at the end, or once the rows are too many to be kept as `_`: then they are written
    /// as they come.
    async fn table(
        &self,
        query: Query,
        look: &Look,
        out: &mut BufWriter<Screen>,
    ) -> Result<Drawn, Failure> {
        let mut running = Running::start(query, &self.shell).await?;
        let schema = running.stream.schema();
        let mut gathered = Gathered::new(&self.session, SchemaRef::clone(&schema));
        let mut held = Vec::new();
        let mut rows = 0;
        while let Some(batch) = running.next().await? {
            rows += batch.num_rows() as u64;
            gathered.add(&batch);
            held.push(batch);
            if gathered.overflowed() {
                break;
            }
        }
        running.display.clear();
        let shown_max = look.max_rows as u64;
        let cut = rows > shown_max && shown_max > 0;
        let lines = TABLE_LINES + rows as usize;
        let columns = look.width.unwrap_or(0);
        let paged = out.get_ref().pages(cut, lines, columns);
        let fitted = look.width.is_some() && !paged;
        let rows_max = if paged { self.page_rows() } else { None };
        let mut sheet = Sheet::new(&schema, look, rows_max, fitted)?;
        let mut left = false;
        for batch in held.drain(..) {
            match sheet.add(&batch, out) {
                // Leaving the pager early loses nothing of rows that are kept.
                Err(Failure::ReaderGone) if paged && !gathered.overflowed() => {
                    left = true;
                    break;
                }
                added => added?,
            }
        }
        if gathered.overflowed() {
            while !sheet.is_full() {
                let Some(batch) = running.next().await? else {
                    break;
                };
                running.display.clear();
                rows += batch.num_rows() as u64;
                sheet.add(&batch, out)?;
                out.flush().map_err(Failure::stdout)?;
            }
            running.display.clear();
        }
        let all = !gathered.overflowed() || !sheet.is_full();
        drop(running);
        let drawn = Drawn {
            rows,
            last: Some(gathered),
            counted: fitted && cut || !all,
        };
        match left {
            true => Ok(drawn),
            false => match sheet.finish(all.then_some(rows), out) {
                Err(Failure::ReaderGone) if paged => Ok(drawn),
                finished => finished.map(|()| drawn),
            },
        }
    }

    /// Rows that the pager shows; `None` for all.
    fn page_rows(&self) -> Option<u64> {
        let set = self.session.settings().get("pager_rows").ok()?;
        set.parse().ok().filter(|rows| *rows > 0)
    }

    /// What stands between the result before, if any, and the next on standard output.
    fn separator(&mut self, format: &Format) -> Result<&'static str, Failure> {
        let terminal = self.shell.console.stdout_terminal;
        if format.takes_one_result() && (terminal || self.results > 0) {
            let message = match terminal {
                true => "this format is not for a terminal",
                false => "this format takes exactly one result",
            };
            return Err(Failure::usage("not_one_result", message)
                .with_hint("name a file with .once or .output"));
        }
        self.results += 1;
        match terminal || self.results == 1 {
            true => Ok(""),
            false => Ok(format.separator()),
        }
    }

    async fn in_file(
        &mut self,
        query: Query,
        path: &Path,
        format: Option<Format>,
    ) -> Result<(u64, Option<Gathered>), Failure> {
        let format = format.unwrap_or_else(|| self.format_of_file(path));
        let look = Look::full(&self.session.settings());
        let mut file = self.session.output_file(path)?;
        let failed = |error: RenderError| error.on_file(path);
        let (rows, gathered) = self.pour(query, &format, &look, &mut file, failed).await?;
        file.commit()?;
        self.count(rows, &format!(" to `{}`", path.display()));
        Ok((rows, Some(gathered)))
    }

    /// Adds a result to a file that holds some. A result that fails leaves the file as it was.
    async fn at_end_of_file(
        &mut self,
        query: Query,
        path: &Path,
        format: &Format,
    ) -> Result<(u64, Option<Gathered>), Failure> {
        if format.takes_one_result() {
            let message = format!("`{}` takes one result, which it has", path.display());
            return Err(Failure::usage("not_one_result", message)
                .with_hint("name another file with .output, or use .once"));
        }
        let named = |error| Failure::io(&format!("cannot write `{}`", path.display()), error);
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        let poured = self.append(query, path, format, &file).await;
        match poured {
            Ok((rows, gathered)) => {
                self.count(rows, &format!(" to `{}`", path.display()));
                Ok((rows, Some(gathered)))
            }
            Err(failure) => {
                // A pipe or a device cannot take back what it was given.
                let _ = file.set_len(length);
                Err(failure)
            }
        }
    }

    async fn append(
        &mut self,
        query: Query,
        path: &Path,
        format: &Format,
        file: &File,
    ) -> Result<(u64, Gathered), Failure> {
        let failed = |error: RenderError| error.on_file(path);
        let look = Look::full(&self.session.settings());
        let mut out = BufWriter::new(file);
        out.write_all(format.separator().as_bytes())
            .map_err(|error| failed(error.into()))?;
        let poured = self.pour(query, format, &look, &mut out, failed).await?;
        out.flush().map_err(|error| failed(error.into()))?;
        Ok(poured)
    }

    /// Writes all rows, and gathers them for `_`.
    async fn pour(
        &self,
        query: Query,
        format: &Format,
        look: &Look,
        out: &mut dyn Write,
        failed: impl Fn(RenderError) -> Failure,
    ) -> Result<(u64, Gathered), Failure> {
        let mut running = Running::start(query, &self.shell).await?;
        let schema = running.stream.schema();
        let mut gathered = Gathered::new(&self.session, SchemaRef::clone(&schema));
        let mut renderer = renderer(format, &schema, look).map_err(&failed)?;
        renderer.begin(out).map_err(&failed)?;
        let mut rows = 0;
        while let Some(batch) = running.next().await? {
            running.display.clear();
            rows += batch.num_rows() as u64;
            gathered.add(&batch);
            renderer.batch(&batch, out).map_err(&failed)?;
            out.flush().map_err(|error| failed(error.into()))?;
        }
        running.display.clear();
        renderer.finish(out).map_err(&failed)?;
        Ok((rows, gathered))
    }

    /// Shows rows that are there already, such as a list of tables.
    pub(super) fn show(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let look = self.look();
        let mut out = BufWriter::new(self.screen());
        let draw = |out: &mut dyn Write| -> Result<(), RenderError> {
            let mut renderer = renderer(&self.format(), &batch.schema(), &look)?;
            renderer.begin(out)?;
            renderer.batch(batch, out)?;
            renderer.finish(out)
        };
        let drawn = draw(&mut out).map_err(RenderError::on_stdout);
        let paged = out.get_ref().is_paged();
        let shown = drawn.and_then(|()| {
            let screen = out.into_inner().map_err(|e| e.into_error());
            screen.and_then(Screen::finish).map_err(Failure::stdout)
        });
        left_pager(shown, paged)
    }

    /// Shows text, such as help or a plan.
    pub(super) fn show_text(&mut self, text: &str) -> Result<(), Failure> {
        let mut screen = self.screen();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write!(screen, "{text}{end}");
        let paged = screen.is_paged();
        let shown = written.and_then(|()| screen.finish());
        left_pager(shown.map_err(Failure::stdout), paged)
    }

    async fn written(&mut self, query: Query, verb: &str) -> Result<u64, Failure> {
        let mut running = Running::start(query, &self.shell).await?;
        let mut count = String::from("0");
        while let Some(batch) = running.next().await? {
            if batch.num_rows() > 0 && batch.num_columns() > 0 {
                let text = array_value_to_string(batch.column(0), 0);
                count = text.map_err(|error| RenderError::from(error).on_stdout())?;
            }
        }
        drop(running);
        self.shell.console.remark(&format!("{verb} {count}"));
        Ok(count.parse().unwrap_or(0))
    }

    async fn command(&mut self, query: Query) -> Result<u64, Failure> {
        let mut running = Running::start(query, &self.shell).await?;
        while running.next().await?.is_some() {}
        Ok(0)
    }

    fn screen(&self) -> Screen {
        let terminals = self.shell.console.stdout_terminal && io::stdin().is_terminal();
        let word = self.session.settings().get("pager").unwrap_or_default();
        Screen::new(Paging::of_setting(&word, terminals))
    }

    fn look(&self) -> Look {
        let look = self.shell.look(&self.session.settings());
        Look {
            width: self.width.or(look.width),
            ..look
        }
    }

    /// The format of the screen.
    pub(super) fn format(&self) -> Format {
        let named = self.named_format();
        match (self.expanded, self.shell.console.stdout_terminal) {
            (true, _) => Format::Line,
            (false, true) => named.unwrap_or(Format::Table),
            (false, false) => named.unwrap_or_else(Format::csv),
        }
    }

    /// The format that was asked for by name; `None` for `auto`.
    fn named_format(&self) -> Option<Format> {
        let named = self.session.settings().get("format").unwrap_or_default();
        Format::of_name(&named)
    }

    /// The format of a file: what was asked for by name, else what its suffix says.
    fn format_of_file(&self, path: &Path) -> Format {
        self.named_format()
            .or_else(|| Format::of_suffix(path))
            .unwrap_or_else(Format::csv)
    }

    fn count(&self, rows: u64, whereto: &str) {
        let what = if rows == 1 { "row" } else { "rows" };
        self.shell
            .console
            .remark(&format!("{rows} {what}{whereto}"));
    }

    /// Sends the results that follow to a file.
    pub(super) fn target(&mut self, path: Option<PathBuf>) {
        self.target = match path {
            Some(path) => Target::File {
                path,
                format: None,
                results: 0,
            },
            None => Target::Screen,
        };
    }
}

/// A table on the screen.
struct Drawn {
    rows: u64,
    last: Option<Gathered>,
    /// Whether the drawing says how many rows there are.
    counted: bool,
}

/// A table that is being drawn, up to so many rows.
struct Sheet {
    renderer: Box<dyn Renderer>,
    room: Option<u64>,
    shown: u64,
}

impl Sheet {
    /// A fitted table takes all rows and leaves out what it must; another stops at `rows_max`.
    fn new(
        schema: &SchemaRef,
        look: &Look,
        rows_max: Option<u64>,
        fitted: bool,
    ) -> Result<Self, Failure> {
        let look = Look {
            max_rows: if fitted { look.max_rows } else { 0 },
            ..look.clone()
        };
        let renderer = renderer(&Format::Table, schema, &look).map_err(RenderError::on_stdout)?;
        Ok(Self {
            renderer,
            room: rows_max,
            shown: 0,
        })
    }

    fn is_full(&self) -> bool {
        self.room == Some(0)
    }

    fn add(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let rows = batch.num_rows();
        let take = self.room.map_or(rows, |room| rows.min(room as usize));
        self.room = self.room.map(|room| room - take as u64);
        self.shown += take as u64;
        let drawn = self.renderer.batch(&batch.slice(0, take), out);
        drawn.map_err(RenderError::on_stdout)
    }

    /// Draws the end; `rows` are those of the whole result, if they are known.
    fn finish(mut self, rows: Option<u64>, out: &mut dyn Write) -> Result<(), Failure> {
        self.renderer.finish(out).map_err(RenderError::on_stdout)?;
        let cut = match rows {
            Some(rows) if self.is_full() && self.shown < rows => {
                format!("the first {} of {rows} rows", self.shown)
            }
            None => format!("the first {} rows", self.shown),
            _ => return Ok(()),
        };
        let hint = "SET pager_rows = … shows more";
        writeln!(out, "{cut}; {hint}").map_err(Failure::stdout)
    }
}

/// Leaving the pager before the end is no failure.
fn left_pager(shown: Result<(), Failure>, paged: bool) -> Result<(), Failure> {
    match shown {
        Err(Failure::ReaderGone) if paged => Ok(()),
        other => other,
    }
}
