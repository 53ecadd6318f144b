//! Every optional clause of the parser's query tree that is refused, walked one by one.

use super::*;

/// Each is understood by the parser and refused by name, never ignored.
const REFUSED: &[(&str, &str)] = &[
    (
        "SELECT a FROM t FOR UPDATE",
        "FOR UPDATE or FOR SHARE is not supported",
    ),
    (
        "SELECT a FROM t FOR SHARE",
        "FOR UPDATE or FOR SHARE is not supported",
    ),
    (
        "SELECT a FROM t FETCH FIRST 5 ROWS ONLY",
        "FETCH FIRST is not supported",
    ),
    (
        "SELECT a FROM t FETCH FIRST 5 ROWS WITH TIES",
        "FETCH FIRST is not supported",
    ),
    (
        "SELECT a FROM t FOR JSON AUTO",
        "FOR XML, JSON or BROWSE is not supported",
    ),
    (
        "SELECT a FROM t SETTINGS max_threads = 1",
        "SETTINGS is not supported",
    ),
    ("SELECT a FROM t FORMAT JSON", "FORMAT is not supported"),
    (
        "SELECT a FROM t |> WHERE a > 1",
        "the pipe syntax `|>` is not supported",
    ),
    (
        "SELECT a FROM t LIMIT 1 BY a",
        "LIMIT … BY is not supported",
    ),
    (
        "SELECT a FROM t LIMIT 1, 2",
        "LIMIT with two numbers is not supported",
    ),
    (
        "SELECT a FROM t ORDER BY a WITH FILL",
        "WITH FILL is not supported",
    ),
    (
        "SELECT a FROM t ORDER BY a INTERPOLATE (a AS a)",
        "INTERPOLATE is not supported",
    ),
    (
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r LIMIT 3) SELECT * FROM r",
        "ORDER BY or LIMIT inside a recursive WITH query is not supported",
    ),
    ("SELECT TOP 5 a FROM t", "TOP is not supported"),
    ("SELECT a INTO v FROM t", "SELECT INTO is not supported"),
    (
        "SELECT a FROM t LATERAL VIEW explode(a) v AS q",
        "LATERAL VIEW is not supported",
    ),
    (
        "SELECT a FROM t PREWHERE a = 1",
        "PREWHERE is not supported",
    ),
    (
        "SELECT a FROM t START WITH a = 1 CONNECT BY PRIOR a = b",
        "CONNECT BY is not supported",
    ),
    (
        "SELECT a FROM t GROUP BY a WITH ROLLUP",
        "GROUP BY … WITH ROLLUP is not supported",
    ),
    (
        "SELECT a FROM t GROUP BY a WITH TOTALS",
        "GROUP BY … WITH TOTALS is not supported",
    ),
    (
        "SELECT a FROM t CLUSTER BY a",
        "CLUSTER BY is not supported",
    ),
    ("SELECT a FROM t SORT BY a", "SORT BY is not supported"),
    ("SELECT * ILIKE 'a%' FROM t", "`* ILIKE` is not supported"),
    (
        "SELECT * RENAME (a AS q) FROM t",
        "`* RENAME` is not supported",
    ),
    (
        "SELECT a FROM t TABLESAMPLE (10 PERCENT)",
        "TABLESAMPLE is not supported",
    ),
    (
        "SELECT a FROM t TABLESAMPLE BERNOULLI (10)",
        "TABLESAMPLE is not supported",
    ),
    (
        "SELECT a FROM (SELECT a FROM t) q TABLESAMPLE (10)",
        "TABLESAMPLE is not supported",
    ),
    (
        "SELECT a FROM t WITH (NOLOCK)",
        "a hint on a table is not supported",
    ),
    (
        "SELECT a FROM t FOR SYSTEM_TIME AS OF '2020-01-01'",
        "an older version of a table is not supported",
    ),
    (
        "SELECT a FROM t PARTITION (p)",
        "PARTITION after a table is not supported",
    ),
    (
        "SELECT * FROM generate_series(1, 3) WITH ORDINALITY",
        "WITH ORDINALITY is not supported",
    ),
    (
        "SELECT * FROM UNNEST([1, 2]) WITH ORDINALITY",
        "WITH ORDINALITY is not supported",
    ),
    (
        "SELECT * FROM UNNEST([1, 2]) WITH OFFSET",
        "WITH OFFSET is not supported",
    ),
    (
        "SELECT * FROM t PIVOT (sum(b) FOR name IN ('x', 'y'))",
        "PIVOT or UNPIVOT is not supported",
    ),
    (
        "SELECT * FROM t UNPIVOT (v FOR k IN (a, b))",
        "PIVOT or UNPIVOT is not supported",
    ),
    ("SELECT * FROM t JOIN u", "this JOIN has no condition"),
    (
        "SELECT * FROM t SEMI JOIN u ON t.a = u.a",
        "SEMI JOIN is not supported",
    ),
    (
        "SELECT * FROM t ANTI JOIN u ON t.a = u.a",
        "ANTI JOIN is not supported",
    ),
    ("SELECT * FROM t CROSS APPLY u", "APPLY is not supported"),
    (
        "SELECT * FROM t GLOBAL JOIN u ON t.a = u.a",
        "GLOBAL JOIN is not supported",
    ),
    (
        "SELECT * FROM t ASOF JOIN u MATCH_CONDITION (t.a > u.a)",
        "ASOF JOIN is not supported",
    ),
    (
        "SELECT a FROM t INTERSECT ALL SELECT a FROM u",
        "INTERSECT ALL is not supported",
    ),
    (
        "SELECT a FROM t EXCEPT ALL SELECT a FROM u",
        "EXCEPT ALL is not supported",
    ),
    (
        "SELECT a FROM t MINUS SELECT a FROM u",
        "MINUS is not supported",
    ),
    (
        "SELECT a FROM t INTERSECT BY NAME SELECT a FROM u",
        "INTERSECT BY NAME is not supported",
    ),
    ("SELECT a ^ 2 FROM t", "the operator `^` is not supported"),
    ("SELECT a // 2 FROM t", "the operator `//` is not supported"),
    (
        "SELECT a <=> 2 FROM t",
        "the operator `<=>` is not supported",
    ),
    (
        "SELECT a FROM t WHERE name SIMILAR TO 'x%'",
        "SIMILAR TO is not supported",
    ),
    (
        "SELECT a FROM t WHERE name RLIKE 'x'",
        "RLIKE or REGEXP is not supported",
    ),
    (
        "SELECT a FROM t WHERE name LIKE ANY ('x', 'y')",
        "LIKE ANY is not supported",
    ),
    (
        "SELECT CAST(name AS DATE FORMAT 'YYYY') FROM t",
        "CAST … FORMAT is not supported",
    ),
    (
        "SELECT floor(a TO DAY) FROM t",
        "CEIL or FLOOR of a time is not supported",
    ),
    (
        "SELECT name COLLATE \"de\" FROM t",
        "COLLATE is not supported",
    ),
    (
        "SELECT INTERVAL '1' YEAR TO MONTH",
        "INTERVAL … TO … is not supported",
    ),
    (
        "SELECT INTERVAL a DAY FROM t",
        "an INTERVAL that is not a literal is not supported",
    ),
    (
        "SELECT array_agg(a LIMIT 2) FROM t",
        "LIMIT in an argument is not supported",
    ),
    (
        "SELECT any_value(a HAVING MAX b) FROM t",
        "HAVING in an argument is not supported",
    ),
    (
        "SELECT group_concat(name SEPARATOR ',') FROM t",
        "SEPARATOR is not supported",
    ),
    (
        "SELECT COLUMNS('a.*') FROM t",
        "COLUMNS(…) is not supported",
    ),
    (
        "SELECT sum(*) FROM t",
        "`*` as the argument of sum is not supported",
    ),
    (
        "SELECT count(t.*) FROM t",
        "this kind of `*` as an argument is not supported",
    ),
    (
        "SELECT list_transform([1], x -> x + 1)",
        "`->` as a lambda or a path into JSON is not supported",
    ),
    (
        "SELECT sum(a) OVER (w ORDER BY b) FROM t WINDOW w AS (PARTITION BY name)",
        "a window that extends another is not supported",
    ),
    (
        "SELECT a FROM t WINDOW w AS (ORDER BY b) QUALIFY sum(a) OVER w > 1",
        "the name of a window outside the list of columns is not supported",
    ),
    ("SELECT ?", "the parameter `?` is not supported"),
    ("SELECT N'x'", "the literal N'x' is not supported"),
];

#[test]
fn clauses_are_refused_by_name_and_place() {
    let mut wrong = Vec::new();
    for (text, message) in REFUSED {
        match rows(text) {
            Ok(found) => wrong.push(format!("{text}\n    gave {found:?}")),
            Err(error) if error.message != *message || error.span.is_none() => {
                wrong.push(format!(
                    "{text}\n    {}\n    wanted {message}",
                    shown(text, &error)
                ));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn calls_take_only_the_clauses_they_obey() {
    for (text, part) in [
        ("SELECT abs(DISTINCT a) FROM t", "takes no DISTINCT"),
        (
            "SELECT abs(a) FILTER (WHERE a > 1) FROM t",
            "takes no FILTER",
        ),
        ("SELECT abs(a) OVER () FROM t", "takes no OVER"),
        ("SELECT upper(name ORDER BY a) FROM t", "takes no ORDER BY"),
        ("SELECT row_number() FROM t", "needs OVER"),
        (
            "SELECT row_number() FILTER (WHERE a > 1) OVER () FROM t",
            "takes no FILTER",
        ),
    ] {
        let found = mistake(text);
        assert!(found.contains(part), "{text}: {found}");
    }
}

#[test]
fn other_statements_say_what_to_do_instead() {
    for verb in [
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "MERGE INTO t USING u ON true",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "GRANT SELECT ON t TO x",
        "REVOKE ALL",
        "ALTER TABLE t ADD c INT",
        "TRUNCATE t",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "CALL f()",
        "ATTACH 'x'",
        "INSTALL x",
        "LOAD x",
        "PRAGMA x",
        "VACUUM",
        "PIVOT t ON a",
        "LOCK TABLE t",
        "LISTEN x",
        "USE x",
        "DECLARE c CURSOR",
        "COMMENT ON TABLE t IS 'x'",
        "EXPORT DATABASE 'x'",
    ] {
        let error = parse_script(verb).unwrap_err();
        assert_eq!(error.code, Code::Unsupported, "{verb}: {error:?}");
        assert!(
            error.hint.is_some() && error.span.is_some(),
            "{verb}: {error:?}"
        );
    }
}

#[test]
fn size_and_depth_have_limits() {
    let limits = Limits {
        bytes_max: 100,
        tokens_max: 20,
        nesting_max: 5,
        ..Limits::default()
    };
    let code = |text: &str| {
        parse_script_within(text, &limits)
            .map(|_| ())
            .unwrap_err()
            .code
    };
    assert_eq!(code(&" ".repeat(101)), Code::Limit);
    assert_eq!(code(&"1 ".repeat(21)), Code::Limit);
    assert_eq!(code("SELECT ((((((1))))))"), Code::Limit);
    assert_eq!(code("SELECT 1+1+1+1+1+1+1"), Code::Limit);
    assert_eq!(code("SELECT - - - - - - 1"), Code::Limit);
    assert!(parse_script_within("SELECT ((1))", &limits).is_ok());
    let deep = |open: &str, middle: &str, close: &str, n: usize| {
        parse_script(&format!(
            "SELECT {}{middle}{}",
            open.repeat(n),
            close.repeat(n)
        ))
        .map(|_| ())
    };
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("abs(", "1", ")"),
        ("CASE WHEN true THEN ", "1", " END"),
        ("(SELECT ", "1", ")"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("{'a': ", "1", "}"),
        ("1 + (", "1", ")"),
        ("CAST(", "1", " AS INT)"),
        ("EXISTS (SELECT ", "1", ")"),
    ] {
        let found = deep(open, middle, close, 20_000).unwrap_err();
        assert_eq!(found.code, Code::Limit, "{open}");
    }
    for text in [
        format!(
            "SELECT * FROM {}t{}",
            "(".repeat(20_000),
            ")".repeat(20_000)
        ),
        format!(
            "SELECT CAST(1 AS {}INT{})",
            "ARRAY<".repeat(20_000),
            ">".repeat(20_000)
        ),
        vec!["SELECT 1"; 20_000].join(" UNION "),
        format!("SELECT {}", vec!["1"; 20_000].join(" + ")),
        format!("SELECT 1{}", "::int".repeat(20_000)),
        format!("{} SELECT 1", "EXPLAIN ".repeat(20_000)),
    ] {
        let found = parse_script(&text).map(|_| ());
        assert!(found.is_err(), "{}", &text[..60]);
    }
}

#[test]
fn what_is_deep_but_allowed_is_planned_soon() {
    let started = std::time::Instant::now();
    for (open, middle, close, levels) in [
        ("(", "1", ")", 380),
        ("abs(", "1", ")", 380),
        ("- ", "1", "", 380),
        ("1 + (", "1", ")", 180),
        ("CASE WHEN true THEN ", "1", " END", 180),
        ("[", "1", "]", 60),
        ("(SELECT ", "1", " AS q)", 14),
        ("CAST(", "1", " AS INT)", 180),
        ("NOT ", "true", "", 380),
    ] {
        let text = format!(
            "SELECT {}{middle}{} AS n",
            open.repeat(levels),
            close.repeat(levels)
        );
        planned(&text).unwrap_or_else(|error| panic!("{open}: {error:?}"));
    }
    planned(&format!(
        "SELECT * FROM {}t{}",
        "(".repeat(180),
        ")".repeat(180)
    ))
    .unwrap();
    let inner = "SELECT * FROM (".repeat(60);
    planned(&format!("{inner}SELECT * FROM t{}", ") q".repeat(60))).unwrap();
    // Far from exponential: the slowest of these is a matter of seconds in an unoptimised build.
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}

#[test]
fn unions_that_would_overflow_the_stack_are_refused() {
    let chain = |link: &str, count: usize| vec!["SELECT 1 AS a"; count].join(link);
    let code = |sql: &str| parse_script(sql).map_err(|error| error.code);
    assert!(code(&chain(" UNION ", 101)).is_ok());
    for link in [" UNION ", " EXCEPT ", " INTERSECT ", " UNION ALL BY NAME "] {
        assert_eq!(code(&chain(link, 102)).err(), Some(Code::Limit), "{link}");
    }
    assert!(code(&chain(" UNION ALL ", 1000)).is_ok());
}
