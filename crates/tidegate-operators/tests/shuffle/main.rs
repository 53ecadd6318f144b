//! Shuffles in both forms: the same rows in the same partitions, whether they stream or are sealed into files.
#![allow(clippy::unwrap_used)]

mod codec;
mod columns;
mod forms;
mod hash;
mod limits;
mod matrix;
mod sealed;
