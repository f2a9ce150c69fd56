#!/usr/bin/env -S python3 -B
"""Measures how well pages can be read: tesseract on our pages and on Ghostscript's, against the text that was set.

In:  the converter process (pages-worker), gs, tesseract with English, libtiff's and libjpeg's programs.
Out: for each document and density the share of its characters that tesseract recovers from ours and from Ghostscript's
     page (tiffg4); exit status 1 when ours is below Ghostscript's on one.

Standard pages are stretched to square pixels for tesseract by doubling their rows, both alike. What is within the noise of
one letter in three hundred counts as equal.
"""

import argparse
import difflib
import os
import struct
import subprocess
import sys
import tempfile

import render_documents
from converter_process import convert, run
from render_documents import Source, page, paragraph, to_pdf, words

NOISE = 1 / 300
LINES = 26
DENSITIES = (("standard", 98), ("fine", 196))


def documents(folder):
    """[(name, path, text)]: one page each."""
    source = Source([word for word in words() if word.isalpha()])
    made = []

    def add(name, font, size, width, before="0 setgray\n", leading=1.3):
        texts = source.lines(LINES, width)
        body = before + paragraph(texts, 72, 700, size, size * leading, font)
        path = os.path.join(folder, name + ".pdf")
        to_pdf(page(body), path)
        made.append((name, path, " ".join(texts)))

    add("serif", "Times-Roman", 11, 84)
    add("sans", "Helvetica", 10, 84)
    add("typewriter", "Courier", 10, 72)
    add("small sans", "Helvetica", 8, 100)
    add("small serif", "Times-Roman", 8.5, 100)
    add("bold", "Helvetica-Bold", 11, 72)
    add("italics", "Times-Italic", 11, 84)
    add("condensed", "Helvetica-Narrow", 10, 90)
    add("book face", "Palatino-Roman", 10, 80)
    add("blue", "Helvetica", 10, 80, "0 0 0.9 setrgbcolor\n")
    add("red", "Times-Roman", 11, 84, "0.9 0.1 0.1 setrgbcolor\n")
    add("grey", "Helvetica", 10, 80, "0.55 setgray\n")
    add("on a tint", "Helvetica", 10, 80, "0.8 setgray 60 300 490 420 rectfill 0 setgray\n")
    add("white on blue", "Helvetica-Bold", 10, 80, "0.1 0.15 0.4 setrgbcolor 60 300 490 420 rectfill 1 setgray\n")
    add("table", "Helvetica", 9, 84, table_ground(9 * 1.6), 1.6)
    for name, scan in (("grey scan", "scan-jpeg"), ("G4 scan", "scan-g4")):
        inner = os.path.join(folder, scan)
        os.mkdir(inner)
        render_documents.scans(made[0][1], inner, 1)
        made.append((name, os.path.join(inner, scan + ".pdf"), made[0][2]))
    return made


def table_ground(leading):
    rows = "".join(f"60 {700 - leading * i - 4:.1f} 490 {leading:.1f} rectfill\n" for i in range(0, LINES, 2))
    lines = "".join(f"60 {700 - leading * i - 4:.1f} moveto 490 0 rlineto stroke\n" for i in range(LINES + 1))
    return f"0.85 0.9 1 setrgbcolor\n{rows}0.5 setgray 0.5 setlinewidth\n{lines}0 setgray\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--keep", help="a folder for the pages as PBM, to look at")
    parser.add_argument("--only", nargs="*", help="these documents alone, by name")
    options = parser.parse_args()
    worse = 0
    with tempfile.TemporaryDirectory() as folder:
        made = [item for item in documents(folder) if not options.only or item[0] in options.only]
        print(f"{'':14} " + " ".join(f"{'ours ' + str(d):>9} {'gs ' + str(d):>9}" for _, d in DENSITIES))
        for name, path, truth in made:
            shown = []
            for quality, density in DENSITIES:
                ours, theirs = pages_of(options.worker, path, quality, density, folder)
                scores = [score(truth, pbm, folder) for pbm in (ours, theirs)]
                if options.keep:
                    for who, pbm in (("ours", ours), ("gs", theirs)):
                        with open(os.path.join(options.keep, f"{name}-{density}-{who}.pbm"), "wb") as file:
                            file.write(pbm)
                low = scores[0] < scores[1] - NOISE
                worse += low
                shown.append(f"{scores[0]:9.4f} {scores[1]:9.4f}{'!' if low else ' '}")
            print(f"{name:14} " + "".join(shown), flush=True)
        print(f"legibility: ours at or above Ghostscript's on {len(made) * len(DENSITIES) - worse} of "
              f"{len(made) * len(DENSITIES)} pages, {len(made)} documents")
    sys.exit(1 if worse else 0)


def pages_of(worker, path, quality, density, folder):
    """The first page by both, as PBM with square pixels."""
    with open(path, "rb") as file:
        answer = convert(worker, os.path.basename(path), file.read(), quality=quality)
    if answer.error:
        sys.exit(f"error: {path}: {answer.error}")
    own, gs = os.path.join(folder, "own.tif"), os.path.join(folder, "gs.tif")
    with open(own, "wb") as file:
        file.write(answer.tiff)
    subprocess.run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg4", f"-r204x{density}",
                    "-sOutputFile=" + gs, path], check=True)
    return [pbm(tiff, folder, 2 if density == 98 else 1) for tiff in (own, gs)]


def pbm(tiff, folder, times):
    """The first page of a bilevel TIFF as PBM, each row so many times."""
    plain = os.path.join(folder, "plain.tif")
    subprocess.run(["tiffcp", "-c", "none", "-f", "msb2lsb", tiff + ",0", plain], check=True, stderr=subprocess.DEVNULL)
    with open(plain, "rb") as file:
        data = file.read()
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for i in range(count):
        tag, kind, length = struct.unpack_from(order + "HHI", data, at + 2 + 12 * i)
        code, size = {3: ("H", 2), 4: ("I", 4)}.get(kind, ("B", 1))
        place = at + 10 + 12 * i
        if length * size > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = struct.unpack_from(f"{order}{length}{code}", data, place)
    width, height, white_is_0 = tags[256][0], tags[257][0], tags[262][0] == 0
    strips = b"".join(data[start : start + length] for start, length in zip(tags[273], tags[279]))
    stride = (width + 7) // 8
    if not white_is_0:
        strips = strips.translate(bytes(255 - value for value in range(256)))
    rows = b"".join(strips[y * stride : (y + 1) * stride] * times for y in range(height))
    return b"P4\n%d %d\n" % (width, height * times) + rows


def score(truth, picture, folder):
    """Share of the text's characters, spaces apart, that are found in order."""
    path = os.path.join(folder, "page.pbm")
    with open(path, "wb") as file:
        file.write(picture)
    _, out, _, _ = run(["env", "OMP_THREAD_LIMIT=1", "tesseract", path, "stdout", "--dpi", "204", "--psm", "4"])
    wanted, got = "".join(truth.split()), "".join(out.decode(errors="replace").split())
    blocks = difflib.SequenceMatcher(None, wanted, got, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(wanted)


if __name__ == "__main__":
    main()
