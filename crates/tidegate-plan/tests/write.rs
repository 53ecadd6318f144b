//! Writing through the graph: planned, encoded, decoded, run.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use tidegate_operators::write::{Request, WriteSpec};
use tidegate_plan::{
    PlanInputs, PlanSettings, Registry, compile, decode, encode, session_state, write,
};

fn inputs() -> PlanInputs {
    let settings = PlanSettings {
        partitions: 2,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    let batch = |keys: Vec<i64>| {
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(keys)) as ArrayRef)]).unwrap()
    };
    let parts = vec![vec![batch(vec![3, 1])], vec![batch(vec![2])]];
    let table = MemTable::try_new(parts[0][0].schema(), parts).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    PlanInputs::new(context.state(), Arc::new(settings))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decoded_write_writes() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.csv");
    let inputs = inputs();
    let query = inputs
        .state
        .create_logical_plan("select a * 10 as b from t order by a desc")
        .await
        .unwrap();
    let spec = WriteSpec::new(&Request {
        target: target.to_str().unwrap().to_owned(),
        ..Request::default()
    });
    let plan = write(query, spec.unwrap()).unwrap();
    let graph = compile(plan, &inputs).await.unwrap().joined().unwrap();
    assert!(!target.exists());
    let text = graph.to_string();
    let first = text.lines().nth(1).unwrap();
    assert!(first.starts_with("write target="), "{text}");

    let stage = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
    let count = collect(stage.plan, inputs.state.task_ctx()).await.unwrap();
    let count = arrow::util::pretty::pretty_format_batches(&count)
        .unwrap()
        .to_string();
    assert!(
        count.contains("| count |") && count.contains("| 3     |"),
        "{count}"
    );
    assert_eq!(std::fs::read_to_string(target).unwrap(), "b\n30\n20\n10\n");
}
