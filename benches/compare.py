#!/usr/bin/env python3
"""Runs queries in Tidegate and in peers, compares their rows, and times them A B A B.

    compare.py answers --tidegate BIN --data DIR --queries DIR
        Every row in order and every value against DuckDB 1.5.5 (oracle environment). Exact; a relative
        tolerance of 1e-5 only where DuckDB itself returns a double.
    compare.py time --tidegate BIN --data DIR --queries DIR --peers PYTHON [--plain BIN] [--all] [--runs 3] [--only 1,6]
        Wall time of a fresh process (Tidegate, plain DataFusion) and of connect + query in a fresh process (DuckDB;
        with --all also Polars, DataFusion's Python package and chDB; imports excluded), in turn. Rows of Tidegate are
        checked against DuckDB's in the same run, of the other peers only their number is.
        Prints a table in Markdown: medians, in brackets Tidegate's time as a ratio of the peer's. An engine that fails
        or takes longer than --limit has `-` there, its reason is on stderr, and a peer's total is beside Tidegate's
        total over the same queries. Exits with 1 if Tidegate fails or a row of it is wrong; a query that DuckDB does
        not answer is not checked.

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

PEERS = {"DuckDB": "duckdb", "Polars": "polars", "DataFusion in Python": "datafusion", "chDB": "chdb"}
STARTING = 15  # seconds a peer may take besides its limit: to start Python, import, and print


def run(command, limit):
    """Seconds of a fresh process, what it printed, and why it failed if it did."""
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return limit, None, f"stopped after {limit:g} s"
    took = time.perf_counter() - start
    if done.returncode:
        return took, None, " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
    return took, done.stdout, None


def tidegate(binary, data, query, limit=600):
    took, text, error = run([binary, data, "--no-rc", "-q", "-F", "csv", "-f", query], limit)
    return took, None if error else parse_csv(text), error


def peer(python, engine, data, query, limit=600):
    took, text, error = run([python, pathlib.Path(__file__).with_name("peers.py"), engine, data, query], limit + STARTING)
    if error:
        return took, None, error
    answer = json.loads(text.splitlines()[-1])
    took = answer["seconds"]
    return took, answer, f"took {took:.1f} s" if took > limit else None


def plain(binary, data, query, limit):
    took, text, error = run([binary, data, query], limit)
    return took, None if error else {"count": int(text)}, error


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


def only_ties_differ(ours, theirs, types):
    """The same rows, and a column that is the same row by row: what it is sorted by, with ties in another order."""
    by_values = lambda row: [repr(rounded(value)) for value in row]
    if first_difference(sorted(ours, key=by_values), sorted(theirs, key=by_values), types):
        return False
    columns = zip(zip(*map(by_values, ours)), zip(*map(by_values, theirs)))
    return any(mine == other for mine, other in columns)


def rounded(value):
    """A number to sort by: doubles and decimals are written differently."""
    try:
        return f"{float(value):.6g}"
    except (ValueError, TypeError):
        return value


def first_difference(ours, theirs, types):
    if len(ours) != len(theirs):
        return f"{len(ours)} rows, DuckDB has {len(theirs)}"
    for number, (a, b) in enumerate(zip(ours, theirs)):
        if len(a) != len(b):
            return f"{len(a)} columns, DuckDB has {len(b)}"
        for column, (x, y) in enumerate(zip(a, b)):
            if not same(x, y, types[column]):
                return f"row {number + 1} column {column + 1}: {x!r}, DuckDB has {y!r} ({types[column]})"
    return None


def difference(ours, theirs):
    rows, types = theirs["rows"], theirs["types"]
    problem = first_difference(ours, rows, types)
    if problem and len(ours) == len(rows) and only_ties_differ(ours, rows, types):
        return None
    return problem


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
        _, rows, problem = tidegate(args.tidegate, args.data, query)
        if not problem:
            _, theirs, problem = peer(args.oracle, "duckdb", args.data, query)
        problem = problem or difference(rows, theirs)
        if problem:
            wrong += 1
            print(f"{query.stem}: {problem}", flush=True)
    print(f"{total - wrong} passed, {wrong} failed")
    sys.exit(wrong > 0)


def ask(args, name, query):
    if name == "Tidegate":
        return tidegate(args.tidegate, args.data, query, args.limit)
    if name == "plain DataFusion":
        return plain(args.plain, args.data, query, args.limit)
    return peer(args.peers, PEERS[name], args.data, query, args.limit)


def trial(args, names, query):
    """The median seconds of each engine that answers, and whether Tidegate does and agrees with DuckDB."""
    took = {name: [] for name in names}
    rows, right, complaints = None, True, set()
    for _ in range(args.runs):
        for name in list(took):
            seconds, answer, error = ask(args, name, query)
            if error:
                del took[name]
                complaints.add(f"{name}: {error}")
                right = right and name != "Tidegate"
                continue
            took[name].append(seconds)
            if name == "Tidegate":
                rows = answer
            elif rows is not None and (problem := disagreement(rows, name, answer)):
                complaints.add(problem)
                right = right and name != "DuckDB"
    for complaint in sorted(complaints):
        print(f"{query.stem}: {complaint}", file=sys.stderr)
    return {name: statistics.median(seconds) for name, seconds in took.items()}, right


def disagreement(rows, name, answer):
    if name == "DuckDB":
        return difference(rows, answer)
    return None if len(rows) == answer["count"] else f"{len(rows)} rows, {name} has {answer['count']}"


def cell(name, took):
    if name not in took:
        return "-"
    ratio = f" ({took['Tidegate'] / took[name]:.2f})" if name != "Tidegate" and "Tidegate" in took else ""
    return f"{took[name]:.3f}{ratio}"


def summary(name, trials):
    """The totals and the geometric mean of the ratios, over the queries that both Tidegate and the peer answered."""
    both = [(took["Tidegate"], took[name]) for took in trials if took.keys() >= {"Tidegate", name}]
    if not both:
        return "-", "-"
    ours, theirs = map(sum, zip(*both))
    if name == "Tidegate":
        return f"{ours:.2f}", ""
    return f"{ours:.2f} : {theirs:.2f} ({ours / theirs:.2f})", f"{statistics.geometric_mean(a / b for a, b in both):.2f}"


def timing(args):
    names = ["Tidegate", "DuckDB"] + ["plain DataFusion"] * bool(args.plain) + [name for name in PEERS if args.all and name != "DuckDB"]
    print("| query | Tidegate s |" + "".join(f" {name} s (ratio) |" for name in names[1:]))
    print("|---|" + "---:|" * len(names))
    trials, wrong = [], False
    for query in selected(args):
        took, right = trial(args, names, query)
        trials.append(took)
        wrong = wrong or not right
        print_row(query.stem, (cell(name, took) for name in names))
    totals, means = zip(*(summary(name, trials) for name in names))
    print_row("total, Tidegate : peer", totals)
    print_row("geometric mean of the ratios", means)
    sys.exit(wrong)


def print_row(label, cells):
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["answers", "time"])
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--oracle", default=sys.executable, help="a Python that has duckdb 1.5.5")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has duckdb 2.0.0, and for --all the other peers")
    parser.add_argument("--plain", help="the binary plain-datafusion of this directory")
    parser.add_argument("--all", action="store_true", help="time Polars, DataFusion in Python and chDB too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60, help="seconds a query may take in any engine")
    parser.add_argument("--only", help="numbers of queries, separated by commas")
    args = parser.parse_args()
    {"answers": answers, "time": timing}[args.what](args)


if __name__ == "__main__":
    main()
