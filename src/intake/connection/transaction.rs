//! What a connection answers: who may send, whom to, and whether the mail is kept.

use std::borrow::Cow;
use std::time::Duration;

use smtp::{Decision, Hold, LateMode, MailFrom, Question, RcptTo, Reply, XClient};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Connection;
use crate::domain::{Cause, MessageId, NoticeId, Timestamp};
use crate::intake::accounts::LoginError;
use crate::intake::directive::Priority;
use crate::intake::policy::Logins;
use crate::intake::proof::prove;
use crate::intake::received::{self, Trace};
use crate::intake::refusal::Refusal;
use crate::intake::service::{self, Service};
use crate::intake::submission::{self, Envelope, Wanted, When};
use crate::intake::{bounce, listen, policy};
use crate::senders::Identity;
use crate::senders::authenticity::{Origin, without_forged};
use crate::store::{Ret, Source, StoreError};

impl Connection<'_> {
    pub(super) async fn decide(&mut self, question: &Question) -> Decision {
        match question {
            Question::Mail(mail) => self.mail(mail).await,
            Question::Recipient(rcpt) => self.recipient(rcpt),
            // Better known before 25 MB than after.
            Question::Content => match self.intake.check_writable().await {
                Ok(()) => Decision::Accept(Reply::go_ahead()),
                Err(error) => self.not_now(&error),
            },
            Question::Message => match self.message().await {
                Ok(reply) => Decision::Accept(reply),
                Err(refusal) => Decision::Refuse(refusal.to_reply()),
            },
            Question::Login(credentials) => self.login(credentials).await,
            Question::Verifier(user) => self.verifier(user).await,
            Question::XClient(client) => self.speaks_for(client),
        }
    }

    async fn login(&mut self, credentials: &smtp::Credentials) -> Decision {
        let Some(accounts) = &self.intake.accounts else { return Decision::Refuse(Reply::login_failed()) };
        match accounts.check(credentials, self.peer.ip()).await {
            Ok(identity) => {
                info!(account = %identity.name, peer = %self.peer, "somebody has logged in");
                self.who.account = Some(identity);
                self.may_be_known();
                Decision::Accept(Reply::logged_in())
            }
            Err(error) => {
                // Whoever tries out passwords waits for each of them.
                sleep(self.intake.settings.timeouts.tarpit).await;
                self.login_refused(&error)
            }
        }
    }

    async fn verifier(&mut self, user: &str) -> Decision {
        let Some(accounts) = &self.intake.accounts else { return Decision::Refuse(Reply::login_failed()) };
        match accounts.verifier(user, self.peer.ip()).await {
            Ok(verifier) => Decision::Verifier(Box::new(verifier)),
            Err(error) => self.login_refused(&error),
        }
    }

    fn login_refused(&self, error: &LoginError) -> Decision {
        match error {
            LoginError::Wrong => {
                info!(peer = %self.peer, "a login failed");
                Decision::Refuse(Reply::login_failed())
            }
            LoginError::Away(_) => {
                warn!(%error, "a login was put off");
                let text = "accounts cannot be looked up at the moment; try again in a few minutes";
                Decision::Refuse(Reply::new(454, "4.7.0", text).slug(Cause::StoreUnavailable.slug()))
            }
        }
    }

    /// A balancer names the client; what was known of the balancer itself is not the client's.
    fn speaks_for(&mut self, client: &XClient) -> Decision {
        self.who = policy::Who::default();
        if let Some(address) = client.address {
            self.peer = (address, client.port.unwrap_or(0)).into();
            if !self.place.counts_for(address) {
                return Decision::Close(listen::too_many_of(&self.intake.settings.address.domain, self.peer));
            }
            self.may_be_known();
        }
        Decision::Accept(Reply::new(220, "2.0.0", "go on"))
    }

    async fn mail(&mut self, mail: &MailFrom) -> Decision {
        if let Some(most) = self.intake.settings.smtp.max_mails_per_minute
            && !self.intake.rates.begins(self.peer.ip(), most, Instant::now())
        {
            info!(peer = %self.peer, "refused a mail for now: smtp.max_mails_per_minute is reached");
            let text = format!("your address may begin {most} mails a minute and has done so; try again in a minute");
            return Decision::Refuse(Reply::new(450, "4.7.1", text).slug(Cause::SenderLimit.slug()));
        }
        let logins = if self.intake.accounts.is_some() { Logins::Taken } else { Logins::None };
        let known = policy::sender(&self.intake.settings, self.peer.ip(), &self.who, logins, mail);
        let (identity, refusal) = match known {
            Ok(identity) => (identity, None),
            Err(refusal) => (None, Some(refusal)),
        };
        if let Some(refusal) = refusal.as_ref().filter(|_| mail.path.is_some()) {
            return Decision::Refuse(refusal.to_reply());
        }
        if let Err(error) = self.intake.check_writable().await {
            return self.not_now(&error);
        }
        let path = mail.path.as_ref().map(|path| path.as_str());
        if let Some(refusal) = self.over_limit(identity.as_ref(), path).await {
            return Decision::Refuse(refusal.to_reply());
        }
        let when = match when(&mail.params, self.intake.clock.now(), self.intake.settings.dial.retry.give_up) {
            Ok(when) => when,
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        };
        self.reset();
        self.returns_only = refusal;
        let hello = self.session.client_name().unwrap_or_default();
        self.envelope = Some(Envelope {
            source: Source::Smtp,
            client: format!("{} ({hello})", self.peer.ip().to_canonical()),
            reverse_path: mail.path.as_ref().map(|path| path.as_str().to_owned()),
            ret: mail.params.ret.map(|ret| match ret {
                smtp::Ret::Full => Ret::Full,
                smtp::Ret::Hdrs => Ret::Hdrs,
            }),
            envid: mail.params.envid.clone(),
            when,
            identity,
            signature: None,
            recipients_in_header: false,
            recipients: Vec::new(),
        });
        Decision::Accept(Reply::new(250, "2.1.0", "sender accepted"))
    }

    /// Better known before 25 MB than after.
    async fn over_limit(&self, identity: Option<&Identity>, reverse_path: Option<&str>) -> Option<Refusal> {
        let identity = identity.filter(|identity| identity.limits().is_any())?;
        match self.intake.store.over_limit(&identity.name, reverse_path, &identity.limits()).await {
            Ok(None) => None,
            Ok(Some(over)) => {
                info!(identity = %identity.name, limit = over.what, "refused a mail for now: its sender has sent too much");
                Some(submission::over_limit(&over, self.intake.clock.now()))
            }
            Err(error) => {
                warn!(%error, "refused a mail for now: what its sender has sent cannot be counted");
                Some(Refusal::store_unavailable())
            }
        }
    }

    fn not_now(&self, error: &StoreError) -> Decision {
        warn!(%error, "refused a mail for now: it cannot be stored safely");
        Decision::Refuse(Refusal::store_unavailable().to_reply())
    }

    fn recipient(&mut self, rcpt: &RcptTo) -> Decision {
        match bounce::recipient(self.intake, rcpt) {
            Ok(None) => {}
            Ok(Some(notice)) => return self.return_address(notice),
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        }
        if let Some(refusal) = &self.returns_only {
            return Decision::Refuse(refusal.to_reply());
        }
        if self.returned.is_some() {
            return Decision::Refuse(bounce::not_together().to_reply());
        }
        match service::recipient(self.intake, self.envelope.as_ref(), rcpt) {
            Ok(None) if self.service.is_none() => {}
            Ok(None) => return Decision::Refuse(service::not_together().to_reply()),
            Ok(Some(service)) => return self.service_address(service),
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        }
        let recipient = match policy::recipient(&self.intake.settings, self.envelope.as_ref(), rcpt) {
            Ok(recipient) => recipient,
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        };
        let number = recipient.address.number.clone();
        let Some(envelope) = &mut self.envelope else {
            return Decision::Refuse(
                Refusal::new(451, Cause::Internal, "the transaction is lost; send it again").to_reply(),
            );
        };
        let text = if envelope.add(recipient) {
            format!("fax to {number}")
        } else {
            format!("fax to {number}, the same as an earlier recipient: one call, one report")
        };
        Decision::Accept(Reply::new(250, "2.1.5", text))
    }

    fn return_address(&mut self, notice: NoticeId) -> Decision {
        let envelope = self.envelope.as_ref();
        if envelope.is_some_and(|envelope| envelope.reverse_path.is_some()) {
            return Decision::Refuse(bounce::not_null_sender().to_reply());
        }
        let alone = envelope.is_some_and(|envelope| envelope.recipients.is_empty());
        if !alone || self.returned.is_some_and(|returned| returned != notice) {
            return Decision::Refuse(bounce::not_together().to_reply());
        }
        self.returned = Some(notice);
        Decision::Accept(Reply::new(250, "2.1.5", "returned mail is taken"))
    }

    fn service_address(&mut self, service: Service) -> Decision {
        let alone = self.envelope.as_ref().is_some_and(|envelope| envelope.recipients.is_empty());
        if !alone || self.service.is_some() {
            return Decision::Refuse(service::not_together().to_reply());
        }
        let text = match &service {
            Service::Help => "the instructions are mailed to you".to_owned(),
            Service::Preview(_) => "a preview is mailed to you, nothing is dialled".to_owned(),
            Service::Order(verb, fax) => format!("{} {fax}", verb.as_str()),
        };
        self.service = Some(service);
        Decision::Accept(Reply::new(250, "2.1.5", text))
    }

    /// The end of the content: from here to the reply everything becomes durable.
    async fn message(&mut self) -> Result<Reply, Refusal> {
        if let Some(error) = self.spool_error.take() {
            warn!(%error, "a mail could not be spooled; the client was told to try again");
            return Err(Refusal::store_unavailable());
        }
        let Some(mut envelope) = self.envelope.take() else {
            return Err(Refusal::new(451, Cause::Internal, "the transaction is lost; send it again"));
        };
        let _place = self.intake.place_to_finish(self.spool.size_bytes()).await?;
        if let Some(notice) = self.returned.take() {
            let raw = self.spool.take(b"").await.map_err(|error| {
                warn!(%error, "a returned mail could not be read back; the host was told to try again");
                Refusal::store_unavailable()
            })?;
            return bounce::take(self.intake, notice, &raw).await;
        }
        let wanted = match self.service.take() {
            None => Wanted::Fax,
            Some(Service::Help) => Wanted::Help,
            Some(Service::Preview(recipient)) => {
                envelope.recipients.extend(recipient.map(|recipient| *recipient));
                Wanted::Preview
            }
            Some(Service::Order(verb, fax)) => {
                let (raw, _) = self.content_of(&mut envelope, "").await?;
                return service::order(self.intake, &envelope, (verb, &fax), raw).await;
            }
        };
        let id = MessageId::new();
        let trace = Trace {
            hello: self.session.client_name().unwrap_or("unknown"),
            peer: self.peer.ip().to_canonical(),
            protocol: self.session.protocol(),
            cipher: self.cipher.as_deref(),
        };
        let by = &self.intake.settings.address.domain;
        let head = received::field(&trace, by, id.short().as_str(), self.intake.clock.now());
        let (raw, head_bytes) = self.content_of(&mut envelope, &head).await?;
        let accepted =
            submission::submit(self.intake, &envelope, wanted, id, raw, head_bytes).await.inspect_err(|refusal| {
                tracing::info!(client = %envelope.client, cause = %refusal.cause, "refused a mail after its content");
            })?;
        let reply = Reply::new(250, "2.0.0", accepted.text());
        Ok(if accepted.duplicate { reply.slug(Cause::DuplicateSubmission.slug()) } else { reply })
    }
}

impl Connection<'_> {
    /// The mail with our fields in front, and how long they are. Where nobody stronger has vouched for it, it proves here whose it is.
    async fn content_of(&mut self, envelope: &mut Envelope, trace: &str) -> Result<(Vec<u8>, usize), Refusal> {
        let domain = &self.intake.settings.address.domain;
        let unreadable = |error: std::io::Error| {
            warn!(%error, "a spooled mail could not be read back; the client was told to try again");
            Refusal::store_unavailable()
        };
        if envelope.identity.is_some() {
            let raw = self.spool.take(trace.as_bytes()).await.map_err(unreadable)?;
            return Ok(match without_forged(&raw, domain) {
                Cow::Borrowed(_) => (raw, trace.len()),
                Cow::Owned(kept) => (kept, trace.len()),
            });
        }
        let content = self.spool.take(b"").await.map_err(unreadable)?;
        let origin = Origin {
            client: self.peer.ip().to_canonical(),
            hello: self.session.client_name().unwrap_or("unknown"),
            reverse_path: envelope.reverse_path.as_deref(),
        };
        let field = prove(self.intake, &origin, &content).await?.apply(envelope)?;
        let mut raw = [field.as_bytes(), trace.as_bytes()].concat();
        let head_bytes = raw.len();
        raw.extend_from_slice(&without_forged(&content, domain));
        Ok((raw, head_bytes))
    }
}

/// What the sender asked for with HOLDFOR, HOLDUNTIL, BY and MT-PRIORITY. `BY` with `N` asks for a notice when it gets late; ours comes after
/// `delivery.notify.delayed` whatever was asked.
fn when(params: &smtp::MailParams, now: Timestamp, give_up: Duration) -> Result<When, Refusal> {
    let not_before = params.hold.map(|hold| match hold {
        Hold::For { seconds } => now.plus(Duration::from_secs(seconds.into())),
        Hold::Until { unix_s } => Timestamp(unix_s.saturating_mul(1000)),
    });
    let first = not_before.map_or(now, |wanted| wanted.max(now));
    let by = params.deliver_by.filter(|by| by.mode == LateMode::Return);
    let give_up_after = match by {
        Some(by) => {
            let last = now.plus(Duration::from_secs(u64::try_from(by.seconds).unwrap_or(0)));
            // RFC 2852 counts from now, the store from the first call.
            last.since(first).min(give_up)
        }
        None => give_up,
    };
    if give_up_after.is_zero() {
        let text = "the mail is held for longer than BY allows; give a later BY or a shorter hold";
        return Err(Refusal { code: 501, status: "5.5.4", cause: Cause::ProtocolError, text: text.to_owned() });
    }
    let priority = params.priority.map(|priority| match priority {
        1.. => Priority::High,
        0 => Priority::Normal,
        _ => Priority::Low,
    });
    Ok(When { not_before, give_up_after: by.map(|_| give_up_after), priority })
}

#[cfg(test)]
mod tests {
    use smtp::{DeliverBy, MailParams};

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_341_600_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn asked(hold: Option<Hold>, by: Option<(i64, LateMode)>, priority: Option<i8>) -> Result<When, String> {
        let deliver_by = by.map(|(seconds, mode)| DeliverBy { seconds, mode });
        when(&MailParams { hold, deliver_by, priority, ..MailParams::default() }, NOW, DAY).map_err(|error| error.text)
    }

    #[test]
    fn a_hold_is_the_time_before_which_nothing_is_called() {
        let at = |hold| asked(Some(hold), None, None).unwrap().not_before;
        assert_eq!(at(Hold::For { seconds: 60 }), Some(Timestamp(NOW.0 + 60_000)));
        assert_eq!(at(Hold::Until { unix_s: 1_795_341_700 }), Some(Timestamp(1_795_341_700_000)));
        assert_eq!(asked(None, None, None), Ok(When::default()));
    }

    #[test]
    fn a_deadline_shortens_the_time_of_the_configuration_and_never_lengthens_it() {
        let after = |by| asked(None, Some((by, LateMode::Return)), None).unwrap().give_up_after;
        assert_eq!(after(3600), Some(Duration::from_secs(3600)));
        assert_eq!(after(999_999), Some(DAY));
        assert_eq!(asked(None, Some((3600, LateMode::Notify)), None), Ok(When::default()));
    }

    #[test]
    fn a_deadline_counts_from_now_also_when_the_mail_is_held() {
        let hold = Some(Hold::For { seconds: 1000 });
        let when = asked(hold, Some((3600, LateMode::Return)), None).unwrap();
        assert_eq!(when.give_up_after, Some(Duration::from_secs(2600)));
        assert!(asked(hold, Some((1000, LateMode::Return)), None).unwrap_err().contains("held for longer than BY"));
    }

    #[test]
    fn nineteen_priorities_are_three() {
        for (asked_for, expected) in
            [(9, Priority::High), (1, Priority::High), (0, Priority::Normal), (-9, Priority::Low)]
        {
            assert_eq!(asked(None, None, Some(asked_for)).unwrap().priority, Some(expected));
        }
    }
}
