//! Links the program at a fixed address on Linux. Loaded anywhere else, 4 MB of its tables of addresses would have to
//! be rewritten before `main`, by every start: a third of the time and 5 MiB of the memory of `select 1`. The stack,
//! the heap and shared libraries still lie at random addresses. `TIDEGATE_PIE=1` at build time links it to load at
//! random addresses as a whole.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-env-changed=TIDEGATE_PIE");
    let is = |name, value| var(name).is_ok_and(|found| found == value);
    let can_be_fixed = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if can_be_fixed && !is("TIDEGATE_PIE", "1") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
