//! The thread that reads lines. It does one thing at a time: told to ask, it shows a prompt and
//! answers with a line. On a terminal that understands control sequences it is an editor; else it
//! reads plain lines and the terminal edits them.

use std::io::{self, BufRead, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use rustyline::config::{BellStyle, Configurer};
use rustyline::error::ReadlineError;
use rustyline::history::{DefaultHistory, History};
use rustyline::{
    Behavior, Cmd, ColorMode, CompletionType, ConditionalEventHandler, Config, Editor, Event,
    EventContext, EventHandler, KeyEvent, RepeatCount,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::complete::Names;
use super::helper::Typing;
use super::history;
use crate::console;

/// Candidates of a completion beyond which the editor asks before it lists them.
const LISTED_MAX: usize = 200;
/// Keys that a recalled paste may have is bounded by the history; a prompt's own text by this.
const INITIAL_BYTES_MAX: usize = 256 * 1024;

/// What is asked of the thread.
pub(crate) enum Ask {
    /// A line.
    Line(Prompt),
    /// Keep an entry in the history.
    Remember(String),
}

/// A prompt and what it needs to know.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    /// What stands before the line.
    pub(crate) text: &'static str,
    /// What earlier lines of the statement hold.
    pub(crate) before: String,
    /// What the line holds at first.
    pub(crate) initial: String,
}

/// What the thread answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A line, without its end; a paste may hold more than one.
    Line(String),
    /// Ctrl-C, with or without something in the line.
    Interrupted {
        /// Whether the line was empty.
        idle: bool,
    },
    /// Ctrl-D, or the end of the input.
    End,
    /// It cannot go on.
    Failed(String),
}

/// How lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With editing, colours as told, history and completion.
    Editor {
        /// Whether the line is coloured.
        color: bool,
    },
    /// As the terminal gives them.
    Plain,
}

impl Manner {
    /// What the terminal can do.
    pub(crate) fn of_terminal(color: bool) -> Self {
        match understands_nothing() || !io::stdin().is_terminal() {
            true => Manner::Plain,
            false => Manner::Editor { color },
        }
    }
}

/// Whether the terminal is one of those that no line can be edited on.
fn understands_nothing() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    console::is_dumb() || ["cons25", "emacs"].contains(&term.as_str())
}

/// The near end of the thread.
pub(crate) struct Reader {
    asks: mpsc::Sender<Ask>,
    answers: UnboundedReceiver<Answer>,
}

impl Reader {
    /// Starts the thread.
    pub(crate) fn start(manner: Manner, names: Names, history_rows: usize) -> io::Result<Self> {
        let (asks, heard) = mpsc::channel();
        let (said, answers) = unbounded_channel();
        std::thread::Builder::new()
            .name("editor".into())
            .spawn(move || match manner {
                Manner::Plain => plain(&heard, &said),
                Manner::Editor { color } => edited(&heard, &said, names, color, history_rows),
            })?;
        Ok(Self { asks, answers })
    }

    /// Shows a prompt; the answer comes later.
    pub(crate) fn ask(&self, prompt: Prompt) {
        // A thread that ended has closed its answers, which `answer` reports.
        let _ = self.asks.send(Ask::Line(prompt));
    }

    /// Keeps an entry in the history.
    pub(crate) fn remember(&self, entry: String) {
        let _ = self.asks.send(Ask::Remember(entry));
    }

    /// The next answer. May be dropped and called again without losing one.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answers.recv().await.unwrap_or(Answer::End)
    }
}

fn plain(asks: &mpsc::Receiver<Ask>, answers: &UnboundedSender<Answer>) {
    while let Ok(ask) = asks.recv() {
        let Ask::Line(prompt) = ask else { continue };
        show_plain(prompt.text);
        let mut line = Vec::new();
        let answer = match io::stdin().lock().read_until(b'\n', &mut line) {
            Ok(0) => Answer::End,
            Ok(_) => match String::from_utf8(line) {
                Ok(line) => Answer::Line(prompt.initial + line.trim_end_matches(['\n', '\r'])),
                Err(_) => Answer::Failed("the line is not UTF-8".into()),
            },
            Err(error) => Answer::Failed(error.to_string()),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Writes a prompt where a person sees it and data does not go.
pub(crate) fn show_plain(prompt: &str) {
    let write = |out: &mut dyn Write| write!(out, "{prompt}").and_then(|()| out.flush());
    // A prompt that cannot be written is lost; the lines still come.
    let _ = match io::stdout().is_terminal() {
        true => write(&mut io::stdout().lock()),
        false => write(&mut io::stderr().lock()),
    };
}

fn edited(
    asks: &mpsc::Receiver<Ask>,
    answers: &UnboundedSender<Answer>,
    names: Names,
    color: bool,
    history_rows: usize,
) {
    let mut editor = match editor(Typing::new(names, color), color, history_rows) {
        Ok(editor) => editor,
        Err(error) => {
            let _ = answers.send(Answer::Failed(error.to_string()));
            return;
        }
    };
    let idle = Arc::new(AtomicBool::new(false));
    let interrupt = Interrupt {
        idle: Arc::clone(&idle),
    };
    editor.bind_sequence(
        KeyEvent::ctrl('C'),
        EventHandler::Conditional(Box::new(interrupt)),
    );
    // While one exists, the editor waits on the terminal and on its signals at once, and so hears
    // of a resize whichever thread the signal went to.
    let _printer = editor.create_external_printer();
    let file = history::file();
    if let Some(file) = &file {
        // A history that cannot be read is an empty one.
        let _ = editor.load_history(file);
    }
    while let Ok(ask) = asks.recv() {
        match ask {
            Ask::Remember(entry) => {
                let added = editor.add_history_entry(entry).unwrap_or(false);
                if let (true, Some(file)) = (added, &file) {
                    let _ = editor.append_history(file);
                }
            }
            Ask::Line(prompt) => {
                let answer = match line(&mut editor, prompt) {
                    Answer::Interrupted { .. } => Answer::Interrupted {
                        idle: idle.load(Ordering::Relaxed),
                    },
                    answer => answer,
                };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        }
    }
}

/// Ctrl-C, which remembers whether there was anything to clear.
struct Interrupt {
    idle: Arc<AtomicBool>,
}

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        self.idle
            .store(context.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

type LineEditor = Editor<Typing, DefaultHistory>;

fn editor(typing: Typing, color: bool, history_rows: usize) -> rustyline::Result<LineEditor> {
    let behavior = match io::stdout().is_terminal() {
        true => Behavior::Stdio,
        // Standard output carries data: the prompt goes to the terminal itself.
        false => Behavior::PreferTerm,
    };
    let config = Config::builder()
        .behavior(behavior)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .completion_prompt_limit(LISTED_MAX)
        .bell_style(BellStyle::None)
        .color_mode(match color {
            true => ColorMode::Forced,
            false => ColorMode::Disabled,
        })
        .max_history_size(history_rows)?
        .build();
    let mut editor = LineEditor::with_config(config)?;
    editor.history_mut().set_max_len(history_rows)?;
    editor.set_helper(Some(typing));
    // The screen is redrawn in one write; terminals that know no synchronized update print it.
    editor.enable_synchronized_output(false);
    Ok(editor)
}

/// Reads a line. A defect of the editor ends the line, not the shell.
fn line(editor: &mut LineEditor, mut prompt: Prompt) -> Answer {
    if let Some(typing) = editor.helper_mut() {
        typing.set_before(std::mem::take(&mut prompt.before));
    }
    if prompt.initial.len() > INITIAL_BYTES_MAX {
        return Answer::Line(prompt.initial);
    }
    let read = catch_unwind(AssertUnwindSafe(|| {
        editor.readline_with_initial(prompt.text, (&prompt.initial, ""))
    }));
    match read {
        Ok(Ok(line)) => Answer::Line(line),
        Ok(Err(ReadlineError::Interrupted)) => Answer::Interrupted { idle: false },
        Ok(Err(ReadlineError::Eof)) => Answer::End,
        Ok(Err(ReadlineError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::Failed("the line is not UTF-8".into())
        }
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed("the line editor failed on this line".into()),
    }
}
