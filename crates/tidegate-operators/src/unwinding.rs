//! Decoders of other hands panic on some damaged files. Such a panic is caught, and becomes an error
//! that names the file; nothing is printed for it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic on this thread is caught by [`catch`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decode`; None when it panics.
pub fn catch<T>(decode: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    // The hook that is there keeps telling of every other panic.
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                before(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    CAUGHT.set(outer);
    decoded.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn a_panic_inside_is_none_and_the_next_one_outside_is_told() {
        assert_eq!(catch(|| 1), Some(1));
        assert_eq!(catch(|| -> i32 { panic!("damaged") }), None);
        assert_eq!(catch(|| catch(|| -> i32 { panic!("inner") })), Some(None));
        assert!(!CAUGHT.get());
    }
}
