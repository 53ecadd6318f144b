//! The two streams of the process. Everything that is printed goes through here: data to standard
//! output, everything else to standard error, colour only where a person sees it.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tidegate::Settings;

use crate::failure::Failure;
use crate::signals::Signals;

/// Bytes that are gathered before they are written to standard output.
const STDOUT_BUFFER_BYTES: usize = 64 << 10;
/// How often a write that hangs looks for a signal.
const SIGNAL_WAIT: Duration = Duration::from_millis(20);
/// The width that is taken when a terminal does not tell its own.
const DEFAULT_WIDTH: usize = 80;

/// `auto`, `always` or `never`, as the settings of the shell have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// When a person looks at it.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl When {
    fn of(settings: &Settings, name: &str) -> Self {
        match settings.get(name).as_deref() {
            Ok("always") => When::Always,
            Ok("never") => When::Never,
            _ => When::Auto,
        }
    }

    fn decide(self, auto: bool) -> bool {
        match self {
            When::Auto => auto,
            When::Always => true,
            When::Never => false,
        }
    }
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loudness {
    /// Errors only.
    Quiet,
    /// Errors, warnings, notes and counts.
    Normal,
    /// Timing, too.
    Verbose,
}

/// How errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is known of the two streams, decided once.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    /// Whether standard output is a terminal.
    pub(crate) stdout_terminal: bool,
    /// Whether data on standard output may be coloured.
    pub(crate) stdout_color: bool,
    /// Whether messages on standard error may be coloured.
    pub(crate) stderr_color: bool,
    /// Whether the progress of a query is shown.
    pub(crate) progress: bool,
    /// How much is said on standard error.
    pub(crate) loudness: Loudness,
    /// How errors are written.
    pub(crate) errors: ErrorForm,
}

impl Console {
    /// Looks at the streams, the environment and the settings.
    pub(crate) fn new(settings: &Settings, loudness: Loudness, errors: ErrorForm) -> Self {
        let stdout_terminal = io::stdout().is_terminal();
        let stderr_terminal = io::stderr().is_terminal();
        let color = When::of(settings, "color");
        let colorful = !is_set("NO_COLOR") && !is_dumb();
        let progress = stderr_terminal && !is_dumb() && loudness > Loudness::Quiet;
        Self {
            stdout_color: color.decide(stdout_terminal && colorful),
            stderr_color: color.decide(stderr_terminal && colorful) && errors == ErrorForm::Text,
            progress: When::of(settings, "progress").decide(progress && errors == ErrorForm::Text),
            stdout_terminal,
            loudness,
            errors,
        }
    }

    /// Writes a line to standard error.
    pub(crate) fn message(&self, line: &str) {
        message(line);
    }

    /// Writes text that overwrites itself to standard error, without a new line.
    pub(crate) fn transient(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
    }

    /// A count or another remark that `-q` silences.
    pub(crate) fn remark(&self, line: &str) {
        if self.loudness >= Loudness::Normal && self.errors == ErrorForm::Text {
            self.message(line);
        }
    }

    /// The columns of the terminal that standard error is, if it is one.
    pub(crate) fn stderr_width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        (size.ws_col > 0).then(|| usize::from(size.ws_col))
    }

    /// The columns of the terminal that standard output is, or of standard error if that is one.
    pub(crate) fn width(&self) -> usize {
        let size = rustix::termios::tcgetwinsize(io::stdout())
            .or_else(|_| rustix::termios::tcgetwinsize(io::stderr()));
        let told = size.map(|size| usize::from(size.ws_col)).unwrap_or(0);
        let named = || std::env::var("COLUMNS").ok()?.parse().ok();
        match told {
            0 => named().filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH),
            width => width,
        }
    }
}

/// Writes a line to standard error. A message that cannot be written is lost: there is no better
/// place to say so.
pub(crate) fn message(line: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{line}");
}

/// A buffered writer to standard output that reports every failure.
pub(crate) fn stdout() -> BufWriter<Stdout> {
    BufWriter::with_capacity(STDOUT_BUFFER_BYTES, Stdout)
}

/// Writes all of a text to standard output.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = stdout();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(Failure::stdout)
}

/// Standard output without the line buffer of the standard library's own.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::write(io::stdout(), bytes)
        })?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A buffered writer to standard output that a signal frees from a reader which does not read.
pub(crate) fn stoppable_stdout(signals: &Signals) -> BufWriter<StoppableStdout> {
    let writer = StoppableStdout {
        signals: signals.clone(),
        thread: None,
        stopped: false,
    };
    BufWriter::with_capacity(STDOUT_BUFFER_BYTES, writer)
}

/// A signal came while standard output took nothing.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub(crate) struct Stopped;

/// Writes on a thread of its own: a call that hangs can be left behind there.
pub(crate) struct StoppableStdout {
    signals: Signals,
    thread: Option<WriterThread>,
    stopped: bool,
}

struct WriterThread {
    bytes: Sender<Vec<u8>>,
    written: Receiver<io::Result<()>>,
}

impl WriterThread {
    fn start() -> io::Result<Self> {
        let (bytes, todo) = mpsc::channel::<Vec<u8>>();
        let (say, written) = mpsc::channel();
        let work = move || {
            for bytes in todo {
                if say.send(Stdout.write_all(&bytes)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stdout".into());
        thread.stack_size(256 << 10).spawn(work)?;
        Ok(Self { bytes, written })
    }
}

impl Write for StoppableStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped {
            return Err(io::Error::other(Stopped));
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(WriterThread::start()?),
        };
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        thread.bytes.send(bytes.to_vec()).map_err(gone)?;
        loop {
            match thread.written.recv_timeout(SIGNAL_WAIT) {
                Ok(written) => return written.map(|()| bytes.len()),
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(RecvTimeoutError::Timeout) if self.signals.heard().is_some() => {
                    self.stopped = true;
                    return Err(io::Error::other(Stopped));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an environment variable has a value that is not empty.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether the terminal understands no control sequences.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
