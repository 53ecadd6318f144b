//! Why a call of the shell did not do what it was asked to.

use std::io;

use tidegate::{Error, ErrorKind};

use crate::console::Stopped;
use crate::exit::Exit;
use crate::run;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Flags, paths or configuration are wrong.
    Usage(Error),
    /// A statement failed, or reading or writing did.
    Failed(Error),
    /// The reader of standard output went away: nobody is left to be told.
    ReaderGone,
}

impl Failure {
    /// A wrong call, in one line.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Failure::Usage(Error::new(ErrorKind::Usage, code, message))
    }

    /// Adds what to do next.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Failure::Usage(error) => Failure::Usage(error.with_hint(hint)),
            Failure::Failed(error) => Failure::Failed(error.with_hint(hint)),
            Failure::ReaderGone => Failure::ReaderGone,
        }
    }

    /// Reading or writing `what` failed.
    pub(crate) fn io(what: &str, error: io::Error) -> Self {
        let message = format!("{what}: {}", describe(&error));
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Limit,
            _ => ErrorKind::Io,
        };
        Failure::Failed(Error {
            source: Some(Box::new(error)),
            ..Error::new(kind, "io", message)
        })
    }

    /// Writing to standard output failed.
    pub(crate) fn stdout(error: io::Error) -> Self {
        let stopped = error.get_ref().is_some_and(|inner| inner.is::<Stopped>());
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ if stopped => run::interrupted(),
            _ => Self::io("cannot write to standard output", error),
        }
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            Failure::Failed(error) => Exit::of(error.kind),
            Failure::ReaderGone => Exit::Done,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

/// What went wrong, in lower case and without the number of the system call's error.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "it failed".into(),
    }
}
