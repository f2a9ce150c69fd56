//! A smart host that writes down every mail before it says 250. It can be struck dead (its connections are reset, nobody
//! listens) and made deaf (it takes connections and does not answer), and it comes back.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::ledger::{Delivered, Ledger, now_ms};
use super::pages;
use crate::harness::{Report, read_content};

/// A running smart host.
pub(crate) struct SmartHost {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    ledger: Ledger,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    condition: Condition,
    open: Vec<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Well,
    /// Hears nobody; what it was told waits.
    Deaf,
    /// Gone: connections break.
    Dead,
}

impl SmartHost {
    /// Listens on `address` and appends to the mailbox of `folder`.
    pub(crate) fn start(folder: &Path, address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            ledger: Ledger::open(&folder.join("mailbox.jsonl")),
            state: Mutex::new(State { condition: Condition::Well, open: Vec::new() }),
            changed: Condvar::new(),
        });
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let shared = Arc::clone(&accepting);
                if shared.admit(&stream) {
                    thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Self { shared, address }
    }

    /// Changes how it does. The dead drop what they hold in their hands.
    pub(crate) fn be(&self, condition: Condition) {
        let mut state = self.shared.state.lock().unwrap();
        state.condition = condition;
        if condition == Condition::Dead {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Whether a connection is taken.
    fn admit(&self, stream: &TcpStream) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.condition == Condition::Dead {
            let _ = stream.shutdown(Shutdown::Both);
            return false;
        }
        state.open.push(stream.try_clone().unwrap());
        true
    }

    /// Waits while the host is deaf.
    fn hear(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.condition == Condition::Deaf).unwrap());
    }

    fn serve(&self, stream: TcpStream) {
        // A broken connection is the client's matter.
        let _ = self.dialogue(stream);
    }

    fn dialogue(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(600)))?;
        let mut out = stream.try_clone()?;
        let mut lines = BufReader::new(stream);
        self.hear();
        out.write_all(b"220 smart.test ESMTP\r\n")?;
        loop {
            let mut line = Vec::new();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.hear();
            let word = String::from_utf8_lossy(&line).trim().to_uppercase();
            let reply = match word.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => "250-smart.test\r\n250 8BITMIME",
                "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 2.0.0 ok",
                "QUIT" => {
                    out.write_all(b"221 2.0.0 bye\r\n")?;
                    return Ok(());
                }
                "DATA" => {
                    out.write_all(b"354 go on\r\n")?;
                    let raw = read_content(&mut lines)?;
                    self.hear();
                    // Durable before the client hears 250.
                    self.ledger.write(&delivered(raw));
                    "250 2.0.0 taken"
                }
                _ => "500 5.5.1 what?",
            };
            out.write_all(format!("{reply}\r\n").as_bytes())?;
        }
    }
}

fn delivered(raw: Vec<u8>) -> Delivered {
    let report = Report { raw };
    let pages = report.header("X-Fax-Pages");
    let (confirmed, all) = pages.split_once('/').unwrap_or(("0", "0"));
    Delivered {
        at_ms: now_ms(),
        message_id: report.header("Message-ID"),
        in_reply_to: report.header("In-Reply-To"),
        // RFC 3458: a mail that carries a fax, and not one that reports on it.
        kind: if report.header("Message-Context") == "fax-message" {
            "received".to_owned()
        } else {
            report.header("X-Fax-Status")
        },
        fax: report.header("X-Fax-Id"),
        number: report.header("X-Fax-To"),
        pages: (confirmed.parse().unwrap_or(0), all.parse().unwrap_or(0)),
        bodies: report.part("image/tiff").map(|tiff| pages::whole(&tiff)).unwrap_or_default(),
    }
}
