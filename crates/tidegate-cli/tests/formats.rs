//! Each output format, byte for byte.
#![allow(clippy::unwrap_used)]

mod shell;

use shell::Shell;

const ROWS: &str = "SELECT * FROM (VALUES \
    (1, 1.50, 'plain', true), \
    (-20, NULL, 'a, \"b\" | <c>', NULL), \
    (NULL, 0.00, '', false)) AS t(n, d, s, b)";

fn check(format: &str, sql: &str, expect: &str) {
    let ended = Shell::new().run(&["-F", format, "-c", sql]);
    assert_eq!(ended.stdout, expect, "{format}");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{format}");
}

#[test]
fn csv_quotes_what_must_be_and_tells_null_from_empty() {
    check(
        "csv",
        ROWS,
        "n,d,s,b\n1,1.50,plain,true\n-20,,\"a, \"\"b\"\" | <c>\",\n,0.00,\"\",false\n",
    );
}

#[test]
fn tsv_is_csv_with_tabs() {
    check(
        "tsv",
        "SELECT 'a,b' AS x, 'c' || chr(9) || 'd' AS y",
        "x\ty\na,b\t\"c\td\"\n",
    );
}

#[test]
fn json_is_one_array_with_all_digits() {
    check(
        "json",
        "SELECT 9007199254740993 AS i, 0.1 AS d, NULL AS e, 'q\"\\' AS s",
        "[{\"i\":9007199254740993,\"d\":0.1,\"e\":null,\"s\":\"q\\\"\\\\\"}]\n",
    );
    check("json", "SELECT 1 AS x WHERE false", "[]\n");
}

#[test]
fn ndjson_is_one_object_a_line() {
    check(
        "ndjson",
        "SELECT * FROM (VALUES (1), (2)) AS t(x)",
        "{\"x\":1}\n{\"x\":2}\n",
    );
}

#[test]
fn line_is_one_value_a_line() {
    check(
        "line",
        "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(x, name)",
        "   x = 1\nname = a\n\n   x = 2\nname = NULL\n",
    );
}

#[test]
fn markdown_cells_cannot_break_out() {
    check(
        "markdown",
        ROWS,
        "| n | d | s | b |\n| ---: | ---: | --- | --- |\n\
         | 1 | 1.50 | plain | true |\n\
         | -20 | NULL | a, \"b\" \\| &lt;c&gt; | NULL |\n\
         | NULL | 0.00 |  | false |\n",
    );
}

#[test]
fn html_is_escaped() {
    check(
        "html",
        "SELECT 1 AS n, '<b>&' AS s, NULL AS e",
        "<table>\n<thead>\n<tr><th>n</th><th>s</th><th>e</th></tr>\n</thead>\n<tbody>\n\
         <tr><td align=\"right\">1</td><td>&lt;b&gt;&amp;</td><td class=\"null\">NULL</td></tr>\n\
         </tbody>\n</table>\n",
    );
}

#[test]
fn a_table_has_types_and_numbers_at_the_right() {
    check(
        "table",
        "SELECT * FROM (VALUES (1, 'a'), (200, NULL)) AS t(count_of, s)",
        "┌──────────┬─────────┐\n\
         │ count_of │ s       │\n\
         │   BIGINT │ VARCHAR │\n\
         ├──────────┼─────────┤\n\
         │        1 │ a       │\n\
         │      200 │ NULL    │\n\
         └──────────┴─────────┘\n",
    );
}

#[test]
fn a_table_shows_control_characters_and_measures_wide_ones() {
    check(
        "table",
        "SELECT '日本' || chr(10) || chr(27) || '[31m' AS s",
        "┌────────────────┐\n\
         │ s              │\n\
         │ VARCHAR        │\n\
         ├────────────────┤\n\
         │ 日本\\n\\x1b[31m │\n\
         └────────────────┘\n",
    );
}

#[test]
fn a_table_that_is_not_on_a_terminal_has_all_rows() {
    let sql = "SELECT value FROM generate_series(1, 3000)";
    let ended = Shell::new().run(&["-F", "table", "-c", sql]);
    assert_eq!(ended.stdout.lines().count(), 3000 + 5);
}

#[test]
fn parquet_and_arrow_files_can_be_read_again() {
    let shell = Shell::new();
    for format in ["parquet", "arrow"] {
        let line = format!("tidegate -F {format} -c \"SELECT 1 AS a, 'x' AS b\" >t.{format}");
        assert_eq!(shell.script(&line).code, 0, "{format}");
        let ended = shell.run(&["-c", &format!("SELECT * FROM 't.{format}'")]);
        assert_eq!(ended.stdout, "a,b\n1,x\n", "{format}: {}", ended.stderr);
    }
}

#[test]
fn a_suffix_says_format_and_compression() {
    let shell = Shell::new();
    for name in [
        "t.csv.gz",
        "t.tsv",
        "t.json",
        "t.ndjson.zst",
        "t.parquet",
        "t.arrow",
    ] {
        let ended = shell.run(&["-o", name, "-c", "SELECT 7 AS a, 'x' AS b"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{name}");
        let ended = shell.run(&["-c", &format!("SELECT * FROM '{name}'")]);
        assert_eq!(ended.stdout, "a,b\n7,x\n", "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_plan_is_shown_as_it_is() {
    let ended = Shell::new().run(&["-F", "table", "-c", "EXPLAIN SELECT 1 AS x"]);
    assert!(ended.stdout.starts_with("stage 0"), "{}", ended.stdout);
}

#[test]
fn null_runs_and_writes_nothing() {
    check("null", ROWS, "");
}

#[test]
fn several_results_are_separated_as_each_format_can() {
    let shell = Shell::new();
    let run = |format: &str| {
        let ended = shell.run(&["-F", format, "-c", "SELECT 1 AS a; SELECT 2 AS b"]);
        assert_eq!(ended.code, 0, "{format}: {}", ended.stderr);
        ended.stdout
    };
    assert_eq!(run("csv"), "a\n1\n\nb\n2\n");
    assert_eq!(run("tsv"), "a\n1\n\nb\n2\n");
    assert_eq!(run("json"), "[{\"a\":1}]\n[{\"b\":2}]\n");
    assert_eq!(run("ndjson"), "{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(run("line"), "a = 1\n\nb = 2\n");
}

#[test]
fn a_format_of_one_result_refuses_two_before_anything_runs() {
    let shell = Shell::new();
    let ended = shell.run(&["-F", "arrow", "-c", "SELECT 1", "-c", "SELECT 2"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(
        ended.stderr.contains("exactly one result"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_default_is_csv_where_no_person_looks() {
    assert_eq!(Shell::new().run(&["-c", "SELECT 1 AS x"]).stdout, "x\n1\n");
}
