#!/usr/bin/env -S python3 -B
"""Measures what held connections cost: memory of each, and what they take from new mail, beside Postfix.

In:  the release binary, Debian's postfix package (installed for the time of the run when it is not there), root.
Out: memory of a held connection, in the clear, after STARTTLS and of Postfix; accepts a second, processor time of a mail
     and the time until it is accepted, without and with the held ones. Exit code 1 when the gateway did not greet a held connection, dropped an idle one, or
     answered a mail with anything but 250. No time decides.

Each round starts a server anew, sends mails without the held connections, opens these from a process of its own
(`hold_connections.py`), reads the memory, sends the same mails again and asks how many are still held. Memory is the
proportional set (PSS) of all processes of the server: what the kernel holds for sockets and processes is not in it. The gateway
runs the role smtp alone, with smtp.max_connections for so many; Postfix has one process for each connection.
"""

import argparse
import collections
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench_gateway import Gateway
from bench_postfix import Packages, Postfix
from bench_smtp import Dialogue, Refused, kind

HERE = Path(__file__).parent
SENDER, NUMBER = "anna@example.com", "+99910200@fax.local"
SIZE_BYTES = 2048
SENDERS = 8
SPARE = 100
OPEN_PATIENCE_S = 900
# The longest limit of a silent client is five minutes.
END_PATIENCE_S = 600
# What Postfix gets of the machine's memory: a process of it has less than this to itself.
POSTFIX_PROCESS_KIB, LEFT_FREE_KIB = 2560, 2 * 1024 * 1024
CLOSED = "421 4.4.2"


class Holder:
    """The held connections. `opened` and `account()` say how they fare."""

    def __init__(self, port, idle, slow, tls):
        command = [str(HERE / "hold_connections.py"), str(port), str(idle), str(slow)] + (["--tls"] if tls else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stop = threading.Timer(OPEN_PATIENCE_S, self.process.kill)
        stop.start()
        self.opened = self.read()
        stop.cancel()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("error: the held connections are gone\ncause: their process ended\nfix: see what it said")
        return json.loads(line)

    def account(self):
        self.process.stdin.write("account\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(OPEN_PATIENCE_S)


class Mails:
    """What sending them came to; `refused` counts every reply but 250, `cpu_ms` is what the server needed for one of many."""

    def __init__(self, server, mails, singles):
        port = server.port
        self.accepted, self.refused = 0, collections.Counter()
        turn, lock = itertools.count(), threading.Lock()

        def send():
            while next(turn) < mails:
                reply, _ = send_one(port)
                with lock:
                    self.count(reply)

        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        begun, used_s = time.monotonic(), cpu_s(server.pids())
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rate = self.accepted / (time.monotonic() - begun)
        self.cpu_ms = (cpu_s(server.pids()) - used_s) * 1000 / mails
        took_ms = []
        for _ in range(singles):
            reply, took_s = send_one(port)
            self.count(reply)
            took_ms.append(took_s * 1000)
        took_ms.sort()
        self.median_ms, self.p95_ms = statistics.median(took_ms), took_ms[int(len(took_ms) * 0.95)]

    def count(self, reply):
        if reply.startswith("250"):
            self.accepted += 1
        else:
            self.refused[kind(reply)] += 1


def send_one(port):
    """One mail over a connection of its own: the reply that ended it, and the seconds from connecting to that reply."""
    text = "".join(f"{line:077d}\r\n" for line in range(SIZE_BYTES // 79))
    begun = time.monotonic()
    try:
        with Dialogue(port) as dialogue:
            dialogue.greet()
            dialogue.begin_mail(SENDER, NUMBER)
            dialogue.say(f"From: {SENDER}", "Subject: letter", "", text + ".")
            reply = dialogue.expect("250")
            took_s = time.monotonic() - begun
            dialogue.say("QUIT")
            dialogue.expect("221")
    except Refused as refused:
        return str(refused), time.monotonic() - begun
    return reply, took_s


def pss_kib(pids):
    """Of all of them; one that has ended meanwhile holds nothing."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def cpu_s(pids):
    """Processor seconds of all of them and of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Round:
    """One server without and then with held connections."""

    def __init__(self, server, tls, idle, slow, args):
        Mails(server, args.mails // 10 or 1, 1)
        self.asked = idle + slow
        self.free = Mails(server, args.mails, args.singles)
        before_kib = pss_kib(server.pids())
        begun = time.monotonic()
        self.holder = Holder(server.port, idle, slow, tls)
        self.open_s = time.monotonic() - begun
        self.greeted = sum(of["greeted"] for of in self.holder.opened["kinds"].values())
        self.each_kib = (pss_kib(server.pids()) - before_kib) / max(1, self.greeted)
        self.held = Mails(server, args.mails, args.singles)
        self.after = self.holder.account()["kinds"]

    def faults(self):
        """What the gateway must not do."""
        if self.greeted != self.asked:
            yield f"{self.asked - self.greeted} held connections were not greeted: {told(self.holder.opened['refused'])}"
        idle = self.after["idle"]
        if idle["open"] != idle["greeted"]:
            yield f"{idle['greeted'] - idle['open']} idle connections were dropped: {told(idle['ended'])}"
        refused = self.free.refused + self.held.refused
        if refused:
            yield f"{refused.total()} mails were not answered 250: {told(refused)}"

    def line(self, name):
        kept = sum(of["open"] for of in self.after.values())
        refused = self.free.refused + self.held.refused
        return (
            f"{name:<13}{self.greeted:>8}{kept:>7}{self.open_s:>7.0f}{self.each_kib:>9.1f}"
            f"{self.free.rate:>9.0f}{self.held.rate:>7.0f}"
            f"{self.free.cpu_ms:>8.2f}{self.held.cpu_ms:>7.2f}"
            f"{self.free.median_ms:>8.1f}{self.held.median_ms:>7.1f}{self.free.p95_ms:>8.1f}{self.held.p95_ms:>7.1f}"
            f"  {told(refused) or 'none'}"
        )


HEAD = (
    f"{'':<13}{'greeted':>8}{'kept':>7}{'open s':>7}{'KiB each':>9}{'mails/s':>9}{'held':>7}"
    f"{'CPU ms':>8}{'held':>7}{'p50 ms':>8}{'held':>7}{'p95 ms':>8}{'held':>7}  other replies"
)


def told(replies):
    return ", ".join(f"{count} x {reply}" for reply, count in replies.items())


def gateway_round(args, folder, number, tls, to_the_end):
    name = f"faxwell{'-tls' if tls else ''}-{number}"
    pair = f'[smtp.tls]\ncert = "{folder}/server.pem"\nkey = "{folder}/server.key.pem"\n' if tls else ""
    gateway = Gateway(args.binary, folder, name, roles="smtp", connections=args.idle + args.slow + SPARE, more=pair)
    try:
        found = Round(gateway, tls, args.idle, args.slow, args)
        warm = args.mails // 10 or 1
        accepted, stored = warm + 1 + found.free.accepted + found.held.accepted, gateway.count()
        faults = list(found.faults())
        if stored != accepted:
            faults.append(f"{accepted} mails were accepted and {stored} are stored")
        if to_the_end:
            faults += until_closed(found.holder)
        found.holder.stop()
    finally:
        gateway.stop()
    return found, [f"{name}: {fault}" for fault in faults]


def until_closed(holder):
    """Nobody is silent or slow for ever: waits until each was told so and closed."""
    deadline = time.monotonic() + END_PATIENCE_S
    kinds = holder.account()["kinds"]
    while any(of["open"] for of in kinds.values()) and time.monotonic() < deadline:
        time.sleep(1)
        kinds = holder.account()["kinds"]
    for name, of in kinds.items():
        after = " to ".join(f"{seconds:.0f}" for seconds in of["ended_s"])
        print(f"{name}: {told(of['ended']) or 'none closed'}, {after} s after it fell silent or slow", flush=True)
        if of["ended"] != {CLOSED: of["greeted"]}:
            yield f"not every {name} connection was closed with {CLOSED}"


def postfix_round(args, folder, number):
    asked = min(args.idle + args.slow, (available_kib() - LEFT_FREE_KIB) // POSTFIX_PROCESS_KIB)
    slow = min(args.slow, asked)
    # The addresses of the held ones have no names; looking for them is not what is measured.
    more = "smtpd_peername_lookup = no\n"
    postfix = Postfix(folder, f"postfix-{number}", args.idle + args.slow + SPARE, more)
    try:
        found = Round(postfix, False, asked - slow, slow, args)
        found.holder.stop()
    finally:
        postfix.stop()
    return found


def available_kib():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def raise_file_limit(needed):
    """For this process and all that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {needed} open files are not to be had\ncause: {error}\nfix: raise the limit (ulimit -Hn), or hold fewer")


def summary(rounds, args):
    def median(name, figure):
        return statistics.median(figure(found) for found in rounds[name])

    print(f"\nmedians of {args.rounds} rounds, without and with the held connections")
    pairs = (("mails/s", "rate", 0), ("CPU ms a mail", "cpu_ms", 2), ("p50 ms", "median_ms", 1), ("p95 ms", "p95_ms", 1))
    each = {name: median(name, lambda r: r.each_kib) for name in rounds}
    ratio = {name: median(name, lambda r: r.held.rate / r.free.rate) for name in rounds}
    for name, found in rounds.items():
        said = [f"{min(r.greeted for r in found)} greeted", f"{each[name]:.1f} KiB each"]
        for unit, figure, digits in pairs:
            free = median(name, lambda r: getattr(r.free, figure))
            held = median(name, lambda r: getattr(r.held, figure))
            said.append(f"{free:.{digits}f} and {held:.{digits}f} {unit}")
        print(f"{name}: {', '.join(said)}, rate held/free {ratio[name]:.2f}")
    print(
        f"connections: idle {args.idle} slow {args.slow} memory per connection KiB: ours {each['faxwell']:.1f}"
        f" ours-tls {each['faxwell-tls']:.1f} postfix {each['postfix']:.1f}, rate held/free: ours {ratio['faxwell']:.2f}"
        f" postfix {ratio['postfix']:.2f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/faxwell")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure; a folder is made in it and removed")
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--slow", type=int, default=200, help="half of them in a command line, half in content")
    parser.add_argument("--mails", type=int, default=6000, help=f"over {SENDERS} connections, for the rate")
    parser.add_argument("--singles", type=int, default=200, help="one at a time, for the time of one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to-the-end", action="store_true", help="wait until the gateway has closed all that it need not bear")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: Postfix starts as root alone\ncause: this is not root\nfix: run it with sudo")
    raise_file_limit(args.idle + args.slow + 1024)
    rounds, faults = collections.defaultdict(list), []
    with Packages(["postfix"]), tempfile.TemporaryDirectory(prefix="bench-connections-", dir=args.folder) as folder:
        os.chmod(folder, 0o755)
        make = HERE.parent.parent / "tools/make-certificates"
        subprocess.run([str(make), folder, "127.0.0.1"], check=True, capture_output=True)
        print(f"{args.idle} idle and {args.slow} slow connections; a round without, then with them; load {os.getloadavg()[0]:.1f}")
        print(HEAD)
        for number in range(1, args.rounds + 1):
            for name, tls in (("faxwell", False), ("faxwell-tls", True)):
                to_the_end = args.to_the_end and not tls and number == args.rounds
                found, more = gateway_round(args, folder, number, tls, to_the_end)
                rounds[name].append(found)
                faults += more
                print(found.line(name), flush=True)
            rounds["postfix"].append(postfix_round(args, folder, number))
            print(rounds["postfix"][-1].line("postfix"), flush=True)
    summary(rounds, args)
    if faults:
        sys.exit("error: the gateway did not serve everybody\ncause: " + "\n       ".join(faults) + "\nfix: find the fault")


if __name__ == "__main__":
    main()
