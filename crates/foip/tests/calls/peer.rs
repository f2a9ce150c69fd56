//! A scripted SIP peer: one UDP socket, messages as text, nothing automatic.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

pub(super) struct Peer {
    socket: UdpSocket,
    pub(super) address: SocketAddr,
    cseq: u32,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) start: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) from: SocketAddr,
}

impl Message {
    fn parse(text: &str, from: SocketAddr) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.split("\r\n");
        let start = lines.next().expect("a start line").to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
        Self { start, headers, body: body.to_owned(), from }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Of a response.
    pub(super) fn code(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }
}

impl Peer {
    pub(super) async fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        Self { socket, address, cseq: 100 }
    }

    /// The next message that `wanted` takes; retransmissions and others are skipped.
    pub(super) async fn receive(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let mut buffer = vec![0; 65_536];
        let next = async {
            loop {
                let (length, from) = self.socket.recv_from(&mut buffer).await.expect("an open socket");
                let message = Message::parse(&String::from_utf8_lossy(&buffer[..length]), from);
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next).await.unwrap_or_else(|_| panic!("no {what} came"))
    }

    pub(super) async fn request(&self, method: &str) -> Message {
        self.receive(method, |message| message.method() == method).await
    }

    /// A request of this method with a higher CSeq than `last`.
    pub(super) async fn request_after(&self, method: &str, last: u32) -> Message {
        self.receive(method, |message| message.method() == method && cseq(message) > last).await
    }

    pub(super) async fn response(&self, method: &str, at_least: u16) -> Message {
        let wanted = |message: &Message| {
            let ours = message.header("CSeq").is_some_and(|cseq| cseq.ends_with(method));
            ours && message.code().is_some_and(|code| code >= at_least)
        };
        self.receive(&format!("response to {method}"), wanted).await
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: &Message, status: &str, headers: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, value) in &request.headers {
            let tag =
                if name == "To" && !value.contains("tag=") && !status.starts_with("100") { ";tag=peer" } else { "" };
            if ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|copied| copied.eq_ignore_ascii_case(name)) {
                text.push_str(&format!("{name}: {value}{tag}\r\n"));
            }
        }
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let contact = format!("Contact: <sip:peer@{}>\r\n", self.address);
        text.push_str(&format!("{contact}{headers}{kind}Content-Length: {}\r\n\r\n{body}", body.len()));
        self.socket.send_to(text.as_bytes(), request.from).await.expect("an open socket");
    }

    /// Sends a request inside the dialog that `invite` opened; its answer is to be received.
    pub(super) async fn ask(&mut self, invite: &Message, method: &str, body: &str) {
        self.cseq += 1;
        let seq = self.cseq;
        self.send(invite, method, seq, body).await;
    }

    /// ACK of the last request.
    pub(super) async fn ack(&self, invite: &Message) {
        self.send(invite, "ACK", self.cseq, "").await;
    }

    async fn send(&self, invite: &Message, method: &str, seq: u32, body: &str) {
        let header = |name: &str| invite.header(name).unwrap_or_default().to_owned();
        let target = header("Contact").trim_matches(|c| c == '<' || c == '>').to_owned();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{seq}{method};rport\r\nMax-Forwards: 70\r\n\
             From: {};tag=peer\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:peer@{}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            self.address,
            header("To"),
            header("From"),
            header("Call-ID"),
            self.address,
            body.len()
        );
        self.socket.send_to(text.as_bytes(), invite.from).await.expect("an open socket");
    }
}

pub(super) fn cseq(message: &Message) -> u32 {
    message.header("CSeq").and_then(|cseq| cseq.split(' ').next()?.parse().ok()).expect("a CSeq")
}

pub(super) fn audio_sdp(version: u32) -> String {
    format!("v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n")
}

pub(super) fn image_sdp(version: u32) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=image 9 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
    )
}
