"""What the senders send to: gateways, a far end, HAProxy, certificates and a token, all on loopback.

Four gateways, so that each case can pass for one reason only:
bare      no TLS; every client of loopback may submit
tls       STARTTLS and implicit TLS; every client of loopback may submit
strict    nobody may by address: a login, a token or a client certificate must do
balanced  the balancer's address demands a PROXY header; the client that it names may submit, the balancer itself may not
"""

import base64
import email
import glob
import json
import os
import re
import signal
import socket
import subprocess
import time

PATIENCE_S = 180
USER, PASSWORD = "anna", "correct horse battery staple"
ISSUER, AUDIENCE = "https://login.example.com/", "faxwell"
BALANCER = "127.0.0.9"

CONFIG = """domain = "fax.local"
node = "{name}"
data = "{folder}"
[smtp]
listen = ["127.0.0.1:{port}"]
{smtp}
[render]
cover = "none"
body = "drop"
[sip.sandbox]
server = "{far_end}"
bind = "127.0.0.1:0"
number = "+9990000"
channels = 4
sandbox = true
pace = "max"
[delivery]
maildir = "{folder}/mailbox"
"""
TLS = """listen_tls = ["127.0.0.1:{port_tls}"]
tls.cert = "{certs}/server.pem"
tls.key = "{certs}/server.key.pem"
"""
STRICT = TLS + """tls.client_ca = "{certs}/authority.pem"
relay = ["cert:client.example.com"]
oauth2.issuer = "https://login.example.com/"
oauth2.audience = "faxwell"
oauth2.keys = "{folder}.jwks"
[account.anna]
password = {{ file = "{folder}.password" }}
"""
SMTP = {
    "bare": 'relay = ["127.0.0.1/32"]',
    "tls": TLS + 'relay = ["127.0.0.1/32"]',
    "strict": STRICT,
    "balanced": TLS + 'relay = ["127.0.0.1/32"]\nproxy_protocol_from = ["127.0.0.9/32"]',
}
HAPROXY = """global
  maxconn 200
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen v1
  bind 127.0.0.1:{v1}
  server gateway 127.0.0.1:{port} source 127.0.0.9 send-proxy
listen v2
  bind 127.0.0.1:{v2}
  server gateway 127.0.0.1:{port} source 127.0.0.9 send-proxy-v2
"""


class Failure(Exception):
    """Why a case did not pass."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, patience_s=PATIENCE_S):
    """Answers what the condition answers once that is true."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.1)
    raise Failure(f"{what}: not within {patience_s} s")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def run(command, patience_s=120, **more):
    """Runs a sender; what it said is the cause when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=patience_s, **more)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within {patience_s} s") from None
    if done.returncode != 0:
        said = " / ".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise Failure(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout + done.stderr


class Place:
    def __init__(self, binary, root, folder):
        self.binary, self.folder, self.processes = binary, folder, []
        self.certs, self.tray = f"{folder}/certs", f"{folder}/tray"
        run([f"{root}/tools/make-certificates", self.certs])
        # Mail servers read them as users of their own.
        run(["chmod", "-R", "a+rX", self.certs])
        self.ca = f"{self.certs}/authority.pem"
        self.token = self._issue_token()
        with open(f"{folder}/strict.password", "w") as file:
            file.write(PASSWORD)
        os.chmod(f"{folder}/strict.password", 0o600)
        self.far_end = self._far_end()
        self.ports = {name: (free_port(), free_port()) for name in SMTP}
        for name in SMTP:
            self._gateway(name)
        self.proxies = {"v1": free_port(), "v2": free_port()}
        self._haproxy()

    def _spawn(self, name, command, **more):
        with open(f"{self.folder}/{name}.log", "w") as log:
            clean = {key: value for key, value in os.environ.items() if not key.startswith("FAXWELL_")}
            process = subprocess.Popen(command, stderr=log, env={**clean, "FAXWELL_LOG": "info"}, **more)
        self.processes.append(process)
        return process

    def _far_end(self):
        command = [self.binary, "far-end", "--listen", "127.0.0.1:0", "--tray", self.tray, "--pace", "max", "--json"]
        process = self._spawn("far-end", command, stdout=subprocess.PIPE, text=True)
        return json.loads(process.stdout.readline())["sip"]

    def _gateway(self, name):
        port, port_tls = self.ports[name]
        folder = f"{self.folder}/{name}"
        smtp = SMTP[name].format(port_tls=port_tls, certs=self.certs, folder=folder)
        with open(f"{folder}.toml", "w") as file:
            file.write(CONFIG.format(name=name, folder=folder, port=port, far_end=self.far_end, smtp=smtp))
        process = self._spawn(name, [self.binary, "serve", "-c", f"{folder}.toml"], stdout=subprocess.DEVNULL)
        wait_for(f"gateway {name} (see {folder}.log)", lambda: process.poll() is not None or listens(port))
        if process.poll() is not None:
            with open(f"{folder}.log") as log:
                raise Failure(f"gateway {name}: {log.read()}")

    def config(self, way):
        """The file of the gateway that takes mail in this way."""
        return f"{self.folder}/{way.gateway}.toml"

    def _haproxy(self):
        path = f"{self.folder}/haproxy.cfg"
        with open(path, "w") as file:
            file.write(HAPROXY.format(port=self.ports["balanced"][0], **self.proxies))
        self._spawn("haproxy", ["haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL)
        wait_for("HAProxy", lambda: all(map(listens, self.proxies.values())))

    def _issue_token(self):
        """A token of an issuer whose key is in a file (RFC 7519, RS256)."""
        key = f"{self.folder}/issuer.pem"
        run(["openssl", "genrsa", "-out", key, "2048"])
        modulus = run(["openssl", "rsa", "-in", key, "-noout", "-modulus"]).split("Modulus=")[1].split()[0]
        encode = lambda octets: base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
        keys = {"keys": [{"kty": "RSA", "kid": "interop", "n": encode(bytes.fromhex(modulus)), "e": "AQAB"}]}
        with open(f"{self.folder}/strict.jwks", "w") as file:
            json.dump(keys, file)
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "preferred_username": USER, "nbf": now - 10, "exp": now + 7200}
        part = lambda value: encode(json.dumps(value).encode())
        signed = f"{part({'alg': 'RS256', 'kid': 'interop'})}.{part(claims)}"
        signer = ["openssl", "dgst", "-sha256", "-sign", key]
        signature = subprocess.run(signer, input=signed.encode(), capture_output=True, check=True).stdout
        return f"{signed}.{encode(signature)}"

    def port(self, way):
        if way.proxy:
            return self.proxies[way.proxy]
        return self.ports[way.gateway][1 if way.tls == "implicit" else 0]

    def judge(self, mail, way, speaks_dsn):
        """From outside alone: the pages at the far end and the answer in the mailbox. Answers the path of the pages."""
        folder = f"{self.folder}/{way.gateway}/mailbox/new"
        report = wait_for(f"report to {mail.sender}", lambda: find_report(folder, mail))
        if report["X-Fax-Status"] != "sent":
            raise Failure(f"reported as {report['X-Fax-Status']}, {report['X-Fax-Cause']}")
        if report["To"].strip("<>") != mail.sender:
            raise Failure(f"the report went to {report['To']}, expected {mail.sender}")
        files = glob.glob(f"{self.tray}/{mail.number}-*.tif")
        if len(files) != 1:
            raise Failure(f"{len(files)} faxes of {mail.number} in the tray, expected 1: {files}")
        pages = run(["tiffinfo", files[0]]).count("TIFF Directory at")
        if pages != mail.pages:
            raise Failure(f"{pages} pages at the far end, expected {mail.pages}")
        # It really came this way (RFC 3848), and from the client's address, not the balancer's.
        came = newest_received(report)
        if not any(f"([127.0.0.1]) by fax.local with {protocol} " in came for protocol in way.protocols):
            raise Failure(f"it came as {came!r}, expected 127.0.0.1 and {way.protocols}")
        if speaks_dsn:
            expect_field(report, "Original-Envelope-Id", mail.envelope_id)
            expect_field(report, "Original-Recipient", f"rfc822;{mail.original_recipient}")
        return files[0]

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def find_report(folder, mail):
    for path in glob.glob(f"{folder}/*"):
        with open(path, "rb") as file:
            report = email.message_from_binary_file(file)
        if report["X-Fax-To"] == mail.number:
            return report
    return None


def newest_received(report):
    """The gateway's own trace field, from the header that the notice returns."""
    returned = [part for part in report.walk() if part.get_content_type() == "text/rfc822-headers"]
    header = returned[0].get_payload(decode=True).decode("utf-8", "replace") if returned else ""
    return " ".join((email.message_from_string(header)["Received"] or "").split())


def expect_field(report, name, value):
    status = "".join(part.as_string() for part in report.walk() if part.get_content_type() == "message/delivery-status")
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    got = found.group(1).replace(" ", "") if found else None
    if got != value:
        raise Failure(f"{name} of the notice is {got}, expected {value}")
