//! The end of a gateway that answers calls, its limits, and the ways a fax comes in.

use crate::answering::{Receiving, sent, told};
use crate::harness::wait_for;
use crate::received_mail::Keeping;

#[test]
fn a_gateway_that_is_told_to_stop_ends_its_call_delivers_it_and_answers_no_other() {
    let host = Keeping::start("");
    let mut gateway = Receiving::delivering("30x", 4, host.address);
    let call = gateway.call("drained", 12, "30x", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("drained").is_empty()).then_some(()));
    gateway.drain_gateway();
    wait_for("the drain", || gateway.log().contains("draining: what runs is finished").then_some(()));
    let late = told(gateway.call("late", 1, "max", &[]));
    assert_eq!((&late["outcome"], &late["sip"]), (&"not-answered".into(), &503.into()), "{late}");
    assert_eq!(told(call)["outcome"], "sent");
    assert_eq!(gateway.ended(), Some(0));
    assert_eq!(host.recipients(), ["sales@example.com"]);
    assert_eq!(gateway.confirmed("drained"), sent("drained", 12));
}

#[test]
fn when_every_channel_is_taken_a_caller_hears_busy() {
    let gateway = Receiving::with_channels("30x", 1);
    let first = gateway.call("first", 12, "30x", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("first").is_empty()).then_some(()));
    let second = told(gateway.call("second", 1, "30x", &[]));
    assert_eq!((&second["outcome"], &second["sip"]), (&"not-answered".into(), &486.into()), "{second}");
    assert_eq!(told(first)["outcome"], "sent");
    assert_eq!(told(gateway.call("third", 1, "30x", &[]))["outcome"], "sent", "the channel is free again");
}

#[test]
fn a_fax_arrives_over_audio_and_without_error_correction() {
    for (token, more, transport, ecm) in [
        ("audio", &["--g711"][..], "g711", true),
        ("plain", &["--no-ecm"][..], "t38", false),
        ("both", &["--g711", "--no-ecm"][..], "g711", false),
    ] {
        let gateway = Receiving::start("max");
        assert_eq!(told(gateway.call(token, 2, "max", more))["outcome"], "sent", "{token}");
        let fax = gateway.received();
        assert_eq!(fax["fax"]["transport"], transport, "{fax}");
        assert!(fax["pages"].as_array().unwrap().iter().all(|page| page["ecm"] == ecm), "{fax}");
        assert_eq!(fax["fax"]["complete"], true, "{fax}");
        assert_eq!(gateway.stored(&fax), sent(token, 2), "{token}");
    }
}
