//! The types of a file's columns from all of its records, block by block: for `sample_rows = -1`.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::Dialect;
use super::convert::Nulls;
use super::infer::Guess;
use super::record::{self, State};
use super::sniff::{Sniffed, note_types};

/// Takes the records of a file into account, one block after the other.
#[derive(Debug)]
pub(crate) struct Survey {
    dialect: Arc<Dialect>,
    nulls: Nulls,
    fields: Vec<Field>,
    /// For each column whether its type is to be found.
    inferred: Vec<bool>,
    guesses: Vec<Guess>,
}

impl Survey {
    /// `sniffed` is what the head of the file says; `dialect` is how its text is written.
    pub(crate) fn new(sniffed: &Sniffed, dialect: &Arc<Dialect>) -> Self {
        Self {
            nulls: Nulls::new(dialect),
            dialect: Arc::clone(dialect),
            fields: sniffed.fields.clone(),
            inferred: sniffed.inferred.clone(),
            guesses: vec![Guess::default(); sniffed.fields.len()],
        }
    }

    /// Looks at a block of whole records. One that cannot be read says nothing about types.
    pub(crate) fn add(&mut self, block: &[u8]) {
        let (mut at, width) = (0, self.fields.len());
        while at < block.len() {
            let record = record::read(block, at, &self.dialect);
            at = record.next.max(at + 1);
            let fits = record.fields.len() == width
                || self.dialect.null_padding && record.fields.len() < width;
            if record.state == State::Whole && fits {
                note_types(
                    &mut self.guesses,
                    &record,
                    block,
                    &self.dialect,
                    &self.nulls,
                );
            }
        }
    }

    /// The columns.
    pub(crate) fn finish(self) -> Vec<Field> {
        let columns = self.fields.into_iter().zip(self.inferred).zip(self.guesses);
        columns
            .map(|((field, inferred), guess)| match inferred {
                true => field.with_data_type(guess.data_type()),
                false => field,
            })
            .collect()
    }
}
