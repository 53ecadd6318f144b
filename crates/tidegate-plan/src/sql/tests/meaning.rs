//! What accepted SQL means.

use super::*;

#[test]
fn columns_are_named_by_their_text() {
    check(
        "SELECT sum(a), count(*), a + 1 FROM t WHERE a = 1 GROUP BY a",
        "sum(a)|count(*)|a + 1\n1|1|2",
    );
    check(
        "SELECT t.a, (b), 'it''s', -1 FROM t LIMIT 1",
        "a|b|'it''s'|-1\n1|10|it's|-1",
    );
    check(
        "SELECT \"sum(b)\" + 1 AS Total FROM (SELECT sum(b) FROM t)",
        "Total\n101",
    );
    check("SELECT SUM(b) FROM t", "SUM(b)\n100");
    check(
        "SELECT CASE WHEN b > 10 THEN 1 END FROM t LIMIT 1",
        "CASE WHEN b > 10 THEN 1 END\nNULL",
    );
}

#[test]
fn columns_may_have_one_name() {
    check("SELECT 1, 1", "1|1\n1|1");
    check("SELECT a, a FROM t LIMIT 1", "a|a\n1|1");
    check("SELECT 1 AS q, 2 AS q", "q|q\n1|2");
    check(
        "SELECT *, b FROM t ORDER BY b LIMIT 1",
        "a|b|name|price|x|b\n1|10|x|1.50|0.5|10",
    );
    check(
        "SELECT t.a, u.a FROM t JOIN u ON t.a = u.a ORDER BY b LIMIT 1",
        "a|a\n1|1",
    );
}

#[test]
fn numbers_are_exact() {
    check("SELECT 0.1 + 0.2", "0.1 + 0.2\n0.3");
    check("SELECT 1_000 + 1_0.5", "1000 + 10.5\n1010.5");
    check("SELECT 0x1F", "31\n31");
    check("SELECT 7 / 2, -7 / 2", "7 / 2|-7 / 2\n3|-3");
    check(
        "SELECT arrow_typeof(1.50) AS kind",
        "kind\nDecimal128(3, 2)",
    );
}

#[test]
fn casts_to_integers_round() {
    check(
        "SELECT CAST(2.5 AS INT), CAST(-2.5 AS INT), CAST(2.49 AS INT)",
        "CAST(2.5 AS INT)|CAST(-2.5 AS INT)|CAST(2.49 AS INT)\n3|-3|2",
    );
    // Floats round half to even, as in PostgreSQL and DuckDB.
    check("SELECT x::INT AS r FROM t ORDER BY b", "r\n0\n2\n2\n0");
    check(
        "SELECT price::BIGINT AS r FROM t ORDER BY b",
        "r\n2\n3\n4\n-3",
    );
    check("SELECT CAST(9.9 AS TINYINT) AS r", "r\n10");
    check(
        "SELECT TRY_CAST(price AS SMALLINT) AS r FROM t ORDER BY b LIMIT 1",
        "r\n2",
    );
    check(
        "SELECT CAST(price AS INT), count(*) AS n FROM t GROUP BY CAST(price AS INT) ORDER BY 1",
        "CAST(price AS INT)|n\n-3|1\n2|1\n3|1\n4|1",
    );
    check("SELECT TRY_CAST('abc' AS INT) AS r", "r\nNULL");
    check(
        "SELECT CAST('abcdef' AS VARCHAR(3)) AS r, 'abcdef'::VARCHAR AS s",
        "r|s\nabc|abcdef",
    );
}

#[test]
fn nulls_sort_last_ascending_and_first_descending() {
    check("SELECT a FROM t ORDER BY a", "a\n1\n2\n2\nNULL");
    check("SELECT a FROM t ORDER BY a DESC", "a\nNULL\n2\n2\n1");
}

#[test]
fn friendly_sql_is_plain_sql() {
    check(
        "FROM t ORDER BY b LIMIT 1",
        "a|b|name|price|x\n1|10|x|1.50|0.5",
    );
    check("FROM t SELECT b WHERE b > 30", "b\n40");
    check(
        "SELECT a, sum(b) FROM t GROUP BY ALL ORDER BY ALL",
        "a|sum(b)\n1|10\n2|60\nNULL|30",
    );
    check(
        "SELECT a % 2, sum(b) FROM t GROUP BY ALL ORDER BY ALL DESC",
        "a % 2|sum(b)\nNULL|30\n1|10\n0|60",
    );
    check(
        "SELECT * FROM u ORDER BY ALL DESC",
        "a|Fare|FARE|Zone\n2|200|8|B\n1|100|7|A",
    );
    check(
        "SELECT name FROM t UNION SELECT 'q' ORDER BY ALL",
        "name\nq\nx\ny\nz",
    );
    check(
        "SELECT * EXCLUDE (price, x, Name) FROM t LIMIT 1",
        "a|b\n1|10",
    );
    check(
        "SELECT * EXCEPT (price, x, name) FROM t LIMIT 1",
        "a|b\n1|10",
    );
    check(
        "SELECT * REPLACE (b + 1 AS b) FROM t LIMIT 1",
        "a|b|name|price|x\n1|11|x|1.50|0.5",
    );
    check("TABLE u ORDER BY a LIMIT 1", "a|Fare|FARE|Zone\n1|100|7|A");
    check(
        "SELECT DISTINCT ON (name) name, b FROM t ORDER BY name, b DESC",
        "name|b\nx|10\ny|30\nz|40",
    );
    check(
        "SELECT b FROM t QUALIFY row_number() OVER (ORDER BY b DESC) = 1",
        "b\n40",
    );
    check(
        "SELECT 1 AS a, 2 AS b UNION ALL BY NAME SELECT 3 AS b, 4 AS a ORDER BY ALL",
        "a|b\n1|2\n4|3",
    );
    check("SELECT E'a\\tb' AS s, $$it's$$ AS d", "s|d\na\tb|it's");
}

#[test]
fn names_fit_without_regard_to_case() {
    check("SELECT A, T.B FROM t WHERE NAME = 'z'", "a|b\n2|40");
    check("SELECT zone FROM U tt WHERE TT.ZONE = 'A'", "Zone\nA");
    check(
        "SELECT Fare, FARE FROM u ORDER BY Fare LIMIT 1",
        "Fare|FARE\n100|7",
    );
    check(
        "WITH Q AS (SELECT b AS Big FROM t) SELECT max(BIG) FROM q",
        "max(BIG)\n40",
    );
    check(
        "SELECT b AS Total FROM t ORDER BY total DESC LIMIT 1",
        "Total\n40",
    );
    check("SELECT count(*) AS n FROM t JOIN u USING (A)", "n\n3");
}

#[test]
fn parameters_are_literals() {
    let values = Parameters::from([
        ("name".to_string(), text("y' OR 1=1")),
        ("1".to_string(), ScalarValue::Int64(Some(-5))),
        ("d".to_string(), ScalarValue::Decimal128(Some(-105), 10, 2)),
        ("day".to_string(), ScalarValue::Date32(Some(1))),
        ("f".to_string(), ScalarValue::Float64(Some(0.1))),
        ("none".to_string(), ScalarValue::Utf8(None)),
        ("n".to_string(), ScalarValue::Int64(Some(1))),
    ]);
    let found = rows_with(
        "SELECT $name, $1 + 1, $d AS d, $day AS day, $f AS f, $none IS NULL AS z FROM t LIMIT $n",
        &values,
    );
    assert_eq!(
        found.unwrap(),
        "$name|$1 + 1|d|day|f|z\ny' OR 1=1|-4|-1.05|1970-01-02|0.1|true"
    );
    let script = parse_script("SELECT $a, $b, $a").unwrap();
    assert_eq!(
        script[0].statement.query().unwrap().parameters(),
        ["a", "b"]
    );
}

#[test]
fn long_chains_are_planned() {
    let ors: Vec<String> = (0..20_000).map(|n| format!("b = {n}")).collect();
    check(
        &format!("SELECT count(*) AS n FROM t WHERE {}", ors.join(" OR ")),
        "n\n4",
    );
    let ands: Vec<String> = (0..5_000).map(|n| format!("b <> {n}")).collect();
    check(
        &format!("SELECT count(*) AS n FROM t WHERE {}", ands.join(" AND ")),
        "n\n0",
    );
    let unions = vec!["SELECT 1 AS n"; 500].join(" UNION ALL ");
    check(&format!("SELECT count(*) AS n FROM ({unions})"), "n\n500");
}

#[test]
fn mixed_chains_are_planned() {
    let ors: Vec<String> = (0..2_000)
        .map(|n| format!("(b = {n} AND a > {n})"))
        .collect();
    check(
        &format!("SELECT count(*) AS n FROM t WHERE {}", ors.join(" OR ")),
        "n\n0",
    );
}

#[test]
fn describe_and_summarize_are_rows() {
    check(
        "DESCRIBE u",
        "column_name|column_type|null\na|BIGINT|YES\nFare|BIGINT|YES\nFARE|BIGINT|YES\nZone|VARCHAR|YES",
    );
    check(
        "DESCRIBE SELECT a + 1, price FROM t",
        "column_name|column_type|null\na + 1|BIGINT|YES\nprice|DECIMAL(10, 2)|YES",
    );
    check(
        "SHOW COLUMNS FROM 'some/file.csv'",
        "column_name|column_type|null\na|BIGINT|YES\nb|INTEGER|YES\nname|VARCHAR|YES\nprice|DECIMAL(10, 2)|YES\nx|DOUBLE|YES",
    );
    let found = rows("SUMMARIZE t").unwrap();
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(
        lines[0],
        "column_name|column_type|min|max|approx_unique|avg|std|q25|q50|q75|count|null_percentage"
    );
    assert_eq!(lines.len(), 6, "{found}");
    assert!(lines[1].starts_with("a|BIGINT|1|2|2|1.66"), "{found}");
    assert!(lines[1].ends_with("|4|25.0"), "{found}");
    assert_eq!(
        lines[3],
        "name|VARCHAR|x|z|3|NULL|NULL|NULL|NULL|NULL|4|0.0"
    );
    let none = rows("SUMMARIZE SELECT a FROM t WHERE false").unwrap();
    assert!(none.ends_with("|0|NULL"), "{none}");
}

#[test]
fn files_are_tables() {
    check(
        "SELECT trips.b FROM 'data/trips.parquet' WHERE trips.b > 30",
        "b\n40",
    );
    check(
        "SELECT count(*) AS n FROM read_csv('x/*.csv', delim=';', header = true) f JOIN 'y/' ON f.b = y.b",
        "n\n4",
    );
    let script = parse_script("SELECT * FROM read_csv(['a.csv', 'b.csv'], delim := '|', types={'a': 'INTEGER'}, skip=-1), 'x.json'").unwrap();
    let found = references(&script[0].statement);
    assert_eq!(found.len(), 2);
    let TableRefKind::Reader {
        function,
        arguments,
    } = &found[0].kind
    else {
        panic!("{found:?}")
    };
    assert_eq!(function, "read_csv");
    let shown: Vec<String> = arguments
        .iter()
        .map(|a| format!("{}={}", a.name.as_deref().unwrap_or("-"), a.value))
        .collect();
    assert_eq!(
        shown,
        [
            "-=[a.csv, b.csv]",
            "delim=|",
            "types={a: INTEGER}",
            "skip=-1"
        ]
    );
    assert_eq!(found[1].kind, TableRefKind::Path("x.json".to_string()));
}

#[test]
fn with_queries_are_no_tables() {
    let names = |text: &str| -> Vec<String> {
        let script = parse_script(text).unwrap();
        references(&script[0].statement)
            .into_iter()
            .map(|table| table.key)
            .collect()
    };
    assert_eq!(names("WITH t AS (SELECT * FROM t) SELECT * FROM t"), ["t"]);
    assert_eq!(names("WITH q AS (SELECT 1) SELECT * FROM q, s.v"), ["s.v"]);
    assert!(names("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r").is_empty());
    assert_eq!(
        names("SELECT (SELECT max(x) FROM v) FROM t WHERE EXISTS (SELECT 1 FROM w)"),
        ["v", "t", "w"]
    );
    check(
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT sum(n) AS s FROM r",
        "s\n6",
    );
}

#[test]
fn types_have_their_sql_names() {
    check(
        "SELECT arrow_typeof(CAST(NULL AS HUGEINT)) AS a, arrow_typeof(1::UBIGINT) AS b, arrow_typeof(1::FLOAT) AS c",
        "a|b|c\nDecimal128(38, 0)|UInt64|Float64",
    );
    check(
        "SELECT CAST('2020-01-02' AS DATETIME) AS a, DATE '2020-01-02' + INTERVAL '1 day' AS b",
        "a|b\n2020-01-02T00:00:00|2020-01-03",
    );
}

#[test]
fn integers_do_not_wrap() {
    assert!(mistake("SELECT b * 1000000000000000000 FROM t").starts_with("overflow: "));
    assert!(mistake("SELECT sum(a + 9223372036854775800) FROM t").starts_with("overflow: "));
}

#[test]
fn long_chains_of_different_columns_are_planned() {
    let ors: Vec<String> = (0..4_000)
        .map(|n| format!("{} > {n}", ["b", "x"][n % 2]))
        .collect();
    check(
        &format!("SELECT count(*) AS n FROM t WHERE {}", ors.join(" OR ")),
        "n\n4",
    );
    let many: Vec<String> = (0..500).map(|n| format!("a + {n}")).collect();
    planned(&format!("SELECT {} FROM t", many.join(", "))).unwrap();
}

#[test]
fn natural_and_using_joins_keep_one_key() {
    check(
        "SELECT * FROM (SELECT a, b FROM t) q JOIN (SELECT a, Fare FROM u) r USING (a) ORDER BY b",
        "a|b|Fare\n1|10|100\n2|20|200\n2|40|200",
    );
    check(
        "SELECT a, b FROM (SELECT a, b FROM t) q NATURAL JOIN (SELECT a FROM u) r ORDER BY b",
        "a|b\n1|10\n2|20\n2|40",
    );
}

#[test]
fn time_zones_are_those_of_the_session() {
    check(
        "SELECT arrow_typeof('2020-01-01'::TIMESTAMPTZ) AS a, arrow_typeof('2020-01-01'::TIMESTAMP(3)) AS b",
        "a|b\nTimestamp(µs, \"+00:00\")|Timestamp(ms)",
    );
}

#[test]
fn qualified_names_fit_their_own_table() {
    check(
        "SELECT q.ID FROM (SELECT a AS Id FROM u) q JOIN (SELECT a AS id FROM t) r ON q.Id = r.ID ORDER BY 1 LIMIT 1",
        "Id\n1",
    );
}
