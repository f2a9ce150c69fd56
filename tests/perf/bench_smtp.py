"""The client's side of SMTP, as far as measurements need it."""

import socket
import ssl

PATIENCE_S = 120
REPLY_BYTES_MAX = 64 * 1024


class Refused(Exception):
    """Another reply than the one that was expected, or `cut: …` when the connection ended; the text says which."""


class Dialogue:
    """One connection. Whatever ends the dialogue is `Refused`."""

    def __init__(self, port, source=None):
        address = ("127.0.0.1", port)
        try:
            self.socket = socket.create_connection(address, PATIENCE_S, source and (source, 0))
        except OSError as error:
            raise Refused(f"cut: {error}") from error
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, *lines):
        """Sends the lines together."""
        self.send("".join(line + "\r\n" for line in lines).encode())

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Refused(f"cut: {error}") from error

    def expect(self, code):
        """The next reply whole, its lines with CRLF; `code` is how it begins."""
        reply = b""
        while True:
            line = self.line()
            reply += line
            if line[3:4] != b"-":
                break
            if len(reply) > REPLY_BYTES_MAX:
                raise Refused("cut: a reply without end")
        text = reply.decode("utf-8", "replace")
        if not text.startswith(code):
            raise Refused(text)
        return text

    def line(self):
        while b"\n" not in self.unread:
            try:
                octets = self.socket.recv(4096)
            except OSError as error:
                raise Refused(f"cut: {error}") from error
            if not octets or len(self.unread) > REPLY_BYTES_MAX:
                raise Refused("cut: the connection ended")
            self.unread += octets
        line, _, self.unread = self.unread.partition(b"\n")
        return line + b"\n"

    def greet(self):
        """Reads the greeting and says EHLO."""
        self.expect("220")
        self.hello()

    def hello(self):
        self.say("EHLO bench")
        self.expect("250")

    def secure(self, context):
        """STARTTLS, the handshake and EHLO again."""
        self.say("STARTTLS")
        self.expect("220")
        try:
            self.socket = context.wrap_socket(self.socket)
        except OSError as error:
            raise Refused(f"cut: {error}") from error
        self.hello()

    def begin_mail(self, sender, recipient):
        """Envelope and DATA in one go; the content may come after it."""
        self.say(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA")
        for code in ("250", "250", "354"):
            self.expect(code)


def anybody():
    """TLS that believes every certificate: who answers is not what is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def kind(reply):
    """What replies are counted by: code and enhanced status."""
    words = reply.split()
    return reply.strip() if reply.startswith("cut") else " ".join(words[:2])
