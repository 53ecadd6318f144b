"""How far estimates are from the truth: the q-error of every join and of every input of a join.

    python q_error.py --tidegate target/release/tidegate --data data/tpch-sf1 --queries data/tpch-queries

The q-error of a step is max(estimated / measured, measured / estimated), with at least one row on both sides, taken from
EXPLAIN ANALYZE. Runtime filters can leave out rows of a join's input before it is measured; inputs that have one are
not counted.
"""

import argparse
import json
import pathlib
import subprocess


def whole(step, stages):
    """The step with the stages that it reads put where it reads them."""
    if step["word"] == "read" and step["detail"].startswith("stage "):
        return whole(stages[int(step["detail"].split()[1])], stages)
    return {**step, "inputs": [whole(inner, stages) for inner in step["inputs"]]}


def steps(step, is_input, found):
    """Joins and their inputs; a shuffle gives what its input gives."""
    inputs = step["inputs"]
    if step["word"] == "shuffle" and len(inputs) == 1:
        return steps(inputs[0], is_input, found)
    estimated, measured = step["estimated"]["rows"], step["measured"]["rows"]
    is_counted = (is_input or step["word"] == "join") and not step["estimated"]["exact"]
    if is_counted and None not in (estimated, measured) and not has_runtime_filter(step):
        found.append((max(estimated, 1), max(measured, 1), f"{step['word']} {step['detail']}"))
    for inner in inputs:
        steps(inner, step["word"] == "join", found)
    return None


def has_runtime_filter(step):
    return "runtime filter" in step["detail"] or (
        step["word"] != "join" and any(has_runtime_filter(inner) for inner in step["inputs"])
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--worst", type=int, default=10)
    arguments = parser.parse_args()
    errors = []
    for path in sorted(pathlib.Path(arguments.queries).glob("*.sql")):
        sql = "EXPLAIN ANALYZE FORMAT json " + path.read_text()
        command = [arguments.tidegate, arguments.data, "--no-rc", "-q", "-F", "ndjson", "-c", sql]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{path.stem}: {run.stderr.strip().splitlines()[0]}")
            continue
        lines = [json.loads(line)["plan"] for line in run.stdout.splitlines()]
        found = []
        stages = json.loads("\n".join(lines))["stages"]
        steps(whole(stages[-1]["steps"], {stage["stage"]: stage["steps"] for stage in stages}), False, found)
        errors += [(max(e / m, m / e), path.stem, e, m, what) for e, m, what in found]
    errors.sort(reverse=True)
    for q, query, estimated, measured, what in errors[: arguments.worst]:
        print(f"{q:10.1f}  {query}: estimated {estimated}, measured {measured}: {what[:90]}")
    ordered = sorted(error[0] for error in errors)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    print(f"{len(ordered)} steps: median {at(0.5):.2f}, 90 % {at(0.9):.2f}, 95 % {at(0.95):.2f}, worst {ordered[-1]:.1f}")


if __name__ == "__main__":
    main()
