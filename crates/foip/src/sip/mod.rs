//! The border to the SIP stack: what the agent needs of SIP, in plain types.
//!
//! ```text
//! agent ── Invite ──► Stack ──► Dialog (commands: ring, accept, reject, reinvite, hang_up)
//!   ▲                   │
//!   └── DialogEvent ◄───┘  Trying, Provisional, Final, Established, Offered, Ended
//! ```
//!
//! The stack itself (`stack`, the only module that names rsipstack) is a pinned dependency whose interface changes often;
//! nothing of it leaks past this module. Retransmissions, digest authentication, ACK and transaction timers
//! (RFC 3261 §17, §22) are its work; what a call means is the agent's.

use std::net::SocketAddr;

use crate::call::SipStatus;

mod stack;

pub(crate) use stack::{Binding, Dialog, Registrar, Responder, Stack};

/// Methods that we answer, for the Allow header (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO";
/// Body type of every offer and answer.
const SDP_TYPE: &str = "application/sdp";

/// Headers as name and value.
pub(crate) type Headers = Vec<(String, String)>;

/// How SIP goes to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Datagrams.
    Udp,
    /// One connection for all requests to the server.
    Tcp,
}

/// Where a trunk's server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// 5060 when left out.
    pub(crate) port: u16,
    pub(crate) carrier: Carrier,
}

/// Why the text of a trunk's server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// No host in it, or a port that is none.
    #[error("\"{0}\" is no server; write it as in sip.carrier.net:5060;transport=udp")]
    Unreadable(String),
    /// A transport that is not built in.
    #[error("transport \"{0}\" is not supported; use udp or tcp")]
    Transport(String),
}

/// RFC 3261 §19.1.2: the port of SIP over UDP and TCP.
const PORT_DEFAULT: u16 = 5060;

impl Server {
    /// Reads `host[:port][;transport=udp|tcp]`; IPv6 addresses stand in brackets when a port follows.
    pub(crate) fn parse(text: &str) -> Result<Self, ServerError> {
        let unreadable = || ServerError::Unreadable(text.chars().take(128).collect());
        let mut parts = text.trim().split(';');
        let place = parts.next().unwrap_or_default().trim();
        let mut carrier = Carrier::Udp;
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("transport") {
                carrier = match value.trim().to_ascii_lowercase().as_str() {
                    "udp" => Carrier::Udp,
                    "tcp" => Carrier::Tcp,
                    other => return Err(ServerError::Transport(other.to_owned())),
                };
            }
        }
        let (host, port) = split_port(place).ok_or_else(unreadable)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(unreadable());
        }
        Ok(Self { host: host.to_owned(), port, carrier })
    }
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port` and a bare v6 address.
fn split_port(place: &str) -> Option<(&str, u16)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None if after.is_empty() => Some((host, PORT_DEFAULT)),
            None => None,
        };
    }
    match place.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((place, PORT_DEFAULT)),
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((place, PORT_DEFAULT)),
    }
}

/// An INVITE to send.
#[derive(Debug, Clone)]
pub(crate) struct Invite {
    pub(crate) server: Server,
    /// The server's address, resolved.
    pub(crate) to: SocketAddr,
    /// User part of the request URI and of To.
    pub(crate) number: String,
    /// User part of From.
    pub(crate) from: String,
    /// Our address in Contact.
    pub(crate) contact: SocketAddr,
    /// User and password for digest authentication.
    pub(crate) credential: Option<(String, String)>,
    pub(crate) headers: Headers,
    /// SDP.
    pub(crate) offer: String,
}

/// A response, in the parts that matter to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) phrase: String,
    pub(crate) q850: Option<u16>,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// As evidence of a call.
    pub(crate) fn status(&self, rang: bool) -> SipStatus {
        SipStatus {
            code: self.code,
            phrase: self.phrase.clone(),
            q850: self.q850,
            retry_after_s: self.retry_after_s,
            rang,
            local: false,
        }
    }
}

/// A request inside a dialog that may change the session: re-INVITE or UPDATE.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Whether it is an UPDATE: its answer carries no SDP when it brought none (RFC 3311 §5.2).
    pub(crate) update: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) responder: Responder,
}

/// Who ended a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// BYE (or CANCEL) of the far side.
    Remote,
    /// Our BYE, CANCEL or final answer.
    Local,
    /// A refusal, or no ACK within 32 s.
    Failure,
}

/// What happens in a dialog, in order.
#[derive(Debug)]
pub(crate) enum DialogEvent {
    /// 100 came.
    Trying,
    /// 180 to 199 came.
    Provisional,
    /// The final answer to our INVITE; none when the transaction failed without one.
    Final(Option<Answer>),
    /// The ACK to our 200 came.
    Established,
    /// The far side wants to change or refresh the session.
    Offered(Offered),
    /// The dialog is over; nothing follows.
    Ended(EndedBy),
}

/// An INVITE that came in.
pub(crate) struct IncomingInvite {
    /// User part of the request URI.
    pub(crate) number: String,
    /// User part of From.
    pub(crate) caller: String,
    /// `X-Fax-Id`, as it came.
    pub(crate) fax_id: Option<String>,
    /// SDP offer.
    pub(crate) body: Vec<u8>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) dialog: Dialog,
    pub(crate) events: tokio::sync::mpsc::UnboundedReceiver<DialogEvent>,
}

/// Q.850 cause out of the values of all Reason headers (RFC 3326 §2), as in `Q.850;cause=17;text="busy"`.
pub(crate) fn q850_cause<'a>(reasons: impl Iterator<Item = &'a str>) -> Option<u16> {
    // Several reasons may share one header, separated by commas; a comma inside a quoted text only ends the search early.
    reasons.flat_map(|value| value.split(',')).find_map(|reason| {
        let mut parts = reason.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("Q.850") {
            return None;
        }
        parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let cause = value.trim().trim_matches('"').parse().ok()?;
            // Q.850 §2.2.5: seven bits. Asterisk writes 0, which is no cause, when it hangs up before it knows one.
            (name.trim().eq_ignore_ascii_case("cause") && (1..=127).contains(&cause)).then_some(cause)
        })
    })
}

/// Seconds of a Retry-After header (RFC 3261 §20.33), as in `18000;duration=3600` or `120 (in maintenance)`.
pub(crate) fn retry_after_s(value: &str) -> Option<u32> {
    let digits: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_and_without_port_and_transport() {
        let check = |text: &str, expected: Option<(&str, u16, Carrier)>| {
            let server = Server::parse(text).ok();
            let expected = expected.map(|(host, port, carrier)| Server { host: host.to_owned(), port, carrier });
            assert_eq!(server, expected, "{text}");
        };
        check("sip.carrier.net", Some(("sip.carrier.net", 5060, Carrier::Udp)));
        check("sip.carrier.net:5062", Some(("sip.carrier.net", 5062, Carrier::Udp)));
        check("10.0.0.1:5061;transport=TCP", Some(("10.0.0.1", 5061, Carrier::Tcp)));
        check("[2001:db8::1]:5070", Some(("2001:db8::1", 5070, Carrier::Udp)));
        check("2001:db8::1", Some(("2001:db8::1", 5060, Carrier::Udp)));
        check("[::1];transport=udp", Some(("::1", 5060, Carrier::Udp)));
        for bad in ["", ":5060", "host:port", "a b", "host:99999", "[::1", "[::1]x", "host;transport=tls", "a@b"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_reason_header_gives_its_q850_cause() {
        let check = |values: &[&str], expected: Option<u16>| {
            assert_eq!(q850_cause(values.iter().copied()), expected, "{values:?}");
        };
        check(&["Q.850;cause=17;text=\"busy\""], Some(17));
        check(&["q.850 ; Cause = 34"], Some(34));
        check(&["SIP;cause=480, Q.850;cause=19"], Some(19));
        check(&["SIP;cause=480", "Q.850;cause=1"], Some(1));
        check(&["SIP;cause=480"], None);
        check(&["Q.850;text=\"x\""], None);
        check(&["Q.850;cause=900"], None);
        check(&["Q.850;cause=0"], None);
        check(&["Q.850;cause=0", "Q.850;cause=34"], Some(34));
        check(&[], None);
    }

    #[test]
    fn retry_after_may_carry_a_comment() {
        for (value, expected) in [("120", Some(120)), (" 18000;duration=3600", Some(18000)), ("5 (busy)", Some(5))] {
            assert_eq!(retry_after_s(value), expected, "{value}");
        }
        assert_eq!(retry_after_s("soon"), None);
    }
}
