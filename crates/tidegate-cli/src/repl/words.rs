//! The keywords the editor knows, for highlighting and completion. A table; the engine has its own.

/// Keywords, sorted, in upper case.
#[rustfmt::skip]
pub(crate) const KEYWORDS: &[&str] = &[
    "ALL", "ANALYZE", "AND", "ANTI", "ANY", "ARRAY", "AS", "ASC", "AT", "BETWEEN", "BIGINT",
    "BOOLEAN", "BY", "CASE", "CAST", "COLUMNS", "COPY", "CREATE", "CROSS", "CUBE", "CURRENT",
    "CURRENT_DATE", "CURRENT_TIMESTAMP", "DATE", "DECIMAL", "DELETE", "DESC", "DESCRIBE",
    "DISTINCT", "DISTRIBUTE", "DOUBLE", "DROP", "ELSE", "END", "ESCAPE", "EXCEPT", "EXCLUDE",
    "EXISTS", "EXPLAIN", "EXTERNAL", "EXTRACT", "FALSE", "FETCH", "FILTER", "FIRST", "FLOAT",
    "FOLLOWING", "FORMAT", "FROM", "FULL", "GROUP", "GROUPING", "HASH", "HAVING", "HEADER", "ILIKE",
    "IN", "INNER", "INSERT", "INT", "INTEGER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN",
    "LAST", "LATERAL", "LEFT", "LIKE", "LIMIT", "LOCATION", "MATERIALIZED", "MODE", "NATURAL",
    "NOT", "NULL", "NULLS", "OFFSET", "ON", "ONLY", "OPTIONS", "OR", "ORDER", "OUTER", "OVER",
    "OVERWRITE", "PARTITION", "PARTITIONED", "PARTITIONS", "PARTITION_BY", "PIVOT", "PRECEDING",
    "QUALIFY", "RANGE", "RECURSIVE", "RENAME", "REPLACE", "RESET", "RIGHT", "ROLLUP", "ROW", "ROWS",
    "SELECT", "SEMI", "SET", "SETS", "SHOW", "SIMILAR", "SMALLINT", "SOME", "STORED", "SUMMARIZE",
    "TABLE", "TABLES", "TABLESAMPLE", "TEXT", "THEN", "TIME", "TIMESTAMP", "TO", "TRUE", "TRY_CAST",
    "UNBOUNDED", "UNION", "UNNEST", "UNPIVOT", "USING", "VALUES", "VARCHAR", "VERBOSE", "VIEW",
    "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN",
];

/// Keywords a statement starts with.
#[rustfmt::skip]
pub(crate) const STARTS: &[&str] = &[
    "COPY", "CREATE", "DESCRIBE", "DROP", "EXPLAIN", "FROM", "INSERT", "RESET", "SELECT", "SET",
    "SHOW", "SUMMARIZE", "VALUES", "WITH",
];

/// Whether a word is a keyword, in any case.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .binary_search_by(|known| {
            known
                .bytes()
                .cmp(word.bytes().map(|byte| byte.to_ascii_uppercase()))
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_in_upper_case() {
        for table in [KEYWORDS, STARTS] {
            assert!(table.is_sorted());
            assert!(table.iter().all(|word| *word == word.to_ascii_uppercase()));
        }
    }

    #[test]
    fn case_does_not_matter() {
        assert!(is_keyword("select") && is_keyword("Partition_By"));
        assert!(!is_keyword("selects") && !is_keyword(""));
    }
}
