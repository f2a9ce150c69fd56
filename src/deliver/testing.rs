//! Faxes made by hand, a store of notices, images without a converter.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::compose::{Composer, Settings};
use super::{Bound, Images, ImagesError, Preview, PreviewError};
use crate::domain::inbound::Rule;
use crate::domain::*;
use crate::mail::bounce::{BounceKey, ReturnPaths};
use crate::store::*;

/// Sunday, 22 November 2026, 10:00:00 UTC.
pub(super) const ACCEPTED: Timestamp = Timestamp(1_795_341_600_000);

pub(super) fn minutes(n: i64) -> Timestamp {
    Timestamp(ACCEPTED.0 + n * 60_000)
}

pub(super) fn settings() -> Settings {
    Settings {
        from: "Fax <fax@fax.test>".into(),
        reporting_mta: "gw1.fax.test".into(),
        administrator: Some("it@corp.test".into()),
        zone: TimeZone::UTC,
        orders: ReturnPaths::new(BounceKey::new([9; 32]), "fax.test").orders(),
        success: ReportStyle::Image,
        failure: ReportStyle::Image,
    }
}

pub(super) fn composer() -> Composer {
    Composer::new(settings()).unwrap()
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_aaaa_0000_7000_8000_0000_0000_0000 + n)
}

/// The mail that became the fax.
pub(super) const ORIGINAL: &[u8] = b"Received: from a by b\r\nFrom: Jean <jean@corp.test>\r\nTo: <fax@fax.test>\r\n\
    Bcc: +41440000009@fax.test,\r\n\tother@x.test\r\nSubject: Offer 4711\r\nMessage-ID: <abc@corp.test>\r\n\r\nThe offer.\r\n";

/// A message from `jean@corp.test` with one fax of `pages` pages, none sent yet.
pub(super) fn work(kind: NoticeKind, pages: Option<u32>) -> NoticeWork {
    let (message, fax) = (MessageId(id(1)), FaxId(id(2)));
    let message = Message {
        id: message,
        accepted_at: ACCEPTED,
        source: Source::Smtp,
        client: "10.0.5.7".into(),
        reverse_path: Some("jean@corp.test".into()),
        ret: Some(Ret::Hdrs),
        envid: Some("QQ314159".into()),
        header_message_id: Some("abc@corp.test".into()),
        subject: "Offer 4711".into(),
        from_name: Some("Jean".into()),
        from_address: Some("jean@corp.test".into()),
        automatic: false,
        options: FaxOptions::default(),
        raw: DocumentKey([1; 32]),
    };
    let fax = Fax {
        id: fax,
        message: message.id,
        recipient: "FAX=+12145551212/T33S=1387@fax.test".into(),
        number: "+12145551212".parse().unwrap(),
        subaddress: None,
        post_dial: None,
        to_name: Some("Anna Meier".into()),
        to_company: Some("Acme AG".into()),
        original_recipient: Some("rfc822;FAX=+12145551212/T33S=1387@fax.test".into()),
        notify: NotifyOn::default(),
        state: FaxState::Failed,
        priority: 5,
        not_before: ACCEPTED,
        give_up_at: minutes(1440),
        document: pages.map(|_| DocumentKey([2; 32])),
        page_count: pages,
        pages_confirmed: 0,
        attempts: 0,
        cause: None,
        detail: None,
        accepted_at: ACCEPTED,
        ended_at: Some(minutes(32)),
        retry_of: None,
        begin_page: 1,
        ordered: None,
        legal_hold: false,
    };
    let notice = Notice {
        id: NoticeId(id(3)),
        fax: Some(fax.id),
        received: None,
        format: None,
        kind,
        state: NoticeState::Owed,
        recipient: Some("jean@corp.test".into()),
        header_message_id: "F-TEST.final@fax.test".into(),
        created_at: minutes(32),
        sent_at: None,
        tries: 0,
        detail: None,
    };
    let record = FaxRecord {
        fax,
        message,
        attempts: vec![],
        pages: vec![],
        notices: vec![notice.clone()],
        retried_as: None,
        destination: None,
    };
    NoticeWork { notice, token: 7, about: About::Fax(Box::new(record)) }
}

/// What a report tells of.
pub(super) fn record(work: &NoticeWork) -> &FaxRecord {
    let About::Fax(record) = &work.about else { panic!("{:?}", work.about) };
    record
}

/// The same, to be changed.
pub(super) fn record_mut(work: &mut NoticeWork) -> &mut FaxRecord {
    match &mut work.about {
        About::Fax(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Adds a call that began `minute` minutes after acceptance, took 64 s and confirmed pages up to `confirmed`.
pub(super) fn call(work: &mut NoticeWork, minute: i64, confirmed: u32, end: AttemptEnd) {
    let record = record_mut(work);
    let number = u32::try_from(record.attempts.len()).unwrap() + 1;
    let attempt = AttemptId(id(100 + u128::from(number)));
    let first_page = record.fax.pages_confirmed + 1;
    let rate_bps = end.rate_bps.unwrap_or(14_400);
    for page in first_page..=confirmed {
        record.pages.push(PageRecord {
            attempt,
            attempt_number: number,
            confirmed_at: Timestamp(minutes(minute).0 + 15_000 * i64::from(page)),
            page: ConfirmedPage {
                page,
                rate_bps,
                ecm: true,
                duration_ms: 15_000,
                blocks_resent: u32::from(page == 2) * 2,
            },
        });
    }
    record.attempts.push(Attempt {
        told_end: None,
        id: attempt,
        number,
        node: "gw-a".into(),
        line: "trunk1".into(),
        first_page,
        started_at: minutes(minute),
        answered_at: end.transport.map(|_| minutes(minute)),
        ended_at: Some(Timestamp(minutes(minute).0 + 64_000)),
        page_started: confirmed,
        all_pages_sent: Some(confirmed) == record.fax.page_count,
        end,
    });
    record.fax.attempts = number;
    record.fax.pages_confirmed = confirmed;
}

pub(super) fn over_t38(detail: &str, cause: Option<Cause>) -> AttemptEnd {
    AttemptEnd {
        transport: Some(Transport::T38),
        rate_bps: Some(14_400),
        ecm: Some(true),
        remote_id: Some("ACME AG +41441234567".into()),
        sip_code: Some(200),
        t30_code: cause.map(|_| 0x22),
        detail: detail.into(),
        cause,
        ..AttemptEnd::default()
    }
}

pub(super) fn refused(code: u16, detail: &str, cause: Cause) -> AttemptEnd {
    AttemptEnd { sip_code: Some(code), detail: detail.into(), cause: Some(cause), ..AttemptEnd::default() }
}

pub(super) fn sent() -> NoticeWork {
    let mut work = work(NoticeKind::Sent, Some(4));
    call(&mut work, 31, 4, over_t38("", None));
    work
}

pub(super) fn busy() -> NoticeWork {
    let mut work = work(NoticeKind::Failed, Some(3));
    for minute in [5, 10, 15, 20, 30] {
        call(&mut work, minute, 0, refused(486, "486 Busy Here", Cause::Busy));
    }
    record_mut(&mut work).fax.cause = Some(Cause::Busy);
    record_mut(&mut work).fax.detail = Some("486 Busy Here".into());
    work
}

pub(super) fn partial() -> NoticeWork {
    let mut work = work(NoticeKind::Partial, Some(5));
    call(&mut work, 5, 2, over_t38("the connection ended in page 3", Some(Cause::RemoteHangup)));
    call(&mut work, 15, 2, refused(480, "480 Temporarily Unavailable", Cause::NoAnswer));
    record_mut(&mut work).fax.cause = Some(Cause::RemoteHangup);
    record_mut(&mut work).fax.detail = Some("the connection ended in page 3".into());
    work
}

pub(super) fn unknown() -> NoticeWork {
    let mut work = work(NoticeKind::Unknown, Some(4));
    call(&mut work, 31, 3, over_t38("no answer to EOP", Some(Cause::ConfirmationLost)));
    let last = record_mut(&mut work).attempts.last_mut().unwrap();
    (last.page_started, last.all_pages_sent) = (4, true);
    record_mut(&mut work).fax.cause = Some(Cause::ConfirmationLost);
    work
}

/// A fax of four pages that was busy three times and is called again.
pub(super) fn delayed() -> NoticeWork {
    let mut work = work(NoticeKind::Delayed, Some(4));
    for minute in [5, 10, 15] {
        call(&mut work, minute, 0, refused(486, "486 Busy Here", Cause::Busy));
    }
    work.notice.created_at = minutes(16);
    let fax = &mut record_mut(&mut work).fax;
    (fax.state, fax.ended_at, fax.not_before) = (FaxState::Ready, None, minutes(20));
    (fax.cause, fax.detail) = (Some(Cause::Busy), Some("486 Busy Here".into()));
    work
}

/// The rest of a fax whose pages 1 and 2 arrived before.
pub(super) fn repeated() -> NoticeWork {
    let mut work = work(NoticeKind::Sent, Some(4));
    let fax = &mut record_mut(&mut work).fax;
    (fax.retry_of, fax.begin_page, fax.pages_confirmed) = (Some(FaxId(id(9))), 3, 2);
    call(&mut work, 31, 4, over_t38("", None));
    work
}

pub(super) fn cancelled() -> NoticeWork {
    let mut work = work(NoticeKind::Cancelled, Some(4));
    record_mut(&mut work).fax.cause = Some(Cause::Cancelled);
    work
}

/// The document of a received page.
pub(super) fn page_key(page: usize) -> DocumentKey {
    DocumentKey([u8::try_from(page).unwrap(); 32])
}

/// A fax of three pages that came in for `sales@corp.test`.
pub(super) fn received(complete: bool, format: ReceivedFormat) -> NoticeWork {
    let fax = ReceivedFaxId(id(4));
    let received = Received {
        id: fax,
        node: "gw-a".into(),
        line: "trunk1".into(),
        called_number: "+41440000001".into(),
        calling_number: Some("+41313332211".into()),
        remote_id: Some("MUELLER AG".into()),
        subaddress: Some("12".into()),
        transport: Some(Transport::T38),
        state: ReceivedState::Received,
        complete: Some(complete),
        page_count: 3,
        route: Some("sales".into()),
        cause: (!complete).then_some(Cause::RemoteHangup),
        detail: (!complete).then(|| "the far end hung up in page 4".into()),
        started_at: minutes(30),
        received_at: Some(minutes(32)),
        delivered_at: None,
        legal_hold: false,
    };
    let page = |number: u32| ReceivedPageRecord {
        page: number,
        document: page_key(number as usize),
        width_px: 1728,
        height_px: 2292,
        rate_bps: 14_400,
        ecm: number != 2,
        damaged_lines: u32::from(number == 2) * 14,
        stored_at: Timestamp(minutes(31).0 + 15_000 * i64::from(number)),
    };
    let notice = Notice {
        id: NoticeId(id(5)),
        fax: None,
        received: Some(fax),
        format: Some(format),
        kind: NoticeKind::Received,
        state: NoticeState::Owed,
        recipient: Some("sales@corp.test".into()),
        header_message_id: format!("{}.received.0011@fax.test", fax.short()),
        created_at: minutes(32),
        sent_at: None,
        tries: 0,
        detail: None,
    };
    let pages = (1..=3).map(page).collect();
    let record = ReceivedRecord { received, pages, notices: vec![notice.clone()] };
    NoticeWork { notice, token: 7, about: About::Received(Box::new(record)) }
}

/// A mail that is answered by this.
pub(super) fn answer(kind: NoticeKind) -> NoticeWork {
    let NoticeWork { notice, token, about } = work(kind, None);
    let About::Fax(record) = about else { panic!("it tells of a fax") };
    let message = Box::new(record.message);
    let header_message_id = format!("{}.{kind}@fax.test", message.id.short());
    NoticeWork { notice: Notice { fax: None, header_message_id, ..notice }, token, about: About::Message(message) }
}

/// What a preview of two pages tells of them.
pub(super) fn preview() -> Preview {
    Preview { number: "+12145551212".into(), pages_bytes: vec![18_000, 410_250], ..Preview::default() }
}

/// What a mail of a received fax tells of, to be changed.
pub(super) fn received_mut(work: &mut NoticeWork) -> &mut ReceivedRecord {
    match &mut work.about {
        About::Received(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Return addresses, and who gets what nobody takes.
pub(super) fn returned() -> (ReturnPaths, Instead) {
    let instead = Instead { mailboxes: vec!["office@corp.test".into()], domain: "fax.test".into() };
    (ReturnPaths::new(BounceKey::new([7; 32]), "fax.test"), instead)
}

/// A PDF and a PNG that nobody looks into.
pub(super) const PDF: &[u8] = b"%PDF-1.4 \x00\xff";
pub(super) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
pub(super) const TIFF: &[u8] = b"II*\0\x08\0\0\0";

/// Images that are there, or not.
pub(super) enum FakeImages {
    Present,
    /// And the mail has 8-bit lines.
    EightBit,
    Missing,
    /// By retention, then.
    Removed(Timestamp),
}

#[async_trait]
impl Images for FakeImages {
    async fn pdf(&self, _: &DocumentKey) -> std::result::Result<Vec<u8>, ImagesError> {
        self.answer(PDF)
    }

    async fn thumbnail(&self, _: &DocumentKey, page: u32, width_px: u32) -> std::result::Result<Vec<u8>, ImagesError> {
        assert_eq!((page, width_px), (1, 300));
        self.answer(PNG)
    }

    async fn bound(&self, pages: &[DocumentKey], form: Bound) -> std::result::Result<Vec<u8>, ImagesError> {
        let expected: Vec<DocumentKey> = (1..=pages.len()).map(page_key).collect();
        assert_eq!(pages, expected, "every page, in order");
        self.answer(if form == Bound::Pdf { PDF } else { TIFF })
    }

    async fn preview(&self, _: &Message) -> std::result::Result<Preview, PreviewError> {
        let (pdf, thumbnail) = (PDF.to_vec(), PNG.to_vec());
        match self {
            Self::Present | Self::EightBit => Ok(Preview { pdf, thumbnail, ..preview() }),
            Self::Missing => Err(PreviewError::Again("no such document".into())),
            Self::Removed(_) => {
                Err(PreviewError::Final { cause: Cause::DocumentDamaged, detail: "offer.pdf: it has no pages".into() })
            }
        }
    }

    async fn mail(&self, _: &DocumentKey) -> std::result::Result<Vec<u8>, ImagesError> {
        match self {
            Self::EightBit => Ok([ORIGINAL, b"Gr\xfc\xdfe\r\n"].concat()),
            _ => self.answer(ORIGINAL),
        }
    }
}

impl FakeImages {
    fn answer(&self, octets: &[u8]) -> std::result::Result<Vec<u8>, ImagesError> {
        match self {
            Self::Present | Self::EightBit => Ok(octets.to_vec()),
            Self::Missing => Err(ImagesError::Failed("no such document".into())),
            Self::Removed(at) => Err(ImagesError::Removed { at: *at }),
        }
    }
}

/// What became of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Sent(String),
    Again(Timestamp, String),
    Dead(String),
    Withdrawn(String),
}

/// A store that knows one notice; a claim hands it out whenever it is owed, as after a crash.
pub(super) struct Notices {
    pub(super) work: Mutex<NoticeWork>,
    pub(super) now: Mutex<Timestamp>,
    pub(super) written: Mutex<Vec<Written>>,
    /// Who gets it instead, as the last burial said.
    pub(super) instead: Mutex<Vec<String>>,
}

impl Notices {
    pub(super) fn of(work: NoticeWork) -> Self {
        Self {
            work: Mutex::new(work),
            now: Mutex::new(minutes(32)),
            written: Mutex::new(vec![]),
            instead: Mutex::default(),
        }
    }

    pub(super) fn last(&self) -> Written {
        self.written.lock().unwrap().last().cloned().expect("something was written")
    }

    fn write(&self, token: LeaseToken, state: NoticeState, written: Written) -> Result<()> {
        let mut work = self.work.lock().unwrap();
        assert_eq!(token, work.token, "write-backs carry the token of the claim");
        work.notice.state = state;
        self.written.lock().unwrap().push(written);
        Ok(())
    }
}

fn elsewhere<T>() -> Result<T> {
    Err(StoreError::Refused("this store has notices only".into()))
}

#[async_trait]
impl Store for Notices {
    async fn now(&self) -> Result<Timestamp> {
        Ok(*self.now.lock().unwrap())
    }
    async fn claim_notices(&self, _: &Owner, limit: u32, lease: Duration) -> Result<Vec<NoticeWork>> {
        assert!(limit == 1 && lease >= Duration::from_secs(60));
        let mut work = self.work.lock().unwrap();
        let due = work.notice.state == NoticeState::Owed;
        if due {
            work.token += 1;
            work.notice.tries += 1;
        }
        Ok(due.then(|| work.clone()).into_iter().collect())
    }
    async fn notice_sent(&self, _: NoticeId, token: LeaseToken, by: &str) -> Result<()> {
        self.write(token, NoticeState::Sent, Written::Sent(by.into()))
    }
    async fn notice_again(&self, _: NoticeId, token: LeaseToken, not_before: Timestamp, why: &str) -> Result<()> {
        self.write(token, NoticeState::Owed, Written::Again(not_before, why.into()))
    }
    async fn notice_dead(&self, _: NoticeId, token: LeaseToken, why: &str, instead: &Instead) -> Result<()> {
        *self.instead.lock().unwrap() = instead.mailboxes.clone();
        self.write(token, NoticeState::Dead, Written::Dead(why.into()))
    }
    async fn notice_withdrawn(&self, _: NoticeId, token: LeaseToken, why: &str) -> Result<()> {
        self.write(token, NoticeState::Withheld, Written::Withdrawn(why.into()))
    }
    async fn check_writable(&self) -> Result<()> {
        elsewhere()
    }
    async fn health(&self) -> Result<StoreHealth> {
        elsewhere()
    }
    async fn line_use(&self) -> Result<Vec<LineUse>> {
        elsewhere()
    }
    async fn begin_incoming(&self, _: &Owner, _: NewIncoming, _: Duration) -> Result<()> {
        elsewhere()
    }
    async fn end_incoming(&self, _: Uuid) -> Result<()> {
        elsewhere()
    }
    async fn drain_node(&self, _: &str, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn resume_node(&self, _: &str, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn drain_order(&self, _: &str) -> Result<Option<DrainOrder>> {
        elsewhere()
    }
    async fn over_limit(&self, _: &str, _: Option<&str>, _: &SubmitLimits) -> Result<Option<OverLimit>> {
        elsewhere()
    }
    async fn put_account(&self, _: &Account) -> Result<()> {
        elsewhere()
    }
    async fn remove_account(&self, _: &str, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn account(&self, _: &str) -> Result<Option<Account>> {
        elsewhere()
    }
    async fn accounts(&self) -> Result<Vec<Account>> {
        elsewhere()
    }
    async fn login_failed(&self, _: &[String], _: Duration) -> Result<()> {
        elsewhere()
    }
    async fn login_failures(&self, _: &[String], _: Duration) -> Result<Vec<(String, u32)>> {
        elsewhere()
    }
    async fn login_forgiven(&self, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn submit(&self, _: NewMessage) -> Result<Submitted> {
        elsewhere()
    }
    async fn claim_render(&self, _: &Owner, _: Duration) -> Result<Option<RenderWork>> {
        elsewhere()
    }
    async fn rendered(&self, _: FaxId, _: LeaseToken, _: RenderedPages) -> Result<()> {
        elsewhere()
    }
    async fn render_again(&self, _: FaxId, _: LeaseToken, _: Timestamp, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn render_failed(&self, _: FaxId, _: LeaseToken, _: FinalEnd) -> Result<()> {
        elsewhere()
    }
    async fn claim_calls_to(&self, _: &Owner, _: &[Reach], _: u32, _: Duration) -> Result<Vec<CallWork>> {
        elsewhere()
    }
    async fn begin_attempt(&self, _: FaxId, _: LeaseToken, _: NewAttempt) -> Result<u32> {
        elsewhere()
    }
    async fn claim_overdue(&self, _: &Owner, _: u32, _: Duration) -> Result<Vec<CallWork>> {
        elsewhere()
    }
    async fn record_fact(&self, _: AttemptId, _: AttemptFact) -> Result<()> {
        elsewhere()
    }
    async fn page_confirmed(&self, _: AttemptId, _: ConfirmedPage) -> Result<()> {
        elsewhere()
    }
    async fn end_attempt(&self, _: AttemptId, _: LeaseToken, _: AttemptEnd, _: Next) -> Result<()> {
        elsewhere()
    }
    async fn call_again(&self, _: FaxId, _: LeaseToken, _: Timestamp, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn call_failed(&self, _: FaxId, _: LeaseToken, _: FinalEnd) -> Result<()> {
        elsewhere()
    }
    async fn renew(&self, _: &Owner, _: &[Lease], _: Duration) -> Result<Vec<Lease>> {
        elsewhere()
    }
    async fn secret(&self, _: &str, _: &[u8]) -> Result<Vec<u8>> {
        elsewhere()
    }
    async fn take_back(&self, _: &Owner) -> Result<TakenBack> {
        elsewhere()
    }
    async fn orphans(&self) -> Result<Vec<Orphan>> {
        elsewhere()
    }
    async fn settle(&self, _: &Orphan, _: AttemptEnd, _: Next) -> Result<()> {
        elsewhere()
    }
    async fn node_seen(&self, _: &NodeState) -> Result<()> {
        elsewhere()
    }
    async fn line_seen(&self, _: &LineState) -> Result<()> {
        elsewhere()
    }
    async fn fax(&self, _: FaxId) -> Result<FaxRecord> {
        elsewhere()
    }
    async fn find(&self, _: &ShortId) -> Result<EventsOf> {
        elsewhere()
    }
    async fn find_fax(&self, _: &ShortId) -> Result<FaxId> {
        elsewhere()
    }
    async fn faxes(&self, _: &FaxFilter) -> Result<Vec<FaxSummary>> {
        elsewhere()
    }
    async fn message(&self, _: MessageId) -> Result<Message> {
        elsewhere()
    }
    async fn events(&self, _: EventsOf, _: i64, _: u32) -> Result<Vec<Event>> {
        elsewhere()
    }
    async fn last_event_before(&self, _: Timestamp) -> Result<i64> {
        elsewhere()
    }
    async fn counts(&self) -> Result<Counts> {
        elsewhere()
    }
    async fn nodes_and_lines(&self) -> Result<(Vec<NodeState>, Vec<LineState>)> {
        elsewhere()
    }
    async fn document(&self, _: &DocumentKey) -> Result<StoredDocument> {
        elsewhere()
    }
    async fn missing(&self, _: &[MessageId]) -> Result<Vec<MessageId>> {
        elsewhere()
    }
    async fn forget_idem_keys(&self, _: Timestamp, _: u32) -> Result<u64> {
        elsewhere()
    }
    async fn notice_bounced(&self, _: NoticeId, _: &str, _: &Instead) -> Result<bool> {
        elsewhere()
    }
    async fn park_fact(&self, _: ParkedFact) -> Result<()> {
        elsewhere()
    }
    async fn parked_facts(&self, _: u32) -> Result<Vec<ParkedFact>> {
        elsewhere()
    }
    async fn unpark_fact(&self, _: Uuid) -> Result<()> {
        elsewhere()
    }
    async fn avoid_t38(&self, _: FaxId, _: Timestamp, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn orders(&self, _: &Owner) -> Result<Vec<(FaxId, Order)>> {
        elsewhere()
    }
    async fn begin_received(&self, _: &Owner, _: NewReceived, _: ReceivedPage, _: Duration) -> Result<LeaseToken> {
        elsewhere()
    }
    async fn received_page(&self, _: ReceivedFaxId, _: LeaseToken, _: ReceivedPage) -> Result<()> {
        elsewhere()
    }
    async fn end_received(&self, _: ReceivedFaxId, _: LeaseToken, _: ReceivedEnd) -> Result<()> {
        elsewhere()
    }
    async fn stale_received(&self) -> Result<Vec<StaleReceived>> {
        elsewhere()
    }
    async fn received(&self, _: ReceivedFaxId) -> Result<ReceivedRecord> {
        elsewhere()
    }
    async fn find_received(&self, _: &ShortId) -> Result<ReceivedFaxId> {
        elsewhere()
    }
    async fn received_faxes(&self, _: &ReceivedFilter) -> Result<Vec<Received>> {
        elsewhere()
    }
    async fn inbound_routes(&self) -> Result<Vec<StoredRoute>> {
        elsewhere()
    }
    async fn set_inbound_route(&self, _: &Rule, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn remove_inbound_route(&self, _: &str, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn owe_delayed(&self, _: Duration, _: &str, _: u32) -> Result<u64> {
        elsewhere()
    }
    async fn hold(&self, _: FaxId, _: &str) -> Result<Ordered> {
        elsewhere()
    }
    async fn release(&self, _: FaxId, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn cancel(&self, _: FaxId, _: &str, _: &str) -> Result<Ordered> {
        elsewhere()
    }
    async fn carry_out_orders(&self, _: &str) -> Result<u64> {
        elsewhere()
    }
    async fn retry(&self, _: FaxId, _: RetryPages, _: &str, _: Duration) -> Result<Retried> {
        elsewhere()
    }
    async fn redeliver(&self, _: EventsOf, _: Option<&str>, _: &str) -> Result<u64> {
        elsewhere()
    }
    async fn set_legal_hold(&self, _: EventsOf, _: bool, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn prune(&self, _: PruneRules) -> Result<Pruned> {
        elsewhere()
    }
    async fn document_rows(&self, _: Option<DocumentKey>, _: u32) -> Result<Vec<DocumentRow>> {
        elsewhere()
    }
    async fn prunable(&self, _: PruneRules) -> Result<Pruned> {
        elsewhere()
    }
    async fn mark_unreferenced(&self, _: Option<DocumentKey>, _: u32, _: Duration) -> Result<Marked> {
        elsewhere()
    }
    async fn needed_objects(&self, _: &[ObjectName]) -> Result<Vec<ObjectName>> {
        elsewhere()
    }
    async fn sealers(&self) -> Result<Vec<(String, u64)>> {
        elsewhere()
    }
    async fn sealed_otherwise(&self, _: &str, _: Option<DocumentKey>, _: u32) -> Result<Vec<(DocumentKey, SealedKey)>> {
        elsewhere()
    }
    async fn rewrap(&self, _: Vec<Rewrapped>) -> Result<u64> {
        elsewhere()
    }
    async fn unsealed(&self, _: Option<DocumentKey>, _: u32) -> Result<Vec<(DocumentKey, u64, Placement)>> {
        elsewhere()
    }
    async fn seal(&self, _: DocumentKey, _: Placement) -> Result<bool> {
        elsewhere()
    }
    async fn take_duty(&self, _: &Owner, _: &str, _: Duration) -> Result<bool> {
        elsewhere()
    }
    async fn give_duty_back(&self, _: &Owner, _: &str) -> Result<()> {
        elsewhere()
    }
    async fn oldest_message(&self) -> Result<Option<Timestamp>> {
        elsewhere()
    }
    async fn restored(&self, _: Unended, _: &str) -> Result<Restored> {
        elsewhere()
    }
    async fn sweep_documents(&self, _: u32) -> Result<Vec<ObjectName>> {
        elsewhere()
    }
    async fn backup_to(&self, _: &std::path::Path) -> Result<()> {
        elsewhere()
    }
    async fn expire_leases(&self, _: ExpiryRules) -> Result<Expired> {
        elsewhere()
    }
}
