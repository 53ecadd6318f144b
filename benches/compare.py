#!/usr/bin/env python3
"""Runs queries in Tidegate and in peers, compares their rows, and times them A B A B.

    compare.py answers --tidegate BIN --data DIR --queries DIR
        Every row in order and every value against DuckDB 1.5.5 (oracle environment). Exact; a relative
        tolerance of 1e-5 only where DuckDB itself returns a double.
    compare.py time --tidegate BIN --data DIR --queries DIR --peers PYTHON [--plain BIN] [--runs 3] [--only 1,6]
        Wall time of a fresh process (Tidegate, plain DataFusion) and of connect + query in a fresh process
        (DuckDB, import excluded), in turn; rows of Tidegate are checked against DuckDB's in the same run.

DIR holds one file per table (NAME.parquet or NAME.csv) or one directory per table.
"""

import argparse
import decimal
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

PEER = r"""
import json, sys, time, pathlib
import duckdb
data, query = sys.argv[1], open(sys.argv[2]).read()
start = time.perf_counter()
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
for path in sorted(pathlib.Path(data).iterdir()):
    first = next(path.iterdir()) if path.is_dir() else path
    reader = "read_csv" if first.suffix == ".csv" else "read_parquet"
    source = f"{path}/*" if path.is_dir() else str(path)
    db.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM {reader}('{source}')")
relation = db.sql(query)
rows = relation.fetchall() if relation else []
took = time.perf_counter() - start
types = [str(t) for t in relation.types] if relation else []
json.dump({"seconds": took, "types": types, "rows": [[None if v is None else str(v) for v in row] for row in rows]}, sys.stdout)
"""


def peer(python, data, query):
    done = subprocess.run([python, "-c", PEER, data, query], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"duckdb failed on {query}: {done.stderr[-400:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def tidegate(binary, data, query, timeout=600):
    start = time.perf_counter()
    command = [binary, str(data), "--no-rc", "-q", "-F", "csv", "-f", str(query)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return timeout, None, f"stopped after {timeout} s"
    took = time.perf_counter() - start
    if done.returncode:
        return took, None, done.stderr.strip()[-300:]
    return took, parse_csv(done.stdout), ""


def parse_csv(text):
    """CSV in which an empty unquoted field is NULL and a quoted one is an empty string."""
    rows, row, field, quoted, inside, at = [], [], [], False, False, 0
    while at < len(text):
        c = text[at]
        if inside:
            if c == '"' and text[at + 1 : at + 2] == '"':
                field.append('"')
                at += 1
            elif c == '"':
                inside = False
            else:
                field.append(c)
        elif c == '"':
            inside = quoted = True
        elif c in ",\n":
            value = "".join(field)
            row.append(None if value == "" and not quoted else value)
            field, quoted = [], False
            if c == "\n":
                rows.append(row)
                row = []
        elif c != "\r":
            field.append(c)
        at += 1
    return rows[1:]


def same(ours, theirs, kind):
    if ours is None or theirs is None:
        return ours is None and theirs is None
    if ours == theirs:
        return True
    if kind in ("DOUBLE", "FLOAT"):
        a, b = float(ours), float(theirs)
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    if kind == "BOOLEAN":
        return ours.lower() == theirs.lower()
    try:
        return decimal.Decimal(ours) == decimal.Decimal(theirs)
    except decimal.InvalidOperation:
        return False


def only_ties_differ(ours, theirs):
    """The same rows, and a column that is the same row by row: what it is sorted by, with ties in another order."""
    if sorted(map(repr, ours)) != sorted(map(repr, theirs)):
        return False
    return any(list(a) == list(b) for a, b in zip(zip(*ours), zip(*theirs)))


def difference(ours, theirs):
    if len(ours) == len(theirs["rows"]) and ours != theirs["rows"] and only_ties_differ(ours, theirs["rows"]):
        return None
    if len(ours) != len(theirs["rows"]):
        return f"{len(ours)} rows, DuckDB has {len(theirs['rows'])}"
    for number, (a, b) in enumerate(zip(ours, theirs["rows"])):
        if len(a) != len(b):
            return f"{len(a)} columns, DuckDB has {len(b)}"
        for column, (x, y) in enumerate(zip(a, b)):
            if not same(x, y, theirs["types"][column]):
                return f"row {number + 1} column {column + 1}: {x!r}, DuckDB has {y!r} ({theirs['types'][column]})"
    return None


def selected(args):
    wanted = {int(n) for n in args.only.split(",")} if args.only else None
    for path in sorted(pathlib.Path(args.queries).glob("q*.sql")):
        if wanted is None or int(path.stem[1:]) in wanted:
            yield path


def answers(args):
    wrong = 0
    total = 0
    for query in selected(args):
        total += 1
        _, rows, error = tidegate(args.tidegate, args.data, query)
        problem = error if rows is None else difference(rows, peer(args.oracle, args.data, str(query)))
        if problem:
            wrong += 1
            print(f"{query.stem}: {problem}", flush=True)
    print(f"{total - wrong} passed, {wrong} failed")
    sys.exit(wrong > 0)


def plain(binary, data, query):
    start = time.perf_counter()
    done = subprocess.run([binary, data, query], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"plain failed on {query}: {done.stderr[-400:]}")
    return time.perf_counter() - start


def timing(args):
    sums = {"tidegate": 0.0, "duckdb": 0.0, "plain": 0.0}
    wrong = 0
    print("| query | tidegate s | duckdb s | ratio |" + (" plain DataFusion s | ratio |" if args.plain else ""))
    print("|---|---|---|---|" + ("---|---|" if args.plain else ""))
    for query in selected(args):
        took = {"tidegate": [], "duckdb": [], "plain": []}
        problem = None
        for _ in range(args.runs):
            seconds, rows, error = tidegate(args.tidegate, args.data, query, args.limit)
            took["tidegate"].append(seconds)
            answer = peer(args.peers, args.data, str(query))
            took["duckdb"].append(answer["seconds"])
            if args.plain:
                took["plain"].append(plain(args.plain, args.data, str(query)))
            problem = problem or (error if rows is None else difference(rows, answer))
        if problem:
            wrong += 1
            print(f"{query.stem}: {problem}", file=sys.stderr)
        best = {name: statistics.median(values) for name, values in took.items() if values}
        for name, value in best.items():
            sums[name] += value
        line = f"| {query.stem} | {best['tidegate']:.3f} | {best['duckdb']:.3f} | {best['tidegate'] / best['duckdb']:.2f} |"
        if args.plain:
            line += f" {best['plain']:.3f} | {best['tidegate'] / best['plain']:.2f} |"
        print(line, flush=True)
    line = f"| total | {sums['tidegate']:.2f} | {sums['duckdb']:.2f} | {sums['tidegate'] / sums['duckdb']:.2f} |"
    if args.plain:
        line += f" {sums['plain']:.2f} | {sums['tidegate'] / sums['plain']:.2f} |"
    print(line)
    sys.exit(wrong > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["answers", "time"])
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--oracle", default=sys.executable, help="a Python that has duckdb 1.5.5")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has duckdb 2.0.0")
    parser.add_argument("--plain", help="the binary plain-datafusion of this directory")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60, help="seconds a query may take")
    parser.add_argument("--only", help="numbers of queries, separated by commas")
    args = parser.parse_args()
    {"answers": answers, "time": timing}[args.what](args)


if __name__ == "__main__":
    main()
