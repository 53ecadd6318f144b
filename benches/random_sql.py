"""Random queries whose answers are compared with DuckDB's: what three values do to IN, NOT IN, EXISTS, ANY and ALL in every
clause, and the merged columns of joins with USING.

    python random_sql.py --tidegate target/release/tidegate --cases 5000 --seed 1

Exits with 1 if an answer differs, and prints the query. A query that Tidegate refuses is counted, not compared.
"""

import argparse
import collections
import random
import subprocess
import sys

import duckdb

MARK = "case "


def number(rng):
    return rng.choice(["NULL", "0", "1", "2", "3"])


def table(rng, name, columns):
    rows = [tuple(number(rng) for _ in columns) for _ in range(rng.randint(0, 4))]
    values = ", ".join(f"({', '.join(row)})" for row in rows)
    typed = ", ".join(f"CAST({c} AS INTEGER) AS {c}" for c in columns)
    if not rows:
        nulls = ", ".join("NULL" for _ in columns)
        return f"(SELECT {typed} FROM (VALUES ({nulls})) v({', '.join(columns)}) WHERE false) {name}"
    return f"(SELECT {typed} FROM (VALUES {values}) v({', '.join(columns)})) {name}"


def subquery(rng, outer):
    condition = rng.choice(
        ["", "", f" WHERE s.j = {outer}.k", f" WHERE s.y < {outer}.x", " WHERE s.y > 0", " WHERE false"]
    )
    return f"(SELECT s.y FROM {table(rng, 's', ['j', 'y'])}{condition})"


def predicate(rng, depth=0):
    left = rng.choice(["o.x", "o.k", "o.x + 1", "2", "NULL::INTEGER"])
    kind = rng.randrange(8 if depth < 2 else 6)
    if kind == 0:
        return f"{left} IN {subquery(rng, 'o')}"
    if kind == 1:
        return f"{left} NOT IN {subquery(rng, 'o')}"
    if kind == 2:
        return f"{rng.choice(['', 'NOT '])}EXISTS {subquery(rng, 'o')}"
    if kind == 3:
        operator = rng.choice(["=", "<>", "<", ">="])
        return f"{left} {operator} {rng.choice(['ANY', 'ALL'])} {subquery(rng, 'o')}"
    if kind == 4:
        return rng.choice(["o.x = 1", "o.k IS NULL", "o.x > o.k"])
    if kind == 5:
        return f"({left} IN {subquery(rng, 'o')}) IS {rng.choice(['', 'NOT '])}{rng.choice(['NULL', 'TRUE'])}"
    if kind == 6:
        return f"({predicate(rng, depth + 1)} {rng.choice(['AND', 'OR'])} {predicate(rng, depth + 1)})"
    return f"NOT ({predicate(rng, depth + 1)})"


def predicates(rng):
    source = table(rng, "o", ["k", "x"])
    kind = rng.randrange(5)
    if kind == 0:
        return f"SELECT k, x, {predicate(rng)} AS p FROM {source}"
    if kind == 1:
        return f"SELECT count(*) FILTER (WHERE {predicate(rng)}) AS n, sum(x) AS s FROM {source}"
    if kind == 2:
        return f"SELECT CASE WHEN {predicate(rng)} THEN 1 ELSE 0 END AS p, count(*) AS n FROM {source} GROUP BY 1"
    return f"SELECT k, x FROM {source} WHERE {predicate(rng)}"


def joins(rng):
    kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
    left, right = table(rng, "a", ["k", "x"]), table(rng, "b", ["k", "y"])
    source = f"{left} {rng.choice(kinds)} {right} USING (k)"
    columns = rng.choice(["*", "k, x, y", "k, a.k AS l, b.k AS r", "k + 1 AS k1, 1 AS one"])
    if columns != "*" and rng.random() < 0.4:
        source += f" {rng.choice(kinds)} {table(rng, 'c', ['k', 'z'])} USING (k)"
    where = rng.choice(["", " WHERE k > 1", " WHERE k IS NULL OR k = 2", " WHERE coalesce(k, 3) <> 2"])
    if rng.random() < 0.3:
        return f"SELECT k, count(*) AS n FROM {source}{where} GROUP BY k"
    return f"SELECT {columns} FROM {source}{where}"


def guards(rng):
    source = table(rng, "o", ["k", "x"])
    guard = rng.choice(["x <> 0 AND 6 / x > 2", "x = 0 OR 6 % x = 0", "k > 0 AND (x = 0 OR k % x = 1)"])
    if rng.random() < 0.5:
        return f"SELECT k, x, {guard} AS p FROM {source}"
    return f"SELECT k, x FROM {source} WHERE {guard}"


def answers(binary, queries, tables=(), before=""):
    """The rows of each query as Tidegate prints them; None where it refuses."""
    found = {}
    script = before + "".join(f"SELECT '{MARK}{at}' AS m;\n{query};\n" for at, query in enumerate(queries))
    run = subprocess.run(
        [binary, *tables, "-F", "tsv", "--keep-going", "-f", "-"],
        input=script.encode(),
        capture_output=True,
        check=False,
    )
    current = None
    for line in run.stdout.decode().splitlines():
        if line.startswith(MARK):
            current = int(line[len(MARK):])
            found[current] = None
        elif current is not None and line not in ("m", ""):
            if found[current] is None:
                found[current] = []
            else:
                found[current].append(line)
    return found


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    makers = [predicates, predicates, joins, guards]
    counts = collections.Counter()
    wrong = 0
    remaining = arguments.cases
    while remaining > 0:
        queries = [rng.choice(makers)(rng) for _ in range(min(remaining, 200))]
        remaining -= len(queries)
        found = answers(arguments.tidegate, queries)
        for at, query in enumerate(queries):
            rows = found.get(at)
            try:
                expected = duckdb.sql(query).fetchall()
            except duckdb.Error:
                counts["refused by DuckDB"] += 1
                continue
            if rows is None:
                counts["refused by Tidegate"] += 1
                continue
            counts["compared"] += 1
            if sorted(rows) != sorted("\t".join(text(v) for v in row) for row in expected):
                wrong += 1
                print(f"differs: {query}\n  Tidegate {sorted(rows)}\n  DuckDB   {expected}")
    summary = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"seed {arguments.seed}: {summary}, {wrong} differ")
    sys.exit(1 if wrong or not counts["compared"] else 0)


if __name__ == "__main__":
    main()
