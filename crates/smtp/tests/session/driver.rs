//! A driver without sockets: it answers by simple rules and keeps what it was given.
//!
//! Rules: local parts decide. Recipients: `bad…` is 550, `later…` is 450. Senders: `evil…` is 550, `shut…` closes.
//! Content that holds `REFUSE` is 554, `LATER` is 451; `nodata…` as sender refuses DATA with 451. Logins: `anna` with `secret`, `user` with
//! `pencil`, the token `good`; `down` finds the accounts away. XCLIENT for 192.0.2.66 is refused. TLS begins when it is asked for.

use std::num::NonZeroU32;

use smtp::{
    Action, Channel, Credentials, Decision, FutureRelease, Mechanism, Offers, Question, Reply, Session,
    SessionSettings, Starttls, Verifier, XClientOffer,
};

/// What came out of a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Every reply as it went onto the wire.
    pub(crate) replies: String,
    /// Content of every accepted message.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Sender and recipients with their parameters, as Debug shows them, one line for each accepted.
    pub(crate) envelope: Vec<String>,
    /// How each of them came, for its trace field.
    pub(crate) protocols: Vec<&'static str>,
    /// Whether the session closed.
    pub(crate) closed: bool,
}

/// A session and what its driver would hold.
pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) outcome: Outcome,
    sender: String,
    content: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(settings: SessionSettings) -> Self {
        let session = Session::new(settings, Channel::Clear);
        let mut driver = Self { session, outcome: Outcome::default(), sender: String::new(), content: Vec::new() };
        driver.turn();
        driver
    }

    pub(crate) fn feed(&mut self, octets: &[u8]) {
        self.session.receive(octets);
        self.turn();
    }

    /// Acts until the session wants to read or has closed.
    pub(crate) fn turn(&mut self) {
        loop {
            match self.session.next() {
                Action::Reply(text) => self.outcome.replies.push_str(&text),
                Action::Content(chunk) => self.content.extend_from_slice(&chunk),
                Action::Reset => self.content.clear(),
                Action::Ask(question) => {
                    let decision = self.decide(&question);
                    self.session.answer(decision);
                }
                Action::StartTls => self.session.secured(),
                Action::Read => return,
                Action::Close => {
                    self.outcome.closed = true;
                    return;
                }
            }
        }
    }

    fn decide(&mut self, question: &Question) -> Decision {
        match question {
            Question::Mail(mail) => {
                self.sender = mail.path.as_ref().map_or_else(String::new, |path| path.local().to_owned());
                if self.sender.starts_with("evil") {
                    return Decision::Refuse(Reply::new(550, "5.7.1", "you may not; ask").slug("sender-not-allowed"));
                }
                if self.sender.starts_with("shut") {
                    return Decision::Close(Reply::new(421, "4.3.2", "going away; come back").slug("draining"));
                }
                let path = mail.path.as_ref().map_or("<>", |path| path.as_str());
                self.outcome.envelope.push(format!("MAIL {path} {:?}", mail.params));
                Decision::Accept(Reply::new(250, "2.1.0", "sender ok"))
            }
            Question::Recipient(rcpt) => {
                let local = rcpt.path.local();
                if local.starts_with("bad") {
                    return Decision::Refuse(
                        Reply::new(550, "5.1.1", format!("no such number: {local}")).slug("number-invalid"),
                    );
                }
                if local.starts_with("later") {
                    return Decision::Refuse(Reply::new(450, "4.3.0", "not now").slug("store-unavailable"));
                }
                self.outcome.envelope.push(format!("RCPT {} {:?}", rcpt.path, rcpt.params));
                Decision::Accept(Reply::new(250, "2.1.5", "recipient ok"))
            }
            Question::Content if self.sender.starts_with("nodata") => {
                Decision::Refuse(Reply::new(451, "4.3.0", "not now").slug("store-unavailable"))
            }
            Question::Content => Decision::Accept(Reply::go_ahead()),
            Question::Message => {
                let content = std::mem::take(&mut self.content);
                let holds = |word: &str| String::from_utf8_lossy(&content).contains(word);
                if holds("REFUSE") {
                    return Decision::Refuse(Reply::new(554, "5.6.0", "no").slug("directive-unknown"));
                }
                if holds("LATER") {
                    return Decision::Refuse(Reply::new(451, "4.3.0", "not now").slug("store-unavailable"));
                }
                let text = format!("stored {} octets", content.len());
                self.outcome.protocols.push(self.session.protocol());
                self.outcome.messages.push(content);
                Decision::Accept(Reply::new(250, "2.0.0", text))
            }
            Question::Login(credentials) => login(credentials),
            Question::Verifier(user) if user == "down" => Decision::Refuse(accounts_away()),
            Question::Verifier(user) => {
                let (password, salt) = if user == "user" { ("pencil", SALT) } else { ("", [7; 16]) };
                let verifier = Verifier::derive(password, &salt, NonZeroU32::new(4096).unwrap(), NONCE);
                Decision::Verifier(Box::new(verifier))
            }
            Question::XClient(client) if client.address == "192.0.2.66".parse().ok() => {
                Decision::Refuse(Reply::new(550, "5.7.1", "not for that one").slug("sender-not-allowed"))
            }
            Question::XClient(client) => {
                self.outcome.envelope.push(format!("{client:?}"));
                Decision::Accept(Reply::new(220, "2.0.0", "yes"))
            }
        }
    }
}

/// Those of the example in RFC 7677 §3.
const SALT: [u8; 16] = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn login(credentials: &Credentials) -> Decision {
    let right = match credentials {
        Credentials::Password { user, .. } if user == "down" => return Decision::Refuse(accounts_away()),
        Credentials::Password { user, password, act_as } => {
            user == "anna" && password.reveal() == "secret" && act_as.is_none()
        }
        Credentials::Token { token, .. } => token.reveal() == "good",
        // Wrong as the answer is: it makes nothing right.
        Credentials::Disproved { .. } => true,
        Credentials::Proved { user, act_as } => user == "user" && act_as.is_none(),
    };
    if right { Decision::Accept(Reply::logged_in()) } else { Decision::Refuse(Reply::login_failed()) }
}

fn accounts_away() -> Reply {
    Reply::new(454, "4.7.0", "accounts cannot be looked up now; try again").slug("store-unavailable")
}

/// The settings of the tests: small limits, so that each can be met.
pub(crate) fn settings() -> SessionSettings {
    SessionSettings {
        max_size_bytes: 1000,
        max_recipients: 3,
        max_refused: 5,
        max_errors: 4,
        max_transactions: 3,
        offers: Offers {
            starttls: Starttls::Offered,
            login: Mechanism::ALL.to_vec(),
            xclient: XClientOffer::Offered,
            // 2026-11-22T10:00:00Z
            future_release: Some(FutureRelease { max_s: 3600, now_unix_s: 1_795_341_600 }),
            deliver_by_min_s: 60,
            ..Offers::default()
        },
        ..SessionSettings::new("gw.test")
    }
}

/// The same without any extension that is not always there.
pub(crate) fn plain_settings() -> SessionSettings {
    SessionSettings { offers: Offers::default(), ..settings() }
}

/// Everything in one piece.
pub(crate) fn run(octets: &[u8]) -> Outcome {
    let mut driver = Driver::new(settings());
    driver.feed(octets);
    driver.outcome
}

/// In pieces, cut at these places.
pub(crate) fn run_cut(octets: &[u8], cuts: &[usize]) -> Outcome {
    run_cut_with(settings(), octets, cuts)
}

pub(crate) fn run_cut_with(settings: SessionSettings, octets: &[u8], cuts: &[usize]) -> Outcome {
    let mut driver = Driver::new(settings);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (octets.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts.into_iter().chain([octets.len()]) {
        driver.feed(&octets[from..cut]);
        from = cut;
    }
    driver.outcome
}
