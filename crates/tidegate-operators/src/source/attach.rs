//! Gives the scans of a plan what they run with: reject log, footer cache, limits.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;

use super::{NamesAdapterFactory, RecordSource, ScanAccess};
use crate::parquet::{GuardedScan, PinnedReaderFactory};

/// The same plan, all scans of which have `access`. Object stores are looked up in `runtime`.
pub fn attach(
    plan: Arc<dyn ExecutionPlan>,
    access: &ScanAccess,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let scan = node.downcast_ref::<DataSourceExec>();
        match scan
            .map(|scan| attach_scan(scan, access, runtime))
            .transpose()?
            .flatten()
        {
            Some(attached) => Ok(Transformed::yes(attached)),
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
}

fn attach_scan(
    scan: &DataSourceExec,
    access: &ScanAccess,
    runtime: &RuntimeEnv,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some((config, source)) = scan.downcast_to_file_source::<RecordSource>() {
        let source = source.clone().with_access(access);
        let config = with_source(config, Arc::new(source));
        return Ok(Some(DataSourceExec::from_data_source(config)));
    }
    if let Some((config, source)) = scan.downcast_to_file_source::<ParquetSource>() {
        let factory = PinnedReaderFactory::of(runtime, &config.object_store_url, access)?;
        let factory = Arc::new(factory);
        let pinned = source
            .clone()
            .with_parquet_file_reader_factory(Arc::clone(&factory) as _);
        let mut config = with_source(config, Arc::new(pinned));
        config.expr_adapter_factory = Some(Arc::new(NamesAdapterFactory));
        let guarded = GuardedScan::new(Arc::new(config), &factory);
        return Ok(Some(DataSourceExec::from_data_source(guarded)));
    }
    Ok(None)
}

fn with_source(config: &FileScanConfig, source: Arc<dyn FileSource>) -> FileScanConfig {
    FileScanConfigBuilder::from(config.clone())
        .with_source(source)
        .build()
}

/// The scan of our own a node is, if it is one.
pub fn record_scan(node: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &RecordSource)> {
    node.downcast_ref::<DataSourceExec>()?
        .downcast_to_file_source::<RecordSource>()
}
