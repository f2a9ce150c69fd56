//! What the service manager hears: ready, stopping, and that the process still turns (`sd_notify(3)`).
//!
//! `NOTIFY_SOCKET` names a datagram socket: a path, or an abstract name behind an `@`. `WATCHDOG_USEC` is the time after
//! which a silent process is ended and started anew; it is told three times in that time, from a task of the runtime, so
//! that a runtime that has come to a standstill says nothing. Without these variables nothing is done. A message that
//! cannot be sent is a warning: the service manager then does what it does with a silent service.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Messages to the watchdog in its time: two may get lost.
const PER_WATCHDOG: u32 = 3;

/// What the environment says about the service manager.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `NOTIFY_SOCKET`.
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`.
    pub watchdog_us: Option<String>,
    /// `WATCHDOG_PID`: whom the watchdog is meant for.
    pub watchdog_pid: Option<String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_us: std::env::var("WATCHDOG_USEC").ok(),
            watchdog_pid: std::env::var("WATCHDOG_PID").ok(),
        }
    }

    /// How often the watchdog wants to hear of this process, in thirds; none when it watches another one or nobody.
    fn watchdog(&self, pid: u32) -> Option<Duration> {
        let meant = self.watchdog_pid.as_deref().is_none_or(|meant| meant.parse() == Ok(pid));
        let us = self.watchdog_us.as_deref()?.parse().ok().filter(|us| *us > 0 && meant)?;
        Some(Duration::from_micros(us) / PER_WATCHDOG)
    }
}

/// Tells the service manager, if there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager(Option<Arc<Channel>>);

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    ///
    /// # Errors
    /// When it names a socket that cannot be one.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let Some(name) = environment.socket.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(Self(None));
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that does not read must not stop the gateway.
        socket.set_nonblocking(true)?;
        let watchdog = environment.watchdog(std::process::id());
        Ok(Self(Some(Arc::new(Channel { socket, address: address(name)?, watchdog }))))
    }

    /// Everything runs: `READY=1`. From here until `stop` the watchdog is fed, and the begin of `drain` is told as
    /// `STOPPING=1`.
    pub fn ready(&self, drain: CancellationToken, stop: CancellationToken) {
        let Some(channel) = self.0.clone() else { return };
        channel.say("READY=1\nSTATUS=ready");
        tokio::spawn(async move { channel.attend(drain, stop).await });
    }
}

impl Channel {
    /// Feeds the watchdog until `stop`, and tells when `drain` begins.
    async fn attend(&self, drain: CancellationToken, stop: CancellationToken) {
        let period = self.watchdog.unwrap_or(Duration::MAX);
        let mut told = false;
        loop {
            if self.watchdog.is_some() {
                self.say("WATCHDOG=1");
            }
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = stop.cancelled() => return,
                () = drain.cancelled(), if !told => {
                    told = true;
                    self.say("STOPPING=1\nSTATUS=draining: calls under way may end");
                }
            }
        }
    }

    fn say(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            let what = message.lines().next().unwrap_or_default();
            warn!(%error, what, "the service manager cannot be told");
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => {
            let text = format!("NOTIFY_SOCKET is {name:?}, expected a path or @name; fix: unset it");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A service manager: its socket, and what it tells the process.
    fn manager(folder: &tempfile::TempDir, watchdog_us: Option<&str>) -> (tokio::net::UnixDatagram, Environment) {
        let path = folder.path().join("notify");
        let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
        let environment = Environment {
            socket: Some(path.into_os_string()),
            watchdog_us: watchdog_us.map(str::to_owned),
            watchdog_pid: None,
        };
        (socket, environment)
    }

    async fn heard(socket: &tokio::net::UnixDatagram) -> String {
        let mut text = [0; 256];
        let length = tokio::time::timeout(LIMIT, socket.recv(&mut text)).await.expect("nothing was told").unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_through_the_drain_until_the_stop() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, environment) = manager(&folder, Some("30000"));
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let channel = ServiceManager::new(&environment).unwrap().0.unwrap();
        let (draining, stopping) = (drain.clone(), stop.clone());
        let attending = tokio::spawn(async move { channel.attend(draining, stopping).await });
        for _ in 0..5 {
            assert_eq!(heard(&socket).await, "WATCHDOG=1");
        }
        drain.cancel();
        let mut message = heard(&socket).await;
        while message == "WATCHDOG=1" {
            message = heard(&socket).await;
        }
        assert!(message.starts_with("STOPPING=1\n"), "{message}");
        assert_eq!(heard(&socket).await, "WATCHDOG=1", "a long drain is no standstill");
        stop.cancel();
        tokio::time::timeout(LIMIT, attending).await.expect("it goes on after the stop").unwrap();
    }

    #[tokio::test]
    async fn an_abstract_name_is_heard_and_without_a_watchdog_nothing_is_repeated() {
        let name = format!("faxwell-notify-{}", uuid::Uuid::now_v7());
        let bound = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&bound).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UnixDatagram::from_std(socket).unwrap();
        let environment = Environment { socket: Some(format!("@{name}").into()), ..Environment::default() };
        let drain = CancellationToken::new();
        ServiceManager::new(&environment).unwrap().ready(drain.clone(), CancellationToken::new());
        assert!(heard(&socket).await.starts_with("READY=1"));
        drain.cancel();
        assert!(heard(&socket).await.starts_with("STOPPING=1"));
    }

    #[test]
    fn the_watchdog_is_fed_only_by_whom_it_watches() {
        let environment = |us: Option<&str>, pid: Option<&str>| Environment {
            watchdog_us: us.map(str::to_owned),
            watchdog_pid: pid.map(str::to_owned),
            ..Environment::default()
        };
        let third = Some(Duration::from_secs(20));
        for (us, pid, expected) in [
            (Some("60000000"), None, third),
            (Some("60000000"), Some("7"), third),
            (Some("60000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(environment(us, pid).watchdog(7), expected, "{us:?} {pid:?}");
        }
    }

    #[tokio::test]
    async fn without_a_service_manager_nothing_is_done_and_a_name_that_is_none_is_refused() {
        ServiceManager::default().ready(CancellationToken::new(), CancellationToken::new());
        assert!(ServiceManager::new(&Environment::default()).unwrap().0.is_none());
        let environment = Environment { socket: Some("relative".into()), ..Environment::default() };
        assert!(ServiceManager::new(&environment).unwrap_err().to_string().contains("fix: "));
    }
}
