//! What type a column's texts have: the narrowest that gives every one of them back.
//!
//! In order: boolean, integer, decimal, double, date, timestamp without and with zone, text. Digits are never given up for
//! a type: a leading zero or plus sign keeps a column text, and what 64 bits do not hold becomes a decimal.

use arrow::datatypes::{DataType, TimeUnit};

use super::Dialect;
use super::number::{self, Cell, DOUBLE_DIGITS};
use super::temporal;

/// Digits a decimal of 128 bits holds.
const DECIMAL_DIGITS: usize = 38;

/// What a column's texts were so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Guess {
    kind: Seen,
    /// Most digits before and after the point.
    whole: usize,
    decimals: usize,
    /// Some integer does not fit 64 bits.
    wide: bool,
    /// Some timestamp needs nanoseconds.
    fine: bool,
    /// Some was written with a comma for a point.
    pub(super) commas: usize,
    pub(super) values: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    Boolean,
    Integer,
    Decimal,
    /// A number with an exponent, or too long for a decimal.
    Double,
    /// Only `nan` and `inf`.
    Special,
    Date,
    Timestamp,
    Zoned,
    Text,
}

/// What one text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort {
    kind: Seen,
    whole: usize,
    decimals: usize,
    wide: bool,
    fine: bool,
}

impl Guess {
    /// Takes one more text that is not NULL into account.
    pub(super) fn add(&mut self, text: &[u8], dialect: &Dialect) {
        self.values += 1;
        if self.kind == Seen::Text && self.commas == 0 {
            return;
        }
        let sort = sort(text, dialect);
        if sort.kind == Seen::Text && looks_like_comma_decimal(text) {
            self.commas += 1;
        }
        self.whole = self.whole.max(sort.whole);
        self.decimals = self.decimals.max(sort.decimals);
        self.wide |= sort.wide;
        self.fine |= sort.fine;
        self.kind = both(self.kind, sort.kind);
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.data_type(), DataType::Utf8View | DataType::Null)
    }

    /// Whether all values are numbers but for a comma for the point.
    pub(super) fn is_comma_decimal(&self) -> bool {
        self.kind == Seen::Text && self.commas > 0 && self.commas == self.values
    }

    /// The type that holds all of them; `Null` when there are none.
    pub(super) fn data_type(&self) -> DataType {
        let exact = self.whole <= DOUBLE_DIGITS;
        match self.kind {
            Seen::Nothing => DataType::Null,
            Seen::Boolean => DataType::Boolean,
            Seen::Integer if !self.wide => DataType::Int64,
            Seen::Integer if self.whole <= DECIMAL_DIGITS => DataType::Decimal128(38, 0),
            Seen::Decimal => self.decimal(),
            Seen::Double if exact => DataType::Float64,
            Seen::Date => DataType::Date32,
            Seen::Timestamp => DataType::Timestamp(self.unit(), None),
            Seen::Zoned => DataType::Timestamp(self.unit(), Some("UTC".into())),
            _ => DataType::Utf8View,
        }
    }

    /// Room for five more digits in 18, or all there are.
    fn decimal(&self) -> DataType {
        let digits = self.whole + self.decimals;
        match digits {
            0..=13 => DataType::Decimal128(18, self.decimals as i8),
            14..=DECIMAL_DIGITS => DataType::Decimal128(38, self.decimals as i8),
            _ if self.whole <= DOUBLE_DIGITS => DataType::Float64,
            _ => DataType::Utf8View,
        }
    }

    fn unit(&self) -> TimeUnit {
        if self.fine {
            TimeUnit::Nanosecond
        } else {
            TimeUnit::Microsecond
        }
    }
}

fn both(one: Seen, other: Seen) -> Seen {
    use Seen::*;
    match (one, other) {
        (Nothing, kind) | (kind, Nothing) => kind,
        (one, other) if one == other => one,
        (Integer, Decimal) | (Decimal, Integer) => Decimal,
        (Integer | Decimal | Double | Special, Integer | Decimal | Double | Special) => Double,
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        _ => Text,
    }
}

fn sort(text: &[u8], dialect: &Dialect) -> Sort {
    let cell = Cell {
        data: text,
        start: 0,
        end: text.len(),
    }
    .trimmed();
    let simple = |kind| Sort {
        kind,
        whole: 0,
        decimals: 0,
        wide: false,
        fine: false,
    };
    if let Some(format) = &dialect.date_format
        && temporal::date_by(cell, format).is_some()
    {
        return simple(Seen::Date);
    }
    if let Some(format) = &dialect.timestamp_format
        && let Some(stamp) = temporal::stamp_by(cell, format)
    {
        return sort_stamp(stamp);
    }
    match cell.bytes().first() {
        Some(b'0'..=b'9' | b'-' | b'.' | b',') => sort_number(cell, dialect)
            .or_else(|| sort_time(cell, dialect))
            .unwrap_or(simple(Seen::Text)),
        Some(b't' | b'T' | b'f' | b'F') if is_word(cell, &["true", "false"]) => {
            simple(Seen::Boolean)
        }
        Some(b'n' | b'N' | b'i' | b'I') if is_word(cell, &["nan", "inf", "infinity"]) => {
            simple(Seen::Special)
        }
        _ => simple(Seen::Text),
    }
}

fn is_word(cell: Cell<'_>, words: &[&str]) -> bool {
    words
        .iter()
        .any(|word| cell.bytes().eq_ignore_ascii_case(word.as_bytes()))
}

fn sort_number(cell: Cell<'_>, dialect: &Dialect) -> Option<Sort> {
    let point = dialect.decimal_separator;
    if number::loses_signs(cell) {
        return None;
    }
    if is_word(cell, &["-inf", "-infinity"]) {
        return Some(Sort {
            kind: Seen::Special,
            whole: 0,
            decimals: 0,
            wide: false,
            fine: false,
        });
    }
    let (_, digits) = number::sign(cell);
    let bytes = digits.bytes();
    let whole = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (decimals, rest) = match bytes[whole..].split_first() {
        Some((&byte, rest)) if byte == point => {
            let decimals = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (Some(decimals), &rest[decimals..])
        }
        _ => (None, &bytes[whole..]),
    };
    let kind = match (rest.first(), decimals) {
        _ if whole + decimals.unwrap_or(0) == 0 => return None,
        (None, None) => Seen::Integer,
        (None, Some(_)) => Seen::Decimal,
        (Some(b'e' | b'E'), _) if number::float64(cell, point).is_some() => Seen::Double,
        _ => return None,
    };
    let wide = kind == Seen::Integer && number::int64(cell).is_none();
    Some(Sort {
        kind,
        whole,
        decimals: decimals.unwrap_or(0),
        wide,
        fine: false,
    })
}

fn sort_time(cell: Cell<'_>, dialect: &Dialect) -> Option<Sort> {
    let stamp = temporal::stamp(cell)?;
    if cell.len() == 10 {
        let usual = dialect.date_format.is_none();
        return usual.then_some(Sort {
            kind: Seen::Date,
            whole: 0,
            decimals: 0,
            wide: false,
            fine: false,
        });
    }
    stamp
        .count(TimeUnit::Nanosecond)
        .or_else(|| stamp.count(TimeUnit::Microsecond))?;
    dialect
        .timestamp_format
        .is_none()
        .then(|| sort_stamp(stamp))
}

fn sort_stamp(stamp: temporal::Stamp) -> Sort {
    let kind = if stamp.zoned {
        Seen::Zoned
    } else {
        Seen::Timestamp
    };
    Sort {
        kind,
        whole: 0,
        decimals: 0,
        wide: false,
        fine: stamp.fine,
    }
}

fn looks_like_comma_decimal(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |&byte| byte == b',');
    let number = |part: Option<&[u8]>| {
        let part = part.map(|part| part.strip_prefix(b"-").unwrap_or(part));
        part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
    };
    number(parts.next()) && number(parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_the_narrowest_that_keep_every_digit() {
        let check = |texts: &[&str], expect: DataType| {
            let mut guess = Guess::default();
            texts
                .iter()
                .for_each(|text| guess.add(text.as_bytes(), &Dialect::default()));
            assert_eq!(guess.data_type(), expect, "{texts:?}");
        };
        let stamp = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
        use DataType::{Boolean, Date32, Decimal128, Float64, Int64, Utf8View};
        use TimeUnit::{Microsecond, Nanosecond};
        check(&[], DataType::Null);
        check(&["true", "FALSE"], Boolean);
        check(&["t", "f"], Utf8View);
        check(&["true", "1"], Utf8View);
        check(&["1", "-20", " 3 "], Int64);
        check(&["0", "-0"], Int64);
        check(&["9223372036854775807"], Int64);
        check(&["9223372036854775808", "1"], Decimal128(38, 0));
        check(&["123456789012345678901234567890123456789"], Utf8View);
        check(&["007", "8"], Utf8View);
        check(&["+49", "8"], Utf8View);
        check(&["17.00", "3"], Decimal128(18, 2));
        check(&["0.5", "1.25"], Decimal128(18, 2));
        check(&["00.5"], Utf8View);
        check(&["1234567890123.45"], Decimal128(38, 2));
        check(&["0.1234567890123456789012345678901234567890"], Float64);
        check(&["1e5", "2"], Float64);
        check(&["1.5", "nan", "-inf"], Float64);
        check(&["nan"], Utf8View);
        check(&["1e5", "12345678901234567"], Utf8View);
        check(&["1e999"], Utf8View);
        check(&["1-2", "3"], Utf8View);
        check(&["-", "3"], Utf8View);
        check(&["."], Utf8View);
        check(&["2026-11-23"], Date32);
        check(&["2026-11-31"], Utf8View);
        check(
            &["2026-11-23", "2026-11-23 10:00"],
            stamp(Microsecond, None),
        );
        check(&["2026-11-23T10:00:00.123456789"], stamp(Nanosecond, None));
        check(
            &["2026-11-23 10:00:00Z", "2026-11-23 10:00:00+02:00"],
            stamp(Microsecond, Some("UTC")),
        );
        check(&["2026-11-23 10:00:00Z", "2026-11-23 10:00:00"], Utf8View);
        check(&["2026-11-23", "5"], Utf8View);
        check(&["abc"], Utf8View);
    }
}
