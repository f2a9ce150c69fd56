"""Reads a PostgreSQL log with `log_min_duration_statement = 0`: how often each statement runs in a fax life, and how long it takes
on the server. In: the log on standard input, of a run without claims beside the lives. Out: a table."""

import re
import sys
from collections import Counter

EXECUTED = re.compile(r"duration: ([\d.]+) ms  execute [^:]*: -- (\S+)")


def main():
    """Prints the statements of a life, the most expensive ones first."""
    times, milliseconds = Counter(), Counter()
    for found in EXECUTED.finditer(sys.stdin.read()):
        times[found[2]] += 1
        milliseconds[found[2]] += float(found[1])
    lives = times["notices.sent"]
    if not lives:
        sys.exit("statements: no life in this log; fix: BENCH_STATEMENTS=1 tests/perf/bench-store postgres")
    print("| statement | in a life | each, ms | in a life, ms |\n|---|---|---|---|")
    for name, total in milliseconds.most_common():
        print(f"| {name} | {times[name] / lives:.1f} | {total / times[name]:.3f} | {total / lives:.3f} |")
    statements, total = sum(times.values()) / lives, sum(milliseconds.values()) / lives
    print(f"| all, without begin and commit | {statements:.1f} | {total / statements:.3f} | {total:.2f} |")


if __name__ == "__main__":
    main()
