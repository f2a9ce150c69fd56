//! Rules against faxes.

use super::*;

fn monday_morning() -> Zoned {
    "2027-01-04T09:00[Europe/Zurich]".parse().unwrap()
}

fn fax() -> Incoming {
    Incoming {
        did: "+41440000001".to_owned(),
        caller: Some("+41310000002".to_owned()),
        tsi: Some("+41 31 ACME Bern".to_owned()),
        subaddress: Some("12".to_owned()),
    }
}

/// A rule from `field=pattern` words.
fn rule(name: &str, words: &[&str]) -> Rule {
    let mut rule = Rule { name: name.to_owned(), to: vec![format!("{name}@example.com")], ..Rule::default() };
    for word in words {
        let (field, value) = word.split_once('=').unwrap();
        let value = value.to_owned();
        match field {
            "did" => rule.did = Some(value),
            "caller" => rule.caller = Some(value),
            "tsi" => rule.tsi = Some(value),
            "sub" => rule.subaddress = Some(value),
            "times" => rule.times = Some(value),
            "priority" => rule.priority = value.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    rule
}

#[test]
fn every_condition_that_is_there_must_hold() {
    let holds: [&[&str]; 11] = [
        &[],
        &["did=+41440000001"],
        &["did=+4144*"],
        &["caller=+4131*", "did=+41440000001"],
        &["tsi=*acme*"],
        &["tsi=+41 31*Bern"],
        &["tsi=+41 31 acme bern"],
        &["tsi=*"],
        &["sub=12"],
        &["times=mon 08:00-18:00"],
        &["did=+4*", "caller=+4*", "tsi=*E*", "sub=12", "times=09:00-09:01"],
    ];
    for words in holds {
        assert_eq!(rule("r", words).mismatch(&fax(), &monday_morning()), None, "{words:?}");
    }
    let not: [(&[&str], &str); 9] = [
        (&["did=+4144"], "called number is +41440000001, not +4144"),
        (&["did=+4145*"], "called number is +41440000001, not +4145*"),
        (&["caller=+49*"], "caller is +41310000002, not +49*"),
        (&["tsi=acme*"], "station id is +41 31 ACME Bern, not acme*"),
        (&["tsi=*acme*acme*"], "station id is +41 31 ACME Bern, not *acme*acme*"),
        (&["tsi=+41 31"], "station id is +41 31 ACME Bern, not +41 31"),
        (&["sub=1"], "subaddress is 12, not 1"),
        (&["times=mon 18:00-08:00"], "it is mon 09:00, not mon 18:00-08:00"),
        (&["did=+4144*", "sub=13"], "subaddress is 12, not 13"),
    ];
    for (words, why) in not {
        assert_eq!(rule("r", words).mismatch(&fax(), &monday_morning()).as_deref(), Some(why));
    }
    let anonymous = Incoming { did: "201".to_owned(), ..Incoming::default() };
    for word in ["caller=+4*", "tsi=*", "sub=12"] {
        let why = rule("r", &[word]).mismatch(&anonymous, &monday_morning()).unwrap();
        assert!(why.contains("is not known"), "{why}");
    }
}

#[test]
fn rules_are_asked_by_priority_then_the_specific_ones_then_by_name() {
    let mut rules = [
        rule("b-anything", &[]),
        rule("a-anything", &[]),
        rule("night", &["times=18:00-08:00"]),
        rule("prefix", &["did=+41*"]),
        rule("longer-prefix", &["did=+4144*"]),
        rule("number-and-caller", &["did=+41440000001", "caller=+4131*"]),
        rule("number", &["did=+41440000001"]),
        rule("number-and-subaddress", &["did=+41440000001", "sub=12"]),
        rule("first", &["priority=1"]),
        rule("last", &["did=+41440000001", "priority=200"]),
    ];
    rules.sort_by(|a, b| a.place().cmp(&b.place()));
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let expected = [
        "first",
        "number-and-subaddress",
        "number-and-caller",
        "number",
        "longer-prefix",
        "prefix",
        "night",
        "a-anything",
        "b-anything",
        "last",
    ];
    assert_eq!(names, expected);
}
