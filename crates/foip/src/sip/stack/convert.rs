//! Between the stack's types and ours.

use std::net::{IpAddr, SocketAddr};

use rsipstack::dialog::authenticate::Credential;
use rsipstack::sip::{Auth, Header, Host, HostWithPort, Param, Response, Scheme, Transport, Uri};
use rsipstack::transport::SipAddr;

use crate::sip::{ALLOW, Answer, Carrier, Server, q850_cause, retry_after_s};

pub(super) fn answer(response: Response) -> Answer {
    let values = |name: &'static str| {
        response.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name)).map(|h| h.value().to_string())
    };
    let reasons: Vec<String> = values("Reason").collect();
    Answer {
        code: response.status_code.code(),
        phrase: response.wire_reason.as_deref().unwrap_or(response.status_code.text()).chars().take(128).collect(),
        q850: q850_cause(reasons.iter().map(String::as_str)),
        retry_after_s: values("Retry-After").find_map(|value| retry_after_s(&value)),
        body: response.body,
    }
}

pub(super) fn allow() -> (String, String) {
    (String::from("Allow"), ALLOW.to_owned())
}

/// Values come from configuration and orders; a line break in one would forge a header.
pub(super) fn header(name: String, value: String) -> Header {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    match name.as_str() {
        "Content-Type" => Header::ContentType(value.into()),
        "Allow" => Header::Allow(value.into()),
        _ => Header::Other(name, value),
    }
}

fn host(text: &str) -> Host {
    match text.parse::<IpAddr>() {
        Ok(ip) => Host::IpAddr(ip),
        Err(_) => Host::Domain(text.into()),
    }
}

pub(super) fn uri(user: &str, server: &Server) -> Uri {
    let params = match server.carrier {
        Carrier::Udp => vec![],
        Carrier::Tcp => vec![Param::Transport(Transport::Tcp)],
    };
    Uri {
        scheme: Some(Scheme::Sip),
        auth: Some(Auth { user: user.to_owned(), password: None }),
        host_with_port: HostWithPort { host: host(&server.host), port: Some(server.port.into()) },
        params,
        headers: vec![],
    }
}

pub(super) fn contact(user: &str, address: SocketAddr) -> Uri {
    let auth = (!user.is_empty()).then(|| Auth { user: user.to_owned(), password: None });
    Uri { scheme: Some(Scheme::Sip), auth, host_with_port: address.into(), params: vec![], headers: vec![] }
}

pub(super) fn address(to: SocketAddr, carrier: Carrier) -> SipAddr {
    let transport = match carrier {
        Carrier::Udp => Transport::Udp,
        Carrier::Tcp => Transport::Tcp,
    };
    SipAddr::new(transport, to.into())
}

pub(super) fn credential((username, password): (String, String)) -> Credential {
    Credential { username, password, realm: None, auth_username: None }
}
