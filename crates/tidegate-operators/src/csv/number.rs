//! Numbers and booleans straight from bytes: exact, without locale, never wrapping.
//!
//! All parsers take the block and a place in it, so that they can load eight bytes at once without copying.

/// A place in a block.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) data: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Cell<'a> {
    #[inline(always)]
    pub(super) fn bytes(self) -> &'a [u8] {
        &self.data[self.start..self.end]
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }

    /// Without spaces and tabs around it.
    #[cold]
    pub(super) fn trimmed(self) -> Self {
        let blank = |byte: u8| byte == b' ' || byte == b'\t';
        let (mut start, mut end) = (self.start, self.end);
        while start < end && blank(self.data[start]) {
            start += 1;
        }
        while start < end && blank(self.data[end - 1]) {
            end -= 1;
        }
        Self { start, end, ..self }
    }

    #[inline(always)]
    fn load(self, at: usize) -> u64 {
        match self.data.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let rest = self.data.get(at..).unwrap_or_default();
                let mut bytes = [0; 8];
                bytes[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(bytes)
            }
        }
    }
}

const TEN: [u64; 20] = {
    let mut table = [1u64; 20];
    let mut at = 1;
    while at < 20 {
        table[at] = table[at - 1] * 10;
        at += 1;
    }
    table
};

/// Ten to a power that fits.
pub(super) const fn ten(power: usize) -> i128 {
    let mut value = 1i128;
    let mut at = 0;
    while at < power {
        value *= 10;
        at += 1;
    }
    value
}

/// Up to eight digits at `at`; none if one of them is no digit.
#[inline(always)]
pub(super) fn digits8(cell: Cell<'_>, at: usize, count: usize) -> Option<u64> {
    debug_assert!((1..=8).contains(&count));
    // The first digit is the lowest byte: shifting puts zeros before it.
    let digits = (cell.load(at) ^ 0x3030_3030_3030_3030) << (64 - 8 * count);
    if (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
}

/// Any number of digits, at least one, that fit.
#[inline(always)]
fn digits(cell: Cell<'_>) -> Option<u64> {
    match cell.len() {
        0 => None,
        count @ 1..=8 => digits8(cell, cell.start, count),
        count @ 9..=16 => {
            let high = digits8(cell, cell.start, count - 8)?;
            Some(high * 100_000_000 + digits8(cell, cell.end - 8, 8)?)
        }
        _ => long_digits(cell.bytes()),
    }
}

#[cold]
fn long_digits(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Splits the sign off: whether it is negative, and the rest.
#[inline(always)]
pub(super) fn sign(cell: Cell<'_>) -> (bool, Cell<'_>) {
    match cell.data.get(cell.start) {
        Some(b'-') if cell.len() > 1 => (
            true,
            Cell {
                start: cell.start + 1,
                ..cell
            },
        ),
        Some(b'+') if cell.len() > 1 => (
            false,
            Cell {
                start: cell.start + 1,
                ..cell
            },
        ),
        _ => (false, cell),
    }
}

/// A signed integer of 64 bits.
#[inline(always)]
pub(super) fn int64(cell: Cell<'_>) -> Option<i64> {
    let (negative, rest) = sign(cell);
    match digits(rest) {
        Some(value) if negative => 0i64.checked_sub_unsigned(value),
        Some(value) => i64::try_from(value).ok(),
        None => None,
    }
}

/// An unsigned integer of 64 bits.
#[inline(always)]
pub(super) fn uint64(cell: Cell<'_>) -> Option<u64> {
    let (negative, rest) = sign(cell);
    digits(rest).filter(|&value| !negative || value == 0)
}

/// How decimals are kept and written.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecimalShape {
    pub(super) precision: usize,
    pub(super) scale: usize,
    pub(super) point: u8,
}

/// A decimal, exactly; none when it has more digits than it may have.
#[inline(always)]
pub(super) fn decimal(cell: Cell<'_>, shape: DecimalShape) -> Option<i128> {
    let (negative, rest) = sign(cell);
    let (count, scale) = (rest.len(), shape.scale);
    // All the column's decimals, or none: a column mostly keeps to one of the two.
    let quick = if count > scale && rest.data[rest.end - scale - 1] == shape.point {
        quick_fraction(rest, scale, shape)
    } else if (1..=8).contains(&count) && count + scale <= shape.precision.min(18) {
        digits8(rest, rest.start, count).map(|whole| whole * TEN[scale])
    } else {
        None
    };
    let value = match quick {
        Some(value) => i128::from(value),
        None => slow_decimal(rest, shape)?,
    };
    Some(if negative { -value } else { value })
}

/// `12.34`, of which `decimals` digits are behind the point, when there are not too many.
#[inline(always)]
fn quick_fraction(rest: Cell<'_>, decimals: usize, shape: DecimalShape) -> Option<u64> {
    let whole = rest.len().checked_sub(decimals + 1)?;
    let fits = whole + shape.scale <= shape.precision.min(18);
    if !(1..=8).contains(&whole) || !(1..=8).contains(&decimals) || !fits {
        return None;
    }
    let high = digits8(rest, rest.start, whole)?;
    let low = digits8(rest, rest.end - decimals, decimals)?;
    Some((high * TEN[decimals] + low) * TEN[shape.scale - decimals])
}

/// Any number of digits, with fewer decimals than the column's or with zeros behind them.
#[cold]
#[inline(never)]
fn slow_decimal(rest: Cell<'_>, shape: DecimalShape) -> Option<i128> {
    if shape.scale > 1
        && rest.len() > 2
        && rest.data[rest.end - 2] == shape.point
        && let Some(value) = quick_fraction(rest, 1, shape)
    {
        return Some(i128::from(value));
    }
    let bytes = rest.bytes();
    let (mut value, mut decimals, mut seen_point, mut seen_digit) = (0i128, 0, false, false);
    for &byte in bytes {
        if byte == shape.point && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        seen_digit = true;
        if decimals == shape.scale && seen_point {
            if digit != 0 {
                return None;
            }
            continue;
        }
        decimals += usize::from(seen_point);
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    if !seen_digit {
        return None;
    }
    let value = value.checked_mul(ten(shape.scale - decimals))?;
    (value < ten(shape.precision)).then_some(value)
}

/// A floating point number; none when a number that is written out is too large.
pub(super) fn float64(cell: Cell<'_>, point: u8) -> Option<f64> {
    const EXACT: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    let (negative, rest) = sign(cell);
    let (mut value, mut decimals, mut seen_point, mut seen) = (0u64, 0usize, false, 0usize);
    for &byte in rest.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 && seen < 15 {
            value = value * 10 + u64::from(digit);
            seen += 1;
            decimals += usize::from(seen_point);
        } else if byte == point && !seen_point {
            seen_point = true;
        } else {
            return slow_float(cell, point);
        }
    }
    if seen == 0 {
        return None;
    }
    // Both are exact, so their quotient is the nearest number.
    let value = value as f64 / EXACT[decimals];
    Some(if negative { -value } else { value })
}

#[cold]
fn slow_float(cell: Cell<'_>, point: u8) -> Option<f64> {
    let text = std::str::from_utf8(cell.bytes()).ok()?;
    let replaced;
    let text = if point == b'.' {
        text
    } else if text.contains('.') {
        return None;
    } else {
        replaced = text.replace(char::from(point), ".");
        &replaced
    };
    let value: f64 = text.parse().ok()?;
    let written_out = text.bytes().any(|byte| byte.is_ascii_digit());
    (!value.is_infinite() || !written_out).then_some(value)
}

/// A floating point number of 32 bits, rounded once.
pub(super) fn float32(cell: Cell<'_>, point: u8) -> Option<f32> {
    let wide = slow_float(cell, point)?;
    if wide.is_nan() || wide.is_infinite() {
        return Some(wide as f32);
    }
    let text = std::str::from_utf8(cell.bytes()).ok()?;
    let value: f32 = text.replace(char::from(point), ".").parse().ok()?;
    value.is_finite().then_some(value)
}

/// True or false, as a word, a letter or a digit.
pub(super) fn boolean(cell: Cell<'_>) -> Option<bool> {
    let bytes = cell.bytes();
    let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
    match bytes.first()? {
        b't' | b'T' if is("true") || is("t") => Some(true),
        b'f' | b'F' if is("false") || is("f") => Some(false),
        b'y' | b'Y' if is("yes") || is("y") => Some(true),
        b'n' | b'N' if is("no") || is("n") => Some(false),
        b'1' if bytes.len() == 1 => Some(true),
        b'0' if bytes.len() == 1 => Some(false),
        _ => None,
    }
}

/// `true` or `false`: what a column is inferred to be boolean by.
pub(super) fn boolean_word(cell: Cell<'_>) -> Option<bool> {
    boolean(cell).filter(|_| cell.len() > 3)
}

/// Digits a double gives back, whatever they are.
pub(super) const DOUBLE_DIGITS: usize = 15;

/// Whether a number has no more digits before its point than a double gives back.
#[inline(always)]
pub(super) fn keeps_digits(cell: Cell<'_>) -> bool {
    cell.len() <= DOUBLE_DIGITS || {
        let (_, digits) = sign(cell);
        let whole = digits
            .bytes()
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        whole.count() <= DOUBLE_DIGITS
    }
}

/// Whether a number would lose a leading zero or plus sign: then it is rather a code or a telephone number.
#[inline(always)]
pub(super) fn loses_signs(cell: Cell<'_>) -> bool {
    match cell.data.get(cell.start) {
        Some(b'0') => cell.len() > 1 && cell.data[cell.start + 1].is_ascii_digit(),
        Some(b'+') => true,
        Some(b'-') => {
            cell.len() > 2
                && cell.data[cell.start + 1] == b'0'
                && cell.data[cell.start + 2].is_ascii_digit()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell<'_> {
        Cell {
            data: text.as_bytes(),
            start: 0,
            end: text.len(),
        }
    }

    #[test]
    fn integers_are_exact_to_their_limits() {
        let check =
            |text: &str, expect: Option<i64>| assert_eq!(int64(cell(text)), expect, "{text}");
        for value in [
            0,
            7,
            -1,
            12345678,
            123456789,
            -9876543210123456,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
        ] {
            check(&value.to_string(), Some(value));
        }
        check("+5", Some(5));
        check("007", Some(7));
        check("00000000000000000000000012", Some(12));
        for text in [
            "",
            "-",
            "+",
            "--1",
            "1-",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "1 ",
            "12:4",
            "1/",
            "١",
            "99999999999999999999",
        ] {
            check(text, None);
        }
        assert_eq!(uint64(cell("18446744073709551615")), Some(u64::MAX));
        assert_eq!(uint64(cell("18446744073709551616")), None);
        assert_eq!(uint64(cell("-1")), None);
    }

    #[test]
    fn every_byte_but_a_digit_is_refused_in_every_place() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                let mut data = *b"12345678";
                data[place] = byte;
                let expect = byte.is_ascii_digit();
                let found = digits8(
                    Cell {
                        data: &data,
                        start: 0,
                        end: 8,
                    },
                    0,
                    8,
                );
                assert_eq!(found.is_some(), expect, "{data:?}");
            }
        }
    }

    #[test]
    fn decimals_keep_their_digits_or_are_refused() {
        let check = |text: &str, (precision, scale): (usize, usize), expect: Option<i128>| {
            let shape = DecimalShape {
                precision,
                scale,
                point: b'.',
            };
            assert_eq!(decimal(cell(text), shape), expect, "{text}");
        };
        check("17.00", (18, 2), Some(1700));
        check("17", (18, 2), Some(1700));
        check("17.5", (18, 2), Some(1750));
        check("-17.5", (18, 3), Some(-17500));
        check("0.04", (18, 2), Some(4));
        check(".04", (18, 2), Some(4));
        check("4.", (18, 2), Some(400));
        check("17.500", (18, 2), Some(1750));
        check("17.501", (18, 2), None);
        check("123456789.12", (18, 2), Some(12345678912));
        check(
            "12345678901234567890.12",
            (38, 2),
            Some(1234567890123456789012),
        );
        check(
            "99999999999999999999999999999999999999",
            (38, 0),
            Some(ten(38) - 1),
        );
        check("100000000000000000000000000000000000000", (38, 0), None);
        check(
            "9999999999999999999999999999999999999999999999",
            (38, 0),
            None,
        );
        check("999.99", (5, 2), Some(99999));
        check("1000.00", (5, 2), None);
        check("1000", (5, 2), None);
        for text in ["", ".", "-", "-.", "1.2.3", "1,2", "1e3", "a", "1.-2"] {
            check(text, (18, 2), None);
        }
    }

    #[test]
    fn floats_are_the_nearest_and_never_overflow() {
        let check = |text: &str| assert_eq!(float64(cell(text), b'.'), text.parse().ok(), "{text}");
        for text in [
            "1.5",
            "0.1",
            "-0.3",
            "123456.789012345",
            "1e10",
            "1.7976931348623157e308",
            "5e-324",
            "123456789012345678",
            "0.1234567890123456789",
            "-0.0",
            "inf",
            ".5",
            "5.",
        ] {
            check(text);
        }
        for text in ["", ".", "1e999", "-1e400", "abc", "1.2.3", "--1", "0x10"] {
            assert_eq!(float64(cell(text), b'.'), None, "{text}");
        }
        assert_eq!(float64(cell("1,5"), b','), Some(1.5));
        assert_eq!(float64(cell("1.5"), b','), None);
        assert_eq!(float32(cell("0.1"), b'.'), Some(0.1));
        assert_eq!(float32(cell("1e39"), b'.'), None);
    }
}
