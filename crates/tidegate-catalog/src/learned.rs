//! What is kept of samples from one statement to the next: their rows, and what these told when they were asked.
//!
//! A key holds all that an answer follows from, so an answer that is kept is the one that would be found again: what is
//! known of a query does not depend on the queries before it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, SortExpr, Volatility};
use parking_lot::Mutex;

use crate::evidence::{Predicates, Sample, Share};
use crate::table::{FilesTable, Reading};

/// Which sample: the hash of the files at one state, how they are read, the share that is looked into, and the
/// columns with their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleId([u8; 32]);

impl SampleId {
    /// The sample of `columns` of a table, in `percent` of its row groups or files.
    pub fn of(table: &FilesTable, percent: usize, columns: &BTreeSet<String>) -> Self {
        let mut hasher = blake3::Hasher::new();
        // Length first: no two different lists give the same bytes.
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(&table.snapshot().id);
        text(&percent.to_string());
        if let Reading::Records { format, .. } = &table.reading {
            text(&format!("{format:?}"));
        }
        for column in columns {
            text(column);
            if let Ok(field) = table.table_schema().field_with_name(column) {
                text(&field.data_type().to_string());
            }
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// A question to a sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asked {
    /// How many distinct values do columns have together?
    Distinct {
        /// The sample.
        sample: SampleId,
        /// The columns, at least one.
        columns: BTreeSet<String>,
        /// The bits of the number of rows of the table.
        table_rows: u64,
    },
    /// For what share of the rows do conditions hold?
    Share {
        /// The sample.
        sample: SampleId,
        /// The conditions.
        predicates: Predicates,
        /// The zone in which timestamps are taken apart.
        time_zone: Option<String>,
    },
    /// At which values of an order are the rows for which conditions hold cut into equal parts?
    Cuts {
        /// The sample.
        sample: SampleId,
        /// What is asked.
        cuts: Cuts,
        /// The zone in which timestamps are taken apart.
        time_zone: Option<String>,
    },
}

/// Where the rows of a table are to be cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cuts {
    /// The order. Its columns have no qualifier.
    pub order: Vec<SortExpr>,
    /// What holds for the rows.
    pub conditions: Option<Predicates>,
    /// Into how many parts.
    pub parts: usize,
}

impl Cuts {
    /// The names of the columns that are needed.
    pub fn columns(&self) -> impl Iterator<Item = String> {
        let keys = self.order.iter().flat_map(|key| key.expr.column_refs());
        let keys = keys.map(|column| column.name.clone());
        keys.chain(self.conditions.iter().flat_map(Predicates::columns))
    }
}

impl Asked {
    /// Whether the answer follows from the question: not from the user or the time, which no key holds.
    fn is_settled(&self) -> bool {
        let exprs: Vec<&Expr> = match self {
            Self::Distinct { .. } => return true,
            Self::Share { predicates, .. } => predicates.all().iter().collect(),
            Self::Cuts { cuts, .. } => {
                let conditions = cuts.conditions.iter().flat_map(Predicates::all);
                cuts.order
                    .iter()
                    .map(|key| &key.expr)
                    .chain(conditions)
                    .collect()
            }
        };
        let is_immutable = |node: &Expr| match node {
            Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
            _ => true,
        };
        exprs.into_iter().all(|condition| {
            let mut settled = true;
            let walk = condition.apply(|node| {
                settled &= is_immutable(node);
                Ok(TreeNodeRecursion::Continue)
            });
            walk.is_ok() && settled
        })
    }

    /// About what it takes to keep it. A constant takes some ten times its text.
    fn bytes(&self) -> usize {
        let text = match self {
            Self::Distinct { columns, .. } => columns.iter().map(String::len).sum(),
            Self::Share { predicates, .. } => 16 * predicates.text().len(),
            Self::Cuts { cuts, .. } => {
                let conditions = cuts.conditions.as_ref().map_or(0, |all| all.text().len());
                16 * conditions + 1024 * cuts.order.len()
            }
        };
        text + 256
    }
}

/// An answer of a sample; none if it cannot tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// So many distinct values.
    Distinct(Option<f64>),
    /// Such a share of the rows.
    Share(Option<Share>),
    /// At these values of the keys, one time fewer than there are parts.
    Cuts(Option<Arc<Vec<Vec<ScalarValue>>>>),
}

impl Answer {
    /// About what it takes to keep it.
    fn bytes(&self) -> usize {
        match self {
            Self::Cuts(Some(cuts)) => cuts.iter().flatten().map(ScalarValue::size).sum(),
            _ => 0,
        }
    }
}

/// Answers may take this share of the memory that samples may take.
const ANSWERS_SHARE: usize = 8;

/// Samples that were read and the answers they gave.
#[derive(Debug)]
pub struct SampleCache {
    samples: Mutex<Kept<SampleId, Sample>>,
    answers: Mutex<Kept<Asked, Answer>>,
}

impl SampleCache {
    /// A cache of at most so many bytes of rows.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            samples: Mutex::new(Kept::new(bytes_max)),
            answers: Mutex::new(Kept::new(bytes_max / ANSWERS_SHARE)),
        }
    }

    /// A sample, if it is known.
    pub fn get(&self, id: SampleId) -> Option<Sample> {
        self.samples.lock().get(&id).cloned()
    }

    /// Remembers a sample.
    pub fn put(&self, id: SampleId, sample: &Sample) {
        let bytes = sample.bytes();
        self.samples.lock().put(id, sample.clone(), bytes);
    }

    /// What a sample answered before.
    pub fn answer(&self, asked: &Asked) -> Option<Answer> {
        self.answers.lock().get(asked).cloned()
    }

    /// Remembers what a sample answered.
    pub fn remember(&self, asked: &Asked, answer: &Answer) {
        if asked.is_settled() {
            let bytes = asked.bytes() + answer.bytes();
            self.answers
                .lock()
                .put(asked.clone(), answer.clone(), bytes);
        }
    }
}

/// Values by key, of at most so many bytes; the oldest are forgotten first.
#[derive(Debug)]
struct Kept<K, V> {
    bytes_max: usize,
    values: HashMap<Arc<K>, (V, usize)>,
    order: VecDeque<Arc<K>>,
    bytes: usize,
}

impl<K: Eq + Hash, V> Kept<K, V> {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            values: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(value, _)| value)
    }

    fn put(&mut self, key: K, value: V, bytes: usize) {
        let key = Arc::new(key);
        self.bytes += bytes;
        match self.values.insert(Arc::clone(&key), (value, bytes)) {
            Some((_, old)) => self.bytes -= old,
            None => self.order.push_back(key),
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some((_, gone)) = self.values.remove(&oldest) {
                self.bytes -= gone;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::functions::datetime;
    use datafusion::prelude::{col, lit};

    use super::*;

    fn share(condition: Expr, time_zone: &str) -> Asked {
        Asked::Share {
            sample: SampleId([0; 32]),
            predicates: Predicates::new(BTreeMap::from([("text".into(), condition)])),
            time_zone: Some(time_zone.into()),
        }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut kept = Kept::new(10);
        for (key, bytes) in [(1, 4), (2, 4), (1, 5), (3, 4)] {
            kept.put(key, key, bytes);
        }
        assert_eq!(
            (kept.get(&1), kept.get(&2), kept.get(&3)),
            (None, Some(&2), Some(&3))
        );
        assert_eq!(kept.bytes, 8);
        kept.put(4, 4, 11);
        assert_eq!((kept.get(&3), kept.get(&4), kept.bytes), (None, None, 0));
    }

    #[test]
    fn an_answer_is_for_one_condition_in_one_zone() {
        let cache = SampleCache::new(1 << 20);
        let answer = Answer::Share(Some(Share::Measured(0.5)));
        let asked = share(col("a").lt(lit(1)), "+00:00");
        cache.remember(&asked, &answer);
        assert_eq!(cache.answer(&asked), Some(answer));
        // The same text is not enough.
        assert_eq!(
            cache.answer(&share(col("a").lt(lit(1_i64)), "+00:00")),
            None
        );
        assert_eq!(cache.answer(&share(col("a").lt(lit(1)), "+01:00")), None);
    }

    #[test]
    fn what_depends_on_the_time_is_asked_again() {
        let cache = SampleCache::new(1 << 20);
        let asked = share(col("a").lt(datetime::expr_fn::now()), "+00:00");
        cache.remember(&asked, &Answer::Share(None));
        assert_eq!(cache.answer(&asked), None);
    }
}
