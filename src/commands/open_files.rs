//! How many files this process may have open: each SMTP connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::exit::{Exit, Failed};
use crate::config::{Config, Role};

/// For the store, documents, calls and converters, beside the connections of SMTP.
const OTHERS: u64 = 700;

/// Takes all that the system allows, and refuses to start where that is too little: a listener that runs out of files
/// takes the store and the calls with it.
///
/// # Errors
/// What is allowed, what would be needed, and where both are set.
pub(super) fn allow(config: &Config) -> Result<(), Failed> {
    let limit = getrlimit(Resource::Nofile);
    // Soft limits are low for the sake of programs that use select(), as none here does.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let connections = if config.roles.contains(&Role::Smtp) { config.smtp.max_connections } else { 0 };
    match too_few(connections, getrlimit(Resource::Nofile).current) {
        None => Ok(()),
        Some((allowed, needed)) => Err(Failed::new(
            Exit::Usage,
            "the process may not open enough files",
            format!(
                "smtp.max_connections = {connections} takes {needed} open files at the most, the system allows {allowed}"
            ),
            "raise LimitNOFILE of the unit (ulimit -n), or lower smtp.max_connections",
        )),
    }
}

/// What is allowed and what is needed, when that is more.
fn too_few(connections: usize, allowed: Option<u64>) -> Option<(u64, u64)> {
    let needed = OTHERS.saturating_add(connections as u64);
    allowed.filter(|allowed| *allowed < needed).map(|allowed| (allowed, needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_more_connections_than_files_are_told_before_the_start() {
        assert_eq!(too_few(200, Some(1024)), None);
        assert_eq!(too_few(200, None), None, "without limit");
        assert_eq!(too_few(5200, Some(1024)), Some((1024, 5900)));
    }
}
