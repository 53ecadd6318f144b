//! The partition hash: which partition a row goes to, by its keys.
//!
//! There is one, for rows that stream, rows that are sealed and whoever asks where a row is: files that were sealed
//! before are read as it divided them, so that it must not change. A test of vectors pins it.

use arrow::array::ArrayRef;
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;

/// The partition of each row, of `partitions`, by its keys: one array a key, all of one length.
///
/// Equal values of one type go to one partition, in whichever arrays they are. Types are not mixed: a text is elsewhere
/// as `Utf8` than as `Utf8View`, so that what is brought together must have one type first.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array};
/// use tidegate_operators::shuffle::partitions_of;
///
/// let keys: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 7]));
/// let partitions = partitions_of(&[keys], 32)?;
/// assert_eq!(partitions[0], partitions[2]);
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
pub fn partitions_of(keys: &[ArrayRef], partitions: usize) -> Result<Vec<usize>> {
    let Some(first) = keys.first() else {
        return internal_err!("rows are not divided by no key");
    };
    if partitions == 0 {
        return internal_err!("rows are not divided into no partition");
    }
    let mut hashes = vec![0; first.len()];
    create_hashes(keys, REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
    let partition = |hash: u64| (hash % partitions as u64) as usize;
    Ok(hashes.into_iter().map(partition).collect())
}
