//! The REPL: reads lines, cuts them into statements and meta commands, runs them one after the
//! other. Results go to standard output (or where `.output` says), everything else to standard
//! error.

mod act;
mod complete;
mod edit;
mod helper;
mod highlight;
mod history;
mod last;
mod lexer;
mod meta;
mod reader;
mod screen;
mod split;
mod statement;
mod terminal;
mod words;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use tidegate::{ErrorKind, Session};

use crate::console::Loudness;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::jobs::Watched;
use crate::render::Format;
use crate::report::{self, Source};
use crate::shell::Shell;
use crate::signals::Heard;
use complete::Names;
use last::Last;
use reader::{Answer, Manner, Prompt, Reader};
use split::Piece;
use terminal::Terminal;

const PROMPT: &str = "tidegate> ";
const CONTINUED: &str = "      -> ";
/// The name that errors give to what was typed.
const TYPED: &str = "input";
/// Files that `.read` one another at most.
const READ_DEPTH_MAX: usize = 16;
/// Earlier lines of a statement that the editor is told of; it knows nothing of longer ones.
const BEFORE_BYTES_MAX: usize = 64 * 1024;
/// How long a line may be on its way from the editor.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Talks until the user leaves.
pub(crate) async fn run(session: Session, shell: Shell) -> Exit {
    shell.signals.set_interactive();
    let manner = Manner::of_terminal(shell.console.stdout_color || is_colorful(&shell));
    let rows = session.settings().get("history_rows").ok();
    let rows = rows.and_then(|rows| rows.parse().ok());
    let names = Names::of_session(session.clone());
    let reader = match Reader::start(manner, names, rows.unwrap_or(history::ENTRIES_MAX)) {
        Ok(reader) => reader,
        Err(error) => {
            let failure = Failure::io("cannot start the line editor", error);
            report::failure(&shell.console, &failure, None);
            return failure.exit();
        }
    };
    let mut repl = Repl {
        timer: shell.console.loudness >= Loudness::Verbose,
        session,
        shell,
        reader,
        manner,
        terminal: Terminal::save(),
        typed: String::new(),
        initial: String::new(),
        idle_interrupts: 0,
        last: Last::Never,
        last_sql: String::new(),
        expanded: false,
        width: None,
        target: Target::Screen,
        once: None,
        results: 0,
        watched: Watched::default(),
    };
    repl.banner();
    // Without a directory for jobs there are none to tell of.
    if let Ok(jobs) = repl.session.jobs() {
        repl.watched.look(&jobs);
    }
    repl.talk().await
}

/// Whether the prompt may be coloured though standard output is no terminal: it goes to the
/// terminal itself then.
fn is_colorful(shell: &Shell) -> bool {
    !shell.console.stdout_terminal && shell.console.stderr_color
}

/// Where results go.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    /// Standard output.
    Screen,
    /// A file, which holds so many results of this format by now.
    File {
        path: PathBuf,
        format: Option<Format>,
        results: usize,
    },
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoOn,
    Leave(Exit),
}

/// What was heard at the prompt.
enum Event {
    Answer(Answer),
    Terminated,
}

struct Repl {
    session: Session,
    shell: Shell,
    reader: Reader,
    manner: Manner,
    terminal: Terminal,
    /// The lines of a statement whose end has not come yet.
    typed: String,
    /// What the next line holds at first.
    initial: String,
    /// How often Ctrl-C was hit in a row when there was nothing to clear.
    idle_interrupts: usize,
    last: Last,
    last_sql: String,
    timer: bool,
    expanded: bool,
    width: Option<usize>,
    target: Target,
    once: Option<PathBuf>,
    /// Results that standard output holds.
    results: usize,
    /// The jobs that other processes run.
    watched: Watched,
}

impl Repl {
    fn banner(&self) {
        if self.shell.console.stdout_terminal && io::stdin().is_terminal() {
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("Tidegate {version}. `.help` lists commands, Ctrl-D leaves.");
            self.shell.console.remark(&line);
        }
    }

    async fn talk(&mut self) -> Exit {
        let mut failures = 0;
        loop {
            for ended in self.watched.ended(&self.session) {
                self.shell.console.remark(&ended);
            }
            let event = self.read().await;
            if !matches!(event, Event::Answer(Answer::Failed(_))) {
                failures = 0;
            }
            match event {
                Event::Answer(Answer::Line(line)) => {
                    if let Flow::Leave(exit) = self.take(&line).await {
                        return exit;
                    }
                }
                Event::Answer(Answer::Interrupted { idle }) => self.interrupted(idle),
                Event::Answer(Answer::End) => return self.ended(),
                Event::Answer(Answer::Failed(why)) => {
                    failures += 1;
                    self.typed.clear();
                    self.complain(&Failure::usage("no_line", why), None);
                    if failures > 1 {
                        return Exit::Failed;
                    }
                }
                Event::Terminated => {
                    self.terminal.restore();
                    return Exit::Interrupted;
                }
            }
        }
    }

    /// Asks for a line and waits for it.
    async fn read(&mut self) -> Event {
        self.shell.signals.clear();
        self.reader.ask(Prompt {
            text: if self.typed.is_empty() {
                PROMPT
            } else {
                CONTINUED
            },
            before: match self.typed.len() > BEFORE_BYTES_MAX {
                true => " ".into(),
                false => self.typed.clone(),
            },
            initial: std::mem::take(&mut self.initial),
        });
        loop {
            tokio::select! {
                biased;
                heard = self.shell.signals.wait() => match heard {
                    Heard::Terminate => return Event::Terminated,
                    Heard::Interrupt => {
                        if let Some(answer) = self.answer_before_interrupt().await {
                            return Event::Answer(answer);
                        }
                        self.interrupted_while_plain();
                    }
                },
                answer = self.reader.answer() => return Event::Answer(answer),
            }
        }
    }

    /// Ctrl-C right after Enter is meant for the statement, not for the prompt: the line, which is
    /// on its way, comes first and the Ctrl-C stays.
    async fn answer_before_interrupt(&mut self) -> Option<Answer> {
        tokio::select! {
            biased;
            answer = self.reader.answer() => Some(answer),
            () = tokio::time::sleep(ON_ITS_WAY) => None,
        }
    }

    /// Without an editor Ctrl-C comes as a signal; the terminal has dropped the line already.
    fn interrupted_while_plain(&mut self) {
        self.shell.signals.clear();
        if self.manner == Manner::Plain {
            reader::show_plain("\n");
            self.interrupted(true);
            reader::show_plain(PROMPT);
        }
    }

    /// Ctrl-C at the prompt; `idle` if there was nothing in the line.
    fn interrupted(&mut self, idle: bool) {
        if !idle || !self.typed.is_empty() {
            self.typed.clear();
            self.idle_interrupts = 0;
            return;
        }
        self.idle_interrupts += 1;
        if self.idle_interrupts == 2 {
            self.shell.console.remark("Ctrl-D or `.quit` leaves.");
            self.idle_interrupts = 0;
        }
    }

    fn ended(&self) -> Exit {
        if self.manner == Manner::Plain {
            reader::show_plain("\n");
        }
        Exit::Done
    }

    /// Takes a line (a paste may hold many) and runs what is complete.
    async fn take(&mut self, line: &str) -> Flow {
        if !line.trim().is_empty() {
            self.idle_interrupts = 0;
        }
        if !self.typed.is_empty() && matches!(line.trim(), "\\e" | ".edit") {
            let text = std::mem::take(&mut self.typed);
            return self.edit_text(&text);
        }
        let line = match bare_word(line) {
            Some(command) if self.typed.is_empty() => command,
            Some(command) => {
                let hint = format!("a statement is being typed; Ctrl-C drops it, then `{command}`");
                self.shell.console.remark(&hint);
                line
            }
            None => line,
        };
        let goes_on = !self.typed.is_empty() && !line.contains(';') && !line.contains("*/");
        self.typed.push_str(line);
        self.typed.push('\n');
        if goes_on {
            // Nothing has ended, so nothing needs to be read again.
            return Flow::GoOn;
        }
        let split = split::split(&self.typed);
        let used = split.used;
        let entries: Vec<String> = split.pieces.iter().map(entry).collect();
        for entry in entries {
            self.remember(entry);
        }
        let rest = self.typed.split_off(used);
        let source = Source {
            name: TYPED.into(),
            text: std::mem::replace(&mut self.typed, rest),
        };
        self.all(&source, 0).await.unwrap_or(Flow::GoOn)
    }

    fn remember(&self, entry: String) {
        if history::may_keep(&entry) {
            self.reader.remember(entry);
        }
    }

    /// Runs all that a text holds, up to the first error, which is told and then returned empty.
    async fn all(&mut self, source: &Source, depth: usize) -> Result<Flow, Told> {
        let pieces = split::split(&source.text).pieces;
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            let outcome = match piece {
                Piece::Meta(start, line) => Box::pin(self.act(line, depth))
                    .await
                    .map_err(|stop| stop.shifted(start)),
                Piece::Sql(start, sql) => self
                    .sql(sql)
                    .await
                    .map(|()| Flow::GoOn)
                    .map_err(|failure| Stop::from(failure).shifted(start)),
            };
            match outcome {
                Ok(Flow::GoOn) => {}
                Ok(leave) => return Ok(leave),
                Err(Stop::Told) => return Err(Told),
                Err(Stop::Failure(failure)) => {
                    let flow = self.failed(&failure, source);
                    if count > at + 1 {
                        let left = count - at - 1;
                        let what = if left == 1 { "statement" } else { "statements" };
                        self.shell
                            .console
                            .remark(&format!("note: {left} {what} after it did not run"));
                    }
                    return match flow {
                        Flow::GoOn => Err(Told),
                        leave => Ok(leave),
                    };
                }
            }
        }
        Ok(Flow::GoOn)
    }

    /// Tells what went wrong, unless the user wanted it so.
    fn failed(&mut self, failure: &Failure, source: &Source) -> Flow {
        match failure {
            Failure::ReaderGone => return Flow::Leave(Exit::Done),
            Failure::Failed(error) if error.kind == ErrorKind::Cancelled => {
                self.shell.console.message("cancelled");
            }
            failure => self.complain(failure, Some(source)),
        }
        match self.shell.signals.heard() {
            Some(Heard::Terminate) => Flow::Leave(Exit::Interrupted),
            _ => Flow::GoOn,
        }
    }

    fn complain(&self, failure: &Failure, source: Option<&Source>) {
        report::failure(&self.shell.console, failure, source);
    }
}

/// The command that a line means which is nothing but a word other shells know; `.quit` and its
/// like inside of a statement included.
fn bare_word(line: &str) -> Option<&'static str> {
    let word = line.trim().trim_end_matches(';').trim_end();
    let known = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    if known(&["quit", "exit", ".quit", ".exit", "\\q", ".q"]) {
        return Some(".quit");
    }
    known(&["help", ".help", "\\?"]).then_some(".help")
}

/// An error that the user has been told.
struct Told;

/// Why a piece did not run to its end.
enum Stop {
    Failure(Failure),
    Told,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failure(failure)
    }
}

impl Stop {
    /// The place of an error, counted from the start of the text that the piece stands in.
    fn shifted(self, by: usize) -> Self {
        match self {
            Stop::Failure(Failure::Failed(mut error)) => {
                error.span = error.span.map(|span| span.start + by..span.end + by);
                Stop::Failure(Failure::Failed(error))
            }
            other => other,
        }
    }
}

/// What the history keeps of a piece.
fn entry(piece: &Piece<'_>) -> String {
    match *piece {
        Piece::Meta(_, line) => line.to_string(),
        Piece::Sql(_, sql) => sql.to_string(),
    }
}
