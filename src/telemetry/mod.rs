//! Logs: one line an event, with fields, to standard error; numbers and addresses masked.
//!
//! People read lines, programs read JSON (`FAXWELL_LOG_FORMAT=json`). `FAXWELL_LOG` takes the usual filter, as in
//! `info,faxwell::line=debug`; without it `-v` and `-q` decide. Bodies, images and secrets are never logged. The SIP stack
//! logs whole messages at `info`, with numbers and the answers to logins: it says so only when a filter names it.

pub mod metrics;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How much is logged when `FAXWELL_LOG` does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Errors only.
    Quiet,
    /// Warnings: commands that people type.
    Command,
    /// What happens to each fax: services.
    Service,
    /// Every step.
    Verbose,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, with colours.
    Colour,
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// What the environment asks for. `no_color` is `--no-color` or `NO_COLOR`.
    pub fn from_environment(no_color: Option<&str>) -> Self {
        match std::env::var("FAXWELL_LOG_FORMAT").as_deref() {
            Ok("json") => Self::Json,
            _ if no_color.is_none() && std::io::stderr().is_terminal() => Self::Colour,
            _ => Self::Plain,
        }
    }
}

/// The target of the SIP stack's log lines.
const SIP_STACK: &str = "rsipstack";

/// Begins to log. A second call in one process (tests) changes nothing.
///
/// A filter in `FAXWELL_LOG` that cannot be read is answered, and the level is used.
pub fn init(level: Level, format: Format) -> Option<String> {
    let default = match level {
        Level::Quiet => "error",
        Level::Command => "warn",
        Level::Service => "info,sqlx=warn,rsipstack=warn",
        Level::Verbose => "debug,sqlx=info,hyper=info,rsipstack=warn",
    };
    let (filter, complaint) = match std::env::var("FAXWELL_LOG") {
        Ok(text) if !text.trim().is_empty() => match EnvFilter::try_new(without_sip_messages(&text)) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(default), Some(format!("FAXWELL_LOG is not a filter: {error}"))),
        },
        _ => (EnvFilter::new(default), None),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        Format::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
        Format::Plain => builder.with_ansi(false).try_init(),
        Format::Colour => builder.with_ansi(true).try_init(),
    };
    drop(done);
    complaint
}

/// A filter under which the SIP stack shows no messages, unless the filter asks for them by its name.
fn without_sip_messages(filter: &str) -> String {
    if filter.contains(SIP_STACK) { filter.to_owned() } else { format!("{filter},{SIP_STACK}=warn") }
}

/// `+41441234567` as `+414…67`: the first three digits and the last two.
pub fn mask_number(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 7 {
        return "…".to_owned();
    }
    let (head, tail) = (digits[..3].iter().collect::<String>(), digits[digits.len() - 2..].iter().collect::<String>());
    format!("+{head}…{tail}")
}

/// `anna.meier@example.com` as `a…@example.com`; a number before the at sign is masked as a number.
pub fn mask_address(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return "…".to_owned() };
    let domain: String = domain.chars().filter(|c| !c.is_control()).take(64).collect();
    if local.chars().filter(char::is_ascii_digit).count() >= 7 {
        return format!("{}@{domain}", mask_number(local));
    }
    let first: String = local.chars().filter(|c| !c.is_control()).take(1).collect();
    format!("{first}…@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_messages_are_logged_only_when_asked_for_by_name() {
        for (filter, expected) in [
            ("info", "info,rsipstack=warn"),
            ("info,faxwell::line=debug", "info,faxwell::line=debug,rsipstack=warn"),
            ("warn,rsipstack=info", "warn,rsipstack=info"),
        ] {
            assert_eq!(without_sip_messages(filter), expected);
            assert!(EnvFilter::try_new(without_sip_messages(filter)).is_ok());
        }
    }

    #[test]
    fn numbers_and_addresses_keep_only_what_tells_faxes_apart() {
        assert_eq!(mask_number("+41441234567"), "+414…67");
        assert_eq!(mask_number("+41 44"), "…");
        assert_eq!(mask_address("anna.meier@example.com"), "a…@example.com");
        assert_eq!(mask_address("FAX=+41441234567@fax.example.com"), "+414…67@fax.example.com");
        assert_eq!(mask_address("no address"), "…");
        assert_eq!(mask_address("@x"), "…@x");
    }
}
