//! How far a plan is, read from the counters that its scans keep while they run.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use tidegate_operators::parquet::{BYTES_PASSED, GuardedScan};
use tidegate_operators::shuffle::OnePartitionExec;

/// What the scans of a plan have read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that scans have given out.
    pub rows: u64,
    /// Bytes that scans have read.
    pub bytes: u64,
    /// Bytes of the inputs that are dealt with, read or skipped; at most those of [`ScanTotals`].
    pub passed: u64,
}

/// What the scans of a plan are expected to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanTotals {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// The work ahead of a plan.
pub fn totals(plan: &Arc<dyn ExecutionPlan>) -> ScanTotals {
    let mut totals = ScanTotals::default();
    visit(plan, &mut |node, partition| {
        if let Some(scan) = Scan::of(node, partition) {
            let ahead = scan.totals();
            totals.bytes += ahead.bytes;
            totals.files += ahead.files;
        }
    });
    totals
}

/// The work done so far. Counters only grow.
pub fn counters(plan: &Arc<dyn ExecutionPlan>) -> Counters {
    let mut counters = Counters::default();
    visit(plan, &mut |node, partition| {
        if let Some(scan) = Scan::of(node, partition) {
            let done = scan.counters();
            counters.rows += done.rows;
            counters.bytes += done.bytes;
            counters.passed += done.passed;
        }
    });
    counters
}

/// A node that reads files.
struct Scan<'a> {
    node: &'a Arc<dyn ExecutionPlan>,
    source: &'a dyn DataSource,
    config: &'a FileScanConfig,
    /// The one partition that is read, if it is only one.
    partition: Option<usize>,
}

impl<'a> Scan<'a> {
    fn of(node: &'a Arc<dyn ExecutionPlan>, partition: Option<usize>) -> Option<Self> {
        let source = node.downcast_ref::<DataSourceExec>()?.data_source();
        let source = match source.downcast_ref::<GuardedScan>() {
            Some(guarded) => guarded.inner(),
            None => source,
        };
        let config = source.downcast_ref::<FileScanConfig>()?;
        Some(Self {
            node,
            source: source.as_ref(),
            config,
            partition,
        })
    }

    fn totals(&self) -> ScanTotals {
        let mut totals = ScanTotals::default();
        let groups = self.config.file_groups.iter().enumerate();
        let read = groups.filter(|(at, _)| self.partition.is_none_or(|one| one == *at));
        for file in read.flat_map(|(_, group)| group.iter()) {
            totals.bytes += file.effective_size();
            totals.files += 1;
        }
        totals
    }

    fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        let mut passed = None;
        let Some(metrics) = self.node.metrics() else {
            return counters;
        };
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::OutputRows(rows) => counters.rows += rows.value() as u64,
                MetricValue::Count { name, count } if name == "bytes_scanned" => {
                    counters.bytes += count.value() as u64;
                }
                MetricValue::Count { name, count } if name == BYTES_PASSED => {
                    *passed.get_or_insert(0) += count.value() as u64;
                }
                _ => {}
            }
        }
        let all = self.totals().bytes;
        // Parquet says what it has passed, group by group; in between, the rows say more.
        let passed = passed.unwrap_or(counters.bytes);
        counters.passed = passed.max(self.passed_by_rows(counters.rows, all)).min(all);
        counters
    }

    /// The part of the bytes that the rows given out stand for, where all rows are given out and
    /// their number is known.
    fn passed_by_rows(&self, rows: u64, bytes: u64) -> u64 {
        let filtered = self.config.file_source().filter().is_some();
        match self.source.partition_statistics(self.partition) {
            Ok(known) if !filtered => match known.num_rows {
                Precision::Exact(all) if all > 0 => {
                    (bytes as f64 * (rows as f64 / all as f64).min(1.0)) as u64
                }
                _ => 0,
            },
            _ => 0,
        }
    }
}

/// Sees every node, with the one partition of it that runs if it is only one.
fn visit(
    plan: &Arc<dyn ExecutionPlan>,
    see: &mut impl FnMut(&Arc<dyn ExecutionPlan>, Option<usize>),
) {
    match plan.downcast_ref::<OnePartitionExec>() {
        Some(one) => see(one.leaf(), Some(one.partition())),
        None => see(plan, None),
    }
    for child in plan.children() {
        visit(child, see);
    }
}
