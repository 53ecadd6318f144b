//! What other systems have and this one refuses, each with what to do instead.

use super::error::Error;

/// A statement that is known and refused, by its first word in capitals.
pub(crate) fn statement(verb: &str) -> Option<Error> {
    let (message, hint) = match verb {
        "UPDATE" => (
            "UPDATE is not supported: files are not changed in place",
            "write the changed rows anew: CREATE OR REPLACE TABLE t AS SELECT …, or COPY (SELECT …) TO '…' (MODE overwrite)",
        ),
        "DELETE" => (
            "DELETE is not supported: files are not changed in place",
            "write the rows to keep: CREATE OR REPLACE TABLE t AS SELECT … WHERE NOT …",
        ),
        "TRUNCATE" => (
            "TRUNCATE is not supported",
            "write CREATE OR REPLACE TABLE t AS SELECT * FROM t LIMIT 0",
        ),
        "REPLACE" | "UPSERT" => (
            "REPLACE INTO is not supported: tables have no keys",
            "join old and new rows and write the result: CREATE OR REPLACE TABLE t AS SELECT …",
        ),
        "MERGE" => (
            "MERGE is not supported: files are not changed in place",
            "join old and new rows and write the result: CREATE OR REPLACE TABLE t AS SELECT …",
        ),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "END" | "SAVEPOINT" | "RELEASE" | "ABORT" => (
            "transactions are not supported: each statement is committed whole or not at all",
            "leave BEGIN and COMMIT out; write several steps as one query with WITH",
        ),
        "GRANT" | "REVOKE" | "DENY" => (
            "grants are not supported: whoever may read the files may query them",
            "restrict a session with --allow-path, --read-only and --no-network",
        ),
        "ALTER" | "RENAME" => (
            "ALTER is not supported",
            "create it anew: CREATE OR REPLACE TABLE t AS SELECT …, or CREATE OR REPLACE VIEW …",
        ),
        "PREPARE" | "EXECUTE" | "EXEC" | "DEALLOCATE" => (
            "prepared statements are not supported",
            "use a parameter `$name` and give its value with -p name=value",
        ),
        "PIVOT" | "UNPIVOT" => (
            "PIVOT and UNPIVOT are not supported yet",
            "write one aggregate with FILTER (WHERE …) for each column",
        ),
        "CALL" | "DO" | "DECLARE" | "IF" | "WHILE" | "RAISE" | "RETURN" | "PRINT" => (
            "procedural SQL is not supported",
            "write the logic as queries, or drive them from a program through the library",
        ),
        "ATTACH" | "DETACH" | "USE" => (
            "other databases cannot be attached",
            "name files directly: SELECT … FROM 'dir/', or CREATE EXTERNAL TABLE",
        ),
        "INSTALL" | "LOAD" => (
            "extensions are not supported",
            "register functions and tables through the library",
        ),
        "PRAGMA" => (
            "PRAGMA is not supported",
            "write SET name = value, or SHOW ALL",
        ),
        "VACUUM" | "ANALYZE" | "OPTIMIZE" | "CHECKPOINT" | "CACHE" | "UNCACHE" | "REFRESH"
        | "MSCK" | "CLUSTER" | "REINDEX" | "FLUSH" | "DISCARD" => (
            "maintenance statements are not supported: there is nothing to maintain",
            "files are listed anew and their statistics read for each query",
        ),
        "EXPORT" | "UNLOAD" => ("EXPORT is not supported", "write COPY (SELECT …) TO 'dir/'"),
        "IMPORT" => (
            "IMPORT is not supported",
            "read files where they are: SELECT … FROM 'dir/'",
        ),
        "COMMENT" => (
            "COMMENT ON is not supported",
            "put comments into the script",
        ),
        "LOCK" | "UNLOCK" => (
            "locks are not supported",
            "each statement reads one state of its files and is committed whole",
        ),
        "LISTEN" | "UNLISTEN" | "NOTIFY" | "KILL" | "FETCH" | "CLOSE" | "OPEN" => (
            "server statements are not supported",
            "a query is cancelled with Ctrl-C, or through its handle",
        ),
        _ => return None,
    };
    Some(Error::unsupported(message).hint(hint))
}

/// A clause that is known and refused, by the word at which the grammar ended.
pub(crate) fn trailing(word: &str) -> Option<Error> {
    let (message, hint) = match word {
        "ASOF" => (
            "ASOF JOIN is not supported yet",
            "join on the keys and keep the nearest row with row_number() OVER (…)",
        ),
        "SAMPLE" | "TABLESAMPLE" => (
            "TABLESAMPLE is not supported yet",
            super::guard::SAMPLE_HINT,
        ),
        "USING" => (
            "USING is not understood here",
            "samples are not supported yet",
        ),
        "PIVOT" | "UNPIVOT" => (
            "PIVOT and UNPIVOT are not supported yet",
            "write one aggregate with FILTER (WHERE …) for each column",
        ),
        "MATERIALIZED" => (
            "MATERIALIZED on a WITH query is not supported",
            "leave it out: it does not change the rows",
        ),
        "RETURNING" => ("RETURNING is not supported", "query the table afterwards"),
        "DISTRIBUTE" => (
            "DISTRIBUTE is not understood here",
            "write DISTRIBUTE BY a INTO 4 PARTITIONS at the end of a query",
        ),
        _ => return None,
    };
    Some(Error::unsupported(message).hint(hint))
}
