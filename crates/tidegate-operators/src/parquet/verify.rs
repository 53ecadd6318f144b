//! A Parquet file read as a whole, to find what is wrong with it and where.
//!
//! 1. The footer, which everything else hangs on.
//! 2. Each column of each row group by itself, so that a fault is told with its place and hides no other.
//! 3. What the footer says of a column against what was read: rows, NULLs, bounds.

use std::cmp::Ordering;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footer::load;
use super::reader::PinnedReader;
use crate::input::{Error, InputFile};
use crate::source::{ScanAccess, first_line};
use crate::unwinding::catch;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which row group, from 0; none when it is the file.
    pub row_group: Option<usize>,
    /// The column at fault, a path of names for a nested one.
    pub column: Option<String>,
    /// What is wrong, one line.
    pub what: String,
}

/// What was found out about a file.
#[derive(Debug, Default)]
pub struct Verified {
    /// The first faults, in the order of the file.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub faults_count: u64,
    /// Rows, as the row groups say; none when the footer cannot be read.
    pub rows: Option<u64>,
    /// Columns of row groups that were read.
    pub chunks: u64,
    /// Of these, how many have bounds that were compared with the data.
    pub chunks_with_bounds: u64,
    faults_max: usize,
}

impl Verified {
    fn fault(&mut self, row_group: Option<usize>, column: Option<String>, what: String) {
        self.faults_count += 1;
        if self.faults.len() < self.faults_max {
            self.faults.push(Fault {
                row_group,
                column,
                what,
            });
        }
    }
}

/// Reads all of `file` and keeps the first `faults_max` faults.
///
/// # Errors
/// The file cannot be read at all, or changed meanwhile.
pub async fn verify(
    file: &InputFile,
    access: &ScanAccess,
    faults_max: usize,
) -> Result<Verified, Error> {
    let mut verified = Verified {
        faults_max,
        ..Verified::default()
    };
    let footer = load(file, &access.footers, &access.limits, |range| {
        file.fetch_range(range)
    });
    let footer = match footer.await {
        Ok(footer) => footer,
        Err(Error::Damaged { what, .. } | Error::Limit { what, .. }) => {
            verified.fault(None, None, what);
            return Ok(verified);
        }
        Err(error) => return Err(error),
    };
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer), ArrowReaderOptions::new());
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => {
            verified.fault(None, None, first_line(&error));
            return Ok(verified);
        }
    };
    check_rows(&footer, &mut verified);
    check_names(&metadata, &mut verified);
    for row_group in 0..footer.num_row_groups() {
        for leaf in 0..footer.file_metadata().schema_descr().num_columns() {
            let chunk = Chunk {
                metadata: &metadata,
                row_group,
                leaf,
            };
            chunk.verify(file, access, &mut verified).await?;
        }
    }
    Ok(verified)
}

/// The rows of the file against those of its row groups.
fn check_rows(footer: &ParquetMetaData, verified: &mut Verified) {
    let groups = footer.row_groups().iter();
    let rows = groups.fold(0i64, |sum, group| sum.saturating_add(group.num_rows()));
    verified.rows = u64::try_from(rows).ok();
    let said = footer.file_metadata().num_rows();
    if said != rows {
        let what = format!("the footer says {said} rows, its row groups have {rows}");
        verified.fault(None, None, what);
    }
}

/// Each name of a column that is there more than once.
fn check_names(metadata: &ArrowReaderMetadata, verified: &mut Verified) {
    let fields = metadata.schema().fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        let count = names.iter().filter(|other| *other == name).count();
        if count > 1 && !names[..at].contains(name) {
            let what = format!("{count} columns have this name");
            verified.fault(None, Some(name.to_string()), what);
        }
    }
}

/// One column of one row group.
struct Chunk<'a> {
    metadata: &'a ArrowReaderMetadata,
    row_group: usize,
    leaf: usize,
}

impl Chunk<'_> {
    async fn verify(
        &self,
        file: &InputFile,
        access: &ScanAccess,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let descriptor = self.metadata.metadata().file_metadata().schema_descr();
        let column = descriptor.column(self.leaf).path().string();
        let mut read = pin!(self.read(file, access));
        let caught = poll_fn(|cx| match catch(|| read.as_mut().poll(cx)) {
            Some(polled) => polled.map(Some),
            None => Poll::Ready(None),
        });
        let actual = match caught.await {
            Some(Ok(actual)) => Ok(actual),
            Some(Err(error)) => Err(cause(error)?),
            None => Err("its data contradict themselves".to_owned()),
        };
        verified.chunks += 1;
        let mut fault = |what| verified.fault(Some(self.row_group), Some(column.clone()), what);
        let actual = match actual {
            Ok(actual) => actual,
            Err(what) => {
                fault(format!("it cannot be decoded: {what}"));
                return Ok(());
            }
        };
        let compared = self.compare(&actual, &mut fault);
        verified.chunks_with_bounds += u64::from(compared);
        Ok(())
    }

    async fn read(&self, file: &InputFile, access: &ScanAccess) -> Result<Actual, ParquetError> {
        let descriptor = self.metadata.metadata().file_metadata().schema_descr();
        let footer = self.metadata.metadata();
        let reader = PinnedReader::of(file.clone(), footer, access);
        let mask = ProjectionMask::leaves(descriptor, [self.leaf]);
        let mut stream =
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.metadata.clone())
                .with_row_groups(vec![self.row_group])
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()?;
        let flat = self.flat_name().is_some();
        let mut actual = Actual::default();
        while let Some(batch) = stream.try_next().await? {
            actual.rows += batch.num_rows() as u64;
            match batch.columns().first() {
                Some(values) if flat => actual.add(values),
                _ => {}
            }
        }
        Ok(actual)
    }

    /// The name of a column that is not nested, for only those have statistics of whole rows, and that has it alone: of
    /// two the statistics of the first would be found.
    fn flat_name(&self) -> Option<&str> {
        let descriptor = self.metadata.metadata().file_metadata().schema_descr();
        let column = descriptor.column(self.leaf);
        let flat = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        let root = descriptor.get_column_root_idx(self.leaf);
        let field = self.metadata.schema().fields().get(root)?;
        let name = field.name().as_str();
        let others = self.metadata.schema().fields().iter();
        let alone = others.filter(|other| other.name() == name).count() == 1;
        (flat && alone).then_some(name)
    }

    /// Compares what the footer says with what was read. True if there were bounds to compare.
    fn compare(&self, actual: &Actual, fault: &mut impl FnMut(String)) -> bool {
        let footer = self.metadata.metadata();
        let group = footer.row_group(self.row_group);
        if u64::try_from(group.num_rows()) != Ok(actual.rows) {
            fault(format!(
                "it has {} rows, its row group says {}",
                actual.rows,
                group.num_rows()
            ));
        }
        let descriptor = footer.file_metadata().schema_descr();
        let Some(name) = self.flat_name() else {
            return false;
        };
        let converter = StatisticsConverter::try_new(name, self.metadata.schema(), descriptor);
        let Ok(converter) = converter.map(|c| c.with_missing_null_counts_as_zero(false)) else {
            return false;
        };
        if let Ok(nulls) = converter.row_group_null_counts([group])
            && nulls.is_valid(0)
            && nulls.value(0) != actual.nulls
        {
            fault(format!(
                "its statistics say {} NULLs, the data have {}",
                nulls.value(0),
                actual.nulls
            ));
        }
        // Bounds of 96-bit timestamps have no defined order and are read by nobody.
        if descriptor.column(self.leaf).physical_type() == Type::INT96 {
            return false;
        }
        let min = converter.row_group_mins([group]).ok();
        let max = converter.row_group_maxes([group]).ok();
        let low = check_bound("min", min, actual.min(), Ordering::Greater, fault);
        let high = check_bound("max", max, actual.max(), Ordering::Less, fault);
        low || high
    }
}

/// A minimum must not be greater than the data's, a maximum not less. True if there was one.
fn check_bound(
    which: &str,
    said: Option<ArrayRef>,
    actual: Option<ScalarValue>,
    wrong: Ordering,
    fault: &mut impl FnMut(String),
) -> bool {
    let said = said.and_then(|values| ScalarValue::try_from_array(&values, 0).ok());
    let (Some(said), Some(actual)) = (said.filter(|v| !v.is_null()), actual) else {
        return false;
    };
    // Writers leave NaN out and give zero either sign.
    let aside = |value: &ScalarValue| match value {
        ScalarValue::Float16(Some(v)) => v.is_nan() || v.to_f32() == 0.0,
        ScalarValue::Float32(Some(v)) => v.is_nan() || *v == 0.0,
        ScalarValue::Float64(Some(v)) => v.is_nan() || *v == 0.0,
        _ => false,
    };
    if aside(&actual) {
        return false;
    }
    if said.partial_cmp(&actual) == Some(wrong) {
        fault(format!(
            "its statistics say {which} `{}`, the data have `{}`",
            shown(&said),
            shown(&actual)
        ));
    }
    true
}

fn shown(value: &ScalarValue) -> String {
    let text = value.to_string();
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What the data of a column are.
#[derive(Default)]
struct Actual {
    rows: u64,
    nulls: u64,
    bounds: Option<(MinAccumulator, MaxAccumulator)>,
    /// The type has no bounds, or they could not be computed.
    boundless: bool,
}

impl Actual {
    fn add(&mut self, values: &ArrayRef) {
        self.nulls += values.logical_null_count() as u64;
        if self.boundless || !has_bounds(values.data_type()) {
            self.boundless = true;
            return;
        }
        if self.bounds.is_none() {
            let kind = values.data_type();
            let made = MinAccumulator::try_new(kind)
                .and_then(|min| Ok((min, MaxAccumulator::try_new(kind)?)));
            self.bounds = made.ok();
        }
        let values = std::slice::from_ref(values);
        let added = self.bounds.as_mut().map(|(min, max)| {
            min.update_batch(values)?;
            max.update_batch(values)
        });
        self.boundless = !matches!(added, Some(Ok(())));
    }

    fn min(&self) -> Option<ScalarValue> {
        let (min, _) = self.bounds.as_ref().filter(|_| !self.boundless)?;
        min.clone().evaluate().ok().filter(|value| !value.is_null())
    }

    fn max(&self) -> Option<ScalarValue> {
        let (_, max) = self.bounds.as_ref().filter(|_| !self.boundless)?;
        max.clone().evaluate().ok().filter(|value| !value.is_null())
    }
}

fn has_bounds(kind: &DataType) -> bool {
    kind.is_primitive()
        || matches!(
            kind,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        )
}

/// What is wrong with the data, or the error that has nothing to do with them.
fn cause(error: ParquetError) -> Result<String, Error> {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => match *ours {
                Error::Damaged { what, .. } | Error::Limit { what, .. } => Ok(what),
                other => Err(other),
            },
            Err(other) => Ok(first_line(&other)),
        },
        other => Ok(first_line(&other)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// Two row groups of 100 rows, values as they are.
    fn sample() -> Vec<u8> {
        let a: ArrayRef = Arc::new(Int64Array::from_iter_values(1_000_000..1_000_200));
        let b: ArrayRef = Arc::new(StringArray::from_iter(
            (0..200).map(|i| (i % 3 > 0).then(|| format!("word {i}"))),
        ));
        let c: ArrayRef = Arc::new(Float64Array::from_iter_values(
            (0..200).map(|i| if i == 7 { f64::NAN } else { -f64::from(i) }),
        ));
        let batch = RecordBatch::try_from_iter([("a", a), ("b", b), ("c", c)]).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(100))
            .set_dictionary_enabled(false)
            .set_compression(Compression::UNCOMPRESSED)
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn faults(bytes: &[u8]) -> (u64, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        std::fs::write(&path, bytes).unwrap();
        let file = InputFile::local(&path).unwrap();
        let verified = crate::input::block_on(verify(&file, &ScanAccess::default(), 10)).unwrap();
        let shown = verified.faults.into_iter().map(|fault| {
            let place = (fault.row_group, fault.column.unwrap_or_default());
            format!("{place:?} {}", fault.what)
        });
        (verified.chunks_with_bounds, shown.collect())
    }

    /// Overwrites the first `old`, which is the value in the data: statistics are at the end.
    fn patch(bytes: &mut [u8], old: &[u8], new: &[u8]) {
        let at = bytes
            .windows(old.len())
            .position(|window| window == old)
            .unwrap();
        bytes[at..at + new.len()].copy_from_slice(new);
    }

    #[test]
    fn a_sound_file_has_no_fault() {
        assert_eq!(faults(&sample()), (6, vec![]));
    }

    #[test]
    fn data_beyond_their_statistics_are_told_with_their_place() {
        let mut bytes = sample();
        patch(&mut bytes, &1_000_150i64.to_le_bytes(), &7i64.to_le_bytes());
        let (_, found) = faults(&bytes);
        assert_eq!(
            found,
            [r#"(Some(1), "a") its statistics say min `1000100`, the data have `7`"#]
        );
    }

    #[test]
    fn a_name_that_two_columns_have_is_the_fault_and_not_their_statistics() {
        let ints = |from| -> ArrayRef { Arc::new(Int64Array::from_iter_values(from..from + 3)) };
        let columns = [("x", ints(1)), ("y", ints(7)), ("x", ints(100))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let found = faults(&writer.into_inner().unwrap());
        assert_eq!(found.1, [r#"(None, "x") 2 columns have this name"#]);
        assert_eq!(found.0, 1);
    }

    #[test]
    fn a_column_that_cannot_be_decoded_hides_no_other() {
        let bytes = sample();
        let file = bytes::Bytes::from(bytes.clone());
        let footer = parquet::file::metadata::ParquetMetaDataReader::new();
        let footer = footer.parse_and_finish(&file).unwrap();
        let start =
            |group: usize, leaf| footer.row_group(group).column(leaf).byte_range().0 as usize;
        let mut bytes = bytes;
        let (first, last) = (start(0, 1), start(1, 2));
        bytes[first..first + 8].fill(0xff);
        bytes[last..last + 8].fill(0xff);
        let (_, found) = faults(&bytes);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with(r#"(Some(0), "b") it cannot be decoded"#),
            "{found:?}"
        );
        assert!(
            found[1].starts_with(r#"(Some(1), "c") it cannot be decoded"#),
            "{found:?}"
        );
    }

    #[test]
    fn a_footer_that_is_missing_is_the_one_fault() {
        let bytes = sample();
        let (_, found) = faults(&bytes[..bytes.len() - 1]);
        assert_eq!(
            found,
            [r#"(None, "") this is no Parquet file, or its end is missing"#]
        );
    }
}
