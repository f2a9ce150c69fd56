//! XCLIENT: a trusted proxy says for whom it speaks, as Postfix' XCLIENT_README describes it.
//!
//! Offered are the attributes that change something here: address, port and name of the client, and its greeting. Values are xtext;
//! `[UNAVAILABLE]` and `[TEMPUNAVAIL]` take back what is known. An attribute that is not offered is an error, not a loss.

use std::net::IpAddr;

use crate::params::xtext;

/// What EHLO lists.
pub(crate) const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO";
/// RFC 5321 §4.5.3.1.2.
const NAME_MAX: usize = 255;

/// What a proxy says of its client; nothing where it did not say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XClient {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Its host name, as the proxy resolved it; printable ASCII.
    pub name: Option<String>,
    /// What it greeted with; printable ASCII.
    pub helo: Option<String>,
    /// How it greeted.
    pub protocol: Option<Protocol>,
}

/// How a client greeted its proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
}

/// Reads `NAME=value …`. The error is what is wrong with it.
pub(crate) fn parse(argument: &str) -> Result<XClient, String> {
    let mut found = XClient::default();
    let mut seen = Vec::new();
    for word in argument.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (key, value) =
            word.split_once('=').ok_or("XCLIENT needs attribute=value; write it as in XCLIENT ADDR=192.0.2.1")?;
        let key = key.to_ascii_uppercase();
        let bad = || format!("XCLIENT's value of {key} cannot be read; encode it as the XCLIENT description says");
        let value = xtext(value).ok_or_else(bad)?;
        let value = known(&value);
        match key.as_str() {
            "ADDR" => found.address = value.map(|text| address(text).ok_or_else(bad)).transpose()?,
            "PORT" => found.port = value.map(|text| text.parse().map_err(|_| bad())).transpose()?,
            "NAME" => found.name = value.map(|text| word_of(text).ok_or_else(bad)).transpose()?,
            "HELO" => found.helo = value.map(|text| word_of(text).ok_or_else(bad)).transpose()?,
            "PROTO" => found.protocol = value.map(|text| protocol(text).ok_or_else(bad)).transpose()?,
            _ => return Err(format!("XCLIENT has only these attributes here: {ATTRIBUTES}; leave others out")),
        }
        if seen.contains(&key) {
            return Err(format!("XCLIENT has {key} twice; give it once"));
        }
        seen.push(key);
    }
    if seen.is_empty() {
        return Err("XCLIENT needs attribute=value; write it as in XCLIENT ADDR=192.0.2.1".to_owned());
    }
    Ok(found)
}

fn known(value: &str) -> Option<&str> {
    let unknown = ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|word| word.eq_ignore_ascii_case(value));
    (!unknown).then_some(value)
}

fn address(text: &str) -> Option<IpAddr> {
    match text.get(..5) {
        Some(head) if head.eq_ignore_ascii_case("IPV6:") => text[5..].parse().ok().map(IpAddr::V6),
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

fn word_of(text: &str) -> Option<String> {
    let good = !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| text.to_owned())
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_uppercase().as_str() {
        "SMTP" => Some(Protocol::Smtp),
        "ESMTP" => Some(Protocol::Esmtp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_attributes_are_read_in_any_case_and_decoded() {
        let got = parse("addr=192.0.2.7 Port=4711 name=mx+2Eexample.com proto=esmtp HELO=[UNAVAILABLE]").unwrap();
        let expected = XClient {
            address: Some("192.0.2.7".parse().unwrap()),
            port: Some(4711),
            name: Some("mx.example.com".into()),
            helo: None,
            protocol: Some(Protocol::Esmtp),
        };
        assert_eq!(got, expected);
        assert_eq!(parse("ADDR=ipv6:2001:db8::1").unwrap().address, "2001:db8::1".parse().ok());
        assert_eq!(parse("ADDR=[tempunavail]").unwrap(), XClient::default());
    }

    #[test]
    fn p2_what_cannot_be_read_is_an_error() {
        for bad in [
            "",
            "ADDR",
            "ADDR=1.2.3",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:1.2.3.4",
            "ADDR=",
            "PORT=70000",
            "PORT=x",
            "PROTO=LMTP",
            "NAME=a+0Db",
            "HELO=a+20b",
            "LOGIN=anna",
            "ADDR=1.2.3.4 ADDR=1.2.3.5",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
