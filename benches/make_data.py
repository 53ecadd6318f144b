#!/usr/bin/env python3
"""Makes the data of the comparisons.

    make_data.py DIR --tpch 1 [--csv]     TPC-H by tpchgen-cli: DIR/tpch-sf1/*.parquet, DIR/tpch-sf1-csv/*.csv
    make_data.py DIR --tpcds 1            TPC-DS by DuckDB's extension: DIR/tpcds-sf1/*.parquet
    make_data.py DIR --small-files        10,000 files of about 100 KB cut from lineitem.csv
    make_data.py DIR --queries            DIR/tpch-queries/qNN.sql and DIR/tpcds-queries/qNN.sql

Runs in the oracle's environment (requirements.txt). What is already there is kept.
"""

import argparse
import pathlib
import subprocess
import sys

import duckdb


def extension(name):
    """Loads an extension of DuckDB that was installed from a wheel."""
    db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    package = __import__(f"duckdb_extension_{name}")
    found = list(pathlib.Path(package.__file__).parent.rglob(f"{name}.duckdb_extension"))
    db.execute(f"LOAD '{found[0]}'")
    return db


def tpch(root, scale, form):
    out = root / (f"tpch-sf{scale}" + ("" if form == "parquet" else "-csv"))
    if not out.exists():
        tool = pathlib.Path(sys.executable).parent / "tpchgen-cli"
        part = out.with_suffix(".part")
        subprocess.run([tool, form, "-s", str(scale), f"--output-dir={part}"], check=True)
        part.rename(out)
    return out


def tpcds(root, scale):
    out = root / f"tpcds-sf{scale}"
    if out.exists():
        return
    db = extension("tpcds")
    db.execute(f"CALL dsdgen(sf = {scale})")
    part = out.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    for (table,) in db.execute("SHOW TABLES").fetchall():
        db.execute(f"COPY {table} TO '{part}/{table}.parquet' (FORMAT parquet, COMPRESSION snappy)")
    part.rename(out)


def queries(root, scale):
    for name in ("tpch", "tpcds"):
        out = root / f"{name}-queries"
        out.mkdir(parents=True, exist_ok=True)
        rows = extension(name).execute(f"SELECT query_nr, query FROM {name}_queries()").fetchall()
        for number, text in rows:
            if name == "tpch" and number == 11:
                text = text.replace("0.0001000000", f"{0.0001 / scale:.10f}")
            (out / f"q{number:02}.sql").write_text(text)


def small_files(root, scale):
    out = root / "small-files"
    if out.exists():
        return
    source = tpch(root, scale, "csv") / "lineitem.csv"
    part = out.with_suffix(".part")
    part.mkdir(parents=True)
    with open(source, "rb") as lines:
        header = next(lines)
        for number in range(10_000):
            rows = lines.readlines(100_000)
            if not rows:
                break
            (part / f"part-{number:05}.csv").write_bytes(header + b"".join(rows))
    part.rename(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--tpch", type=int)
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--tpcds", type=int)
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--small-files", action="store_true")
    args = parser.parse_args()
    args.root.mkdir(parents=True, exist_ok=True)
    if args.tpch:
        tpch(args.root, args.tpch, "parquet")
        if args.csv:
            tpch(args.root, args.tpch, "csv")
    if args.tpcds:
        tpcds(args.root, args.tpcds)
    if args.queries:
        queries(args.root, args.tpch or 1)
    if args.small_files:
        small_files(args.root, max(args.tpch or 1, 2))


main()
