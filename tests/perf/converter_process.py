"""Speaks to the converter process as the gateway does: one order, its pages, what it cost. See crates/pages/src/wire.rs."""

import json
import os
import struct
import subprocess
import threading
from dataclasses import dataclass, field


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


def run(command, stdin=b""):
    """Runs a program to its end: exit status as of wait4, standard output, standard error, its cost."""
    pipe = subprocess.PIPE
    # Pipes, for the converter may write no files. Standard input stays open: its end is the end of the gateway.
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    heard = {}

    def listen(name, stream):
        heard[name] = stream.read()

    threads = [threading.Thread(target=listen, args=item) for item in (("out", process.stdout), ("err", process.stderr))]
    for thread in threads:
        thread.start()
    try:
        process.stdin.write(stdin)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # It ended early, and its status says how.
    for thread in threads:
        thread.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    process.stdin.close()
    return status, heard["out"], heard["err"], Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def convert(worker, name, document, quality="fine", paper="letter", memory_bytes=512 << 20, cpu_s=60):
    """One document into the pages of a fax."""
    part = {"name": name, "media": "", "charset": None}
    job = {"job": "convert", "paper": paper, "quality": quality, "max_pages": 1000, "body": None,
           "inline": [], "parts": [part]}
    setup = {"setup": "documents", "memory_bytes": memory_bytes, "cpu_s": cpu_s, "requests_max": 1}
    status, out, err, cost = run([worker], encoded(setup) + encoded({"job": job}, document))
    for header, blob in frames(out):
        if header.get("answer") == "done":
            return Answer(blob, len(header["pages"]), header.get("in_colour", 0), cost=cost)
        if header.get("answer") == "failed":
            return Answer(error=header["error"]["detail"], kind=header["error"]["kind"], cost=cost)
    signal, said = status & 0x7F, err.decode(errors="replace").strip()
    # As the gateway concludes: SIGXCPU is time, a failed allocation memory, anything else a crash.
    kind = "timed out" if signal == 24 else "out of memory" if "memory allocation of" in said else "crashed"
    return Answer(error=f"signal {signal} {said[:120]}", kind=kind, cost=cost)


def encoded(header, *blobs):
    """A frame."""
    header = json.dumps(header).encode()
    sizes = b"".join(struct.pack(">Q", len(blob)) for blob in blobs)
    return struct.pack(">II", len(header), len(blobs)) + sizes + header + b"".join(blobs)


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
