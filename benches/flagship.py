#!/usr/bin/env python3
"""A nightly pipeline that is killed and started again: Tidegate, DuckDB with a Makefile, and Spark.

    flagship.py run DATA --out DIR [--engine all] [--kills 10] [--seed 1] [--memory 2GiB] [--days 1] [--timeout 3600]
                    [--tidegate BIN] [--peers PYTHON] [--spark PYTHON]
        20 statements a day over TPC-H's tables: 14 make tables, 6 write files. Each engine runs them once undisturbed, then
        once more, killed (SIGKILL to its process group) at moments drawn uniformly of its undisturbed time, the same parts
        of it for each engine, and started again at once by the same command until it ends by itself. The files must
        be those of the undisturbed run (Tidegate's with an ORDER BY byte by byte, all others row by row in any order), and
        the rows must be the same in all engines. Prints a table in Markdown; exits with 1 if an engine fails or rows differ.
    flagship.py show [--engine all] [--days 1]
        Prints what each engine is given.

tidegate    a durable job, `checkpoint.max_loss` 5 s, all else but the memory as it comes.
duckdb      a Makefile. A table is a CREATE OR REPLACE TABLE AS in one database file, marked as done by an empty file; a
            file is written under another name and renamed. Each step is a process of Python, which costs about 0.2 s more
            than DuckDB's own program. `preserve_insertion_order` is off: with little memory DuckDB's documents advise that.
spark       one script, local[*], which writes each step to Parquet or CSV and goes on from the first without _SUCCESS. Its
            driver has 4 GiB whatever --memory says: with less, local Spark does not start well.

DATA holds one file per table, NAME.parquet. What is made is below DIR, and all but the written files and logs is deleted
after each run; at scale 10 a day takes 2 to 3 GB meanwhile. Files are read once before each run, so that no engine has
them cached less. --memory counts what the engine plans with; the table has what its processes were seen to hold
together, shared libraries and mapped files included. Rows are compared by the DuckDB of the Python that runs this.
"""

import argparse
import datetime
import filecmp
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

TABLES = "customer lineitem nation orders part partsupp region supplier".split()
FIRST_NIGHT = datetime.date(1998, 6, 1)
SPARK_MEMORY = "4g"


class Step(NamedTuple):
    name: str
    kind: str  # table, parquet or csv
    query: str
    order: str = ""

    @property
    def file(self):
        return f"out/{self.name}.{self.kind}"

    @property
    def text(self):
        return self.query + (f"\nORDER BY {self.order}" if self.order else "")


# NIGHT is the date that the day's pipeline is run for; days_between(a, b) is a number of days. The rest is said alike in
# all engines: numbers are integers and decimals, whose sums do not depend on their order, and each window has a total order.
PIPELINE = [
    Step("stage_customer", "table", """\
SELECT c_custkey AS customer_key, upper(trim(c_name)) AS customer_name, c_nationkey AS nation_key,
       trim(c_mktsegment) AS segment, CAST(substr(c_phone, 1, 2) AS INTEGER) AS country_code,
       CAST(c_acctbal AS DECIMAL(18, 2)) AS balance, CASE WHEN c_acctbal < 0 THEN 1 ELSE 0 END AS in_debt
FROM customer"""),
    Step("stage_supplier", "table", """\
SELECT s_suppkey AS supplier_key, upper(trim(s_name)) AS supplier_name, trim(n_name) AS supplier_nation,
       trim(r_name) AS supplier_region, CAST(s_acctbal AS DECIMAL(18, 2)) AS balance
FROM supplier
JOIN nation ON s_nationkey = n_nationkey
JOIN region ON n_regionkey = r_regionkey"""),
    Step("stage_part", "table", """\
SELECT p_partkey AS part_key, p_name AS part_name, trim(p_brand) AS brand, upper(p_type) AS part_type,
       CASE WHEN p_size < 10 THEN 'small' WHEN p_size < 30 THEN 'medium' ELSE 'large' END AS size_class
FROM part"""),
    Step("stage_partsupp", "table", """\
SELECT ps_partkey AS part_key, ps_suppkey AS supplier_key, CAST(ps_supplycost AS DECIMAL(18, 2)) AS unit_cost,
       CAST(ps_availqty AS BIGINT) AS available
FROM partsupp
WHERE ps_availqty > 0"""),
    Step("stage_orders", "table", """\
SELECT o_orderkey AS order_key, o_custkey AS customer_key, o_orderdate AS order_date,
       CAST(date_trunc('month', o_orderdate) AS DATE) AS order_month,
       CAST(extract(year FROM o_orderdate) AS INTEGER) AS order_year, CAST(o_totalprice AS DECIMAL(18, 2)) AS total_price,
       CAST(substr(o_orderpriority, 1, 1) AS INTEGER) AS priority, o_orderstatus AS status
FROM orders
WHERE o_orderdate < NIGHT AND o_totalprice > 0"""),
    Step("stage_lineitem", "table", """\
SELECT l_orderkey AS order_key, l_linenumber AS line_number, l_partkey AS part_key, l_suppkey AS supplier_key,
       CAST(l_quantity AS INTEGER) AS quantity, CAST(l_extendedprice * (1 - l_discount) AS DECIMAL(18, 4)) AS net,
       CAST(l_discount * 100 AS INTEGER) AS discount_percent, l_returnflag AS return_flag, trim(l_shipmode) AS ship_mode,
       l_shipdate AS ship_date, CASE WHEN l_receiptdate > l_commitdate THEN 1 ELSE 0 END AS late,
       CAST(days_between(l_receiptdate, l_shipdate) AS INTEGER) AS days_under_way
FROM lineitem
WHERE l_shipdate < NIGHT AND l_quantity > 0"""),
    Step("sales", "table", """\
SELECT l.order_key, l.line_number, o.order_date, o.order_month, o.priority, o.customer_key, c.segment,
       trim(n_name) AS customer_nation, l.part_key, l.supplier_key, s.supplier_nation, l.quantity, l.net,
       l.return_flag, l.late
FROM stage_lineitem l
JOIN stage_orders o ON l.order_key = o.order_key
JOIN stage_customer c ON o.customer_key = c.customer_key
JOIN nation ON c.nation_key = n_nationkey
JOIN stage_supplier s ON l.supplier_key = s.supplier_key
WHERE o.order_date >= NIGHT - INTERVAL '1095' DAY"""),
    Step("sales_margin", "table", """\
SELECT f.order_key, f.line_number, f.order_date, f.order_month, f.customer_key, f.part_key, f.supplier_key, p.brand,
       p.size_class, f.quantity, f.net, CAST(f.net - f.quantity * ps.unit_cost AS DECIMAL(18, 4)) AS margin
FROM sales f
JOIN stage_partsupp ps ON f.part_key = ps.part_key AND f.supplier_key = ps.supplier_key
JOIN stage_part p ON f.part_key = p.part_key
WHERE f.return_flag <> 'R'"""),
    Step("daily_sales", "table", """\
SELECT order_date, segment, count(*) AS lines, CAST(sum(quantity) AS BIGINT) AS pieces,
       CAST(sum(net) AS DECIMAL(28, 4)) AS net, CAST(sum(late) AS BIGINT) AS late_lines, max(net) AS dearest
FROM sales
GROUP BY order_date, segment"""),
    Step("customer_totals", "table", """\
SELECT customer_key, count(*) AS orders, CAST(sum(total_price) AS DECIMAL(28, 2)) AS total_price,
       min(order_date) AS first_order, max(order_date) AS last_order,
       CAST(sum(CASE WHEN priority <= 2 THEN 1 ELSE 0 END) AS BIGINT) AS urgent_orders
FROM stage_orders
GROUP BY customer_key"""),
    Step("customer_ranking", "table", """\
SELECT t.customer_key, c.segment, c.nation_key, t.orders, t.total_price,
       CAST(rank() OVER (PARTITION BY c.segment ORDER BY t.total_price DESC, t.customer_key) AS BIGINT) AS place,
       CAST(sum(t.total_price) OVER (PARTITION BY c.nation_key ORDER BY t.total_price DESC, t.customer_key
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS DECIMAL(28, 2)) AS nation_running_total
FROM customer_totals t
JOIN stage_customer c ON t.customer_key = c.customer_key"""),
    Step("order_history", "table", """\
SELECT customer_key, order_key, order_date,
       CAST(row_number() OVER (PARTITION BY customer_key ORDER BY order_date, order_key) AS BIGINT) AS nth_order,
       lag(order_date) OVER (PARTITION BY customer_key ORDER BY order_date, order_key) AS order_before,
       CAST(sum(total_price) OVER (PARTITION BY customer_key ORDER BY order_date, order_key
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS DECIMAL(28, 2)) AS running_total
FROM stage_orders"""),
    Step("top_parts", "table", """\
SELECT brand, part_key, net, margin, place
FROM (SELECT brand, part_key, net, margin,
             CAST(row_number() OVER (PARTITION BY brand ORDER BY net DESC, part_key) AS BIGINT) AS place
      FROM (SELECT brand, part_key, CAST(sum(net) AS DECIMAL(28, 4)) AS net, CAST(sum(margin) AS DECIMAL(28, 4)) AS margin
            FROM sales_margin
            GROUP BY brand, part_key) AS by_part) AS placed
WHERE place <= 10"""),
    Step("supplier_reach", "table", """\
SELECT supplier_key, count(DISTINCT customer_key) AS customers, count(DISTINCT part_key) AS parts, count(*) AS lines,
       CAST(sum(net) AS DECIMAL(28, 4)) AS net
FROM sales
GROUP BY supplier_key"""),
    Step("monthly_nations", "csv", """\
SELECT order_month, customer_nation, supplier_nation, count(*) AS lines, count(DISTINCT customer_key) AS customers,
       CAST(sum(net) AS DECIMAL(28, 4)) AS net
FROM sales
GROUP BY order_month, customer_nation, supplier_nation"""),
    Step("orphans", "parquet", """\
SELECT 'customer' AS what, c.customer_key AS orphan_key
FROM stage_customer c
WHERE NOT EXISTS (SELECT 1 FROM stage_orders o WHERE o.customer_key = c.customer_key)
UNION ALL
SELECT 'order' AS what, o.order_key AS orphan_key
FROM stage_orders o
WHERE NOT EXISTS (SELECT 1 FROM stage_lineitem l WHERE l.order_key = o.order_key)"""),
    Step("shipping", "csv", """\
SELECT CAST(date_trunc('month', ship_date) AS DATE) AS ship_month, return_flag, count(*) AS lines,
       CAST(sum(CASE WHEN ship_mode = 'AIR' OR ship_mode = 'REG AIR' THEN quantity ELSE 0 END) AS BIGINT) AS by_air,
       CAST(sum(CASE WHEN ship_mode = 'RAIL' THEN quantity ELSE 0 END) AS BIGINT) AS by_rail,
       CAST(sum(CASE WHEN ship_mode = 'SHIP' THEN quantity ELSE 0 END) AS BIGINT) AS by_ship,
       CAST(sum(CASE WHEN ship_mode = 'TRUCK' THEN quantity ELSE 0 END) AS BIGINT) AS by_truck,
       CAST(sum(CASE WHEN late = 1 THEN net ELSE 0 END) AS DECIMAL(28, 4)) AS late_net,
       CAST(sum(days_under_way) AS BIGINT) AS days_under_way
FROM stage_lineitem
GROUP BY CAST(date_trunc('month', ship_date) AS DATE), return_flag""", "ship_month, return_flag"),
    Step("daily_report", "csv", """\
SELECT order_date, segment, lines, pieces, net, late_lines, dearest,
       CAST(sum(net) OVER (PARTITION BY segment ORDER BY order_date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)
            AS DECIMAL(28, 4)) AS net_of_seven_days
FROM daily_sales""", "order_date, segment"),
    Step("customer_report", "parquet", """\
SELECT c.customer_key, c.customer_name, c.segment, c.country_code, c.balance, c.in_debt, r.orders, r.total_price, r.place,
       r.nation_running_total, h.order_key AS last_order_key, h.order_date AS last_order, h.order_before,
       CAST(days_between(h.order_date, h.order_before) AS INTEGER) AS days_before, h.running_total
FROM stage_customer c
JOIN customer_ranking r ON c.customer_key = r.customer_key
JOIN order_history h ON h.customer_key = r.customer_key AND h.nth_order = r.orders"""),
    Step("sales_report", "parquet", """\
SELECT m.order_key, m.line_number, m.order_date, m.customer_key, m.part_key, m.supplier_key, m.brand, m.size_class,
       m.quantity, m.net, m.margin, s.customers AS customers_of_supplier, s.parts AS parts_of_supplier,
       coalesce(t.place, CAST(0 AS BIGINT)) AS place_of_part
FROM sales_margin m
JOIN supplier_reach s ON m.supplier_key = s.supplier_key
LEFT JOIN top_parts t ON m.part_key = t.part_key
WHERE m.order_date >= NIGHT - INTERVAL '180' DAY""", "m.order_key, m.line_number"),
]


def steps_of(days):
    """The pipeline of each day: of more than one, names end in the day's number."""
    steps, names = [], "|".join(step.name for step in PIPELINE)
    for day in range(1, days + 1):
        suffix = f"_{day}" if days > 1 else ""
        night = f"DATE '{FIRST_NIGHT + datetime.timedelta(days=day - 1)}'"
        for step in PIPELINE:
            query = re.sub(rf"\b({names})\b", rf"\g<1>{suffix}", step.query).replace("NIGHT", night)
            steps.append(step._replace(name=step.name + suffix, query=query))
    return steps


def with_days_between(steps, form):
    """The steps with days_between(a, b) as an engine says it."""
    return [step._replace(query=re.sub(r"days_between\(([^,]+), ([^)]+)\)", form, step.query)) for step in steps]


def tidegate_files(args, steps):
    statements = [
        f"CREATE TABLE {step.name} AS\n{step.text};\n" if step.kind == "table" else f"COPY (\n{step.text}\n) TO '{step.file}';\n"
        for step in with_days_between(steps, r"\1 - \2")
    ]
    return {"pipeline.sql": "\n".join(statements)}


def tidegate_command(args):
    settings = ["--memory-limit", args.memory, "--checkpoint-max-loss", "5s"]
    return [args.tidegate, "run", "pipeline.sql", args.data, "--job", "nightly", "--job-dir", "jobs", *settings]


STEP_SCRIPT = """\
import sys
import duckdb
name = sys.argv[1]
database = duckdb.connect("pipeline.db")
database.execute("SET memory_limit = '{memory}'")
database.execute("SET preserve_insertion_order = false")
for table in "{tables}".split():
    database.execute(f"CREATE TEMP VIEW {{table}} AS FROM '{data}/{{table}}.parquet'")
database.execute(open(f"sql/{{name}}.sql").read())
"""


MAKEFILE = """\
STEP = {python} step.py
all: {goals}
done/%: sql/%.sql
\t$(STEP) $*
\ttouch $@
out/%: sql/%.sql
\t$(STEP) $*
\tmv $@.part $@
"""


def duckdb_files(args, steps):
    steps = with_days_between(steps, r"\1 - \2")
    goals = {step.name: f"done/{step.name}" if step.kind == "table" else step.file for step in steps}
    rules, files = [], {}
    for step in steps:
        read = sorted(set(re.findall(r"\w+", step.query)) & goals.keys())
        if read:
            rules.append(f"{goals[step.name]}: {' '.join(goals[name] for name in read)}\n")
        if step.kind == "table":
            text = f"CREATE OR REPLACE TABLE {step.name} AS\n{step.text};\n"
        else:
            text = f"COPY (\n{step.text}\n) TO '{step.file}.part' (FORMAT {step.kind});\n"
        files[f"sql/{pathlib.Path(goals[step.name]).name}.sql"] = text
    head = MAKEFILE.format(python=args.peers, goals=" ".join(goals.values()))
    script = STEP_SCRIPT.format(memory=args.memory, tables=" ".join(TABLES), data=args.data)
    return {"Makefile": head + "".join(rules), "step.py": script} | files


def duckdb_command(args):
    return ["make", "--silent"]


SPARK_SCRIPT = '''\
import os
from pyspark.sql import SparkSession
STEPS = [
{steps}
]
spark = SparkSession.builder.master("local[*]").config("spark.driver.memory", "{memory}").getOrCreate()
for table in "{tables}".split():
    spark.read.parquet(f"{data}/{{table}}.parquet").createOrReplaceTempView(table)
for path, form, query in STEPS:
    if not os.path.exists(f"{{path}}/_SUCCESS"):
        spark.sql(query).write.mode("overwrite").option("header", True).format(form).save(path)
    if path.startswith("tables/"):
        spark.read.parquet(path).createOrReplaceTempView(os.path.basename(path))
'''


def spark_files(args, steps):
    shown = []
    for step in with_days_between(steps, r"datediff(\1, \2)"):
        path, form = (f"tables/{step.name}", "parquet") if step.kind == "table" else (step.file, step.kind)
        shown.append(f'("{path}", "{form}", """\n{step.text}\n"""),')
    text = SPARK_SCRIPT.format(steps="\n".join(shown), memory=SPARK_MEMORY, tables=" ".join(TABLES), data=args.data)
    return {"pipeline.py": text}


def spark_command(args):
    return [args.spark, "pipeline.py"]


ENGINES = {
    "tidegate": (tidegate_files, tidegate_command),
    "duckdb": (duckdb_files, duckdb_command),
    "spark": (spark_files, spark_command),
}


def lines_of_setup(engine, args):
    """Lines that a user writes for one day, the command included, and how many of them are not of the queries."""
    make_files, _ = ENGINES[engine]
    steps = steps_of(1)
    lines = 1 + sum(bool(line.strip()) for text in make_files(args, steps).values() for line in text.splitlines())
    return lines, lines - sum(len(step.text.splitlines()) for step in steps)


class Failure(Exception):
    """An engine failed, took too long, or gave other rows."""


def processes_of(session):
    """The processes of a session that have not ended: their parents, pages of address space, and pages held in memory."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            state, parent, _, of = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state not in "ZX":
                size, held = pathlib.Path(f"/proc/{entry}/statm").read_text().split()[:2]
                found[int(entry)] = int(parent), int(size), int(held)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory_of(session):
    """Bytes that a session's processes hold; one that was just forked has its parent's memory, which counts once."""
    found = processes_of(session)
    pages = sum(held for parent, size, held in found.values() if parent not in found or found[parent][1] != size)
    return pages * os.sysconf("SC_PAGE_SIZE")


def end_session(process):
    """Kills the process group, and what of the session has left the group; returns when none of them is there."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for _ in range(1000):
        left = list(processes_of(process.pid))
        if not left:
            return
        for identity in left:
            try:
                os.kill(identity, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    raise Failure(f"processes {left} do not end")


class Run:
    """One engine's run of the pipeline in a directory of its own, over as many tries as it takes."""

    def __init__(self, engine, args, directory):
        self.engine, self.args, self.directory = engine, args, directory
        self.peak, self.kills, self.seconds = 0, 0, 0.0
        make_files, make_command = ENGINES[engine]
        for name in ("out", "tmp", *(["sql", "done"] if engine == "duckdb" else [])):
            (directory / name).mkdir(parents=True)
        for name, text in make_files(args, steps_of(args.days)).items():
            (directory / name).write_text(text)
        self.command = make_command(args)
        temporary = str(directory / "tmp")
        self.environment = os.environ | {"TMPDIR": temporary, "SPARK_LOCAL_DIRS": temporary}

    def start(self):
        log = open(self.directory / "log.txt", "ab")
        with log:
            return subprocess.Popen(
                self.command, cwd=self.directory, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def attempt(self, seconds, deadline):
        """Whether the command ended by itself before so many seconds were over; if not it is killed."""
        process, began, looked = self.start(), time.perf_counter(), 0.0
        try:
            while process.poll() is None:
                now = time.perf_counter()
                if now - began >= seconds or now >= deadline:
                    break
                if now - looked >= 0.1:
                    self.peak = max(self.peak, memory_of(process.pid))
                    looked = now
                time.sleep(0.005)
            ended = process.poll() is not None
        finally:
            end_session(process)
        if ended and process.returncode:
            raise Failure(f"exit code {process.returncode} after {self.kills} kills: {self.last_lines()}")
        if not ended and time.perf_counter() >= deadline:
            raise Failure(f"not over after {self.args.timeout:g} s and {self.kills} kills: {self.last_lines()}")
        return ended

    def last_lines(self):
        lines = (self.directory / "log.txt").read_text(errors="replace").splitlines()
        told = [line for line in lines if re.search("error|exception", line, re.IGNORECASE)][-8:]
        return "\n".join(line[-500:] for line in told + lines[-8:])

    def to_its_end(self, gaps):
        """Runs the command, killed after each of the gaps, until it ends."""
        read_once(self.args.data)
        began = time.perf_counter()
        try:
            for gap in gaps:
                if self.attempt(gap, began + self.args.timeout):
                    break
                self.kills += 1
            else:
                self.attempt(float("inf"), began + self.args.timeout)
        finally:
            self.seconds = time.perf_counter() - began
            self.clear()
        return self

    def clear(self):
        """Deletes all but the outputs, the log and what the engine was given."""
        for path in self.directory.iterdir():
            if path.name in ("jobs", "tmp", "tables", "done", "spark-warehouse"):
                shutil.rmtree(path)
            elif path.name.startswith("pipeline.db"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_once(data):
    for path in sorted(pathlib.Path(data).rglob("*.parquet")):
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass


class Comparison:
    def __init__(self, directory):
        import duckdb

        self.failed = duckdb.Error
        self.database = duckdb.connect(config={"memory_limit": "4GiB", "temp_directory": str(directory / "compare")})

    def source(self, path):
        """The file, or the directory that has its parts, to select from."""
        files = f"{path}/*.{path.suffix[1:]}" if path.is_dir() else str(path)
        return f"read_csv('{files}', header = true, all_varchar = true)" if path.suffix == ".csv" else f"read_parquet('{files}')"

    def columns(self, path):
        """Names and types: all of a CSV file are texts, and compared as they were written."""
        return [row[:2] for row in self.database.execute(f"DESCRIBE FROM {self.source(path)}").fetchall()]

    def one_number(self, text):
        return self.database.execute(text).fetchone()[0]

    def difference(self, one, other):
        """Why two files have other rows, in whatever order; the types are those of the first."""
        try:
            columns = self.columns(one)
            if [name for name, _ in columns] != [name for name, _ in self.columns(other)]:
                return "other columns"
            cast = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in columns)
            mine, theirs = (f"SELECT {cast} FROM {self.source(path)}" for path in (one, other))
            counts = [self.one_number(f"SELECT count(*) FROM ({rows})") for rows in (mine, theirs)]
            more, less = (
                self.one_number(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})") for a, b in ((mine, theirs), (theirs, mine))
            )
        except self.failed as error:
            return str(error)
        if counts[0] == counts[1] and not more and not less:
            return None
        return f"{counts[0]} and {counts[1]} rows, {more} only in the first, {less} only in the second"


def changed_by_kills(comparison, engine, steps, whole, killed):
    """What is not in the killed run's files as it is in those of the undisturbed one."""
    for step in steps:
        one, other = whole.directory / step.file, killed.directory / step.file
        if not one.exists() or not other.exists():
            yield f"{step.file} is missing"
        elif engine == "tidegate" and step.order:
            if not filecmp.cmp(one, other, shallow=False):
                yield f"{step.file}: not the same bytes"
        elif problem := comparison.difference(one, other):
            yield f"{step.file}: {problem}"


def left_in(run, steps):
    """Files in the directory of the outputs that are none."""
    wanted = {pathlib.Path(step.file).name for step in steps}
    return sorted(path.name for path in (run.directory / "out").iterdir() if path.name not in wanted and path.suffix != ".part")


def gaps_of(args, seconds):
    """How long the process lives before each kill: the same parts of the undisturbed time for each engine."""
    draw = random.Random(args.seed)
    moments = sorted(draw.random() for _ in range(args.kills))
    return [(now - before) * seconds for before, now in zip([0.0, *moments], moments)]


def both_runs(engine, args, comparison, outputs):
    directory = pathlib.Path(args.out) / engine
    whole = Run(engine, args, directory / "undisturbed").to_its_end([])
    print(f"{engine}: undisturbed {whole.seconds:.1f} s", file=sys.stderr, flush=True)
    killed = Run(engine, args, directory / "killed").to_its_end(gaps_of(args, whole.seconds))
    print(f"{engine}: killed {killed.kills} times {killed.seconds:.1f} s", file=sys.stderr, flush=True)
    wrong = list(changed_by_kills(comparison, engine, outputs, whole, killed))
    wrong += [f"{name} was left behind" for name in left_in(killed, outputs)]
    return whole, killed, wrong


def row(engine, args, whole, killed):
    ratio, lost = killed.seconds / whole.seconds, killed.seconds - whole.seconds
    lines, beside = lines_of_setup(engine, args)
    cells = [engine, f"{whole.seconds:.1f}", f"{killed.seconds:.1f} ({killed.kills})", f"{ratio:.3f}", f"{lost:.1f}"]
    cells += [f"{max(whole.peak, killed.peak) / 2**20:.0f}", f"{lines} ({beside})", str(args.seed)]
    return f"| {' | '.join(cells)} |"


HEAD = """\
| engine | undisturbed s | killed s (kills) | ratio | lost work s | peak memory MiB | lines of set-up (without the queries) | seed |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def run(args):
    outputs = [step for step in steps_of(args.days) if step.kind != "table"]
    args.out, args.data = os.path.abspath(args.out), os.path.abspath(args.data)
    if "/" in args.tidegate:
        args.tidegate = os.path.abspath(args.tidegate)
    chosen = engines(args)
    for engine in chosen:
        if (pathlib.Path(args.out) / engine).exists():
            sys.exit(f"{args.out}/{engine} is there already")
    pathlib.Path(args.out).mkdir(parents=True, exist_ok=True)
    comparison, rows, wrong, first = Comparison(pathlib.Path(args.out)), [], [], None
    for engine in chosen:
        try:
            whole, killed, changed = both_runs(engine, args, comparison, outputs)
        except Failure as failure:
            wrong.append(f"{engine}: {failure}")
            continue
        rows.append(row(engine, args, whole, killed))
        wrong += [f"{engine}, killed: {problem}" for problem in changed]
        first = first or (engine, whole)
        if first[0] != engine:
            wrong += [f"{first[0]} and {engine}: {problem}" for problem in other_rows(comparison, outputs, first[1], whole)]
    print("\n".join([HEAD, *rows]))
    print(f"\n{len(steps_of(args.days))} statements, memory {args.memory}" + f", of Spark's driver {SPARK_MEMORY}" * ("spark" in chosen))
    for problem in wrong:
        print(f"WRONG {problem}")
    sys.exit(1 if wrong else 0)


def other_rows(comparison, outputs, one, other):
    for step in outputs:
        if problem := comparison.difference(one.directory / step.file, other.directory / step.file):
            yield f"{step.file}: {problem}"


def engines(args):
    return list(ENGINES) if args.engine == "all" else [args.engine]


def show(args):
    for engine in engines(args):
        make_files, make_command = ENGINES[engine]
        for name, text in make_files(args, steps_of(args.days)).items():
            print(f"==== {engine}: {name}\n{text}")
        print(f"==== {engine}: the command\n{' '.join(make_command(args))}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("run", "show"):
        command = commands.add_parser(name)
        command.add_argument("data", metavar="DATA", **({} if name == "run" else {"nargs": "?", "default": "data"}))
        command.add_argument("--engine", choices=[*ENGINES, "all"], default="all")
        command.add_argument("--days", type=int, default=1, help="days, of 20 statements each")
        command.add_argument("--memory", default="2GiB", help="the memory limit of Tidegate and DuckDB")
        command.add_argument("--tidegate", default="target/release/tidegate")
        command.add_argument("--peers", default=sys.executable, help="a Python that has duckdb 2.0.0")
        command.add_argument("--spark", default=sys.executable, help="a Python that has pyspark")
    command = commands.choices["run"]
    command.add_argument("--out", required=True, help="a directory for all that is made")
    command.add_argument("--kills", type=int, default=10)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--timeout", type=float, default=3600, help="seconds that each run may take, all its tries together")
    args = parser.parse_args()
    {"run": run, "show": show}[args.what](args)


if __name__ == "__main__":
    main()
