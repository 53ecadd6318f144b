//! Bits that look like chance and follow from other bits, on every machine: the finalizer of SplitMix64 (Steele, Lea and
//! Flood, "Fast splittable pseudorandom number generators", 2014).

/// What the generator adds to its state from number to number.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number after so many steps from a seed.
pub fn nth(seed: u64, steps: u64) -> u64 {
    mixed(seed.wrapping_add(steps.wrapping_mul(STEP)))
}

/// The number of a state.
///
/// ```
/// use tidegate_operators::split_mix::{STEP, mixed};
///
/// assert_eq!(mixed(STEP), 0xe220_a839_7b1d_cdaf);
/// ```
pub fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
