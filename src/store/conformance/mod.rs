//! What every store must do: the same cases for each implementation.
//!
//! An implementation's test calls [`run`] with a function that makes an empty store. Each case gets one of its own,
//! with a clock that stands still until the case moves it.

mod again;
mod calls;
mod expiry;
mod facts;
mod intake;
mod limits;
mod mails;
mod model;
mod nodes;
mod notices;
mod orders;
mod ownership;
mod reading;
mod received;
mod received_kept;
mod retention;
mod schema;
mod sealing;
mod senders;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::testing::{self, ManualClock};
use super::*;
use crate::domain::{Cause, NoticeKind, Outcome};
pub(crate) use model::random_life;
pub(crate) use retention::random_retention;

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
    again::what_is_not_stored_is_missing,
    again::idempotency_keys_are_forgotten_oldest_part_by_part,
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
    expiry::a_lease_that_ran_out_is_a_suspect_first_and_nobody_elses_before_it_is_freed,
    expiry::a_renewal_in_the_grace_keeps_the_lease,
    expiry::a_call_has_the_longer_grace_and_then_is_an_orphan,
    expiry::the_grace_counts_from_when_the_store_was_reachable,
    expiry::what_is_freed_is_lost_for_its_owner_before_anybody_claims_it,
    facts::a_last_page_that_is_asked_for_again_is_outstanding_no_more,
    facts::an_end_that_is_told_is_kept_and_closes_nothing,
    facts::a_fact_without_a_row_is_kept_once_until_it_is_dealt_with,
    facts::what_calls_teach_about_a_number_holds_for_its_time,
    facts::a_claim_takes_what_its_lines_reach_and_leaves_the_rest_in_its_place,
    ownership::a_stale_token_changes_nothing,
    ownership::a_lease_ends_by_the_stores_clock_and_a_renewal_keeps_it,
    ownership::a_lease_that_no_worker_holds_runs_out,
    ownership::a_restart_takes_back_what_its_earlier_life_held,
    ownership::an_open_attempt_without_owner_is_settled_once,
    ownership::an_orphan_is_judged_by_what_is_on_record_when_it_is_settled,
    ownership::the_clock_never_goes_backwards,
    ownership::a_secret_is_what_the_first_node_brought,
    notices::each_fax_gets_exactly_one_final_notice,
    notices::a_notice_is_owed_until_somebody_takes_it,
    notices::a_dead_notice_is_kept_and_a_withheld_one_never_claimed,
    received::a_received_fax_is_stored_page_by_page_and_then_owed_to_its_mailboxes,
    received::what_is_told_twice_of_a_received_fax_is_stored_once,
    received::a_received_fax_whose_agent_is_gone_is_settled_once_with_the_pages_it_has,
    received::an_agent_that_comes_back_in_time_ends_its_received_fax_itself,
    received::received_faxes_are_listed_newest_first,
    received::inbound_routes_are_set_replaced_and_removed,
    received_kept::the_mail_of_a_received_fax_is_owed_once_more_as_the_same_mail,
    received_kept::a_received_fax_keeps_its_pages_until_it_was_delivered_for_long_enough,
    received_kept::a_received_fax_that_nobody_has_is_never_removed,
    received_kept::a_legal_hold_keeps_a_received_fax_until_it_is_ended,
    received_kept::a_restore_changes_no_received_fax_and_lets_go_of_one_that_was_coming_in,
    limits::the_channels_of_a_trunk_are_shared_by_all_nodes_and_both_directions,
    limits::calls_within_a_minute_are_counted_over_all_nodes,
    limits::a_race_for_a_channel_or_a_number_has_one_winner_and_costs_the_loser_no_attempt,
    limits::the_channel_of_an_incoming_call_is_free_when_it_ends_or_its_node_is_gone,
    limits::what_a_dead_node_held_is_free_when_its_attempt_is_settled,
    senders::what_an_identity_sent_within_an_hour_and_a_day_is_limited,
    senders::what_one_sender_of_an_identity_sent_is_limited_for_itself,
    senders::pages_count_as_soon_as_they_are_known,
    senders::a_mail_that_alone_is_more_than_its_sender_may_send_never_fits,
    senders::a_race_for_the_last_fax_has_one_winner,
    senders::a_signature_lets_in_one_fax_a_number,
    senders::an_account_is_made_replaced_and_removed,
    senders::failed_logins_are_counted_until_they_are_long_ago,
    nodes::an_order_to_drain_holds_until_it_is_resumed_whatever_the_node_says,
    orders::a_held_fax_is_nobodys_work_and_its_time_stands_still,
    orders::an_order_waits_for_the_renderer_and_then_holds,
    orders::an_order_waits_for_the_end_of_the_call,
    orders::an_order_is_carried_out_when_the_agent_died_in_the_call,
    orders::an_end_in_the_call_comes_before_the_order,
    orders::a_call_that_was_claimed_and_not_begun_does_not_begin,
    orders::orders_that_wait_replace_and_withdraw_one_another,
    orders::a_cancelled_fax_ends_with_its_one_report_and_stays_ended,
    orders::what_has_arrived_is_sent_and_never_cancelled,
    orders::a_waiting_fax_is_tried_now,
    orders::an_ended_fax_is_sent_once_more_from_the_first_page_that_is_missing,
    orders::a_fax_that_arrived_is_sent_again_only_when_all_pages_are_asked_for,
    orders::a_fax_without_pages_is_rendered_for_its_retry,
    orders::mails_are_owed_once_more_under_their_message_ids,
    orders::the_journal_is_read_by_fax_by_message_and_whole,
    mails::a_received_fax_is_delivered_when_its_last_mail_is_taken,
    mails::what_a_mailbox_refuses_is_owed_to_the_default_mailboxes_once,
    mails::a_mail_that_comes_back_makes_its_fax_owed_again,
    mails::a_fax_that_nobody_takes_is_dead_and_never_delivered,
    mails::a_sender_is_told_once_that_a_fax_waits,
    mails::d2_each_notify_gets_the_reports_that_it_asks_for_and_no_other,
    mails::a_fax_in_a_call_is_not_told_to_wait,
    mails::what_is_not_true_any_more_is_withdrawn,
    reading::lists_are_filtered_newest_first,
    reading::counts_tell_what_is_where,
    reading::documents_are_inline_or_in_the_repository,
    reading::events_tell_the_story_of_a_fax,
    reading::nodes_and_lines_are_as_they_last_said,
    reading::what_is_not_there_is_not_found,
    reading::the_store_says_whether_it_can_write,
    retention::bytes_go_before_records_and_both_only_when_everything_is_over,
    retention::a_document_stays_until_the_last_that_names_it_lets_it_go,
    retention::a_document_that_comes_again_is_there_again,
    retention::a_legal_hold_keeps_a_message_until_it_is_ended,
    retention::pruning_keeps_to_its_limit_and_goes_on_where_it_stopped,
    retention::what_had_not_ended_is_held_after_a_restore_and_nothing_is_called,
    sealing::the_row_that_was_first_keeps_its_object_and_its_key,
    sealing::a_document_that_loses_its_bytes_loses_its_key_in_the_same_step,
    sealing::keys_are_wrapped_anew_where_they_are_as_they_were_read,
    sealing::what_lies_in_the_clear_is_sealed_once_and_never_opened_again,
    sealing::a_duty_has_one_node_until_its_lease_is_over,
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

    /// Every lease runs out, and its grace too.
    async fn run_out(&self) {
        self.clock.advance(LEASE);
        testing::expire(&*self.store).await;
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
        (self.store.fax(fax).await.unwrap(), self.store.events(EventsOf::Fax(fax), 0, 2000).await.unwrap())
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
