//! The builder: the same plans as SQL, in every way the same rows, and functions of the program that tasks find again.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::kernels::numeric::add_wrapping;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use tidegate::expr::{
    ExprFunctionExt, JoinType, avg, cast, col, count_all, lit, max, rank, row_number, sum, upper,
};
use tidegate::{Dataflow, Division, Origin, Output, Session, Settings, Value};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");

async fn session(way: &[(&str, &str)]) -> Session {
    let mut settings = Settings::default().threads(2);
    for (name, value) in way {
        settings.set(name, value, Origin::Flag).unwrap();
    }
    let session = Session::builder().settings(settings).build().unwrap();
    for table in ["trips", "zones"] {
        let path = format!("{TESTDATA}/{table}/");
        session.register_path(table, &path).await.unwrap();
    }
    session
}

/// SQL, and the same with the builder.
fn pairs(session: &Session) -> Vec<(&'static str, Dataflow)> {
    let mut pairs = rows_and_groups(session);
    pairs.extend(windows_and_divisions(session));
    pairs
}

fn rows_and_groups(session: &Session) -> Vec<(&'static str, Dataflow)> {
    let (trips, zones) = (|| session.scan("trips"), || session.scan("zones"));
    let on_zone = || [(col("trips.zone_id"), col("zones.zone_id"))];
    vec![
        ("SELECT * FROM trips", trips()),
        (
            "SELECT zone_id, fare + tip AS total FROM trips WHERE fare > 40 AND tip IS NOT NULL",
            trips()
                .filter(col("fare").gt(lit(40_i64)).and(col("tip").is_not_null()))
                .map([col("zone_id"), (col("fare") + col("tip")).alias("total")]),
        ),
        (
            "SELECT upper(payment) AS way, CAST(passengers AS BIGINT) AS people FROM trips",
            trips().map([
                upper(col("payment")).alias("way"),
                cast(col("passengers"), DataType::Int64).alias("people"),
            ]),
        ),
        (
            "SELECT payment, count(*) AS n, sum(fare) AS fares FROM trips GROUP BY payment",
            trips().aggregate(
                [col("payment")],
                [count_all().alias("n"), sum(col("fare")).alias("fares")],
            ),
        ),
        (
            "SELECT count(*) AS n, max(fare) AS most FROM trips",
            trips().aggregate([], [count_all().alias("n"), max(col("fare")).alias("most")]),
        ),
        (
            "SELECT zone, n FROM (SELECT zone_id, count(*) AS n FROM trips GROUP BY zone_id HAVING count(*) > 490) t
             JOIN zones ON t.zone_id = zones.zone_id",
            trips()
                .aggregate([col("zone_id")], [count_all().alias("n")])
                .filter(col("n").gt(lit(490_i64)))
                .alias("t")
                .join(zones(), JoinType::Inner, [(col("t.zone_id"), col("zones.zone_id"))])
                .map([col("zone"), col("n")]),
        ),
        (
            "SELECT zone, fare FROM trips JOIN zones ON trips.zone_id = zones.zone_id WHERE fare > 45",
            trips()
                .join(zones(), JoinType::Inner, on_zone())
                .filter(col("fare").gt(lit(45_i64)))
                .map([col("zone"), col("fare")]),
        ),
        (
            "SELECT zone, fare FROM trips LEFT JOIN zones ON trips.zone_id = zones.zone_id",
            trips()
                .join(zones(), JoinType::Left, on_zone())
                .map([col("zone"), col("fare")]),
        ),
        (
            "SELECT trip_id, fare FROM trips ORDER BY fare DESC, trip_id LIMIT 5",
            trips()
                .map([col("trip_id"), col("fare")])
                .sort([col("fare").sort(false, true), col("trip_id").sort(true, false)])
                .limit(5),
        ),
        (
            "SELECT zone FROM zones ORDER BY zone LIMIT 3 OFFSET 2",
            zones()
                .map([col("zone")])
                .sort([col("zone").sort(true, false)])
                .skip(2)
                .limit(3),
        ),
    ]
}

fn windows_and_divisions(session: &Session) -> Vec<(&'static str, Dataflow)> {
    let (trips, zones) = (|| session.scan("trips"), || session.scan("zones"));
    let nth = row_number().order_by(vec![col("zone").sort(true, false)]);
    let ranked = rank()
        .partition_by(vec![col("borough")])
        .order_by(vec![col("opened").sort(false, true)]);
    vec![
        (
            "SELECT zone, row_number() OVER (ORDER BY zone) AS nth FROM zones",
            zones()
                .window([nth.build().unwrap().alias("nth")])
                .map([col("zone"), col("nth")]),
        ),
        (
            "SELECT zone, rank() OVER (PARTITION BY borough ORDER BY opened DESC) AS r FROM zones",
            zones()
                .window([ranked.build().unwrap().alias("r")])
                .map([col("zone"), col("r")]),
        ),
        (
            "SELECT zone_id FROM trips WHERE fare > 49 UNION ALL SELECT zone_id FROM zones",
            trips()
                .filter(col("fare").gt(lit(49_i64)))
                .map([col("zone_id")])
                .union(zones().map([col("zone_id")])),
        ),
        (
            "SELECT payment, fare FROM trips DISTRIBUTE BY payment INTO 4 PARTITIONS",
            trips()
                .map([col("payment"), col("fare")])
                .partition(Division::hash([col("payment")]), 4),
        ),
        (
            "SELECT trip_id, fare FROM trips DISTRIBUTE BY fare DESC, trip_id USING RANGE INTO 3 PARTITIONS",
            trips().map([col("trip_id"), col("fare")]).partition(
                Division::range([col("fare").sort(false, true), col("trip_id").sort(true, false)]),
                3,
            ),
        ),
        (
            "SELECT trip_id FROM trips DISTRIBUTE USING RANDOM(7) INTO 5 PARTITIONS",
            trips().map([col("trip_id")]).partition(Division::random(7), 5),
        ),
        (
            "SELECT trip_id FROM trips DISTRIBUTE USING ROUND_ROBIN INTO 4 PARTITIONS",
            trips().map([col("trip_id")]).partition(Division::round_robin(), 4),
        ),
        (
            "SELECT payment, month, avg(fare) AS fare FROM (FROM trips DISTRIBUTE BY payment INTO 3 PARTITIONS)
             GROUP BY payment, month",
            trips()
                .partition(Division::hash([col("payment")]), 3)
                .aggregate([col("payment"), col("month")], [avg(col("fare")).alias("fare")]),
        ),
    ]
}

#[tokio::test]
async fn sql_and_the_builder_give_equal_graphs() {
    for execution in ["pipelined", "staged"] {
        let session = session(&[("execution", execution)]).await;
        let mut compared = 0;
        for (sql, flow) in pairs(&session) {
            let of_sql = session.sql(sql).await.unwrap().explain().to_string();
            assert_eq!(flow.explain().await.unwrap(), of_sql, "{sql}");
            compared += 1;
        }
        assert_eq!(compared, 18);
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let text = arrow::util::pretty::pretty_format_batches(batches).unwrap();
    let mut rows: Vec<String> = text.to_string().lines().map(String::from).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn sql_and_the_builder_give_equal_rows() {
    let ways: [&[(&str, &str)]; 2] = [&[], &[("execution", "staged"), ("partitions", "7")]];
    for way in ways {
        let session = session(way).await;
        for (sql, flow) in pairs(&session) {
            let of_sql = session.sql(sql).await.unwrap().collect().await.unwrap();
            let query = flow.query().await.unwrap();
            assert_eq!(
                rows(&query.collect().await.unwrap()),
                rows(&of_sql),
                "{sql} {way:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_dataflow_writes_what_copy_writes() {
    let session = session(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let target = |name: &str| format!("{}/{name}/", directory.path().display());
    let by_payment = |session: &Session| {
        let trips = session.scan("trips").map([col("trip_id"), col("payment")]);
        trips.partition(Division::hash([col("payment")]), 3)
    };
    let output = Output::to(&target("flow")).format("parquet");
    let flow = by_payment(&session).write(output.clone());
    let copy = format!(
        "COPY (SELECT trip_id, payment FROM trips DISTRIBUTE BY payment INTO 3 PARTITIONS) TO '{}' (FORMAT parquet)",
        target("flow")
    );
    let of_sql = session.sql(&copy).await.unwrap().explain().to_string();
    assert_eq!(flow.clone().explain().await.unwrap(), of_sql);
    let written = flow.clone().query().await.unwrap().collect().await.unwrap();
    assert_eq!(
        rows(&written)
            .iter()
            .filter(|row| row.contains("6000"))
            .count(),
        1
    );
    // Once more is refused, unless it says how.
    let error = flow.query().await.unwrap().collect().await.unwrap_err();
    assert!(error.message.contains("already exists"), "{error}");
    let again = by_payment(&session).write(output.mode("append")).query();
    again.await.unwrap().collect().await.unwrap();
    let read = session
        .scan(&target("flow"))
        .aggregate([], [count_all().alias("n")]);
    let read = read.query().await.unwrap().collect().await.unwrap();
    assert!(
        rows(&read).iter().any(|row| row.contains("12000")),
        "{read:?}"
    );
}

/// A division that holds already is not made again; a shuffle is.
#[tokio::test]
async fn what_is_divided_so_already_is_not_moved() {
    let session = session(&[]).await;
    let moves = |flow: Dataflow| async move {
        let text = flow.explain().await.unwrap();
        let moved = |line: &&str| line.contains("shuffle by hash") || line.contains("in turn");
        text.lines().filter(moved).count()
    };
    let by_zone = || Division::hash([col("zone_id")]);
    let trips = || session.scan("trips").map([col("zone_id"), col("fare")]);
    let once = trips().partition(by_zone(), 3);
    assert_eq!(moves(once.clone()).await, 1);
    assert_eq!(moves(once.clone().partition(by_zone(), 3)).await, 1);
    assert_eq!(moves(once.clone().shuffle(by_zone(), 3)).await, 2);
    assert_eq!(moves(once.clone().partition(by_zone(), 4)).await, 2);
    let renamed = once.clone().map([col("zone_id").alias("z"), col("fare")]);
    assert_eq!(
        moves(renamed.partition(Division::hash([col("z")]), 3)).await,
        1
    );
    let counted = once.aggregate([col("zone_id")], [count_all()]);
    assert_eq!(moves(counted.partition(by_zone(), 3)).await, 1);
    // Twelve files are dealt into four partitions as well as into two.
    assert_eq!(
        moves(trips().partition(Division::round_robin(), 4)).await,
        0
    );
    assert_eq!(moves(trips().shuffle(Division::round_robin(), 4)).await, 1);
    assert_eq!(
        moves(trips().partition(Division::round_robin(), 40)).await,
        1
    );
}

/// Adds a column `twice`, and leaves out the rows of zone 3.
fn register(session: &Session) {
    let columns = |input: &Schema| {
        let twice = Arc::new(Field::new("twice", DataType::Int64, true));
        let fields = input.fields().iter().cloned().chain([twice]);
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    };
    let batches = move |batch: RecordBatch| {
        let zones: &Int64Array = batch.column_by_name("zone_id").unwrap().as_primitive();
        let kept = zones.iter().map(|zone| Some(zone != Some(3))).collect();
        let batch = arrow::compute::filter_record_batch(&batch, &kept)?;
        let zones = batch.column_by_name("zone_id").unwrap();
        let twice: ArrayRef = add_wrapping(zones, zones)?;
        let schema = columns(&batch.schema())?;
        let all = batch.columns().iter().cloned().chain([twice]);
        Ok(RecordBatch::try_new(schema, all.collect())?)
    };
    session.register_map("double", columns, batches);
}

#[tokio::test]
async fn a_function_of_the_program_runs_in_every_way() {
    let ways: [&[(&str, &str)]; 3] = [
        &[],
        &[("execution", "staged"), ("partitions", "7")],
        &[("execution", "staged"), ("partitions", "1")],
    ];
    for way in ways {
        let session = session(way).await;
        register(&session);
        let flow = session
            .scan("trips")
            .partition(Division::hash([col("zone_id")]), 3)
            .map_batches("double")
            .aggregate(
                [col("zone_id")],
                [max(col("twice")).alias("twice"), count_all().alias("n")],
            );
        let found = flow.query().await.unwrap().collect().await.unwrap();
        let sql = "SELECT zone_id, 2 * zone_id AS twice, count(*) AS n FROM trips WHERE zone_id <> 3 GROUP BY 1";
        let expected = session.sql(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(rows(&found), rows(&expected), "{way:?}");
    }
}

#[tokio::test]
async fn mistakes_are_told_as_those_of_sql() {
    let session = session(&[]).await;
    let trips = || session.scan("trips");
    let mistakes: Vec<(Dataflow, &str)> = vec![
        (session.scan("trisp"), "there is no table or view `trisp`"),
        (session.scan("nowhere/"), "nowhere"),
        (
            trips().filter(col("nme").gt(lit(1))),
            "there is no column `nme`",
        ),
        (
            trips().map_batches("nothing"),
            "no function `nothing` over batches",
        ),
        (
            trips().partition(Division::hash([]), 3),
            "a division by HASH needs a key",
        ),
        (
            trips().partition(Division::hash([col("fare")]), 0),
            "rows cannot be divided into no partition",
        ),
        (
            trips().partition(Division::hash([lit(1)]), 3),
            "a constant does not say which partition a row goes to",
        ),
        (
            trips().partition(Division::range_at([col("fare").sort(true, true)], []), 3),
            "3 ranges have 2 bounds, not 0",
        ),
        (trips().sort([sum(col("fare")).sort(true, true)]), ""),
    ];
    for (flow, expected) in mistakes {
        let about = format!("{flow:?}");
        let Err(error) = flow.query().await else {
            unreachable!("{about}");
        };
        assert!(error.message.contains(expected), "{about}: {error}");
    }
}

#[tokio::test]
async fn ranges_are_cut_where_it_is_said() {
    let session = session(&[("execution", "staged")]).await;
    let bounds = [3_i64, 7].map(|bound| vec![Value::from(bound)]);
    let by = Division::range_at([col("zone_id").sort(true, false)], bounds);
    let flow = session.scan("zones").shuffle(by, 3);
    let text = flow.clone().explain().await.unwrap();
    assert!(
        text.contains("by range(zone_id) to 3 partitions, cut at 3, 7"),
        "{text}"
    );
    let batches = flow.query().await.unwrap().collect().await.unwrap();
    let zones = batches.iter().flat_map(|batch| {
        let zones = batch.column_by_name("zone_id").unwrap();
        zones.as_primitive::<Int64Type>().values().to_vec()
    });
    let ranges: Vec<usize> = zones
        .map(|zone| usize::from(zone >= 3) + usize::from(zone >= 7))
        .collect();
    assert!(ranges.is_sorted() && ranges.len() == 12, "{ranges:?}");
}
