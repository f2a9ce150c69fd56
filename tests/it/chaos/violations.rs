//! The checker finds what it is there for: every rule with a case that breaks it, made by changing one thing in a run in
//! which everything is right.

use super::checker::{self, Score};
use super::evidence::{Call, Evidence, Page, Record};
use super::ledger::{Delivered, Fault, FaultKind, Sent, SentOutcome};
use super::service;

/// Two mails of two pages, one sent and one to a number that nobody answers, and one received fax; in the middle of the
/// first call the gateway was killed.
fn right() -> Evidence {
    Evidence {
        sent: vec![sent("good", SentOutcome::Accepted), sent("dead", SentOutcome::Accepted)],
        mails: vec![
            report("good", "sent", "F-GOOD", (2, 2)),
            report("dead", "failed", "F-DEAD", (0, 2)),
            Delivered {
                kind: "received".into(),
                message_id: "<R-1.received@fax.local>".into(),
                bodies: vec!["in-1".into()],
                ..Delivered::default()
            },
        ],
        calls: vec![call("F-GOOD", 10_000, 20_000, &["g1"]), call("F-GOOD", 30_000, 40_000, &["g2"])],
        inbound: vec![call("in", 10_000, 20_000, &["in-1"])],
        faults: vec![fault(FaultKind::GatewayKill, 15_000, 15_000)],
        records: [("F-GOOD", "sent", 2, ["g1", "g2"]), ("F-DEAD", "failed", 0, ["d1", "d2"])]
            .map(|(fax, state, pages_confirmed, bodies)| {
                let bodies = bodies.map(str::to_owned).to_vec();
                (fax.to_owned(), Record { state: state.to_owned(), pages_confirmed, bodies })
            })
            .into(),
    }
}

fn sent(token: &str, outcome: SentOutcome) -> Sent {
    Sent {
        at_ms: 5_000,
        token: token.into(),
        number: "+9995551".into(),
        pages: 2,
        outcome,
        fax: None,
        reply: String::new(),
        took_ms: 1,
    }
}

fn report(token: &str, kind: &str, fax: &str, pages: (u32, u32)) -> Delivered {
    Delivered {
        at_ms: 50_000,
        message_id: format!("<{fax}.{kind}@fax.local>"),
        in_reply_to: format!("<{token}@client.test>"),
        kind: kind.into(),
        fax: fax.into(),
        pages,
        ..Delivered::default()
    }
}

fn call(fax: &str, begin_ms: u64, end_ms: u64, bodies: &[&str]) -> Call {
    let confirmed = bodies.iter().map(|body| Page { at_ms: begin_ms + 10, body: (*body).to_owned() }).collect();
    Call {
        number: "+9995551".into(),
        fax: fax.into(),
        caller: "+9990000".into(),
        node: String::new(),
        outcome: String::new(),
        begin_ms,
        end_ms: Some(end_ms),
        confirmed,
    }
}

fn fault(kind: FaultKind, at_ms: u64, until_ms: u64) -> Fault {
    Fault { kind, at_ms, until_ms, detail: String::new(), node: String::new() }
}

/// Changes one thing and asks the checker.
fn with(change: impl FnOnce(&mut Evidence)) -> Score {
    let mut evidence = right();
    change(&mut evidence);
    checker::check(&evidence)
}

/// The one rule that the change breaks.
fn check(rule: &str, change: impl FnOnce(&mut Evidence)) {
    let score = with(change);
    assert!(!score.violations.is_empty(), "{rule} is not found");
    assert!(score.violations.iter().all(|found| found.rule == rule), "{rule}: {:#?}", score.violations);
}

#[test]
fn a_right_run_has_no_violation_and_is_counted() {
    let score = with(|_| {});
    assert_eq!(score.violations, []);
    assert_eq!((score.calls_in, score.pages_in), (1, 1));
    assert_eq!(
        score.to_string(),
        "chaos: accepted 2 reports 2 lost 0 twice 0 pages-confirmed-twice 0 (allowed 1) calls-overlapping 0 \
         mcf-without-mail 0"
    );
}

#[test]
fn an_accepted_mail_without_a_report_is_lost() {
    check("I1", |evidence| drop(evidence.mails.remove(1)));
    // Three tries: refused, then a connection that broke, then 250.
    check("I1", |evidence| {
        let tries = [SentOutcome::Refused, SentOutcome::Unknown, SentOutcome::Accepted];
        evidence.sent.extend(tries.map(|outcome| sent("late", outcome)));
    });
}

#[test]
fn two_reports_on_one_mail_are_one_too_many() {
    check("I1", |evidence| {
        let other = Delivered { message_id: "<F-GOOD.other@fax.local>".into(), ..evidence.mails[0].clone() };
        evidence.mails.push(other);
    });
}

#[test]
fn the_same_report_twice_wants_a_reply_that_could_get_lost() {
    let again = |evidence: &mut Evidence| {
        let again = Delivered { at_ms: 90_000, ..evidence.mails[0].clone() };
        evidence.mails.push(again);
    };
    check("I1", again);
    let score = with(|evidence| {
        again(evidence);
        evidence.faults.push(fault(FaultKind::SmartHostKill, 60_000, 70_000));
    });
    assert_eq!((score.violations.len(), score.resent), (0, 1));
}

#[test]
fn a_report_on_a_mail_that_was_not_accepted_comes_from_nowhere() {
    check("I2", |evidence| evidence.sent[1].outcome = SentOutcome::Refused);
    check("I2", |evidence| evidence.sent[1].outcome = SentOutcome::NotSent);
    check("I2", |evidence| drop(evidence.sent.remove(1)));
    assert!(!with(|evidence| evidence.sent[1].outcome = SentOutcome::Unknown).breaks("I2"));
}

#[test]
fn a_report_of_success_wants_every_page_over_there() {
    check("I3", |evidence| drop(evidence.calls.remove(1)));
    check("I3", |evidence| evidence.mails[0].pages = (1, 2));
    check("I3", |evidence| evidence.sent[0].pages = 3);
}

#[test]
fn a_page_of_another_document_is_seen() {
    let score = with(|evidence| evidence.calls[1].confirmed[0].body = "d1".into());
    assert!(score.breaks("I3"), "{:#?}", score.violations);
}

#[test]
fn a_report_of_failure_wants_a_page_that_is_missing() {
    check("I4", |evidence| evidence.mails[0] = report("good", "failed", "F-GOOD", (0, 2)));
    check("I4", |evidence| evidence.mails[0] = report("good", "partial", "F-GOOD", (1, 2)));
    check("I4", |evidence| evidence.mails[1].pages = (1, 2));
    let unknown = with(|evidence| evidence.mails[0] = report("good", "unknown", "F-GOOD", (1, 2)));
    assert_eq!((unknown.violations.len(), unknown.unknown), (0, 1));
}

#[test]
fn a_page_confirmed_twice_wants_a_call_that_was_struck_and_to_be_its_last() {
    let again = |evidence: &mut Evidence| evidence.calls[1] = call("F-GOOD", 30_000, 40_000, &["g1", "g2"]);
    let score = with(again);
    assert_eq!((score.violations.len(), score.pages_confirmed_twice), (0, 1), "the kill explains it");
    check("I5", |evidence| {
        again(evidence);
        evidence.faults.clear();
    });
    check("I5", |evidence| {
        evidence.calls[0] = call("F-GOOD", 10_000, 20_000, &["g1", "g2"]);
        again(evidence);
    });
}

#[test]
fn a_confirmed_page_that_is_not_on_record_is_seen_unless_it_was_in_flight() {
    let forget = |evidence: &mut Evidence| evidence.records.get_mut("F-GOOD").unwrap().pages_confirmed = 1;
    check("I6", forget);
    let score = with(|evidence| {
        forget(evidence);
        evidence.faults.push(fault(FaultKind::FarEndKill, 35_000, 35_000));
    });
    assert_eq!(score.violations, []);
}

#[test]
fn calls_of_one_fax_at_the_same_time_are_seen_unless_the_first_gateway_is_dead() {
    let score = with(|evidence| evidence.calls[0].end_ms = Some(35_000));
    assert_eq!(score.violations, [], "the far end waits for a gateway that was killed");
    check("I7", |evidence| {
        evidence.calls[0].end_ms = Some(35_000);
        evidence.faults[0].kind = FaultKind::GatewayStop;
    });
}

#[test]
fn a_page_that_was_confirmed_to_a_caller_comes_as_mail_once() {
    check("I8", |evidence| evidence.mails[2].bodies.clear());
    check("I8", |evidence| {
        let other = Delivered { message_id: "<R-2.received@fax.local>".into(), ..evidence.mails[2].clone() };
        evidence.mails.push(other);
    });
    assert_eq!(with(|evidence| drop(evidence.mails.remove(2))).mcf_without_mail, 1);
}

#[test]
fn the_time_until_work_goes_on_is_measured() {
    let score = with(|evidence| {
        evidence.sent.push(Sent { at_ms: 16_000, ..sent("good", SentOutcome::Accepted) });
    });
    assert_eq!((score.slowest_250_ms, score.slowest_page_ms), (1_000, 15_010));
}

/// Two nodes: the first call of the fax is of the one that was killed, the second one and the call that comes in of the
/// other one, which is drained while both of them end.
fn cluster() -> Evidence {
    let mut evidence = right();
    evidence.faults[0].node = "gw-a".into();
    evidence.calls[0].node = "gw-a".into();
    evidence.calls[1].node = "gw-b".into();
    evidence.inbound[0] = Call { node: "gw-b".into(), outcome: "sent".into(), ..call("in", 31_000, 39_000, &["in-1"]) };
    evidence.faults.push(Fault { node: "gw-b".into(), ..fault(FaultKind::Drain, 32_000, 45_000) });
    let mut next = sent("next", SentOutcome::Accepted);
    next.at_ms = 36_500;
    evidence.sent.push(next);
    evidence.mails.push(report("next", "failed", "F-NEXT", (0, 2)));
    let bodies = ["n1", "n2"].map(str::to_owned).to_vec();
    let record = Record { state: "failed".into(), pages_confirmed: 0, bodies };
    evidence.records.insert("F-NEXT".into(), record);
    evidence
}

fn judge(change: impl FnOnce(&mut Evidence)) -> Score {
    let mut evidence = cluster();
    change(&mut evidence);
    let mut score = checker::check(&evidence);
    service::judge(&evidence, &mut score);
    score
}

/// The one rule that the change breaks, in a cluster.
fn check_cluster(rule: &str, change: impl FnOnce(&mut Evidence)) -> Score {
    let score = judge(change);
    assert!(!score.violations.is_empty(), "{rule} is not found");
    assert!(score.violations.iter().all(|found| found.rule == rule), "{rule}: {:#?}", score.violations);
    score
}

#[test]
fn a_right_run_of_a_cluster_has_no_violation_and_its_outages_are_told() {
    let score = judge(|_| {});
    assert_eq!(score.violations, []);
    assert_eq!(
        score.to_string(),
        "chaos: accepted 3 reports 3 lost 0 twice 0 pages-confirmed-twice 0 (allowed 1) calls-overlapping 0 \
         mcf-without-mail 0 outage-p50 31.5 s outage-max 31.5 s drain-refused 0 drain-cut 0"
    );
}

#[test]
fn a_mail_that_is_not_served_while_a_node_is_drained_is_counted() {
    for outcome in [SentOutcome::Refused, SentOutcome::NotSent, SentOutcome::Unknown] {
        let score = check_cluster("I12", |evidence| {
            let again = Sent { at_ms: 36_000, outcome, ..sent("next", outcome) };
            evidence.sent.push(again);
        });
        assert!(score.to_string().contains("drain-refused 1 "), "{score}");
    }
    let before = judge(|evidence| evidence.sent.push(Sent { at_ms: 31_000, ..sent("next", SentOutcome::Refused) }));
    assert_eq!(before.violations, [], "nobody was drained then");
}

#[test]
fn a_call_that_ends_early_while_its_node_is_drained_is_counted() {
    let score = check_cluster("I13", |evidence| {
        let [first, ..] = &mut evidence.calls[..] else { unreachable!("two calls") };
        *first = Call { node: "gw-b".into(), ..call("F-GOOD", 20_000, 33_000, &["g1"]) };
        evidence.calls[1] = Call { node: "gw-a".into(), ..call("F-GOOD", 34_000, 40_000, &["g2"]) };
    });
    assert!(score.to_string().ends_with("drain-cut 1"), "{score}");
    let score = check_cluster("I13", |evidence| evidence.inbound[0].outcome = "broken".into());
    assert!(score.to_string().ends_with("drain-cut 1"), "{score}");
    let refused = judge(|evidence| {
        evidence.inbound[0].outcome = "not-answered".into();
        evidence.inbound[0].node = "gw-a".into();
    });
    assert_eq!(refused.violations, [], "the other node takes it");
}

#[test]
fn calls_of_two_faxes_to_one_number_at_the_same_time_are_seen() {
    let other = |evidence: &mut Evidence, begin_ms: u64| {
        evidence.calls.push(Call { node: "gw-a".into(), ..call("F-DEAD", begin_ms, begin_ms + 5_000, &[]) });
    };
    let score = check_cluster("I7", |evidence| other(evidence, 32_000));
    assert_eq!(score.calls_overlapping, 1);
    assert_eq!(judge(|evidence| other(evidence, 41_000)).violations, []);
}

#[test]
fn the_death_of_one_node_excuses_no_call_of_the_other() {
    check_cluster("I5", |evidence| {
        evidence.calls[0].node = "gw-b".into();
        evidence.calls[1] = Call { node: "gw-b".into(), ..call("F-GOOD", 30_000, 40_000, &["g1", "g2"]) };
    });
    check_cluster("I7", |evidence| {
        evidence.calls[0].end_ms = Some(35_000);
        evidence.faults[0].node = "gw-b".into();
    });
}

#[test]
fn the_time_until_others_take_over_is_measured() {
    let table = service::take_overs(&cluster());
    let kill = table[&FaultKind::GatewayKill];
    assert_eq!((kill.times, kill.mail_ms, kill.page_ms, kill.call_ms), (1, 21_500, 15_010, 15_000));
    assert_eq!((kill.cut, kill.again_ms), (1, 15_000));
}
