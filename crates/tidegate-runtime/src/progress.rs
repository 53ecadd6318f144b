//! How far a plan is, read from the counters that its scans keep while they run.

use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;

/// What the scans of a plan have read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that scans have given out.
    pub rows: u64,
    /// Bytes that scans have read.
    pub bytes: u64,
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
    visit(plan, &mut |node| {
        if let Some(config) = scan_config(node) {
            for file in config.file_groups.iter().flat_map(|group| group.iter()) {
                let bytes = match &file.range {
                    Some(range) => (range.end - range.start).max(0) as u64,
                    None => file.object_meta.size,
                };
                totals.bytes += bytes;
                totals.files += 1;
            }
        }
    });
    totals
}

/// The work done so far. Counters only grow.
pub fn counters(plan: &Arc<dyn ExecutionPlan>) -> Counters {
    let mut counters = Counters::default();
    visit(plan, &mut |node| {
        if scan_config(node).is_none() {
            return;
        }
        let Some(metrics) = node.metrics() else {
            return;
        };
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::OutputRows(rows) => counters.rows += rows.value() as u64,
                MetricValue::Count { name, count } if name == "bytes_scanned" => {
                    counters.bytes += count.value() as u64;
                }
                _ => {}
            }
        }
    });
    counters
}

fn scan_config(node: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    node.downcast_ref::<DataSourceExec>()?
        .data_source()
        .downcast_ref::<FileScanConfig>()
}

fn visit(plan: &Arc<dyn ExecutionPlan>, see: &mut impl FnMut(&Arc<dyn ExecutionPlan>)) {
    see(plan);
    for child in plan.children() {
        visit(child, see);
    }
}
