//! What the module does as a whole: reading files in one piece and in pieces, against tables and a plain reading.
#![allow(clippy::unwrap_used, clippy::panic)]

mod property;
mod reading;
mod sniffing;

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::rejects::RejectLog;

/// How a test reads a file.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) dialect: Dialect,
    pub(super) kinds: Vec<DataType>,
    pub(super) projection: Vec<usize>,
    /// Bytes shown to the splitter at a time.
    pub(super) piece: usize,
    pub(super) batch_rows: usize,
    pub(super) inferred: bool,
}

impl Reading {
    /// Without header, all columns of `kinds` projected, in one piece.
    pub(super) fn of(kinds: &[DataType]) -> Self {
        Self {
            dialect: Dialect {
                header: false,
                ..Dialect::default()
            },
            kinds: kinds.to_vec(),
            projection: (0..kinds.len()).collect(),
            piece: usize::MAX,
            batch_rows: 8192,
            inferred: true,
        }
    }

    pub(super) fn skipping(self) -> Self {
        let dialect = Dialect {
            on_error: OnError::Skip,
            ..self.dialect
        };
        Self { dialect, ..self }
    }

    /// The rows, NULL as none, and what was rejected as `line: reason`.
    pub(super) fn read(&self, data: &[u8]) -> Result<Read, Error> {
        let dialect = Arc::new(self.dialect.clone());
        let file: Arc<str> = "t.csv".into();
        let head = header(data, true, &dialect, &file)?;
        let log = RejectLog::default();
        let columns = self.kinds.iter().enumerate().map(|(index, kind)| Column {
            from: Origin::Field(index),
            field: Arc::new(Field::new(format!("c{index}"), kind.clone(), true)),
            inferred: self.inferred,
        });
        let mut decoder = Decoder::new(Plan {
            dialect: Arc::clone(&dialect),
            file: Arc::clone(&file),
            fields: self.kinds.len(),
            columns: columns.collect(),
            projection: self.projection.clone(),
            batch_rows: self.batch_rows,
        })?;
        let mut splitter = Splitter::new(dialect, self.kinds.len(), file, head.at);
        let mut batches = Vec::new();
        let data = &data[head.at.offset as usize..];
        let (mut start, mut shown) = (0, self.piece.min(data.len()));
        loop {
            let at_end = shown == data.len();
            assert_eq!(splitter.position().offset, head.at.offset + start as u64);
            match splitter.cut(&data[start..shown], at_end) {
                Cut::More if at_end => break,
                Cut::More => shown = shown.saturating_add(self.piece).min(data.len()),
                Cut::Records { end, at } => {
                    assert!(end > 0 && end <= self.dialect.max_line_bytes + 1);
                    batches.extend(decoder.decode(&data[start..start + end], at, Some(&log))?);
                    start += end;
                }
                Cut::Broken { error, .. } if self.dialect.on_error == OnError::Fail => {
                    return Err(error);
                }
                Cut::Broken { end, error } => {
                    log.push(error.into_reject());
                    start += end;
                }
                Cut::Drop { end } => start += end,
            }
        }
        assert_eq!(start, data.len());
        batches.extend(decoder.finish()?);
        let rejects = log
            .rows()
            .iter()
            .map(|reject| format!("{}: {}", reject.line, reject.reason))
            .collect();
        Ok(Read {
            rows: rows(&batches),
            rejects,
            records: splitter.position().row,
            lines: splitter.position().line,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) rejects: Vec<String>,
    pub(super) records: u64,
    pub(super) lines: u64,
}

pub(super) fn rows(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        for column in batch.columns() {
            column.to_data().validate_full().unwrap();
        }
        let options = FormatOptions::default();
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| (c, ArrayFormatter::try_new(c, &options).unwrap()))
            .collect();
        for row in 0..batch.num_rows() {
            let cell = |(array, text): &(&arrow::array::ArrayRef, ArrayFormatter<'_>)| {
                array.is_valid(row).then(|| text.value(row).to_string())
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    rows
}

pub(super) const TEXT: DataType = DataType::Utf8View;
pub(super) const INT: DataType = DataType::Int64;
