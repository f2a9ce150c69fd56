"""The ways in which mail comes to a gateway."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """`tls` is None, "starttls" or "implicit"; `auth` a mechanism; `proxy` v1 or v2; `certificate` whether one is shown."""

    name: str
    gateway: str
    tls: str | None = None
    auth: str | None = None
    proxy: str | None = None
    certificate: bool = False

    @property
    def protocols(self):
        """As the gateway's `Received` names them (RFC 3848); mutt says HELO when it needs nothing of EHLO."""
        if not self.tls and not self.auth:
            return ["ESMTP", "SMTP"]
        return ["ESMTP" + ("S" if self.tls else "") + ("A" if self.auth else "")]


PLAIN = Way("plain", "bare")
STARTTLS = Way("STARTTLS", "tls", tls="starttls")
IMPLICIT = Way("implicit TLS", "tls", tls="implicit")
CERTIFICATE = Way("client certificate", "strict", tls="starttls", certificate=True)
CERTIFICATE_IMPLICIT = Way("client certificate, implicit TLS", "strict", tls="implicit", certificate=True)
PROXY_V1 = Way("PROXY v1", "balanced", proxy="v1")
# For what takes STARTTLS wherever it is offered.
PROXY_V1_STARTTLS = Way("PROXY v1, STARTTLS", "balanced", tls="starttls", proxy="v1")
PROXY_V2 = Way("PROXY v2, STARTTLS", "balanced", tls="starttls", proxy="v2")
PROXIES = [PROXY_V1, PROXY_V2]
NETWORK = [PLAIN, STARTTLS, IMPLICIT]


def login(mechanism, tls="starttls"):
    return Way(f"AUTH {mechanism}" + (", implicit TLS" if tls == "implicit" else ""), "strict", tls=tls, auth=mechanism)
