//! Rows that a reader left out because of `on_error = 'skip'`: an exact count, and a bounded list of
//! the first of them by file and line, whatever the order in which threads found them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// One row of a file that was not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reject {
    /// The file, as the user named or would name it.
    pub file: Arc<str>,
    /// Physical line on which the record starts (or, for a quote that never closes, where it opens), from 1.
    pub line: u64,
    /// The column at fault; none when the record as a whole is.
    pub column: Option<Arc<str>>,
    /// The record as it stands in the file, cut at [`Limits::text_bytes_max`].
    pub text: String,
    /// Why it was left out, one line.
    pub reason: String,
    /// The sort of fault.
    pub kind: Kind,
}

/// The sorts of faults that rows are left out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A value does not fit its column's type.
    Value,
    /// Too few or too many fields.
    Fields,
    /// A quote never closes, or text follows a closing quote.
    Quote,
    /// The record is longer than allowed.
    TooLong,
    /// Bytes that are not of the file's encoding.
    Encoding,
    /// The record cannot be read for another reason.
    Record,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Value => "value does not fit its type",
            Kind::Fields => "wrong number of fields",
            Kind::Quote => "broken quotes",
            Kind::TooLong => "record too long",
            Kind::Encoding => "bytes that are no text of the encoding",
            Kind::Record => "record cannot be read",
        }
    }
}

/// How many rows were left out for one sort of fault in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The sort of fault.
    pub kind: Kind,
    /// The column at fault; none when records as a whole are.
    pub column: Option<Arc<str>>,
    /// Exact.
    pub count: u64,
    /// File and line of the first.
    pub first: (Arc<str>, u64),
}

/// How much of the rejected rows is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Rejected rows kept for display; further ones are only counted.
    pub rows_max: usize,
    /// Bytes kept of each rejected text.
    pub text_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows_max: 10_000,
            text_bytes_max: 4096,
        }
    }
}

/// Collects rejected rows from many threads.
///
/// ```
/// use tidegate_operators::rejects::{Kind, Limits, Reject, RejectLog};
/// let log = RejectLog::new(Limits { rows_max: 1, ..Limits::default() });
/// for line in [7, 3] {
///     log.push(Reject { file: "a.csv".into(), line, column: None, text: "x".into(), reason: "too short".into(), kind: Kind::Fields });
/// }
/// assert_eq!(log.count(), 2);
/// assert_eq!(log.rows()[0].line, 3);
/// ```
pub struct RejectLog {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    count: u64,
    /// The smallest rejects by file and line; the number tells equal ones apart.
    kept: BTreeMap<(Reject, u64), ()>,
    /// For each sort of fault in each column; as bounded as the columns are.
    tallies: BTreeMap<(Kind, Option<Arc<str>>), Counted>,
}

/// How many there are, and file and line of the first.
struct Counted {
    count: u64,
    first: (Arc<str>, u64),
}

impl RejectLog {
    /// An empty log.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::new(State::default()),
        }
    }

    /// Notes one rejected row.
    pub fn push(&self, mut reject: Reject) {
        truncate(&mut reject.text, self.limits.text_bytes_max);
        let mut state = self.state.lock();
        state.count += 1;
        let number = state.count;
        state.tally(&reject);
        state.kept.insert((reject, number), ());
        if state.kept.len() > self.limits.rows_max {
            state.kept.pop_last();
        }
    }

    /// How many rows were rejected, kept or not.
    pub fn count(&self) -> u64 {
        self.state.lock().count
    }

    /// The kept rows, by file and line.
    pub fn rows(&self) -> Vec<Reject> {
        let state = self.state.lock();
        state
            .kept
            .keys()
            .map(|(reject, _)| reject.clone())
            .collect()
    }

    /// What the rows were left out for, with exact counts.
    pub fn tallies(&self) -> Vec<Tally> {
        let state = self.state.lock();
        let tallies = state.tallies.iter();
        tallies
            .map(|((kind, column), counted)| Tally {
                kind: *kind,
                column: column.clone(),
                count: counted.count,
                first: counted.first.clone(),
            })
            .collect()
    }

    /// The limits it was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

impl State {
    fn tally(&mut self, reject: &Reject) {
        let place = (Arc::clone(&reject.file), reject.line);
        let key = (reject.kind, reject.column.clone());
        let counted = self.tallies.entry(key).or_insert_with(|| Counted {
            count: 0,
            first: place.clone(),
        });
        counted.count += 1;
        if place < counted.first {
            counted.first = place;
        }
    }
}

impl Default for RejectLog {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl fmt::Debug for RejectLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectLog")
            .field("limits", &self.limits)
            .field("count", &self.count())
            .finish()
    }
}

/// Shortens `text` to at most `bytes`, at a character's edge, and marks that it did.
fn truncate(text: &mut String, bytes: usize) {
    if text.len() <= bytes {
        return;
    }
    let end = (0..=bytes)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    text.truncate(end);
    text.push('…');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(line: u64, text: &str) -> Reject {
        Reject {
            file: "a.csv".into(),
            line,
            column: None,
            text: text.into(),
            reason: "r".into(),
            kind: Kind::Fields,
        }
    }

    #[test]
    fn counts_all_and_keeps_the_first_lines_whatever_the_order() {
        let log = RejectLog::new(Limits {
            rows_max: 3,
            text_bytes_max: 4,
        });
        for line in [9, 2, 7, 2, 8, 1] {
            log.push(reject(line, "x"));
        }
        assert_eq!(log.count(), 6);
        let lines: Vec<u64> = log.rows().iter().map(|r| r.line).collect();
        assert_eq!(lines, [1, 2, 2]);
        let tally = Tally {
            kind: Kind::Fields,
            column: None,
            count: 6,
            first: ("a.csv".into(), 1),
        };
        assert_eq!(log.tallies(), [tally]);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let log = RejectLog::new(Limits {
            rows_max: 3,
            text_bytes_max: 4,
        });
        log.push(reject(1, "abcé"));
        assert_eq!(log.rows()[0].text, "abc…");
    }

    #[test]
    fn nothing_is_kept_under_a_limit_of_zero() {
        let log = RejectLog::new(Limits {
            rows_max: 0,
            text_bytes_max: 4,
        });
        log.push(reject(1, "x"));
        assert_eq!((log.count(), log.rows().len()), (1, 0));
    }
}
