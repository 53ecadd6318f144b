#!/usr/bin/env python3
"""Durable jobs under SIGKILL: what a kill costs, and that it changes nothing.

    python durable.py kills --tidegate BIN --data DIR --queries DIR [--kills 200] [--seed 1] [--mode all] [--only 1,6]
        Each query as a durable job, killed up to so many times in all: half of the kills at uniform moments of its time,
        half when the k-th sealed file appears. Then it is run to its end: its rows are those of the plain query, no
        sealed task was run again, and what was sealed was used. Every second job writes a file instead, which must be
        there once and whole.
    python durable.py random --tidegate BIN --data DIR [--cases 100] [--seed 1]
        Random scripts over TPC-H's tables (queries, files, directories, tables, inserts, views), modes, partitions and
        threads, killed up to four times: what they print and write is what they print and write when run as they are.
    python durable.py cost --tidegate BIN --data DIR --queries DIR --only 5,9,18,21 [--max-loss 1s] [--runs 3] [--memory-limit 2GiB]
        In turn: the query as it is, as a durable job, and as a durable job that is killed once at 25, 50, 75 and 90 % of
        the time of the plain query. Prints the overhead, and the repeated work: the time of all tries less that of the
        durable job that nobody killed.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def queries(directory, only):
    files = sorted(pathlib.Path(directory).glob("*.sql"))
    wanted = {int(number) for number in only.split(",")} if only else None
    for file in files:
        number = int("".join(c for c in file.stem if c.isdigit()))
        if wanted is None or number in wanted:
            yield file.stem, file.read_text().strip().rstrip(";")


class Bench:
    def __init__(self, args):
        self.args = args
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-durable-", dir=args.work))
        self.jobs = self.root / "jobs"

    def flags(self):
        flags = ["--no-rc", "-q", "-F", "csv", "--job-dir", str(self.jobs), "--checkpoint-mode", self.args.mode]
        if self.args.max_loss:
            flags += ["--checkpoint-max-loss", self.args.max_loss]
        if self.args.memory_limit:
            flags += ["--memory-limit", self.args.memory_limit]
        return flags

    def plain(self, text):
        file = self.script(text)
        call = [self.args.tidegate, self.args.data, *self.flags(), "-f", str(file)]
        began = time.perf_counter()
        done = subprocess.run(call, capture_output=True)
        return done, time.perf_counter() - began

    def script(self, text):
        file = self.root / "script.sql"
        file.write_text(text + ";\n")
        return file

    def job(self, name, text, output=None):
        call = [self.args.tidegate, "run", str(self.script(text)), self.args.data, "--job", name, *self.flags()]
        return call + (["-o", str(output)] if output else [])

    def run(self, call):
        began = time.perf_counter()
        done = subprocess.run(call, capture_output=True)
        return done, time.perf_counter() - began

    def killed(self, call, when):
        """Starts a process and kills it when `when` says so; whether it ended before."""
        began = time.perf_counter()
        with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            while process.poll() is None and not when(time.perf_counter() - began):
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return process.returncode == 0, time.perf_counter() - began

    def report(self, name):
        call = [self.args.tidegate, "job", "report", name, "--no-rc", "-q", "-F", "json", "--job-dir", str(self.jobs)]
        return json.loads(subprocess.run(call, capture_output=True, check=True).stdout)

    def forget(self, name):
        shutil.rmtree(self.jobs / name, ignore_errors=True)

    def sealed_files(self, name):
        try:
            return sum(file.endswith(".rows") for file in os.listdir(self.jobs / name / "sealed"))
        except FileNotFoundError:
            return 0

    def end(self):
        shutil.rmtree(self.root, ignore_errors=True)


def tasks(report):
    return sum(stage["tasks_run"] for s in report["statements"] for stage in s["stages"])


def reused(report):
    stages = [stage for s in report["statements"] for stage in s["stages"]]
    return sum(stage["tasks_reused"] for stage in stages), sum(stage["bytes_reused"] for stage in stages)


def kills(args):
    bench, draw = Bench(args), random.Random(args.seed)
    found, killed, after_seal, histogram, wrong = list(queries(args.queries, args.only)), 0, 0, {}, []
    each = max(1, args.kills // len(found))
    for turn, (stem, text) in enumerate(found):
        done, _ = bench.plain(text)
        if done.returncode != 0:
            sys.exit(f"{stem}: {done.stderr.decode()}")
        expected = done.stdout
        output = bench.root / f"{stem}.csv" if turn % 2 else None
        whole, took = bench.run(bench.job("whole", text, output))
        if whole.returncode != 0:
            sys.exit(f"{stem}: {whole.stderr.decode()}")
        needed = tasks(bench.report("whole"))
        bench.forget("whole")
        if output:
            output.unlink()
        name, count, left = f"job-{stem}", 0, draw.randint(1, max(1, 2 * each - 1))
        while left:
            left -= 1
            if draw.random() < 0.5:
                at = draw.uniform(0, took)
                when = lambda passed: passed >= at
            else:
                nth = bench.sealed_files(name) + draw.randint(1, 3)
                when = lambda passed: bench.sealed_files(name) >= nth or passed > 20 * took + 5
            ended, _ = bench.killed(bench.job(name, text, output), when)
            if ended:
                break
            killed, count = killed + 1, count + 1
            after_seal += bench.sealed_files(name) > 0
        # A kill between the last row and the end of the process: the rows went where nobody looked.
        was_over = (bench.jobs / name / "request").exists() and bench.report(name)["state"] == "finished"
        last, _ = bench.run(bench.job(name, text, output))
        report = bench.report(name)
        rows = output.read_bytes() if output else last.stdout
        if last.returncode != 0:
            wrong.append((stem, last.stderr.decode()[:300]))
        elif not output and not rows and expected and not was_over:
            wrong.append((stem, "no rows"))
        elif rows and sorted(rows.splitlines()) != sorted(expected.splitlines()):
            wrong.append((stem, "other rows"))
        elif output and [p for p in bench.root.iterdir() if p.name.startswith(".tidegate-")]:
            wrong.append((stem, "staging was left"))
        elif tasks(report) != needed and report["state"] == "finished":
            wrong.append((stem, f"{tasks(report)} tasks were sealed where {needed} are needed"))
        histogram[count] = histogram.get(count, 0) + 1
        again, of = reused(report)
        print(f"{stem}: {count} kills, {needed} tasks, {again} found sealed ({of} bytes)", flush=True)
        bench.forget(name)
        if output and output.exists():
            output.unlink()
    print(f"{killed} kills, {after_seal} after the first seal, seed {args.seed}; kills a job: {dict(sorted(histogram.items()))}")
    for stem, why in wrong:
        print(f"WRONG {stem}: {why}")
    bench.end()
    sys.exit(1 if wrong else 0)


QUERIES = [
    "select l_returnflag, count(*) c, sum(l_quantity) s, avg(l_extendedprice) a from lineitem group by 1 order by 1",
    "select o_orderpriority, count(*) from orders where exists (select 1 from lineitem where l_orderkey = o_orderkey and l_commitdate < l_receiptdate) group by 1 order by 1",
    "select c_name, o_orderkey, o_totalprice, row_number() over (partition by c_custkey order by o_totalprice desc, o_orderkey) r from customer left join orders on c_custkey = o_custkey where c_custkey < 300 order by 1, 2",
    "select n_name, (select count(*) from supplier where s_nationkey = n_nationkey) k from nation order by 1",
    "select * from nation where n_nationkey not in (select s_nationkey from supplier where s_acctbal > 9000) order by 1",
    "select l_shipmode, round(stddev(l_quantity), 6) from lineitem group by 1 order by 1",
    "select o_orderkey from orders union all select l_orderkey from lineitem where l_quantity > 49 order by 1 limit 500",
    "select distinct l_suppkey % 100 x from lineitem order by x",
    "select c.c_custkey, o.o_orderkey from customer c full join (select * from orders where o_orderkey % 7 = 0) o on c.c_custkey = o.o_custkey order by 1, 2 limit 1000",
    "select p_brand, count(distinct ps_suppkey) from partsupp join part on p_partkey = ps_partkey group by grouping sets ((p_brand), ()) order by 1",
    "select count(*) from generate_series(1, 100000) t(v) where v % 3 = 0",
    "select l_orderkey, l_linenumber from lineitem order by l_extendedprice desc, l_orderkey, l_linenumber limit 20",
    "select n_regionkey, max(n_name) from nation group by 1 having count(*) > (select count(*) from region) - 1 order by 1",
]


def script_of(draw, directory):
    """Random statements, and what they write."""
    statements, written = [], []
    for number, query in enumerate(draw.sample(QUERIES, draw.randint(2, 4))):
        kind, name = draw.randint(0, 4), f"t{number}"
        file, folder = directory / f"o{number}.csv", directory / f"d{number}"
        if kind == 0:
            statements += [query]
        elif kind == 1:
            statements += [f"COPY ({query}) TO '{file}'"]
            written += [file]
        elif kind == 2:
            statements += [f"COPY ({query}) TO '{folder}/' (FORMAT csv)"]
            written += [folder]
        elif kind == 3:
            count = f"SELECT count(*) FROM {name}"
            statements += [f"CREATE TABLE {name} AS {query}", count, f"INSERT INTO {name} SELECT * FROM {name}", count]
        else:
            statements += [f"CREATE VIEW {name} AS {query}", f"SELECT count(*) FROM {name}"]
    return ";\n".join(statements), written


def rows_of(path):
    if path.is_dir():
        files = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
        return sorted(line for file in files for line in file.read_bytes().splitlines()[1:])
    return path.read_bytes() if path.exists() else None


def scripts(args):
    bench, draw, wrong, killed = Bench(args), random.Random(args.seed), 0, 0
    out = bench.root / "out"
    for case in range(args.cases):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        text, written = script_of(draw, out)
        bench.args.mode, bench.args.max_loss = draw.choice(["auto", "all", "none"]), draw.choice(["1us", "1ms", "60s"])
        how = ["--partitions", draw.choice(["0", "1", "3", "8"]), "--threads", draw.choice(["1", "2"])]
        plain, took = bench.run([args.tidegate, args.data, *bench.flags(), *how, "-f", str(bench.script(text))])
        expected = [rows_of(path) for path in written]
        shutil.rmtree(out)
        out.mkdir()
        bench.forget("job")
        for _ in range(draw.randint(0, 4)):
            at = draw.uniform(0, 1.2 * took)
            ended, _ = bench.killed(bench.job("job", text) + how, lambda passed: passed >= at)
            killed += not ended
        was_over = (bench.jobs / "job" / "request").exists() and bench.report("job")["state"] == "finished"
        last, _ = bench.run(bench.job("job", text) + how)
        same = was_over or sorted(plain.stdout.splitlines()) == sorted(last.stdout.splitlines())
        staged = [file for file in out.iterdir() if file.name.startswith(".")]
        if not same or [rows_of(path) for path in written] != expected or staged or last.returncode != plain.returncode:
            wrong += 1
            print(f"WRONG case {case}: {bench.args.mode}, {bench.args.max_loss}, {how}\n{text}\n{last.stderr.decode()[:300]}", flush=True)
    print(f"{args.cases} scripts, {killed} kills, {wrong} wrong, seed {args.seed}")
    bench.end()
    sys.exit(1 if wrong else 0)


def cost(args):
    bench, ratios, repeats = Bench(args), [], []
    print("| query | plain s | durable s | ratio | repeated s, killed at 25, 50, 75, 90 % |")
    print("|---|---:|---:|---:|---|")
    for stem, text in queries(args.queries, args.only):
        plain, durable = [], []
        bench.plain(text)  # brings the files into the page cache
        for _ in range(args.runs):
            done, took = bench.plain(text)
            plain.append(took)
            expected = sorted(done.stdout.splitlines())
            done, took = bench.run(bench.job("whole", text))
            durable.append(took)
            bench.forget("whole")
            if done.returncode or sorted(done.stdout.splitlines()) != expected:
                sys.exit(f"{stem}: other rows, or {done.stderr.decode()}")
        plain_s, durable_s = statistics.median(plain), statistics.median(durable)
        shown = []
        for part in (0.25, 0.5, 0.75, 0.9):
            _, first = bench.killed(bench.job("cut", text), lambda passed: passed >= part * plain_s)
            done, second = bench.run(bench.job("cut", text))
            bench.forget("cut")
            if done.returncode or (done.stdout and sorted(done.stdout.splitlines()) != expected):
                sys.exit(f"{stem}: other rows after a kill, or {done.stderr.decode()}")
            again = first + second - durable_s
            shown.append(f"{again:.2f}")
            repeats.append(again / max(2.0, 0.1 * plain_s))
        ratios.append(durable_s / plain_s)
        print(f"| {stem} | {plain_s:.2f} | {durable_s:.2f} | {ratios[-1]:.3f} | {', '.join(shown)} |", flush=True)
    repeats.sort()
    print(f"\noverhead: geometric mean {statistics.geometric_mean(ratios):.3f}, worst {max(ratios):.3f}; "
          f"repeated work as a part of max(2 s, 10 %): 90th percentile {repeats[int(0.9 * (len(repeats) - 1))]:.2f}")
    bench.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "random", "cost"])
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries")
    parser.add_argument("--only", default="")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mode", default=None)
    parser.add_argument("--max-loss", default="")
    parser.add_argument("--memory-limit", default="")
    parser.add_argument("--work", default=None, help="a directory for jobs and outputs")
    args = parser.parse_args()
    args.mode = args.mode or ("all" if args.what == "kills" else "auto")
    if args.what != "random" and not args.queries:
        parser.error("--queries is needed")
    {"kills": kills, "random": scripts, "cost": cost}[args.what](args)


if __name__ == "__main__":
    main()
