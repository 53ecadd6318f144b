//! The terminal's own mode, to put it back when the process ends while a line is being edited.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Ends the marking of pastes.
const PASTE_MARKS_OFF: &[u8] = b"\x1b[?2004l\r\n";

/// The mode that the terminal had at the start; nothing where there is no terminal.
pub(crate) struct Terminal {
    mode: Option<Termios>,
}

impl Terminal {
    /// Remembers the mode.
    pub(crate) fn save() -> Self {
        Self {
            mode: tcgetattr(io::stdin()).ok(),
        }
    }

    /// Puts it back. A terminal that is gone cannot be, and need not be.
    pub(crate) fn restore(&self) {
        let Some(mode) = &self.mode else { return };
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, mode);
        if io::stdout().is_terminal() && !crate::console::is_dumb() {
            let _ = io::stdout().write_all(PASTE_MARKS_OFF);
            let _ = io::stdout().flush();
        }
    }
}
