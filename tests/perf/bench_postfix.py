"""Postfix for a comparison: its package for the time of a run, and an instance in a directory of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time

APT = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
PATIENCE_S = 60

MAIN_CF = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = bench.local
mydestination =
mynetworks = 127.0.0.0/8
relay_domains = fax.local
default_transport = discard:
relay_transport = discard:
alias_maps =
alias_database =
default_process_limit = {processes}
# Postfix holds clients back while its queue manager lags: not here, where accepting alone is measured.
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
"""

# Service, type, private, unprivileged, chroot, wake-up, processes, program.
MASTER_CF = """{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Packages:
    """Debian packages that are there inside a `with` block. What was not there before is gone after it."""

    def __init__(self, packages):
        self.packages, self.added, self.users = packages, [], []

    def __enter__(self):
        before = installed()
        if not set(self.packages) <= before:
            accounts = account_names()
            preseed = "postfix postfix/main_mailer_type select No configuration\n"
            run(["debconf-set-selections"], input=preseed)
            if not candidate(self.packages[0]):
                run([*APT, "update"])
            try:
                run([*APT, "install", "--no-install-recommends", *self.packages])
            finally:
                self.added = sorted(installed() - before)
                self.users = sorted(account_names() - accounts)
        return self

    def __exit__(self, *_):
        if self.added:
            run([*APT, "purge", *self.added])
            for kind, name in self.users:
                subprocess.run([f"{kind}del", name], capture_output=True)
            shutil.rmtree("/etc/postfix", ignore_errors=True)
            shutil.rmtree("/var/spool/postfix", ignore_errors=True)
            shutil.rmtree("/var/lib/postfix", ignore_errors=True)


def run(command, **more):
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, **more)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} failed\ncause: {done.stderr.strip()}\nfix: correct it and run this again")


def installed():
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[0] for line in lines if line.endswith(" installed")}


def candidate(package):
    policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True).stdout
    return "Candidate: " in policy and "Candidate: (none)" not in policy


def account_names():
    """Users, then groups: a user is removed before its group."""
    names = set()
    for kind, path in (("user", "/etc/passwd"), ("group", "/etc/group")):
        with open(path) as file:
            names |= {(kind, line.split(":")[0]) for line in file}
    return names


class Postfix:
    """An instance of its own: the machine's /etc/postfix and queue are not touched. `more` is appended to its main.cf."""

    def __init__(self, folder, name="postfix", processes=200, more=""):
        self.folder = os.path.join(folder, name)
        self.config, self.port = os.path.join(self.folder, "etc"), free_port()
        for name in ("etc", "spool", "data"):
            os.makedirs(os.path.join(self.folder, name), mode=0o755)
        owner = pwd.getpwnam("postfix")
        os.chown(os.path.join(self.folder, "data"), owner.pw_uid, owner.pw_gid)
        main = MAIN_CF.format(folder=self.folder, processes=processes) + more
        for name, text in (("main.cf", main), ("master.cf", MASTER_CF.format(port=f"127.0.0.1:{self.port}"))):
            with open(os.path.join(self.config, name), "w") as file:
                file.write(text)
        for name in ("dynamicmaps.cf", "postfix-files", "postfix-files.d", "dynamicmaps.cf.d"):
            source = os.path.join("/etc/postfix", name)
            if os.path.exists(source):
                os.symlink(source, os.path.join(self.config, name))
        run(["postfix", "-c", self.config, "start"])
        self.wait()

    def wait(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("error: Postfix does not listen\ncause: see its log\nfix: correct it and run this again")

    def pids(self):
        """Its master, which starts the others as they are needed, and those that run already."""
        with open(os.path.join(self.folder, "spool/pid/master.pid")) as file:
            master = int(file.read())
        with open(f"/proc/{master}/task/{master}/children") as file:
            return [master, *map(int, file.read().split())]

    def stop(self):
        """When it returns, none of its processes takes the processor from what is measured next."""
        pids = self.pids()
        run(["postfix", "-c", self.config, "stop"])
        deadline = time.monotonic() + PATIENCE_S
        while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.1)
