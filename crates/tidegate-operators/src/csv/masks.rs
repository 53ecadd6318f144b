//! Where the structural bytes of 64 bytes are, as bit masks: AVX2 or SSE2 where there is one, plain Rust elsewhere.

use super::Dialect;

/// Bytes looked at in one step.
pub(super) const CHUNK: usize = 64;

/// One bit a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masks {
    /// The delimiter.
    pub(super) delimiter: u64,
    /// Line feed and carriage return.
    pub(super) line: u64,
    /// Carriage return.
    pub(super) carriage: u64,
    /// The quote and the escape character.
    pub(super) special: u64,
}

/// The bytes looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needles {
    delimiter: u8,
    quote: u8,
    escape: u8,
    special: u64,
}

impl Needles {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let quote = dialect.quote.unwrap_or(b'\n');
        Self {
            delimiter: dialect.delimiter,
            quote,
            escape: dialect
                .escape
                .filter(|_| dialect.quote.is_some())
                .unwrap_or(quote),
            special: if dialect.quote.is_some() { !0 } else { 0 },
        }
    }
}

/// A way to compare 64 bytes at once.
pub(super) trait Lanes {
    fn masks(needles: &Needles, chunk: &[u8; CHUNK]) -> Masks;
}

/// What the machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg_attr(
        target_arch = "x86_64",
        allow(dead_code, reason = "the tests compare with it")
    )]
    Plain,
}

impl Level {
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("popcnt")
            {
                Self::Avx2
            } else {
                Self::Sse2
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Plain
    }
}

/// What is known of quotes at the start of a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quoting {
    /// The chunk starts inside quotes.
    pub(super) inside: bool,
    /// The byte before the chunk closed a quote, or is the first half of a doubled one.
    pub(super) closed: bool,
    /// Bytes before this place were dealt with.
    pub(super) skip_to: usize,
}

impl Needles {
    #[inline(always)]
    pub(super) fn separates(&self, byte: u8) -> bool {
        byte == self.delimiter || byte == b'\n' || byte == b'\r'
    }

    /// Whether a quote at `at`, outside quotes, opens: only at the start of a field.
    #[inline(always)]
    pub(super) fn opens(&self, data: &[u8], at: usize) -> bool {
        at == 0 || self.separates(data[at - 1])
    }

    /// The bytes of the chunk at `at` that are inside quotes, and whether quotes are doubled in it. None when a quote stands
    /// in an unusual place (or the dialect has another escape): then it must be read byte by byte.
    ///
    /// Every second quote closes; a doubled one closes and opens again. That is right if each that opens follows a separator
    /// or a closing one, and each that closes is followed by a separator or an opening one.
    #[inline(always)]
    pub(super) fn inside(
        &self,
        masks: &Masks,
        quoting: &mut Quoting,
        data: &[u8],
        at: usize,
    ) -> Option<(u64, bool)> {
        let quotes = masks.special;
        if quoting.skip_to > at || (self.escape != self.quote && (quotes != 0 || quoting.inside)) {
            return None;
        }
        let inside = prefix_xor(quotes) ^ if quoting.inside { !0 } else { 0 };
        let opening = quotes & inside;
        let closing = quotes & !inside;
        let separators = masks.delimiter | masks.line;
        let starts = !quoting.inside && self.opens(data, at);
        let reopened = opening & (closing << 1 | u64::from(quoting.closed));
        let may_open = (separators & !inside) << 1 | u64::from(starts);
        let next = data
            .get(at + CHUNK)
            .is_none_or(|&byte| self.separates(byte) || byte == self.quote);
        let may_close = (separators | quotes) >> 1 | u64::from(next) << 63;
        if opening & !(may_open | reopened) != 0 || closing & !may_close != 0 {
            return None;
        }
        // No branch on whether there are quotes at all: with one quoted field a record it could not be foretold.
        quoting.inside = inside >> 63 != 0;
        quoting.closed = closing >> 63 != 0;
        Some((inside, reopened != 0))
    }
}

/// Bit `n` of the result is the parity of bits 0 to `n`.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}

/// The chunk at `at`; bytes past the end are zero, which no needle is.
#[inline(always)]
pub(super) fn chunk_at<'a>(
    data: &'a [u8],
    at: usize,
    spare: &'a mut [u8; CHUNK],
) -> &'a [u8; CHUNK] {
    match data.get(at..).and_then(|rest| rest.first_chunk::<CHUNK>()) {
        Some(chunk) => chunk,
        None => {
            let rest = &data[at.min(data.len())..];
            spare.fill(0);
            spare[..rest.len()].copy_from_slice(rest);
            spare
        }
    }
}

/// Without vector instructions.
pub(super) struct Plain;

impl Lanes for Plain {
    #[inline(always)]
    fn masks(needles: &Needles, chunk: &[u8; CHUNK]) -> Masks {
        let (mut delimiter, mut line, mut carriage, mut special) = (0u64, 0u64, 0u64, 0u64);
        for (at, &byte) in chunk.iter().enumerate() {
            delimiter |= u64::from(byte == needles.delimiter) << at;
            line |= u64::from(byte == b'\n' || byte == b'\r') << at;
            carriage |= u64::from(byte == b'\r') << at;
            special |= u64::from(byte == needles.quote || byte == needles.escape) << at;
        }
        Masks {
            delimiter,
            line,
            carriage,
            special: special & needles.special,
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::{CHUNK, Lanes, Masks, Needles};

    /// The same number, of which the compiler does not know that it is a mask: otherwise it joins masks as vectors of single
    /// bits, which takes it dozens of instructions.
    #[inline(always)]
    fn opaque(mask: u32) -> u64 {
        let mut mask = u64::from(mask);
        // SAFETY: no instruction at all.
        unsafe {
            asm!("/* {0} */", inout(reg) mask, options(pure, nomem, nostack, preserves_flags))
        };
        mask
    }

    /// Two registers of 32 bytes. To be used only inside functions compiled for AVX2, after it was detected.
    pub(in super::super) struct Avx2;

    impl Lanes for Avx2 {
        #[inline(always)]
        fn masks(needles: &Needles, chunk: &[u8; CHUNK]) -> Masks {
            // SAFETY: `Level::Avx2` is only made where AVX2 was detected; the loads stay inside the 64 bytes.
            unsafe {
                let pointer = chunk.as_ptr().cast::<__m256i>();
                let low = _mm256_loadu_si256(pointer);
                let high = _mm256_loadu_si256(pointer.add(1));
                let equal = |needle: u8| -> u64 {
                    let needle = _mm256_set1_epi8(needle as i8);
                    let mask =
                        |part| opaque(_mm256_movemask_epi8(_mm256_cmpeq_epi8(part, needle)) as u32);
                    mask(low) | mask(high) << 32
                };
                let carriage = equal(b'\r');
                Masks {
                    delimiter: equal(needles.delimiter),
                    line: equal(b'\n') | carriage,
                    carriage,
                    special: (equal(needles.quote) | equal(needles.escape)) & needles.special,
                }
            }
        }
    }

    /// Four registers of 16 bytes; every x86-64 has them.
    pub(in super::super) struct Sse2;

    impl Lanes for Sse2 {
        #[inline(always)]
        fn masks(needles: &Needles, chunk: &[u8; CHUNK]) -> Masks {
            // SAFETY: SSE2 is part of x86-64; the loads stay inside the 64 bytes.
            unsafe {
                let pointer = chunk.as_ptr().cast::<__m128i>();
                let parts: [__m128i; 4] = [
                    _mm_loadu_si128(pointer),
                    _mm_loadu_si128(pointer.add(1)),
                    _mm_loadu_si128(pointer.add(2)),
                    _mm_loadu_si128(pointer.add(3)),
                ];
                let equal = |needle: u8| -> u64 {
                    let needle = _mm_set1_epi8(needle as i8);
                    let mask =
                        |part| opaque(_mm_movemask_epi8(_mm_cmpeq_epi8(part, needle)) as u32);
                    mask(parts[0])
                        | mask(parts[1]) << 16
                        | mask(parts[2]) << 32
                        | mask(parts[3]) << 48
                };
                let carriage = equal(b'\r');
                Masks {
                    delimiter: equal(needles.delimiter),
                    line: equal(b'\n') | carriage,
                    carriage,
                    special: (equal(needles.quote) | equal(needles.escape)) & needles.special,
                }
            }
        }
    }
}

/// Calls `$function::<L>($arguments)` with the widest lanes of `$level`, compiled for them.
macro_rules! with_lanes {
    ($level:expr, $function:ident, $avx2:ident, ($($argument:expr),* $(,)?)) => {
        match $level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only made where AVX2, BMI1 and POPCNT were detected.
            $crate::csv::masks::Level::Avx2 => unsafe { $avx2($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            $crate::csv::masks::Level::Sse2 => $function::<$crate::csv::masks::Sse2>($($argument),*),
            $crate::csv::masks::Level::Plain => $function::<$crate::csv::masks::Plain>($($argument),*),
        }
    };
}
pub(super) use with_lanes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lanes_agree() {
        let needles = Needles::new(&Dialect {
            escape: Some(b'\\'),
            ..Dialect::default()
        });
        let mut state = 7u64;
        for _ in 0..2000 {
            let mut chunk = [0u8; CHUNK];
            for byte in &mut chunk {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                *byte = b"a,\"\\\r\n\x80\xff"[(state >> 60) as usize % 8];
            }
            let plain = Plain::masks(&needles, &chunk);
            #[cfg(target_arch = "x86_64")]
            {
                assert_eq!(plain, Sse2::masks(&needles, &chunk));
                if Level::detect() == Level::Avx2 {
                    assert_eq!(plain, Avx2::masks(&needles, &chunk));
                }
            }
            assert_eq!(plain.carriage & !plain.line, 0);
        }
    }
}
