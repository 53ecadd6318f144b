//! A panic is a defect of this program: it is told in one line, and the process ends with the code
//! of a failure instead of a trace.

use std::panic::{PanicHookInfo, UnwindSafe, catch_unwind, set_hook};

use crate::console;
use crate::exit::Exit;

/// Runs the program; a panic in it is a failure.
pub(crate) fn guard(program: impl FnOnce() -> Exit + UnwindSafe) -> Exit {
    // Whoever asks for traces wants the usual ones.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        set_hook(Box::new(tell));
    }
    catch_unwind(program).unwrap_or(Exit::Failed)
}

fn tell(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("no message");
    // The query ends with an error of its own: arrow has no room for so much text in a batch.
    if what.contains("offset overflow") {
        return;
    }
    let place = match info.location() {
        Some(place) => format!(" ({}:{})", place.file(), place.line()),
        None => String::new(),
    };
    let line = what.lines().next().unwrap_or_default();
    console::message(&format!(
        "error: a defect of tidegate: {line}{place}\nhelp: please report it, with the statement"
    ));
}
