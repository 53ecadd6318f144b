//! Sums of doubles that are the same in whatever order they are added.
//!
//! The method is that of Demmel and Nguyen, "Parallel Reproducible Summation" (IEEE Transactions on Computers 64, 2015):
//! each number is cut along a fixed grid of bins, and of a sum only the highest bins are kept. Here a bin is an integer of
//! 128 bits that holds 32 bits of each number: it cannot overflow and needs no carries, so that adding is plainly
//! commutative and associative, and dropping a bin drops the same whatever was added before.

/// Bits of a number that go into one bin.
const BIN_BITS: i32 = 32;
/// Bins that are kept. The largest number fills at most the first three; 84 bits below its first bit are kept at least.
const KEPT: usize = 4;
/// The exponent of the last bit of the smallest double.
const LEAST_EXPONENT: i32 = -1074;
const MANTISSA_BITS: u32 = 52;
/// The steps in which a result is scaled.
const SCALE_STEP: i32 = 1000;

/// Bytes of [`Bins::to_bytes`].
pub(super) const STATE_BYTES: usize = 4 + 1 + KEPT * 16;

/// A sum of doubles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bins {
    /// The number of the highest bin; 0 as long as there is none, for the lowest number that anything has is 2.
    top: i32,
    /// From the highest one down.
    bins: [i128; KEPT],
    special: u8,
}

const NAN: u8 = 1;
const INFINITY: u8 = 2;
const NEGATIVE_INFINITY: u8 = 4;

impl Bins {
    /// Adds a number.
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = ((bits >> MANTISSA_BITS) & 0x7ff) as i32;
        let fraction = bits & ((1 << MANTISSA_BITS) - 1);
        if exponent == 0x7ff {
            self.special |= match (fraction, value.is_sign_negative()) {
                (0, false) => INFINITY,
                (0, true) => NEGATIVE_INFINITY,
                _ => NAN,
            };
            return;
        }
        // Subnormal numbers have the exponent of the smallest normal ones, and no hidden bit.
        let (shift, mantissa) = match exponent {
            0 => (0, fraction),
            _ => (exponent - 1, fraction | 1 << MANTISSA_BITS),
        };
        if mantissa == 0 {
            return;
        }
        let top = shift / BIN_BITS + 2;
        if top > self.top {
            self.raise(top);
        }
        let below = (self.top - top) as usize;
        if below >= KEPT {
            return;
        }
        let cut = u128::from(mantissa) << (shift % BIN_BITS);
        let sign = 1 - 2 * i128::from(value.is_sign_negative());
        let pieces = [cut >> 64, (cut >> 32) & 0xffff_ffff, cut & 0xffff_ffff];
        for (bin, piece) in self.bins[below..].iter_mut().zip(pieces) {
            *bin += sign * piece as i128;
        }
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        self.special |= other.special;
        if other.top > self.top {
            self.raise(other.top);
        }
        let below = (self.top - other.top) as usize;
        for (bin, added) in self.bins.iter_mut().skip(below).zip(other.bins) {
            *bin += added;
        }
    }

    /// Lets go of the lowest bins, so that there is room at the top.
    #[cold]
    fn raise(&mut self, top: i32) {
        let by = (top - self.top) as usize;
        for at in (0..KEPT).rev() {
            self.bins[at] = at.checked_sub(by).map_or(0, |from| self.bins[from]);
        }
        self.top = top;
    }

    /// The double that is nearest to the sum.
    pub(super) fn value(&self) -> f64 {
        match self.special {
            0 => {}
            INFINITY => return f64::INFINITY,
            NEGATIVE_INFINITY => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        let digits = normal(self.bins);
        if digits[0] < 0 {
            return -self.magnitude(normal(self.bins.map(|bin| -bin)));
        }
        self.magnitude(digits)
    }

    /// The value of digits that are not negative, all but the first of 32 bits.
    fn magnitude(&self, digits: [i128; KEPT]) -> f64 {
        let high = digits[0] as u128;
        let low = digits[1..]
            .iter()
            .fold(0, |low, digit| low << BIN_BITS | *digit as u128);
        let exponent = BIN_BITS * (self.top - KEPT as i32 + 1) + LEAST_EXPONENT;
        // 128 bits from the first one; of the others it matters only whether there are any.
        let dropped = 96_u32.saturating_sub(high.leading_zeros());
        let rest = low & ((1 << dropped) - 1);
        let bits = high << (96 - dropped) | low >> dropped | u128::from(rest != 0);
        scaled(bits as f64, exponent + dropped as i32)
    }

    /// The sum as bytes, to be read by [`Bins::from_bytes`].
    pub(super) fn to_bytes(self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        bytes[..4].copy_from_slice(&self.top.to_le_bytes());
        bytes[4] = self.special;
        for (bin, place) in self.bins.iter().zip(bytes[5..].chunks_exact_mut(16)) {
            place.copy_from_slice(&bin.to_le_bytes());
        }
        bytes
    }

    /// The sum of some bytes, if they are one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (top, rest) = bytes.split_first_chunk::<4>()?;
        let (special, rest) = rest.split_first()?;
        let mut bins = [0; KEPT];
        if rest.len() != KEPT * 16 {
            return None;
        }
        for (bin, place) in bins.iter_mut().zip(rest.chunks_exact(16)) {
            *bin = i128::from_le_bytes(place.try_into().ok()?);
        }
        Some(Self {
            top: i32::from_le_bytes(*top),
            bins,
            special: *special,
        })
    }
}

/// The same number with all bins but the first in 0 .. 2³².
fn normal(mut bins: [i128; KEPT]) -> [i128; KEPT] {
    for at in (1..KEPT).rev() {
        let carry = bins[at] >> BIN_BITS;
        bins[at] -= carry << BIN_BITS;
        bins[at - 1] += carry;
    }
    bins
}

/// `value` · 2^`exponent`, of a value that is 0 or at least 1.
fn scaled(mut value: f64, mut exponent: i32) -> f64 {
    let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << MANTISSA_BITS);
    while exponent.abs() > SCALE_STEP {
        let step = SCALE_STEP * exponent.signum();
        value *= power(step);
        exponent -= step;
    }
    value * power(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testing::random::Random;

    fn sum(values: &[f64]) -> Bins {
        let mut bins = Bins::default();
        values.iter().for_each(|value| bins.add(*value));
        bins
    }

    fn any(random: &mut Random) -> f64 {
        match random.below(8) {
            0 => f64::from_bits(random.bits()),
            1 => f64::from_bits(random.bits() >> 12),
            2 => 0.0,
            3 => -(random.below(1000) as f64) / 10.0,
            _ => random.below(1 << 20) as f64 / 1024.0,
        }
    }

    #[test]
    fn one_number_is_itself() {
        let mut random = Random::new(3);
        let mut values = vec![
            0.0,
            1.0,
            -1.5,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            -f64::from_bits((1 << 52) - 1),
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        values.extend((0..20_000).map(|_| f64::from_bits(random.bits())));
        for value in values.into_iter().filter(|value| !value.is_nan()) {
            assert_eq!(sum(&[value]).value(), value);
            if value.is_finite() {
                assert_eq!(sum(&[value, -value, value]).value(), value);
            }
        }
    }

    #[test]
    fn infinities_and_nan_are_what_they_are() {
        let infinity = f64::INFINITY;
        assert_eq!(sum(&[1.0, infinity, 2.0]).value(), infinity);
        assert_eq!(sum(&[-infinity, -infinity]).value(), -infinity);
        assert!(sum(&[infinity, -infinity]).value().is_nan());
        assert!(sum(&[f64::NAN, 1.0]).value().is_nan());
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), infinity);
        assert_eq!(sum(&[f64::MAX, f64::MAX, f64::MIN]).value(), f64::MAX);
        assert_eq!(sum(&[]).value(), 0.0);
    }

    #[test]
    fn what_plain_sums_lose_is_kept() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]).value(), 0.0);
        assert_eq!(sum(&[1e16, 1.0, -1e16]).value(), 1.0);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum(&vec![0.1; 1_000_000]).value(), 100_000.0);
    }

    /// Sums of integers below 2⁵³ scaled by a power of two are known exactly.
    #[test]
    fn sums_are_rounded_to_the_nearest() {
        let mut random = Random::new(5);
        for case in 0..20_000 {
            let exponent = random.below(40) as i32 - 20;
            let scale = 2_f64.powi(exponent);
            let mut exact = 0_i128;
            let mut bins = Bins::default();
            for _ in 0..random.below(20) {
                let value = (random.bits() >> (11 + random.below(50))) as i64;
                let value = if random.below(2) == 0 { value } else { -value };
                exact += i128::from(value);
                bins.add(value as f64 * scale);
            }
            assert_eq!(bins.value(), exact as f64 * scale, "case {case}");
        }
    }

    #[test]
    fn the_order_and_the_grouping_do_not_matter() {
        let mut random = Random::new(7);
        for case in 0..2_000 {
            let mut values: Vec<f64> = (0..random.below(60)).map(|_| any(&mut random)).collect();
            let one = sum(&values);
            for at in (1..values.len()).rev() {
                values.swap(at, random.below(at + 1));
            }
            let cut = random.below(values.len() + 1);
            let (left, right) = values.split_at(cut);
            let mut merged = sum(left);
            let right = Bins::from_bytes(&sum(right).to_bytes());
            merged.merge(&right.unwrap_or_default());
            assert_eq!(merged, one, "case {case}");
        }
    }
}
