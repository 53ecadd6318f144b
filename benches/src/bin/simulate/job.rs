//! Jobs to pretend to run: random ones of some shapes, and recorded ones.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tidegate_runtime::scheduler::{Invalid, Limits, Policy, Scheduler, StageSpec};
use tidegate_testing::random::Random;

use crate::Estimates;
use crate::cluster::Cluster;

/// Stages, and how long each of their tasks really takes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    pub(crate) stages: Vec<Stage>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stage {
    inputs: Vec<usize>,
    /// For each task.
    pub(crate) seconds: Vec<f64>,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One stage of independent tasks
    Flat,
    /// Eight stages one after the other
    Chain,
    /// Eight scans, joined in pairs
    Tree,
    /// Sixteen stages that read up to three earlier ones
    Random,
}

#[derive(Debug, Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Times {
    /// From half to one and a half of the mean of the stage
    Uniform,
    /// Lognormal, sigma 1.5: one in a hundred takes more than ten times the mean
    HeavyTailed,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat => "flat",
            Self::Chain => "chain",
            Self::Tree => "tree",
            Self::Random => "random",
        })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::HeavyTailed => "heavy-tailed",
        })
    }
}

impl Shape {
    /// What each stage reads.
    fn inputs(self, random: &mut Random) -> Vec<Vec<usize>> {
        match self {
            Self::Flat => vec![Vec::new()],
            Self::Chain => (0..8)
                .map(|n: usize| n.checked_sub(1).into_iter().collect())
                .collect(),
            // Numbered as plans are: each join follows what it reads, 0 1 (0 1) 3 4 (3 4) (2 5) …
            Self::Tree => {
                let mut stages = Vec::new();
                tree(&mut stages, 3);
                stages
            }
            Self::Random => {
                let stage = |number: usize| {
                    let few = random.below(4).min(number);
                    let mut inputs: Vec<usize> = (0..few).map(|_| random.below(number)).collect();
                    inputs.sort_unstable();
                    inputs.dedup();
                    inputs
                };
                (0..16).map(stage).collect()
            }
        }
    }
}

/// Adds a tree of joins so many levels deep, and returns the number of its root.
fn tree(stages: &mut Vec<Vec<usize>>, depth: usize) -> usize {
    let inputs = match depth {
        0 => Vec::new(),
        _ => vec![tree(stages, depth - 1), tree(stages, depth - 1)],
    };
    stages.push(inputs);
    stages.len() - 1
}

impl Times {
    /// A time whose mean is 1.
    fn one(self, random: &mut Random) -> f64 {
        match self {
            Self::Uniform => 0.5 + random.fraction(),
            Self::HeavyTailed => lognormal(random, 1.5),
        }
    }
}

/// A lognormal number whose mean is 1.
fn lognormal(random: &mut Random, sigma: f64) -> f64 {
    // Box and Muller; 1 - fraction is above zero.
    let radius = (-2.0 * (1.0 - random.fraction()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.fraction()).cos();
    (sigma * normal - sigma * sigma / 2.0).exp()
}

impl Job {
    /// A random job whose stages differ in size and in the mean time of their tasks.
    pub(crate) fn random(random: &mut Random, shape: Shape, times: Times, tasks: usize) -> Self {
        let inputs = shape.inputs(random);
        let stage = |inputs| {
            let mean = lognormal(random, 1.0);
            let tasks = 1 + random.below(2 * tasks.max(1) - 1);
            let seconds = (0..tasks).map(|_| mean * times.one(random)).collect();
            Stage { inputs, seconds }
        };
        let stages = inputs.into_iter().map(stage).collect();
        Self { stages }
    }

    pub(crate) fn recorded(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Self, Box<dyn Error>> {
        let job: Self = serde_json::from_str(text)?;
        let times = || job.stages.iter().flat_map(|stage| &stage.seconds);
        if let Some(odd) = times().find(|time| Duration::try_from_secs_f64(**time).is_err()) {
            return Err(format!("{odd} is no time of a task").into());
        }
        if times().sum::<f64>() <= 0.0 {
            return Err("no task takes any time".into());
        }
        Scheduler::new(job.specs(Estimates::None), Limits::default(), Policy::Fifo)?;
        Ok(job)
    }

    /// Seconds that no schedule can beat: all the work on all the workers, or the longest way
    /// through the job.
    pub(crate) fn lower_bound(&self, workers: usize) -> f64 {
        let work: f64 = self.work();
        (work / workers as f64).max(self.critical_path())
    }

    pub(crate) fn work(&self) -> f64 {
        self.stages.iter().flat_map(|stage| &stage.seconds).sum()
    }

    /// A stage begins when its inputs are complete, so its longest task is on the way.
    fn critical_path(&self) -> f64 {
        let mut ends: Vec<f64> = Vec::new();
        for stage in &self.stages {
            let begin = stage
                .inputs
                .iter()
                .map(|input| ends[*input])
                .fold(0.0, f64::max);
            ends.push(begin + stage.seconds.iter().copied().fold(0.0, f64::max));
        }
        ends.into_iter().fold(0.0, f64::max)
    }

    fn specs(&self, estimates: Estimates) -> Vec<StageSpec> {
        let spec = |stage: &Stage| {
            let tasks = stage.seconds.len();
            StageSpec {
                inputs: stage.inputs.clone(),
                tasks,
                cost: match estimates {
                    Estimates::None => 1.0,
                    Estimates::Stage | Estimates::Task => {
                        stage.seconds.iter().sum::<f64>() / tasks.max(1) as f64
                    }
                },
            }
        };
        self.stages.iter().map(spec).collect()
    }

    /// The scheduler of this job, which knows as much of it as the estimates tell.
    pub(crate) fn scheduler(
        &self,
        policy: &Policy,
        estimates: Estimates,
        cluster: &Cluster,
    ) -> Result<Scheduler, Invalid> {
        // Later stages first: what has begun is finished before anything else begins.
        let policy = match policy {
            Policy::Priority(_) => Policy::Priority((0..self.stages.len() as i32).collect()),
            policy => policy.clone(),
        };
        let limits = Limits {
            attempts_max: u32::MAX,
            workers_wait: Duration::MAX,
            speculation: cluster.speculation,
            ..Limits::default()
        };
        let mut scheduler = Scheduler::new(self.specs(estimates), limits, policy)?;
        if estimates == Estimates::Task {
            for (number, stage) in self.stages.iter().enumerate() {
                scheduler = scheduler.with_costs(number, &stage.seconds)?;
            }
        }
        Ok(scheduler)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_recorded_job_has_its_bounds() {
        let text =
            r#"{"stages": [{"inputs": [], "seconds": [1, 2.5]}, {"inputs": [0], "seconds": [4]}]}"#;
        let job = Job::parse(text).unwrap();
        assert_eq!(job.lower_bound(1), 7.5);
        assert_eq!(job.lower_bound(9), 6.5);
        for wrong in [
            "{}",
            r#"{"stages": []}"#,
            r#"{"stages": [{"inputs": [], "seconds": [-1]}]}"#,
            r#"{"stages": [{"inputs": [], "seconds": [1e300]}]}"#,
            r#"{"stages": [{"inputs": [0], "seconds": [1]}]}"#,
        ] {
            assert!(Job::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn random_times_have_the_mean_one() {
        for times in [Times::Uniform, Times::HeavyTailed] {
            let mut random = Random::new(3);
            let sum: f64 = (0..200_000).map(|_| times.one(&mut random)).sum();
            assert!((sum / 200_000.0 - 1.0).abs() < 0.05, "{times}: {sum}");
        }
    }

    #[test]
    fn a_tree_joins_what_comes_before() {
        let inputs = Shape::Tree.inputs(&mut Random::new(1));
        assert_eq!(inputs.len(), 15);
        assert_eq!(inputs[2], [0, 1]);
        assert_eq!(inputs[14], [6, 13]);
    }
}
