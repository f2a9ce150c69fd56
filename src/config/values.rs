//! What single values mean: durations, sizes, addresses, numbers. Text in, a type or a [`Fault`] out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::model::RetryRule;
use super::senders::Proof;
use crate::domain::{FaxNumber, inbound};

/// Why a text is not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Slug of the problem.
    pub code: &'static str,
    /// What is wrong with the text, without naming the key.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl Fault {
    fn invalid(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: "invalid-value", message: message.into(), fix: fix.into() }
    }

    fn unsupported(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: "not-supported", message: message.into(), fix: fix.into() }
    }
}

/// Shorthand.
pub type Parsed<T> = Result<T, Fault>;

/// `500ms`, `30s`, `5m`, `24h`, `30d`.
pub fn duration(text: &str) -> Parsed<Duration> {
    let fault = || {
        Fault::invalid(
            format!("\"{text}\" is not a duration"),
            "write a number and a unit: ms, s, m, h or d, as in \"5m\"",
        )
    };
    let (number, unit) = split_unit(text).ok_or_else(fault)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(fault)
}

/// How long a fax waits until its sender is told: a duration from 1m to 7d; none for `off`.
pub fn delay(text: &str) -> Parsed<Option<Duration>> {
    if text == "off" {
        return Ok(None);
    }
    let minute = Duration::from_secs(60);
    let wait = duration(text)?;
    if wait < minute || wait > minute * 60 * 24 * 7 {
        return Err(Fault::invalid(format!("\"{text}\" is out of range"), "write 1m to 7d, or \"off\""));
    }
    Ok(Some(wait))
}

/// `64kB`, `25MB`, `1GB` (powers of ten) and `64KiB`, `25MiB`, `1GiB`.
pub fn size(text: &str) -> Parsed<u64> {
    let fault = || {
        Fault::invalid(
            format!("\"{text}\" is not a size"),
            "write a number and a unit: kB, MB, GB, KiB, MiB or GiB, as in \"25MB\"",
        )
    };
    let (number, unit) = split_unit(text).ok_or_else(fault)?;
    let unit_bytes = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(fault()),
    };
    number.checked_mul(unit_bytes).ok_or_else(fault)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Most calls of one retry rule. A fax that needs more has another problem.
const RETRIES_MAX: u32 = 100;

/// `3x 5m`.
pub fn retry_rule(text: &str) -> Parsed<RetryRule> {
    let fault = |why: &str| {
        Fault::invalid(
            format!("\"{text}\" is not a retry rule{why}"),
            "write how often and how long apart, as in \"3x 5m\"",
        )
    };
    let (times, wait) = text.split_once('x').ok_or_else(|| fault(""))?;
    let times: u32 = times.trim().parse().map_err(|_| fault(""))?;
    let wait = duration(wait.trim()).map_err(|inner| fault(&format!(": {}", inner.message)))?;
    if times > RETRIES_MAX {
        return Err(fault(&format!(": more than {RETRIES_MAX} calls")));
    }
    if wait < Duration::from_secs(1) || wait > Duration::from_secs(7 * 86_400) {
        return Err(fault(": the pause must be between 1s and 7d"));
    }
    Ok(RetryRule { times, wait })
}

/// A domain name in ASCII form, at most 253 octets (RFC 1035 §2.3.4), two labels or more.
pub fn domain(text: &str) -> Parsed<()> {
    let labels: Vec<&str> = text.split('.').collect();
    let label_fits = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && labels.len() >= 2 && labels.iter().all(label_fits) {
        Ok(())
    } else {
        let fix = "write a full domain name in ASCII (xn--… for other scripts), as in \"fax.example.com\"";
        Err(Fault::invalid(format!("\"{text}\" is not a domain name"), fix))
    }
}

/// Name of a node: 1 to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
pub fn name(text: &str) -> Parsed<()> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" cannot be a name"),
            "use letters, digits, hyphens, dots and underscores, 63 at most",
        ))
    }
}

/// Name of a line or a route: as [`name`], without dots, 32 characters at most.
pub fn table_name(text: &str) -> Parsed<()> {
    if name(text).is_ok() && text.len() <= 32 && !text.contains('.') {
        return Ok(());
    }
    Err(Fault::invalid(
        format!("\"{text}\" cannot be a name"),
        "use letters, digits, hyphens and underscores, 32 at most",
    ))
}

/// `127.0.0.1:2525`, `[::1]:2525`.
pub fn listen(text: &str) -> Parsed<SocketAddr> {
    let fix =
        "write address and port, as in \"127.0.0.1:2525\" or \"[::1]:2525\"; \"0.0.0.0:25\" is every IPv4 interface";
    text.parse().map_err(|_| Fault::invalid(format!("\"{text}\" is not an address with a port"), fix))
}

/// An entry of `smtp.relay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relay {
    /// A network, or an address that stands for itself.
    Network(IpNet),
    /// A client certificate: a DNS name in lower case, or the certificate's SHA-256 in hexadecimal digits.
    Certificate(String),
    /// A domain that the mail itself proves.
    Domain(Proof),
}

impl From<Relay> for Proof {
    fn from(relay: Relay) -> Self {
        match relay {
            Relay::Network(network) => Self::Network(network),
            Relay::Certificate(name) => Self::Certificate(name),
            Relay::Domain(proof) => proof,
        }
    }
}

/// An entry of `smtp.relay` or of `relay` of a sender: a network, `cert:` and what a client certificate says, `dkim:` or `spf:` and a domain.
pub fn relay(text: &str) -> Parsed<Relay> {
    if text.starts_with("dkim:") || text.starts_with("spf:") {
        let fix = "write the domain behind the @ of its addresses, as in \"dkim:example.com\"";
        let fault = |_| Fault::invalid(format!("\"{text}\" names no domain"), fix);
        return text.parse().map(Relay::Domain).map_err(fault);
    }
    let Some(wanted) = text.strip_prefix("cert:") else { return network(text).map(Relay::Network) };
    let wanted = wanted.to_ascii_lowercase();
    let digits = wanted.replace(':', "");
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(Relay::Certificate(digits));
    }
    if domain(&wanted).is_ok() {
        return Ok(Relay::Certificate(wanted));
    }
    let fix = "write a DNS name of the certificate or its SHA-256 fingerprint, as in \"cert:mail.example.com\"";
    Err(Fault::invalid(format!("\"{text}\" names no certificate"), fix))
}

/// Where keys are: a path, or a URL that nobody can change on the way.
pub fn keys(text: &str) -> Parsed<()> {
    if text.contains("://") && !text.starts_with("https://") {
        return Err(Fault::invalid(format!("\"{text}\" is no https URL"), "write https://…, or the path of a file"));
    }
    if text.starts_with("https://") { Ok(()) } else { path(text) }
}

/// What accounting calls somebody, an issuer, an audience: one line.
pub fn label(text: &str) -> Parsed<()> {
    if (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Fault::invalid("it is not a text of 1 to 128 characters", "write one line"))
    }
}

/// A network, or an address that stands for itself.
pub fn network(text: &str) -> Parsed<IpNet> {
    let fault = || {
        Fault::invalid(
            format!("\"{text}\" is not a network"),
            "write a network or an address, as in \"10.0.5.0/24\" or \"::1\"",
        )
    };
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| fault())?,
    };
    if net.addr() == net.trunc().addr() {
        Ok(net)
    } else {
        let fix = format!("write \"{}\", or \"{}\" for this one address", net.trunc(), net.addr());
        Err(Fault::invalid(format!("\"{text}\" has bits set behind its prefix length"), fix))
    }
}

/// A reverse-path pattern: an address with `*` as wildcard.
pub fn sender(text: &str) -> Parsed<()> {
    let fits = text.len() <= 254
        && text.matches('@').count() == 1
        && no_spaces(text)
        && !text.ends_with('@')
        && !text.starts_with('@');
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not a sender pattern"),
            "write an address or a pattern, as in \"*@example.com\"",
        ))
    }
}

/// `local@domain`.
pub fn mailbox(text: &str) -> Parsed<()> {
    let fits = text.len() <= 254
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && host(domain).is_ok())
        && no_spaces(text);
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not a mail address"),
            "write an address, as in \"office@example.com\"",
        ))
    }
}

/// `Name <local@domain>` or `local@domain`.
pub fn named_mailbox(text: &str) -> Parsed<()> {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or(""),
        None => text,
    };
    let plain = text.len() <= 320 && !text.chars().any(char::is_control);
    if plain && mailbox(address).is_ok() {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not a name with an address"),
            "write it as in \"Fax <fax@fax.example.com>\"",
        ))
    }
}

fn no_spaces(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn host(text: &str) -> Result<(), ()> {
    let label_fits =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if text.len() <= 253 && text.split('.').all(label_fits) { Ok(()) } else { Err(()) }
}

/// `host[:port]` with a host name, an IPv4 address or an IPv6 address in brackets.
pub fn server(text: &str) -> Parsed<()> {
    let fault = || {
        Fault::invalid(
            format!("\"{text}\" is not a host with an optional port"),
            "write it as in \"mail.example.com:587\"",
        )
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(fault)?;
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if address.parse::<std::net::Ipv6Addr>().is_ok() && port_fits { Ok(()) } else { Err(fault()) };
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    if host(name).is_ok() && port.is_none_or(is_port) { Ok(()) } else { Err(fault()) }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A SIP server: `host[:port]`, over UDP.
pub fn sip_server(text: &str) -> Parsed<()> {
    let (place, parameters) = text.split_once(';').map_or((text, ""), |(place, rest)| (place, rest));
    if parameters.is_empty() {
        return server(place).map_err(|_| {
            Fault::invalid(
                format!("\"{text}\" is not a SIP server"),
                "write host and port, as in \"sip.carrier.net:5060\"",
            )
        });
    }
    let message = format!("\";{parameters}\": SIP over anything but UDP is not built yet in this version");
    Err(Fault::unsupported(message, format!("write \"{place}\" and let the carrier accept SIP over UDP on this port")))
}

/// A path of the local file system.
pub fn path(text: &str) -> Parsed<()> {
    if text.is_empty() || text.contains('\0') || text.contains("://") {
        return Err(Fault::invalid(
            format!("\"{text}\" is not a local path"),
            "write a path; relative ones begin at this file's folder",
        ));
    }
    Ok(())
}

/// A path, or the URL of a bucket.
pub fn documents(text: &str) -> Parsed<()> {
    if text.starts_with("s3://") { bucket(text).map(drop) } else { path(text) }
}

/// What the URL of a bucket says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketUrl {
    /// Its name.
    pub bucket: String,
    /// What the names of its objects begin with, without slashes around.
    pub prefix: String,
    /// `http://host:port` or `https://…`, without a slash behind.
    pub endpoint: Option<String>,
    /// As in `eu-central-1`.
    pub region: Option<String>,
}

/// `s3://bucket[/prefix][?endpoint=http://host:port][&region=…]`
pub fn bucket(text: &str) -> Parsed<BucketUrl> {
    let fix = "write it as in \"s3://fax-docs?endpoint=https://s3.example.com&region=eu-central-1\"";
    let fault = |why: String| Fault::invalid(why, fix);
    let rest = text.strip_prefix("s3://").ok_or_else(|| fault(format!("\"{text}\" is no s3:// URL")))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
    if name.contains('@') || name.contains(':') {
        let why = "credentials and servers do not stand before the bucket of an s3:// URL".to_owned();
        let fix =
            "write the server as ?endpoint=…, and the credentials as store.s3 = { access_key = …, secret_key = … }";
        return Err(Fault::invalid(why, fix));
    }
    // As S3 names buckets.
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !(3..=63).contains(&name.len()) || !name.chars().all(sound) {
        return Err(fault(format!("\"{name}\" is no name of a bucket")));
    }
    let prefix = prefix.trim_matches('/');
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/');
    if prefix.len() > 200 || prefix.contains("//") || !prefix.chars().all(sound) {
        return Err(fault(format!("\"{prefix}\" is no prefix: at most 200 letters, digits and -._/")));
    }
    let mut url = BucketUrl { bucket: name.to_owned(), prefix: prefix.to_owned(), ..BucketUrl::default() };
    for (key, value) in query.split('&').filter(|part| !part.is_empty()).map(|p| p.split_once('=').unwrap_or((p, ""))) {
        let value = value.trim_end_matches('/');
        match key {
            "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
                url.endpoint = Some(value.to_owned());
            }
            "endpoint" => {
                return Err(fault(format!("the endpoint \"{value}\" is not http://HOST:PORT or https://HOST")));
            }
            "region" if !value.is_empty() => url.region = Some(value.to_owned()),
            "region" => return Err(fault("the region of the bucket is empty".to_owned())),
            other => return Err(fault(format!("an s3:// URL has no setting \"{other}\"; it has endpoint and region"))),
        }
    }
    Ok(url)
}

/// A path, or the URL of a PostgreSQL database without a password in it.
pub fn database(text: &str) -> Parsed<()> {
    let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
        return path(text);
    };
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') {
        return Err(Fault::invalid(
            "a password in the URL of a database",
            "take it out, and write store.password = { file = \"secrets/store\" }",
        ));
    }
    if name.split('?').next().unwrap_or_default().is_empty() {
        return Err(Fault::invalid(
            format!("\"{text}\" names no database"),
            "write it as in \"postgres://faxwell@db1:5432/faxwell\"",
        ));
    }
    Ok(())
}

/// `host` or `host:port` of a database server.
pub fn database_host(text: &str) -> Parsed<()> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(sound) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Fault::invalid(format!("\"{text}\" is no host with a port"), "write it as in \"db1:5432\""));
    }
    Ok(())
}

/// `+` and 1 to 15 digits: the beginning of an international number.
pub fn prefix(text: &str) -> Parsed<()> {
    let digits = text.strip_prefix('+').unwrap_or("");
    let fits =
        (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not the beginning of an international number"),
            "write it with plus sign and country code, as in \"+41\"",
        ))
    }
}

/// A whole number in E.164 form.
pub fn number(text: &str) -> Parsed<()> {
    let fault = |_| {
        Fault::invalid(
            format!("\"{text}\" is not an international number"),
            "write plus sign, country code and number without spaces, as in \"+41440000000\"",
        )
    };
    text.parse::<FaxNumber>().map(drop).map_err(fault)
}

fn part_of_rule(checked: Result<(), inbound::RuleFault>) -> Parsed<()> {
    checked.map_err(|fault| Fault::invalid(fault.message, fault.fix))
}

/// A number as a trunk writes it, or its beginning with a star.
pub fn number_pattern(text: &str) -> Parsed<()> {
    part_of_rule(inbound::check_number("did", text))
}

/// A station id, `*` standing for any characters.
pub fn station_id(text: &str) -> Parsed<()> {
    part_of_rule(inbound::check_tsi(text))
}

/// A subaddress (T.30 SUB).
pub fn subaddress(text: &str) -> Parsed<()> {
    part_of_rule(inbound::check_subaddress(text))
}

/// Days and times of day.
pub fn times(text: &str) -> Parsed<()> {
    part_of_rule(inbound::check_times(text))
}

/// ISO 3166 code of two letters.
pub fn country(text: &str) -> Parsed<()> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not a country code"),
            "write the two letters of ISO 3166, as in \"CH\"",
        ))
    }
}

/// Name of a cover, or `none`.
pub fn cover(text: &str) -> Parsed<()> {
    name(text).map_err(|_| {
        Fault::invalid(
            format!("\"{text}\" is not the name of a cover"),
            "write a cover's name, as in \"plain\", or \"none\"",
        )
    })
}

/// User part of a SIP address of record.
pub fn sip_user(text: &str) -> Parsed<()> {
    let fits =
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>@:;\"\\".contains(&b));
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid(
            format!("\"{text}\" is not a SIP user name"),
            "write the user name without domain, as in \"4144000\"",
        ))
    }
}

/// `real-time`, or the sandbox's lock-step at most this many times faster, as in `30x`, or as fast as possible: `max`.
pub fn pace(text: &str) -> Parsed<foip::call::Pace> {
    if text == "real-time" {
        return Ok(foip::call::Pace::RealTime);
    }
    if text == "max" {
        return Ok(foip::call::Pace::LockStep(f32::INFINITY));
    }
    let times = text.strip_suffix('x').and_then(|times| times.parse::<f32>().ok());
    match times.filter(|times| (1.0..=1000.0).contains(times)) {
        Some(times) => Ok(foip::call::Pace::LockStep(times)),
        None => Err(Fault::invalid(
            format!("\"{text}\" is not a pace"),
            "write \"real-time\", or \"30x\" or \"max\" on the sandbox's line",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_number_and_a_known_unit() {
        for (text, ms) in [("500ms", 500), ("5m", 300_000), ("24h", 86_400_000), ("30 d", 2_592_000_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "m", "5 weeks", "-5m", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, bytes) in [("25MB", 25_000_000), ("64 KiB", 65_536), ("1gb", 1_000_000_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert!(size("25").is_err() && size("25 M").is_err() && size("MB").is_err());
    }

    #[test]
    fn a_retry_rule_is_how_often_and_how_long_apart() {
        assert_eq!(retry_rule("3x 5m"), Ok(RetryRule { times: 3, wait: Duration::from_secs(300) }));
        assert_eq!(retry_rule("0x 1s").unwrap().times, 0);
        for text in ["3", "x 5m", "3x", "3x 5", "101x 5m", "3x 1ms", "3x 8d"] {
            assert!(retry_rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_relay_network_has_no_bits_behind_its_prefix() {
        assert_eq!(network("10.0.5.7").unwrap().to_string(), "10.0.5.7/32");
        assert!(relay("10.0.5.7/24").unwrap_err().fix.contains("10.0.5.0/24"));
        assert_eq!(relay("dkim:Example.com").unwrap(), Relay::Domain(Proof::Dkim("example.com".into())));
        assert!(relay("dkim:com").unwrap_err().message.contains("names no domain"));
    }

    #[test]
    fn servers_and_domains_are_names_and_not_urls() {
        for good in ["mx1.example.com:587", "mx", "10.0.0.1:25", "[2001:db8::1]:25", "[::1]"] {
            assert!(server(good).is_ok(), "{good}");
        }
        for bad in ["", "smtp://mx", "mx:0", "mx:70000", "mx:", "[::1", "a b", "-/x"] {
            assert!(server(bad).is_err(), "{bad}");
        }
        assert!(domain("fax.example.com").is_ok());
        for bad in ["localhost", "fäx.example", "a..b", "-a.b", "a@b.c"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }
}
