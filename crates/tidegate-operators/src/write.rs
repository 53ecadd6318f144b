//! Writing query results: what COPY, CREATE TABLE AS, INSERT and the shell's `-o` come to.
//!
//! [`WriteSpec`] says what is to be written where; [`WriteExec`] is the operator; an [`Encoder`]
//! turns batches into the bytes of one format. Nothing is visible before the whole write is
//! committed: local targets go through `tidegate_checkpoint::StagedWrite`, targets in an object
//! store through multipart uploads that are completed last.

pub(crate) use csv_cell::timestamp_cell;
pub use encode::{Encoder, check_schema, encoder};
pub use error::{Error, Result};
pub use exec::{BeforeCommit, CommitGate, WriteExec};
pub use format::{
    ArrowOptions, Compression, CsvOptions, CsvTable, JsonOptions, JsonShape, ParquetCompression,
    ParquetOptions, ParquetStatistics, WriteFormat,
};
pub use spec::{Layout, Request, Value, WriteMode, WriteSpec};

mod arrow_file;
mod compress;
mod csv;
mod csv_cell;
mod csv_table;
mod destination;
mod encode;
mod error;
mod exec;
mod format;
mod hive;
mod json;
mod options;
mod parquet_file;
mod remote;
mod spec;
mod task;
