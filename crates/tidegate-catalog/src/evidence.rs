//! What planning may know of a table: rows, distinct values and the share of rows that pass a condition, from
//! footers and from a sample of rows. Estimates only: no answer may depend on them.
//!
//! Distinct values are those of the sample, carried over to the table by the method of moments of Haas, Naughton,
//! Seshadri and Stokes, "Sampling-based estimation of the number of distinct values of an attribute", VLDB 1995, after a
//! look at whether values are unique or clustered, see [`Sample::distinct`]. No sketch such as HyperLogLog stands beside
//! it: a sketch of the table would have to read all of it, and be kept beside data that is not ours; of a sample of some
//! thousand rows a set of hashes counts exactly, which is what the method needs, and how often each was seen besides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, concat, filter, lexsort_to_indices};
use arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use tidegate_operators::unwinding::catch;

use crate::learned::{Answer, Asked, Cuts, SampleId};
use crate::table::FilesTable;

/// Conditions on the rows of one table that hold together. Their columns have no qualifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Predicates {
    text: String,
    all: Vec<Expr>,
}

impl Predicates {
    /// Conditions by their text.
    pub fn new(by_text: BTreeMap<String, Expr>) -> Self {
        let texts: Vec<_> = by_text.keys().map(String::as_str).collect();
        Self {
            text: texts.join(" AND "),
            all: by_text.into_values().collect(),
        }
    }

    /// The conditions.
    pub fn all(&self) -> &[Expr] {
        &self.all
    }

    /// The conditions as one text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The names of the columns they speak of.
    pub fn columns(&self) -> impl Iterator<Item = String> {
        let columns = self.all.iter().flat_map(Expr::column_refs);
        columns.map(|column| column.name.clone())
    }
}

/// The share of rows that pass, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// As many of the sample passed.
    Measured(f64),
    /// None of the sample passed: the share is less than this.
    Below(f64),
}

/// What is known of one table.
#[derive(Debug, Clone, Default)]
pub struct TableEvidence {
    rows: Option<f64>,
    distinct: BTreeMap<String, f64>,
    together: BTreeMap<BTreeSet<String>, f64>,
    bounds: BTreeMap<String, (f64, f64)>,
    shares: BTreeMap<String, Share>,
    cuts: Vec<(Cuts, Arc<Vec<Vec<ScalarValue>>>)>,
}

impl TableEvidence {
    /// Rows of the table.
    pub fn rows(&self) -> Option<f64> {
        self.rows
    }

    /// How many different values a column has, NULL left out.
    pub fn distinct(&self, column: &str) -> Option<f64> {
        self.distinct.get(column).copied()
    }

    /// Several columns, and how many different values they have together.
    pub fn together(&self) -> impl Iterator<Item = (&BTreeSet<String>, f64)> {
        self.together
            .iter()
            .map(|(columns, distinct)| (columns, *distinct))
    }

    /// The least and the greatest number of a column.
    pub fn bounds(&self, column: &str) -> Option<(f64, f64)> {
        self.bounds.get(column).copied()
    }

    /// The share of the rows for which all conditions hold.
    pub fn share(&self, predicates: &Predicates) -> Option<Share> {
        self.shares.get(&predicates.text).copied()
    }

    /// Values at which the rows are cut into about equal parts, one fewer than there are parts.
    pub fn cuts(&self, cuts: &Cuts) -> Option<&[Vec<ScalarValue>]> {
        let found = self.cuts.iter().find(|(known, _)| known == cuts)?;
        Some(&found.1)
    }

    /// What footers tell; a table of records has an estimate of its rows.
    pub(crate) fn of(table: &FilesTable) -> Self {
        let statistics = table.all_statistics();
        let rows = statistics.num_rows.get_value().map(|rows| *rows as f64);
        // Of compressed text not even the length of the lines is known.
        let bytes = || table.files().iter().map(|file| file.meta.size).sum::<u64>();
        let rows = rows.or_else(|| Some((bytes() / BYTES_A_ROW) as f64));
        let schema = table.table_schema();
        let columns = schema.fields().iter().zip(&statistics.column_statistics);
        let distinct = columns
            .filter_map(|(field, column)| Some((field.name().clone(), dense(column, rows?)?)));
        let distinct = distinct.collect();
        let columns = schema.fields().iter().zip(&statistics.column_statistics);
        let bounds = columns.filter_map(|(field, column)| {
            let numeric = field.data_type().is_numeric();
            let bounds = (number(&column.min_value), number(&column.max_value));
            Some((
                numeric.then(|| field.name().clone())?,
                (bounds.0?, bounds.1?),
            ))
        });
        Self {
            rows,
            distinct,
            together: BTreeMap::new(),
            bounds: bounds.collect(),
            shares: BTreeMap::new(),
            cuts: Vec::new(),
        }
    }

    /// Whether the footers tell enough of a column's distinct values: then no sample is needed.
    pub(crate) fn settles(&self, column: &str) -> bool {
        self.distinct.contains_key(column)
    }

    /// What a sample of `columns` is to tell: the distinct values of those that are not settled and of those that are asked
    /// for `together`, the share of rows for which conditions hold, and where the rows are cut into equal parts.
    pub fn asks(
        &self,
        sample: SampleId,
        columns: &BTreeSet<String>,
        together: BTreeSet<BTreeSet<String>>,
        predicates: &[Predicates],
        cuts: Vec<Cuts>,
        state: &dyn Session,
    ) -> Vec<Asked> {
        let unsettled = columns.iter().filter(|column| !self.settles(column));
        let alone = unsettled.map(|column| BTreeSet::from([column.clone()]));
        let together = together.into_iter().filter(|all| all.is_subset(columns));
        let distinct = alone.chain(together).map(|columns| Asked::Distinct {
            sample,
            columns,
            table_rows: self.rows.unwrap_or_default().to_bits(),
        });
        let time_zone = &state.config_options().execution.time_zone;
        let shares = predicates.iter().map(|predicates| Asked::Share {
            sample,
            predicates: predicates.clone(),
            time_zone: time_zone.clone(),
        });
        let cuts = cuts.into_iter().map(|cuts| Asked::Cuts {
            sample,
            cuts,
            time_zone: time_zone.clone(),
        });
        distinct.chain(shares).chain(cuts).collect()
    }

    /// Adds the answers of a sample, in the order of what was asked.
    pub fn learn(&mut self, table: &FilesTable, asked: Vec<Asked>, answers: &[Answer]) {
        for (asked, answer) in asked.into_iter().zip(answers) {
            match (asked, answer) {
                (Asked::Distinct { columns, .. }, Answer::Distinct(Some(distinct))) => {
                    self.learn_distinct(table, columns, *distinct);
                }
                (Asked::Share { predicates, .. }, Answer::Share(Some(share))) => {
                    self.shares.insert(predicates.text, *share);
                }
                (Asked::Cuts { cuts, .. }, Answer::Cuts(Some(values))) => {
                    self.cuts.push((cuts, Arc::clone(values)));
                }
                _ => {}
            }
        }
    }

    fn learn_distinct(&mut self, table: &FilesTable, columns: BTreeSet<String>, distinct: f64) {
        let column = match columns.first() {
            Some(column) if columns.len() == 1 => column.clone(),
            _ => {
                self.together.insert(columns, distinct.max(1.0));
                return;
            }
        };
        let known = table.table_schema().index_of(&column).ok();
        let known = known.map(|at| &table.all_statistics().column_statistics[at]);
        let most = known.and_then(range).unwrap_or(f64::INFINITY);
        self.distinct.insert(column, distinct.min(most).max(1.0));
    }
}

/// How many values lie between the bounds of a column of whole numbers or days.
fn range(column: &ColumnStatistics) -> Option<f64> {
    let (least, most) = (whole(&column.min_value)?, whole(&column.max_value)?);
    Some((most as f64 - least as f64 + 1.0).max(1.0))
}

fn number(bound: &Precision<ScalarValue>) -> Option<f64> {
    match bound.get_value()?.cast_to(&DataType::Float64).ok()? {
        ScalarValue::Float64(value) => value,
        _ => None,
    }
}

fn whole(bound: &Precision<ScalarValue>) -> Option<i128> {
    let bound = bound.get_value()?;
    match bound.data_type() {
        DataType::Date32 => bound.cast_to(&DataType::Int32).ok(),
        of if of.is_integer() => Some(bound.clone()),
        DataType::Boolean => bound.cast_to(&DataType::Int8).ok(),
        _ => None,
    }
    .and_then(|bound| match bound.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(value)) => Some(i128::from(value)),
        _ => None,
    })
}

/// What a row takes in a file of which nothing else is known.
const BYTES_A_ROW: u64 = 32;

/// So many rows for each value between the bounds, and every value is taken to occur.
const DENSE_ROWS: f64 = 8.0;

/// The distinct values of a column if its bounds settle them: far fewer values lie between them than there are rows.
fn dense(column: &ColumnStatistics, rows: f64) -> Option<f64> {
    if let Some(distinct) = column.distinct_count.get_value() {
        return Some((*distinct as f64).max(1.0));
    }
    range(column).filter(|range| range * DENSE_ROWS <= rows)
}

/// Rows of a table from several places, in chunks of rows that follow each other.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    chunks: Vec<RecordBatch>,
    /// The sample is the whole table.
    is_whole: bool,
}

impl Sample {
    /// A sample of one batch a chunk.
    pub fn new(chunks: Vec<RecordBatch>, is_whole: bool) -> Self {
        Self { chunks, is_whole }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks
            .iter()
            .map(RecordBatch::get_array_memory_size)
            .sum()
    }

    /// What the sample tells.
    pub fn answer(&self, asked: &Asked, state: &dyn Session) -> Answer {
        match asked {
            Asked::Distinct {
                columns,
                table_rows,
                ..
            } => {
                let place = |column| self.schema()?.index_of(column).ok();
                let places: Option<Vec<usize>> = columns.iter().map(|one| place(one)).collect();
                let table_rows = f64::from_bits(*table_rows);
                Answer::Distinct(places.and_then(|all| self.distinct(&all, table_rows)))
            }
            // A condition that fails on a row fails when the query runs; here it only cannot be judged.
            Asked::Share { predicates, .. } => {
                Answer::Share(catch(|| self.share(predicates, state)).flatten())
            }
            Asked::Cuts { cuts, .. } => {
                let values = catch(|| self.cuts(cuts, state)).flatten();
                Answer::Cuts(values.map(Arc::new))
            }
        }
    }

    fn schema(&self) -> Option<arrow::datatypes::SchemaRef> {
        self.chunks.first().map(RecordBatch::schema)
    }

    fn rows(&self) -> usize {
        self.chunks.iter().map(RecordBatch::num_rows).sum()
    }

    /// How many distinct values columns of the table with `table_rows` have together.
    ///
    /// Where no value comes twice in different chunks the column is unique or clustered, and the density inside of chunks
    /// holds for the table; a chunk of one value says little of it. Else values that are all seen more than once are
    /// all there are, or the values are spread, and the number is sought from which so many drawings give so many.
    fn distinct(&self, columns: &[usize], table_rows: f64) -> Option<f64> {
        // Values are hashed already. Of each: how often it was seen, and in which chunk last.
        let mut seen: HashMap<u64, (u32, usize), BuildHasherDefault<AsIs>> = HashMap::default();
        let (mut drawn, mut in_chunks) = (0usize, 0usize);
        for (number, chunk) in self.chunks.iter().enumerate() {
            let columns: Vec<_> = columns.iter().map(|at| chunk.column(*at)).collect();
            let hashes = hashes(&columns)?;
            drawn += hashes.len();
            for hash in hashes {
                let (count, last) = seen.entry(hash).or_insert((0, usize::MAX));
                in_chunks += usize::from(*last != number);
                (*count, *last) = (*count + 1, number);
            }
        }
        let distinct = seen.len();
        if drawn == 0 {
            return Some(1.0);
        }
        let once = seen.values().filter(|(count, _)| *count == 1).count();
        let table_rows = table_rows.max(drawn as f64);
        let is_apart = distinct == in_chunks && self.chunks.len() > 1;
        let dense = table_rows * in_chunks as f64 / drawn as f64;
        Some(if self.is_whole {
            distinct as f64
        } else if is_apart && distinct <= self.chunks.len() {
            (dense * distinct as f64).sqrt()
        } else if columns.len() > 1 && distinct == drawn {
            pairs_unseen(drawn as f64, dense)
        } else if is_apart || distinct == drawn {
            dense
        } else if once == 0 {
            distinct as f64
        } else {
            spread(distinct as f64, drawn as f64).min(table_rows)
        })
    }

    fn physical(&self, exprs: &[Expr], state: &dyn Session) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(self.schema()?).ok()?;
        let exprs = exprs.iter();
        exprs
            .map(|expr| state.create_physical_expr(expr.clone(), &schema).ok())
            .collect()
    }

    /// The keys of the rows that stand where each part but the first begins; NULL if there is no row.
    fn cuts(&self, cuts: &Cuts, state: &dyn Session) -> Option<Vec<Vec<ScalarValue>>> {
        let keys: Vec<Expr> = cuts.order.iter().map(|key| key.expr.clone()).collect();
        let keys = self.physical(&keys, state)?;
        let conditions = cuts.conditions.as_ref().map_or(&[][..], Predicates::all);
        let conditions = self.physical(conditions, state)?;
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); keys.len()];
        for chunk in &self.chunks {
            let passing = BooleanArray::from(passing(chunk, &conditions)?);
            for (key, parts) in keys.iter().zip(&mut parts) {
                let values = key
                    .evaluate(chunk)
                    .ok()?
                    .into_array(chunk.num_rows())
                    .ok()?;
                parts.push(filter(&values, &passing).ok()?);
            }
        }
        let columns = parts.iter().zip(&cuts.order).map(|(parts, key)| {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            Some(SortColumn {
                values: concat(&parts).ok()?,
                options: Some(SortOptions::new(!key.asc, key.nulls_first)),
            })
        });
        let columns = columns.collect::<Option<Vec<_>>>()?;
        let places = lexsort_to_indices(&columns, None).ok()?;
        if places.is_empty() && cuts.conditions.is_some() {
            let conditions = None;
            return self.cuts(
                &Cuts {
                    conditions,
                    ..cuts.clone()
                },
                state,
            );
        }
        let at = |part: usize| -> Option<Vec<ScalarValue>> {
            let columns = columns.iter().map(|column| match places.len() {
                0 => ScalarValue::try_new_null(column.values.data_type()).ok(),
                rows => {
                    let row = places.value(part * rows / cuts.parts) as usize;
                    ScalarValue::try_from_array(&column.values, row).ok()
                }
            });
            columns.collect()
        };
        (1..cuts.parts).map(at).collect()
    }

    fn share(&self, predicates: &Predicates, state: &dyn Session) -> Option<Share> {
        let conditions = self.physical(&predicates.all, state)?;
        let mut passed = 0usize;
        for chunk in &self.chunks {
            let left = passing(chunk, &conditions)?;
            passed += left.iter().filter(|left| **left).count();
        }
        let rows = self.rows() as f64;
        Some(match passed {
            0 if rows == 0.0 => return None,
            0 => Share::Below(0.5 / rows),
            _ => Share::Measured(passed as f64 / rows),
        })
    }
}

/// Which rows of a chunk all conditions hold for.
fn passing(chunk: &RecordBatch, conditions: &[Arc<dyn PhysicalExpr>]) -> Option<Vec<bool>> {
    let mut left = vec![true; chunk.num_rows()];
    for condition in conditions {
        let answer = condition.evaluate(chunk).ok()?;
        let answer = answer.into_array(chunk.num_rows()).ok()?;
        let answer = as_boolean_array(&answer).ok()?;
        for (at, left) in left.iter_mut().enumerate() {
            *left &= answer.is_valid(at) && answer.value(at);
        }
    }
    Some(left)
}

/// A hash is its own hash.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Hashes of the values of columns in the rows where none is NULL; none of types that cannot be hashed.
fn hashes(columns: &[&ArrayRef]) -> Option<Vec<u64>> {
    let mut hashes = vec![0; columns.first()?.len()];
    // A fixed seed: the same files give the same plan in every process.
    create_hashes(
        columns.iter().copied(),
        &RandomState::with_seed(0),
        &mut hashes,
    )
    .ok()?;
    let nulls: Vec<_> = columns
        .iter()
        .filter_map(|column| column.logical_nulls())
        .collect();
    if nulls.is_empty() {
        return Some(hashes);
    }
    let is_valued = |row: &usize| nulls.iter().all(|nulls| nulls.is_valid(*row));
    let rows = hashes.into_iter().enumerate();
    Some(
        rows.filter(|(row, _)| is_valued(row))
            .map(|(_, hash)| hash)
            .collect(),
    )
}

/// How many combinations of values there are when none of the drawn ones came twice, and as many as rows at most: so
/// many that a pair of equal ones was not to be expected, halfway to `most` where that says little.
fn pairs_unseen(drawn: f64, most: f64) -> f64 {
    let least = drawn * drawn / 2.0;
    if most <= least {
        most
    } else {
        (least * most).sqrt()
    }
}

/// The number of equally likely values from which `drawn` drawings give `distinct` different ones: the root of
/// `D (1 - exp(-drawn / D)) = distinct`, by bisection.
fn spread(distinct: f64, drawn: f64) -> f64 {
    let gives = |all: f64| all * (1.0 - (-drawn / all).exp());
    let (mut low, mut high) = (distinct, drawn * drawn);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        match gives(middle) < distinct {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::Int64Array;
    use datafusion::prelude::{SessionContext, col, lit};

    use super::*;

    fn sample(chunks: &[Vec<i64>], is_whole: bool) -> Sample {
        let chunks = chunks.iter().map(|values| {
            let values: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            RecordBatch::try_from_iter([("a", values)]).unwrap()
        });
        Sample::new(chunks.collect(), is_whole)
    }

    fn distinct(chunks: &[Vec<i64>], table_rows: f64) -> f64 {
        sample(chunks, false).distinct(&[0], table_rows).unwrap()
    }

    #[test]
    fn few_values_are_all_seen() {
        let chunk: Vec<i64> = (0..1000).map(|n| n % 7).collect();
        assert_eq!(distinct(&[chunk.clone(), chunk], 1e6), 7.0);
    }

    #[test]
    fn unique_values_are_as_many_as_rows() {
        let chunks = [(0..1000).collect(), (50_000..51_000).collect()];
        assert_eq!(distinct(&chunks, 1e6), 1e6);
        assert_eq!(distinct(&[(0..1000).collect()], 1e6), 1e6);
    }

    #[test]
    fn clustered_values_are_as_dense_everywhere() {
        let clustered = |from: i64| (0..1000).map(|n| from + n / 4).collect();
        assert_eq!(
            distinct(&[clustered(0), clustered(900_000)], 1e6),
            250_000.0
        );
    }

    #[test]
    fn spread_values_are_sought() {
        // A generator of Lehmer draws from 20,000 values.
        let mut state = 42u64;
        let mut draw = || {
            state = state * 48_271 % 2_147_483_647;
            (state % 20_000) as i64
        };
        let chunks: Vec<Vec<i64>> = (0..4)
            .map(|_| (0..2000).map(|_| draw()).collect())
            .collect();
        let found = distinct(&chunks, 1e6);
        assert!((15_000.0..25_000.0).contains(&found), "{found}");
    }

    #[test]
    fn columns_together_have_their_pairs() {
        let column = |divisor: i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..600).map(|n| n % divisor)))
        };
        let chunk = RecordBatch::try_from_iter([("a", column(4)), ("b", column(6))]).unwrap();
        let sample = Sample::new(vec![chunk], true);
        assert_eq!(sample.distinct(&[0, 1], 600.0), Some(12.0));
        assert_eq!(pairs_unseen(1000.0, 4e5), 4e5);
        assert_eq!(pairs_unseen(1000.0, 5e7), 5e6);
    }

    #[test]
    fn a_condition_has_the_share_of_the_sample() {
        let context = SessionContext::new();
        let state = context.state();
        let sample = sample(&[(0..100).collect(), (100..200).collect()], false);
        let share = |expr: Expr| {
            let predicates = Predicates::new(BTreeMap::from([(expr.to_string(), expr)]));
            sample.share(&predicates, &state)
        };
        assert_eq!(share(col("a").lt(lit(50))), Some(Share::Measured(0.25)));
        assert_eq!(share(col("a").lt(lit(-1))), Some(Share::Below(0.0025)));
        assert_eq!(share(col("missing").lt(lit(1))), None);
    }

    #[test]
    fn rows_are_cut_into_equal_parts() {
        let context = SessionContext::new();
        let state = context.state();
        let sample = sample(&[(0..100).collect(), (100..200).collect()], false);
        let cuts = |descending: bool, condition: Option<Expr>| {
            let conditions =
                condition.map(|expr| Predicates::new(BTreeMap::from([(expr.to_string(), expr)])));
            let cuts = Cuts {
                order: vec![col("a").sort(!descending, false)],
                conditions,
                parts: 4,
            };
            let found = sample.cuts(&cuts, &state).unwrap();
            found.into_iter().flatten().collect::<Vec<_>>()
        };
        let values = |values: [i64; 3]| values.map(ScalarValue::from).to_vec();
        assert_eq!(cuts(false, None), values([50, 100, 150]));
        assert_eq!(cuts(true, None), values([149, 99, 49]));
        assert_eq!(
            cuts(false, Some(col("a").lt(lit(40)))),
            values([10, 20, 30])
        );
        // None of the sample passes: then as if there were no condition.
        assert_eq!(
            cuts(false, Some(col("a").lt(lit(0)))),
            values([50, 100, 150])
        );
    }
}
