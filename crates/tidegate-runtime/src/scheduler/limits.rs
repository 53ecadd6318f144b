//! The limits of a job: how often, how long, how many.

use std::time::Duration;

use super::messages::Invalid;

/// What the scheduler bears before it gives up, and how long it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// How many attempts of a task may fail; the last one fails the job.
    pub attempts_max: u32,
    /// How often the output of one task may be lost; once more fails the job.
    pub losses_max: u32,
    /// The pause before a second attempt. Each further pause is twice as long.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// How long a job waits while no worker is there.
    pub workers_wait: Duration,
    /// When a second attempt is made beside one that is slow; never if none.
    pub speculation: Option<Speculation>,
    /// How long an attempt may run; as long as it likes if none.
    pub task_timeout: Option<TaskTimeout>,
}

/// A straggler is an attempt that has run much longer than the tasks of its stage took. Slots that
/// have nothing else to do try it a second time; the first to seal wins.
#[derive(Debug, Copy, Clone, PartialEq)]
pub struct Speculation {
    /// How many times the median of the finished tasks of the stage. Half of them are finished by
    /// then: the quick ones come first and say little.
    pub factor: f64,
    /// An attempt younger than this is left alone.
    pub minimum: Duration,
}

impl Default for Speculation {
    /// Thrice the median, and not before a second.
    fn default() -> Self {
        Self {
            factor: 3.0,
            minimum: Duration::from_secs(1),
        }
    }
}

/// When an attempt counts as stuck: it is cancelled, and the task tried again.
#[derive(Debug, Copy, Clone, PartialEq)]
pub enum TaskTimeout {
    /// After this time.
    Fixed(Duration),
    /// After a multiple of its cost in seconds, and not before a minimum.
    Estimate {
        /// The multiple.
        factor: f64,
        /// The minimum.
        minimum: Duration,
    },
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            losses_max: 8,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            workers_wait: Duration::from_secs(30),
            speculation: None,
            task_timeout: None,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let positive = |factor: f64| factor.is_finite() && factor > 0.0;
        let speculation = self.speculation.is_none_or(|s| positive(s.factor));
        let timeout = match self.task_timeout {
            None => true,
            Some(TaskTimeout::Fixed(limit)) => !limit.is_zero(),
            Some(TaskTimeout::Estimate { factor, minimum }) => {
                positive(factor) && !minimum.is_zero()
            }
        };
        let checks = [
            ("attempts_max", self.attempts_max > 0),
            ("speculation", speculation),
            ("task_timeout", timeout),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((limit, _)) => Err(Invalid::Limit { limit }),
            None => Ok(()),
        }
    }

    /// The pause after so many failures.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.backoff
            .saturating_mul(1 << doublings)
            .min(self.backoff_max)
    }

    /// How long an attempt at a task of this cost may run.
    pub(super) fn timeout(&self, cost: f64) -> Option<Duration> {
        match self.task_timeout? {
            TaskTimeout::Fixed(limit) => Some(limit),
            TaskTimeout::Estimate { factor, minimum } => Some(seconds(cost * factor).max(minimum)),
        }
    }
}

impl Speculation {
    /// The age from which an attempt is a straggler, where finished tasks took so long.
    pub(super) fn threshold(&self, median: Duration) -> Duration {
        seconds(median.as_secs_f64() * self.factor).max(self.minimum)
    }
}

/// A time in seconds; one too long to count is the longest there is.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
