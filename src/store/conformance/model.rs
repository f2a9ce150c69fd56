//! Random lives: accept, render, call, crash, settle, end, compared step by step with a model in memory.
//!
//! The model holds the rules in their plainest form. Workers remember every claim they ever got and use stale ones
//! as gladly as fresh ones; the store must answer as the model does and hold what the model holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::domain::FaxState;

const CASES: u32 = 24;
const STEPS: usize = 70;
const PAGES: u32 = 3;
const NUMBERS: [&str; 3] = ["+99910200", "+99910486", "+99910480"];
const NODES: [&str; 2] = ["gw-a", "gw-b"];
const GRACE: Duration = Duration::from_secs(15);
const CALL_GRACE: Duration = Duration::from_secs(45);

#[derive(Debug, Clone)]
enum Step {
    Submit { number: usize },
    ClaimRender { node: usize },
    Rendered { claim: usize },
    RenderAgain { claim: usize },
    RenderFailed { claim: usize },
    ClaimCalls { node: usize, limit: u32 },
    Begin { claim: usize },
    Confirm { attempt: usize, page: u32 },
    EndAgain { claim: usize },
    End { claim: usize, outcome: usize },
    CallAgain { claim: usize },
    CallFailed { claim: usize, outcome: usize },
    Pass { seconds: u64 },
    Renew { node: usize },
    Restart { node: usize },
    Expire { reachable_s: u64 },
    Settle { again: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (node, claim, outcome) = (0..NODES.len(), 0..64usize, 0..Outcome::ALL.len());
    prop_oneof![
        3 => (0..NUMBERS.len()).prop_map(|number| Step::Submit { number }),
        3 => node.clone().prop_map(|node| Step::ClaimRender { node }),
        4 => claim.clone().prop_map(|claim| Step::Rendered { claim }),
        1 => claim.clone().prop_map(|claim| Step::RenderAgain { claim }),
        1 => claim.clone().prop_map(|claim| Step::RenderFailed { claim }),
        4 => (node.clone(), 1..4u32).prop_map(|(node, limit)| Step::ClaimCalls { node, limit }),
        5 => claim.clone().prop_map(|claim| Step::Begin { claim }),
        5 => (0..16usize, 1..=PAGES + 1).prop_map(|(attempt, page)| Step::Confirm { attempt, page }),
        2 => claim.clone().prop_map(|claim| Step::EndAgain { claim }),
        3 => (claim.clone(), outcome.clone()).prop_map(|(claim, outcome)| Step::End { claim, outcome }),
        1 => claim.clone().prop_map(|claim| Step::CallAgain { claim }),
        1 => (claim, outcome).prop_map(|(claim, outcome)| Step::CallFailed { claim, outcome }),
        2 => (1..80u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => node.clone().prop_map(|node| Step::Renew { node }),
        1 => node.prop_map(|node| Step::Restart { node }),
        4 => (0..120u64).prop_map(|reachable_s| Step::Expire { reachable_s }),
        2 => any::<bool>().prop_map(|again| Step::Settle { again }),
    ]
}

/// Plays random lives against fresh stores and shrinks what fails.
pub(crate) fn random_life<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Bench>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let lives = prop::collection::vec(step(), 1..STEPS);
    let outcome = runner.run(&lives, |steps| {
        runtime.block_on(async {
            let mut life = Life::new(make().await);
            for step in &steps {
                life.play(step).await;
            }
            life.compare_all().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// What the model expects of a write-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Lost,
    Refused,
}

fn answer<T: std::fmt::Debug>(result: &Result<T>) -> Answer {
    match result {
        Ok(_) => Answer::Done,
        Err(StoreError::LeaseLost(_)) => Answer::Lost,
        Err(StoreError::Refused(_)) => Answer::Refused,
        Err(other) => panic!("{other}"),
    }
}

#[derive(Debug, Clone)]
struct Known {
    number: usize,
    state: FaxState,
    token: LeaseToken,
    /// Owner and end of the lease.
    lease: Option<(Owner, Timestamp)>,
    /// When it was first seen that the lease had run out.
    suspect: Option<Timestamp>,
    not_before: Timestamp,
    confirmed: BTreeSet<u32>,
    attempts: u32,
    /// The open attempt and the token it was begun with.
    open: Option<(AttemptId, LeaseToken)>,
    last_attempt: Option<AttemptId>,
}

impl Known {
    fn pages(&self) -> u32 {
        (1..=PAGES).take_while(|page| self.confirmed.contains(page)).count() as u32
    }

    fn has_run_out(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|(_, until)| *until <= now)
    }

    fn free(&mut self) {
        self.lease = None;
        self.suspect = None;
    }

    /// Whether `token` is the lease's, and the fax in `state`.
    fn hold(&self, token: LeaseToken, state: FaxState) -> Answer {
        if self.lease.is_none() || self.token != token {
            Answer::Lost
        } else if self.state != state {
            Answer::Refused
        } else {
            Answer::Done
        }
    }

    fn may_end(&self, outcome: Outcome) -> bool {
        let pages = self.pages();
        match outcome {
            Outcome::Sent => self.state == FaxState::Ready && pages == PAGES,
            Outcome::Partial => self.state == FaxState::Ready && 0 < pages && pages < PAGES,
            Outcome::Failed => pages == 0,
            Outcome::Unknown => self.state == FaxState::Ready && pages < PAGES,
            Outcome::Cancelled => pages < PAGES,
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        self.state = outcome.into();
        self.free();
        self.open = None;
    }

    fn give_back(&mut self, not_before: Timestamp) {
        self.not_before = not_before;
        self.free();
        self.open = None;
    }
}

struct Life {
    bench: Bench,
    owners: Vec<Owner>,
    known: BTreeMap<FaxId, Known>,
    claims: Vec<(FaxId, LeaseToken)>,
    attempts: Vec<(FaxId, AttemptId)>,
}

impl Life {
    fn new(bench: Bench) -> Self {
        let owners = NODES.iter().map(|node| testing::owner(node)).collect();
        Self { bench, owners, known: BTreeMap::new(), claims: Vec::new(), attempts: Vec::new() }
    }

    async fn play(&mut self, step: &Step) {
        let now = self.bench.now().await;
        match *step {
            Step::Submit { number } => self.submit(number, now).await,
            Step::ClaimRender { node } => self.claim_render(node, now).await,
            Step::ClaimCalls { node, limit } => self.claim_calls(node, limit, now).await,
            Step::Confirm { attempt, page } => self.confirm(attempt, page).await,
            Step::Pass { seconds } => self.bench.clock.advance(Duration::from_secs(seconds)),
            Step::Renew { node } => self.renew(node, now).await,
            Step::Restart { node } => self.restart(node).await,
            Step::Expire { reachable_s } => self.expire(reachable_s, now).await,
            Step::Settle { again } => self.settle(again, now).await,
            Step::Rendered { claim }
            | Step::RenderAgain { claim }
            | Step::RenderFailed { claim }
            | Step::Begin { claim }
            | Step::EndAgain { claim }
            | Step::End { claim, .. }
            | Step::CallAgain { claim }
            | Step::CallFailed { claim, .. } => {
                if let Some((fax, token)) = pick(&self.claims, claim) {
                    self.write_back(step, fax, token, now).await;
                    self.compare(fax).await;
                }
            }
        }
    }

    async fn submit(&mut self, number: usize, now: Timestamp) {
        let id = self.bench.submit(&[NUMBERS[number]]).await[0];
        let known = Known {
            number,
            state: FaxState::Accepted,
            token: 0,
            lease: None,
            suspect: None,
            not_before: now,
            confirmed: BTreeSet::new(),
            attempts: 0,
            open: None,
            last_attempt: None,
        };
        self.known.insert(id, known);
    }

    /// The fax that a claim must give next.
    fn due(&self, state: FaxState, now: Timestamp) -> Option<FaxId> {
        let busy: BTreeSet<usize> = self
            .known
            .values()
            .filter(|fax| fax.open.is_some() || (fax.state == FaxState::Ready && fax.lease.is_some()))
            .map(|fax| fax.number)
            .collect();
        self.known
            .iter()
            .filter(|(_, fax)| fax.state == state && fax.not_before <= now && fax.lease.is_none())
            .filter(|(_, fax)| state == FaxState::Accepted || !busy.contains(&fax.number))
            .min_by_key(|(id, fax)| (fax.not_before, **id))
            .map(|(id, _)| *id)
    }

    fn take(&mut self, id: FaxId, node: usize, now: Timestamp) -> LeaseToken {
        let owner = self.owners[node].clone();
        let fax = self.known.get_mut(&id).unwrap();
        fax.token += 1;
        fax.lease = Some((owner, now.plus(LEASE)));
        self.claims.push((id, fax.token));
        fax.token
    }

    async fn claim_render(&mut self, node: usize, now: Timestamp) {
        let work = self.bench.store.claim_render(&self.owners[node], LEASE).await.unwrap();
        let expected = self.due(FaxState::Accepted, now).map(|id| (id, self.take(id, node, now)));
        assert_eq!(work.map(|work| (work.faxes[0].0.id, work.faxes[0].1)), expected);
    }

    async fn claim_calls(&mut self, node: usize, limit: u32, now: Timestamp) {
        let work = self.bench.store.claim_calls(&self.owners[node], limit, LEASE).await.unwrap();
        let mut expected = Vec::new();
        while expected.len() < limit as usize
            && let Some(id) = self.due(FaxState::Ready, now)
        {
            expected.push((id, self.take(id, node, now)));
        }
        assert_eq!(work.iter().map(|work| (work.fax.id, work.token)).collect::<Vec<_>>(), expected);
    }

    async fn write_back(&mut self, step: &Step, id: FaxId, token: LeaseToken, now: Timestamp) {
        let store = Arc::clone(&self.bench.store);
        match *step {
            Step::Rendered { .. } => {
                let expected = self.held(id, token, FaxState::Accepted, |fax| {
                    fax.give_back(now);
                    fax.state = FaxState::Ready;
                });
                assert_eq!(answer(&store.rendered(id, token, testing::pages(PAGES)).await), expected, "{step:?}");
            }
            Step::RenderAgain { .. } => {
                let expected = self.held(id, token, FaxState::Accepted, |fax| fax.give_back(now.plus(SECOND)));
                let result = store.render_again(id, token, now.plus(SECOND), "later").await;
                assert_eq!(answer(&result), expected, "{step:?}");
            }
            Step::RenderFailed { .. } => {
                let expected = self.held(id, token, FaxState::Accepted, |fax| fax.finish(Outcome::Failed));
                let result = store.render_failed(id, token, testing::end(Outcome::Failed)).await;
                assert_eq!(answer(&result), expected, "{step:?}");
            }
            Step::Begin { .. } => self.begin(id, token, now).await,
            Step::CallAgain { .. } => {
                let open = self.known[&id].open.is_some();
                let expected = self.held_unless(open, id, token, |fax| fax.give_back(now.plus(SECOND)));
                let result = store.call_again(id, token, now.plus(SECOND), "no channel").await;
                assert_eq!(answer(&result), expected, "{step:?}");
            }
            Step::CallFailed { outcome, .. } => {
                let outcome = Outcome::ALL[outcome];
                let illegal = self.known[&id].open.is_some() || !self.known[&id].may_end(outcome);
                let expected = self.held_unless(illegal, id, token, |fax| fax.finish(outcome));
                let result = store.call_failed(id, token, testing::end(outcome)).await;
                assert_eq!(answer(&result), expected, "{step:?}");
            }
            Step::EndAgain { .. } => self.end(id, token, None, now).await,
            Step::End { outcome, .. } => self.end(id, token, Some(Outcome::ALL[outcome]), now).await,
            _ => unreachable!("{step:?} is no write-back"),
        }
    }

    fn held(&mut self, id: FaxId, token: LeaseToken, state: FaxState, change: impl FnOnce(&mut Known)) -> Answer {
        let fax = self.known.get_mut(&id).unwrap();
        let held = fax.hold(token, state);
        if held == Answer::Done {
            change(fax);
        }
        held
    }

    fn held_unless(&mut self, illegal: bool, id: FaxId, token: LeaseToken, change: impl FnOnce(&mut Known)) -> Answer {
        match self.known[&id].hold(token, FaxState::Ready) {
            Answer::Done if illegal => Answer::Refused,
            _ => self.held(id, token, FaxState::Ready, change),
        }
    }

    async fn begin(&mut self, id: FaxId, token: LeaseToken, now: Timestamp) {
        let fax = &self.known[&id];
        let attempt = testing::attempt(fax.pages() + 1);
        let in_call = self.known.values().any(|other| other.number == fax.number && other.open.is_some());
        let expected = match fax.hold(token, FaxState::Ready) {
            Answer::Done if fax.has_run_out(now) => Answer::Lost,
            Answer::Done if in_call || fax.pages() == PAGES => Answer::Refused,
            other => other,
        };
        let result = self.bench.store.begin_attempt(id, token, attempt.clone()).await;
        assert_eq!(answer(&result), expected, "{result:?}");
        if expected == Answer::Done {
            let fax = self.known.get_mut(&id).unwrap();
            fax.attempts += 1;
            assert_eq!(result.unwrap(), fax.attempts);
            fax.open = Some((attempt.id, token));
            fax.last_attempt = Some(attempt.id);
            self.attempts.push((id, attempt.id));
        }
    }

    async fn confirm(&mut self, attempt: usize, page: u32) {
        let Some((id, attempt)) = pick(&self.attempts, attempt) else { return };
        let result = self.bench.store.page_confirmed(attempt, testing::confirmed(page)).await;
        let expected = if page <= PAGES { Answer::Done } else { Answer::Refused };
        assert_eq!(answer(&result), expected, "page {page}");
        if page <= PAGES {
            self.known.get_mut(&id).unwrap().confirmed.insert(page);
        }
        self.compare(id).await;
    }

    /// Ends the fax's last attempt: in another call, or as `outcome`.
    async fn end(&mut self, id: FaxId, token: LeaseToken, outcome: Option<Outcome>, now: Timestamp) {
        let fax = self.known.get_mut(&id).unwrap();
        let Some(attempt) = fax.last_attempt else { return };
        let legal = outcome.map_or(fax.pages() < PAGES, |outcome| fax.may_end(outcome));
        let expected = match fax.hold(token, FaxState::Ready) {
            Answer::Done if fax.open != Some((attempt, token)) => Answer::Lost,
            Answer::Done if !legal => Answer::Refused,
            other => other,
        };
        let next = match outcome {
            None => Next::Again { not_before: now.plus(SECOND) },
            Some(outcome) => Next::Final(testing::end(outcome)),
        };
        if expected == Answer::Done {
            match outcome {
                None => fax.give_back(now.plus(SECOND)),
                Some(outcome) => fax.finish(outcome),
            }
        }
        let result = self.bench.store.end_attempt(attempt, token, testing::busy(), next).await;
        assert_eq!(answer(&result), expected, "end as {outcome:?}: {result:?}");
    }

    async fn renew(&mut self, node: usize, now: Timestamp) {
        let owner = &self.owners[node];
        // Every claim there ever was, stale ones too.
        let held: Vec<Lease> = self.claims.iter().map(|(fax, token)| Lease::Fax(*fax, *token)).collect();
        let mut renewed = BTreeSet::new();
        for (id, fax) in &mut self.known {
            if let Some((_, until)) = fax.lease.as_mut().filter(|(holder, _)| holder == owner) {
                *until = (*until).max(now.plus(LEASE));
                fax.suspect = None;
                renewed.insert(Lease::Fax(*id, fax.token));
            }
        }
        let lost: Vec<Lease> = held.iter().copied().filter(|lease| !renewed.contains(lease)).collect();
        assert_eq!(self.bench.store.renew(owner, &held, LEASE).await.unwrap(), lost);
    }

    async fn restart(&mut self, node: usize) {
        let mut expected = TakenBack::default();
        for fax in self.known.values_mut() {
            if fax.lease.as_ref().is_some_and(|(holder, _)| *holder == self.owners[node]) {
                fax.free();
                *if fax.open.is_some() { &mut expected.orphans } else { &mut expected.leases } += 1;
            }
        }
        self.owners[node] = testing::owner(NODES[node]);
        assert_eq!(self.bench.store.take_back(&self.owners[node]).await.unwrap(), expected);
    }

    async fn expire(&mut self, reachable_s: u64, now: Timestamp) {
        let reachable_since = Timestamp(now.0 - i64::try_from(reachable_s).unwrap() * 1000);
        let mut expected = Expired::default();
        for fax in self.known.values_mut().filter(|fax| fax.has_run_out(now)) {
            expected.suspects += u64::from(fax.suspect.is_none());
            let suspect = *fax.suspect.get_or_insert(now);
            let grace = if fax.open.is_some() { CALL_GRACE } else { GRACE };
            if suspect.max(reachable_since).plus(grace) <= now {
                fax.free();
                expected.freed += 1;
            }
        }
        let rules = ExpiryRules { grace: GRACE, call_grace: CALL_GRACE, reachable_since };
        assert_eq!(self.bench.store.expire_leases(rules).await.unwrap(), expected);
    }

    async fn settle(&mut self, again: bool, now: Timestamp) {
        let orphans = self.bench.store.orphans().await.unwrap();
        let found: BTreeSet<FaxId> = orphans.iter().map(|orphan| orphan.fax.id).collect();
        let lost = |fax: &Known| fax.open.is_some() && fax.lease.is_none();
        let expected = self.known.iter().filter(|(_, fax)| lost(fax)).map(|(id, _)| *id).collect();
        assert_eq!(found, expected);
        for orphan in orphans {
            let fax = self.known.get_mut(&orphan.fax.id).unwrap();
            let outcome = match fax.pages() {
                PAGES => Some(Outcome::Sent),
                _ if again => None,
                0 => Some(Outcome::Failed),
                _ => Some(Outcome::Partial),
            };
            let next = match outcome {
                None => Next::Again { not_before: now },
                Some(outcome) => Next::Final(testing::end(outcome)),
            };
            self.bench.store.settle(&orphan, testing::busy(), next).await.unwrap();
            match outcome {
                None => fax.give_back(now),
                Some(outcome) => fax.finish(outcome),
            }
            self.compare(orphan.fax.id).await;
        }
    }

    async fn compare(&self, id: FaxId) {
        let record = self.bench.store.fax(id).await.unwrap();
        let fax = &self.known[&id];
        assert_eq!(record.fax.state, fax.state);
        assert_eq!(record.fax.pages_confirmed, fax.pages());
        assert_eq!(record.fax.attempts, fax.attempts);
        assert_eq!(record.pages.iter().map(|page| page.page.page).collect::<BTreeSet<_>>(), fax.confirmed);
        let open = record.attempts.iter().find(|attempt| attempt.ended_at.is_none()).map(|attempt| attempt.id);
        assert_eq!(open, fax.open.map(|(attempt, _)| attempt));
        let finals = record.notices.iter().filter(|notice| notice.kind.is_final()).count();
        assert_eq!(finals, usize::from(fax.state.is_final()), "one final notice, and only with the end");
    }

    async fn compare_all(&self) {
        for id in self.known.keys() {
            self.compare(*id).await;
        }
    }
}

fn pick<T: Copy>(from: &[T], index: usize) -> Option<T> {
    // Late ones more often: they are the fresh ones.
    if from.is_empty() { None } else { Some(from[from.len() - 1 - index % from.len()]) }
}
