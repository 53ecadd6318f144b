#!/usr/bin/env python3
"""One query in one peer, in this process.

    peers.py ENGINE DATA QUERY
        ENGINE is duckdb, polars, datafusion or chdb; DATA a directory of tables (see compare.py), QUERY a file of SQL.

Prints JSON: the seconds of connect + query, imports excluded, and the number of rows; of DuckDB also the rows, as text,
and the types of the columns. Each peer runs as it comes, but for what its function sets; the result is left in the
form the peer has for it: rows (DuckDB), a data frame (Polars), Arrow (DataFusion, chDB).
"""

import importlib
import json
import pathlib
import sys
import time


def tables(data):
    """Name, path and whether it is CSV, of each table."""
    for path in sorted(pathlib.Path(data).iterdir()):
        first = next(path.iterdir()) if path.is_dir() else path
        yield path.stem, f"{path}/*" if path.is_dir() else str(path), first.suffix == ".csv"


def duckdb(library, data, query):
    database = library.connect()
    database.execute("SET enable_progress_bar = false")
    for name, path, csv in tables(data):
        database.execute(f"CREATE VIEW {name} AS SELECT * FROM {'read_csv' if csv else 'read_parquet'}('{path}')")
    relation = database.sql(query)
    return relation, relation.fetchall() if relation else []


def polars(library, data, query):
    """The streaming engine runs in memory what it cannot stream."""
    context = library.SQLContext()
    for name, path, csv in tables(data):
        context.register(name, library.scan_csv(path, try_parse_dates=True) if csv else library.scan_parquet(path))
    return None, context.execute(query, eager=False).collect(engine="streaming")


def datafusion(library, data, query):
    context = library.SessionContext()
    for name, path, csv in tables(data):
        register = context.register_csv if csv else context.register_parquet
        register(name, path.removesuffix("*"))
    return None, context.sql(query).to_arrow_table()


def chdb(library, data, query):
    """An outer join gives NULL, as in standard SQL, only when told to."""
    session = library.session.Session()
    session.query("SET join_use_nulls = 1")
    for name, path, csv in tables(data):
        session.query(f"CREATE VIEW {name} AS SELECT * FROM file('{path}', {'CSVWithNames' if csv else 'Parquet'})")
    return None, session.query(query, "ArrowTable")


def main():
    engine, data, query = sys.argv[1:]
    run = {"duckdb": duckdb, "polars": polars, "datafusion": datafusion, "chdb": chdb}[engine]
    library = importlib.import_module(engine)
    text = pathlib.Path(query).read_text()
    start = time.perf_counter()
    try:
        relation, rows = run(library, data, text)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}"[:300])
    answer = {"seconds": time.perf_counter() - start, "count": len(rows)}
    if engine == "duckdb":
        answer["types"] = [str(kind) for kind in relation.types] if relation else []
        answer["rows"] = [[None if value is None else str(value) for value in row] for row in rows]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
