//! The plans of the 22 TPC-H queries survive encoding and decoding: the decoded plan answers as the first one did.
#![allow(clippy::unwrap_used)]

#[path = "tpch/data.rs"]
mod data;

use std::path::Path;
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use tidegate_plan::{
    PlanInputs, PlanSettings, Registry, StageGraph, compile, decode, encode, session_state,
};

use data::{TABLES, queries, write_tables};

async fn inputs(dir: &Path, partitions: usize) -> PlanInputs {
    let settings = PlanSettings {
        partitions,
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    for table in TABLES {
        let path = dir.join(table);
        context
            .register_parquet(table, path.to_str().unwrap(), ParquetReadOptions::default())
            .await
            .unwrap();
    }
    PlanInputs::new(context.state(), Arc::new(settings))
}

async fn graph(inputs: &PlanInputs, sql: &str) -> StageGraph {
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    compile(plan, inputs).await.unwrap().joined().unwrap()
}

/// The rows of an answer as text, sorted.
async fn rows(inputs: &PlanInputs, plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let batches = collect(Arc::clone(plan), inputs.state.task_ctx())
        .await
        .unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    let mut rows: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(String::from)
        .collect();
    rows.sort();
    rows
}

/// What the scans of a plan know of their files: where, how large, and what tells a changed one.
fn files(plan: &Arc<dyn ExecutionPlan>) -> Vec<(String, u64, Option<String>)> {
    let scan = plan.downcast_ref::<DataSourceExec>();
    let config = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let groups = config.into_iter().flat_map(|config| &config.file_groups);
    let metas = groups.flat_map(|group| group.iter().map(|file| &file.object_meta));
    let known = metas.map(|meta| (meta.location.to_string(), meta.size, meta.e_tag.clone()));
    let mut found: Vec<_> = known.collect();
    found.extend(plan.children().into_iter().flat_map(files));
    found
}

#[tokio::test]
async fn the_22_queries_survive_encoding() {
    let dir = tempfile::tempdir().unwrap();
    write_tables(dir.path());
    let mut with_rows = 0;
    let one = inputs(dir.path(), 1).await;
    let three = inputs(dir.path(), 3).await;
    for (number, sql) in queries() {
        let graph = graph(&three, &sql).await;
        let bytes = encode(graph.result()).unwrap();
        let decoded = decode(&bytes, &Registry::new()).unwrap();
        let (direct, again) = (
            rows(&three, &graph.result().plan).await,
            rows(&three, &decoded.plan).await,
        );
        assert_eq!(direct, again, "q{number:02}");
        let alone = rows(&one, &self::graph(&one, &sql).await.result().plan).await;
        assert_eq!(direct, alone, "q{number:02} in one partition");
        with_rows += usize::from(direct.len() > 1);

        let files = files(&graph.result().plan);
        assert!(!files.is_empty(), "q{number:02}");
        assert!(files.iter().all(|file| file.2.is_some()), "{files:?}");
        assert_eq!(self::files(&decoded.plan), files, "q{number:02}");
        assert_eq!(decoded.repeats, graph.result().repeats, "q{number:02}");
        assert_eq!(decoded.estimate, graph.result().estimate);
        assert_eq!(decoded.settings, graph.result().settings);
        let explained = graph.to_string();
        assert!(explained.contains(": single"), "{explained}");
        assert!(
            !explained.contains("checked_") && !explained.contains("Exec"),
            "{explained}"
        );
    }
    assert!(
        with_rows >= 20,
        "only {with_rows} of 22 queries have an answer here"
    );
}
