//! A complete mail with its accepted recipients: checked, made durable, answered.
//!
//! Flow: read MIME → loop, directives, kinds of attachments → mail to the documents (fsync) → message and faxes to the store in one
//! transaction → the reply with the ids. Only then is anything accepted: each earlier step that fails leaves nothing but, at
//! worst, a document that no row names, which maintenance sweeps.
//!
//! SMTP and commands take this same way.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::address::{self, AddressRules, FaxAddress, quoted, shown};
use super::directive::{self, Cover, Directives, Priority};
use super::refusal::Refusal;
use super::{Intake, IntakeSettings, Readers, masked_address, service};
use crate::documents::DocumentsError;
use crate::domain::{
    BodyPlace, Cause, FaxId, FaxNumber, FaxOptions, MessageId, NoticeId, NoticeKind, NotifyOn, ReportStyle, Timestamp,
};
use crate::fault::crash_point;
use crate::mail::mime::{Body, Mail};
use crate::senders::Identity;
use crate::store::{
    DocumentKey, DocumentRef, Fax, FaxFilter, Message, NewFax, NewMessage, NewNotice, OverLimit, Placement, Ret,
    Source, StoreError, Submitted, Submitter,
};

/// RFC 5321 §6.3: a mail with more trace fields is going in a circle.
const RECEIVED_MAX: usize = 100;
/// A short id that is taken is met about never; twice in a row is another fault.
const ID_TRIES: usize = 3;
/// Whose names are looked up for covers: mails to more have no cover names.
const NAMED_MAX: usize = 500;

/// Who sends, as the transaction said.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) source: Source,
    /// For people: `10.0.5.7 (mail.example.com)`.
    pub(crate) client: String,
    pub(crate) reverse_path: Option<String>,
    pub(crate) ret: Option<Ret>,
    pub(crate) envid: Option<String>,
    /// On whose account it goes; none for what an administrator submits, and for a mail that has yet to prove whose it is.
    pub(crate) identity: Option<Identity>,
    /// Hash of the signature that proves it.
    pub(crate) signature: Option<[u8; 32]>,
    /// Whether every recipient must stand in `To` or `Cc`.
    pub(crate) recipients_in_header: bool,
    pub(crate) when: When,
    pub(crate) recipients: Vec<Recipient>,
}

/// When the sender wants it, as the transaction said; nothing where the configuration holds. Directives are more precise and win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct When {
    /// No call before this.
    pub(crate) not_before: Option<Timestamp>,
    /// No call this long after the first could have been made; shorter than the configuration's.
    pub(crate) give_up_after: Option<Duration>,
    pub(crate) priority: Option<Priority>,
}

/// An accepted recipient. Several that mean the same fax are one.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    /// The forward-path as it was accepted first.
    pub(crate) path: String,
    pub(crate) address: FaxAddress,
    pub(crate) original: Option<String>,
    pub(crate) notify: NotifyOn,
}

impl Envelope {
    /// For the store.
    fn submitter(&self) -> Option<Submitter> {
        let identity = self.identity.as_ref()?;
        Some(Submitter {
            identity: identity.name.clone(),
            billing: identity.policy.billing.clone(),
            limits: identity.limits(),
            signature: self.signature,
        })
    }

    /// Adds a recipient. RFC 4161 §2.1: spellings of one number are one call. Two names at one number are two people with two
    /// covers, so they stay two faxes. Answers whether it is a fax of its own.
    pub(crate) fn add(&mut self, recipient: Recipient) -> bool {
        let same = self.recipients.iter_mut().find(|known| known.address == recipient.address);
        match same {
            Some(known) => {
                known.notify.success |= recipient.notify.success;
                known.notify.failure |= recipient.notify.failure;
                known.notify.delay |= recipient.notify.delay;
                false
            }
            None => {
                self.recipients.push(recipient);
                true
            }
        }
    }
}

/// What an accepted mail becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A fax for each recipient.
    Fax,
    /// A mail with the pages that would be sent.
    Preview,
    /// A mail with the instructions.
    Help,
}

/// What became of an accepted mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message; the first one when this was a duplicate.
    pub message: MessageId,
    /// Its faxes in the order of the recipients; those of the first mail, as far as they are found, when this was a duplicate.
    pub faxes: Vec<FaxId>,
    /// How many attachments it has.
    pub attachments: usize,
    /// Whether the same mail had been accepted before, so that nothing new happens.
    pub duplicate: bool,
    /// The mail that answers it, where nothing is sent.
    pub answer: Option<NoticeKind>,
}

impl Accepted {
    /// `F-…` for one fax, `M-…` for several.
    pub fn id(&self) -> String {
        match self.faxes.as_slice() {
            [fax] => fax.short().to_string(),
            _ => self.message.short().to_string(),
        }
    }

    /// `accepted as F-8KQ2XW4DZP: 1 fax, 3 attachments`
    pub fn text(&self) -> String {
        if self.duplicate {
            return format!("accepted before: this is a duplicate of {}, nothing is sent twice", self.id());
        }
        match self.answer {
            Some(NoticeKind::Preview) => {
                return format!("accepted as {}: a preview is mailed to you, nothing is dialled", self.id());
            }
            Some(kind) => return format!("accepted as {}: {kind} is mailed to you", self.id()),
            None => {}
        }
        let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        format!(
            "accepted as {}: {}, {}",
            self.id(),
            count(self.faxes.len(), "fax", "faxes"),
            count(self.attachments, "attachment", "attachments")
        )
    }
}

/// Checks and stores a mail. `head_bytes` is how much of `raw` we put in front of it ourselves (the Received field).
///
/// # Errors
/// Final ones for what the mail holds, `store-unavailable` when nothing could be stored.
pub(crate) async fn submit(
    intake: &Intake,
    envelope: &Envelope,
    wanted: Wanted,
    id: MessageId,
    raw: Vec<u8>,
    head_bytes: usize,
) -> Result<Accepted, Refusal> {
    let raw = Arc::new(raw);
    let mail = read(intake, &raw).await?;
    let settings = &intake.settings;
    let mut checked = match wanted {
        Wanted::Help => Checked::unread(settings, mail),
        Wanted::Fax | Wanted::Preview => check(settings, &intake.readers, mail)?,
    };
    authorise(settings, envelope, &checked.mail)?;
    refuse_machines(envelope, &checked.mail)?;
    let mut envelope = envelope.clone();
    let wanted = checked.settle(settings, &mut envelope, wanted, intake.clock.now())?;
    let content = &raw[head_bytes.min(raw.len())..];
    let idem_key = idem_key(&envelope, wanted, &checked.mail, &checked.directives, content);
    let document = keep(intake, raw).await?;
    crash_point!("intake.document-kept");
    let message = checked.compose(settings, &envelope, document, id, idem_key);
    let message = match wanted {
        Wanted::Fax => message,
        Wanted::Preview => answered_by(NoticeKind::Preview, message, &settings.address.domain),
        Wanted::Help => answered_by(NoticeKind::Help, message, &settings.address.domain),
    };
    store(intake, message, checked.mail.attachments.len()).await
}

/// S17, RFC 3834 §2: nobody is called for what a machine has sent, unless its sender's table says so; never for answers. What an
/// administrator submits was meant.
fn refuse_machines(envelope: &Envelope, mail: &Mail) -> Result<(), Refusal> {
    let Some(identity) = &envelope.identity else { return Ok(()) };
    let Some(machine) = mail.machine.filter(|machine| !(identity.policy.automatic && machine.may_tell())) else {
        return Ok(());
    };
    info!(identity = %identity.name, ?machine, "refused a mail that no person has sent");
    let fix = if machine.may_tell() {
        format!("to fax such mails, set automatic = true in the table of {}", identity.name)
    } else {
        "such mails are never faxed".to_owned()
    };
    Err(Refusal::new(
        550,
        Cause::AutomaticMail,
        format!("this is {}, nothing is dialled for it; {fix}", machine.what()),
    ))
}

/// The message without faxes, and with the mail that answers it.
fn answered_by(kind: NoticeKind, message: NewMessage, domain: &str) -> NewMessage {
    let answer = NewNotice {
        id: NoticeId::new(),
        kind,
        recipient: message.reverse_path.clone(),
        header_message_id: format!("{}.{kind}@{domain}", message.id.short()),
        withheld: None,
        format: None,
    };
    NewMessage { faxes: Vec::new(), answer: Some(answer), held: false, ..message }
}

/// A mail that may be accepted.
pub(super) struct Checked {
    mail: Mail,
    subject: String,
    directives: Directives,
    options: FaxOptions,
}

impl Checked {
    /// A mail whose content does not matter.
    fn unread(settings: &IntakeSettings, mail: Mail) -> Self {
        let directives = Directives::default();
        Self { subject: mail.subject.clone(), options: options(settings, &directives), mail, directives }
    }

    /// What directives change about the envelope. Answers what the mail becomes.
    fn settle(
        &mut self,
        settings: &IntakeSettings,
        envelope: &mut Envelope,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Wanted, Refusal> {
        let wanted = if self.directives.preview.is_some() { Wanted::Preview } else { wanted };
        if wanted != Wanted::Fax {
            self.demand_answerable(envelope)?;
        }
        match (wanted, &self.directives.to) {
            (Wanted::Preview, Some(number)) if envelope.recipients.is_empty() => {
                envelope.recipients.push(service::preview_recipient(settings, envelope, number)?);
            }
            (Wanted::Preview, None) if envelope.recipients.is_empty() => {
                let text = "say for whom the preview is: [fax: to +41441234567] in the subject, or send to +41441234567@preview.";
                return Err(Refusal::new(554, Cause::DirectiveUnknown, format!("{text}{}", settings.address.domain)));
            }
            (_, Some(_)) => {
                let text = "[fax: to …] is for mails to preview@; write the number in front of the @ of the address";
                return Err(Refusal::new(554, Cause::DirectiveUnknown, text));
            }
            (_, None) => {}
        }
        if let Some(at) = self.directives.at {
            let at = at.resolve(now, self.mail.sent_offset_s)?;
            envelope.when.not_before = Some(envelope.when.not_before.map_or(at, |held| held.max(at)));
        }
        if wanted == Wanted::Preview {
            self.options.preview_for = envelope.recipients.first().map(|recipient| recipient.path.clone());
        }
        Ok(wanted)
    }

    /// Answers go to who really asked, and never to a machine.
    fn demand_answerable(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let refuse = |text: &str| Err(Refusal::new(550, Cause::SenderNotAllowed, text));
        let Some(sender) = &envelope.reverse_path else {
            return refuse("a mail without a sender cannot be answered; send it from an address");
        };
        if self.mail.automatic {
            return refuse("an automatic mail is not answered; send it by hand");
        }
        // A signature says nothing about the envelope: the answer would go to whomever it names.
        let from = self.mail.from.as_ref().map(|from| from.address.as_str());
        if envelope.signature.is_some() && !from.is_some_and(|from| from.eq_ignore_ascii_case(sender)) {
            return refuse("the answer would go to another address than the one in From; send it from that one");
        }
        Ok(())
    }
}

/// Everything that can be refused before anything is stored.
pub(super) fn check(settings: &IntakeSettings, readers: &Readers, mail: Mail) -> Result<Checked, Refusal> {
    // Our own trace field is not counted.
    if mail.received_count > RECEIVED_MAX {
        let text = format!("the mail came through {RECEIVED_MAX} servers and goes in a circle; correct the routing");
        return Err(Refusal { code: 554, status: "5.4.6", cause: Cause::ProtocolError, text });
    }
    let (subject, directives) = directive::read(&mail.subject, &mail.fax_fields, &settings.covers)?;
    let options = options(settings, &directives);
    check_content(readers, &mail, &options)?;
    Ok(Checked { mail, subject, directives, options })
}

/// What the header must say for its sender to be let in.
pub(super) fn authorise(settings: &IntakeSettings, envelope: &Envelope, mail: &Mail) -> Result<(), Refusal> {
    let Some(identity) = &envelope.identity else { return Ok(()) };
    // Without any From nothing is forged: the reverse-path was asked for at MAIL.
    if let Some(from) = mail.from.as_ref().map(|from| from.address.as_str())
        && !identity.may_send_as(from)
    {
        let text = format!("{} may not write as {} in From; use one of its own addresses", identity.name, quoted(from));
        return Err(Refusal::new(550, Cause::SenderNotAllowed, text));
    }
    if !envelope.recipients_in_header {
        return Ok(());
    }
    let local = |mailbox: &crate::mail::mime::Mailbox| {
        let (local, domain) = mailbox.address.rsplit_once('@')?;
        let ours = domain.eq_ignore_ascii_case(&settings.address.domain);
        ours.then(|| address::parse_local(local.trim_matches('"'), &settings.address).ok()).flatten()
    };
    let written: Vec<FaxNumber> =
        mail.to.iter().take(NAMED_MAX).filter_map(local).map(|address| address.number).collect();
    match envelope.recipients.iter().find(|recipient| !written.contains(&recipient.address.number)) {
        None => Ok(()),
        Some(recipient) => {
            let text = format!(
                "{} is not in To or Cc, which the signature covers; write it there, or log in for blind copies",
                recipient.address.number
            );
            Err(Refusal { code: 550, status: "5.7.7", cause: Cause::MailReplayed, text })
        }
    }
}

/// Reading is work for a blocking thread; a panic in there costs this mail alone.
pub(super) async fn read(intake: &Intake, raw: &Arc<Vec<u8>>) -> Result<Mail, Refusal> {
    let (reader, raw) = (intake.readers.read_mail, Arc::clone(raw));
    match tokio::task::spawn_blocking(move || reader(&raw)).await {
        Ok(Ok(mail)) => Ok(mail),
        Ok(Err(error)) => Err(Refusal::new(554, error.cause, error.detail)),
        Err(error) => {
            warn!(%error, "reading a mail failed; it was refused as damaged");
            Err(Refusal::new(
                554,
                Cause::DocumentDamaged,
                "the mail cannot be read; save its attachments as PDF and send again",
            ))
        }
    }
}

fn options(settings: &IntakeSettings, directives: &Directives) -> FaxOptions {
    let render = &settings.render;
    FaxOptions {
        paper: render.paper,
        quality: directives.quality.unwrap_or(render.quality),
        cover: match &directives.cover {
            Some(Cover::Named(name)) => Some(name.clone()),
            Some(Cover::None) => None,
            None => render.cover.clone(),
        },
        body: directives.body.unwrap_or(render.body),
        reference: directives.reference.clone(),
        // Without a directive nothing is narrowed here: delivery applies its own configuration to each kind of report.
        report: directives.notify.unwrap_or(ReportStyle::Image),
        only: directives.only.clone(),
        preview_for: None,
    }
}

/// A reply is a line or two, not a list.
const REASON_MAX_CHARS: usize = 320;

/// Refused now rather than reported later: kinds that nothing can render, and mails without anything to send.
fn check_content(readers: &Readers, mail: &Mail, options: &FaxOptions) -> Result<(), Refusal> {
    let place = options.body;
    let wanted = || mail.attachments.iter().filter(|attachment| options.wants(&attachment.name));
    if let Some(only) = options.only.as_ref().filter(|_| wanted().next().is_none()) {
        let names: Vec<String> = mail.attachments.iter().take(20).map(|attachment| quoted(&attachment.name)).collect();
        let has = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        let text = format!("the mail has no attachment {}: {has}", quoted(only));
        return Err(Refusal::new(554, Cause::DirectiveUnknown, text));
    }
    for attachment in wanted() {
        if let Some(why) = (readers.refusal)(&attachment.media, &attachment.name, &attachment.bytes) {
            let (name, why) = (quoted(&attachment.name), shown(&why, REASON_MAX_CHARS));
            let text = format!("attachment {name} cannot be turned into fax pages: {why}");
            return Err(Refusal::new(554, Cause::DocumentUnsupported, text));
        }
    }
    let has_text = match &mail.body {
        Some(Body::Plain(text) | Body::Html(text)) => !text.trim().is_empty(),
        None => false,
    };
    if mail.attachments.is_empty() && (!has_text || place == BodyPlace::Drop) {
        let text = match (has_text, place) {
            (true, _) => {
                "the mail has no attachment and its text is to be dropped; add an attachment or leave \"body drop\" out"
            }
            _ => "the mail has neither text nor an attachment; add one and send again",
        };
        return Err(Refusal::new(554, Cause::DocumentEmpty, text));
    }
    Ok(())
}

/// What absorbs a client that sends again because the reply got lost (RFC 1047): same sender, recipients, Message-ID and content.
/// Without a Message-ID two equal mails may both be meant.
fn idem_key(
    envelope: &Envelope,
    wanted: Wanted,
    mail: &Mail,
    directives: &Directives,
    content: &[u8],
) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    // Each piece with its length, so that no two lists of pieces look alike.
    let mut add = |piece: &[u8]| {
        hash.update((piece.len() as u64).to_be_bytes());
        hash.update(piece);
    };
    add(envelope.reverse_path.as_deref().unwrap_or_default().as_bytes());
    // A preview comes before its fax, and is none.
    match wanted {
        Wanted::Fax => {}
        Wanted::Preview => add(b"preview"),
        Wanted::Help => add(b"help"),
    }
    let mut paths: Vec<&str> = envelope.recipients.iter().map(|recipient| recipient.path.as_str()).collect();
    paths.sort_unstable();
    paths.iter().for_each(|path| add(path.as_bytes()));
    match (&directives.idempotency_key, &mail.message_id) {
        (Some(key), _) => {
            add(b"key");
            add(key.as_bytes());
        }
        (None, Some(id)) => {
            add(b"message-id");
            add(id.as_bytes());
            // Trace fields differ from one try to the next; what follows the header does not.
            let body = content.windows(4).position(|w| w == b"\r\n\r\n").map_or(content, |at| &content[at..]);
            add(&Sha256::digest(body));
        }
        (None, None) => return None,
    }
    Some(hash.finalize().into())
}

async fn keep(intake: &Intake, raw: Arc<Vec<u8>>) -> Result<DocumentRef, Refusal> {
    let bytes = Arc::try_unwrap(raw).unwrap_or_else(|shared| shared.to_vec());
    intake.documents.put(bytes, "message/rfc822").await.map_err(|error| {
        warn!(%error, "a mail could not be kept; the client was told to try again");
        match error {
            // RFC 3463 §3.4: 4.3.1, the mail system is full.
            DocumentsError::Full { .. } => Refusal {
                code: 452,
                status: "4.3.1",
                cause: Cause::StoreUnavailable,
                text: "the disk for mails is full, nothing was stored; try again later".to_owned(),
            },
            _ => Refusal::store_unavailable(),
        }
    })
}

impl Checked {
    fn compose(
        &self,
        settings: &IntakeSettings,
        envelope: &Envelope,
        raw: DocumentRef,
        id: MessageId,
        idem_key: Option<[u8; 32]>,
    ) -> NewMessage {
        let from = self.mail.from.as_ref();
        NewMessage {
            id,
            idem_key,
            source: envelope.source,
            client: envelope.client.clone(),
            reverse_path: envelope.reverse_path.clone(),
            ret: envelope.ret,
            envid: envelope.envid.clone(),
            header_message_id: self.mail.message_id.clone(),
            subject: self.subject.clone(),
            from_name: from.and_then(|from| from.name.clone()),
            from_address: from.map(|from| from.address.clone()),
            automatic: self.mail.automatic || envelope.reverse_path.is_none(),
            options: self.options_of(envelope),
            priority: self.priority(envelope).rank(),
            raw,
            submitter: envelope.submitter(),
            held: self.directives.hold.is_some(),
            answer: None,
            faxes: self.faxes(settings, envelope),
        }
    }

    /// Its sender's cover, where the mail asks for none itself.
    fn options_of(&self, envelope: &Envelope) -> FaxOptions {
        let cover = envelope.identity.as_ref().and_then(|identity| identity.policy.cover.clone());
        match cover.filter(|_| self.directives.cover.is_none()) {
            Some(cover) => FaxOptions { cover: (cover != "none").then_some(cover), ..self.options.clone() },
            None => self.options.clone(),
        }
    }

    /// What is said more precisely wins: a directive, the transaction, the mail program's own mark.
    fn priority(&self, envelope: &Envelope) -> Priority {
        let marked = match self.mail.importance {
            1.. => Priority::High,
            0 => Priority::Normal,
            _ => Priority::Low,
        };
        self.directives.priority.or(envelope.when.priority).unwrap_or(marked)
    }

    fn faxes(&self, settings: &IntakeSettings, envelope: &Envelope) -> Vec<NewFax> {
        let names = Names::of(&self.mail, &settings.address);
        let fax = |recipient: &Recipient| {
            let (to_name, to_company) = names.find(&recipient.address);
            NewFax {
                id: FaxId::new(),
                recipient: recipient.path.clone(),
                number: recipient.address.number.clone(),
                subaddress: recipient.address.subaddress.clone(),
                post_dial: recipient.address.post_dial.clone(),
                to_name,
                to_company,
                original_recipient: recipient.original.clone(),
                notify: recipient.notify.and(settings.reports),
                not_before: envelope.when.not_before,
                give_up_after: envelope.when.give_up_after.unwrap_or(settings.dial.retry.give_up),
            }
        };
        envelope.recipients.iter().map(fax).collect()
    }

    /// What the store would hold, had it been submitted at `at`.
    pub(super) fn preview(&self, settings: &IntakeSettings, envelope: &Envelope, at: Timestamp) -> (Message, Vec<Fax>) {
        let placement = Placement::default();
        let raw = DocumentRef { key: DocumentKey([0; 32]), size_bytes: 0, media: String::new(), placement };
        self.compose(settings, envelope, raw, MessageId::new(), None).accepted(at)
    }
}

async fn store(intake: &Intake, mut message: NewMessage, attachments: usize) -> Result<Accepted, Refusal> {
    for _ in 0..ID_TRIES {
        match intake.store.submit(message.clone()).await {
            Ok(Submitted::Accepted { .. }) => {
                crash_point!("intake.committed");
                let faxes: Vec<FaxId> = message.faxes.iter().map(|fax| fax.id).collect();
                let answer = message.answer.as_ref().map(|answer| answer.kind);
                let accepted = Accepted { message: message.id, faxes, attachments, duplicate: false, answer };
                log_accepted(&message, &accepted);
                intake.accepted.notify_one();
                intake.store_answered(true);
                intake.ring.keep(message, Instant::now());
                return Ok(accepted);
            }
            Ok(Submitted::Duplicate { message: first }) => {
                let faxes = faxes_of(intake, first, &message).await;
                let accepted = Accepted { message: first, faxes, attachments, duplicate: true, answer: None };
                info!(client = %message.client, id = %accepted.id(), "a mail came again and was answered without sending it twice");
                return Ok(accepted);
            }
            Ok(Submitted::OverLimit(over)) => return Err(over_limit(&over, intake.clock.now())),
            Ok(Submitted::Replayed { number }) => return Err(replayed(&number)),
            Err(StoreError::IdTaken(taken)) => {
                warn!(%taken, "a new id met an old one; it is made anew");
                message.id = MessageId::new();
                message.faxes.iter_mut().for_each(|fax| fax.id = FaxId::new());
            }
            Err(error) => {
                intake.store_answered(false);
                warn!(%error, "a mail could not be stored; the client was told to try again");
                return Err(Refusal::store_unavailable());
            }
        }
    }
    Err(Refusal::store_unavailable())
}

/// RFC 5321 §4.5.3.1.10 has 452 for too many of something; RFC 3463 §3.8: 4.7.1, refused by local rule.
pub(crate) fn over_limit(over: &OverLimit, now: Timestamp) -> Refusal {
    let OverLimit { what, most, again } = over;
    let (code, status, text) = match again {
        Some(again) => {
            let minutes = again.since(now).as_secs().div_ceil(60).max(1);
            let text = format!("your limit ({what}: {most}) is used up; try again in {minutes} min");
            (452, "4.7.1", text)
        }
        None => {
            let text = format!("this mail alone is more than your limit ({what}: {most}); send it to fewer recipients");
            (554, "5.7.1", text)
        }
    };
    Refusal { code, status, cause: Cause::SenderLimit, text }
}

fn replayed(number: &FaxNumber) -> Refusal {
    let text =
        format!("this signed mail was faxed to {number} before; send a new mail, which gets a signature of its own");
    Refusal { code: 550, status: "5.7.7", cause: Cause::MailReplayed, text }
}

/// The faxes of an earlier message, for the reply only: an error here is no reason to let the client send again.
async fn faxes_of(intake: &Intake, message: MessageId, again: &NewMessage) -> Vec<FaxId> {
    let filter =
        FaxFilter { to: again.faxes.first().map(|fax| fax.number.to_string()), limit: 1000, ..FaxFilter::default() };
    let found = intake.store.faxes(&filter).await.unwrap_or_default();
    let of_first = found.into_iter().filter(|summary| summary.fax.message == message).map(|summary| summary.fax.id);
    // With several recipients the message's own id is the one to tell.
    if again.faxes.len() == 1 { of_first.collect() } else { Vec::new() }
}

fn log_accepted(message: &NewMessage, accepted: &Accepted) {
    let numbers: Vec<String> = message.faxes.iter().take(20).map(|fax| fax.number.masked()).collect();
    info!(
        id = %accepted.id(),
        message = %message.id,
        client = %message.client,
        sender = %masked_address(message.reverse_path.as_deref()),
        faxes = accepted.faxes.len(),
        attachments = accepted.attachments,
        size_bytes = message.raw.size_bytes,
        to = %numbers.join(" "),
        "accepted a mail"
    );
}

/// Names for covers, from To and Cc: the mailbox whose address means the same number (A31).
struct Names(Vec<(FaxAddress, String)>);

impl Names {
    fn of(mail: &Mail, rules: &AddressRules) -> Self {
        let named = mail.to.iter().take(NAMED_MAX).filter_map(|mailbox| {
            let name = mailbox.name.clone()?;
            let (local, domain) = mailbox.address.rsplit_once('@')?;
            let local = local.trim_matches('"');
            let ours = domain.eq_ignore_ascii_case(&rules.domain);
            let address = ours.then(|| address::parse_local(local, rules).ok()).flatten()?;
            // Some programs repeat the address as the name; that is none.
            (!name.contains('@') && !name.trim().is_empty()).then_some((address, name))
        });
        Self(named.collect())
    }

    /// What the address itself says wins. `Anna Meier, Acme AG` is name and company; `Meier, Anna` is a name.
    fn find(&self, address: &FaxAddress) -> (Option<String>, Option<String>) {
        if address.to_name.is_some() || address.to_company.is_some() {
            return (address.to_name.clone(), address.to_company.clone());
        }
        let same = |known: &&(FaxAddress, String)| {
            known.0.number == address.number && known.0.subaddress == address.subaddress
        };
        let Some((_, text)) = self.0.iter().find(same) else { return (None, None) };
        match text.split_once(',') {
            Some((name, company)) if name.trim().contains(' ') && !company.trim().is_empty() => {
                (Some(name.trim().to_owned()), Some(company.trim().to_owned()))
            }
            _ => (Some(text.trim().to_owned()), None),
        }
    }
}
