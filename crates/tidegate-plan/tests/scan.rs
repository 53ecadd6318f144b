//! A scan of ours inside an encoded stage comes back whole, and reads once it has been attached.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::ipc::writer::FileWriter;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::object_store::{ObjectStoreExt, local::LocalFileSystem, path::Path};
use datafusion::physical_plan::collect;
use tidegate_operators::source::{Format, RecordSource};
use tidegate_plan::{
    PlanInputs, PlanSettings, Registry, ScanAccess, Stage, attach, compile, decode, encode,
    session_state,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decoded_scan_reads() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.arrow");
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None, Some(5)]));
    let batch = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
    let mut writer = FileWriter::try_new(File::create(&file).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();

    let settings = PlanSettings::at(chrono::DateTime::UNIX_EPOCH);
    let runtime = Arc::new(RuntimeEnv::default());
    let state = session_state(&settings, Arc::clone(&runtime), &Registry::new());
    let inputs = PlanInputs::new(state, Arc::new(settings));
    let any = inputs.state.create_logical_plan("select 1").await.unwrap();
    let graph = compile(any, &inputs).await.unwrap();

    let meta = LocalFileSystem::new()
        .head(&Path::from_filesystem_path(&file).unwrap())
        .await
        .unwrap();
    let table = TableSchema::builder(batch.schema()).build();
    let source = RecordSource::new(Format::Arrow, table).unwrap();
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file(PartitionedFile::from(meta))
        .build();
    let plan = DataSourceExec::from_data_source(config);
    let stage = Stage {
        plan,
        ..graph.result().clone()
    };

    let decoded = decode(&encode(&stage).unwrap(), &Registry::new()).unwrap();
    let attached = attach(decoded, &ScanAccess::default(), &runtime).unwrap();
    // What was attached stays out of the bytes of the next encoding.
    let twice = decode(&encode(&attached).unwrap(), &Registry::new()).unwrap();
    let twice = attach(twice, &ScanAccess::default(), &runtime).unwrap();
    for stage in [attached, twice] {
        assert_eq!(
            collect(stage.plan, inputs.state.task_ctx()).await.unwrap(),
            vec![batch.clone()]
        );
    }
}
