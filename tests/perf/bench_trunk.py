"""A trunk that notes when each number is called and knows none of them (404), so that every fax is called once."""

import re
import socket
import threading
import time


class Trunk:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.calls, self.heard_at, self.change = {}, time.monotonic(), threading.Condition()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(65535)
            except OSError:
                return
            now, text = time.monotonic(), packet.decode("utf-8", "replace")
            method, uri = (text.split(" ", 2) + ["", ""])[:2]
            with self.change:
                self.heard_at = now
                number = re.match(r"sips?:([^@;]+)@", uri)
                if method == "INVITE" and number:
                    self.calls.setdefault(number.group(1), now)
                self.change.notify_all()
            if method in ("INVITE", "OPTIONS"):
                self.socket.sendto(reply(text, "404 Not Found" if method == "INVITE" else "200 OK").encode(), peer)

    def invited(self, number, patience_s):
        """When the first INVITE for the number came."""
        with self.change:
            if not self.change.wait_for(lambda: number in self.calls, patience_s):
                raise SystemExit(f"error: {number} was not called within {patience_s} s; called were {list(self.calls)}")
            return self.calls[number]

    def quiet(self, seconds):
        """Waits until the trunk has heard nothing for so long: the gateway is idle again."""
        with self.change:
            while (left := self.heard_at + seconds - time.monotonic()) > 0:
                self.change.wait(left)

    def stop(self):
        self.socket.close()


def reply(request, status):
    """RFC 3261 §8.2.6.2: Via, From, To with a tag, Call-ID and CSeq are copied."""
    wanted = ("via", "v", "from", "f", "to", "t", "call-id", "i", "cseq")
    lines = [f"SIP/2.0 {status}"]
    for line in request.split("\r\n\r\n", 1)[0].split("\r\n")[1:]:
        name = line.split(":", 1)[0].strip().lower()
        if name in wanted:
            tagged = name in ("to", "t") and "tag=" not in line
            lines.append(line + ";tag=bench" if tagged else line)
    return "\r\n".join([*lines, "Content-Length: 0", "", ""])
