//! What the editor asks while a line is typed: colours, a hint, completions.

use std::borrow::Cow;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::SearchDirection;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Context, Helper};

use super::complete::{self, Names};
use super::highlight;

/// Texts of more lines keep the colours they had when they came.
const REDRAWN_LINES_MAX: usize = 20;
const PROMPT: &str = "\x1b[1;32m";
const DIM: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";

/// Knows the line that is typed and what it may name.
pub(crate) struct Typing {
    names: Names,
    color: bool,
    before: String,
}

impl Typing {
    pub(crate) fn new(names: Names, color: bool) -> Self {
        Self {
            names,
            color,
            before: String::new(),
        }
    }

    /// Starts a line; `before` is what earlier lines of the statement hold. What was learnt of
    /// tables is forgotten: a statement may have changed them.
    pub(crate) fn set_before(&mut self, before: String) {
        if before.is_empty() {
            self.names.forget();
        }
        self.before = before;
    }
}

impl Helper for Typing {}
impl Validator for Typing {}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = complete::complete(&self.before, line, pos, &self.names);
        let pair = |found: complete::Candidate| Pair {
            display: found.shown,
            replacement: found.text,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

/// The rest of an entry of the history.
pub(crate) struct Rest {
    first_line: String,
    all: String,
}

impl Hint for Rest {
    fn display(&self) -> &str {
        &self.first_line
    }

    fn completion(&self) -> Option<&str> {
        Some(&self.all)
    }
}

impl Hinter for Typing {
    type Hint = Rest;

    /// The youngest entry of the history that starts with the line. Without colour a hint would
    /// look as if it had been typed, so there is none.
    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<Rest> {
        if !self.color || pos < line.len() || line.trim().len() < 2 || !self.before.is_empty() {
            return None;
        }
        let history = context.history();
        let last = history.len().checked_sub(1)?;
        let found = history
            .starts_with(line, last, SearchDirection::Reverse)
            .ok()??;
        let all = found.entry.get(pos..)?.to_string();
        let mut first_line = all.lines().next().unwrap_or("").to_string();
        if first_line.len() < all.len() {
            first_line.push_str(" …");
        }
        (!all.is_empty()).then_some(Rest { first_line, all })
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        highlight::coloured(&self.before, line)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let colour = if self.before.is_empty() { PROMPT } else { DIM };
        Cow::Owned(format!("{colour}{prompt}{PLAIN}"))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("{DIM}{hint}{PLAIN}"))
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        Cow::Borrowed(candidate)
    }

    /// A key can change the colour of all that follows; moving the cursor changes none. A text
    /// that is taller than most screens is not drawn again for each key.
    fn highlight_char(&self, line: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
            && line.len() <= highlight::COLOURED_BYTES_MAX
            && line.matches('\n').count() < REDRAWN_LINES_MAX
    }
}
