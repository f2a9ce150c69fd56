"""Programs that people and devices send with: one function each, beside the ways that it can go."""

import asyncio
import json
import os
import smtplib
import ssl
import sys

from place import PASSWORD, USER, run
from ways import CERTIFICATE, CERTIFICATE_IMPLICIT, NETWORK, PROXIES, login


def swaks(mail, way, place):
    command = ["swaks", "--server", f"127.0.0.1:{place.port(way)}", "--from", mail.sender, "--to", mail.recipient,
               "--data", "@" + mail.eml]
    command += {"starttls": ["--tls"], "implicit": ["--tlsc"], None: []}[way.tls]
    if way.tls:
        command += ["--tls-ca-path", place.ca]
    if way.auth:
        command += ["--auth", way.auth, "--auth-user", USER, "--auth-password", PASSWORD]
    if way.certificate:
        command += ["--tls-cert", f"{place.certs}/client.pem", "--tls-key", f"{place.certs}/client.key.pem"]
    # Otherwise a value that begins with + is an option to it.
    run(command, env={**os.environ, "POSIXLY_CORRECT": "1"})


def curl(mail, way, place):
    scheme = "smtps" if way.tls == "implicit" else "smtp"
    command = ["curl", "--silent", "--show-error", f"{scheme}://localhost:{place.port(way)}/client.example.com", "--mail-from",
               mail.sender, "--mail-rcpt", mail.recipient, "--upload-file", mail.eml, "--noproxy", "*"]
    if way.tls:
        command += ["--ssl-reqd", "--cacert", place.ca]
    if way.auth in ("XOAUTH2", "OAUTHBEARER"):
        command += ["--user", USER + ":", "--oauth2-bearer", place.token, "--login-options", "AUTH=" + way.auth]
    elif way.auth:
        command += ["--user", f"{USER}:{PASSWORD}", "--login-options", "AUTH=" + way.auth]
    if way.certificate:
        command += ["--cert", f"{place.certs}/client.pem", "--key", f"{place.certs}/client.key.pem"]
    run(command)


def tls_of(way, place):
    context = ssl.create_default_context(cafile=place.ca)
    if way.certificate:
        context.load_cert_chain(f"{place.certs}/client.pem", f"{place.certs}/client.key.pem")
    return context


def python_smtplib(mail, way, place):
    if way.tls == "implicit":
        smtp = smtplib.SMTP_SSL("localhost", place.port(way), timeout=60, context=tls_of(way, place))
    else:
        smtp = smtplib.SMTP("localhost", place.port(way), timeout=60)
    with smtp:
        if way.tls == "starttls":
            smtp.starttls(context=tls_of(way, place))
        if way.auth:
            smtp.user, smtp.password = USER, PASSWORD
            smtp.ehlo()
            smtp.auth(way.auth, getattr(smtp, "auth_" + way.auth.lower()))
        smtp.send_message(
            mail.message(), mail.sender, [mail.recipient],
            mail_options=["RET=HDRS", f"ENVID={mail.envelope_id}"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{mail.original_recipient}"])


def python_aiosmtplib(mail, way, place):
    sys.path.insert(0, f"{place.senders}/python/aiosmtplib")
    import aiosmtplib

    async def send():
        smtp = aiosmtplib.SMTP(hostname="localhost", port=place.port(way), use_tls=way.tls == "implicit", start_tls=way.tls == "starttls",
                               tls_context=tls_of(way, place) if way.tls else None, timeout=60)
        async with smtp:
            if way.auth:
                await smtp.ehlo()
            if way.auth == "PLAIN":
                await smtp.auth_plain(USER, PASSWORD)
            elif way.auth == "LOGIN":
                await smtp.auth_login(USER, PASSWORD)
            await smtp.send_message(
                mail.message(), sender=mail.sender, recipients=[mail.recipient],
                mail_options=["RET=HDRS", f"ENVID={mail.envelope_id}"],
                rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{mail.original_recipient}"])

    asyncio.run(send())


def msmtp(mail, way, place):
    with open(mail.eml, "rb") as file:
        run(["msmtp", "-C", msmtprc(mail, way, place), "--", mail.recipient], stdin=file)


def msmtprc(mail, way, place):
    lines = ["account default", "host localhost", f"port {place.port(way)}", f"from {mail.sender}"]
    if way.tls:
        lines += ["tls on", f"tls_trust_file {place.ca}", f"tls_starttls {'on' if way.tls == 'starttls' else 'off'}"]
    if way.auth:
        lines += [f"auth {way.auth.lower()}", f"user {USER}", f'password "{PASSWORD}"']
    if way.certificate:
        lines += [f"tls_cert_file {place.certs}/client.pem", f"tls_key_file {place.certs}/client.key.pem"]
    lines += ["dsn_return headers", "dsn_notify success,failure"]
    path = f"{mail.folder}/msmtprc"
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(path, 0o600)
    return path


def mutt_through_msmtp(mail, way, place):
    """With a certificate, mutt's own SMTP demands AUTH EXTERNAL; msmtp shows it and is content."""
    mutt_with([f'set sendmail="msmtp -C {msmtprc(mail, way, place)}"'], mail)


def mutt(mail, way, place):
    scheme, user = ("smtps" if way.tls == "implicit" else "smtp"), f"{USER}@" if way.auth else ""
    lines = [f"set certificate_file={place.ca}",
             f"set smtp_url={scheme}://{user}localhost:{place.port(way)}/",
             f"set ssl_starttls={'yes' if way.tls == 'starttls' else 'no'}", f"set ssl_force_tls={'yes' if way.tls else 'no'}"]
    if way.auth:
        lines += [f'set smtp_pass="{PASSWORD}"', f'set smtp_authenticators="{way.auth.lower()}"']
    mutt_with(lines, mail)


def mutt_with(settings, mail):
    lines = ["set copy=no", f"set from={mail.sender}", "set use_envelope_from=yes", "set use_domain=no", "set hostname=client.example.com"]
    path = f"{mail.folder}/muttrc"
    with open(path, "w") as file:
        file.write("\n".join(lines + settings) + "\n")
    body = "The attachment is what becomes pages.\n"
    command = ["mutt", "-n", "-F", path, "-s", mail.subject, "-a", mail.path, "--", mail.recipient]
    run(command, input=body, env={**os.environ, "HOME": mail.folder, "TERM": "dumb"})


def nodemailer(mail, way, place):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nodemailer.js")
    arguments = {
        "port": place.port(way), "tls": way.tls, "auth": way.auth, "certificate": way.certificate, "ca": place.ca, "certs": place.certs,
        "user": USER, "password": PASSWORD, "token": place.token, "from": mail.sender, "to": mail.recipient,
        "subject": mail.subject, "path": mail.path, "envid": mail.envelope_id, "orcpt": mail.original_recipient}
    run(["node", script, json.dumps(arguments)], env={**os.environ, "NODE_PATH": f"{place.senders}/node/node_modules"})


PASSWORDS = [login("PLAIN"), login("LOGIN")]
SCRAM = login("SCRAM-SHA-256")
# Name, function, whether it speaks DSN with ENVID and ORCPT, its ways.
CLIENTS = [
    ("swaks", swaks, False, [*NETWORK, *PASSWORDS, CERTIFICATE, CERTIFICATE_IMPLICIT, *PROXIES]),
    ("curl", curl, False, [*NETWORK, *PASSWORDS, login("PLAIN", "implicit"), login("XOAUTH2"), login("OAUTHBEARER"),
                           CERTIFICATE, CERTIFICATE_IMPLICIT, *PROXIES]),
    ("smtplib", python_smtplib, True, [*NETWORK, *PASSWORDS, CERTIFICATE, *PROXIES]),
    ("aiosmtplib", python_aiosmtplib, True, [*NETWORK, *PASSWORDS, CERTIFICATE, *PROXIES]),
    ("nodemailer", nodemailer, True, [*NETWORK, *PASSWORDS, login("XOAUTH2"), CERTIFICATE, *PROXIES]),
    ("msmtp", msmtp, False, [*NETWORK, *PASSWORDS, SCRAM, CERTIFICATE, *PROXIES]),
    ("mutt", mutt, False, [*NETWORK, *PASSWORDS, SCRAM, *PROXIES]),
    ("mutt through msmtp", mutt_through_msmtp, False, [CERTIFICATE]),
]
