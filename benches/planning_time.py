"""What ordering joins adds to planning: EXPLAIN in one process, again and again, with and without it.

    python planning_time.py --tidegate target/release/tidegate --data data/tpch-sf1 --queries data/tpch-queries

Samples are read by the first EXPLAIN of a process and kept, so this is the time of the rules alone.
"""

import argparse
import pathlib
import statistics
import subprocess
import time

def seconds(arguments, query, order, times):
    script = f"SET join_order = {order};\n" + f"EXPLAIN {query.rstrip().rstrip(';')};\n" * times
    command = [arguments.tidegate, arguments.data, "--no-rc", "-q", "-F", "null", "-f", "-"]
    start = time.perf_counter()
    subprocess.run(command, input=script.encode(), check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--times", type=int, default=40, help="how often each query is planned in a process")
    arguments = parser.parse_args()
    added = []
    for path in sorted(pathlib.Path(arguments.queries).glob("*.sql")):
        query = path.read_text()
        one = {order: [] for order in ("off", "auto")}
        for _ in range(3):
            for order, found in one.items():
                first, all_of_them = seconds(arguments, query, order, 1), seconds(arguments, query, order, 1 + arguments.times)
                found.append((all_of_them - first) / arguments.times)
        off, auto = (statistics.median(one[order]) * 1000 for order in ("off", "auto"))
        added.append((auto - off, path.stem, off, auto))
    for more, stem, off, auto in sorted(added, reverse=True)[:5]:
        print(f"{stem}: {off:.2f} ms, with ordering {auto:.2f} ms")
    print(f"{len(added)} queries: adds {statistics.median(more for more, *_ in added):.2f} ms in the median, at most {max(added)[0]:.2f} ms")


if __name__ == "__main__":
    main()
