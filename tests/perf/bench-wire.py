#!/usr/bin/env -S python3 -B
"""Measures what a page costs on the line, beside Ghostscript: octets in each coding, seconds at 14,400 bit/s.

In:  the converter process (pages-worker), the program `coded` of fax-image, gs; documents of render_documents.py, or a folder of
     bench-*.pdf (--documents).
Out: for each class the octets of a page in MH, MR and MMR, the seconds of the shortest, and the ratio (gs ÷ ours).

Both files of pages are decoded and coded by the same encoder, so that only what is drawn is compared. Seconds are those of the
coded page alone: error correction adds 4 % and the handshake between pages 3 to 5 s, whatever is on them.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile

import render_documents
from converter_process import convert, run

BITS_PER_SECOND = 14_400
CODINGS = ("MH", "MR", "MMR")
# Letter pages of Ghostscript are 1734 pixels wide, ours 1728; of fax machines they are 1728.
GHOSTSCRIPT = ["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg4", "-r204x196", "-dAdjustWidth=1728"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--coded", required=True)
    parser.add_argument("--documents", help="a folder with bench-CLASS.pdf instead of our own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        documents = given(options.documents) if options.documents else render_documents.make(folder)
        ratios = {}
        print(f"{'':10} {'':>5} " + " ".join(f"{'ours ' + coding:>9}" for coding in CODINGS)
              + f" {'s/page':>7} " + " ".join(f"{'gs ' + coding:>9}" for coding in CODINGS) + f" {'s/page':>7} {'ratio':>6}")
        for name, entry in sorted(documents.items()):
            path = entry[0]
            ours = coded(options.coded, rendered(options.worker, path, folder))
            theirs = coded(options.coded, ghostscript(path, folder))
            if len(ours) != len(theirs):
                sys.exit(f"error: {path}: {len(ours)} pages of ours, {len(theirs)} of Ghostscript's")
            ratios[name] = seconds(theirs) / seconds(ours)
            print(f"{name:10} {len(ours):5} {columns(ours)} {columns(theirs)} {ratios[name]:6.2f}", flush=True)
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        each = " ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"wire ratio vs gs: {each} geomean {mean:.2f}")


def rendered(worker, path, folder):
    with open(path, "rb") as file:
        answer = convert(worker, os.path.basename(path), file.read())
    if answer.error:
        sys.exit(f"error: {path}: {answer.error}")
    out = os.path.join(folder, "ours.tif")
    with open(out, "wb") as file:
        file.write(answer.tiff)
    return out


def ghostscript(path, folder):
    out = os.path.join(folder, "gs.tif")
    status, _, err, _ = run([*GHOSTSCRIPT, "-sOutputFile=" + out, path])
    if status:
        sys.exit(f"error: gs: {err.decode(errors='replace')}")
    return out


def coded(program, tiff):
    """For each page its octets in each coding."""
    printed = subprocess.run([program, tiff], check=True, capture_output=True, text=True).stdout
    return [[int(octets) for octets in line.split()] for line in printed.splitlines()]


def seconds(pages):
    """Of a page in its shortest coding."""
    return sum(min(page) for page in pages) * 8 / BITS_PER_SECOND / len(pages)


def columns(pages):
    mean = [sum(page[index] for page in pages) / len(pages) for index in range(len(CODINGS))]
    return " ".join(f"{octets:9.0f}" for octets in mean) + f" {seconds(pages):7.1f}"


def given(folder):
    names = sorted(name for name in os.listdir(folder) if name.startswith("bench-") and name.endswith(".pdf"))
    return {name[6:-4]: (os.path.join(folder, name), 0) for name in names}


main()
