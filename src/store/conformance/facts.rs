//! What calls leave behind: ends that were told and not decided upon, facts without a row, lessons about a number.

use super::*;
use crate::domain::Timestamp;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn a_last_page_that_is_asked_for_again_is_outstanding_no_more(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    let store = &bench.store;
    let all_sent = async || store.fax(call.fax).await.unwrap().attempts[0].all_pages_sent;
    for _ in 0..2 {
        store.record_fact(call.attempt, AttemptFact::AllPagesSent).await.unwrap();
        assert!(all_sent().await);
        store.record_fact(call.attempt, AttemptFact::PageRefused { page: 3 }).await.unwrap();
        assert!(!all_sent().await);
    }
    store.record_fact(call.attempt, AttemptFact::AllPagesSent).await.unwrap();
    bench.end(&call, Outcome::Unknown).await.unwrap();
    let before = bench.all(call.fax).await;
    store.record_fact(call.attempt, AttemptFact::PageRefused { page: 3 }).await.unwrap();
    assert_eq!(bench.all(call.fax).await, before, "after the end it changes nothing");
}

pub(super) async fn an_end_that_is_told_is_kept_and_closes_nothing(bench: Bench) {
    let call = bench.in_call(&testing::owner("gw-a")).await;
    let store = &bench.store;
    let told = AttemptEnd { t30_code: Some(17), ..testing::busy() };
    for end in [told.clone(), testing::busy()] {
        store.record_fact(call.attempt, AttemptFact::Ended(end)).await.unwrap();
    }
    let attempt = store.fax(call.fax).await.unwrap().attempts.remove(0);
    assert_eq!((attempt.told_end, attempt.ended_at), (Some(told), None), "the first word counts");
    bench.end(&call, Outcome::Failed).await.unwrap();
    let before = bench.all(call.fax).await;
    store.record_fact(call.attempt, AttemptFact::Ended(testing::busy())).await.unwrap();
    assert_eq!(bench.all(call.fax).await, before);
}

pub(super) async fn a_fact_without_a_row_is_kept_once_until_it_is_dealt_with(bench: Bench) {
    let store = &bench.store;
    let mut parked = Vec::new();
    for page in 1..=3 {
        let fact = ParkedFact {
            id: uuid::Uuid::new_v4(),
            node: "gw-a".to_owned(),
            attempt: AttemptId::new(),
            fact: JournalFact::Page(testing::confirmed(page)),
            why: "no attempt".to_owned(),
            happened_at: Timestamp(i64::from(page)),
            parked_at: bench.now().await,
        };
        for _ in 0..2 {
            store.park_fact(fact.clone()).await.unwrap();
        }
        parked.push(fact);
        bench.clock.advance(SECOND);
    }
    assert_eq!(store.parked_facts(9).await.unwrap(), parked, "oldest first");
    assert_eq!(store.parked_facts(1).await.unwrap(), parked[..1]);
    assert_eq!(store.counts().await.unwrap().parked_facts, 3);
    let events = store.events(EventsOf::All, 0, 100).await.unwrap();
    let told = events.iter().filter(|event| event.kind == "parked" && event.text.contains("was confirmed"));
    assert_eq!(told.count(), 3, "{events:?}");
    for _ in 0..2 {
        store.unpark_fact(parked[0].id).await.unwrap();
    }
    store.park_fact(parked[0].clone()).await.unwrap();
    assert_eq!(store.parked_facts(9).await.unwrap(), parked[1..], "it was dealt with");
}

pub(super) async fn what_calls_teach_about_a_number_holds_for_its_time(bench: Bench) {
    let owner = testing::owner("gw-a");
    let store = &bench.store;
    let avoided = async || {
        let work = store.claim_calls(&owner, 1, LEASE).await.unwrap().remove(0);
        store.call_again(work.fax.id, work.token, bench.now().await, "only looking").await.unwrap();
        work.avoid_t38
    };
    let fax = bench.ready(&["+99910200"]).await[0];
    assert_eq!(avoided().await, None);
    store.avoid_t38(fax, bench.now().await.plus(WEEK), "488 Not Acceptable Here").await.unwrap();
    assert_eq!(avoided().await.as_deref(), Some("488 Not Acceptable Here"));
    let events = store.events(EventsOf::Fax(fax), 0, 2000).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "destination" && event.text.contains("488")), "{events:?}");
    bench.clock.advance(WEEK);
    assert_eq!(avoided().await, None, "its time is over");
    store.avoid_t38(fax, bench.now().await.plus(WEEK), "training failed").await.unwrap();
    store.avoid_t38(fax, bench.now().await, "audio failed too").await.unwrap();
    assert_eq!(avoided().await, None, "forgotten");
}

pub(super) async fn a_claim_takes_what_its_lines_reach_and_leaves_the_rest_in_its_place(bench: Bench) {
    let owner = testing::owner("gw-a");
    let numbers = ["+4930901820", "+498912345", "+41441234567", "+99910200"];
    for number in numbers {
        bench.ready(&[number]).await;
        bench.clock.advance(SECOND);
    }
    let reach = |prefix: &str, except: &[&str]| Reach {
        prefix: prefix.to_owned(),
        except: except.iter().map(ToString::to_string).collect(),
    };
    let germany = reach("+49", &["+4930"]);
    let rest = reach("+", &["+49", "+999"]);
    let claimed = async |reach: &[Reach]| -> Vec<String> {
        let claimed = bench.store.claim_calls_to(&owner, reach, 9, LEASE).await.unwrap();
        let numbers = claimed.iter().map(|work| work.fax.number.to_string()).collect();
        for work in claimed {
            bench.store.call_again(work.fax.id, work.token, work.fax.not_before, "only looking").await.unwrap();
        }
        numbers
    };
    assert_eq!(claimed(&[]).await, Vec::<String>::new());
    assert_eq!(claimed(std::slice::from_ref(&germany)).await, [numbers[1]]);
    assert_eq!(claimed(&[germany, rest]).await, [numbers[1], numbers[2]]);
    assert_eq!(claimed(&[reach("+4930", &[])]).await, [numbers[0]]);
    assert_eq!(claimed(&[Reach::everywhere()]).await, numbers);
}
