//! Bytes and files: what a killed process may leave behind, and how it is put right.
//!
//! Owns the file system seam ([`Vfs`], with a real and a fault-injecting form), staged writes
//! ([`StagedWrite`]: a target is the old or the new state, whole), files of checked frames ([`frames`]),
//! durable jobs ([`job`]: a journal, and what their tasks have sealed) and private temporary directories
//! ([`TempRoot`]). It knows nothing of Arrow, plans or SQL, and is synchronous.

pub mod frames;
pub mod job;
pub mod staged;
pub mod temp;
pub mod vfs;

pub mod fault;

mod error;

pub use error::{Error, Result};
pub use fault::FaultVfs;
pub use staged::{
    Committed, Intended, IntendedFile, Mode, Replaces, StagedFile, StagedWrite, recover,
};
pub use temp::TempRoot;
pub use vfs::{RealVfs, Vfs};
