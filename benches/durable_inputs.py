#!/usr/bin/env python3
"""Durable jobs whose inputs change, and durable jobs that run under other circumstances.

    python durable_inputs.py changes --tidegate BIN [--cases 200] [--seed 1] [--kinds "removed; touched"] [--case 17]
        Scripts of three to five statements over a directory of Parquet, CSV or NDJSON files, flat or by `day=N`. Each is
        killed at a seeded moment (a time, the n-th sealed file, the n-th planned statement, the n-th file of a table), a
        file is changed, and the same command is run again; of some the file is changed while they run. Right is (a) the
        answer of the files as they were, everywhere, or (b) one error that names what was changed, outputs that are old or
        whole, and then with --restart the answer of the files as they are now. Files of tables that the job made are
        changed likewise. Case N of a seed is always the same script, kind and moment.
        original    (a)
        error       (b)
        over        the job had ended before the change: nothing to see
        changed     the answer of the changed files everywhere, where no statement had been planned before the change
        later       of a file that was added: seen by the statements planned after that, and by no other
        documented  only its content tells that a file was changed, and it was not noticed
    python durable_inputs.py determinism --tidegate BIN --data DIR [--queries DIR] [--only 1,6] [--own joins,floats] [--mode all]
            [--partitions 8] [--threads 1,2,7] [--memory-limits 256MiB,1GiB,auto] [--runs 2] [--seed 1]
        Each query as a durable job that writes a CSV and a Parquet file, with each number of threads and each memory limit,
        in seeded order. Prints what EXPLAIN DURABLE says of running it again (the worst of its stages), and whether its
        files are `identical`, an `equal multiset` of rows, or `differs`. Wrong is a query that is not `varies` and differs,
        or is in order and not identical. What ends for a lack of memory is counted, not compared. Besides the queries of a
        directory there are some of its own over TPC-H's tables; --only without a number, or --own with a name that there
        is not, leaves either out.

Exits with 1 on any wrong answer.
"""

import argparse
import collections
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from durable import Bench, queries

CRASHES = {101, 134, 139, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL}
LIMIT = 120  # seconds after which a process hangs
RIGHT = ["original", "error", "over", "changed", "later", "documented"]


# Scripts, and what they give.

STATEMENTS = {
    "create": "CREATE TABLE sums AS SELECT k, count(*) AS c, sum(amount) AS s, sum(id) AS i, {day} AS d FROM {events} "
    "GROUP BY k",
    "insert": "INSERT INTO sums SELECT k + 1000, count(*), sum(amount), sum(id), {day} FROM {events} GROUP BY k",
    "join": "COPY (SELECT e.note, count(*) AS c, sum(s.s) AS s, max(e.amount) AS m FROM {events} e JOIN sums s ON e.k = s.k "
    "GROUP BY e.note ORDER BY e.note) TO '{out}/joined.csv'",
    "copy": "COPY (SELECT * FROM sums ORDER BY k) TO '{out}/sums.ndjson'",
    "labels": "SELECT label, count(*) AS c, sum(amount) AS s, count(DISTINCT note) AS n FROM {events} JOIN kinds USING (kind) "
    "GROUP BY label ORDER BY label",
    "totals": "SELECT count(*) AS c, sum(id) AS i, sum(amount) AS a, (SELECT sum(s) FROM sums) AS s, (SELECT count(*) FROM sums) AS n, "
    "{day} AS d FROM {events}",
}
OUTPUTS = ["joined.csv", "sums.ndjson"]
OLD = b"old\n"


def script_of(draw):
    first, *middle, last = STATEMENTS
    chosen = set(draw.sample(middle, draw.randint(1, 3)))
    return [first, *(name for name in middle if name in chosen), last]


def text_of(script, out, hive, planned=None):
    """The script; of a plain run, with the changed files from the statement on that was not planned before the change."""
    lines = []
    for number, name in enumerate(script):
        events = "events" if planned is None or number < planned else "changed"
        lines.append(STATEMENTS[name].format(events=events, out=out, day="sum(day)" if hive else "sum(0)"))
    return ";\n".join(lines)


def written(out):
    return {name: (out / name).read_bytes() for name in OUTPUTS if (out / name).exists()}


def is_whole(found, out, old):
    """Whether each output is what one of these answers has, or what was there before."""
    now = written(out)
    for name in OUTPUTS:
        allowed = [answer["files"].get(name) for answer in found if answer]
        if now.get(name) not in [*allowed, OLD if old else None]:
            return False
    return True


# Inputs.


@dataclasses.dataclass
class Setting:
    """Files of one format and layout: as they are, and as they are changed to."""

    form: str
    hive: bool
    directory: pathlib.Path  # holds the tables events and kinds
    others: pathlib.Path  # files of the same names and sizes, with other rows

    def name_of(self, number):
        return f"day={number + 1}/part.{self.form}" if self.hive else f"part-{number}.{self.form}"


def settings(bench, rows):
    found = []
    for form in ("parquet", "csv", "ndjson"):
        for hive in (False, True):
            root = bench.root / f"{form}-{'hive' if hive else 'flat'}"
            setting = Setting(form, hive, root / "now", root / "others")
            for directory, salt in ((setting.directory / "events", 0), (setting.others, 17)):
                for number in range(4):
                    make(bench, directory / setting.name_of(number), form, number, rows, salt)
            (setting.directory / "kinds.csv").write_text("kind,label\n" + "".join(f"{n},kind {n}\n" for n in range(8)))
            # The fourth is what is added.
            last = setting.directory / "events" / setting.name_of(3)
            last.unlink()
            if hive:
                last.parent.rmdir()
            found.append(setting)
    return found


def make(bench, path, form, number, rows, salt):
    path.parent.mkdir(parents=True, exist_ok=True)
    first = 100_001 + number * rows
    how = "FORMAT parquet, COMPRESSION uncompressed" if form == "parquet" else f"FORMAT {form}"
    text = (
        f"COPY (SELECT v AS id, v % 997 AS k, v % 8 AS kind, 1000 + (v * 7919 + {salt}) % 9000 AS amount, "
        f"'note ' || (100 + (v * 31) % 131) AS note FROM generate_series({first}, {first + rows - 1}) t(v)) TO '{path}' ({how})"
    )
    done = subprocess.run([bench.args.tidegate, "--no-rc", "-q", "-c", text], capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())


# Changes.


@dataclasses.dataclass
class Place:
    """What is changed: a file in a directory of a table."""

    directory: pathlib.Path
    file: pathlib.Path
    other: pathlib.Path  # a file with other rows
    extra: pathlib.Path  # a file to add
    added: pathlib.Path  # where it is added
    spare: pathlib.Path  # a place on the same file system that no table is in
    draw: random.Random


def removed(place):
    place.file.unlink()


def truncated(place):
    os.truncate(place.file, place.draw.randrange(place.file.stat().st_size))


def appended(place):
    data = place.other.read_bytes()
    lines = data.splitlines(keepends=True)[1:20]
    with open(place.file, "ab") as file:
        file.write(data[-100:] if place.file.suffix == ".parquet" else b"".join(lines))


def flipped(place):
    with open(place.file, "r+b") as file:
        at = place.draw.randrange(place.file.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << place.draw.randrange(8)]))


def replaced(place):
    copy = place.spare / "replacement"
    shutil.copyfile(place.other, copy)
    os.replace(copy, place.file)


def replaced_at_the_same_time(place):
    was = place.file.stat()
    replaced(place)
    os.utime(place.file, ns=(was.st_atime_ns, was.st_mtime_ns))


def rewritten_at_the_same_time(place):
    was, data = place.file.stat(), place.other.read_bytes()
    assert len(data) == was.st_size
    with open(place.file, "r+b") as file:
        file.write(data)
    os.utime(place.file, ns=(was.st_atime_ns, was.st_mtime_ns))


def touched(place):
    os.utime(place.file)


def added(place):
    place.added.parent.mkdir(exist_ok=True)
    copy = place.spare / "addition"
    shutil.copyfile(place.extra, copy)
    os.replace(copy, place.added)


def remove_tree(directory):
    """Removes a directory in which the job may be staging files at the same time."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def directory_removed(place):
    remove_tree(place.directory)


def directory_linked(place):
    copy = place.spare / "copy"
    shutil.copytree(place.directory, copy)
    remove_tree(place.directory)
    place.directory.symlink_to(copy)


def directory_for_file(place):
    place.file.unlink()
    place.file.mkdir()


def unreadable(place):
    place.file.chmod(0)


def partition_removed(place):
    remove_tree(place.file.parent)


INPUT_KINDS = {
    "removed": removed,
    "truncated": truncated,
    "appended": appended,
    "flipped": flipped,
    "replaced": replaced,
    "replaced, time restored": replaced_at_the_same_time,
    "rewritten, time restored": rewritten_at_the_same_time,
    "touched": touched,
    "added": added,
    "directory removed": directory_removed,
    "directory linked": directory_linked,
    "directory for file": directory_for_file,
    "unreadable": unreadable,
    "partition added": added,
    "partition removed": partition_removed,
}
TABLE_KINDS = {
    "table: removed": removed,
    "table: truncated": truncated,
    "table: flipped": flipped,
    "table: replaced": replaced,
    "table: added": added,
    "table: directory removed": directory_removed,
}
ADDING = ("added", "partition added")
KINDS = {**INPUT_KINDS, **TABLE_KINDS}


# One case.


class Wrong(Exception):
    def __init__(self, what, detail=""):
        super().__init__(what)
        self.what, self.detail = what, detail


class Case:
    def __init__(self, campaign, number):
        args = campaign.bench.args
        self.campaign, self.bench, self.number = campaign, campaign.bench, number
        self.draw = random.Random(f"{args.seed}-{number}")
        self.kind = campaign.kinds[number % len(campaign.kinds)]
        self.of_table = self.kind in TABLE_KINDS
        fitting = [s for s in campaign.settings if s.hive or not self.kind.startswith("partition")]
        self.setting = self.draw.choice(fitting)
        self.script = script_of(self.draw)
        self.old = self.draw.random() < 0.5
        self.how = ["--partitions", self.draw.choice(["1", "4"]), "--threads", "2"]
        self.name = f"job-{number}"
        self.job = self.bench.jobs / self.name
        self.inputs, self.out, self.spare = (self.bench.root / name for name in ("in", "out", "spare"))
        self.target = self.draw.randrange(3)
        self.changing = self.draw.choice(["after the kill"] * 3 + ["before the kill", "while it runs"])
        self.moment = self.draw_moment()
        self.pause = self.draw.uniform(0, 0.05)
        self.planned = None
        self.place = None

    def draw_moment(self):
        kind = self.draw.choice(["tables", "tables", "time"] if self.of_table else ["time", "sealed", "planned", "planned"])
        if kind == "time":
            return kind, self.draw.random()
        most = {"sealed": 4, "planned": len(self.script), "tables": 2}[kind]
        return kind, self.draw.randint(1, most)

    def __str__(self):
        layout = "day=N" if self.setting.hive else "flat"
        at = f"{self.moment[0]} {self.moment[1]:.3g}"
        return (
            f"case {self.number} (seed {self.bench.args.seed}): {self.kind}, {self.setting.form} {layout}, changed "
            f"{self.changing} at {at} and {self.pause * 1000:.0f} ms, {self.planned} of {len(self.script)} statements planned "
            f"({', '.join(self.script)}), {' '.join(self.how)}"
        )

    def prepare(self):
        for directory in (self.inputs, self.out, self.spare):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.setting.directory, self.inputs)
        self.out.mkdir()
        self.spare.mkdir()
        if self.old:
            for name in OUTPUTS:
                (self.out / name).write_bytes(OLD)
        self.bench.forget(self.name)

    def command(self, *more):
        text = text_of(self.script, self.out, self.setting.hive)
        return self.bench.job(self.name, text) + self.how + ["--json-errors", *more]

    def run(self, *more):
        try:
            return subprocess.run(self.command(*more), capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise Wrong("hangs") from None

    def specs(self):
        try:
            return sum(name.endswith(".spec") for name in os.listdir(self.job))
        except FileNotFoundError:
            return 0

    def table_files(self):
        found = (self.job / "tables").glob("[!._]*/[!._]*")
        return sorted(file for file in found if file.is_file())

    def has_come(self, passed, took):
        kind, at = self.moment
        if kind == "time":
            return passed >= at * took
        count = {"planned": self.specs, "tables": lambda: len(self.table_files())}.get(kind)
        return (count() if count else self.bench.sealed_files(self.name)) >= at

    def start_and_change(self):
        """Runs the job up to its moment, kills it before or after the change or not at all; what it gave if it was left."""
        took = self.campaign.original(self)["seconds"]
        out, err = self.bench.root / "stdout", self.bench.root / "stderr"
        with open(out, "wb") as rows, open(err, "wb") as errors:
            process = subprocess.Popen(self.command(), stdout=rows, stderr=errors)
            began = time.perf_counter()
            while process.poll() is None and not self.has_come(time.perf_counter() - began, took):
                time.sleep(0.001)
            if self.changing != "while it runs":
                time.sleep(self.pause)
            if self.changing == "after the kill":
                process.kill()
                process.wait()
            changed = process.poll() in (None, -signal.SIGKILL) and self.change()
            if self.changing == "before the kill" and changed:
                time.sleep(self.pause)
                process.kill()
            try:
                process.wait(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Wrong("hangs") from None
        self.check_end(process.returncode, err.read_bytes())
        if not changed:
            return None
        return process.returncode, out.read_bytes(), err.read_bytes()

    def check_end(self, code, errors):
        if code in CRASHES:
            raise Wrong(f"crash {code}", errors.decode()[:600])

    def change(self):
        """Changes a file, unless there is none yet or the job is over."""
        self.planned = self.specs()
        if self.of_table:
            self.place = self.place_in_table()
        else:
            self.place = self.place_in_inputs()
        if self.place is None:
            return False
        KINDS[self.kind](self.place)
        return True

    def place_in_inputs(self):
        setting, events = self.setting, self.inputs / "events"
        name, extra = setting.name_of(self.target), setting.name_of(3)
        if setting.hive and self.kind == "added":
            added_name = f"day={self.target + 1}/part-3.{setting.form}"
        else:
            added_name = extra
        return Place(
            events, events / name, setting.others / name, setting.others / extra, events / added_name, self.spare, self.draw
        )

    def place_in_table(self):
        files = self.table_files()
        if not files:
            return None
        file = self.draw.choice(files)
        other = self.spare / "other.parquet"
        text = f"COPY (SELECT k + 5 AS k, c, s, i, d FROM '{file}') TO '{other}'"
        done = subprocess.run([self.bench.args.tidegate, "--no-rc", "-q", "-c", text], capture_output=True)
        if done.returncode:
            sys.exit(done.stderr.decode())
        added_name = self.draw.choice(["added.parquet", file.name.replace("part-", "part-0")])
        return Place(file.parent, file, other, other, file.parent / added_name, self.spare, self.draw)

    def names_it(self, message):
        """Whether an error names the file that was changed, or its directory, and no other file."""
        if self.kind in (*ADDING, "table: added"):
            named = [self.place.added, self.place.directory]
        else:
            named = [self.place.file, self.place.directory]
        siblings = [self.inputs / "events" / self.setting.name_of(n) for n in range(3)]
        whole = self.kind.endswith(("directory removed", "directory linked"))
        others = [file for file in siblings if file != self.place.file and not whole]
        if self.of_table:
            others = siblings
        if any(str(file) in message for file in others):
            return False
        return any(str(path) in message or f"`{path.name}`" in message for path in named)

    def outcome(self):
        self.prepare()
        result = self.start_and_change()
        if result is None:
            return "over"
        if self.changing != "while it runs":  # it is killed: once more
            if self.is_over():
                return "over"
            done = self.run()
            result = done.returncode, done.stdout, done.stderr
        code, rows, errors = result
        self.check_end(code, errors)
        word = self.success(rows) if code == 0 else self.failure(code, rows, errors)
        staged = [path.name for path in self.out.iterdir() if path.name.startswith(".")]
        if staged and word != "error":
            raise Wrong("staging was left", ", ".join(staged))
        return word

    def is_over(self):
        return (self.job / "request").exists() and self.bench.report(self.name)["state"] == "finished"

    def success(self, rows):
        if self.campaign.original(self)["rows"] == rows and self.has_files(self.campaign.original(self)):
            return "original"
        if self.kind.startswith("rewritten"):
            return "documented"
        if self.of_table:
            raise Wrong("a table of the job is not what it made", self.difference(rows))
        answers = [self.campaign.mixed(self, planned) for planned in range(len(self.script))]
        fitting = [n for n, answer in enumerate(answers) if answer and answer["rows"] == rows and self.has_files(answer)]
        if self.kind in ADDING and any(planned >= self.planned for planned in fitting):
            return "later"
        if 0 in fitting and self.planned == 0:
            return "changed"
        if fitting and fitting[-1]:
            raise Wrong("a mixture", f"{fitting[-1]} statements of the old input, then the new: {self.difference(rows)}")
        raise Wrong("the new input, though planned" if fitting else "other rows", self.difference(rows))

    def has_files(self, answer):
        now = written(self.out)
        return all(now.get(name, OLD) == answer["files"].get(name, OLD) for name in OUTPUTS)

    def difference(self, rows):
        original = self.campaign.original(self)
        lines = [f"printed {ending(rows)}, of the original {ending(original['rows'])}"]
        now = written(self.out)
        lines += [f"{name} is not that of the original" for name in original["files"] if now.get(name) != original["files"][name]]
        return "; ".join(lines)

    def failure(self, code, rows, errors):
        message = one_error(errors)
        original = self.campaign.original(self)
        answers = [original]
        if self.kind in ADDING:
            answers += [self.campaign.mixed(self, planned) for planned in range(self.planned, len(self.script))]
        if not any(is_beginning(rows, answer["rows"]) for answer in answers if answer):
            raise Wrong("rows of a statement that failed", f"{ending(rows)} before {message}")
        if not is_whole(answers + [self.campaign.mixed(self, 0)] * (self.planned == 0), self.out, self.old):
            raise Wrong("an output is not whole", message)
        if not self.names_it(message):
            raise Wrong("the error names something else", f"{code}: {message}")
        self.campaign.codes[code] += 1
        self.restart(message)
        return "error"

    def restart(self, message):
        done = self.run("--restart")
        self.check_end(done.returncode, done.stderr)
        expected = self.campaign.original(self) if self.of_table else self.campaign.mixed(self, 0)
        if expected is None:
            if done.returncode == 0:
                raise Wrong("--restart works where the plain script fails", f"first: {message}")
            one_error(done.stderr)
        elif done.returncode:
            raise Wrong("--restart fails", f"first: {message}; then {done.stderr.decode()[:500]}")
        elif done.stdout != expected["rows"] or not self.has_files(expected):
            raise Wrong("--restart gives other rows", f"first: {message}; {self.difference(done.stdout)}")


def ending(rows):
    return repr(rows.decode().strip()[-100:])


def is_beginning(rows, of):
    """Whether these are whole results of the first statements: an empty line is between two."""
    results = of.split(b"\n\n")
    starts = [b"\n\n".join(results[:n]).rstrip(b"\n") for n in range(len(results) + 1)]
    return rows.rstrip(b"\n") in starts


def one_error(errors):
    try:
        found = [json.loads(line) for line in errors.splitlines()]
    except ValueError:
        raise Wrong("an error that is not JSON", errors.decode()[:600]) from None
    messages = [entry["message"] for entry in found if entry["level"] == "error"]
    if len(messages) != 1:
        raise Wrong(f"{len(messages)} errors", errors.decode()[:600])
    return messages[0]


class Campaign:
    def __init__(self, args):
        self.bench = Bench(args)
        self.bench.args.data = str(self.bench.root / "in")
        self.settings = settings(self.bench, args.rows)
        wanted = [kind.strip() for kind in args.kinds.split(";")] if args.kinds else list(KINDS)
        if unknown := [kind for kind in wanted if kind not in KINDS]:
            sys.exit(f"there is no kind {unknown[0]}; there are: {'; '.join(KINDS)}")
        self.kinds = [kind for kind in wanted if kind != "unreadable" or os.geteuid() != 0]
        if len(self.kinds) < len(wanted):
            print("unreadable: left out, everything can be read as root")
        self.originals, self.codes = {}, collections.Counter()

    def plain(self, case, planned):
        """What the script gives without a job; nothing if it fails."""
        out = self.bench.root / "plain"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        script = self.bench.root / "plain.sql"
        script.write_text(text_of(case.script, out, case.setting.hive, planned) + ";\n")
        call = [self.bench.args.tidegate, str(case.setting.directory), "--no-rc", "-q", "-F", "csv", "-f", str(script)]
        began = time.perf_counter()
        done = subprocess.run(call, capture_output=True, timeout=LIMIT)
        took = time.perf_counter() - began
        if done.returncode in CRASHES:
            raise Wrong(f"crash {done.returncode} without a job", done.stderr.decode()[:600])
        return {"rows": done.stdout, "files": written(out), "seconds": took} if done.returncode == 0 else None

    def original(self, case):
        key = (case.setting.form, case.setting.hive, tuple(case.script))
        if key not in self.originals:
            self.originals[key] = self.plain(case, None)
            if self.originals[key] is None:
                sys.exit(f"{case}: the script fails without a job")
        return self.originals[key]

    def mixed(self, case, planned):
        """What the script gives whose statements from this one on read the changed files."""
        changed = case.setting.directory / "changed"
        if (case.inputs / "events").exists():
            shutil.copytree(case.inputs / "events", changed)
        try:
            return self.plain(case, planned)
        finally:
            shutil.rmtree(changed, ignore_errors=True)


def changes(args):
    campaign = Campaign(args)
    table, wrong = collections.defaultdict(collections.Counter), []
    numbers = range(args.cases) if args.case is None else [args.case]
    for number in numbers:
        case = Case(campaign, number)
        try:
            word = case.outcome()
        except Wrong as error:
            word = "WRONG"
            wrong.append((case.kind, error.what))
            print(f"WRONG {case}\n  {error.what}: {error.detail}", flush=True)
        table[case.kind][word] += 1
        campaign.bench.forget(case.name)
    print_counts(table)
    for (kind, what), count in sorted(collections.Counter(wrong).items()):
        print(f"wrong: {kind}: {what}: {count}")
    codes = ", ".join(f"{count} with {code}" for code, count in sorted(campaign.codes.items()))
    print(f"{len(numbers)} cases, {sum(c['over'] for c in table.values())} ended before the change, {len(wrong)} wrong, "
          f"seed {args.seed}; errors by exit code: {codes or 'none'}")
    campaign.bench.end()
    sys.exit(1 if wrong else 0)


def print_counts(table):
    words = [word for word in [*RIGHT, "WRONG"] if any(counts[word] for counts in table.values())]
    print(f"| change | {' | '.join(words)} |\n|---|{'---:|' * len(words)}")
    for kind in sorted(table, key=list(KINDS).index):
        print(f"| {kind} | {' | '.join(str(table[kind][word]) for word in words)} |")


# Determinism.

OWN = {
    "joins": "SELECT c_custkey, o_orderkey, n_name FROM customer LEFT JOIN orders ON c_custkey = o_custkey JOIN nation "
    "ON c_nationkey = n_nationkey WHERE c_custkey % 5 = 0",
    "joins-ordered": "SELECT n_name, o_orderpriority, count(*) AS c, sum(o_totalprice) AS s FROM customer JOIN orders ON "
    "c_custkey = o_custkey JOIN nation ON c_nationkey = n_nationkey GROUP BY 1, 2 ORDER BY 1, 2",
    "decimals": "SELECT l_partkey % 5000 AS k, sum(l_extendedprice * (1 - l_discount)) AS s, avg(l_quantity) AS a FROM lineitem "
    "GROUP BY 1 ORDER BY 1",
    "decimals-unordered": "SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount)) AS s, avg(l_quantity) AS a FROM lineitem "
    "GROUP BY 1",
    "floats": "SELECT l_suppkey, sum(CAST(l_extendedprice AS DOUBLE) * 0.1::DOUBLE) AS s, avg(CAST(l_extendedprice AS DOUBLE) / 3) "
    "AS a, stddev(CAST(l_extendedprice AS DOUBLE)) AS d FROM lineitem GROUP BY 1 ORDER BY 1",
    "floats-total": "SELECT sum(CAST(l_extendedprice AS DOUBLE) / 3) AS s, avg(CAST(l_discount AS DOUBLE)) AS a, "
    "stddev(CAST(l_tax AS DOUBLE)) AS d, corr(CAST(l_tax AS DOUBLE), CAST(l_quantity AS DOUBLE)) AS c FROM lineitem",
    "floats-extremes": "SELECT l_returnflag, max(CAST(l_extendedprice AS DOUBLE) / 3) AS m, min(CAST(l_tax AS DOUBLE)) AS n "
    "FROM lineitem GROUP BY 1 ORDER BY 1",
    "window-ties": "SELECT l_orderkey, l_linenumber, row_number() OVER (PARTITION BY l_suppkey ORDER BY l_shipdate) AS r "
    "FROM lineitem WHERE l_orderkey < 400000 ORDER BY l_orderkey, l_linenumber",
    "window-ranks": "SELECT l_orderkey, l_linenumber, rank() OVER (PARTITION BY l_suppkey ORDER BY l_shipdate) AS r, "
    "sum(l_quantity) OVER (PARTITION BY l_suppkey ORDER BY l_shipdate) AS s FROM lineitem WHERE l_orderkey < 400000 ORDER BY 1, 2",
    "order-ties": "SELECT l_shipmode, l_orderkey, l_quantity FROM lineitem WHERE l_orderkey < 400000 ORDER BY l_shipmode",
    "order-ties-limit": "SELECT l_shipmode, l_orderkey, l_quantity FROM lineitem ORDER BY l_shipmode LIMIT 1000",
    "order-ties-hidden": "SELECT l_quantity FROM lineitem WHERE l_orderkey < 400000 ORDER BY l_shipmode, l_shipdate",
    "limit": "SELECT l_orderkey, l_linenumber FROM lineitem WHERE l_quantity > 40 LIMIT 1000",
    "limit-of-groups": "SELECT count(*) AS c FROM (SELECT l_partkey FROM lineitem GROUP BY l_partkey LIMIT 1000) t",
    "distinct": "SELECT DISTINCT l_partkey, l_shipmode FROM lineitem",
    "count-distinct": "SELECT l_shipmode, count(DISTINCT l_partkey) AS p, count(DISTINCT l_suppkey) AS s FROM lineitem GROUP BY 1 "
    "ORDER BY 1",
    "string-agg": "SELECT l_suppkey, string_agg(l_shipmode, ',') AS m FROM lineitem WHERE l_orderkey < 400000 GROUP BY 1 ORDER BY 1",
    "string-agg-ordered": "SELECT l_suppkey, string_agg(l_shipmode, ',' ORDER BY l_orderkey, l_linenumber) AS m FROM lineitem "
    "WHERE l_orderkey < 400000 GROUP BY 1 ORDER BY 1",
    "array-agg-ties": "SELECT l_suppkey, array_agg(l_orderkey ORDER BY l_shipdate) AS o FROM lineitem WHERE l_orderkey < 400000 "
    "GROUP BY 1 ORDER BY 1",
    "first-value": "SELECT l_suppkey, first_value(l_orderkey) AS f FROM lineitem GROUP BY 1 ORDER BY 1",
    "median": "SELECT l_shipmode, median(l_quantity) AS m, approx_distinct(l_partkey) AS d FROM lineitem GROUP BY 1 ORDER BY 1",
    "union-all": "SELECT o_orderkey AS k FROM orders UNION ALL SELECT l_orderkey FROM lineitem WHERE l_quantity > 49",
    "full-join": "SELECT c_custkey, o_orderkey FROM customer FULL JOIN (SELECT * FROM orders WHERE o_orderkey % 7 = 0) o "
    "ON c_custkey = o_custkey ORDER BY 1, 2",
    "random": "SELECT l_orderkey, l_linenumber, random() AS r FROM lineitem WHERE l_orderkey < 100000 ORDER BY 1, 2",
    "random-filter": "SELECT count(*) AS c FROM lineitem WHERE random() < 0.5",
    "uuid": "SELECT n_nationkey, uuid() AS u FROM nation ORDER BY 1",
}


def is_ordered(text):
    """Whether there is an ORDER BY outside of all parentheses."""
    text, before = re.sub(r"--[^\n]*", "", text), None
    while text != before:
        before, text = text, re.sub(r"\([^()]*\)", "", text)
    return re.search(r"\border\s+by\b", text, re.I) is not None


class Determinism:
    def __init__(self, args):
        self.bench, self.args = Bench(args), args
        self.out = self.bench.root / "out"

    def text(self, query, explain=False):
        copies = [f"COPY ({query}) TO '{self.out}/rows.{form}' (FORMAT {form})" for form in ("csv", "parquet")]
        first = f"SET partitions = {self.args.partitions}"
        return ";\n".join([first, f"EXPLAIN (DURABLE, FORMAT json) {copies[0]}"] if explain else [first, *copies])

    def repeats(self, query):
        """What EXPLAIN says of running the stages again: the worst."""
        done, _ = self.bench.plain(self.text(query, explain=True))
        if done.returncode:
            return None, done.stderr.decode()
        lines = [row[0] for row in csv.reader(io.StringIO(done.stdout.decode())) if row]
        stages = json.loads("\n".join(lines[1:]))["stages"]
        words = {stage["run_again"] for stage in stages}
        return next(word for word in ("varies", "unordered", "exact") if word in words), None

    def once(self, query, threads, limit):
        """The two files of one run; the exit code if it failed."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        self.bench.forget("job")
        self.bench.args.memory_limit = "" if limit == "auto" else limit
        done, _ = self.bench.run(self.bench.job("job", self.text(query)) + ["--threads", threads])
        self.bench.forget("job")
        if done.returncode:
            return done.returncode, done.stderr.decode()
        return 0, {form: self.digests(self.out / f"rows.{form}") for form in ("csv", "parquet")}

    def digests(self, path):
        """Of the bytes, and of the rows in any order."""
        data = path.read_bytes()
        rows = data
        if path.suffix == ".parquet":
            rows = subprocess.run([self.args.tidegate, "--no-rc", "-q", "-F", "csv", "-c", f"SELECT * FROM '{path}'"],
                                  capture_output=True, check=True).stdout
        ordered = b"\n".join(sorted(rows.splitlines()))
        return hashlib.sha256(data).hexdigest()[:12], hashlib.sha256(ordered).hexdigest()[:12]

    def query(self, name, query, runs):
        """One line for a query, and whether it is wrong."""
        repeats, error = self.repeats(query)
        if error:
            return f"{name}: refused: {error.strip()[:200]}", "refused"
        seen, short, failed = {form: collections.defaultdict(list) for form in ("csv", "parquet")}, 0, []
        for threads, limit, turn in runs:
            code, found = self.once(query, threads, limit)
            is_short = code in (3, 4) and "memory" in found
            short += is_short
            if code and not is_short:
                failed.append(f"{threads} threads, {limit}: exit code {code}: {found.strip()[:300]}")
            for form in seen if code == 0 else []:
                seen[form][found[form]].append(f"{threads} threads, {limit}, run {turn + 1}")
        words = {form: agreement(seen[form]) for form in seen}
        worst = max(words.values(), key=["none", "identical", "equal multiset", "differs"].index)
        wrong = bool(failed) or (repeats != "varies" and (worst == "differs" or worst == "equal multiset" and is_ordered(query)))
        order = "ordered" if is_ordered(query) else "no order"
        line = f"{name}: {worst} ({repeats}, {order}; {sum(map(len, seen['csv'].values()))} runs, {short} short of memory)"
        if words["csv"] != words["parquet"]:
            line += f"; CSV {words['csv']}, Parquet {words['parquet']}"
        if failed or wrong:
            line = "\n  ".join([f"WRONG {line}", *failed, *groups(seen)])
        return line, "WRONG" if wrong else f"{repeats}: {worst}"


def agreement(seen):
    if not seen:
        return "none"
    if len(seen) == 1:
        return "identical"
    return "equal multiset" if len({rows for _, rows in seen}) == 1 else "differs"


def groups(seen):
    for form, found in seen.items():
        for (data, rows), runs in found.items():
            yield f"{form} {data}, rows {rows}: {'; '.join(runs)}"


def determinism(args):
    found = Determinism(args)
    own = set(args.own.split(",")) if args.own else set(OWN)
    texts = {name: text for name, text in OWN.items() if name in own}
    if args.queries:
        texts.update(queries(args.queries, args.only))
    runs = [(t, m, n) for t in args.threads.split(",") for m in args.memory_limits.split(",") for n in range(args.runs)]
    draw, counts = random.Random(args.seed), collections.Counter()
    for name, text in texts.items():
        draw.shuffle(runs)
        line, word = found.query(name, text, runs)
        counts[word] += 1
        print(line, flush=True)
    shown = ", ".join(f"{word} {count}" for word, count in sorted(counts.items()))
    print(f"{len(texts)} queries, {len(runs)} runs each, mode {args.mode}, seed {args.seed}: {shown}")
    found.bench.end()
    sys.exit(1 if counts["WRONG"] else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["changes", "determinism"])
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", default=None, help="a directory for jobs and outputs")
    parser.add_argument("--mode", default="all")
    parser.add_argument("--max-loss", default="")
    parser.add_argument("--memory-limit", default="")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--case", type=int, default=None, help="only this one")
    parser.add_argument("--kinds", default="", help="only these, with `;` between them")
    parser.add_argument("--rows", type=int, default=60_000, help="in each of the three files")
    parser.add_argument("--data")
    parser.add_argument("--queries")
    parser.add_argument("--only", default="")
    parser.add_argument("--own", default="", help="of its own queries only these")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--threads", default="1,2,7")
    parser.add_argument("--memory-limits", default="256MiB,1GiB,auto")
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args()
    if args.what == "determinism" and not args.data:
        parser.error("--data is needed")
    {"changes": changes, "determinism": determinism}[args.what](args)


if __name__ == "__main__":
    main()
