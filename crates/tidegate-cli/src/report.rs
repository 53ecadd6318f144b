//! Errors and notices on standard error: one line of what, a caret into the SQL, what to do next;
//! or one JSON object a line.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;
use tidegate::{Error, ErrorKind, Notice, NoticeKind, masked, redacted};

use crate::console::{Console, ErrorForm, Loudness};
use crate::failure::Failure;
use crate::render::visible;

/// The widest line of SQL that is shown around a caret, where no terminal is narrower.
const SNIPPET_WIDTH: usize = 120;
/// The narrowest; less would show nothing of the line.
const SNIPPET_WIDTH_MIN: usize = 20;

/// A text that errors point into: a file, an argument, standard input.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its name: a path, `-c` or `stdin`.
    pub(crate) name: String,
    /// What it says.
    pub(crate) text: String,
}

/// Writes a failure to standard error. A reader that went away is not told anything.
pub(crate) fn failure(console: &Console, failure: &Failure, source: Option<&Source>) {
    match failure {
        Failure::Usage(error) | Failure::Failed(error) => self::error(console, error, source),
        Failure::ReaderGone => {}
    }
}

/// Writes an error to standard error.
pub(crate) fn error(console: &Console, error: &Error, source: Option<&Source>) {
    let text = match console.errors {
        ErrorForm::Text => {
            let width = console.stderr_width().unwrap_or(SNIPPET_WIDTH);
            let width = width.clamp(SNIPPET_WIDTH_MIN, SNIPPET_WIDTH);
            error_text(error, source, console.stderr_color, width)
        }
        ErrorForm::Json => error_json(error, source),
    };
    console.message(&text);
}

/// Writes a notice to standard error, unless it is to be quiet.
pub(crate) fn notice(console: &Console, notice: &Notice) {
    if console.loudness != Loudness::Quiet {
        said(console, notice);
    }
}

fn said(console: &Console, notice: &Notice) {
    let word = match notice.kind {
        NoticeKind::Warning => "warning",
        _ => "note",
    };
    let message = redacted(&notice.message);
    console.message(&match console.errors {
        ErrorForm::Text => {
            let message = visible(&message);
            format!("{}: {message}", paint(word, console.stderr_color))
        }
        ErrorForm::Json => json!({ "level": word, "message": message }).to_string(),
    });
}

/// Writes a note to standard error, unless it is to be quiet.
pub(crate) fn note(console: &Console, message: String) {
    let kind = NoticeKind::Info;
    notice(console, &Notice { kind, message });
}

/// Writes a note to standard error, even if it is to be quiet.
pub(crate) fn loud_note(console: &Console, message: String) {
    let kind = NoticeKind::Info;
    said(console, &Notice { kind, message });
}

/// Writes a warning to standard error, unless it is to be quiet.
pub(crate) fn warning(console: &Console, message: &str) {
    let warning = Notice {
        kind: NoticeKind::Warning,
        message: message.into(),
    };
    notice(console, &warning);
}

/// An error as a person reads it, without the last new line.
pub(crate) fn error_text(
    error: &Error,
    source: Option<&Source>,
    color: bool,
    width: usize,
) -> String {
    let renderer = match color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let message = redacted(&error.message);
    let message = visible(&message);
    let mut group = Group::with_title(Level::ERROR.primary_title(message.as_ref()));
    let clean;
    if let (Some(source), Some(span)) = (source, &error.span) {
        clean = printable(&masked(&source.text));
        let span = clamp(&clean, span);
        let snippet = Snippet::source(clean.as_str())
            .path(source.name.as_str())
            .annotation(AnnotationKind::Primary.span(span));
        group = group.element(snippet);
    }
    let text = renderer.term_width(width).render(&[group]);
    match &error.hint {
        Some(hint) => {
            let hint = redacted(hint);
            format!("{text}\n{}: {}", paint("help", color), visible(&hint))
        }
        None => text,
    }
}

fn error_json(error: &Error, source: Option<&Source>) -> String {
    let place = match (source, &error.span) {
        (Some(source), Some(span)) => Some(place(&source.text, span)),
        _ => None,
    };
    json!({
        "level": "error",
        "code": error.code,
        "kind": kind_word(error.kind),
        "message": redacted(&error.message),
        "hint": error.hint.as_deref().map(redacted),
        "file": source.map(|source| source.name.as_str()),
        "line": place.map(|(line, _)| line),
        "column": place.map(|(_, column)| column),
        "span": error.span.as_ref().map(|span| [span.start, span.end]),
    })
    .to_string()
}

fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Sql => "sql",
        ErrorKind::Usage => "usage",
        ErrorKind::Data => "data",
        ErrorKind::Io => "io",
        ErrorKind::InputChanged => "input_changed",
        ErrorKind::Limit => "limit",
        ErrorKind::Denied => "denied",
        ErrorKind::Cancelled => "cancelled",
        _ => "bug",
    }
}

fn paint(word: &str, color: bool) -> String {
    let style = match word {
        "warning" => "\x1b[1;33m",
        "help" => "\x1b[1;36m",
        _ => "\x1b[1;32m",
    };
    match color {
        true => format!("{style}{word}\x1b[0m"),
        false => word.to_string(),
    }
}

/// Line and column, both from 1, of the start of a span; the column counts characters.
fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let start = clamp(text, span).start;
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[line_start..].chars().count() + 1)
}

/// The text with every control character replaced by one of the same length, so that spans hold
/// and the terminal is left alone.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_ascii_control() => '?',
            c => c,
        })
        .collect()
}

/// The span, cut to the text and to whole characters.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str, span: Range<usize>, expect: &str) {
        let error = Error::new(ErrorKind::Sql, "unknown_column", "no column `b`")
            .with_span(span)
            .with_hint("did you mean `a`?");
        let source = Source {
            name: "q.sql".into(),
            text: text.into(),
        };
        assert_eq!(
            error_text(&error, Some(&source), false, SNIPPET_WIDTH),
            expect
        );
    }

    #[test]
    fn a_caret_points_into_the_line_of_the_file() {
        check(
            "select 1;\nselect b",
            17..18,
            "error: no column `b`\n --> q.sql:2:8\n  |\n2 | select b\n  |        ^\nhelp: did you mean `a`?",
        );
    }

    #[test]
    fn secrets_are_masked_and_carets_stay() {
        let sql = "select * from 'https://me:pw@h/a?sig=abc' whre";
        let start = sql.find("whre").unwrap_or_default();
        check(
            sql,
            start..start + 4,
            "error: no column `b`\n --> q.sql:1:43\n  |\n1 | select * from 'https://*****@h/a?sig=***' whre\n  |                                           ^^^^\nhelp: did you mean `a`?",
        );
    }

    #[test]
    fn the_excerpt_is_as_wide_as_the_terminal() {
        let text = format!("select {} b from t", "a, ".repeat(100));
        let at = text.find(" b ").unwrap() + 1;
        let error = Error::new(ErrorKind::Sql, "x", "no").with_span(at..at + 1);
        let source = Source {
            name: "q.sql".into(),
            text,
        };
        for width in [20, 40, 80] {
            let text = error_text(&error, Some(&source), false, width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{width}: {text}");
        }
    }

    #[test]
    fn a_span_outside_of_the_text_is_cut_to_it() {
        let backwards = Range { start: 8, end: 7 };
        for span in [0..100, 100..200, 7..8, backwards] {
            let error = Error::new(ErrorKind::Sql, "x", "x").with_span(span);
            for text in ["", "é", "select é\u{1b}[2J", "a\r\nb"] {
                let source = Source {
                    name: "-c".into(),
                    text: text.into(),
                };
                assert!(
                    !error_text(&error, Some(&source), false, SNIPPET_WIDTH).contains('\u{1b}')
                );
                assert!(error_json(&error, Some(&source)).starts_with('{'));
            }
        }
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        assert_eq!(place("é b", &(3..4)), (1, 3));
        assert_eq!(place("a\nb", &(2..3)), (2, 1));
    }
}
