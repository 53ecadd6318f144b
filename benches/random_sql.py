"""Random queries whose answers are compared with DuckDB's: what three values do to IN, NOT IN, EXISTS, ANY and ALL in every
clause, subqueries that refer outwards, the merged columns of joins with USING, intervals and NaN as keys.

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
    if rng.random() < 0.2:
        source = f"({source})"
    while columns != "*" and rng.random() < 0.4:
        name = f"c{source.count('USING')}"
        more = table(rng, name, ["k", "z"])
        if rng.random() < 0.2:
            more = f"({more} {rng.choice(kinds)} {table(rng, name + 'b', ['k', 'q'])} USING (k))"
        source += f" {rng.choice(kinds)} {more} USING (k)"
    where = rng.choice(["", " WHERE k > 1", " WHERE k IS NULL OR k = 2", " WHERE coalesce(k, 3) <> 2"])
    if rng.random() < 0.3:
        return f"SELECT k, count(*) AS n FROM {source}{where} GROUP BY k"
    return f"SELECT {columns} FROM {source}{where}"


def correlated(rng):
    """Subqueries of every shape that refer to the query around them, over two tables with a column of one name."""
    source = table(rng, "o", ["k", "x"])
    s, r = table(rng, "s", ["k", "y"]), table(rng, "r", ["k", "z"])
    outwards = ["s.k = o.k", "s.y < o.x", "s.k = o.k AND s.y <> o.x", "(s.k = o.k OR o.x IS NULL)"]
    tables, condition = s, rng.choice(outwards)
    if rng.random() < 0.5:
        tables = rng.choice([f"{s}, {r}", f"{s} JOIN {r} ON s.k = r.k", f"{s} LEFT JOIN {r} ON s.y = r.z"])
        condition = rng.choice([condition, "s.k = o.k AND r.k = o.k", "r.k = o.k AND s.y <= o.x", "r.z > o.x"])
    rows = f"FROM {tables} WHERE {condition}"
    one = [
        f"SELECT {rng.choice(['count(*)', 'max(s.y)', 'sum(s.y)', 'count(s.y) + 1'])} {rows}",
        f"SELECT max(q.n) FROM (SELECT count(*) AS n {rows} GROUP BY s.y) q",
        f"SELECT s.y {rows} ORDER BY s.y LIMIT 1 OFFSET {rng.randrange(2)}",
        f"SELECT count(*) FROM {r} LEFT JOIN (SELECT * FROM {s} WHERE {rng.choice(outwards)}) v ON v.y = r.z",
    ]
    many = [
        f"SELECT s.y {rows}",
        f"SELECT DISTINCT s.k {rows}",
        f"SELECT s.y {rows} ORDER BY s.y LIMIT 2 OFFSET {rng.randrange(2)}",
        f"SELECT row_number() OVER (ORDER BY s.y, s.k) {rows}",
        f"SELECT count(*) {rows} GROUP BY s.k",
        f"SELECT max(s.y) {rows} HAVING count(*) {rng.choice(['= 0', '> 1'])}",
        f"SELECT s.y FROM {s} WHERE s.k = o.k UNION ALL SELECT r.z FROM {r} WHERE r.z = o.x",
        f"SELECT s.y FROM {s} WHERE EXISTS (SELECT 1 FROM {r} WHERE r.k = o.k AND r.z = s.y)",
    ]
    value, query = rng.choice(one), rng.choice(one + many)
    left = rng.choice(["o.x", "o.k", "1", "o.x + 1"])
    operator = rng.choice(["=", "<>", "<", ">="])
    predicate = rng.choice([
        f"{left} {rng.choice(['IN', 'NOT IN'])} ({query})",
        f"{rng.choice(['', 'NOT '])}EXISTS ({query})",
        f"{left} {operator} {rng.choice(['ANY', 'ALL'])} ({query})",
        f"{left} {operator} ({value})",
    ])
    kind = rng.randrange(4)
    if kind == 0:
        return f"SELECT k, x, {predicate} AS p FROM {source}"
    if kind == 1:
        return f"SELECT k, x, ({value}) AS v FROM {source}"
    if kind == 2:
        lateral = rng.choice(["CROSS JOIN LATERAL ({}) l(v)", "LEFT JOIN LATERAL ({}) l(v) ON l.v > 1"])
        return f"SELECT k, l.v FROM {source} {lateral.format(value)}"
    return f"SELECT k, x FROM {source} WHERE {predicate}"


INTERVALS = ["1 month", "30 days", "29 days", "1 day", "24 hours", "720 hours", "36 hours"]
FLOATS = ["'nan'", "'-nan'", "'inf'", "'-inf'", "1", "0", "NULL"]


def intervals(rng):
    rows = [f"(INTERVAL '{rng.choice(INTERVALS)}')" for _ in range(rng.randint(1, 4))]
    return f"(VALUES {', '.join(rows)})"


def keys(rng):
    """Intervals as keys and in comparisons, and NaN of any sign."""
    a, b = f"{intervals(rng)} a(i)", f"{intervals(rng)} b(i)"
    rows = [f"({at}, {rng.choice(FLOATS)}::DOUBLE)" for at in range(rng.randint(1, 5))]
    floats = f"(VALUES {', '.join(rows)}) v(n, f)"
    value = rng.choice(["-f", "-(-f)", "f * 0", "f - f", "f"])
    return rng.choice([
        f"SELECT count(*) AS n FROM {a} GROUP BY i",
        f"SELECT count(*) AS n FROM (SELECT DISTINCT i FROM {a})",
        f"SELECT count(DISTINCT i) AS n, count(*) FILTER (WHERE i >= INTERVAL '1 month') AS m FROM {a}",
        f"SELECT row_number() OVER (PARTITION BY i) AS n, rank() OVER (ORDER BY i) AS r FROM {a}",
        f"SELECT count(*) AS n FROM {a} JOIN {b} USING (i)",
        f"SELECT count(*) AS n FROM {a} WHERE i {rng.choice(['IN', 'NOT IN'])} (SELECT b.i FROM {b})",
        f"SELECT count(*) AS n FROM (SELECT i FROM {a} {rng.choice(['UNION', 'INTERSECT', 'EXCEPT'])} SELECT i FROM {b})",
        f"SELECT count(nullif(i, INTERVAL '30 days')) AS n, sum(CASE i WHEN INTERVAL '1 day' THEN 1 ELSE 0 END) AS m FROM {a}",
        f"SELECT n, {value} > 5 AS p, {value} = {value} AS q FROM {floats}",
        f"SELECT n, rank() OVER (ORDER BY {value}) AS r FROM {floats}",
        f"SELECT count(*) AS n FROM {floats} GROUP BY {value}",
        f"SELECT count(DISTINCT {value}) AS n, max({value}) > 5 AS p, min({value}) > 5 AS q FROM {floats}",
        f"SELECT n, max({value}) OVER (ORDER BY n) > 5 AS p FROM {floats}",
        f"SELECT n FROM {floats} ORDER BY {value} DESC NULLS LAST, n LIMIT 2",
    ])


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
    makers = [predicates, correlated, correlated, joins, keys, guards]
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
