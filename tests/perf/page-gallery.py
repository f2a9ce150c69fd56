#!/usr/bin/env -S python3 -B
"""Draws a page of each kind as it is sent, ours above and Ghostscript's below, into one small picture.

In:  the converter process (pages-worker), gs, tiffcp; documents of render_documents.py and further PDF files.
Out: a PNG: --out. Pages are fine (204 × 196) and shown at an eighth of their width, each grey the share of black.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import render_documents
from converter_process import convert

KINDS = ("text", "vector", "scan-jpeg", "scan-g4", "mixed")
SHRINK = 8
WIDTH, HEIGHT, GAP = 1728 // SHRINK, 2150 // SHRINK, 6
GROUND = 160


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("more", nargs="*", help="further PDF files, their first pages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = render_documents.make(folder)
        paths = [made[kind][0] for kind in KINDS] + options.more
        rows = [[small(ours(options.worker, path, folder), folder) for path in paths],
                [small(theirs(path, folder), folder) for path in paths]]
    width = len(paths) * (WIDTH + GAP) + GAP
    image = [bytearray([GROUND]) * width for _ in range(2 * (HEIGHT + GAP) + GAP)]
    for down, row in enumerate(rows):
        for across, page in enumerate(row):
            left, top = GAP + across * (WIDTH + GAP), GAP + down * (HEIGHT + GAP)
            for y, line in enumerate(page):
                image[top + y][left : left + WIDTH] = line
    with open(options.out, "wb") as file:
        file.write(png(image, width))


def ours(worker, path, folder):
    with open(path, "rb") as file:
        answer = convert(worker, "page.pdf", file.read())
    if answer.error:
        sys.exit(f"error: {path}: {answer.error}")
    tiff = os.path.join(folder, "page.tif")
    with open(tiff, "wb") as file:
        file.write(answer.tiff)
    return tiff


def theirs(path, folder):
    tiff = os.path.join(folder, "page.tif")
    subprocess.run(["gs", "-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=tiffg4", "-r204x196", "-dLastPage=1",
                    "-dAdjustWidth=1728", "-sPAPERSIZE=letter", "-dFIXEDMEDIA", "-dPDFFitPage", "-sOutputFile=" + tiff, path],
                   check=True)
    return tiff


def small(tiff, folder):
    """The first page in greys, `HEIGHT` rows of `WIDTH`."""
    plain = os.path.join(folder, "plain.tif")
    subprocess.run(["tiffcp", "-c", "none", "-f", "msb2lsb", "-r", "10000", tiff + ",0", plain], check=True,
                   stderr=subprocess.DEVNULL)
    with open(plain, "rb") as file:
        data = file.read()
    width, height, offset, black = page_of(data)
    stride = (width + 7) // 8
    page = []
    for y in range(HEIGHT):
        sums = [0] * WIDTH
        for line in range(y * SHRINK, (y + 1) * SHRINK):
            row = data[offset + line * stride : offset + (line + 1) * stride] if line < height else b""
            for x, octet in enumerate(row[:WIDTH]):
                sums[x] += octet.bit_count() if black else 8 - octet.bit_count()
        page.append(bytes(255 - total * 255 // (SHRINK * SHRINK) for total in sums))
    return page


def page_of(data):
    """Width, height, place of the only strip, and whether 1 is black."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for i in range(count):
        tag, kind, _ = struct.unpack_from(order + "HHI", data, at + 2 + 12 * i)
        (tags[tag],) = struct.unpack_from(order + {3: "H", 4: "I"}.get(kind, "I"), data, at + 10 + 12 * i)
    return tags[256], tags[257], tags[273], tags[262] == 0


def png(rows, width):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    # Sixteen greys are enough for what was black and white.
    packed = b"".join(b"\0" + bytes((row[x] & 0xF0) | (row[x + 1] >> 4 if x + 1 < width else 0) for x in range(0, width, 2)) for row in rows)
    head = struct.pack(">IIBBBBB", width, len(rows), 4, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main()
