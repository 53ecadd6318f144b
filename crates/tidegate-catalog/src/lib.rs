//! From a path, directory, glob or URL to a table: listing, format, columns, partitions, statistics, snapshot.
//!
//! Owns what is read and how it is found. Plans nothing and runs nothing; keeps nothing global; is told where it is
//! ([`Place`]) and what it may touch ([`Access`]).

mod access;
mod append;
mod cache;
mod catalog;
mod cloud;
mod csv_call;
mod doctor;
mod error;
mod evidence;
mod file;
mod footer;
mod format;
mod groups;
mod hive;
mod infer;
mod inspect;
mod learned;
mod names;
mod near;
mod options;
mod path;
mod pattern;
#[cfg(feature = "cloud")]
mod profile;
mod prune;
mod read;
mod records;
mod remote;
mod sample;
mod section;
mod split;
mod stores;
mod table;
mod type_name;
mod union;
mod value;
mod walk;
mod widen;

pub use access::Access;
pub use append::Appended;
pub use catalog::{Catalog, Settings, Spool};
pub use csv_call::CsvCall;
pub use doctor::{CsvCase, Diagnosis, Findings, Scan};
pub use error::{Error, Kind, Result};
pub use evidence::{Predicates, Sample, Share, TableEvidence};
pub use file::{DataFile, InputSnapshot, SnapshotFile, local_pin};
pub use format::{Compression, Format};
pub use learned::{Answer, Asked, Cuts, SampleCache, SampleId};
pub use names::{Existing, Named, Registered, Resolved};
pub use near::{did_you_mean, near_names};
pub use options::{OnCorrupt, ReaderOptions, SchemaMode};
pub use path::{Location, Place};
pub use sample::SampleScan;
pub use section::Section;
pub use split::SplitTable;
pub use stores::Stores;
pub use table::FilesTable;
pub use value::Value;
