//! Room for recursion: the parser and the planner walk trees by recursion, and the stack of a
//! thread we did not start may be small.

use super::error::{Code, Error, Result};

/// What one level of nesting may take of the stack in an unoptimised build.
const LEVEL_BYTES: usize = 192 << 10;
/// What one link of a long chain (`a OR b OR …`) may take, before it is balanced.
const LINK_BYTES: usize = 8 << 10;
/// What any thread has left to give.
const SMALL_BYTES: usize = 1 << 20;

/// Runs `work` where `nesting` levels and `links` of a chain fit on the stack: here when
/// that is little, else on a thread of its own. The memory is reserved, not used.
pub(crate) fn with_room<T: Send>(
    nesting: usize,
    links: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let needed = (nesting + 4) * LEVEL_BYTES + links * LINK_BYTES;
    if needed <= SMALL_BYTES {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("tidegate-sql".to_string())
            .stack_size(needed + SMALL_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| {
                Error::new(
                    Code::Resources,
                    format!("no thread could be started to read this statement: {error}"),
                )
            })?;
        thread.join().unwrap_or_else(|_| Err(defect()))
    })
}

/// What the user sees of a panic inside the parser or the planner.
pub(crate) fn defect() -> Error {
    Error::new(Code::Defect, "this statement met a defect of the planner")
        .hint("please report it with the statement")
}
