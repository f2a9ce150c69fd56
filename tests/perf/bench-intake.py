#!/usr/bin/env -S python3 -B
"""Measures how fast mails are durably accepted, beside Postfix, and how soon after a mail its call begins.

In:  the release binary, Debian's postfix package (installed for the time of the run when it is not there), root.
Out: durable accepts a second over SMTP with 1, 8 and 64 connections, medians of alternating rounds, and the ratio of the
     two; syncs a message; the time from the end of DATA until the trunk has the INVITE, on an idle gateway.

Both servers keep their files in one directory of the same disk, sync as they do by default, and log nothing. Postfix
delivers to discard: and does not hold its clients back; the gateway runs the role smtp alone. One client program drives
both: smtp-source, one connection a message as mail servers mostly do. It writes no Message-ID, so that every message is
a fax of its own; that none is missing is checked.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_gateway import Gateway
from bench_postfix import Packages, Postfix
from bench_smtp import Dialogue, Refused
from bench_trunk import Trunk

SIZE_BYTES = 2048
ROUNDS = 3
SENDER, NUMBER = "anna@example.com", "+99910200@fax.local"
PATIENCE_S = 60


def load(port, connections, messages):
    """Sends the messages; answers how many a second. A message that is not accepted ends the run."""
    command = ["smtp-source", "-s", str(connections), "-m", str(messages), "-l", str(SIZE_BYTES)]
    command += ["-f", SENDER, "-t", NUMBER, f"127.0.0.1:{port}"]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    took_s = time.monotonic() - begun
    if done.returncode != 0 or done.stderr:
        sys.exit(f"error: a message was not accepted\ncause: {done.stderr.strip()}\nfix: see the logs of both servers")
    return messages / took_s


def syncs(server, port, messages, connections):
    """fsync and fdatasync a message, by strace; none without strace."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r") as table:
        pids = [f"-p{pid}" for pid in server.pids()]
        command = ["strace", "-f", "-c", "-U", "calls,name", "-e", "trace=fsync,fdatasync", "-o", table.name, *pids]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in pids:
            tracer.stderr.readline()  # "strace: Process … attached"
        load(port, connections, messages)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=PATIENCE_S)
        calls = [int(line.split()[0]) for line in table if re.search(r"\bf(data)?sync\b", line)]
    return sum(calls) / messages


def compare(gateway, postfix, args):
    print(f"durable accepts a second, {SIZE_BYTES} octets, medians of {ROUNDS} alternating rounds")
    print(f"{'connections':>12}{'faxwell':>10}{'postfix':>10}{'ratio':>8}   rounds faxwell / postfix")
    sent = 0
    for server in (gateway, postfix):
        load(server.port, 8, args.messages // 10 or 1)
    sent += args.messages // 10 or 1
    for connections in args.connections:
        messages = args.messages if connections > 1 else args.messages // 4 or 1
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(load(gateway.port, connections, messages))
            theirs.append(load(postfix.port, connections, messages))
            sent += messages
        a, b = statistics.median(ours), statistics.median(theirs)
        rounds = " ".join(f"{rate:.0f}" for rate in ours) + " / " + " ".join(f"{rate:.0f}" for rate in theirs)
        print(f"{connections:>12}{a:>10.0f}{b:>10.0f}{a / b:>8.2f}   {rounds}", flush=True)
    for connections in args.connections:
        messages = 200
        figures = [syncs(server, server.port, messages, connections) for server in (gateway, postfix)]
        sent += messages if figures[0] is not None else 0
        if None not in figures:
            print(f"syncs a message with {connections} connections: faxwell {figures[0]:.2f}, postfix {figures[1]:.2f}")
    stored = gateway.count()
    if stored != sent:
        sys.exit(f"error: {sent} messages were accepted and {stored} are stored\ncause: a fault\nfix: find it")
    print(f"every one of {stored} accepted messages is stored as a fax of its own")


def latency(args, folder):
    trunk = Trunk()
    gateway = Gateway(args.binary, folder, "whole", sip_port=trunk.port)
    try:
        took_ms = []
        for mail in range(args.mails + 1):
            number = f"+9991{mail:04d}"
            ended = send_one(gateway.port, number)
            took = (trunk.invited(number, PATIENCE_S) - ended) * 1000
            if mail > 0:  # the first one opens connections and reads fonts
                took_ms.append(took)
            trunk.quiet(1.0)
        took_ms.sort()
        p95 = took_ms[min(len(took_ms) - 1, int(len(took_ms) * 0.95))]
        print(f"end of DATA to INVITE, {args.mails} mails of one page, one at a time:", end=" ")
        print(f"median {statistics.median(took_ms):.0f} ms, p95 {p95:.0f} ms, most {took_ms[-1]:.0f} ms")
    finally:
        gateway.stop()
        trunk.stop()


def send_one(port, number):
    """Sends a text of one page; answers when its last octet had left."""
    text = "\r\n".join(f"Line {n} of a letter to {number}." for n in range(40))
    try:
        with Dialogue(port) as dialogue:
            dialogue.greet()
            dialogue.begin_mail(SENDER, f"{number}@fax.local")
            dialogue.say(f"From: {SENDER}", "Subject: letter", "", text, ".")
            ended = time.monotonic()
            dialogue.expect("250")
    except Refused as refused:
        sys.exit(f"error: a mail was refused\ncause: {str(refused).strip()}\nfix: see the reply")
    return ended


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/faxwell")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure; a folder is made in it and removed")
    parser.add_argument("--messages", type=int, default=2000, help="a round; a quarter of it with one connection")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--mails", type=int, default=50, help="for the time to the INVITE")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: Postfix starts as root alone\ncause: this is not root\nfix: run it with sudo")
    with Packages(["postfix"]), tempfile.TemporaryDirectory(prefix="bench-intake-", dir=args.folder) as folder:
        os.chmod(folder, 0o755)
        postfix = Postfix(folder)
        try:
            gateway = Gateway(args.binary, folder, "intake", roles="smtp")
            try:
                compare(gateway, postfix, args)
            finally:
                gateway.stop()
        finally:
            postfix.stop()
        latency(args, folder)


if __name__ == "__main__":
    main()
