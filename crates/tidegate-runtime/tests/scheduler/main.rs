//! Random lives of random jobs: workers that come and go, attempts that fail in each way, output that
//! is lost, and messages that come late, twice, out of order or never. After every step a model of
//! its own looks whether a task was lost, doubled or run too early; and every job must end.
//!
//! `cargo test` tries 5,000; `TIDEGATE_CAMPAIGN=100000 cargo test --workspace --test scheduler` tries
//! 100,000, `TIDEGATE_SEED=7` others, and `TIDEGATE_CASE=123` that one alone, with all it did.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod model;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_testing::random::Random;
use world::World;

const CASES: u64 = 5_000;
const SEED: u64 = 20_260_718;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_order_of_events_loses_doubles_or_stops_a_task() {
    let seed = number("TIDEGATE_SEED").unwrap_or(SEED);
    let alone = number("TIDEGATE_CASE");
    let cases = match alone {
        Some(case) => case..case + 1,
        None => 0..number("TIDEGATE_CAMPAIGN").unwrap_or(CASES),
    };
    let begin = Instant::now();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let total = cases.end - cases.start;
    for case in cases {
        let mut world = World::new(Random::of_case(seed, case));
        let end = world.run();
        if alone.is_some() {
            world.log.iter().for_each(|line| eprintln!("{line}"));
        }
        let end = end.unwrap_or_else(|what| {
            panic!("TIDEGATE_SEED={seed} TIDEGATE_CASE={case}: {what}");
        });
        *counts.entry(format!("ended by {end}")).or_default() += 1;
        for (what, count) in &world.counts {
            *counts.entry(what.to_string()).or_default() += count;
        }
    }
    eprintln!(
        "{total} lives of jobs, seed {seed}, {:.1?}",
        begin.elapsed()
    );
    for (what, count) in &counts {
        eprintln!("{count:>10} {what}");
    }
    assert!(
        alone.is_some() || counts["ended by Finished"] * 2 > total,
        "most jobs finish"
    );
}
