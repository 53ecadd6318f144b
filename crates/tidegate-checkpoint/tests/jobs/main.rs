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

/// Numbers that come out the same for the same seed and case (SplitMix64).
struct Random(u64);

impl Random {
    fn of_case(seed: u64, case: u64) -> Self {
        let mut first = Self(seed ^ case.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(first.bits())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }
}
