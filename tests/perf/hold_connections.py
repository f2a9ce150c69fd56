#!/usr/bin/env -S python3 -B
"""Holds idle and slow SMTP connections open, as a process of its own, so that whoever measures does not pay for them.

In:  a port and how many of each kind; on standard input a line for each account that is wanted, its end for the end.
Out: one line of JSON when all are open and one for each account: by kind, how many were asked for, greeted and are open,
     what those heard last that are not, and the seconds after which the first and the last of them ended.

An idle one says EHLO (with --tls: STARTTLS and EHLO) and no more. A slow one sends one octet every few seconds: of a command
line, or of the content of a mail that it has been let begin. They come from many addresses, so many from each.
"""

import argparse
import collections
import json
import selectors
import ssl
import sys
import time

from bench_smtp import PATIENCE_S, Dialogue, Refused, anybody, kind

# Fewer than any server keeps waiting before it has accepted them.
BATCH = 64
FROM_ONE_ADDRESS = 50
DRIP_EVERY_S = 3.0
HEARD_BYTES_MAX = 4096
KINDS = ("idle", "slow command", "slow content")
DRIPS = {"slow command": b"NOOP ", "slow content": b"Subject: "}
SENDER, NUMBER = "slow@example.com", "+99910299@fax.local"


class Held:
    """One of them; `ended_s` is none while it is open."""

    def __init__(self, name, dialogue):
        self.kind, self.dialogue = name, dialogue
        self.heard, self.last, self.ended_s, self.dripped = b"", "", None, 0

    def begin(self, context):
        """Up to where it falls silent or slow."""
        self.dialogue.greet()
        if context:
            self.dialogue.secure(context)
        if self.kind == "slow content":
            self.dialogue.begin_mail(SENDER, NUMBER)
        self.since = time.monotonic()
        self.dialogue.socket.setblocking(False)

    def drip(self):
        line = DRIPS[self.kind]
        octet = line[self.dripped : self.dripped + 1] or b"x"
        try:
            self.dialogue.socket.send(octet)
            self.dripped += 1
        except OSError:
            pass  # reading tells that it has ended

    def hear(self):
        """Answers whether it is still open."""
        while True:
            try:
                octets = self.dialogue.socket.recv(4096)
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
            except OSError as error:
                return self.end(f"cut: {error}")
            if not octets:
                return self.end("cut: the connection ended")
            self.heard = (self.heard + octets)[-HEARD_BYTES_MAX:]

    def end(self, why):
        said = self.heard.decode("utf-8", "replace")
        self.last, self.ended_s = said or why, time.monotonic() - self.since
        return False


def open_all(port, wanted, context):
    """Those that were greeted and begun, and what the others were told."""
    held, refused, greeted = [], collections.Counter(), time.monotonic()
    for first in range(0, len(wanted), BATCH):
        batch = []
        for place, name in enumerate(wanted[first : first + BATCH], first):
            try:
                batch.append(Held(name, Dialogue(port, address_of(place))))
            except Refused as why:
                refused[kind(str(why))] += 1
        for one in batch:
            # Patience is for all that still wait: a server that is full does not greet one of them later than the others.
            one.dialogue.socket.settimeout(max(0.1, greeted + PATIENCE_S - time.monotonic()))
            try:
                one.begin(context)
                held.append(one)
                greeted = time.monotonic()
            except Refused as why:
                refused[kind(str(why))] += 1
                one.dialogue.socket.close()
    return held, refused


def address_of(place):
    host = place // FROM_ONE_ADDRESS
    return f"127.0.{1 + host // 250}.{1 + host % 250}"


def account(wanted, held, refused):
    kinds = {}
    for name in KINDS:
        ours = [one for one in held if one.kind == name]
        ended = [one for one in ours if one.ended_s is not None]
        kinds[name] = {
            "asked": wanted.count(name),
            "greeted": len(ours),
            "open": len(ours) - len(ended),
            "ended": collections.Counter(kind(one.last) for one in ended),
            "ended_s": [min(one.ended_s for one in ended), max(one.ended_s for one in ended)] if ended else [],
        }
    print(json.dumps({"kinds": kinds, "refused": refused}), flush=True)


def keep(wanted, held, refused):
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for one in held:
        selector.register(one.dialogue.socket, selectors.EVENT_READ, one)
    slow = collections.deque(one for one in held if one.kind != "idle")
    due = time.monotonic()
    while True:
        for key, _ in selector.select(max(0, due - time.monotonic()) if slow else None):
            if key.data is None:
                if not sys.stdin.readline():
                    return
                account(wanted, held, refused)
            elif not key.data.hear():
                selector.unregister(key.fileobj)
                key.fileobj.close()
        if slow and time.monotonic() >= due:
            one = slow.popleft()
            if one.ended_s is None:
                one.drip()
                slow.append(one)
            due = time.monotonic() + DRIP_EVERY_S / max(1, len(slow))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("idle", type=int)
    parser.add_argument("slow", type=int, help="half of them in a command line, half in content")
    parser.add_argument("--tls", action="store_true")
    args = parser.parse_args()
    content = args.slow // 2
    wanted = ["idle"] * args.idle + ["slow command"] * (args.slow - content) + ["slow content"] * content
    held, refused = open_all(args.port, wanted, anybody() if args.tls else None)
    account(wanted, held, refused)
    keep(wanted, held, refused)


if __name__ == "__main__":
    main()
