//! Campaigns against the store of jobs: every call of a job's life fails or is the last one, every bit of its
//! directory is flipped, real processes are killed, and ten thousand tasks are found again.
//!
//! `cargo test` takes some seconds; `TIDEGATE_CAMPAIGN=n cargo test --workspace --test jobs` tries n random lives,
//! n random damages and n kills, and `TIDEGATE_SEED=7` others.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod damage;
mod faults;
mod life;
mod many;
mod real;

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seed of everything that is random.
fn seed() -> u64 {
    number("TIDEGATE_SEED").unwrap_or(20_261_128)
}

/// How many random cases are tried.
fn cases(without: u64) -> u64 {
    number("TIDEGATE_CAMPAIGN").unwrap_or(without)
}
