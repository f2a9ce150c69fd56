//! Who may submit: limits of identities, signatures, accounts, failed logins.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const WINDOW: Duration = Duration::from_secs(900);

fn submitter(identity: &str, limits: SubmitLimits) -> Submitter {
    Submitter { identity: identity.to_owned(), limits, ..Submitter::default() }
}

fn faxes(hour: u32, day: u32) -> SubmitLimits {
    SubmitLimits { faxes_per_hour: Some(hour), faxes_per_day: Some(day), ..SubmitLimits::default() }
}

fn from(submitter: &Submitter, numbers: &[&str]) -> NewMessage {
    NewMessage { submitter: Some(submitter.clone()), ..testing::message(numbers) }
}

#[track_caller]
fn assert_accepted(submitted: &Submitted) {
    assert!(matches!(submitted, Submitted::Accepted { .. }), "{submitted:?}");
}

pub(super) async fn what_an_identity_sent_within_an_hour_and_a_day_is_limited(bench: Bench) {
    let store = &bench.store;
    let (anna, ben) = (submitter("anna", faxes(2, 3)), submitter("ben", faxes(2, 3)));
    let first = store.now().await.unwrap();
    assert_accepted(&store.submit(from(&anna, &["+99910200"])).await.unwrap());
    bench.clock.advance(SECOND);
    assert_accepted(&store.submit(from(&anna, &["+99910200"])).await.unwrap());
    let over = OverLimit { what: "faxes per hour", most: 2, again: Some(first.plus(HOUR)) };
    assert_eq!(store.submit(from(&anna, &["+99910200"])).await.unwrap(), Submitted::OverLimit(over));
    assert_eq!(store.over_limit("anna", None, &anna.limits).await.unwrap(), Some(over));
    assert_eq!(store.over_limit("ben", None, &ben.limits).await.unwrap(), None);
    assert_accepted(&store.submit(from(&ben, &["+99910200", "+99910201"])).await.unwrap());

    bench.clock.advance(HOUR);
    assert_accepted(&store.submit(from(&anna, &["+99910200"])).await.unwrap());
    let over = OverLimit { what: "faxes per day", most: 3, again: Some(first.plus(24 * HOUR)) };
    assert_eq!(store.over_limit("anna", None, &anna.limits).await.unwrap(), Some(over));
    assert_eq!(store.submit(from(&anna, &["+99910200"])).await.unwrap(), Submitted::OverLimit(over));
    bench.clock.advance(24 * HOUR);
    assert_eq!(store.over_limit("anna", None, &anna.limits).await.unwrap(), None);
}

pub(super) async fn what_one_sender_of_an_identity_sent_is_limited_for_itself(bench: Bench) {
    let store = &bench.store;
    let limits = SubmitLimits { faxes_per_day_each: Some(2), ..SubmitLimits::default() };
    let relay = submitter("10.0.5.0/24", limits);
    let of = |path: Option<&str>, numbers: &[&str]| NewMessage {
        reverse_path: path.map(str::to_owned),
        ..from(&relay, numbers)
    };
    let first = store.now().await.unwrap();
    assert_accepted(&store.submit(of(Some("anna@example.com"), &["+99910200", "+99910201"])).await.unwrap());
    let over = OverLimit { what: "faxes per day of one sender", most: 2, again: Some(first.plus(24 * HOUR)) };
    let again = of(Some("Anna@Example.com"), &["+99910200"]);
    assert_eq!(store.submit(again).await.unwrap(), Submitted::OverLimit(over));
    assert_eq!(store.over_limit("10.0.5.0/24", Some("ANNA@example.com"), &limits).await.unwrap(), Some(over));
    for (identity, path) in
        [("10.0.5.0/24", Some("ben@example.com")), ("10.0.5.0/24", None), ("other", Some("anna@example.com"))]
    {
        assert_eq!(store.over_limit(identity, path, &limits).await.unwrap(), None, "{identity} {path:?}");
    }
    let three = of(Some("ben@example.com"), &["+99910200", "+99910201", "+99910202"]);
    let Submitted::OverLimit(alone) = store.submit(three).await.unwrap() else { panic!("it is over the limit") };
    assert_eq!(alone.again, None, "it never fits");
    assert_accepted(&store.submit(of(None, &["+99910200", "+99910201"])).await.unwrap());
    assert!(store.over_limit("10.0.5.0/24", None, &limits).await.unwrap().is_some(), "null senders are one");
    bench.clock.advance(24 * HOUR);
    assert_eq!(store.over_limit("10.0.5.0/24", Some("anna@example.com"), &limits).await.unwrap(), None);
}

pub(super) async fn pages_count_as_soon_as_they_are_known(bench: Bench) {
    let store = &bench.store;
    let limits = SubmitLimits { pages_per_day: Some(3), ..SubmitLimits::default() };
    let anna = submitter("anna", limits);
    let owner = testing::owner("gw-a");
    for _ in 0..2 {
        assert_accepted(&store.submit(from(&anna, &["+99910200"])).await.unwrap());
        let work = store.claim_render(&owner, LEASE).await.unwrap().unwrap();
        let (fax, token) = &work.faxes[0];
        store.rendered(fax.id, *token, testing::pages(2)).await.unwrap();
    }
    let answer = store.submit(from(&anna, &["+99910200"])).await.unwrap();
    assert!(
        matches!(answer, Submitted::OverLimit(OverLimit { what: "pages per day", most: 3, again: Some(_) })),
        "{answer:?}"
    );
}

pub(super) async fn a_mail_that_alone_is_more_than_its_sender_may_send_never_fits(bench: Bench) {
    let anna = submitter("anna", faxes(2, 9));
    let answer = bench.store.submit(from(&anna, &["+99910200", "+99910201", "+99910202"])).await.unwrap();
    assert_eq!(answer, Submitted::OverLimit(OverLimit { what: "faxes per hour", most: 2, again: None }));
}

pub(super) async fn a_race_for_the_last_fax_has_one_winner(bench: Bench) {
    let anna = submitter("anna", faxes(1, 9));
    let submits = (0..8).map(|_| {
        let (store, message) = (Arc::clone(&bench.store), from(&anna, &["+99910200"]));
        tokio::spawn(async move { store.submit(message).await.unwrap() })
    });
    let mut accepted = 0;
    for submit in submits.collect::<Vec<_>>() {
        match submit.await.unwrap() {
            Submitted::Accepted { .. } => accepted += 1,
            other => assert!(matches!(other, Submitted::OverLimit(_)), "{other:?}"),
        }
    }
    assert_eq!(accepted, 1);
}

pub(super) async fn a_signature_lets_in_one_fax_a_number(bench: Bench) {
    let store = &bench.store;
    let signed = |signature| Submitter {
        signature: Some([signature; 32]),
        ..submitter("dkim:example.com", SubmitLimits::default())
    };
    let first = NewMessage { idem_key: Some([7; 32]), ..from(&signed(1), &["+99910200"]) };
    assert_accepted(&store.submit(first.clone()).await.unwrap());
    let replayed = Submitted::Replayed { number: "+99910200".parse().unwrap() };
    assert_eq!(store.submit(from(&signed(1), &["+99910200"])).await.unwrap(), replayed);
    assert_eq!(store.submit(from(&signed(1), &["+99910201", "+99910200"])).await.unwrap(), replayed);
    // What was refused has used nothing, and another recipient of the same mail comes in a transaction of its own.
    assert_accepted(&store.submit(from(&signed(1), &["+99910201"])).await.unwrap());
    assert_accepted(&store.submit(from(&signed(2), &["+99910200"])).await.unwrap());
    // A client that sends again because the answer got lost is told the first id.
    let again = NewMessage { idem_key: Some([7; 32]), ..from(&signed(1), &["+99910200"]) };
    assert_eq!(store.submit(again).await.unwrap(), Submitted::Duplicate { message: first.id });
    assert_accepted(&store.submit(first).await.unwrap());
}

pub(super) async fn an_account_is_made_replaced_and_removed(bench: Bench) {
    let store = &bench.store;
    let scram = ScramKeys { salt: vec![1; 16], iterations: 4096, stored_key: [2; 32], server_key: [3; 32] };
    let made = Account {
        name: "copier-2".to_owned(),
        password: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
        scram,
        policy: "{}".to_owned(),
        made_at: store.now().await.unwrap(),
        made_by: "root".to_owned(),
    };
    store.put_account(&made).await.unwrap();
    assert_eq!(store.account("copier-2").await.unwrap(), Some(made.clone()));
    assert_eq!(store.account("copier-3").await.unwrap(), None);
    let changed = Account { policy: "{\"billing\":\"4711\"}".to_owned(), ..made.clone() };
    store.put_account(&changed).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [changed]);
    let clear = Account { password: "secret".to_owned(), ..made };
    assert!(matches!(store.put_account(&clear).await, Err(StoreError::Refused(_))), "no password in the clear");
    store.remove_account("copier-2", "root").await.unwrap();
    assert!(matches!(store.remove_account("copier-2", "root").await, Err(StoreError::NotFound { .. })));
}

pub(super) async fn failed_logins_are_counted_until_they_are_long_ago(bench: Bench) {
    let store = &bench.store;
    let both = ["name:anna".to_owned(), "net:10.0.5.0/24".to_owned()];
    assert_eq!(store.login_failures(&both, WINDOW).await.unwrap(), []);
    store.login_failed(&both, WINDOW).await.unwrap();
    store.login_failed(&both[1..], WINDOW).await.unwrap();
    let mut counted = store.login_failures(&both, WINDOW).await.unwrap();
    counted.sort_unstable();
    assert_eq!(counted, [(both[0].clone(), 1), (both[1].clone(), 2)]);
    store.login_forgiven(&both[0]).await.unwrap();
    assert_eq!(store.login_failures(&both, WINDOW).await.unwrap(), [(both[1].clone(), 2)]);
    bench.clock.advance(WINDOW + SECOND);
    assert_eq!(store.login_failures(&both, WINDOW).await.unwrap(), []);
    store.login_failed(&both[1..], WINDOW).await.unwrap();
    assert_eq!(store.login_failures(&both, WINDOW).await.unwrap(), [(both[1].clone(), 1)], "counted anew");
}
