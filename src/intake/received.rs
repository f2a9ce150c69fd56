//! The trace field that we put in front of a mail (RFC 5321 §4.4).

use std::net::IpAddr;

use crate::domain::Timestamp;

/// Where a mail came from.
#[derive(Debug, Clone)]
pub(crate) struct Trace<'a> {
    /// EHLO or HELO name; printable ASCII.
    pub(crate) hello: &'a str,
    /// Its address.
    pub(crate) peer: IpAddr,
    /// `ESMTP`, `SMTP`, `UTF8SMTP` (RFC 3848, RFC 6531 §4.3).
    pub(crate) protocol: &'a str,
    /// Protocol and suite of TLS, when there is one.
    pub(crate) cipher: Option<&'a str>,
}

/// `Received: from … by … with … id …; date` and CRLF.
pub(crate) fn field(trace: &Trace<'_>, by: &str, id: &str, now: Timestamp) -> String {
    // Parentheses and semicolons would end the comment or the clause.
    let hello: String = trace.hello.chars().map(|c| if "();\\\"".contains(c) { '?' } else { c }).collect();
    let literal = match trace.peer {
        IpAddr::V4(peer) => format!("[{peer}]"),
        // RFC 5321 §4.1.3.
        IpAddr::V6(peer) => format!("[IPv6:{peer}]"),
    };
    let cipher = trace.cipher.map_or_else(String::new, |cipher| format!(" ({cipher})"));
    let (protocol, date) = (trace.protocol, date(now));
    format!("Received: from {hello} ({literal})\r\n\tby {by} with {protocol}{cipher} id {id};\r\n\t{date}\r\n")
}

/// RFC 5322 §3.3, in UTC.
pub(crate) fn date(now: Timestamp) -> String {
    now.to_jiff().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_names_both_ends_protocol_id_and_time() {
        let trace = Trace { hello: "a(b);c", peer: "2001:db8::7".parse().unwrap(), protocol: "ESMTP", cipher: None };
        let expected = "Received: from a?b??c ([IPv6:2001:db8::7])\r\n\tby fax.test with ESMTP id M-1;\r\n\t\
                        Sun, 22 Nov 2026 10:00:00 +0000\r\n";
        let now = Timestamp(1_795_341_600_000);
        assert_eq!(field(&trace, "fax.test", "M-1", now), expected);
        let tls = Trace { protocol: "ESMTPS", cipher: Some("TLS1.3 TLS13_AES_256_GCM_SHA384"), ..trace };
        let with = "with ESMTPS (TLS1.3 TLS13_AES_256_GCM_SHA384) id M-1;";
        assert_eq!(field(&tls, "fax.test", "M-1", now), expected.replace("with ESMTP id M-1;", with), "S16");
    }
}
