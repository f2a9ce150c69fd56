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


PLAIN = Way("plain", "bare")
STARTTLS = Way("STARTTLS", "tls", tls="starttls")
IMPLICIT = Way("implicit TLS", "tls", tls="implicit")
CERTIFICATE = Way("client certificate", "strict", tls="starttls", certificate=True)
CERTIFICATE_IMPLICIT = Way("client certificate, implicit TLS", "strict", tls="implicit", certificate=True)
PROXY_V1 = Way("PROXY v1", "balanced", proxy="v1")
PROXY_V2 = Way("PROXY v2, STARTTLS", "balanced", tls="starttls", proxy="v2")
PROXIES = [PROXY_V1, PROXY_V2]
NETWORK = [PLAIN, STARTTLS, IMPLICIT]


def login(mechanism, tls="starttls"):
    return Way(f"AUTH {mechanism}" + (", implicit TLS" if tls == "implicit" else ""), "strict", tls=tls, auth=mechanism)
