//! The one error of this crate: what went wrong in one line, which file it is about, and what to do next.

use std::fmt;

/// Why a path could not become a table, or a name could not be found.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// What the caller can act on.
    pub kind: Kind,
    /// One line, lower case, user input in backticks.
    pub message: String,
    /// The file the message is about, as the user would write it.
    pub file: Option<String>,
    /// What to do next, if there is something.
    pub hint: Option<String>,
    /// The error below, if one was wrapped.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The path or name does not exist: correct it.
    NotFound,
    /// Several things answer to the name: say which.
    Ambiguous,
    /// The name is taken: choose another or replace it.
    Exists,
    /// The sandbox forbids it: nothing in SQL can loosen that.
    Denied,
    /// Understood and refused: the hint names the way out.
    Unsupported,
    /// A path, pattern or reader option is malformed: correct it.
    Invalid,
    /// The files do not fit together as one table.
    Schema,
    /// A file cannot be read as what it claims to be.
    Corrupt,
    /// A file is not what it was when the query was planned: run it again.
    Changed,
    /// A limit of the catalog was reached.
    Limit,
    /// The operating system or the object store failed: a retry may help.
    Io,
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. Control characters in the message are escaped, so it stays one line.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: one_line(message.into()),
            file: None,
            hint: None,
            source: None,
        }
    }

    /// Names the file the error is about.
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(hint.into()));
        self
    }

    /// Keeps the error below for logs.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error once more, without the one below.
    pub(crate) fn again(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            file: self.file.clone(),
            hint: self.hint.clone(),
            source: None,
        }
    }

    /// A failed file system call on `path`, in words.
    pub fn io(path: &str, error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (kind, what) = match error.kind() {
            ErrorKind::NotFound => (Kind::NotFound, "does not exist".to_owned()),
            ErrorKind::PermissionDenied => {
                (Kind::Io, "cannot be read: permission denied".to_owned())
            }
            ErrorKind::NotADirectory => (
                Kind::NotFound,
                "does not exist: a part of it is a file".to_owned(),
            ),
            _ => (Kind::Io, format!("cannot be read: {}", plain_io(&error))),
        };
        Self::new(kind, format!("`{path}` {what}"))
            .file(path)
            .caused_by(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// The operating system's words without its error number.
fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

fn one_line(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| {
                if c.is_control() {
                    c.escape_default().collect::<Vec<_>>()
                } else {
                    vec![c]
                }
            })
            .collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_always_one_line() {
        let error = Error::new(Kind::NotFound, "no `a\nb`").hint("try\tthis");
        assert_eq!(error.to_string(), "no `a\\nb`");
        assert_eq!(error.hint.as_deref(), Some("try\\tthis"));
    }

    #[test]
    fn io_errors_are_said_in_words() {
        let error = Error::io("x.csv", std::io::Error::from_raw_os_error(5));
        assert_eq!(
            error.to_string(),
            "`x.csv` cannot be read: input/output error"
        );
        assert_eq!(error.kind, Kind::Io);
    }
}
