//! Rows as sqllogictest files spell them: `NULL`, `(empty)`, numbers in full, control characters
//! escaped so that a value never breaks its line.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
pub use sqllogictest;
use sqllogictest::{DBOutput, DefaultColumnType};

/// The output of a statement that gives rows.
pub fn rows(
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<DBOutput<DefaultColumnType>, ArrowError> {
    let types = schema
        .fields()
        .iter()
        .map(|field| kind(field.data_type()))
        .collect();
    let mut rows = Vec::new();
    let options = FormatOptions::default().with_null("NULL");
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            rows.push(
                columns
                    .iter()
                    .map(|column| spell(&column.value(row).to_string()))
                    .collect(),
            );
        }
    }
    Ok(DBOutput::Rows { types, rows })
}

fn kind(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            DefaultColumnType::FloatingPoint
        }
        other if other.is_integer() => DefaultColumnType::Integer,
        _ => DefaultColumnType::Text,
    }
}

fn spell(value: &str) -> String {
    match value.is_empty() {
        true => "(empty)".to_string(),
        false => value
            .chars()
            .map(|c| match c {
                '\n' => "\\n".to_string(),
                '\r' => "\\r".to_string(),
                '\t' => "\\t".to_string(),
                c => c.to_string(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;

    #[test]
    fn values_stay_on_their_line() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("a\nb"), None, Some("")]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let DBOutput::Rows { rows, .. } = rows(&batch.schema(), &[batch]).unwrap() else {
            unreachable!("rows give rows")
        };
        assert_eq!(rows, [["a\\nb"], ["NULL"], ["(empty)"]]);
    }
}
