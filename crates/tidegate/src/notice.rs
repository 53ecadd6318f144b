//! What a user should know although nothing failed: a dialect that was guessed, a file that was
//! skipped, rows that were rejected.

use std::fmt;

/// The kind of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// Something was decided for the user.
    Info,
    /// Something was left out of the answer, as the user allowed.
    Warning,
}

/// One line for standard error or a log. Never needed to understand the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub kind: NoticeKind,
    /// One line, lower case, no full stop.
    pub message: String,
}

impl Notice {
    pub(crate) fn info(message: String) -> Self {
        Self {
            kind: NoticeKind::Info,
            message,
        }
    }

    pub(crate) fn warning(message: String) -> Self {
        Self {
            kind: NoticeKind::Warning,
            message,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            NoticeKind::Info => "note",
            NoticeKind::Warning => "warning",
        };
        write!(f, "{word}: {}", self.message)
    }
}
