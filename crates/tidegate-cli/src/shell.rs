//! What a run of SQL and the REPL share: the streams, the signals, the log.

use tidegate::Settings;

use crate::console::Console;
use crate::log::Log;
use crate::render::Look;
use crate::signals::Signals;

/// What a run of SQL and the REPL share.
pub(crate) struct Shell {
    /// The streams.
    pub(crate) console: Console,
    /// Ctrl-C and its kin.
    pub(crate) signals: Signals,
    /// The log, if one was asked for.
    pub(crate) log: Option<Log>,
}

impl Shell {
    /// How results look on standard output.
    pub(crate) fn look(&self, settings: &Settings) -> Look {
        let console = &self.console;
        Look {
            width: console.stdout_terminal.then(|| console.width()),
            color: console.stdout_color,
            ..Look::full(settings)
        }
    }
}
