//! Statements other than queries: what is read out of them.

use super::*;

fn one(text: &str) -> Statement {
    let mut script = parse_script(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(script.len(), 1, "{text}");
    script.remove(0).statement
}

fn options(options: &[Argument]) -> Vec<String> {
    options
        .iter()
        .map(|o| format!("{}={}", o.name.as_deref().unwrap_or("-"), o.value))
        .collect()
}

#[test]
fn a_script_is_cut_at_semicolons() {
    let text = "-- first\nSELECT ';' AS \"a;b\"; ;\n/* ; */ SELECT 2 ; -- end";
    let script = parse_script(text).unwrap();
    let texts: Vec<&str> = script.iter().map(|parsed| parsed.text.as_str()).collect();
    assert_eq!(texts, ["SELECT ';' AS \"a;b\"", "SELECT 2"]);
    assert_eq!(&text[script[1].span.clone()], "SELECT 2");
    assert!(parse_script(" ; -- nothing").unwrap().is_empty());
    let text = "SELECT 'ä'; SELECT 'ö'";
    assert_eq!(
        &text[parse_script(text).unwrap()[1].span.clone()],
        "SELECT 'ö'"
    );
}

#[test]
fn copy_reads_both_dialects() {
    let Statement::Copy(copy) = one(
        "COPY (SELECT a FROM t) TO 'out/' (FORMAT parquet, MODE overwrite, PARTITION_BY (a, b), COMPRESSION zstd, ROW_GROUP_SIZE 1_000, HEADER)",
    ) else {
        panic!()
    };
    assert_eq!(
        (
            copy.target.as_str(),
            copy.format.as_deref(),
            copy.mode.as_deref()
        ),
        ("out/", Some("parquet"), Some("overwrite"))
    );
    assert_eq!(copy.partition_by, ["a", "b"]);
    assert_eq!(
        options(&copy.options),
        ["compression=zstd", "row_group_size=1000", "header=true"]
    );

    let Statement::Copy(copy) = one(
        "COPY t TO 'x.csv' STORED AS CSV PARTITIONED BY (a) OPTIONS ('format.delimiter' ';', format.has_header true)",
    ) else {
        panic!()
    };
    assert_eq!(
        (copy.format.as_deref(), copy.partition_by),
        (Some("csv"), vec!["a".to_string()])
    );
    assert_eq!(
        options(&copy.options),
        ["format.delimiter=;", "format.has_header=true"]
    );
    assert_eq!(copy.query.tables()[0].key, "t");
    assert!(matches!(
        one("COPY 'in.csv' TO 'out.parquet'"),
        Statement::Copy(_)
    ));
    assert!(matches!(
        one("COPY (FROM t) TO 'out.parquet' WITH (MODE 'append')"),
        Statement::Copy(_)
    ));
}

#[test]
fn create_reads_tables_and_views() {
    let Statement::CreateTableAs(create) =
        one("CREATE OR REPLACE TABLE s.t LOCATION 'dir/' STORED AS parquet AS SELECT 1 AS a")
    else {
        panic!()
    };
    assert_eq!(
        (create.name.to_string().as_str(), create.location.as_deref()),
        ("s.t", Some("dir/"))
    );
    assert!(create.or_replace && !create.if_not_exists);

    let Statement::CreateExternalTable(create) = one(
        "CREATE EXTERNAL TABLE IF NOT EXISTS t (a INT, b DECIMAL(10, 2), c TEXT) STORED AS CSV PARTITIONED BY (d, e INT) LOCATION 'x/' OPTIONS (delim ';')",
    ) else {
        panic!()
    };
    assert_eq!(create.columns.len(), 3);
    assert_eq!(create.partition_by[0], ("d".to_string(), None));
    assert!(create.partition_by[1].1.is_some());
    assert_eq!(options(&create.options), ["delim=;"]);

    let Statement::CreateView(view) = one("CREATE VIEW v (x) AS SELECT a FROM t -- end") else {
        panic!()
    };
    assert_eq!(
        (view.text.as_str(), view.columns),
        ("SELECT a FROM t", vec!["x".to_string()])
    );
}

#[test]
fn small_statements_are_read() {
    let Statement::Set(set) = one("SET tidegate.memory_limit = '1GiB'") else {
        panic!()
    };
    assert_eq!(
        (set.name.as_str(), set.value),
        ("memory_limit", Value::Text("1GiB".to_string()))
    );
    let Statement::Set(set) = one("SET checkpoint.mode TO auto") else {
        panic!()
    };
    assert_eq!(
        (set.name.as_str(), set.value),
        ("checkpoint.mode", Value::Text("auto".to_string()))
    );
    let Statement::Set(set) = one("SET TIME ZONE 'UTC'") else {
        panic!()
    };
    assert_eq!(set.name, "time_zone");
    assert!(matches!(one("RESET ALL"), Statement::Reset(None)));
    assert!(matches!(one("RESET threads"), Statement::Reset(Some(_))));
    assert!(matches!(one("SHOW ALL"), Statement::Show(Show::All)));
    assert!(matches!(one("SHOW TABLES"), Statement::Show(Show::Tables)));
    assert!(matches!(
        one("SHOW tidegate.threads"),
        Statement::Show(Show::Setting(_))
    ));
    let Statement::Drop(drop) = one("DROP VIEW IF EXISTS a, s.b") else {
        panic!()
    };
    assert_eq!(
        (drop.view, drop.if_exists, drop.names.len()),
        (true, true, 2)
    );
    let Statement::Explain(explain) = one("EXPLAIN ANALYZE VERBOSE FORMAT json COPY t TO 'x.csv'")
    else {
        panic!()
    };
    assert!(explain.analyze && explain.verbose && explain.format.as_deref() == Some("json"));
    let Statement::Explain(explain) = one("EXPLAIN (ANALYZE, FORMAT html) SELECT 1") else {
        panic!()
    };
    assert!(explain.analyze && explain.format.as_deref() == Some("html"));
    assert!(matches!(one("EXPLAIN (SELECT 1)"), Statement::Explain(_)));
}

#[test]
fn insert_gives_the_columns_of_the_table() {
    check(
        "INSERT INTO u (zone, A) VALUES ('C', 2.5)",
        "a|Fare|FARE|Zone\n3|NULL|NULL|C",
    );
    check(
        "INSERT INTO u SELECT 1, 2, 3, 'x'",
        "a|Fare|FARE|Zone\n1|2|3|x",
    );
    let script = parse_script("INSERT INTO u SELECT * FROM t").unwrap();
    let keys: Vec<String> = references(&script[0].statement)
        .into_iter()
        .map(|t| t.key)
        .collect();
    assert_eq!(keys, ["t", "u"]);
}

#[test]
fn created_columns_take_new_names() {
    check(
        "CREATE TABLE n (p, q) AS SELECT a, b FROM t WHERE b = 10",
        "p|q\n1|10",
    );
    check(
        "CREATE VIEW n AS SELECT a + 1 FROM t WHERE b = 10",
        "a + 1\n2",
    );
}

#[test]
fn virtual_columns_are_columns() {
    let shown = |text: &str| {
        planned(text)
            .unwrap_or_else(|e| panic!("{text}: {e:?}"))
            .display_indent()
            .to_string()
    };
    let plan = shown("SELECT *, _file FROM 'x/' WHERE _row < 5 ORDER BY _file");
    assert!(plan.contains("input_file_name() AS _file"), "{plan}");
    assert!(plan.contains("file_row_index() AS _row"), "{plan}");
    let names = planned("SELECT *, _file FROM 'x/'").unwrap();
    let names: Vec<&str> = names
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names, ["a", "b", "name", "price", "x", "_file"]);
    let names = planned("SELECT q.*, q._row FROM 'x/' AS q JOIN u ON q.a = u.a").unwrap();
    assert_eq!(names.schema().fields().len(), 6);
    assert!(
        mistake("SELECT _file FROM 'x/', 'y/'")
            .starts_with("ambiguous_column: `_file` fits more than one table here [_file]")
    );
}
