#!/usr/bin/env python3
"""Whether queries give the same rows however their stages are run.

    dataflow.py --tidegate BIN --data DIR --queries DIR [--only 1,2] [--partitions 1,2,7,32]

Each query runs as it is by default, and then pipelined and staged in each number of partitions and with one thread. Rows
are compared as a whole, whatever their order; floats by nine digits. A query whose rows are not divided, because something
else than a shuffle would move them, counts as wrong.
"""

import argparse
import subprocess
import sys

from compare import parse_csv, selected


def rows(args, query, partitions, execution, threads):
    ways = [f"SET partitions = {partitions}; SET execution = '{execution}';"] if partitions else []
    script = "\n".join([*ways, query.read_text()])
    command = [args.tidegate, args.data, "--no-rc", "-F", "csv", "-f", "-"]
    if threads:
        command += ["--threads", str(threads)]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=600)
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip().splitlines()[0]}"
    if "not divided" in done.stderr:
        return "its rows are not divided"
    return sorted([shown(value) for value in row] for row in parse_csv(done.stdout))


def shown(value):
    """Sums of floats depend on the order of the rows in their last digits."""
    if value is None:
        return "NULL"
    try:
        return f"{float(value):.9g}" if "." in value or "e" in value else value
    except ValueError:
        return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--only")
    parser.add_argument("--partitions", default="1,2,7,32")
    args = parser.parse_args()
    compared, wrong = 0, []
    for query in selected(args):
        expected = rows(args, query, None, None, None)
        ways = [(count, execution, None) for count in args.partitions.split(",") for execution in ("pipelined", "staged")]
        ways += [("2", "pipelined", 1), ("2", "staged", 1)]
        for way in ways:
            found = rows(args, query, *way)
            compared += 1
            if isinstance(found, str) or found != expected:
                wrong.append(f"{query.stem} {way}: {found if isinstance(found, str) else 'other rows'}")
                print(wrong[-1], flush=True)
    print(f"{compared} runs compared, {len(wrong)} differ")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
