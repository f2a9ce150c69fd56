//! One call for one fax, from its claim to its write-back.

use std::sync::Arc;
use std::time::Duration;

use foip::{CallOrder, CallReport};
use tempfile::TempPath;
use tokio_util::sync::CancellationToken;

use super::journal::{Entry, Keep};
use super::record::Recorder;
use super::verdict::{self, Lesson, Verdict};
use super::watch::{Listed, Stop, UnderWay, Watch};
use super::{Channel, Context};
use crate::config::retry::{self, Decision};
use crate::domain::{AttemptId, Cause, Class, Outcome, Timestamp};
use crate::fault::crash_point;
use crate::store::{
    AttemptEnd, AttemptFact, CallWork, Fax, FinalEnd, JournalFact, NewAttempt, Next, Order, Result as StoreResult,
    StoreError,
};
use crate::work::Held;

/// How long a fax waits for a line that takes calls.
const NO_LINE_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before writing back once more to a store that is away.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// An end is judged so often by what is on record: a confirmation that is told late can overtake it.
const JUDGED_MAX: u32 = 3;

/// Calls in a row to a trunk that says nothing, before they keep the distance of other calls.
const SILENT_SOON: usize = 3;

/// How the documents of calls under way end.
pub(super) const SPOOLED: &str = ".tif";

/// Longest call, with the pages it has to send: T.30's timers end a dead call much earlier, and a far end that keeps
/// them going for ever must not keep the channel. What was confirmed until then is not sent again.
const CALL_BASE: Duration = Duration::from_secs(10 * 60);
/// A dense page at 2400 bit/s.
const CALL_PER_PAGE: Duration = Duration::from_secs(5 * 60);
const CALL_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// T.30 §5.3.6.2.4: a station ID has 20 characters.
const STATION_ID_CHARS_MAX: usize = 20;

/// A claimed fax with the channel that carries it.
pub(super) struct Call {
    context: Context,
    channel: Channel,
    work: CallWork,
    /// Renews the lease while the call lives, however it ends.
    _held: Held,
    /// Where orders reach it.
    _listed: Listed,
    watch: Arc<Watch>,
    /// Cancelled when the agent ends its calls.
    cancel: CancellationToken,
    /// Cancelled with that, or when this call alone is given up.
    give_up: CancellationToken,
}

/// No line takes this number's calls now: the fax goes back uncounted, or is over when its time is.
pub(super) async fn no_line(context: &Context, work: &CallWork) -> StoreResult<()> {
    let now = context.store.now().await?;
    if now >= work.fax.give_up_at {
        return give_up(context, work, Cause::NoFreeChannel).await;
    }
    context.store.call_again(work.fax.id, work.token, now.plus(NO_LINE_WAIT), "no line is free for this number").await
}

/// The dial plan does not allow the number any more: the fax is over.
pub(super) async fn not_allowed(context: &Context, work: &CallWork, why: String) -> StoreResult<()> {
    let end = FinalEnd::not_sent(&work.message, &work.fax, Cause::NumberNotAllowed, Some(why), &context.domain);
    finish(context, work, end).await
}

/// Its time is over.
pub(super) async fn give_up(context: &Context, work: &CallWork, why: Cause) -> StoreResult<()> {
    // RFC 3463 §3.5: when there was a real cause it is told, not that the time is over.
    let cause = work.earlier.last().copied().unwrap_or(why);
    let end = FinalEnd::not_sent(&work.message, &work.fax, cause, work.fax.detail.clone(), &context.domain);
    finish(context, work, end).await
}

/// Ends a fax as sent, when a confirmation that came after the end of its call has left nothing to send.
pub(super) async fn sent_already(context: &Context, work: &CallWork) -> StoreResult<()> {
    let end = FinalEnd::new(&work.message, &work.fax, Outcome::Sent, None, None, &context.domain);
    finish(context, work, end).await
}

async fn finish(context: &Context, work: &CallWork, end: FinalEnd) -> StoreResult<()> {
    context.store.call_failed(work.fax.id, work.token, end).await?;
    context.delivery_hint.wake();
    Ok(())
}

impl Call {
    pub(super) fn new(
        context: Context,
        channel: Channel,
        work: CallWork,
        cancel: CancellationToken,
        under_way: &UnderWay,
    ) -> Self {
        let held = context.leases.hold([work.lease()]);
        let give_up = cancel.child_token();
        let page_count = work.fax.page_count.unwrap_or(0);
        let watch = Arc::new(Watch::new(page_count, context.held_until.clone(), held.lost(), give_up.clone()));
        let listed = under_way.add(work.fax.id, Arc::clone(&watch));
        Self { context, channel, work, _held: held, _listed: listed, watch, cancel, give_up }
    }

    #[cfg(test)]
    pub(super) fn fax(&self) -> crate::domain::FaxId {
        self.work.fax.id
    }

    /// Where its end from our side is decided.
    #[cfg(test)]
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Whether it is given up before its first page.
    #[cfg(test)]
    pub(super) fn is_given_up(&self) -> bool {
        self.give_up.is_cancelled()
    }

    /// Calls and writes back. Nothing is lost when this is cut off at any point: before the attempt row the lease
    /// just expires; after it the attempt is open and `maintain/` settles it from what was recorded.
    pub(super) async fn run(self) {
        let fax = self.work.fax.id.short();
        if let Err(error) = self.try_run().await {
            tracing::error!(%fax, %error, "the call could not be written back; its lease will expire");
        }
    }

    async fn try_run(&self) -> StoreResult<()> {
        let store = &self.context.store;
        crash_point!("line.claimed");
        let now = store.now().await?;
        if now >= self.work.fax.give_up_at {
            return give_up(&self.context, &self.work, Cause::Expired).await;
        }
        let document = match self.fetch_document().await {
            Ok(path) => path,
            Err(why) => {
                tracing::error!(fax = %self.work.fax.id.short(), why, "the document cannot be read");
                return store.call_again(self.work.fax.id, self.work.token, now.plus(NO_LINE_WAIT), &why).await;
            }
        };
        let attempt = NewAttempt {
            id: AttemptId::new(),
            line: self.channel.line.name.clone(),
            first_page: self.work.fax.pages_confirmed + 1,
            limits: self.channel.line.limits,
        };
        let id = attempt.id;
        let first_page = attempt.first_page;
        // Past its own deadline an agent does not dial: the store may have given the fax to somebody else.
        if self.context.held_until.is_over() {
            return store.call_again(self.work.fax.id, self.work.token, now, "its lease could not be renewed").await;
        }
        // The row exists before the first packet leaves: a crash in the call must not grant a free attempt.
        let number = match self.begin(attempt).await {
            // Another node was faster to the number or the channel: claimable at once, as soon as that call is over.
            Err(StoreError::NotNow(why)) => {
                return store.call_again(self.work.fax.id, self.work.token, now, &why).await;
            }
            // A page was confirmed late, or a person has ordered something: the next claim sees it.
            Err(StoreError::Refused(why)) => {
                return store.call_again(self.work.fax.id, self.work.token, now.plus(NO_LINE_WAIT), &why).await;
            }
            other => other?,
        };
        crash_point!("line.attempt-begun");
        tracing::info!(
            fax = %self.work.fax.id.short(), number = %self.work.fax.number.masked(),
            line = %self.channel.line.name, attempt = number, first_page, "calling"
        );
        let report = match self.watch.surely_held() {
            // The store took its time over the row.
            Err(why) => {
                self.watch.stop(why);
                CallReport::default()
            }
            Ok(()) => self.place(id, &document, first_page).await,
        };
        drop(document);
        crash_point!("line.call-over");
        self.write_back(id, report).await
    }

    /// Begins the attempt, also when the answer of the store got lost: whoever left it open would keep the fax, and everybody
    /// else's for this number, waiting until the lease and its grace are over.
    async fn begin(&self, attempt: NewAttempt) -> StoreResult<u32> {
        loop {
            match self.context.store.begin_attempt(self.work.fax.id, self.work.token, attempt.clone()).await {
                Err(StoreError::Unavailable(why)) if self.watch.surely_held().is_ok() => {
                    tracing::warn!(fax = %self.work.fax.id.short(), why, "the store is away; beginning the call again");
                    tokio::time::sleep(STORE_WAIT).await;
                }
                other => return other,
            }
        }
    }

    /// The whole document lies on this machine before anybody is called: a call never waits for the repository.
    async fn fetch_document(&self) -> Result<TempPath, String> {
        let key = self.work.fax.document.ok_or("the fax has no document")?;
        let bytes = self.context.documents.get(&key).await.map_err(|error| error.to_string())?;
        let bytes = self.context.marker.mark(bytes, &self.work.message, &self.work.fax).await;
        let spool = &self.context.spool;
        let failed = |error: std::io::Error| format!("{}: {error}", spool.display());
        // Gone when dropped, whatever becomes of the call.
        let path = tempfile::Builder::new().suffix(SPOOLED).tempfile_in(spool).map_err(failed)?.into_temp_path();
        tokio::fs::write(&path, bytes).await.map_err(failed)?;
        Ok(path)
    }

    async fn place(&self, attempt: AttemptId, document: &std::path::Path, first_page: u32) -> CallReport {
        let line = &self.channel.line;
        let order = CallOrder {
            trunk: line.trunk.clone(),
            number: self.work.fax.number.to_string(),
            station_id: station_id(&line.trunk.number),
            document: document.to_owned(),
            page_count: self.work.fax.page_count.unwrap_or(0),
            first_page,
            subaddress: self.work.fax.subaddress.clone(),
            allow_t38: self.work.avoid_t38.is_none(),
            fax_id: self.work.fax.id.short().to_string(),
        };
        let Context { store, journal, owner, .. } = &self.context;
        let watch = Arc::clone(&self.watch);
        let (recorder, writer) = Recorder::new(store.clone(), journal.clone(), &owner.node, attempt, watch);
        let writing = tokio::spawn(writer.run());
        let cancel = self.give_up.child_token();
        let limit = call_limit(order.page_count.saturating_sub(first_page - 1));
        let mut call = std::pin::pin!(line.agent.call(order, Box::new(recorder), cancel.clone()));
        let report = tokio::select! {
            report = &mut call => report,
            () = tokio::time::sleep(limit) => {
                tracing::warn!(fax = %self.work.fax.id.short(), limit_s = limit.as_secs(), "the call takes too long");
                cancel.cancel();
                call.await
            }
        };
        // The recorder is dropped with the call, so the writer ends when the last event is written.
        let _ = writing.await;
        if verdict::trunk_is_silent(&report) {
            line.mark_down(report.sip.as_ref().map_or("no answer", |sip| sip.phrase.as_str()));
        }
        report
    }

    pub(super) async fn write_back(&self, attempt: AttemptId, report: CallReport) -> StoreResult<()> {
        let told = self.keep_end(attempt, &report).await;
        let written = self.write_back_when_possible(attempt, &report).await;
        let Context { store, journal, owner, .. } = &self.context;
        match (told, &written) {
            (Some(told), Ok(())) => journal.taken(told),
            // Somebody else decides by it now.
            (Some(told), Err(_)) => {
                while let Err(error) = journal.tell(&**store, &owner.node, told).await {
                    tracing::debug!(%error, "the store is away; the journal has the end of the call");
                    tokio::time::sleep(STORE_WAIT).await;
                }
            }
            (None, _) => {}
        }
        written
    }

    /// How the call ended, durable before the store is asked: were we gone before it answers, the settler judges by it.
    async fn keep_end(&self, attempt: AttemptId, report: &CallReport) -> Option<Entry> {
        let (_, end) = self.judge(report, self.work.fax.page_count.unwrap_or(0));
        let journal = Arc::clone(&self.context.journal);
        let fact = JournalFact::Fact(AttemptFact::Ended(end));
        let kept = tokio::task::spawn_blocking(move || journal.write(attempt, fact, Keep::Durably)).await;
        match kept {
            Ok(Ok(entry)) => Some(entry),
            Ok(Err(error)) => {
                tracing::warn!(%attempt, %error, "the end of the call is not in the journal; the store alone has it");
                None
            }
            Err(_) => None,
        }
    }

    async fn write_back_when_possible(&self, attempt: AttemptId, report: &CallReport) -> StoreResult<()> {
        let mut judged = 0;
        loop {
            match self.try_write_back(attempt, report).await {
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!(fax = %self.work.fax.id.short(), why, "the store is away; writing the call back again");
                    tokio::time::sleep(STORE_WAIT).await;
                }
                Err(StoreError::Refused(why)) if judged < JUDGED_MAX => {
                    judged += 1;
                    tracing::info!(fax = %self.work.fax.id.short(), why, "judging the call once more");
                }
                other => {
                    self.context.delivery_hint.wake();
                    return other;
                }
            }
        }
    }

    async fn try_write_back(&self, attempt: AttemptId, report: &CallReport) -> StoreResult<()> {
        let store = &self.context.store;
        // What is on record counts: a page's confirmation may be stored although the call was ended for it.
        let fax = store.fax(self.work.fax.id).await?.fax;
        let on_record = CallReport { last_page_confirmed: fax.pages_confirmed, ..report.clone() };
        let (verdict, end) = self.judge(&on_record, fax.page_count.unwrap_or(0));
        tracing::info!(
            fax = %fax.id.short(), confirmed = fax.pages_confirmed,
            cause = verdict.cause().map(Cause::slug), detail = %end.detail, "the call is over"
        );
        let now = store.now().await?;
        self.learn(report, &verdict, &end, now).await;
        let next = self.next(&fax, &verdict, &end, report, now);
        store.end_attempt(attempt, self.work.token, end, next).await?;
        crash_point!("line.written-back");
        Ok(())
    }

    /// Remembers whether T.38 works with this number. Losing it costs the next call a few seconds.
    async fn learn(&self, report: &CallReport, verdict: &Verdict, end: &AttemptEnd, now: Timestamp) {
        let tried = if self.work.avoid_t38.is_some() { verdict::Tried::Audio } else { verdict::Tried::T38 };
        let first_page = self.work.fax.pages_confirmed + 1;
        let until = match verdict::lesson(report, verdict, tried, first_page) {
            None => return,
            Some(Lesson::AvoidT38) => now.plus(self.channel.line.remember_t38),
            Some(Lesson::TryT38) => now,
        };
        let why = if report.t38_refused { "the far end refused T.38" } else { end.detail.as_str() };
        if let Err(error) = self.context.store.avoid_t38(self.work.fax.id, until, why).await {
            tracing::warn!(fax = %self.work.fax.id.short(), %error, "what the call taught about T.38 is not kept");
        }
    }

    fn judge(&self, report: &CallReport, page_count: u32) -> (Verdict, AttemptEnd) {
        let verdict = verdict::judge(report, page_count);
        let end = verdict::attempt_end(report, &verdict);
        if let (Some(stop), Verdict::Not(_)) = (self.watch.stopped(), &verdict) {
            let cause = match stop {
                Stop::Ordered(Order::Cancel) => Cause::Cancelled,
                Stop::Ordered(Order::Hold) | Stop::LeaseOver | Stop::LeaseLost | Stop::Storage(_) => {
                    Cause::RemoteHangup
                }
            };
            return (Verdict::Not(cause), AttemptEnd { cause: Some(cause), detail: stop.words(), ..end });
        }
        if !self.cancel.is_cancelled() || !is_retry(&verdict) {
            return (verdict, end);
        }
        // We hung up ourselves: neither line nor recipient is to blame, whatever it looks like.
        let verdict = Verdict::Not(Cause::RemoteHangup);
        let detail = "the gateway stopped in the middle of the call".to_owned();
        (verdict, AttemptEnd { cause: Some(Cause::RemoteHangup), detail, ..end })
    }

    /// Where the fax goes after this attempt.
    fn next(&self, fax: &Fax, verdict: &Verdict, end: &AttemptEnd, report: &CallReport, now: Timestamp) -> Next {
        let (domain, message) = (&self.context.domain, &self.work.message);
        let cause = match verdict {
            Verdict::Sent => return Next::Final(FinalEnd::new(message, fax, Outcome::Sent, None, None, domain)),
            Verdict::Ambiguous => {
                let cause = Some(Cause::ConfirmationLost);
                let detail = Some(end.detail.clone());
                return Next::Final(FinalEnd::new(message, fax, Outcome::Unknown, cause, detail, domain));
            }
            Verdict::Not(cause) => *cause,
        };
        let rules = &self.context.dial.retry;
        let stopped = self.watch.stopped();
        if fax.ordered == Some(Order::Cancel) && (stopped.is_some() || is_retry(verdict)) {
            let cause = Some(Cause::Cancelled);
            return Next::Final(FinalEnd::new(message, fax, Outcome::Cancelled, cause, None, domain));
        }
        match stopped {
            // What cannot keep a page now is not asked again at once.
            Some(Stop::Storage(_)) => return Next::Again { not_before: now.plus(NO_LINE_WAIT) },
            Some(Stop::Ordered(_) | Stop::LeaseOver | Stop::LeaseLost) => return Next::Again { not_before: now },
            None if self.cancel.is_cancelled() && is_retry(verdict) => return Next::Again { not_before: now },
            None => {}
        }
        if verdict::trunk_is_silent(report) && now < fax.give_up_at {
            // Nobody was called. The line is asked until it answers; one that answers OPTIONS alone must not be rung
            // at that pace for ever.
            let silent = self.work.earlier.iter().rev().take_while(|c| **c == Cause::LineDown).count();
            let wait = if silent < SILENT_SOON { NO_LINE_WAIT } else { rules.other.wait.max(NO_LINE_WAIT) };
            return Next::Again { not_before: now.plus(wait).min(fax.give_up_at) };
        }
        let jitter = fastrand::f64() * 2.0 - 1.0;
        match retry::decide(rules, cause, &self.work.earlier, now, fax.give_up_at, jitter) {
            Decision::Again(not_before) => Next::Again { not_before },
            Decision::GiveUp => Next::Final(FinalEnd::not_sent(message, fax, cause, Some(end.detail.clone()), domain)),
        }
    }
}

/// Whether another call may come to something else.
fn is_retry(verdict: &Verdict) -> bool {
    verdict.cause().is_some_and(|cause| cause.class() == Class::Retry)
}

fn call_limit(pages: u32) -> Duration {
    CALL_PER_PAGE.saturating_mul(pages).saturating_add(CALL_BASE).min(CALL_MAX)
}

/// T.30 §5.3.6.2.4: digits, plus and space.
pub(super) fn station_id(number: &str) -> String {
    let allowed = number.chars().filter(|c| c.is_ascii_digit() || matches!(c, '+' | ' '));
    allowed.take(STATION_ID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_take_longer_the_more_pages_it_has_but_not_for_ever() {
        for (pages, minutes) in [(0, 10), (1, 15), (10, 60), (22, 120), (100, 120), (u32::MAX, 120)] {
            assert_eq!(call_limit(pages), Duration::from_secs(minutes * 60), "{pages} pages");
        }
    }
}
