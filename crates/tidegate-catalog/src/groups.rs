//! Deals the files of a scan into partitions: contiguous runs in path order, of about equal weight, which is bytes or
//! rows; or as many pieces each, at random. Large Parquet files are cut into several ranges of whole row groups per
//! partition, so that an idle partition can take over one.
//!
//! No partition is heavier than an equal share and the heaviest piece. A piece of a file that is cut is at most a
//! quarter of a share and a row group.

use std::collections::HashMap;

use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::FileGroup;
use object_store::path::Path;
use tidegate_operators::split_mix;

use crate::footer::Piece;

/// Into how many pieces a partition's share is cut at least, where row groups allow.
const PIECES_PER_PARTITION: u64 = 4;

/// A file and where it may be cut.
pub(crate) struct Candidate<'a> {
    pub(crate) file: PartitionedFile,
    pub(crate) weight: u64,
    /// Gives pieces of at least this weight; none if the file must stay whole.
    pub(crate) cut: Option<&'a dyn Fn(u64) -> Vec<Piece>>,
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
    let bytes: u64 = files.iter().map(|one| one.file.object_meta.size).sum();
    let total: u64 = files.iter().map(|one| one.weight).sum();
    let piece = (total / (partitions * PIECES_PER_PARTITION)).max(1);
    let cut = bytes >= dealing.cut_from_bytes && partitions > 1;
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); partitions as usize];
    let mut before = 0u64;
    for candidate in files {
        let weight = candidate.weight;
        let pieces = match candidate.cut {
            Some(pieces) if cut && weight > piece => pieces(piece),
            _ => Vec::new(),
        };
        let mut put = |file: PartitionedFile, weight: u64| {
            // The group in whose share the middle of the piece lies.
            let middle = u128::from(before) + u128::from(weight / 2);
            let group = middle * u128::from(partitions) / u128::from(total.max(1));
            groups[(group as usize).min(partitions as usize - 1)].push(file);
            before += weight;
        };
        if pieces.len() < 2 {
            put(candidate.file, weight);
            continue;
        }
        for Piece { range, weight } in pieces {
            let mut file = candidate.file.clone();
            file.range = Some(FileRange {
                start: range.start as i64,
                end: range.end as i64,
            });
            put(file, weight);
        }
    }
    not_empty(groups)
}

/// Deals the pieces anew, as many to each group, by chance. In a group they are in the order of the paths.
pub(crate) fn at_random(
    groups: Vec<FileGroup>,
    paths: Vec<&Path>,
    partitions: usize,
    seed: u64,
) -> Vec<FileGroup> {
    let mut places = HashMap::new();
    for (place, path) in paths.into_iter().enumerate() {
        places.entry(path).or_insert(place);
    }
    let mut pieces: Vec<PartitionedFile> =
        groups.iter().flat_map(FileGroup::iter).cloned().collect();
    pieces.sort_by_key(|piece| {
        let start = piece.range.as_ref().map_or(0, |range| range.start);
        (places.get(&piece.object_meta.location).copied(), start)
    });
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    let mut random = seed;
    for end in (1..order.len()).rev() {
        let other = (next(&mut random) % (end as u64 + 1)) as usize;
        order.swap(end, other);
    }
    let partitions = partitions.max(1);
    let mut group_of = vec![0; pieces.len()];
    for (turn, piece) in order.into_iter().enumerate() {
        group_of[piece] = turn % partitions;
    }
    let mut dealt = vec![Vec::new(); partitions];
    for (piece, group) in pieces.into_iter().zip(group_of) {
        dealt[group].push(piece);
    }
    not_empty(dealt)
}

/// The next number of a sequence (splitmix64), which is the same on every machine.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(split_mix::STEP);
    split_mix::mixed(*state)
}

fn not_empty(groups: Vec<Vec<PartitionedFile>>) -> Vec<FileGroup> {
    let groups = groups.into_iter().filter(|group| !group.is_empty());
    groups.map(FileGroup::new).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::footer::{RowGroup, Weight, pieces};
    use tidegate_testing::random::Random;

    fn show(sizes: &[u64], group_bytes: u64, partitions: usize, cut_from_bytes: u64) -> String {
        let cutter = |size: u64| {
            let groups: Vec<RowGroup> = (0..size / group_bytes)
                .map(|g| RowGroup {
                    start: 4 + g * group_bytes,
                    bytes: group_bytes,
                    rows: 1,
                })
                .collect();
            move |bytes: u64| pieces(&groups, size, Weight::Bytes, bytes)
        };
        let cutters: Vec<_> = sizes.iter().map(|size| cutter(*size)).collect();
        let files = sizes
            .iter()
            .zip(&cutters)
            .enumerate()
            .map(|(at, (size, cut))| Candidate {
                file: PartitionedFile::new(format!("f{at}"), *size),
                weight: *size,
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
            .map(|start| RowGroup {
                start,
                bytes: 30,
                rows: 7,
            })
            .to_vec();
        for (weight, at_least) in (1..200).flat_map(|n| [(Weight::Bytes, n), (Weight::Rows, n)]) {
            let found = pieces(&groups, 130, weight, at_least);
            let all = |piece: &Piece| piece.range.clone();
            let ranges: Vec<_> = found.iter().map(all).collect();
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, 130));
            let follow = |pair: &[std::ops::Range<u64>]| {
                pair[0].end == pair[1].start && pair[0].start < pair[0].end
            };
            assert!(ranges.windows(2).all(follow));
            let sum: u64 = found.iter().map(|piece| piece.weight).sum();
            assert_eq!(sum, if weight == Weight::Rows { 28 } else { 130 });
        }
    }

    /// A file of these row groups, as bytes and rows each.
    type File = Vec<(u64, u64)>;

    fn random_files(random: &mut Random) -> Vec<File> {
        let group = |random: &mut Random, most: usize| {
            (1 + random.below(most) as u64, 1 + random.below(most) as u64)
        };
        let huge = |random: &mut Random| -> File {
            let groups = 1 + random.below(2_000);
            (0..groups).map(|_| group(random, 1_000_000)).collect()
        };
        let tiny = |random: &mut Random| -> File { vec![group(random, 100)] };
        match random.below(4) {
            0 => vec![huge(random)],
            1 => (0..10_000).map(|_| tiny(random)).collect(),
            2 => {
                let mut all: Vec<File> = (0..random.below(300)).map(|_| tiny(random)).collect();
                let place = random.below(all.len() + 1);
                all.insert(place, huge(random));
                all
            }
            _ => (0..random.below(40))
                .map(|_| match random.below(3) {
                    0 => huge(random),
                    1 => vec![],
                    _ => tiny(random),
                })
                .collect(),
        }
    }

    fn row_groups(file: &File) -> (Vec<RowGroup>, u64) {
        let mut start = 4;
        let groups = file.iter().map(|(bytes, rows)| {
            let group = RowGroup {
                start,
                bytes: *bytes,
                rows: *rows,
            };
            start += bytes;
            group
        });
        (
            groups.collect(),
            4 + file.iter().map(|group| group.0).sum::<u64>(),
        )
    }

    /// The row groups that a piece holds, by the rule of the reader.
    fn held<'a>(piece: &PartitionedFile, groups: &'a [RowGroup]) -> Vec<&'a RowGroup> {
        let range = piece.range.as_ref();
        let is_in = |group: &&RowGroup| {
            range.is_none_or(|range| (range.start..range.end).contains(&(group.start as i64)))
        };
        groups.iter().filter(is_in).collect()
    }

    /// Every row group of every file is in exactly one partition, pieces of a partition are in the order of the paths,
    /// and the heaviest partition keeps the bounds.
    #[test]
    fn files_are_dealt_completely_disjointly_and_evenly() {
        for case in 0..100 {
            let mut random = Random::of_case(20_261_128, case);
            let files: Vec<(Vec<RowGroup>, u64)> =
                random_files(&mut random).iter().map(row_groups).collect();
            let partitions = 1 + random.below(64);
            let weight = *random.pick(&[Weight::Bytes, Weight::Rows]);
            let cutters: Vec<_> = files
                .iter()
                .map(|(groups, size)| move |least: u64| pieces(groups, *size, weight, least))
                .collect();
            let weigh = |groups: &[&RowGroup], bytes: u64| match weight {
                Weight::Bytes => bytes,
                Weight::Rows => groups.iter().map(|group| group.rows).sum(),
            };
            let name = |at: usize| format!("f{at:05}");
            let candidates =
                files
                    .iter()
                    .zip(&cutters)
                    .enumerate()
                    .map(|(at, ((groups, size), cut))| Candidate {
                        file: PartitionedFile::new(name(at), *size),
                        weight: weigh(&groups.iter().collect::<Vec<_>>(), *size),
                        cut: Some(cut),
                    });
            let dealing = Dealing {
                partitions,
                cut_from_bytes: 0,
            };
            let dealt = deal(candidates.collect(), dealing);
            let paths: Vec<Path> = (0..files.len()).map(|at| Path::from(name(at))).collect();
            let shuffled = at_random(dealt.clone(), paths.iter().collect(), partitions, case);
            let places: HashMap<String, usize> =
                (0..files.len()).map(|at| (name(at), at)).collect();
            let mut heaviest_piece = 0;
            for groups in [&dealt, &shuffled] {
                let mut seen: Vec<(usize, u64)> = Vec::new();
                let mut weights = Vec::new();
                for group in groups {
                    let mut weight = 0;
                    let mut keys = Vec::new();
                    for piece in group.iter() {
                        let at = places[piece.path().as_ref()];
                        let found = held(piece, &files[at].0);
                        seen.extend(found.iter().map(|group| (at, group.start)));
                        let own = weigh(&found, piece.effective_size());
                        heaviest_piece = heaviest_piece.max(own);
                        weight += own;
                        keys.push((at, piece.range.as_ref().map_or(0, |range| range.start)));
                    }
                    assert!(keys.is_sorted(), "case {case}: out of order");
                    weights.push(weight);
                }
                let all = files.iter().enumerate();
                let all = all.flat_map(|(at, (groups, _))| {
                    groups.iter().map(move |group| (at, group.start))
                });
                seen.sort();
                assert!(
                    seen.iter().copied().eq(all),
                    "case {case}: not complete and disjoint"
                );
                if std::ptr::eq(groups, &dealt) {
                    let share = weights.iter().sum::<u64>() / partitions as u64 + 1;
                    let most = weights.iter().max().copied().unwrap_or(0);
                    assert!(
                        most <= share + heaviest_piece + 1,
                        "case {case}: {most}, a share is {share}"
                    );
                    let group = files.iter().flat_map(|(groups, _)| groups);
                    let heaviest = group.map(|group| weigh(&[group], group.bytes)).max();
                    // One partition reads files whole.
                    let part = if partitions > 1 { share / 4 } else { share };
                    let piece = part + heaviest.unwrap_or(0) + 5;
                    assert!(
                        heaviest_piece <= piece,
                        "case {case}: {heaviest_piece} of {piece}"
                    );
                }
            }
            let counts: Vec<usize> = shuffled.iter().map(FileGroup::len).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(
                most.zip(least)
                    .is_none_or(|(most, least)| most - least <= 1),
                "case {case}: {counts:?}"
            );
        }
    }

    #[test]
    fn a_seed_deals_the_same_each_time_and_another_one_otherwise() {
        let files: Vec<PartitionedFile> = (0..50)
            .map(|at| PartitionedFile::new(format!("f{at:02}"), 10))
            .collect();
        let paths: Vec<Path> = files.iter().map(|file| file.path().clone()).collect();
        let dealt = |seed| -> Vec<Vec<String>> {
            let groups = at_random(
                vec![FileGroup::new(files.clone())],
                paths.iter().collect(),
                4,
                seed,
            );
            let names =
                |group: &FileGroup| group.iter().map(|file| file.path().to_string()).collect();
            groups.iter().map(names).collect()
        };
        assert_eq!(dealt(1), dealt(1));
        assert_ne!(dealt(1), dealt(2));
    }
}
