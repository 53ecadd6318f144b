//! Footers of files that were read, up to a limit; those used longest ago go first.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use object_store::ObjectMeta;
use parking_lot::Mutex;
use parquet::file::metadata::ParquetMetaData;

/// The memory cached footers may take when nobody says how much.
const BYTES_MAX: usize = 128 << 20;

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    name: Arc<str>,
    size: u64,
    modified_nanos: Option<i64>,
    tag: Option<String>,
}

impl Key {
    pub(super) fn new(name: &Arc<str>, meta: &ObjectMeta) -> Self {
        Self {
            name: Arc::clone(name),
            size: meta.size,
            modified_nanos: meta.last_modified.timestamp_nanos_opt(),
            tag: meta.e_tag.clone(),
        }
    }
}

struct Entry {
    footer: Arc<ParquetMetaData>,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    clock: u64,
}

/// A bounded cache of footers, shared by the queries of a session.
pub struct FooterCache {
    bytes_max: usize,
    state: Mutex<State>,
}

impl FooterCache {
    /// A cache that takes up to `bytes_max` bytes of memory.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// Bytes of memory the cached footers take.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Forgets all footers.
    pub fn clear(&self) {
        *self.state.lock() = State::default();
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<ParquetMetaData>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let entry = state.entries.get_mut(key)?;
        entry.used = now;
        Some(Arc::clone(&entry.footer))
    }

    pub(super) fn put(&self, key: Key, footer: &Arc<ParquetMetaData>) {
        let bytes = footer.memory_size();
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.state.lock();
        state.clock += 1;
        let entry = Entry {
            footer: Arc::clone(footer),
            bytes,
            used: state.clock,
        };
        state.bytes += bytes;
        if let Some(old) = state.entries.insert(key, entry) {
            state.bytes -= old.bytes;
        }
        while state.bytes > self.bytes_max {
            state.drop_oldest();
        }
    }
}

impl State {
    /// Drops the eighth of the entries that was used longest ago, so that dropping is rare.
    fn drop_oldest(&mut self) {
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let nth = used.len() / 8;
        let (_, &mut limit, _) = used.select_nth_unstable(nth);
        self.entries.retain(|_, entry| entry.used > limit);
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

impl Default for FooterCache {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl fmt::Debug for FooterCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FooterCache")
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}
