//! Tidegate, embedded: SQL over directories of Parquet and CSV in a Rust program.
//!
//! This crate owns the public API: [`Session`], [`Query`], [`Dataflow`], [`Settings`] and [`Error`]. It knows
//! nothing of file formats, operators or printing; those live in the crates below it, and an
//! embedding program names none of them.
//!
//! ```
//! # fn main() -> Result<(), tidegate::Error> {
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let session = tidegate::Session::builder().build()?;
//! let batches = session.sql("SELECT 40 + 2 AS answer").await?.collect().await?;
//! assert_eq!(batches[0].num_rows(), 1);
//! # Ok(())
//! # })
//! # }
//! ```

mod commands;
mod convert;
mod dataflow;
mod doctor;
mod error;
mod evidence;
pub mod expr;
pub mod extend;
mod information;
mod inspect;
mod job;
mod notice;
mod planner;
mod private;
mod progress;
mod query;
mod redact;
mod running;
mod script;
mod session;
mod settings;
mod tables;
pub mod write;

pub use arrow;
pub use dataflow::{Dataflow, Division, Output};
pub use datafusion::DATAFUSION_VERSION;
pub use datafusion::scalar::ScalarValue as Value;
pub use error::{Error, ErrorKind, Result};
pub use inspect::Report;
pub use job::{
    Job, JobBuilder, JobReport, JobRequest, JobStatus, RunningJob, StageReport, StatementReport,
    Suspect,
};
pub use notice::{Notice, NoticeKind};
pub use progress::Progress;
pub use query::{Query, QueryHandle, QueryKind, RowStream};
pub use redact::{masked, redacted};
pub use script::{Script, Statement};
pub use session::{Clock, Session, SessionBuilder, StepHook, TableInfo, TableKind};
pub use settings::{
    Origin, SettingDef, SettingRow, Settings, format_bytes, format_duration, parse_bytes,
    parse_duration,
};
pub use tidegate_catalog::Section;
pub use tidegate_operators::interval_text::IntervalFormats;
pub use tidegate_plan::sql::sql_name as type_name;

/// What plans and stored results are compatible with: two builds of one id read each other's.
pub const fn compat_id() -> &'static str {
    "2"
}
