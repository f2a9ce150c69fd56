#!/usr/bin/env -S python3 -B
"""Renders every file of a folder, each in a converter process of its own with 10 s of processor time and 512 MiB.

In:  the converter process (pages-worker), a folder. Out: a line for each file that was not rendered, then a table of
rendered, refused by cause, out of time or memory, and crashed. Exit status 1 when a converter crashed.
"""

import argparse
import collections
import os
import sys

from converter_process import convert

CPU_S = 10
MEMORY_BYTES = 512 << 20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("folder")
    options = parser.parse_args()
    outcomes, pages, in_colour, slowest, largest = collections.Counter(), 0, 0, (0.0, ""), (0.0, "")
    for name in sorted(os.listdir(options.folder)):
        path = os.path.join(options.folder, name)
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            document = file.read()
        answer = convert(options.worker, name, document, memory_bytes=MEMORY_BYTES, cpu_s=CPU_S)
        slowest = max(slowest, (answer.cost.seconds, name))
        largest = max(largest, (answer.cost.memory_mib, name))
        refused = answer.kind if answer.kind in FATAL else f"refused: {answer.kind}"
        outcomes[refused if answer.error else "rendered"] += 1
        pages += answer.pages
        in_colour += answer.in_colour
        if answer.error:
            print(f"{name}: {answer.kind}: {answer.error[:150]}", flush=True)
    for outcome, count in outcomes.most_common():
        print(f"{count:6} {outcome}")
    print(f"{pages} pages, {in_colour} of them drawn in colour first; slowest {slowest[0]:.1f} s ({slowest[1]}), "
          f"largest {largest[0]:.0f} MiB ({largest[1]})")
    sys.exit(1 if outcomes["crashed"] else 0)


FATAL = ("crashed", "timed out", "out of memory")

if __name__ == "__main__":
    main()
