//! The screen as a writer: what fits is printed, what is taller or wider goes through a pager. What
//! does not fit is known once a screenful has come, so that a long result is paged as it comes.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use unicode_width::UnicodeWidthStr;

use crate::console::{self, Stdout};

/// The pager where `$PAGER` does not name one: it keeps colours, does not wrap, and leaves what it
/// showed on the screen.
const PAGER: &str = "less -SRFX";
/// What is kept to print it plainly should the pager not start.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Lines of the screen that the prompt needs.
const PROMPT_LINES: usize = 1;

/// When a pager is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// When the text does not fit.
    Auto,
    /// For every result.
    Always,
    /// For none.
    Never,
}

impl Paging {
    /// As the setting `pager` has it; a terminal without control sequences has no pager.
    pub(crate) fn of_setting(word: &str, terminals: bool) -> Self {
        match word {
            _ if !terminals || console::is_dumb() => Paging::Never,
            "always" => Paging::Always,
            "never" => Paging::Never,
            _ => Paging::Auto,
        }
    }
}

/// A writer to the screen. Must be finished.
pub(crate) struct Screen {
    rows: usize,
    columns: usize,
    lines: usize,
    state: State,
}

enum State {
    /// Goes straight to standard output.
    Plain,
    /// Not decided yet.
    Held(Vec<u8>),
    /// Goes to a pager; the start is kept.
    Paged { child: Child, kept: Vec<u8> },
    /// The reader left.
    Closed,
}

impl Screen {
    /// A screen of the size that the terminal has now.
    pub(crate) fn new(paging: Paging) -> Self {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let told = |size: Option<u16>| usize::from(size.unwrap_or(0));
        let rows = told(size.map(|size| size.ws_row));
        let columns = told(size.map(|size| size.ws_col));
        let mut screen = Self {
            rows,
            columns,
            lines: 0,
            state: State::Held(Vec::new()),
        };
        match paging {
            Paging::Auto if rows > 0 && columns > 0 => {}
            Paging::Always => screen.page(Vec::new()),
            _ => screen.state = State::Plain,
        }
        screen
    }

    /// Whether a table may be shown in a pager, so that it need not leave out rows: one that would
    /// leave some out (`cut`), else by the `lines` it has and the `columns` it is fitted to.
    pub(crate) fn pages(&self, cut: bool, lines: usize, columns: usize) -> bool {
        match self.state {
            State::Paged { .. } => true,
            State::Held(_) => cut || lines + PROMPT_LINES > self.rows || columns > self.columns,
            State::Plain | State::Closed => false,
        }
    }

    /// Shows what is held and waits until the user has left the pager.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let State::Held(held) = &mut self.state {
            let held = std::mem::take(held);
            match width(&held) > self.columns {
                true => self.page(held),
                false => self.state = plainly(&held)?,
            }
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Paged { mut child, kept } => {
                drop(child.stdin.take());
                match child.wait()?.code() {
                    Some(126 | 127) => plainly(&kept).map(|_| ()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Starts the pager on what is held; without one, prints.
    fn page(&mut self, held: Vec<u8>) {
        let named = std::env::var("PAGER").ok().filter(|p| !p.trim().is_empty());
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(named.as_deref().unwrap_or(PAGER))
            .stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", "SRFX");
        }
        self.state = match command.spawn() {
            Ok(child) => State::Paged {
                child,
                kept: Vec::new(),
            },
            Err(_) => State::Plain,
        };
        // A pager that has left already is found out by the next write.
        let _ = self.write_all(&held);
    }

    /// Whether the text went to a pager, so that a broken pipe only says that the user left it.
    pub(crate) fn is_paged(&self) -> bool {
        matches!(self.state, State::Paged { .. })
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Plain => Stdout.write(bytes),
            State::Closed => Err(io::ErrorKind::BrokenPipe.into()),
            State::Held(held) => {
                held.extend_from_slice(bytes);
                self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
                if self.lines + PROMPT_LINES > self.rows {
                    let held = std::mem::take(held);
                    self.page(held);
                }
                Ok(bytes.len())
            }
            State::Paged { child, kept } => {
                let room = KEPT_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
                match &mut child.stdin {
                    Some(pipe) => pipe.write(bytes),
                    None => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Paged { child, .. } => child.stdin.as_mut().map_or(Ok(()), Write::flush),
            _ => Ok(()),
        }
    }
}

impl Drop for Screen {
    /// A result that failed half-way: what came of it stays in the pager until the user leaves.
    fn drop(&mut self) {
        if let State::Paged { child, .. } = &mut self.state {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn plainly(text: &[u8]) -> io::Result<State> {
    Stdout.write_all(text)?;
    Ok(State::Plain)
}

/// The columns of the widest line, control sequences not counted.
fn width(text: &[u8]) -> usize {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .map(|line| plain(line).width())
        .max()
        .unwrap_or(0)
}

/// A line without its colours.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_no_width() {
        assert_eq!(width("\x1b[1;36mab\x1b[0mc\nd".as_bytes()), 3);
        assert_eq!(width("größe│".as_bytes()), 6);
        assert_eq!(width(b""), 0);
    }
}
