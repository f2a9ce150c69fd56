//! Keeps the pages of one call: from the media thread, through one channel, into documents and store.
//!
//! The media thread hands a page over and goes on holding its sender; the answer lets the confirmation leave. One page is
//! under way at a time. The store being away is waited for as long as the far end waits; anything else that is wrong ends
//! the call without confirming the page.

use std::sync::{Arc, Mutex, PoisonError, mpsc as sync_mpsc};
use std::time::Duration;

use foip::call::{CallEvent, CallObserver, Keeping, ReceivedPage as Arrived, Refusal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::documents::DocumentsError;
use crate::domain::ReceivedFaxId;
use crate::fault::crash_point;
use crate::line::{CALL_LEASE, Context, verdict};
use crate::store::{DocumentRef, Lease, LeaseToken, NewReceived, ReceivedPage, StoreError, Transport};
use crate::work::Held;

/// Pages of one fax: T.30 knows no limit, and a far end that never ends must not fill the disk.
const PAGES_MAX: u32 = 1000;

/// How long a page is tried to be kept. T.30 §5.4.3.1: a sender is held off for 60 s at most (T5).
const KEEP_MAX: Duration = Duration::from_secs(60);

/// Pause before an unavailable store is asked again.
const STORE_RETRY_WAIT: Duration = Duration::from_millis(200);

/// Media type of a page.
const TIFF: &str = "image/tiff";

/// What is known of a call before it is answered.
pub(super) struct Begun {
    /// Counted within the life of the process.
    pub(super) call_no: i64,
    /// The trunk.
    pub(super) line: String,
    /// The called number in one form.
    pub(super) called: String,
    /// The calling number, if it is one.
    pub(super) caller: Option<String>,
}

/// What the far end has told, and was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    transport: Option<Transport>,
    remote_id: Option<String>,
    subaddress: Option<String>,
    /// The page that EOP came with.
    last_page: Option<u32>,
    /// Whether that page was confirmed.
    pub(super) complete: bool,
}

/// A fax that has a page.
pub(super) struct Kept {
    pub(super) id: ReceivedFaxId,
    pub(super) token: LeaseToken,
    /// Renews the lease until the end is told.
    _held: Held,
}

/// The observer, on the media thread.
pub(super) struct Taker {
    pages: mpsc::UnboundedSender<Page>,
    told: Arc<Mutex<Told>>,
}

/// Its other end.
pub(super) struct Keeper {
    context: Context,
    begun: Begun,
    told: Arc<Mutex<Told>>,
    pages: mpsc::UnboundedReceiver<Page>,
    /// Nobody waits for an answer any more.
    over: CancellationToken,
    /// Of the fax that is about to begin.
    id: Option<ReceivedFaxId>,
    kept: Option<Kept>,
}

struct Page {
    arrived: Arrived,
    answer: sync_mpsc::Sender<Result<(), Refusal>>,
}

/// Both ends, and what the call tells, for when it is over.
pub(super) fn new(context: Context, begun: Begun, over: CancellationToken) -> (Taker, Arc<Mutex<Told>>, Keeper) {
    // Unbounded is bounded here: the media thread hands over the next page after the answer to the last one.
    let (sender, pages) = mpsc::unbounded_channel();
    let told = Arc::new(Mutex::new(Told::default()));
    let taker = Taker { pages: sender, told: Arc::clone(&told) };
    let keeper = Keeper { context, begun, told: Arc::clone(&told), pages, over, id: None, kept: None };
    (taker, told, keeper)
}

impl CallObserver for Taker {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CallEvent::Carried(transport) => told.transport = Some(verdict::transport(transport)),
            CallEvent::Trained { remote_id, subaddress, .. } => {
                told.remote_id = Some(remote_id.trim().to_owned()).filter(|id| !id.is_empty());
                told.subaddress = subaddress.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
            }
            // Its confirmation leaves now.
            CallEvent::Page { page, .. } => told.complete = told.last_page == Some(page),
            _ => {}
        }
        Ok(())
    }

    fn page_received(&mut self, page: Arrived) -> Keeping {
        if page.page > PAGES_MAX {
            return Keeping::Done(Err(Refusal(format!("more than {PAGES_MAX} pages are not taken"))));
        }
        if page.last {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).last_page = Some(page.page);
        }
        let (answer, awaited) = sync_mpsc::channel();
        match self.pages.send(Page { arrived: page, answer }) {
            Ok(()) => Keeping::Pending(awaited),
            Err(_) => Keeping::Done(Err(Refusal("the call is over".to_owned()))),
        }
    }
}

/// Why a page is not kept now.
enum NotKept {
    /// Soon, perhaps.
    Away(String),
    /// Never in this call.
    Never(String),
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Away(why),
            other => Self::Never(other.to_string()),
        }
    }
}

impl From<DocumentsError> for NotKept {
    fn from(error: DocumentsError) -> Self {
        match error {
            DocumentsError::Unavailable(why) => Self::Away(why),
            other => Self::Never(other.to_string()),
        }
    }
}

impl Keeper {
    /// Keeps pages until the observer is gone. Answers the fax, if there was a page.
    pub(super) async fn run(mut self) -> Option<Kept> {
        while let Some(Page { arrived, answer }) = self.pages.recv().await {
            let number = arrived.page;
            let kept = self.keep(arrived).await;
            crash_point!("receive.page-stored");
            if let Err(why) = &kept {
                tracing::warn!(call_no = self.begun.call_no, page = number, why, "a page is not kept, nor confirmed");
            }
            let _ = answer.send(kept.map_err(|why| Refusal(format!("page {number} could not be stored: {why}"))));
        }
        self.kept
    }

    async fn keep(&mut self, arrived: Arrived) -> Result<(), String> {
        let deadline = Instant::now() + KEEP_MAX;
        let (mut document, mut told) = (None, false);
        loop {
            let why = match self.try_keep(&arrived, &mut document).await {
                Ok(()) => return Ok(()),
                Err(NotKept::Never(why)) => return Err(why),
                Err(NotKept::Away(why)) => why,
            };
            if !told {
                told = true;
                tracing::warn!(
                    call_no = self.begun.call_no,
                    page = arrived.page,
                    why,
                    "the sender is held: a page waits for the store"
                );
            }
            if self.over.is_cancelled() || Instant::now() >= deadline {
                return Err(why);
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_RETRY_WAIT) => {}
                () = self.over.cancelled() => {}
            }
        }
    }

    async fn try_keep(&mut self, arrived: &Arrived, document: &mut Option<DocumentRef>) -> Result<(), NotKept> {
        // The bytes are durable before a row names them, the row before the far end hears of it.
        let durable = match document {
            Some(durable) => durable.clone(),
            None => document.insert(self.context.documents.put(arrived.image.clone(), TIFF).await?).clone(),
        };
        crash_point!("receive.document-kept");
        let page = ReceivedPage {
            page: arrived.page,
            document: durable,
            width_px: arrived.width_px,
            height_px: arrived.height_px,
            rate_bps: arrived.rate_bps,
            ecm: arrived.ecm,
            damaged_lines: arrived.damaged_lines,
        };
        match &self.kept {
            Some(kept) => Ok(self.context.store.received_page(kept.id, kept.token, page).await?),
            None => self.begin(page).await,
        }
    }

    async fn begin(&mut self, first: ReceivedPage) -> Result<(), NotKept> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The same id at every try: a first answer that got lost has begun the fax.
        let id = *self.id.get_or_insert_with(ReceivedFaxId::new);
        let fax = NewReceived {
            id,
            call_no: self.begun.call_no,
            line: self.begun.line.clone(),
            called_number: self.begun.called.clone(),
            calling_number: self.begun.caller.clone(),
            remote_id: told.remote_id,
            subaddress: told.subaddress,
            transport: told.transport,
        };
        let token = match self.context.store.begin_received(&self.context.owner, fax, first, CALL_LEASE).await {
            Err(StoreError::IdTaken(id)) => {
                self.id = None;
                return Err(NotKept::Away(format!("the id {id} is taken")));
            }
            other => other?,
        };
        let held = self.context.leases.hold([Lease::Received(id, token)]);
        self.kept = Some(Kept { id, token, _held: held });
        Ok(())
    }
}
