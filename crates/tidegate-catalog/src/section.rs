//! What is told about files: titled tables of few columns, made to be printed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};

use crate::error::{Error, Kind, Result};

/// One titled table of a report.
#[derive(Debug, Clone)]
pub struct Section {
    /// Stable, lower case.
    pub title: &'static str,
    /// The rows.
    pub batch: RecordBatch,
}

impl Section {
    /// A section of named columns of one length.
    pub(crate) fn new(title: &'static str, columns: Vec<(&'static str, ArrayRef)>) -> Result<Self> {
        let columns = columns
            .into_iter()
            .map(|(name, values)| (name, values, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| {
            Error::new(Kind::Limit, format!("the section `{title}` is too large")).caused_by(error)
        })?;
        Ok(Self { title, batch })
    }

    /// A section of one column of lines.
    pub(crate) fn lines(title: &'static str, name: &'static str, lines: &[String]) -> Result<Self> {
        Self::new(
            title,
            vec![(name, texts(lines.iter().map(|line| Some(line.as_str()))))],
        )
    }
}

pub(crate) fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn numbers(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let values = values.map(|value| value.and_then(|value| i64::try_from(value).ok()));
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn flags(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}
