//! Deals the files of a scan, and ranges of its big ones, to partitions.
//!
//! Ranges are small and dealt in turn, so that partitions that run side by side walk through a
//! file together: what one reads to find a boundary is what another needs next.

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;

/// A range of a file is not longer than this.
const RANGE_BYTES_MAX: u64 = 8 << 20;

/// A scan is not cut into more ranges than this.
const RANGES_MAX: u64 = 1 << 14;

/// How files may be dealt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dealing {
    pub(super) partitions: usize,
    /// Files of at least this size are cut into ranges.
    pub(super) cut_bytes_min: Option<u64>,
    /// Ranges begin at multiples of this.
    pub(super) chunk_bytes: u64,
}

/// The groups after dealing, or none if they are better left as they are.
pub(super) fn deal(groups: &[FileGroup], dealing: Dealing) -> Option<Vec<FileGroup>> {
    let files: Vec<&PartitionedFile> = groups.iter().flat_map(FileGroup::iter).collect();
    if dealing.partitions < 2 || files.iter().any(|file| file.range.is_some()) {
        return None;
    }
    let total: u64 = files.iter().map(|file| file.object_meta.size).sum();
    let share = total / (4 * dealing.partitions as u64);
    let longest = RANGE_BYTES_MAX.max(total / RANGES_MAX);
    let range = share
        .min(longest)
        .next_multiple_of(dealing.chunk_bytes)
        .max(dealing.chunk_bytes);
    let pieces: Vec<PartitionedFile> = files
        .iter()
        .flat_map(|file| cut(file, range, dealing.cut_bytes_min))
        .collect();
    if pieces.len() == files.len() && groups.len() >= dealing.partitions.min(files.len()) {
        return None;
    }
    let mut dealt = vec![(0u64, Vec::new()); dealing.partitions.min(pieces.len())];
    for piece in pieces {
        let least = (0..dealt.len()).min_by_key(|&i| dealt[i].0)?;
        // An empty file costs a little too.
        dealt[least].0 += piece.effective_size() + 4096;
        dealt[least].1.push(piece);
    }
    Some(
        dealt
            .into_iter()
            .map(|(_, files)| FileGroup::new(files))
            .collect(),
    )
}

fn cut(file: &PartitionedFile, range: u64, bytes_min: Option<u64>) -> Vec<PartitionedFile> {
    let size = file.object_meta.size;
    if bytes_min.is_none_or(|min| size < min) || size <= range || i64::try_from(size).is_err() {
        return vec![file.clone()];
    }
    let part = |start: u64| {
        let mut part = file
            .clone()
            .with_range(start as i64, size.min(start + range) as i64);
        // What is known of the file is not true of a part of it.
        part.statistics = None;
        part
    };
    (0..size)
        .step_by(usize::try_from(range).unwrap_or(usize::MAX))
        .map(part)
        .collect()
}

/// Puts the ranges of each file in order, files as they come.
pub(super) fn in_order(mut files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
    let mut places = std::collections::HashMap::new();
    for file in &files {
        let next = places.len();
        places
            .entry(file.object_meta.location.clone())
            .or_insert(next);
    }
    files.sort_by_key(|file| {
        let start = file.range.as_ref().map_or(0, |range| range.start);
        (places.get(&file.object_meta.location).copied(), start)
    });
    files
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_complete_disjoint_and_dealt_evenly() {
        let groups = [FileGroup::new(vec![
            PartitionedFile::new("a", 100),
            PartitionedFile::new("b", 10_007),
        ])];
        let dealing = Dealing {
            partitions: 3,
            cut_bytes_min: Some(1000),
            chunk_bytes: 16,
        };
        let dealt = deal(&groups, dealing).unwrap();
        let sizes: Vec<u64> = dealt
            .iter()
            .map(|g| g.iter().map(|f| f.effective_size()).sum())
            .collect();
        assert_eq!(sizes.iter().sum::<u64>(), 10_107);
        assert!(sizes.iter().all(|size| *size > 2000), "{sizes:?}");
        let files = in_order(dealt.iter().flat_map(FileGroup::iter).cloned().collect());
        let mut next = 0;
        for file in files
            .iter()
            .filter(|f| f.object_meta.location.as_ref() == "b")
        {
            let range = file.range.as_ref().unwrap();
            assert_eq!(range.start, next);
            assert_eq!(range.start % 16, 0);
            next = range.end;
        }
        assert_eq!(next, 10_007);
        assert!(
            deal(&dealt, dealing).is_none(),
            "what is dealt is not dealt again"
        );
    }
}
