//! Rows to directories `name=value/`: the batch is split by the values of the partition columns.
//!
//! Values are percent-encoded as Hive does it, NULL is `__HIVE_DEFAULT_PARTITION__`, and a text
//! that says the same has its first byte encoded. An empty text is `name=`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::csv_cell::{CellFormat, cell_writer};
use super::encode::{failed, plain_batch, plain_schema};
use super::error::{Error, Result};

const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
const WHAT: &str = "partitions";

/// Finds the partition columns of a schema.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    columns: Vec<usize>,
    /// Of the columns that are written into files.
    files: Vec<usize>,
}

impl Partitioning {
    pub(super) fn new(names: &[String], schema: &Schema, columns_in_files: bool) -> Result<Self> {
        let columns = names
            .iter()
            .map(|name| find(name, schema))
            .collect::<Result<Vec<_>>>()?;
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].contains(column) {
                return Err(refused(&names[index], "it is named twice"));
            }
        }
        let in_file = |column: &usize| columns_in_files || !columns.contains(column);
        let files: Vec<_> = (0..schema.fields().len()).filter(in_file).collect();
        match names.last() {
            Some(last) if files.is_empty() => {
                Err(refused(last, "no other column is left to write"))
            }
            _ => Ok(Self { columns, files }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The schema of the files.
    pub(super) fn file_schema(&self, schema: &SchemaRef) -> Result<SchemaRef> {
        let projected = schema
            .project(&self.files)
            .map_err(|error| failed(WHAT, error))?;
        Ok(SchemaRef::new(projected))
    }
}

fn find(name: &str, schema: &Schema) -> Result<usize> {
    let exact = schema
        .fields()
        .iter()
        .position(|field| field.name() == name);
    let mut close = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name().eq_ignore_ascii_case(name));
    let index = match (exact, close.next(), close.next()) {
        (Some(index), ..) | (None, Some((index, _)), None) => index,
        (None, Some(_), Some(_)) => {
            return Err(refused(name, "several columns have this name but for case"));
        }
        (None, None, _) => {
            let names: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            return Err(refused(
                name,
                &format!("there is no such column; there are {}", names.join(", ")),
            ));
        }
    };
    let kind = schema.field(index).data_type();
    if kind.is_nested() || is_binary(kind) {
        return Err(refused(
            name,
            "nested and binary values cannot be names of directories",
        ));
    }
    Ok(index)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

fn refused(column: &str, why: &str) -> Error {
    Error::Partition {
        column: column.to_owned(),
        why: why.to_owned(),
    }
}

/// Splits batches into the rows of each directory; remembers the directories it has seen.
pub(super) struct Splitter {
    partitioning: Partitioning,
    rows: RowConverter,
    dirs: HashMap<OwnedRow, usize>,
    /// Several values may have one name, as NaNs of different bits do.
    by_name: HashMap<String, usize>,
    names: Vec<String>,
}

impl Splitter {
    pub(super) fn new(partitioning: Partitioning, schema: &SchemaRef) -> Result<Self> {
        let plain = plain_schema(schema);
        let field = |column: &usize| SortField::new(plain.field(*column).data_type().clone());
        let rows = RowConverter::new(partitioning.columns.iter().map(field).collect());
        let rows = rows.map_err(|error| failed(WHAT, error))?;
        Ok(Self {
            partitioning,
            rows,
            dirs: HashMap::new(),
            by_name: HashMap::new(),
            names: Vec::new(),
        })
    }

    /// The directory of this number, without a slash at its end.
    pub(super) fn name(&self, dir: usize) -> &str {
        &self.names[dir]
    }

    /// Bytes the memory of directories takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.rows.size()
            + self
                .names
                .iter()
                .map(|name| 3 * name.len() + 128)
                .sum::<usize>()
    }

    /// The rows of each directory, in the order in which the directories first appear.
    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        let plain = plain_batch(batch, &plain_schema(&batch.schema()), WHAT)?;
        let keys: Vec<ArrayRef> = self
            .partitioning
            .columns
            .iter()
            .map(|column| Arc::clone(plain.column(*column)))
            .collect();
        let rows = self
            .rows
            .convert_columns(&keys)
            .map_err(|error| failed(WHAT, error))?;
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut last = None;
        for (index, row) in rows.iter().enumerate() {
            // Neighbours are often alike: the data is sorted or clustered.
            let dir = match last {
                Some((last, dir)) if last == row => dir,
                _ => match self.dirs.get(&row.owned()) {
                    Some(dir) => *dir,
                    None => self.add(row.owned(), &plain, index)?,
                },
            };
            last = Some((row, dir));
            let place = *places.entry(dir).or_insert_with(|| {
                groups.push((dir, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(index as u32);
        }
        let files = batch
            .project(&self.partitioning.files)
            .map_err(|error| failed(WHAT, error))?;
        if let [(dir, _)] = groups.as_slice() {
            return Ok(vec![(*dir, files)]);
        }
        let taken = groups.into_iter().map(|(dir, indices)| {
            let rows = take_record_batch(&files, &UInt32Array::from(indices));
            rows.map(|rows| (dir, rows))
                .map_err(|error| failed(WHAT, error))
        });
        taken.collect()
    }

    fn add(&mut self, key: OwnedRow, batch: &RecordBatch, row: usize) -> Result<usize> {
        let mut name = String::new();
        for column in &self.partitioning.columns {
            if !name.is_empty() {
                name.push('/');
            }
            push_part(&mut name, batch, *column, row)?;
        }
        let names = &mut self.names;
        let dir = *self.by_name.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() - 1
        });
        self.dirs.insert(key, dir);
        Ok(dir)
    }
}

fn push_part(name: &mut String, batch: &RecordBatch, column: usize, row: usize) -> Result<()> {
    let schema = batch.schema();
    let field = &schema.fields()[column];
    push_encoded(name, field.name());
    name.push('=');
    let array = batch.column(column);
    if array
        .logical_nulls()
        .is_some_and(|nulls| nulls.is_null(row))
    {
        name.push_str(NULL);
        return Ok(());
    }
    let (format, mut text) = (CellFormat::default(), Vec::new());
    cell_writer(field, array, &format)?(row, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    match text.strip_prefix('_') {
        Some(rest) if text == NULL => {
            name.push_str("%5F");
            push_encoded(name, rest);
        }
        _ => push_encoded(name, &text),
    }
    Ok(())
}

/// Percent-encodes what Hive does, which covers what a path cannot hold.
fn push_encoded(name: &mut String, text: &str) {
    for letter in text.chars() {
        if letter.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(letter) {
            // Writing into a string cannot fail.
            let _ = write!(name, "%{:02X}", u32::from(letter));
        } else {
            name.push(letter);
        }
    }
}
