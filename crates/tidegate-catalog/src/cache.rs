//! A bounded memory of what was learned about files, by file at one state.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::file::FileKey;

/// What is remembered of a file, and how much of the limit it takes.
pub(crate) trait Remembered {
    fn cost(&self) -> usize;
}

impl Remembered for arrow::datatypes::Fields {
    fn cost(&self) -> usize {
        self.len() + 1
    }
}

/// Values by file and by how they were found; the oldest are forgotten first when all of them cost more than `cost_max`.
pub(crate) struct FileCache<V> {
    cost_max: usize,
    kept: Mutex<Kept<V>>,
}

/// The file, and how the value was found.
type Key = (FileKey, Arc<str>);

struct Kept<V> {
    values: HashMap<Key, Arc<V>>,
    order: VecDeque<Key>,
    cost: usize,
}

impl<V: Remembered> FileCache<V> {
    pub(crate) fn new(cost_max: usize) -> Self {
        let kept = Kept {
            values: HashMap::new(),
            order: VecDeque::new(),
            cost: 0,
        };
        Self {
            cost_max,
            kept: Mutex::new(kept),
        }
    }

    /// What is known of this file, found out now if it is not. `context` says how: other options are another value.
    pub(crate) fn get(
        &self,
        file: &FileKey,
        context: &str,
        find: impl FnOnce() -> Result<V>,
    ) -> Result<Arc<V>> {
        let key = (file.clone(), Arc::from(context));
        if let Some(known) = self.kept.lock().values.get(&key) {
            return Ok(Arc::clone(known));
        }
        let value = Arc::new(find()?);
        let mut kept = self.kept.lock();
        if let Some(old) = kept.values.insert(key.clone(), Arc::clone(&value)) {
            kept.cost -= old.cost();
        } else {
            kept.order.push_back(key);
        }
        kept.cost += value.cost();
        while kept.cost > self.cost_max {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            if let Some(gone) = kept.values.remove(&oldest) {
                kept.cost -= gone.cost();
            }
        }
        Ok(value)
    }
}

impl<V> fmt::Debug for FileCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache")
            .field("cost_max", &self.cost_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::file::DataFile;
    use crate::walk::LocalFile;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let file = |n: u64| {
            DataFile::local(LocalFile {
                path: format!("/{n}"),
                size: n,
                mtime_ns: 0,
                inode: n,
            })
            .unwrap()
            .key()
        };
        let cache: FileCache<arrow::datatypes::Fields> = FileCache::new(2);
        let found = |n: u64| {
            let mut asked = false;
            cache
                .get(&file(n), "x", || {
                    asked = true;
                    Ok(Vec::<arrow::datatypes::FieldRef>::new().into())
                })
                .unwrap();
            !asked
        };
        assert_eq!(
            [found(1), found(2), found(1), found(3), found(1), found(3)],
            [false, false, true, false, false, true]
        );
    }
}
