//! Plans with functions of timestamps are written down and read again, and give the same rows.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use tidegate_plan::{PlanInputs, PlanSettings, Registry, compile, decode, encode, session_state};

/// `t` is noon of 2024-07-01 and the last second of 9999, `z` is `t` in a zone, `s` is a text.
fn inputs() -> (SessionContext, PlanInputs) {
    let settings = PlanSettings {
        partitions: 1,
        time_zone: "Europe/Berlin".into(),
        ..PlanSettings::at(chrono::DateTime::UNIX_EPOCH)
    };
    let state = session_state(&settings, Arc::new(RuntimeEnv::default()), &Registry::new());
    let context = SessionContext::new_with_state(state);
    let times = TimestampMicrosecondArray::from(vec![
        Some(1_719_835_200_000_000),
        Some(253_402_300_799_000_000),
        None,
    ]);
    let texts = vec![Some("2024-02-09 12:34+02"), Some("nothing"), None];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("t", Arc::new(times.clone()) as ArrayRef, true),
        ("z", Arc::new(times.with_timezone("Asia/Tokyo")), true),
        ("s", Arc::new(StringArray::from(texts)), true),
    ])
    .unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    context.register_table("times", Arc::new(table)).unwrap();
    let inputs = PlanInputs::new(context.state(), Arc::new(settings));
    (context, inputs)
}

async fn check(sql: &str, expected: &str) {
    let (_context, inputs) = inputs();
    let plan = inputs.state.create_logical_plan(sql).await.unwrap();
    let graph = compile(plan, &inputs).await.unwrap().joined().unwrap();
    let stage = decode(&encode(graph.result()).unwrap(), &Registry::new()).unwrap();
    for plan in [Arc::clone(&graph.result().plan), stage.plan] {
        let batches = collect(plan, inputs.state.task_ctx()).await.unwrap();
        let mut rows = vec![];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter();
                let texts = values.map(|column| array_value_to_string(column, row).unwrap());
                rows.push(texts.collect::<Vec<_>>().join(" "));
            }
        }
        assert_eq!(rows.join("|"), expected, "{sql}");
    }
}

#[tokio::test]
async fn zones_are_those_of_the_session() {
    check(
        "select z, cast(z as timestamp(6)) as shown, cast(t as varchar) from times",
        "2024-07-01T14:00:00+02:00 2024-07-01T14:00:00 2024-07-01 12:00:00\
         |+10000-01-01T00:59:59+01:00 +10000-01-01T00:59:59 9999-12-31 23:59:59|  ",
    )
    .await;
    check(
        "select at_time_zone(t, 'UTC', 'Europe/Berlin'), at_time_zone(z, 'UTC', 'UTC') from times",
        "2024-07-01T14:00:00+02:00 2024-07-01T12:00:00\
         |+10000-01-01T00:59:59+01:00 9999-12-31T23:59:59| ",
    )
    .await;
}

#[tokio::test]
async fn microseconds_reach_far() {
    check(
        "select date_trunc('month', t), date_part('century', t), t > '2024-07-01 11:59' from times",
        "2024-07-01T00:00:00 21 true|9999-12-01T00:00:00 100 true|  ",
    )
    .await;
    check(
        "select date_bin(interval '1 day', t) from times where t < now() + interval '100 years'",
        "2024-07-01T00:00:00",
    )
    .await;
    check(
        "select arrow_cast(s, 'Utf8View'), try_cast(s as timestamp(0)) from times",
        "2024-02-09 12:34+02 2024-02-09T12:34:00|nothing | ",
    )
    .await;
}
