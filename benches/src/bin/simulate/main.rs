//! The scheduler on jobs that only pretend to run: `simulate [OPTIONS]` prints how long each policy
//! takes, as a multiple of what no schedule can beat, in a table of Markdown.
//!
//! The scheduler is the one that runs queries; the time is simulated, so a thousand workers and a day
//! of work take a second. What the figures mean stands in `docs/scheduling.md`.

mod cluster;
mod job;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use cluster::{Cluster, Failing, Outcome};
use job::{Job, Shape, Times};
use tidegate_runtime::scheduler::{Policy, Speculation};
use tidegate_testing::random::Random;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the scheduler on synthetic and recorded jobs, in simulated time.
#[derive(Debug, Parser)]
struct Options {
    /// Shapes of the synthetic jobs
    #[arg(long, value_delimiter = ',', default_values = ["flat", "chain", "tree", "random"])]
    shapes: Vec<Shape>,
    /// How the times of tasks are distributed
    #[arg(long, value_delimiter = ',', default_values = ["uniform", "heavy-tailed"])]
    times: Vec<Times>,
    /// Jobs whose times were measured, instead of synthetic ones: files as docs/scheduling.md has them
    #[arg(long, value_name = "FILE")]
    recorded: Vec<PathBuf>,
    /// Numbers of workers, each with one slot
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = count,
        default_values = ["1", "10", "100", "1000"]
    )]
    workers: Vec<usize>,
    /// Policies to compare
    #[arg(long, value_delimiter = ',', default_values = Policy::names())]
    policies: Vec<Policy>,
    /// What the scheduler is told of the times of tasks
    #[arg(long, value_enum, default_value = "stage")]
    estimates: Estimates,
    /// Tasks of a synthetic stage, on average
    #[arg(long, value_parser = count, default_value = "100")]
    tasks: usize,
    /// Seconds that a worker runs until it fails, on average; without it none fails
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    fails_after: Option<f64>,
    /// Seconds until another worker takes the place of one that failed, on average
    #[arg(long, value_name = "SECONDS", value_parser = positive, default_value = "60")]
    returns_after: f64,
    /// The share of attempts that take ten times as long as the task should
    #[arg(long, value_name = "SHARE", default_value = "0")]
    stragglers: f64,
    /// Try a task a second time once it runs longer than so many times the median of its stage
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    speculation: Option<f64>,
    /// Jobs in each line of the table
    #[arg(long, value_parser = count, default_value = "20")]
    runs: usize,
    /// The seed of all that is random
    #[arg(long, default_value = "20260718")]
    seed: u64,
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not a number above zero".to_string())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "not a number above zero".to_string())
}

/// What the scheduler knows beforehand.
#[derive(Debug, Copy, Clone, PartialEq, Eq, clap::ValueEnum)]
enum Estimates {
    /// Each task's time
    Task,
    /// The mean of each stage
    Stage,
    /// Nothing
    None,
}

/// One line of the table: jobs of a kind on so many workers.
struct Line {
    name: String,
    jobs: Vec<Job>,
    workers: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let lines = lines(&options)?;
    let mut out = std::io::stdout().lock();
    write_head(&mut out, &options)?;
    let (begin, mut events) = (Instant::now(), 0);
    for line in lines {
        let mut figures = Figures::default();
        for policy in &options.policies {
            let outcomes = run(&options, &line, policy)?;
            events += outcomes.iter().map(|outcome| outcome.events).sum::<u64>();
            figures.add(&line, &outcomes);
        }
        write_line(&mut out, &options, &line, &figures)?;
    }
    let took = begin.elapsed().as_secs_f64();
    let rate = events as f64 / took;
    writeln!(
        std::io::stderr(),
        "{events} events in {took:.1} s: {rate:.0} a second"
    )?;
    Ok(())
}

fn lines(options: &Options) -> Result<Vec<Line>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for path in &options.recorded {
        let job = Job::recorded(path)?;
        for workers in options.workers.iter().copied() {
            lines.push(Line {
                name: format!("{} | recorded", path.display()),
                jobs: vec![job.clone(); options.runs],
                workers,
            });
        }
    }
    if !lines.is_empty() {
        return Ok(lines);
    }
    for shape in options.shapes.iter().copied() {
        for times in options.times.iter().copied() {
            let jobs: Vec<Job> = (0..options.runs as u64)
                .map(|run| {
                    let mut random = Random::of_case(options.seed, run);
                    Job::random(&mut random, shape, times, options.tasks)
                })
                .collect();
            for workers in options.workers.iter().copied() {
                lines.push(Line {
                    name: format!("{shape} | {times}"),
                    jobs: jobs.clone(),
                    workers,
                });
            }
        }
    }
    Ok(lines)
}

/// Runs each job of a line.
fn run(options: &Options, line: &Line, policy: &Policy) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let run = |(number, job): (u64, &Job)| {
        let cluster = Cluster {
            workers: line.workers,
            failing: options.fails_after.map(|up| Failing {
                up,
                down: options.returns_after,
            }),
            stragglers: options.stragglers,
            speculation: options.speculation.map(|factor| Speculation {
                factor,
                minimum: Duration::from_millis(100),
            }),
        };
        let random = Random::of_case(options.seed ^ 1, number);
        let scheduler = job.scheduler(policy, options.estimates, &cluster)?;
        Ok(cluster.run(job, scheduler, random)?)
    };
    (0..).zip(&line.jobs).map(run).collect()
}

/// What a line of the table says of its jobs.
#[derive(Default)]
struct Figures {
    /// How many times the lower bound a policy takes on average, for each.
    ratios: Vec<f64>,
    /// The largest of any policy and job.
    worst: f64,
    /// The work beyond the jobs' own, as a share of that, for each policy.
    extra: Vec<f64>,
}

impl Figures {
    fn add(&mut self, line: &Line, outcomes: &[Outcome]) {
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let both = || outcomes.iter().zip(&line.jobs);
        let ratio = |(o, job): (&Outcome, &Job)| o.makespan / job.lower_bound(line.workers);
        let extra = |(o, job): (&Outcome, &Job)| o.extra / job.work();
        let ratios: Vec<f64> = both().map(ratio).collect();
        self.worst = ratios.iter().copied().fold(self.worst, f64::max);
        self.ratios.push(mean(ratios));
        self.extra.push(mean(both().map(extra).collect()));
    }
}

fn write_head(out: &mut impl Write, options: &Options) -> std::io::Result<()> {
    let names: Vec<String> = options.policies.iter().map(Policy::to_string).collect();
    let names = names.join(" | ");
    writeln!(
        out,
        "| jobs | times | workers | {names} | worst | bound | extra work |"
    )?;
    let columns = "---:|".repeat(options.policies.len() + 4);
    writeln!(out, "|---|---|{columns}")
}

fn write_line(
    out: &mut impl Write,
    options: &Options,
    line: &Line,
    figures: &Figures,
) -> std::io::Result<()> {
    let ratios: Vec<String> = figures.ratios.iter().map(|r| format!("{r:.3}")).collect();
    let ratios = ratios.join(" | ");
    // Graham's bound is for workers that do not fail, and attempts that take as long as each other.
    let bound = match options.fails_after.is_none() && options.stragglers == 0.0 {
        true => format!("{:.3}", graham(line.workers)),
        false => "-".to_string(),
    };
    let extra = figures.extra.iter().sum::<f64>() / figures.extra.len().max(1) as f64;
    let (name, workers, worst) = (&line.name, line.workers, figures.worst);
    writeln!(
        out,
        "| {name} | {workers} | {ratios} | {worst:.3} | {bound} | {:.1} % |",
        // A rounded zero has no sign.
        (extra * 1000.0).round().abs() / 10.0
    )
}

/// No list policy takes longer than so many times the best schedule (Graham, 1966).
fn graham(workers: usize) -> f64 {
    2.0 - 1.0 / workers as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn steady(workers: usize) -> Cluster {
        Cluster {
            workers,
            failing: None,
            stragglers: 0.0,
            speculation: None,
        }
    }

    #[test]
    fn no_policy_takes_longer_than_grahams_bound_or_less_than_the_lower_bound() {
        for case in 0..120 {
            let mut random = Random::of_case(5, case);
            // Independent tasks first; the bound holds for any job.
            let shape = [
                Shape::Flat,
                Shape::Flat,
                Shape::Chain,
                Shape::Tree,
                Shape::Random,
            ];
            let shape = shape[case as usize % shape.len()];
            let times = *random.pick(&[Times::Uniform, Times::HeavyTailed]);
            let workers = 1 + random.below(40);
            let estimates = *random.pick(&[Estimates::Task, Estimates::Stage, Estimates::None]);
            let job = Job::random(&mut random, shape, times, 12);
            for name in Policy::names() {
                let policy = name.parse().unwrap();
                let cluster = steady(workers);
                let scheduler = job.scheduler(&policy, estimates, &cluster).unwrap();
                let outcome = cluster.run(&job, scheduler, random.clone()).unwrap();
                let ratio = outcome.makespan / job.lower_bound(workers);
                // Times are rounded to nanoseconds.
                let bounds = 1.0 - 1e-6..=graham(workers) + 1e-6;
                assert!(bounds.contains(&ratio), "case {case}, {name}: {ratio}");
                assert!(outcome.extra < 1e-6, "case {case}, {name}");
            }
        }
    }

    #[test]
    fn jobs_end_on_workers_that_fail() {
        for case in 0..20 {
            let mut random = Random::of_case(6, case);
            let job = Job::random(&mut random, Shape::Random, Times::HeavyTailed, 12);
            let cluster = Cluster {
                failing: Some(Failing {
                    up: 20.0,
                    down: 5.0,
                }),
                stragglers: 0.1,
                speculation: Some(Speculation {
                    factor: 2.0,
                    minimum: Duration::ZERO,
                }),
                ..steady(8)
            };
            let scheduler = job.scheduler(&Policy::Fifo, Estimates::Stage, &cluster);
            let outcome = cluster.run(&job, scheduler.unwrap(), random).unwrap();
            assert!(outcome.makespan > 0.0 && outcome.extra > 0.0, "case {case}");
        }
    }

    #[test]
    fn the_options_are_what_clap_takes() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
