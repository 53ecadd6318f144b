//! What can be wrong with a CSV file or with what was said about it, and where.

use std::fmt;
use std::sync::Arc;

use crate::rejects::{self, Reject};

/// A fault of a file or of its options. `Display` gives one line: where, what, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What sort of fault it is.
    pub kind: Kind,
    /// The file it is in.
    pub file: Arc<str>,
    /// Physical line, from 1, where there is one.
    pub line: Option<u64>,
    /// The column at fault.
    pub column: Option<Arc<str>>,
    /// The record, or the line, as it stands in the file.
    pub text: Box<str>,
    /// What is wrong, one line.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<Box<str>>,
}

/// The sorts of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value does not fit its column's type: name another type, or skip the row.
    Cast,
    /// A record has too few or too many fields.
    Ragged,
    /// A quote never closes, or text follows a closing quote.
    Quote,
    /// A record is longer than `max_line_size`.
    TooLong,
    /// The bytes are not of the encoding: say which it is.
    Encoding,
    /// The dialect is not evident: the user must say it.
    Unsure,
    /// An option is not usable.
    Option,
}

impl Error {
    pub(super) fn new(kind: Kind, file: &Arc<str>, reason: impl Into<String>) -> Self {
        Self {
            kind,
            file: Arc::clone(file),
            line: None,
            column: None,
            text: "".into(),
            reason: reason.into(),
            hint: None,
        }
    }

    pub(super) fn option(file: &str, reason: impl Into<String>) -> Self {
        Self::new(Kind::Option, &Arc::from(file), reason)
    }

    pub(super) fn at(mut self, line: u64, text: &[u8]) -> Self {
        self.line = Some(line);
        self.text = String::from_utf8_lossy(text).into();
        self
    }

    pub(super) fn column(mut self, column: &str) -> Self {
        self.column = Some(column.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault as a row that was left out.
    pub fn into_reject(self) -> Reject {
        Reject {
            file: self.file,
            line: self.line.unwrap_or(0),
            column: self.column,
            text: self.text.into(),
            reason: self.reason,
            kind: match self.kind {
                Kind::Cast => rejects::Kind::Value,
                Kind::Ragged => rejects::Kind::Fields,
                Kind::Quote => rejects::Kind::Quote,
                Kind::TooLong => rejects::Kind::TooLong,
                Kind::Encoding => rejects::Kind::Encoding,
                Kind::Unsure | Kind::Option => rejects::Kind::Record,
            },
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}
