"""Random join graphs: the same rows with joins in the order of the text, in the order chosen, and as DuckDB.

    python random_joins.py --tidegate target/release/tidegate --cases 20000 --seed 1

2 to 9 relations of 0 to 14 rows with NULLs and duplicates, from Parquet and CSV: chains, stars, cliques and loops; comma,
inner, left, right and full joins, IN, NOT IN, EXISTS, NOT EXISTS and correlated aggregates. Each answer is the number of
rows and the sum of every column. Exits with 1 if one differs, and prints the query.
"""

import argparse
import collections
import pathlib
import random
import subprocess
import sys
import tempfile

import duckdb

from random_sql import answers, text

TABLES = 8
COLUMNS = ["a", "b", "c"]
BATCH = 200


def make_tables(rng, directory, db):
    for at in range(TABLES):
        count = rng.choice([0, 1, 2, 3, 5, 8, 14])
        domain = rng.choice([2, 4, 10])
        value = lambda: "NULL" if rng.random() < 0.15 else str(rng.randrange(domain))
        rows = ", ".join(f"({value()}, {value()}, {value()})" for _ in range(count)) or "(1, 1, 1)"
        where = "" if count else " WHERE false"
        name = f"t{at}"
        typed = ", ".join(f"{c}::BIGINT AS {c}" for c in COLUMNS)
        db.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {typed} FROM (VALUES {rows}) v(a, b, c){where}")
        for old in directory.glob(f"{name}.*"):
            old.unlink()
        # A CSV column of NULLs alone has no type.
        is_typed = all(db.execute(f"SELECT count({c}) FROM {name}").fetchone()[0] for c in COLUMNS)
        if is_typed and rng.random() < 0.3:
            db.execute(f"COPY {name} TO '{directory}/{name}.csv' (HEADER)")
        else:
            db.execute(f"COPY {name} TO '{directory}/{name}.parquet'")


def column(rng, relations):
    return f"{rng.choice(relations)}.{rng.choice(COLUMNS)}"


def condition(rng, left, right):
    """A condition between one of `left` and the relation `right`."""
    parts = [f"{column(rng, left)} = {right}.{rng.choice(COLUMNS)}"]
    if rng.random() < 0.25:
        parts.append(f"{column(rng, left)} = {right}.{rng.choice(COLUMNS)}")
    if rng.random() < 0.15:
        parts.append(f"{column(rng, left)} {rng.choice(['<', '<>', '>='])} {right}.{rng.choice(COLUMNS)}")
    if rng.random() < 0.1:
        parts.append(f"{right}.{rng.choice(COLUMNS)} > 1")
    if rng.random() < 0.05:
        parts[0] = f"({parts[0]} OR {right}.a = 1)"
    return " AND ".join(parts)


def asked(rng, relations):
    table, alias = f"t{rng.randrange(TABLES)}", "s"
    inner, outer = f"s.{rng.choice(COLUMNS)}", column(rng, relations)
    more = rng.choice(["", "", " AND s.b > 0", f" AND s.c <> {column(rng, relations)}"])
    kind = rng.randrange(5)
    if kind == 0:
        return f"{'NOT ' if rng.random() < 0.4 else ''}EXISTS (SELECT 1 FROM {table} {alias} WHERE {inner} = {outer}{more})"
    if kind == 1:
        return f"{outer} {'NOT ' if rng.random() < 0.4 else ''}IN (SELECT {inner} FROM {table} {alias})"
    if kind == 2:
        other = f"t{rng.randrange(TABLES)}"
        return f"{outer} IN (SELECT s.a FROM {table} s, {other} u WHERE s.b = u.b)"
    if kind == 3:
        return f"{outer} IN (SELECT a FROM {table} GROUP BY a HAVING count(*) > 1)"
    return f"{column(rng, relations)} <= (SELECT {rng.choice(['max', 'min', 'sum'])}(s.b) FROM {table} {alias} WHERE {inner} = {outer})"


def query(rng):
    count = rng.choice([2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9])
    relations = [f"r{at}" for at in range(count)]
    shape = rng.choice(["chain", "star", "any", "any"])
    source, where, seen = f"t{rng.randrange(TABLES)} r0", [], ["r0"]
    outer_allowed, in_commas = rng.random() < 0.5, False
    for relation in relations[1:]:
        table = f"t{rng.randrange(TABLES)}"
        left = {"chain": seen[-1:], "star": seen[:1], "any": seen}[shape]
        kind = rng.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]) if outer_allowed else rng.choice(["JOIN", ","])
        # JOIN binds closer than a comma: after one there are only commas.
        if kind == "," and rng.random() < 0.4 or in_commas:
            in_commas = True
            source += f", {table} {relation}"
            if count > 4 or rng.random() > 0.1:
                where.append(condition(rng, left, relation))
        elif rng.random() < 0.1 and kind in ("JOIN", "LEFT JOIN"):
            nested = f"(SELECT a, max(b) AS b, count(*) AS c FROM {table} GROUP BY a)"
            source += f" {kind} {nested} {relation} ON {condition(rng, left, relation)}"
        else:
            kind = "JOIN" if kind == "," else kind
            on = condition(rng, left, relation)
            if kind == "FULL JOIN":
                on = f"{left[-1]}.a = {relation}.{rng.choice(COLUMNS)}"
            source += f" {kind} {table} {relation} ON {on}"
        seen.append(relation)
    for _ in range(rng.choice([0, 0, 1, 2])):
        where.append(rng.choice([
            f"{column(rng, seen)} {rng.choice(['=', '<', '>', '<>'])} {rng.randrange(4)}",
            f"{column(rng, seen)} = {column(rng, seen)}",
            f"({column(rng, seen)} = 1 OR {column(rng, seen)} = {column(rng, seen)})",
            f"{column(rng, seen)} IS {rng.choice(['', 'NOT '])}NULL",
        ]))
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        where.append(asked(rng, seen))
    sums = ", ".join(f"sum({r}.{c})" for r in seen for c in COLUMNS)
    filters = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT count(*), {sums} FROM {source}{filters}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    db = duckdb.connect()
    counts = collections.Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        directory = pathlib.Path(place)
        for _ in range(0, arguments.cases, BATCH):
            make_tables(rng, directory, db)
            queries = [query(rng) for _ in range(BATCH)]
            by_order = {
                order: answers(arguments.tidegate, queries, [str(directory)], f"SET join_order = {order};\n")
                for order in ("off", "auto")
            }
            for at, sql in enumerate(queries):
                rows = {order: found.get(at) for order, found in by_order.items()}
                try:
                    expected = ["\t".join(map(text, row)) for row in db.sql(sql).fetchall()]
                except duckdb.Error as error:
                    counts["refused by DuckDB"] += 1
                    continue
                if rows["off"] is None and rows["auto"] is None:
                    counts["refused by Tidegate"] += 1
                    continue
                counts["compared"] += 1
                if rows["off"] != expected or rows["auto"] != expected:
                    wrong += 1
                    print(f"differs: {sql}\n  DuckDB {expected}\n  order of the text {rows['off']}\n  chosen {rows['auto']}")
                    if wrong == 1:
                        keep = pathlib.Path(tempfile.mkdtemp(prefix="joins-"))
                        for path in directory.iterdir():
                            (keep / path.name).write_bytes(path.read_bytes())
                        print(f"  tables in {keep}")
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())), f", {wrong} differ, seed {arguments.seed}")
    sys.exit(1 if wrong or not counts["compared"] else 0)


if __name__ == "__main__":
    main()
