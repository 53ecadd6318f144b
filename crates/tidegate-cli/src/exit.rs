//! Exit codes, in one place: what a script that calls the shell can rely on.

use std::process::ExitCode;

use tidegate::ErrorKind;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done.
    Done,
    /// A statement failed, or reading or writing did.
    Failed,
    /// The call itself is wrong: flags, paths, configuration.
    Usage,
    /// A durable job stopped before its end, and can be taken up again.
    Resumable,
    /// A limit was reached: memory, disk or time.
    Limit,
    /// The sandbox forbids it.
    Denied,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// The reader of the output went away while statements were still to be run.
    ReaderGone,
}

impl Exit {
    /// The code that an error of this kind ends the process with.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Limit => Exit::Limit,
            ErrorKind::Denied => Exit::Denied,
            ErrorKind::Cancelled => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }

    /// How a durable job ends that an error of this kind has stopped.
    pub(crate) fn of_job(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Limit | ErrorKind::Cancelled | ErrorKind::Io => Exit::Resumable,
            other => Exit::of(other),
        }
    }

    /// The number the caller sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Resumable => 3,
            Exit::Limit => 4,
            Exit::Denied => 5,
            Exit::Interrupted => 130,
            Exit::ReaderGone => 141,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
