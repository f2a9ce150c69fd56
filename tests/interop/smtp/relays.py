"""Mail servers in front of the gateway: each takes a mail over SMTP, with DSN, and passes it on to its smart host.

A server runs in a root of its own below which it writes to a layer of this run alone, in namespaces of mounts and
processes: nothing of it is left on the machine, and nothing of it lives on when its first process is killed.
"""

import os
import re
import smtplib
import subprocess

from place import PASSWORD, USER, Failure, free_port, listens, run, wait_for
from ways import CERTIFICATE, NETWORK, PLAIN, PROXIES, PROXY_V1_STARTTLS, PROXY_V2, STARTTLS, login

BEGIN = """set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir="$LOWER",upperdir="$RUN/upper",workdir="$RUN/work" "$RUN/root"
mount -t proc proc "$RUN/root/proc"
mount --bind /dev "$RUN/root/dev"
exec chroot "$RUN/root" /bin/sh -c "$START"
"""


class Relay:
    """One mail server while a `with` block runs. `files` are written into its root first; `start` runs in its foreground."""

    def __init__(self, name, place, folder, files, start, port):
        self.name, self.folder, self.port = name, folder, port
        self.log = f"{folder}/server.log"
        for part in ("upper", "work", "root"):
            os.makedirs(f"{folder}/{part}")
            os.chmod(f"{folder}/{part}", 0o755)
        for path, text in files.items():
            path = f"{folder}/upper{path}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        lower = f"{place.senders}/roots/{name}"
        if not os.path.isdir(lower):
            raise Failure(f"{name} is not installed in {lower}")
        # The shell stays the first process: the order to die with this program would be lost where Exim, setuid, takes its place.
        self.env = {"PATH": os.environ["PATH"], "LOWER": lower, "RUN": folder, "START": start + "; exit $?"}

    def __enter__(self):
        with open(self.log, "w") as log:
            command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", BEGIN]
            self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"start of {self.name}", lambda: self.process.poll() is not None or listens(self.port), 60)
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}: {self.said()}")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(60)

    def said(self):
        """The end of what it has logged anywhere."""
        lines = []
        for path in [self.log, *(f"{self.folder}/upper{path}" for path in ("/var/log/maillog", "/var/log/exim4/mainlog"))]:
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    lines += file.read().splitlines()[-6:]
        return " / ".join(lines)

    def submit(self, mail):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
            smtp.send_message(
                mail.message(), mail.sender, [mail.recipient],
                mail_options=["RET=HDRS", f"ENVID={mail.envelope_id}"],
                rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{mail.original_recipient}"])


def certificates(place, *names):
    files = {}
    for name in names:
        with open(f"{place.certs}/{name}") as file:
            files[f"/etc/interop/{name}"] = file.read()
    return files


POSTFIX_MASTER = """{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def postfix(way, place, folder):
    port = free_port()
    lines = ["compatibility_level = 3.6", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = relay.example.com",
             "mydestination =", "mynetworks = 127.0.0.0/8", f"relayhost = [127.0.0.1]:{place.port(way)}", "alias_maps =",
             "alias_database =", "maillog_file = /var/log/maillog", "smtp_host_lookup = native", "smtp_tls_CAfile = /etc/interop/authority.pem"]
    if way.tls:
        lines += ["smtp_tls_security_level = secure", "smtp_tls_secure_cert_match = localhost"]
    if way.tls == "implicit":
        lines.append("smtp_tls_wrappermode = yes")
    if way.auth:
        lines += ["smtp_sasl_auth_enable = yes", f"smtp_sasl_password_maps = static:{{{USER}:{PASSWORD}}}",
                  "smtp_sasl_security_options = noanonymous", f"smtp_sasl_mechanism_filter = {way.auth.lower()}"]
    if way.certificate:
        lines += ["smtp_tls_cert_file = /etc/interop/client.pem", "smtp_tls_key_file = /etc/interop/client.key.pem"]
    files = {"/etc/postfix/main.cf": "\n".join(lines) + "\n", "/etc/postfix/master.cf": POSTFIX_MASTER.format(port=f"127.0.0.1:{port}"),
             **certificates(place, "authority.pem", "client.pem", "client.key.pem")}
    return Relay("postfix", place, folder, files, "postfix start-fg", port)


def postfix_by_setup(way, place, folder):
    """Postfix as `faxwell setup postfix` has it typed, and with no other way to the gateway."""
    port = free_port()
    said = run([place.binary, "setup", "postfix", "--host", "127.0.0.1", "-c", place.config(way)])
    typed = said[:said.index("# Check")].replace("GATEWAY_IP", "127.0.0.1").replace("postfix reload\n", "")
    lines = ["compatibility_level = 3.6", "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = relay.example.com",
             "mydestination =", "mynetworks = 127.0.0.2/32", "default_transport = error", "relay_transport = error", "alias_maps =",
             "alias_database =", "maillog_file = /var/log/maillog"]
    files = {"/etc/postfix/main.cf": "\n".join(lines) + "\n", "/etc/postfix/master.cf": POSTFIX_MASTER.format(port=f"127.0.0.1:{port}"),
             "/etc/interop/typed": typed}
    return Relay("postfix", place, folder, files, "sh -e /etc/interop/typed && postfix start-fg", port)


EXIM = """primary_hostname = relay.example.com
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
domainlist local_domains =
hostlist relay_from_hosts = 127.0.0.1
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
dsn_advertise_hosts = *
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
queue_run_in_order = false
keep_environment =
log_selector = +smtp_confirmation +tls_cipher
begin acl
accept_all:
  accept
begin routers
smart_host:
  driver = manualroute
  route_list = * 127.0.0.1::{gateway} byname
  self = send
  transport = out
begin transports
out:
  driver = smtp
  {transport}
begin retry
* * F,1h,2s
begin authenticators
{authenticator}
"""


def exim(way, place, folder):
    port = free_port()
    transport = ["allow_localhost"]
    if way.tls:
        transport += ["hosts_require_tls = *", "tls_verify_certificates = /etc/interop/authority.pem", "tls_verify_hosts = *",
                      "tls_verify_cert_hostnames =", "tls_sni = localhost"]
    else:
        transport.append("hosts_avoid_tls = *")
    if way.tls == "implicit":
        transport.append("protocol = smtps")
    if way.auth:
        transport.append("hosts_require_auth = *")
    if way.certificate:
        transport += ["tls_certificate = /etc/interop/client.pem", "tls_privatekey = /etc/interop/client.key.pem"]
    authenticator = {
        None: "",
        "PLAIN": f"plain:\n  driver = plaintext\n  public_name = PLAIN\n  client_send = ^{USER}^{PASSWORD}",
        "LOGIN": f"login:\n  driver = plaintext\n  public_name = LOGIN\n  client_send = : {USER} : {PASSWORD}",
    }[way.auth]
    config = EXIM.format(port=port, gateway=place.port(way), transport="\n  ".join(transport), authenticator=authenticator)
    files = {"/etc/exim4/interop.conf": config, **certificates(place, "authority.pem", "client.pem", "client.key.pem")}
    start = ("chown -R root:Debian-exim /etc/interop; chmod 640 /etc/interop/*; cp /etc/exim4/interop.conf /etc/exim4/exim4.conf; "
             "chmod 644 /etc/exim4/exim4.conf; exim4 -bdf -q2s")
    return Relay("exim", place, folder, files, start, port)


def opensmtpd(way, place, folder):
    # Without client certificates: 6.8 on OpenSSL 3 fails when asked for one (SSL routines::EVP lib).
    port = free_port()
    scheme = {None: "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}[way.tls]
    lines = [f"table logins {{ gateway = \"{USER}:{PASSWORD}\" }}"] if way.auth else []
    label, auth = ("gateway@", " auth <logins>") if way.auth else ("", "")
    lines += [f"listen on 127.0.0.1 port {port}",
              f"action \"out\" relay host \"{scheme}://{label}127.0.0.1:{place.port(way)}\"{auth} helo \"relay.example.com\""
              + (" tls no-verify" if way.tls else ""),
              "match from any for any action \"out\""]
    files = {"/etc/interop/smtpd.conf": "\n".join(lines) + "\n"}
    start = "echo relay.example.com > /etc/mailname; smtpd -d -f /etc/interop/smtpd.conf"
    return Relay("opensmtpd", place, folder, files, start, port)


SENDMAIL = """divert(-1)dnl
divert(0)dnl
OSTYPE(`linux')dnl
DOMAIN(`generic')dnl
undefine(`ALIAS_FILE')dnl
define(`confDOMAIN_NAME', `relay.example.com')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {gateway}')dnl
define(`confCACERT_PATH', `/etc/interop')dnl
define(`confCACERT', `/etc/interop/authority.pem')dnl
{certificate}
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confTO_IDENT', `0')dnl
define(`confTO_QUEUEWARN_DSN', `0')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port={port}')dnl
MAILER(`smtp')dnl
"""
SENDMAIL_CERTIFICATE = """define(`confCLIENT_CERT', `/etc/interop/client.pem')dnl
define(`confCLIENT_KEY', `/etc/interop/client.key.pem')dnl"""


def sendmail(way, place, folder):
    port = free_port()
    config = SENDMAIL.format(gateway=place.port(way), port=port, certificate=SENDMAIL_CERTIFICATE if way.certificate else "dnl")
    files = {"/etc/mail/interop.mc": "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl\n" + config,
             **certificates(place, "authority.pem", "client.pem", "client.key.pem")}
    start = ("set -e; chmod 600 /etc/interop/*; : > /etc/mail/local-host-names; rm -rf /var/spool/mqueue; "
             "mkdir -m 700 /var/spool/mqueue; mkdir -p /run/sendmail; "
             "m4 /etc/mail/interop.mc > /etc/mail/interop.cf; "
             "/usr/libexec/sendmail/sendmail -bD -q2s -C/etc/mail/interop.cf -X /var/log/maillog")
    return Relay("sendmail", place, folder, files, start, port)


def check_exim(relay):
    """K stands in its log for content that went by BDAT."""
    with open(f"{relay.folder}/upper/var/log/exim4/mainlog") as file:
        if not re.search(r"=> .* K ", file.read()):
            raise Failure("Exim did not use BDAT")


# Name, function, its ways, what is looked at besides.
RELAYS = [
    ("postfix", postfix, [*NETWORK, login("PLAIN"), login("LOGIN"), login("SCRAM-SHA-256"), CERTIFICATE, *PROXIES], None),
    ("postfix by setup", postfix_by_setup, [PLAIN, STARTTLS], None),
    ("exim", exim, [*NETWORK, login("PLAIN"), login("LOGIN"), CERTIFICATE, *PROXIES], check_exim),
    ("opensmtpd", opensmtpd, [*NETWORK, login("PLAIN"), *PROXIES], None),
    ("sendmail", sendmail, [PLAIN, STARTTLS, CERTIFICATE, PROXY_V1_STARTTLS, PROXY_V2], None),
]
