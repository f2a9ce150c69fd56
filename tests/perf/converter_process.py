"""Speaks to the converter process as the gateway does: one order, its pages, what it cost. See crates/pages/src/wire.rs."""

import json
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field

WALL_S = 120


@dataclass
class Cost:
    """What a process took: seconds of processor time, and the most memory it held, in MiB."""

    seconds: float
    memory_mib: float


@dataclass
class Answer:
    """The end of an order: the pages, or why there are none."""

    tiff: bytes = b""
    pages: int = 0
    in_colour: int = 0
    error: str = ""
    kind: str = ""
    cost: Cost = field(default_factory=lambda: Cost(0.0, 0.0))


def run(command, stdin=b"", folder=None):
    """Runs a program to its end: exit status as of wait4, standard output, its cost."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # A pipe that stays open: the converter ends with the gateway, and a file ends at once.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err, cwd=folder)
        process.stdin.write(stdin)
        process.stdin.flush()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        process.stdin.close()
        out.seek(0)
        err.seek(0)
        cost = Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        return status, out.read(), err.read(), cost


def convert(worker, name, document, quality="fine", paper="letter", memory_bytes=512 << 20, cpu_s=60):
    """One document into the pages of a fax."""
    part = {"name": name, "media": "", "charset": None}
    job = {"job": "convert", "paper": paper, "quality": quality, "max_pages": 1000, "body": None, "parts": [part]}
    header = json.dumps({"memory_bytes": memory_bytes, "cpu_s": cpu_s, "job": job}).encode()
    frame = struct.pack(">IIQ", len(header), 1, len(document)) + header + document
    try:
        status, out, err, cost = run([worker], frame)
    except BrokenPipeError:
        return Answer(error="the converter does not listen", kind="crashed")
    for header, blob in frames(out):
        if header.get("answer") == "done":
            return Answer(blob, len(header["pages"]), header.get("in_colour", 0), cost=cost)
        if header.get("answer") == "failed":
            return Answer(error=header["error"]["detail"], kind=header["error"]["kind"], cost=cost)
    signal = status & 0x7F
    last = err.decode(errors="replace").strip().splitlines()[-1:]
    kind = "timed out" if signal == 24 else "crashed"
    return Answer(error=f"signal {signal} {' '.join(last)}", kind=kind, cost=cost)


def frames(octets):
    """The frames of an answer: header and its first blob."""
    at = 0
    while at + 8 <= len(octets):
        length, count = struct.unpack_from(">II", octets, at)
        sizes = struct.unpack_from(f">{count}Q", octets, at + 8)
        at += 8 + 8 * count
        header = json.loads(octets[at : at + length])
        at += length
        blob = octets[at : at + sizes[0]] if sizes else b""
        at += sum(sizes)
        yield header, blob
