//! Waiting on a machine of many processes: each wait has its own limit.

use std::time::{Duration, Instant};

/// Waits until `condition` answers something, `limit` at most.
pub(crate) fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        #[expect(clippy::disallowed_methods, reason = "polling other processes, with a deadline above")]
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A GET over HTTP/1.0 that takes a second at most: status and body.
pub(crate) fn get(address: std::net::SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    use std::io::{Read, Write};
    let limit = Duration::from_secs(1);
    let mut stream = std::net::TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}
