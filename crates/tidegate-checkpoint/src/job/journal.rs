//! The journal of a job: records behind each other, each with a check and the hash of the one before it.
//!
//! ```text
//! file     magic 8 | record …
//! record   length of the payload 4 | number 8 | BLAKE3 of the record before 32 | payload (JSON) | crc 4
//! ```
//!
//! The first record is chained to the fingerprint of the job. Nothing is written behind a record that is not on the
//! disk, so what a crash tears is one record at most, the last: it is cut off. A damaged record before a valid one is
//! something else, and an error. A last record that rots looks like a torn one, and a journal that somebody cuts
//! between two records like a shorter one: what they sealed is computed again, and nothing is wrong. Each owner writes the journal anew before it goes on: whoever had it before, and may
//! not know that it lost it, writes to a file that has no name any more.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::name;
use super::record::Record;
use crate::error::{At, Error, Result};
use crate::vfs::{Vfs, VfsFile, if_exists};

const MAGIC: &[u8; 8] = b"TIDEJRN\x01";
/// Of a record, beside its payload.
const FIXED_BYTES: usize = 4 + 8 + 32 + 4;
const PAYLOAD_AT: usize = FIXED_BYTES - 4;
/// A record larger than this is refused; an intent of some 400,000 files is smaller.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// A journal larger than this is refused.
pub const JOURNAL_BYTES_MAX: u64 = 4 << 30;
/// How often each byte of a torn tail may be read in search of a record.
const SEARCH_FACTOR: usize = 64;

/// Where the next record goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    number: u64,
    before: [u8; 32],
}

/// What a journal holds.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) records: Vec<Record>,
    /// Bytes up to the end of the last whole record.
    pub(super) kept: usize,
    pub(super) chain: Chain,
    /// Whether a torn record follows.
    pub(super) cut: bool,
}

/// When a record is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    /// Before anything is built on it.
    Now,
    /// Before the next record is written.
    Later,
}

impl Chain {
    pub(super) fn new(fingerprint: &[u8; 32]) -> Self {
        Self {
            number: 0,
            before: *fingerprint,
        }
    }

    /// The bytes of a record, and where the next one goes on.
    fn encode(self, record: &Record, path: &Path) -> Result<(Vec<u8>, Self)> {
        let payload = serde_json::to_vec(record);
        let payload = payload.map_err(io::Error::from).at("write", path)?;
        let length = payload.len();
        if length > RECORD_BYTES_MAX {
            return Err(Error::Misuse {
                name: path.display().to_string(),
                why: "a record has at most 64 MiB",
            });
        }
        let mut bytes = Vec::with_capacity(FIXED_BYTES + length);
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let next = self.after(&bytes);
        Ok((bytes, next))
    }

    fn after(self, record: &[u8]) -> Self {
        Self {
            number: self.number + 1,
            before: *blake3::hash(record).as_bytes(),
        }
    }
}

/// Reads the journal of the job in `dir`; also its bytes.
pub(super) fn read(
    vfs: &dyn Vfs,
    dir: &Path,
    fingerprint: &[u8; 32],
) -> Result<(Replayed, Vec<u8>)> {
    let path = dir.join(name::JOURNAL);
    let corrupt = |why| Error::Corrupt {
        path: path.clone(),
        why,
    };
    let bytes = if_exists(vfs.read(&path, JOURNAL_BYTES_MAX)).at("read", &path)?;
    let bytes = bytes.ok_or_else(|| corrupt("it is gone".into()))?;
    let replayed = replay(&bytes, fingerprint).map_err(corrupt)?;
    Ok((replayed, bytes))
}

/// What the bytes of a journal say. An error says why it is damaged.
pub(super) fn replay(bytes: &[u8], fingerprint: &[u8; 32]) -> Result<Replayed, String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it is no journal of this version".into());
    }
    let mut replayed = Replayed {
        records: Vec::new(),
        kept: MAGIC.len(),
        chain: Chain::new(fingerprint),
        cut: false,
    };
    while let Some(record) = whole_record(&bytes[replayed.kept..]) {
        let number = replayed.chain.number;
        if record[4..12] != number.to_le_bytes() || record[12..44] != replayed.chain.before {
            return Err(format!("record {number} is not the one that was written"));
        }
        let payload = &record[PAYLOAD_AT..record.len() - 4];
        let parsed = serde_json::from_slice(payload);
        let parsed = parsed.map_err(|error| format!("record {number} is unknown: {error}"))?;
        replayed.records.push(parsed);
        replayed.chain = replayed.chain.after(record);
        replayed.kept += record.len();
    }
    let (number, tail) = (replayed.chain.number, &bytes[replayed.kept..]);
    if number == 0 {
        return Err("its first record is damaged".into());
    }
    if tail.len() > FIXED_BYTES + RECORD_BYTES_MAX || holds_record(tail, number) {
        return Err(format!("record {number} is damaged, and others follow it"));
    }
    replayed.cut = !tail.is_empty();
    Ok(replayed)
}

/// The record that these bytes begin with, if it is whole.
fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let record = bytes.get(..length_of(bytes)?)?;
    let (checked, check) = record.split_at(record.len() - 4);
    (crc32fast::hash(checked).to_le_bytes() == check).then_some(record)
}

/// How long the record is that these bytes begin with, if they look like one.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let looks_right = length <= RECORD_BYTES_MAX && bytes.get(PAYLOAD_AT) == Some(&b'{');
    looks_right.then_some(FIXED_BYTES + length)
}

/// Whether a whole record begins anywhere after the first byte. Too long a search says yes: a
/// torn record does not look like many.
fn holds_record(tail: &[u8], number: u64) -> bool {
    let mut search = tail.len().saturating_mul(SEARCH_FACTOR);
    let numbers = number.saturating_add((tail.len() / FIXED_BYTES) as u64);
    for at in 1..tail.len() {
        let rest = &tail[at..];
        let Some(length) = length_of(rest).filter(|length| *length <= rest.len()) else {
            continue;
        };
        let is_near = rest[4..]
            .first_chunk()
            .is_some_and(|number| u64::from_le_bytes(*number) <= numbers);
        if !is_near {
            continue;
        }
        match search.checked_sub(length) {
            Some(left) => search = left,
            None => return true,
        }
        if whole_record(rest).is_some() {
            return true;
        }
    }
    false
}

/// A journal that is being written.
pub(super) struct Journal {
    path: PathBuf,
    file: Box<dyn VfsFile>,
    chain: Chain,
    bytes: u64,
    bytes_max: u64,
    /// Whether the last record may not be on the disk.
    unsynced: bool,
    /// What ended it. The system may say that all is well after a failure, and it would not be.
    broken: Option<Error>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .field("bytes", &self.bytes)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// The beginning of every journal.
    pub(super) const EMPTY: &'static [u8] = MAGIC;

    /// Writes a journal that holds what was `kept` of the one before it and a first record of its
    /// own, and puts it in the place of that one.
    pub(super) fn start(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        kept: &[u8],
        chain: Chain,
        first: &Record,
    ) -> Result<Self> {
        let path = dir.join(name::JOURNAL);
        let draft = dir.join(name::unfinished(&**vfs, name::JOURNAL));
        let (record, chain) = chain.encode(first, &path)?;
        let mut file = vfs.create(&draft).at("make", &draft)?;
        let written = file.write_all(kept).and_then(|()| file.write_all(&record));
        written.at("write", &draft)?;
        file.sync().at("sync", &draft)?;
        vfs.rename(&draft, &path).at("rename", &draft)?;
        vfs.sync_dir(dir).at("sync", dir)?;
        Ok(Self {
            path,
            file,
            chain,
            bytes: (kept.len() + record.len()) as u64,
            bytes_max: JOURNAL_BYTES_MAX,
            unsynced: false,
            broken: None,
        })
    }

    /// Adds a record. After a failure no other is added.
    pub(super) fn append(&mut self, record: &Record, force: Force) -> Result<()> {
        self.check()?;
        let (bytes, next) = self.chain.encode(record, &self.path)?;
        if self.bytes + bytes.len() as u64 > self.bytes_max {
            return Err(Error::Refused {
                path: self.path.clone(),
                why: format!("a journal has at most {} bytes", self.bytes_max),
            });
        }
        match self.write(&bytes, force) {
            Ok(()) => {
                self.chain = next;
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.end(error)),
        }
    }

    /// An error when an earlier record failed.
    pub(super) fn check(&self) -> Result<()> {
        self.broken
            .as_ref()
            .map_or(Ok(()), |error| Err(again(error)))
    }

    /// Ends it: this error is what everybody gets from now on.
    pub(super) fn end(&mut self, error: Error) -> Error {
        let same = again(&error);
        self.broken.get_or_insert(error);
        same
    }

    fn write(&mut self, bytes: &[u8], force: Force) -> Result<()> {
        if self.unsynced {
            self.sync()?;
        }
        self.file.write_all(bytes).at("write", &self.path)?;
        self.unsynced = true;
        match force {
            Force::Now => self.sync(),
            Force::Later => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync().at("sync", &self.path)?;
        self.unsynced = false;
        Ok(())
    }
}

#[cfg(test)]
impl Journal {
    /// The same on a copy of its disk.
    pub(super) fn forked(&self, file: Box<dyn VfsFile>) -> Self {
        Self {
            path: self.path.clone(),
            file,
            broken: self.broken.as_ref().map(again),
            ..*self
        }
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    match error {
        Error::Io {
            doing,
            path,
            source,
        } => Error::Io {
            doing,
            path: path.clone(),
            source: match source.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(source.kind(), source.to_string()),
            },
        },
        Error::Corrupt { path, why } => Error::Corrupt {
            path: path.clone(),
            why: why.clone(),
        },
        other => Error::Io {
            doing: "write",
            path: PathBuf::from(name::JOURNAL),
            source: io::Error::other(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::RealVfs;
    use crate::job::TaskKey;

    const FINGERPRINT: [u8; 32] = [9; 32];

    fn record(number: u64) -> Record {
        match number {
            0 => Record::Epoch {
                epoch: 1,
                at_ms: 0,
                pid: 1,
                last_beat_ms: None,
            },
            _ => Record::Failed {
                key: TaskKey::default(),
                attempt: number as u32,
                why: "no reason".into(),
            },
        }
    }

    /// A journal of so many records, and where each ends.
    fn written(records: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MAGIC.to_vec();
        let (mut chain, mut ends) = (Chain::new(&FINGERPRINT), Vec::new());
        for number in 0..records {
            let (record, next) = chain.encode(&record(number), Path::new("j")).unwrap();
            bytes.extend_from_slice(&record);
            ends.push(bytes.len());
            chain = next;
        }
        (bytes, ends)
    }

    fn replayed(bytes: &[u8]) -> Result<(usize, bool), String> {
        let replayed = replay(bytes, &FINGERPRINT)?;
        for (number, found) in replayed.records.iter().enumerate() {
            assert_eq!(*found, record(number as u64));
        }
        Ok((replayed.records.len(), replayed.cut))
    }

    #[test]
    fn records_come_back_in_order() {
        for records in 1..5 {
            let (bytes, _) = written(records);
            assert_eq!(replayed(&bytes), Ok((records as usize, false)));
        }
        assert!(replay(&written(3).0, &[8; 32]).is_err(), "of another job");
    }

    #[test]
    fn every_torn_tail_is_cut_at_the_last_whole_record() {
        let (bytes, ends) = written(4);
        for length in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            let is_cut = !ends.contains(&length);
            let mut zeroes = bytes[..length].to_vec();
            zeroes.resize(bytes.len(), 0);
            match whole {
                0 => assert!(replayed(&bytes[..length]).is_err(), "{length}"),
                _ => {
                    assert_eq!(replayed(&bytes[..length]), Ok((whole, is_cut)), "{length}");
                    assert_eq!(replayed(&zeroes).unwrap().0, whole, "{length}");
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_damage_before_the_last_record_and_a_torn_tail_in_it() {
        let (bytes, ends) = written(4);
        for place in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[place / 8] ^= 1 << (place % 8);
            match place / 8 < ends[2] {
                true => assert!(replayed(&bad).is_err(), "{place}"),
                false => assert_eq!(replayed(&bad), Ok((3, true)), "{place}"),
            }
        }
    }

    #[test]
    fn records_that_are_missing_doubled_or_swapped_are_damage() {
        let (bytes, ends) = written(5);
        let part = |number: usize| &bytes[ends[number - 1]..ends[number]];
        let of = |numbers: &[usize]| {
            let parts = numbers.iter().flat_map(|number| part(*number).to_vec());
            let all = bytes[..ends[0]].iter().copied().chain(parts);
            replayed(&all.collect::<Vec<u8>>())
        };
        assert_eq!(of(&[1, 2, 3, 4]), Ok((5, false)));
        for bad in [&[1, 3, 4][..], &[1, 1, 2], &[2, 1, 3, 4], &[1, 2, 2], &[2]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    /// Bytes that look like records at every place are not searched for ever.
    #[test]
    fn a_tail_made_to_be_searched_long_is_damage() {
        let (mut bytes, _) = written(1);
        let mut piece = [0_u8; 48];
        piece[..4].copy_from_slice(&1_000_000_u32.to_le_bytes());
        piece[44] = b'{';
        for _ in 0..40_000 {
            bytes.extend_from_slice(&piece);
        }
        assert!(replay(&bytes, &FINGERPRINT).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let (bytes, ends) = written(3);
        let mut hasher = blake3::Hasher::new();
        for case in 0..2000_u64 {
            hasher.update(&case.to_le_bytes());
            let mut noise = [0_u8; 300];
            hasher.finalize_xof().fill(&mut noise);
            let mut bad = bytes[..ends[case as usize % 3]].to_vec();
            bad.extend_from_slice(&noise[..case as usize % 300]);
            let whole = case as usize % 3 + 1;
            assert_eq!(replayed(&bad).unwrap().0, whole);
            assert!(replay(&noise, &FINGERPRINT).is_err());
        }
    }

    #[test]
    fn the_limits_hold_at_their_edges() {
        let dir = tempfile::tempdir().unwrap();
        let vfs: Arc<dyn Vfs> = Arc::new(RealVfs);
        let chain = Chain::new(&FINGERPRINT);
        let mut journal =
            Journal::start(&vfs, dir.path(), Journal::EMPTY, chain, &record(0)).unwrap();
        let (_, ends) = written(3);
        journal.bytes_max = ends[1] as u64;
        journal.append(&record(1), Force::Later).unwrap();
        let error = journal.append(&record(2), Force::Now).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        let bytes = std::fs::read(dir.path().join(name::JOURNAL)).unwrap();
        assert_eq!(replayed(&bytes), Ok((2, false)));
        let why = "x".repeat(RECORD_BYTES_MAX);
        let key = TaskKey::default();
        let error = chain.encode(&Record::Lost { key, why }, Path::new("j"));
        assert!(matches!(error, Err(Error::Misuse { .. })));
    }
}
