//! The columns of one file.

use arrow::datatypes::Schema;

use super::Format;
use crate::input::{Error, InputFile, Place};
use crate::{avro, ipc, json};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferOptions {
    /// Records of a JSON file.
    pub sample_rows: usize,
    /// A file may have so many columns.
    pub columns_max: usize,
    /// Text is read in pieces of so many bytes.
    pub chunk_bytes: u64,
    /// The schema or the first batch of a file may take so many bytes when it is unpacked.
    pub unpacked_bytes_max: u64,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self {
            sample_rows: 20_480,
            columns_max: 10_000,
            chunk_bytes: 1 << 20,
            unpacked_bytes_max: 1 << 30,
        }
    }
}

/// The columns of `file`. Blocks. CSV has its own: [`crate::csv::sniff`].
pub fn infer(format: &Format, file: &InputFile, options: &InferOptions) -> Result<Schema, Error> {
    match format {
        Format::Csv { .. } => {
            let what = "the columns of a CSV file are found by looking at its text";
            Err(Error::damaged(file.name(), Place::File, what))
        }
        Format::Json(json) => json::infer(file, json, options),
        Format::Arrow => ipc::schema(file, options.unpacked_bytes_max),
        Format::Avro => avro::schema(file, options.unpacked_bytes_max),
    }
}
