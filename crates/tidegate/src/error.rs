//! The one error of the public API: a kind a caller can act on, a stable code, one clear line, and
//! where it can be told the place in the SQL text and the way out.

use std::ops::Range;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The SQL text is wrong, or asks for what is not supported: change the text.
    Sql,
    /// A name, path, option or setting is wrong: change the call.
    Usage,
    /// The data is not what the query needs (a bad cast, a corrupt file): look at the named file.
    Data,
    /// Reading or writing failed: the message names the path; it may be worth trying again.
    Io,
    /// An input changed while it was being read: run the query again.
    InputChanged,
    /// A limit was reached (memory, temporary disk, time): raise it or ask for less.
    Limit,
    /// The sandbox forbids it: it cannot be loosened from SQL.
    Denied,
    /// The query was cancelled, by its handle or by dropping its stream.
    Cancelled,
    /// A defect of this program; please report it.
    Bug,
}

/// An error as the user sees it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// A stable, machine-readable code such as `unknown_column`.
    pub code: &'static str,
    /// One line: what is wrong. Lower case, no full stop.
    pub message: String,
    /// The place in the SQL text, in bytes from the start of the text that was handed in.
    pub span: Option<Range<usize>>,
    /// One line: what to do next.
    pub hint: Option<String>,
    /// The error underneath, for logs.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind with a stable code and a message.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            span: None,
            hint: None,
            source: None,
        }
    }

    /// Adds what to do next.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) fn at(self, span: &Option<Range<usize>>) -> Self {
        Self {
            span: span.clone(),
            ..self
        }
    }

    /// Adds the place in the SQL text, in bytes.
    pub fn with_span(self, span: Range<usize>) -> Self {
        Self {
            span: Some(span),
            ..self
        }
    }
}
