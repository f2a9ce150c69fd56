"""A gateway for a measurement: its own folder, port and configuration, a trunk that is somebody else's."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

from bench_postfix import free_port

PATIENCE_S = 60

CONFIG = """domain = "fax.local"
node = "bench"
data = "{data}"
[smtp]
listen = ["127.0.0.1:{smtp}"]
relay = ["127.0.0.0/8"]
max_connections = {connections}
[render]
cover = "none"
[sip.sandbox]
server = "127.0.0.1:{sip}"
bind = "127.0.0.1:0"
number = "+9990000"
channels = 8
sandbox = true
[delivery]
maildir = "mailbox"
"""


class Gateway:
    """`faxwell serve` with its data in the folder of the run; `more` is appended to its configuration."""

    def __init__(self, binary, folder, name, sip_port=9, roles=None, connections=200, more=""):
        self.binary, self.data = binary, os.path.join(folder, name)
        self.port = free_port()
        config = os.path.join(folder, name + ".toml")
        with open(config, "w") as file:
            file.write(CONFIG.format(data=self.data, smtp=self.port, sip=sip_port, connections=connections) + more)
        self.log = open(os.path.join(folder, name + ".log"), "w")
        command = [binary, "serve", "-c", config] + (["--roles", roles] if roles else [])
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FAXWELL_")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self.log, env={**clean, "FAXWELL_LOG": "warn"}
        )
        wait_for_port(self.port, self.log.name)

    def count(self):
        """Faxes that are stored."""
        command = [self.binary, "status", "--json", "--data", self.data]
        output = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S).stdout
        return sum(json.loads(output)["faxes"].values())

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        self.log.close()


def wait_for_port(port, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"error: nothing listens on port {port}\ncause: see {log}\nfix: correct what it says and run it again")
