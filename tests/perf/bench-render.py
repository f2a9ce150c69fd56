#!/usr/bin/env -S python3 -B
"""Measures what a page costs, beside Ghostscript: processor time with process start, the same documents, the same run.

In:  the converter process (pages-worker, release), gs; pdftoppm and mutool on the one-page job; documents of
     render_documents.py, or a folder of bench-*.pdf (--documents).
Out: milliseconds a page and the most memory of a converter, the best of alternating rounds, and the ratios (gs ÷ ours).

Ours is the whole converter as the gateway runs it: start, lock, fonts, pages coded in a TIFF-F. Ghostscript writes the same:
tiffg4 at 204 × 196.
"""

import argparse
import glob
import json
import math
import os
import sys
import tempfile

from converter_process import convert, run

ROUNDS = 3
CLASSES = ("text", "vector", "scan-jpeg", "scan-g4", "mixed", "one-page")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--documents", help="a folder with bench-CLASS.pdf instead of our own")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        documents = given(options.documents, folder) if options.documents else made(folder)
        ratios, most = {}, 0.0
        print(f"{'':10} {'pages':>5} {'ours ms':>8} {'gs ms':>8} {'ratio':>6} {'ours MiB':>8} {'gs MiB':>7} "
              f"{'ours kB':>8} {'gs kB':>7} {'in colour':>9}")
        for name in (name for name in CLASSES if name in documents):
            path, pages = documents[name]
            ours, theirs = measure(options.worker, path, pages, folder, options.rounds)
            ratios[name] = theirs[0] / ours[0]
            most = max(most, ours[1])
            print(f"{name:10} {pages:5} {ours[0] * 1e3 / pages:8.1f} {theirs[0] * 1e3 / pages:8.1f} {ratios[name]:6.1f} "
                  f"{ours[1]:8.0f} {theirs[1]:7.0f} {ours[2] / 1e3 / pages:8.1f} {theirs[2] / 1e3 / pages:7.1f} "
                  f"{ours[3]:9}", flush=True)
        others(documents["one-page"][0], folder, options.rounds)
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        each = " ".join(f"{name} {ratios[name]:.1f}" for name in ratios)
        print(f"render ratio vs gs: {each} geomean {mean:.1f}; most memory of a converter {most:.0f} MiB")


def made(folder):
    """Our own documents, made by another process: the memory of a child is never below what its parent had."""
    _, out, err, _ = run([sys.executable, "-B", os.path.join(os.path.dirname(__file__), "render_documents.py"), folder])
    if not out:
        sys.exit(f"error: {err.decode(errors='replace')}")
    return json.loads(out)


def measure(worker, path, pages, folder, rounds):
    """(seconds, MiB, octets, pages in colour) of both, the best of alternating rounds."""
    with open(path, "rb") as file:
        document = file.read()
    ours, theirs = [], []
    for _ in range(rounds):
        answer = convert(worker, os.path.basename(path), document)
        if answer.error or answer.pages != pages:
            sys.exit(f"error: {path}: {answer.pages} pages of {pages}: {answer.error}")
        ours.append((answer.cost.seconds, answer.cost.memory_mib, len(answer.tiff), answer.in_colour))
        out = os.path.join(folder, "gs.tif")
        status, _, err, cost = run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg4", "-r204x196",
                                    "-sOutputFile=" + out, path])
        if status:
            sys.exit(f"error: gs: {err.decode(errors='replace')}")
        theirs.append((cost.seconds, cost.memory_mib, os.path.getsize(out), 0))
    return min(ours), min(theirs)


def others(path, folder, rounds):
    """What else a one-page job could be drawn by."""
    for name, command in (
        ("pdftoppm", ["pdftoppm", "-mono", "-rx", "204", "-ry", "196", path, os.path.join(folder, "p")]),
        ("mutool", ["mutool", "draw", "-q", "-A", "0", "-F", "pbm", "-r", "204", "-o", os.path.join(folder, "m.pbm"), path]),
    ):
        costs = [run(command)[3] for _ in range(rounds)]
        print(f"one-page with {name}: {min(cost.seconds for cost in costs) * 1e3:.0f} ms")


def given(folder, target):
    """bench-CLASS.pdf of a folder; the first page of the text is the one-page job."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "bench-*.pdf"))):
        name = os.path.basename(path)[len("bench-"):-len(".pdf")]
        found[name] = (path, count_pages(path))
    one = os.path.join(target, "one-page.pdf")
    run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=pdfwrite", "-dLastPage=1", "-sOutputFile=" + one,
         found["text"][0]])
    return found | {"one-page": (one, 1)}


def count_pages(path):
    _, out, _, _ = run(["pdfinfo", path])
    return int(next(line.split()[1] for line in out.decode(errors="replace").splitlines() if line.startswith("Pages:")))


if __name__ == "__main__":
    main()
