//! The configuration of the sandbox, as a file would say it: the same checks, and `config show` can show it.

use super::model::Config;

/// What stands in the place of a file's name.
pub(super) const NAME: &str = "the sandbox";

/// Ports of the sandbox on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// SMTP.
    pub smtp: u16,
    /// Status page and health.
    pub web: u16,
    /// SIP of the pretend fax machine (UDP).
    pub far_end: u16,
}

impl Default for Ports {
    /// SMTP on 2525 and web on 8080, as the first thing anybody would try.
    fn default() -> Self {
        Self { smtp: 2525, web: 8080, far_end: 2527 }
    }
}

impl Ports {
    /// Three ports in a row. The last possible first port is 65533; a higher one is taken down to it.
    pub fn from_first(first: u16) -> Self {
        let first = first.clamp(1, u16::MAX - 2);
        Self { smtp: first, web: first + 1, far_end: first + 2 }
    }
}

/// Name of the sandbox's line.
pub(super) const LINE: &str = "sandbox";

pub(super) fn text(ports: Ports) -> String {
    let Ports { smtp, web, far_end } = ports;
    format!(
        r#"domain = "fax.local"
node = "sandbox"
[smtp]
listen = ["127.0.0.1:{smtp}"]
relay = ["127.0.0.0/8", "::1"]
[sip.{LINE}]
server = "127.0.0.1:{far_end}"
bind = "127.0.0.1:0"
number = "+9990000"
channels = 4
sandbox = true
pace = "30x"
t38.reinvite_after = "2s"
[dial]
# Every number is received by the pretend fax machine; national ones are read as Swiss.
country = "CH"
allow = ["+1", "+2", "+3", "+4", "+5", "+6", "+7", "+8", "+9"]
# Nobody shall wait in a sandbox.
retry = {{ busy = "3x 2s", no_answer = "3x 2s", other = "5x 2s", give_up = "10m" }}
[delivery]
maildir = "mailbox"
[inbound]
default = ["fax-in@fax.local"]
[web]
listen = "127.0.0.1:{web}"
"#
    )
}

impl Config {
    /// The line to the pretend fax machine, when there is one: its name and settings.
    pub fn sandbox_line(&self) -> Option<(&str, &super::model::SipConfig)> {
        self.sip.iter().find(|(_, line)| line.sandbox).map(|(name, line)| (name.as_str(), line))
    }

    /// Where the pretend fax machine puts what it received.
    pub fn tray(&self) -> std::path::PathBuf {
        self.data.join("tray")
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::super::{Around, DeliveryTarget, load_sandbox};
    use super::*;

    #[test]
    fn the_sandbox_is_valid_for_every_port_and_stays_on_loopback() {
        for first in [0, 1, 2525, 40_000, 65_533, 65_534, 65_535] {
            let config = Config::sandbox(PathBuf::from("/data"), first);
            assert!(config.smtp.listen.iter().chain(&config.web.listen).all(|address| address.ip().is_loopback()));
            let (_, line) = config.sandbox_line().unwrap();
            assert!(line.server.starts_with("127.0.0.1:") && line.bind.ip().is_loopback());
        }
    }

    #[test]
    fn the_sandbox_writes_below_its_data_and_waits_for_nothing() {
        let config = Config::sandbox(PathBuf::from("/data"), 3000);
        assert_eq!(config.store.database.file(), Some(Path::new("/data/faxwell.db")));
        assert!(matches!(&config.delivery.to, DeliveryTarget::Maildir(path) if path == Path::new("/data/mailbox")));
        assert_eq!(config.dial.retry.busy.wait, Duration::from_secs(2));
        assert_eq!(config.domain, "fax.local");
        assert!(config.sip.values().all(|line| line.sandbox), "every number reaches the pretend fax machine alone");
    }

    #[test]
    fn variables_override_the_sandbox_with_the_same_checks() {
        let with = |name: &str, value: &str| {
            let around = Around { variables: vec![(name.to_owned(), value.to_owned())], data: None };
            load_sandbox(Path::new("/data"), Ports::default(), &around)
        };
        assert_eq!(with("FAXWELL_RENDER__MAX_PAGES", "7").unwrap().config.render.max_pages, 7);
        assert_eq!(with("FAXWELL_SMTP__LISTEN", "127.0.0.1:1, 127.0.0.1:2").unwrap().config.smtp.listen.len(), 2);
        let problems = with("FAXWELL_SMTP__LISTN", "127.0.0.1:1").unwrap_err();
        assert!(problems.render().contains("environment variable FAXWELL_SMTP__LISTN"), "{}", problems.render());
    }
}
