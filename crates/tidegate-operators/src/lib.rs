//! Physical operators of Tidegate: what reads and writes files, and what computes on batches.
//!
//! Owns: files as they are read ([`input`]), their formats ([`csv`], [`json`], [`parquet`]), scans ([`source`]),
//! functions of the embedding program ([`map`]), results as they are written ([`mod@write`]), and how plans with them are written down ([`codec`]). Must not touch: SQL,
//! stage graphs, scheduling, sessions.

mod avro;
pub mod codec;
pub mod csv;
pub mod floats;
pub mod input;
pub mod interval_text;
mod ipc;
pub mod json;
pub mod map;
pub mod parquet;
pub mod rejects;
pub mod shuffle;
pub mod source;
pub mod spill_scope;
pub mod split_mix;
pub mod timestamps;
pub mod unwinding;
pub mod write;
