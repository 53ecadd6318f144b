//! What operators did: the figures of a plan that ran, and of stages whose tasks ran plans of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use parking_lot::Mutex;
use tidegate_operators::shuffle::ShuffleReadExec;

use crate::builds::shares_its_build;
use crate::graph::StageGraph;

type Plan = Arc<dyn ExecutionPlan>;

/// What an operator did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Did {
    pub(crate) rows: Option<u64>,
    pub(crate) nanoseconds: u64,
    pub(crate) bytes: u64,
    pub(crate) spilled: u64,
    /// The rows of the largest partition, of a shuffle to several.
    pub(crate) largest: Option<u64>,
}

impl Did {
    fn add(&mut self, other: Self) {
        self.rows = match (self.rows, other.rows) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
        self.nanoseconds += other.nanoseconds;
        self.bytes += other.bytes;
        self.spilled += other.spilled;
        self.largest = self.largest.max(other.largest);
    }
}

/// What the operators of a plan that ran did, parents first.
pub(crate) fn of_plan(plan: &Plan) -> Vec<Did> {
    let mut operators = vec![of_operator(plan)];
    for child in plan.children() {
        operators.extend(of_plan(child));
    }
    operators
}

fn of_operator(plan: &Plan) -> Did {
    let metrics = plan.metrics();
    metrics.map_or_else(Did::default, |metrics| of_metrics(&metrics))
}

/// What the operators of the stages of a graph did in the plans of their tasks.
#[derive(Debug, Default)]
pub struct Measured {
    stages: Mutex<Vec<Vec<Did>>>,
    /// Plans that ran as they are, and may still run.
    whole: Mutex<Vec<(usize, Plan)>>,
}

/// A task that has run.
#[derive(Debug)]
pub struct TaskRan<'a> {
    /// Its stage.
    pub stage: usize,
    /// The partition that its plan was restricted to, unless it ran the whole stage.
    pub partition: Option<usize>,
    /// The plan it ran.
    pub plan: &'a Plan,
    /// Rows and bytes that it sealed.
    pub sealed: (u64, u64),
}

impl Measured {
    /// Adds what a task did.
    pub fn add(&self, graph: &StageGraph, task: &TaskRan<'_>) {
        let whole = &graph.stages()[task.stage].plan;
        let mut stages = self.stages.lock();
        if stages.len() <= task.stage {
            stages.resize(task.stage + 1, Vec::new());
        }
        let figures = &mut stages[task.stage];
        figures.resize(size(whole), Did::default());
        match task.partition {
            Some(partition) => add_restricted(whole, partition, task.plan, &mut 0, figures),
            None => {
                let operators = of_plan(task.plan).into_iter();
                operators
                    .zip(figures.iter_mut())
                    .for_each(|(did, figure)| figure.add(did));
            }
        }
        // The shuffle at the top did not move its rows itself.
        if let Some(shuffle) = figures.first_mut() {
            let (rows, bytes) = task.sealed;
            shuffle.add(Did {
                rows: Some(rows),
                bytes,
                ..Did::default()
            });
        }
    }

    /// Names the plan that runs as the whole of a stage.
    pub fn watch(&self, stage: usize, plan: &Plan) {
        self.whole.lock().push((stage, Arc::clone(plan)));
    }

    /// What was done, in the order of the plan that was cut into stages: where a stage reads another one, there stands
    /// what that did.
    pub(crate) fn operators(&self, graph: &StageGraph) -> Vec<Did> {
        let mut stages = self.stages.lock().clone();
        stages.resize(graph.stages().len(), Vec::new());
        for (stage, plan) in self.whole.lock().iter() {
            stages[*stage] = of_plan(plan);
        }
        let mut operators = Vec::new();
        join(graph, &stages, graph.stages().len() - 1, &mut operators);
        operators
    }
}

/// Appends the figures of a stage.
fn join(graph: &StageGraph, figures: &[Vec<Did>], stage: usize, operators: &mut Vec<Did>) {
    let mut nodes = Vec::new();
    list(&graph.stages()[stage].plan, &mut nodes);
    for (at, node) in nodes.into_iter().enumerate() {
        let read = node.downcast_ref::<ShuffleReadExec>();
        let edge = read.and_then(|read| graph.stages()[stage].inputs.get(read.edge()));
        match edge {
            Some(edge) => join(graph, figures, edge.from.0, operators),
            None => operators.push(figures[stage].get(at).copied().unwrap_or_default()),
        }
    }
}

fn list<'a>(plan: &'a Plan, nodes: &mut Vec<&'a Plan>) {
    nodes.push(plan);
    for child in plan.children() {
        list(child, nodes);
    }
}

fn size(plan: &Plan) -> usize {
    1 + plan.children().into_iter().map(size).sum::<usize>()
}

/// Adds what the plan of one partition did to the figures of the whole plan, from operator `at` on. Of a union the
/// plan of a partition has one input, without the union.
fn add_restricted(whole: &Plan, partition: usize, ran: &Plan, at: &mut usize, figures: &mut [Did]) {
    let own = *at;
    *at += 1;
    if whole.is::<UnionExec>() && !ran.is::<UnionExec>() {
        let (mut before, mut rows) = (0, None);
        for child in whole.children() {
            let partitions = child.output_partitioning().partition_count();
            match partition.checked_sub(before) {
                Some(inside) if inside < partitions => {
                    let rows_at =
                        |figures: &[Did], at: usize| figures.get(at).and_then(|did| did.rows);
                    let (child_at, earlier) = (*at, rows_at(figures, *at));
                    add_restricted(child, inside, ran, at, figures);
                    let all = rows_at(figures, child_at);
                    rows = all.map(|all| all.saturating_sub(earlier.unwrap_or(0)));
                }
                _ => *at += size(child),
            }
            before += partitions;
        }
        if let Some(figure) = figures.get_mut(own) {
            figure.add(Did {
                rows,
                ..Did::default()
            });
        }
        return;
    }
    if let Some(figure) = figures.get_mut(own) {
        match shares_its_build(ran) {
            // What its operator tells, all tasks did together.
            true => *figure = of_operator(ran),
            false => figure.add(of_operator(ran)),
        }
    }
    for (child, ran) in whole.children().into_iter().zip(ran.children()) {
        let inside = match child.output_partitioning().partition_count() {
            1 => 0,
            _ => partition,
        };
        add_restricted(child, inside, ran, at, figures);
    }
}

fn of_metrics(metrics: &MetricsSet) -> Did {
    let sum = |name: &str| {
        metrics
            .sum_by_name(name)
            .map_or(0, |value| value.as_usize() as u64)
    };
    let computed = metrics.elapsed_compute().unwrap_or(0) as u64;
    let bytes = match sum("bytes_scanned") {
        0 => sum("output_bytes"),
        scanned => scanned,
    };
    Did {
        rows: metrics.output_rows().map(|rows| rows as u64),
        nanoseconds: computed
            .max(sum("time_elapsed_processing"))
            .max(sum("join_time") + sum("build_time")),
        bytes,
        spilled: metrics.spilled_bytes().unwrap_or(0) as u64,
        largest: largest(metrics),
    }
}

/// The rows of the partition that gave most.
fn largest(metrics: &MetricsSet) -> Option<u64> {
    let mut rows = BTreeMap::new();
    for metric in metrics.iter() {
        if let (Some(partition), MetricValue::OutputRows(count)) =
            (metric.partition(), metric.value())
        {
            *rows.entry(partition).or_insert(0) += count.value() as u64;
        }
    }
    rows.into_values().max()
}
