//! The median of times that come one by one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Two heaps that meet in the middle: a time is added in logarithmic time, however many there are.
#[derive(Debug, Default)]
pub(super) struct Median {
    below: BinaryHeap<Duration>,
    /// The median and what is above: as many as `below`, or one more.
    above: BinaryHeap<Reverse<Duration>>,
}

impl Median {
    pub(super) fn add(&mut self, time: Duration) {
        // By way of the other heap, so that nothing in `below` is above anything in `above`.
        match self.below.len() < self.above.len() {
            true => {
                self.above.push(Reverse(time));
                self.below
                    .extend(self.above.pop().map(|Reverse(time)| time));
            }
            false => {
                self.below.push(time);
                self.above.extend(self.below.pop().map(Reverse));
            }
        }
    }

    /// The middle one, of an even number the later; none of none.
    pub(super) fn get(&self) -> Option<Duration> {
        self.above.peek().map(|Reverse(time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testing::random::Random;

    #[test]
    fn it_is_the_middle_of_all() {
        let mut random = Random::new(4);
        let (mut median, mut all) = (Median::default(), Vec::new());
        assert_eq!(median.get(), None);
        for count in 1..=300 {
            let time = Duration::from_millis(random.below(50) as u64);
            median.add(time);
            all.push(time);
            all.sort();
            assert_eq!(median.get(), all.get(count / 2).copied());
        }
    }
}
