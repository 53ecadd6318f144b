//! Decides how a file is written and what its columns are, from its first bytes and from what the user said.
//!
//! Conservative: it knows `,` `;` tab `|`, double quotes (single ones where they are evident), and a header or none. What it
//! chose is said when it is not the usual; when two readings are as good as each other it refuses and names both.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::convert::Nulls;
use super::header::{begin, first_record, to_utf8};
use super::infer::Guess;
use super::record::{self, Record, State};
use super::{Dialect, Encoding, Error, Kind, OnError, Options, Position};

/// Records looked at to find the dialect.
pub(super) const DIALECT_RECORDS: usize = 1000;

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Sniffed {
    /// How it is written.
    pub dialect: Dialect,
    /// Its columns; text is `Utf8View`, and `Null` where the sample has no value: another file may know the type,
    /// else text is right. None for a file without records.
    pub fields: Vec<Field>,
    /// For each column whether its type was inferred, not said.
    pub inferred: Vec<bool>,
    /// Where its records start.
    pub at: Position,
    /// What the user should know: choices that are not the usual, names that were changed.
    pub notices: Vec<String>,
}

/// Looks at the first bytes of a file, after decompression. `whole` says that it has no others.
///
/// # Errors
/// An option is not usable, the bytes are not of the encoding, or the dialect is not evident.
///
/// ```
/// use arrow::datatypes::DataType;
/// let found = tidegate_operators::csv::sniff(b"day;rain\n2026-11-23;17.00\n", true, &Default::default(), "a.csv")?;
/// assert_eq!(found.dialect.delimiter, b';');
/// assert_eq!(found.fields[1].data_type(), &DataType::Decimal128(18, 2));
/// assert_eq!(found.notices, ["`a.csv` is read with delim=';'"]);
/// # Ok::<(), tidegate_operators::csv::Error>(())
/// ```
pub fn sniff(sample: &[u8], whole: bool, said: &Options, file: &str) -> Result<Sniffed, Error> {
    let name: Arc<str> = file.into();
    let mut dialect = said.dialect(file)?;
    dialect.encoding = encoding(sample, said.encoding(file)?, &name)?;
    let text = to_utf8(sample, whole, dialect.encoding, &name)?;
    if dialect.on_error == OnError::Fail {
        check_utf8(&text, &name)?;
    }
    let mut sample = Sample {
        text: &text,
        whole,
        said,
        file: name,
    };
    let dialect = sample.choose(dialect)?;
    sample.describe(dialect)
}

/// The bytes at hand and what was said about them.
pub(super) struct Sample<'a> {
    pub(super) text: &'a [u8],
    pub(super) whole: bool,
    pub(super) said: &'a Options,
    pub(super) file: Arc<str>,
}

/// What a dialect makes of the sample.
#[derive(Debug, Clone)]
struct Reading {
    dialect: Dialect,
    records: usize,
    /// Fields of the first record, the most frequent number and how often it occurs, the least and the greatest.
    first: usize,
    usual: usize,
    agreeing: usize,
    least: usize,
    most: usize,
    /// Records with text after a closing quote, or a quote that does not close.
    broken: usize,
    /// Share of columns that are not text, in thousandths.
    typed: usize,
    /// Records with a field in single quotes.
    single_quoted: usize,
}

impl Reading {
    fn consistent(&self) -> bool {
        self.agreeing == self.records && self.broken == 0
    }

    /// Most records agree on two fields or more.
    fn splits(&self) -> bool {
        self.usual >= 2 && self.agreeing * 10 >= self.records * 7
    }
}

impl Sample<'_> {
    fn choose(&mut self, base: Dialect) -> Result<Dialect, Error> {
        let chosen = if self.said.delim.is_some() {
            self.read(&base)?
        } else {
            let base = self.quoted(base)?;
            self.delimited(base)?
        };
        let chosen = self.escaped(chosen)?;
        let usual = chosen.usual;
        let stands_alone =
            chosen.records > 2 && chosen.first != usual && chosen.agreeing * 2 > chosen.records;
        if stands_alone && !chosen.dialect.null_padding {
            return Err(self.unsure(format!(
                "the first record has {} where {} of {} records have {usual}",
                fields(chosen.first),
                chosen.agreeing,
                chosen.records
            ))
            .hint(self.notes().unwrap_or_else(|| "skip=… leaves lines out before the header, null_padding=true fills short rows, delim says what separates".into())));
        }
        Ok(chosen.dialect)
    }

    /// Single quotes, where nearly every record has a field in them and none has one in double quotes.
    fn quoted(&self, base: Dialect) -> Result<Dialect, Error> {
        if self.said.quote.is_some() || memchr::memchr(b'"', self.text).is_some() {
            return Ok(base);
        }
        for delimiter in [b',', b';', b'\t', b'|'] {
            let single = Dialect {
                delimiter,
                quote: Some(b'\''),
                escape: Some(b'\''),
                ..base.clone()
            };
            let reading = self.read(&single)?;
            let evident =
                reading.single_quoted * 10 >= reading.records.saturating_sub(1).max(2) * 9;
            if reading.splits() && reading.consistent() && evident {
                return Ok(Dialect {
                    delimiter: base.delimiter,
                    ..single
                });
            }
        }
        Ok(base)
    }

    fn delimited(&self, base: Dialect) -> Result<Reading, Error> {
        let mut readings = Vec::new();
        for delimiter in [b',', b';', b'\t', b'|'] {
            if Some(delimiter) != base.quote && Some(delimiter) != base.comment {
                readings.push(self.read(&Dialect {
                    delimiter,
                    ..base.clone()
                })?);
            }
        }
        let splitting: Vec<&Reading> = readings.iter().filter(|reading| reading.splits()).collect();
        let by_suffix =
            |reading: &&&Reading| Some(reading.dialect.delimiter) == suffix_delimiter(&self.file);
        if let Some(&found) = splitting.iter().find(by_suffix) {
            return Ok(found.clone());
        }
        match splitting.as_slice() {
            [only] => return Ok((*only).clone()),
            [] => {}
            several => return self.best(several),
        }
        let touching: Vec<&Reading> = readings.iter().filter(|reading| reading.most > 1).collect();
        match touching.as_slice() {
            [] => {}
            [only] if only.first > 1 => return Ok((*only).clone()),
            _ if touching.iter().all(|reading| {
                reading.usual == 1 && reading.agreeing * 10 >= reading.records * 9
            }) => {}
            _ => return Err(self.undecided(&touching)),
        }
        readings
            .into_iter()
            .next()
            .ok_or_else(|| self.unsure("no delimiter is left to choose from"))
    }

    /// The one that all records agree with, or that makes more sense of the columns.
    fn best(&self, several: &[&Reading]) -> Result<Reading, Error> {
        let rank = |reading: &Reading| (reading.consistent(), reading.typed);
        let mut ranked = several.to_vec();
        ranked.sort_by_key(|reading| std::cmp::Reverse(rank(reading)));
        match ranked.as_slice() {
            [first, second, ..] if rank(first) > rank(second) => Ok((*first).clone()),
            _ => Err(self.undecided(several)),
        }
    }

    /// Backslashes before quotes, where doubling them makes no sense and this does.
    fn escaped(&self, chosen: Reading) -> Result<Reading, Error> {
        if chosen.broken == 0 || self.said.escape.is_some() || chosen.dialect.quote.is_none() {
            return Ok(chosen);
        }
        let other = self.read(&Dialect {
            escape: Some(b'\\'),
            ..chosen.dialect.clone()
        })?;
        Ok(if other.broken == 0 { other } else { chosen })
    }

    fn read(&self, dialect: &Dialect) -> Result<Reading, Error> {
        let mut reading = Reading {
            dialect: dialect.clone(),
            records: 0,
            first: 0,
            usual: 0,
            agreeing: 0,
            least: usize::MAX,
            most: 0,
            broken: 0,
            typed: 0,
            single_quoted: 0,
        };
        let mut counts: Vec<usize> = Vec::new();
        let mut guesses: Vec<Guess> = Vec::new();
        let nulls = Nulls::new(dialect);
        for record in self.records(dialect)?.take(DIALECT_RECORDS) {
            let count = record.fields.len();
            reading.records += 1;
            reading.broken += usize::from(record.state != State::Whole);
            let in_quotes = record.fields.iter().any(|field| field.quoted);
            reading.single_quoted += usize::from(in_quotes && dialect.quote == Some(b'\''));
            if reading.records == 1 {
                reading.first = count;
            } else {
                note_types(&mut guesses, &record, self.text, dialect, &nulls);
            }
            counts.push(count);
            reading.least = reading.least.min(count);
            reading.most = reading.most.max(count);
        }
        (reading.usual, reading.agreeing) = most_frequent(&counts, reading.first);
        let typed = guesses
            .iter()
            .filter(|guess| guess.values > 0 && (!guess.is_text() || guess.is_comma_decimal()));
        reading.typed = 1000 * typed.count() / guesses.len().max(1);
        Ok(reading)
    }

    /// The records of the sample that are there in full, the header among them; blank lines and comments left out.
    fn records<'b>(
        &'b self,
        dialect: &'b Dialect,
    ) -> Result<impl Iterator<Item = Record> + 'b, Error> {
        let begin = begin(self.text, self.whole, dialect, &self.file)?;
        let start = match first_record(self.text, self.whole, begin, dialect, &self.file) {
            Ok((at, _)) => at.offset as usize,
            // Another dialect may make sense of it.
            Err(error) if matches!(error.kind, Kind::Quote | Kind::TooLong | Kind::Unsure) => {
                self.text.len()
            }
            Err(error) => return Err(error),
        };
        Ok(self.records_from(dialect, start))
    }

    pub(super) fn records_from<'b>(
        &'b self,
        dialect: &'b Dialect,
        start: usize,
    ) -> impl Iterator<Item = Record> + 'b {
        let mut at = start;
        std::iter::from_fn(move || {
            while at < self.text.len() {
                let record = record::read(self.text, at, dialect);
                let unterminated = matches!(record.state, State::Unterminated { .. });
                if !self.whole && (unterminated || record.next == self.text.len()) {
                    at = self.text.len();
                    return None;
                }
                at = record.next;
                if matches!(record.state, State::Whole | State::TextAfterQuote) || unterminated {
                    return Some(record);
                }
            }
            None
        })
    }

    fn undecided(&self, readings: &[&Reading]) -> Error {
        let each: Vec<String> = readings
            .iter()
            .map(|reading| {
                let delimiter = char::from(reading.dialect.delimiter).escape_default();
                if reading.least == reading.most {
                    format!("`{delimiter}` gives {}", fields(reading.usual))
                } else {
                    format!(
                        "`{delimiter}` gives {} to {}",
                        reading.least,
                        fields(reading.most)
                    )
                }
            })
            .collect();
        let first = readings
            .first()
            .map_or(b',', |reading| reading.dialect.delimiter);
        self.unsure(format!(
            "it is not evident what separates the fields: {}",
            each.join(", ")
        ))
        .hint(self.notes().unwrap_or_else(|| {
            let first = char::from(first).escape_default();
            format!("say which, as in delim='{first}'")
        }))
    }

    /// What leaves out notes before the header.
    fn notes(&self) -> Option<String> {
        let lines = self.text.split(|byte| *byte == b'\n');
        let notes = lines.take_while(|line| line.starts_with(b"#")).count();
        (notes > 0 && self.said.comment.is_none() && self.said.skip.is_none()).then(|| {
            format!("comment='#' leaves out all lines that begin with it, skip={notes} the first {notes}")
        })
    }

    fn unsure(&self, reason: impl Into<String>) -> Error {
        Error::new(Kind::Unsure, &self.file, reason)
    }
}

pub(super) fn note_types(
    guesses: &mut Vec<Guess>,
    record: &Record,
    text: &[u8],
    dialect: &Dialect,
    nulls: &Nulls,
) {
    if guesses.len() < record.fields.len() {
        guesses.resize(record.fields.len(), Guess::default());
    }
    for (guess, field) in guesses.iter_mut().zip(&record.fields) {
        let bytes = field.bytes(text, dialect);
        let null = if field.quoted {
            nulls.holds_quoted(&bytes)
        } else {
            nulls.holds(&bytes)
        };
        if !null {
            guess.add(&bytes, dialect);
        }
    }
}

/// The most frequent number and how often it occurs; of several the first record's, then the smallest.
fn most_frequent(counts: &[usize], first: usize) -> (usize, usize) {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let mut best = (
        first,
        counts.iter().filter(|&&count| count == first).count(),
    );
    for group in sorted.chunk_by(|one, other| one == other) {
        if group.len() > best.1 {
            best = (group[0], group.len());
        }
    }
    best
}

pub(super) fn fields(count: usize) -> String {
    if count == 1 {
        "1 field".to_owned()
    } else {
        format!("{count} fields")
    }
}

fn suffix_delimiter(file: &str) -> Option<u8> {
    let has = |suffix: &str| {
        file.to_ascii_lowercase()
            .split('.')
            .skip(1)
            .any(|part| part == suffix)
    };
    match () {
        () if has("tsv") || has("tab") => Some(b'\t'),
        () if has("psv") => Some(b'|'),
        () => None,
    }
}

/// What was said, made precise by the byte order mark, or what the mark says.
fn encoding(sample: &[u8], said: Option<Encoding>, file: &Arc<str>) -> Result<Encoding, Error> {
    let mark = match sample {
        [0xff, 0xfe, ..] => Some(Encoding::Utf16Le),
        [0xfe, 0xff, ..] => Some(Encoding::Utf16Be),
        _ => None,
    };
    match (said, mark) {
        (Some(Encoding::Utf16Le | Encoding::Utf16Be) | None, Some(mark)) => Ok(mark),
        (Some(said), _) => Ok(said),
        (None, None) if looks_like_utf16(sample) => Err(Error::new(
            Kind::Encoding,
            file,
            "every other byte is zero, so it is probably UTF-16 without a byte order mark",
        )
        .hint("say encoding='utf-16le' or 'utf-16be'")),
        (None, None) => Ok(Encoding::Utf8),
    }
}

fn looks_like_utf16(sample: &[u8]) -> bool {
    let head = &sample[..sample.len().min(512) & !1];
    let zeros = |parity: usize| {
        head.iter()
            .skip(parity)
            .step_by(2)
            .filter(|&&byte| byte == 0)
            .count()
    };
    let most = zeros(0).max(zeros(1));
    head.len() >= 4
        && most * 10 >= head.len() / 2 * 8
        && zeros(0).min(zeros(1)) * 10 <= head.len() / 2
}

fn check_utf8(text: &[u8], file: &Arc<str>) -> Result<(), Error> {
    // A character that the sample's end cuts off is no fault.
    let Err(error) = std::str::from_utf8(text) else {
        return Ok(());
    };
    if error.error_len().is_none() {
        return Ok(());
    }
    let bad = error.valid_up_to();
    let start = memchr::memrchr2(b'\n', b'\r', &text[..bad]).map_or(0, |at| at + 1);
    let end = memchr::memchr2(b'\n', b'\r', &text[bad..]).map_or(text.len(), |at| bad + at);
    let line = 1 + record::count_lines(&text[..start]);
    Err(Error::new(
        Kind::Encoding,
        file,
        format!("the byte 0x{:02x} at offset {bad} is not UTF-8", text[bad]),
    )
    .at(line, &text[start..end])
    .hint("encoding='latin1' or 'utf-16' converts"))
}
