//! Fax lives: the transitions of the gateway's stages, one worker after another, over one store.
//!
//! Each worker submits one mail, makes the pages of one fax, calls one, and delivers one report, of whichever is next: what
//! a depth was filled with is worked off in its order, and the depth stays.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faxwell::domain::{AttemptId, FaxId, FaxOptions, MessageId, NoticeId, NoticeKind, NotifyOn, Outcome};
use faxwell::store::{
    AttemptEnd, AttemptFact, CallWork, ConfirmedPage, DocumentKey, DocumentRef, FinalEnd, NewAttempt, NewFax,
    NewMessage, NewNotice, Next, NoticeWork, Owner, Placement, RenderWork, RenderedPages, Result as Stored, Source,
    SqlStore, Store, Submitted, Transport,
};
use sha2::{Digest, Sha256};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Result;
use crate::bare::per_second;
use crate::bed::Bed;

/// Pages of each fax.
pub(crate) const PAGES: u32 = 3;
/// Of a short mail, which lies in its row.
pub(crate) const MAIL_SIZE_BYTES: usize = 4096;
/// Of three pages of text, which lie in the repository: 32 KiB a page.
const PAGES_SIZE_BYTES: u64 = 3 * 32 * 1024;
/// Longer than any slice: nothing runs out.
const LEASE: Duration = Duration::from_secs(3600);
/// A life that takes longer hangs, and the run with it.
const LIFE_MAX: Duration = Duration::from_secs(120);
/// Of each worker before it counts: connections are opened and statements prepared.
const WARM_LIVES: u32 = 3;
/// Claims that find everything locked by others; more means that something is lost.
const CLAIMS_MAX: u32 = 1000;

/// What one slice has measured.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Transitions a second, durable.
    pub(crate) per_s: f64,
    /// Faxes that were sent and reported, those before the start included.
    pub(crate) lives: u64,
    /// Of them, the ones whose times are here.
    pub(crate) measured: u64,
    /// How long each call of each transition took.
    pub(crate) times: BTreeMap<&'static str, Vec<Duration>>,
    /// Claims that came back with nothing, since others had locked what was due.
    pub(crate) empty_claims: u64,
}

/// Runs so many workers for a slice, and lets them finish the lives that they are in.
pub(crate) async fn slice(bed: &Bed, workers: u32, length: Duration) -> Result<Round> {
    let store = bed.store(workers).await?;
    let before = store.counts().await?;
    let done = Arc::new(AtomicU64::new(0));
    let ready = Arc::new(Barrier::new(workers as usize + 1));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(Worker::new(&store, &done).lives(Arc::clone(&ready), length));
    }
    // A worker that ends before the start has failed.
    tokio::select! {
        _ = ready.wait() => {}
        Some(ended) = running.join_next() => drop(ended??),
    }
    let (start, warm) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(length).await;
    // Read at the end of the slice: the last lives end with fewer workers at once.
    let per_s = per_second(done.load(Ordering::Relaxed).saturating_sub(warm), start.elapsed());
    let mut round = Round { per_s, ..Round::default() };
    while let Some(ended) = running.join_next().await {
        round.add(ended??);
    }
    let after = store.counts().await?;
    store.close().await;
    for (what, then, now) in [
        ("faxes sent", before.faxes.get("sent"), after.faxes.get("sent")),
        ("reports sent", before.notices.get("sent"), after.notices.get("sent")),
    ] {
        let counted = now.unwrap_or(&0) - then.unwrap_or(&0);
        if counted != round.lives {
            return Err(format!("{what} in the store: {counted}, lives: {}", round.lives).into());
        }
    }
    Ok(round)
}

impl Round {
    fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.measured += other.measured;
        self.empty_claims += other.empty_claims;
        for (name, times) in other.times {
            self.times.entry(name).or_default().extend(times);
        }
    }
}

struct Worker {
    store: Arc<SqlStore>,
    done: Arc<AtomicU64>,
    owner: Owner,
    round: Round,
}

impl Worker {
    fn new(store: &Arc<SqlStore>, done: &Arc<AtomicU64>) -> Self {
        Self {
            store: Arc::clone(store),
            done: Arc::clone(done),
            owner: Owner { node: "bench".to_owned(), epoch: MessageId::new().0 },
            round: Round::default(),
        }
    }

    /// Lives until the slice is over, and finishes the last one.
    async fn lives(mut self, ready: Arc<Barrier>, length: Duration) -> Result<Round> {
        for _ in 0..WARM_LIVES {
            self.life().await?;
        }
        ready.wait().await;
        self.round.times.clear();
        self.round.empty_claims = 0;
        self.round.measured = 0;
        let start = Instant::now();
        while start.elapsed() < length {
            self.life().await?;
            self.round.measured += 1;
        }
        Ok(self.round)
    }

    async fn life(&mut self) -> Result<()> {
        timeout(LIFE_MAX, self.steps()).await.map_err(|_| "a fax life takes longer than 120 s")?
    }

    async fn steps(&mut self) -> Result<()> {
        let store = Arc::clone(&self.store);
        match self.timed("submit", store.submit(mail()?)).await? {
            Submitted::Accepted { .. } => {}
            refused => return Err(format!("a new mail without a limit is refused: {refused:?}").into()),
        }
        let work = self.claim_render().await?;
        for (fax, token) in &work.faxes {
            self.timed("rendered", store.rendered(fax.id, *token, pages(fax.id))).await?;
        }
        let call = self.claim_call().await?;
        self.call(&call).await?;
        let report = self.claim_notice().await?;
        let taken = store.notice_sent(report.notice.id, report.token, "mx1.example.com: 250 2.0.0 queued");
        self.timed("notice_sent", taken).await?;
        self.round.lives += 1;
        Ok(())
    }

    async fn call(&mut self, work: &CallWork) -> Result<()> {
        let (store, id) = (Arc::clone(&self.store), AttemptId::new());
        let attempt = NewAttempt {
            id,
            line: "trunk1".to_owned(),
            first_page: work.fax.pages_confirmed + 1,
            limits: Default::default(),
        };
        self.timed("begin_attempt", store.begin_attempt(work.fax.id, work.token, attempt)).await?;
        let trained = AttemptFact::Trained { rate_bps: 14_400, ecm: true, remote_id: "+41 44 123 45 67".to_owned() };
        let carried = AttemptFact::Carried { transport: Transport::T38 };
        for fact in [AttemptFact::Ringing, AttemptFact::Answered, carried, trained] {
            self.timed("record_fact", store.record_fact(id, fact)).await?;
        }
        for page in 1..=PAGES {
            self.timed("record_fact", store.record_fact(id, AttemptFact::PageStarted { page })).await?;
            if page == PAGES {
                self.timed("record_fact", store.record_fact(id, AttemptFact::AllPagesSent)).await?;
            }
            let confirmed = ConfirmedPage { page, rate_bps: 14_400, ecm: true, duration_ms: 25_000, blocks_resent: 0 };
            self.timed("page_confirmed", store.page_confirmed(id, confirmed)).await?;
        }
        let ended = store.end_attempt(id, work.token, end(), Next::Final(sent()));
        self.timed("end_attempt", ended).await
    }

    async fn claim_render(&mut self) -> Result<RenderWork> {
        let store = Arc::clone(&self.store);
        for _ in 0..CLAIMS_MAX {
            let owner = self.owner.clone();
            match self.timed("claim_render", store.claim_render(&owner, LEASE)).await? {
                Some(work) => return Ok(work),
                None => self.nothing("claim_render").await,
            }
        }
        Err("no mail to render, though one was submitted for each worker".into())
    }

    async fn claim_call(&mut self) -> Result<CallWork> {
        let store = Arc::clone(&self.store);
        for _ in 0..CLAIMS_MAX {
            let owner = self.owner.clone();
            match self.timed("claim_calls", store.claim_calls(&owner, 1, LEASE)).await?.pop() {
                Some(work) => return Ok(work),
                None => self.nothing("claim_calls").await,
            }
        }
        Err("no fax to call, though one was rendered for each worker".into())
    }

    async fn claim_notice(&mut self) -> Result<NoticeWork> {
        let store = Arc::clone(&self.store);
        for _ in 0..CLAIMS_MAX {
            let owner = self.owner.clone();
            match self.timed("claim_notices", store.claim_notices(&owner, 1, LEASE)).await?.pop() {
                Some(work) => return Ok(work),
                None => self.nothing("claim_notices").await,
            }
        }
        Err("no report to deliver, though one is owed for each worker".into())
    }

    /// A claim that found nothing has moved nothing: it is not counted as a transition.
    async fn nothing(&mut self, name: &'static str) {
        self.done.fetch_sub(1, Ordering::Relaxed);
        self.round.times.entry(name).or_default().pop();
        self.round.empty_claims += 1;
        tokio::task::yield_now().await;
    }

    async fn timed<T>(&mut self, name: &'static str, transition: impl Future<Output = Stored<T>>) -> Result<T> {
        let start = Instant::now();
        let answer = transition.await.map_err(|error| format!("{name}: {error}"))?;
        self.round.times.entry(name).or_default().push(start.elapsed());
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }
}

/// A mail for a number that no other fax has.
fn mail() -> Result<NewMessage> {
    let (id, fax) = (MessageId::new(), FaxId::new());
    // Twelve digits of the id's random tail.
    let number = format!("+4{:012}", fax.0.as_u128() % 1_000_000_000_000);
    // Half of it can be compressed away, as of text.
    let blocks = (0_u32..).flat_map(|nth| Sha256::digest([&id.0.as_bytes()[..], &nth.to_be_bytes()[..]].concat()));
    let bytes: Vec<u8> = blocks.flat_map(|byte| [b'a' + byte / 16, b'a' + byte % 16]).take(MAIL_SIZE_BYTES).collect();
    Ok(NewMessage {
        held: false,
        answer: None,
        id,
        idem_key: Some(Sha256::digest(id.0.as_bytes()).into()),
        source: Source::Smtp,
        client: "10.0.5.7 (mail.example.com)".to_owned(),
        reverse_path: Some("anna@example.com".to_owned()),
        ret: None,
        envid: None,
        header_message_id: Some(format!("{id}@example.com")),
        subject: "Offer 4711".to_owned(),
        from_name: Some("Anna Meier".to_owned()),
        from_address: Some("anna@example.com".to_owned()),
        automatic: false,
        options: FaxOptions::default(),
        priority: 5,
        raw: DocumentRef {
            key: DocumentKey(Sha256::digest(&bytes).into()),
            size_bytes: MAIL_SIZE_BYTES as u64,
            media: "message/rfc822".to_owned(),
            placement: Placement { inline: Some(bytes), ..Placement::default() },
        },
        submitter: None,
        faxes: vec![NewFax {
            id: fax,
            recipient: format!("{number}@fax.example.com"),
            number: number.parse()?,
            subaddress: None,
            post_dial: None,
            to_name: None,
            to_company: None,
            original_recipient: None,
            notify: NotifyOn::default(),
            not_before: None,
            give_up_after: Duration::from_secs(24 * 3600),
        }],
    })
}

fn pages(fax: FaxId) -> RenderedPages {
    let key = DocumentKey(Sha256::digest(fax.0.as_bytes()).into());
    let media = "image/tiff".to_owned();
    RenderedPages {
        document: DocumentRef { key, size_bytes: PAGES_SIZE_BYTES, media, placement: Placement::default() },
        page_count: PAGES,
    }
}

fn end() -> AttemptEnd {
    AttemptEnd {
        transport: Some(Transport::T38),
        rate_bps: Some(14_400),
        ecm: Some(true),
        remote_id: Some("+41 44 123 45 67".to_owned()),
        sip_code: Some(200),
        detail: "3 pages confirmed".to_owned(),
        ..AttemptEnd::default()
    }
}

fn sent() -> FinalEnd {
    let id = NoticeId::new();
    let notice = NewNotice {
        id,
        kind: NoticeKind::Sent,
        recipient: Some("anna@example.com".to_owned()),
        header_message_id: format!("{id}@fax.example.com"),
        withheld: None,
        format: None,
    };
    FinalEnd { outcome: Outcome::Sent, cause: None, detail: None, notice }
}
