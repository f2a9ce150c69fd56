//! What every store must do: the same cases for each implementation.
//!
//! An implementation's test calls [`run`] with a function that makes an empty store. Each case gets one of its own,
//! with a clock that stands still until the case moves it.

mod calls;
mod intake;
mod model;
mod notices;
mod ownership;
mod reading;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::testing::{self, ManualClock};
use super::*;
use crate::domain::{NoticeKind, Outcome};
pub(crate) use model::random_life;

/// The lease of every claim in the suite.
const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// An empty store and what it takes to drive it.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    /// What lives as long as the store: its directory.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

type Case = fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((stringify!($name), |bench| Box::pin($module::$name(bench)))),+]
    };
}

/// Every case by name.
const CASES: &[(&str, Case)] = cases![
    intake::a_message_is_stored_whole,
    intake::a_message_that_comes_again_is_stored_once,
    intake::a_taken_id_is_told_and_nothing_is_stored,
    intake::a_message_without_recipients_is_refused,
    intake::one_claim_takes_all_faxes_of_a_message_urgent_and_old_ones_first,
    intake::workers_that_died_over_a_message_are_counted,
    intake::the_first_call_waits_for_the_time_asked_for,
    intake::a_message_that_cannot_be_rendered_ends_with_its_notice,
    intake::pages_are_tried_again_when_their_time_has_come,
    calls::calls_are_claimed_urgent_and_old_ones_first,
    calls::one_number_has_one_call_at_a_time,
    calls::an_attempt_is_counted_once_and_begins_with_the_first_unconfirmed_page,
    calls::an_attempt_never_begins_under_an_expired_lease,
    calls::confirmed_pages_count_without_gaps_once_and_from_stale_tokens,
    calls::a_page_that_the_fax_does_not_have_is_refused,
    calls::a_late_confirmation_is_kept_after_the_end,
    calls::facts_are_kept_and_never_taken_back,
    calls::an_attempt_ends_in_another_call_or_for_good,
    calls::an_end_that_is_not_true_is_refused,
    calls::a_fax_given_back_without_a_call_is_not_counted,
    calls::what_is_overdue_is_claimed_whatever_it_waits_for,
    ownership::a_stale_token_changes_nothing,
    ownership::a_lease_ends_by_the_stores_clock_and_a_renewal_keeps_it,
    ownership::a_lease_that_no_worker_holds_runs_out,
    ownership::a_restart_takes_back_what_its_earlier_life_held,
    ownership::an_open_attempt_without_owner_is_settled_once,
    ownership::an_orphan_whose_owner_came_back_is_left_alone,
    ownership::the_clock_never_goes_backwards,
    notices::each_fax_gets_exactly_one_final_notice,
    notices::a_notice_is_owed_until_somebody_takes_it,
    notices::a_dead_notice_is_kept_and_a_withheld_one_never_claimed,
    reading::lists_are_filtered_newest_first,
    reading::counts_tell_what_is_where,
    reading::documents_are_inline_or_in_the_repository,
    reading::events_tell_the_story_of_a_fax,
    reading::nodes_and_lines_are_as_they_last_said,
    reading::what_is_not_there_is_not_found,
    reading::the_store_says_whether_it_can_write,
];

/// Runs every case on a store of its own and names all that failed.
pub(crate) async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Bench>,
{
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let bench = make().await;
        if let Err(error) = tokio::spawn(case(bench)).await {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), CASES.len(), failed.join("\n"));
}

impl Bench {
    /// Stores a message for these numbers; its faxes in order.
    async fn submit(&self, numbers: &[&str]) -> Vec<FaxId> {
        self.submit_message(testing::message(numbers)).await
    }

    async fn submit_message(&self, message: NewMessage) -> Vec<FaxId> {
        let ids = message.faxes.iter().map(|fax| fax.id).collect();
        let submitted = self.store.submit(message).await.unwrap();
        assert!(matches!(submitted, Submitted::Accepted { .. }));
        ids
    }

    /// Stores a fax of three pages for each number, rendered, each as a message of its own.
    async fn ready(&self, numbers: &[&str]) -> Vec<FaxId> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.extend(self.submit(&[number]).await);
        }
        self.render_all().await;
        ids
    }

    /// Gives everything that waits for pages three of them.
    async fn render_all(&self) {
        let renderer = testing::owner("renderer");
        while let Some(work) = self.store.claim_render(&renderer, LEASE).await.unwrap() {
            for (fax, token) in work.faxes {
                self.store.rendered(fax.id, token, testing::pages(3)).await.unwrap();
            }
        }
    }

    /// A fax of three pages in a call.
    async fn in_call(&self, owner: &Owner) -> InCall {
        self.ready(&["+99910200"]).await;
        self.call(owner).await
    }

    /// Claims one call and begins its attempt.
    async fn call(&self, owner: &Owner) -> InCall {
        let mut work = self.store.claim_calls(owner, 1, LEASE).await.unwrap();
        let work = work.pop().expect("a call is due");
        let attempt = testing::attempt(work.fax.pages_confirmed + 1);
        self.store.begin_attempt(work.fax.id, work.token, attempt.clone()).await.unwrap();
        InCall { fax: work.fax.id, token: work.token, attempt: attempt.id }
    }

    async fn confirm(&self, call: &InCall, pages: impl IntoIterator<Item = u32>) {
        for page in pages {
            self.store.page_confirmed(call.attempt, testing::confirmed(page)).await.unwrap();
        }
    }

    /// Ends a call for good.
    async fn end(&self, call: &InCall, outcome: Outcome) -> Result<()> {
        let end = AttemptEnd { detail: "over".to_owned(), ..AttemptEnd::default() };
        self.store.end_attempt(call.attempt, call.token, end, Next::Final(testing::end(outcome))).await
    }

    /// Everything the store tells about a fax, to see that nothing has changed.
    async fn all(&self, fax: FaxId) -> (FaxRecord, Vec<Event>) {
        (self.store.fax(fax).await.unwrap(), self.store.events(fax).await.unwrap())
    }

    async fn fax(&self, fax: FaxId) -> Fax {
        self.store.fax(fax).await.unwrap().fax
    }

    async fn now(&self) -> Timestamp {
        self.store.now().await.unwrap()
    }
}

/// A fax with an open attempt.
#[derive(Debug, Clone, Copy)]
struct InCall {
    fax: FaxId,
    token: LeaseToken,
    attempt: AttemptId,
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(StoreError::LeaseLost(_))), "{what}: {result:?}");
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(StoreError::Refused(_))), "{what}: {result:?}");
}
