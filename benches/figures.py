#!/usr/bin/env python3
"""Figures beside the comparison of queries: start, CSV, many small files, Ctrl-C, planning over many files.

    figures.py start     --tidegate BIN [--runs 40]
        `select 1` in a fresh process: wall time and peak resident memory.
    figures.py csv       --tidegate BIN --peers PYTHON --data DIR [--runs 7]
        Scans and aggregates of DIR/lineitem.csv, Tidegate and DuckDB 2.0 in turn. Tidegate checks every field and
        keeps decimals exact; DuckDB guesses doubles.
    figures.py small     --tidegate BIN --peers PYTHON --data DIR [--runs 5]
        The same over the directory DIR of many small CSV files.
    figures.py interrupt --tidegate BIN --data DIR --queries DIR [--runs 10] [--seed 1]
        SIGINT at seeded random moments of each query: time until the process has ended.
    figures.py cold-files --tidegate BIN [--runs 20]
        A join with a directory of 1,000 Parquet files, planned in a fresh process with no page of them in memory:
        what evidence and the order of joins add to reading each footer once.

Every time is of a whole fresh process, but for DuckDB's, which leaves out Python's start and imports.
"""

import argparse
import os
import pathlib
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from compare import selected, timing

LINES = {
    "count": "SELECT count(*) FROM lineitem",
    "sum": "SELECT sum(l_extendedprice * l_discount) FROM lineitem WHERE l_quantity < 24",
    "groups": "SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), sum(l_extendedprice * (1 - l_discount)), avg(l_tax), count(*) "
    "FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus ORDER BY 1, 2",
    "all-columns": "SELECT max(l_orderkey), max(l_partkey), max(l_suppkey), max(l_linenumber), max(l_quantity), max(l_extendedprice), max(l_discount), "
    "max(l_tax), max(l_returnflag), max(l_linestatus), max(l_shipdate), max(l_commitdate), max(l_receiptdate), max(l_shipinstruct), max(l_shipmode), "
    "max(l_comment) FROM lineitem",
}


def start(args):
    command = [args.tidegate, "--no-rc", "-c", "select 1"]
    walls = []
    for _ in range(args.runs):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append((time.perf_counter() - begin) * 1000)
    resident = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"select 1: median {statistics.median(walls):.1f} ms, least {min(walls):.1f}, most {max(walls):.1f} of {len(walls)}; at most {resident:.0f} MiB resident")


def against_duckdb(args, name, target):
    """The queries over one table called lineitem, by the comparison that times all others."""
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as queries:
        pathlib.Path(data, name).symlink_to(target.resolve())
        for number, (title, sql) in enumerate(LINES.items(), 1):
            pathlib.Path(queries, f"q{number}-{title}.sql").write_text(sql)
        args.data, args.queries = data, queries
        timing(args)


def csv(args):
    against_duckdb(args, "lineitem.csv", pathlib.Path(args.data, "lineitem.csv"))


def small(args):
    against_duckdb(args, "lineitem", pathlib.Path(args.data))


def interrupt(args):
    moments = random.Random(args.seed)
    times = []
    for query in selected(args):
        command = [args.tidegate, args.data, "--no-rc", "-q", "-F", "csv", "-f", str(query)]
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - begin
        for _ in range(args.runs):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(whole * moments.random())
            if process.poll() is not None:
                continue
            sent = time.perf_counter()
            process.send_signal(signal.SIGINT)
            process.wait()
            times.append((time.perf_counter() - sent) * 1000)
    times.sort()
    at = lambda part: times[round((len(times) - 1) * part)]
    print(f"{len(times)} interrupts, seed {args.seed}: median {at(0.5):.1f} ms, 99th percentile {at(0.99):.1f} ms, most {at(1):.1f} ms")


def cold_files(args):
    facts = "SELECT value AS id, value * 7919 % 5000 AS good, value % 97 AS amount, value % 1000 AS part FROM range(1000000) AS t(value)"
    goods = "SELECT value AS good, 'kind ' || (value % 20) AS kind FROM range(5000) AS t(value)"
    query = "SELECT count(*) FROM 'facts/' f JOIN 'goods.parquet' g USING (good) WHERE f.amount < 10 AND g.kind = 'kind 3'"
    orders = {"footers": "SET join_order = off", "evidence": "SET join_order = auto"}
    times = {name: [] for name in orders}
    with tempfile.TemporaryDirectory() as data:

        def run(sql):
            begin = time.perf_counter()
            subprocess.run([args.tidegate, "--no-rc", "-q", "-F", "null", "-c", sql], cwd=data, check=True, stdout=subprocess.DEVNULL)
            return (time.perf_counter() - begin) * 1000

        run(f"SET partitions = 1; COPY ({facts}) TO 'facts' (FORMAT parquet, PARTITION_BY (part)); COPY ({goods}) TO 'goods.parquet'")
        files = sorted(pathlib.Path(data).rglob("*.parquet"))
        os.sync()
        for _ in range(args.runs):
            for name, order in orders.items():
                forget(files)
                times[name].append(run(f"{order}; EXPLAIN {query}"))
    middle = {name: statistics.median(found) for name, found in times.items()}
    added = middle["evidence"] - middle["footers"]
    print(f"{len(files) - 1} files: {middle['footers']:.0f} ms with footers alone, evidence adds {added:.1f} ms (medians of {args.runs})")


def forget(files):
    """Takes the pages of files out of memory."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["start", "csv", "small", "interrupt", "cold-files"])
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data")
    parser.add_argument("--queries")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has duckdb 2.0.0")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--only", help="numbers of queries, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.plain, args.all, args.limit = None, False, 600
    all_figures = {"start": (start, 40), "csv": (csv, 7), "small": (small, 5), "interrupt": (interrupt, 10), "cold-files": (cold_files, 20)}
    run, runs = all_figures[args.what]
    args.runs = args.runs or runs
    run(args)


if __name__ == "__main__":
    main()
