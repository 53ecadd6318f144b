//! What the tests of the other crates share. Knows none of them.

pub mod random;
pub mod slt;
