//! Deals the files of a scan into partitions: contiguous runs in path order, of about equal bytes. Large Parquet
//! files are cut into several ranges of whole row groups per partition, so that an idle partition can take over one.

use std::ops::Range;

use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::FileGroup;

/// Into how many pieces a partition's share is cut at least, where row groups allow.
const PIECES_PER_PARTITION: u64 = 4;

/// A file and where it may be cut.
pub(crate) struct Candidate<'a> {
    pub(crate) file: PartitionedFile,
    /// Gives byte ranges of at least so many bytes; none if the file must stay whole.
    pub(crate) cut: Option<&'a dyn Fn(u64) -> Vec<Range<u64>>>,
}

/// How many partitions, and from how many bytes on files are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dealing {
    pub(crate) partitions: usize,
    pub(crate) cut_from_bytes: u64,
}

/// Deals path-sorted files into at most `partitions` groups, none of them empty.
pub(crate) fn deal(files: Vec<Candidate<'_>>, dealing: Dealing) -> Vec<FileGroup> {
    let partitions = dealing.partitions.max(1) as u64;
    let total: u64 = files
        .iter()
        .map(|candidate| candidate.file.object_meta.size)
        .sum();
    let piece = (total / (partitions * PIECES_PER_PARTITION)).max(1);
    let cut = total >= dealing.cut_from_bytes && partitions > 1;
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions as usize];
    let mut before = 0u64;
    for candidate in files {
        let size = candidate.file.object_meta.size;
        let ranges = match candidate.cut {
            Some(ranges) if cut && size > piece => ranges(piece),
            _ => Vec::new(),
        };
        let mut put = |file: PartitionedFile, bytes: u64| {
            // The group in whose share the middle of the piece lies.
            let middle = u128::from(before) + u128::from(bytes / 2);
            let group = middle * u128::from(partitions) / u128::from(total.max(1));
            groups[(group as usize).min(partitions as usize - 1)].push(file);
            before += bytes;
        };
        if ranges.len() < 2 {
            put(candidate.file, size);
            continue;
        }
        for range in ranges {
            let bytes = range.end - range.start;
            let mut file = candidate.file.clone();
            file.range = Some(FileRange {
                start: range.start as i64,
                end: range.end as i64,
            });
            put(file, bytes);
        }
    }
    groups
        .into_iter()
        .filter(|group| !group.is_empty())
        .map(FileGroup::new)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::footer::{RowGroup, ranges};

    fn show(sizes: &[u64], group_bytes: u64, partitions: usize, cut_from_bytes: u64) -> String {
        let cutter = |size: u64| {
            let groups: Vec<RowGroup> = (0..size / group_bytes)
                .map(|g| RowGroup {
                    start: 4 + g * group_bytes,
                    bytes: group_bytes,
                })
                .collect();
            move |bytes: u64| ranges(&groups, size, bytes)
        };
        let cutters: Vec<_> = sizes.iter().map(|size| cutter(*size)).collect();
        let files = sizes
            .iter()
            .zip(&cutters)
            .enumerate()
            .map(|(at, (size, cut))| Candidate {
                file: PartitionedFile::new(format!("f{at}"), *size),
                cut: Some(cut),
            });
        let groups = deal(
            files.collect(),
            Dealing {
                partitions,
                cut_from_bytes,
            },
        );
        let shown = groups.iter().map(|group| {
            let files = group.iter().map(|file| match &file.range {
                Some(range) => format!("{}[{}..{}]", file.path(), range.start, range.end),
                None => file.path().to_string(),
            });
            files.collect::<Vec<_>>().join(" ")
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn small_files_are_dealt_whole_and_in_order() {
        assert_eq!(show(&[10, 10, 10, 10], 5, 2, 1000), "f0 f1 | f2 f3");
        assert_eq!(show(&[10], 5, 4, 1000), "f0");
        assert_eq!(show(&[90, 10], 5, 2, 1000), "f0 | f1");
        assert_eq!(show(&[], 5, 2, 1000), "");
    }

    #[test]
    fn large_files_are_cut_at_row_groups() {
        assert_eq!(
            show(&[80], 20, 2, 10),
            "f0[0..24] f0[24..44] | f0[44..64] f0[64..80]"
        );
        assert_eq!(show(&[80], 40, 2, 10), "f0[0..44] | f0[44..80]");
        assert_eq!(show(&[80], 80, 2, 10), "f0");
    }

    #[test]
    fn every_byte_is_in_exactly_one_range() {
        let groups: Vec<RowGroup> = [4, 50, 51, 90]
            .map(|start| RowGroup { start, bytes: 30 })
            .to_vec();
        for bytes in 1..200 {
            let found = ranges(&groups, 130, bytes);
            assert_eq!((found[0].start, found[found.len() - 1].end), (0, 130));
            assert!(
                found
                    .windows(2)
                    .all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end)
            );
        }
    }
}
