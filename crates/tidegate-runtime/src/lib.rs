//! Running a graph of stages: which query and which task comes next, the pool of threads that
//! compute, budgets of memory and disk, cancellation and progress.
//!
//! This crate orders work; it never looks inside a batch and never plans.

pub mod admission;
pub mod budget;
pub mod gate;
pub mod pool;
pub mod progress;
pub mod run;
pub mod scheduler;
pub mod staged;

pub use gate::{Gate, Place, Refused};
pub use pool::CpuPool;
pub use progress::{Counters, ScanTotals};
pub use run::{Running, run};
pub use staged::{Damage, Durable, Fault, StagedQuery, TaskProgress, Worker, run_staged};
