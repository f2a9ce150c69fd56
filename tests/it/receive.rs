//! Faxes that come in: a gateway in one process, the machine that calls it in another, whose ledger says what it was told.

use std::fs;

use crate::answering::{DID, Receiving, mailboxes, sent, told};
use crate::harness::{Sandbox, faxwell, wait_for};

#[test]
fn every_page_arrives_as_it_was_sent_and_is_owed_to_its_mailbox() {
    let gateway = Receiving::start("max");
    let call = gateway.call("whole", 4, "max", &["--tsi", "+41 31 22", "--sub", "42"]);
    assert_eq!(told(call)["outcome"], "sent");
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], true, "{fax}");
    assert_eq!(gateway.stored(&fax), sent("whole", 4));
    assert_eq!(gateway.confirmed("whole"), sent("whole", 4));
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
    let of = &fax["fax"];
    let seen = ["called", "caller", "remote_id", "subaddress", "route"].map(|name| of[name].as_str().unwrap());
    assert_eq!(seen, [DID, "+41310000002", "+41 31 22", "42", "did-41440000001"]);
    let kinds: Vec<&str> =
        fax["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..6], ["call-in", "page-in", "page-in", "page-in", "page-in", "received"]);
}

#[test]
fn a_call_that_breaks_is_delivered_with_its_pages_as_incomplete() {
    let gateway = Receiving::start("max");
    let call = gateway.call("broken", 5, "max", &["--hang-up-in-page", "3"]);
    let told = told(call);
    assert_eq!((&told["outcome"], &told["pages_confirmed"]), (&"broken".into(), &2.into()));
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], false, "{fax}");
    assert_eq!(fax["fax"]["cause"]["slug"], "remote-hangup", "{fax}");
    assert_eq!(gateway.stored(&fax), sent("broken", 2)[..2]);
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
}

#[test]
fn a_killed_gateway_has_every_page_that_it_confirmed_and_delivers_them() {
    let mut gateway = Receiving::start("30x");
    let call = gateway.call("killed", 40, "30x", &[]);
    wait_for("two confirmed pages", || (gateway.confirmed("killed").len() >= 2).then_some(()));
    gateway.kill_gateway();
    let told = told(call);
    assert_ne!(told["outcome"], "sent", "it was killed in the middle");
    gateway.start_gateway();
    let fax = gateway.received();
    let (stored, confirmed) = (gateway.stored(&fax), gateway.confirmed("killed"));
    assert!(confirmed.len() >= 2 && stored.len() >= confirmed.len(), "{} stored of {}", stored.len(), confirmed.len());
    assert_eq!(stored, sent("killed", 40)[..stored.len()]);
    assert_eq!(fax["fax"]["complete"], false);
    assert_eq!(fax["fax"]["detail"], "the gateway stopped in the middle of the call");
    assert_eq!(mailboxes(&fax), ["sales@example.com"]);
}

#[test]
fn while_the_store_is_away_the_sender_is_held_and_then_goes_on() {
    // In real time: the sender's patience is T.30's, not that of the test machine.
    let gateway = Receiving::start("real-time");
    let call = gateway.call("held", 2, "real-time", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("held").is_empty()).then_some(()));
    let lock = gateway.lock_store();
    wait_for("the sender to be held", || gateway.log().contains("the sender is held").then_some(()));
    assert_eq!(gateway.confirmed("held").len(), 1, "no confirmation without the store");
    lock.release();
    assert_eq!(told(call)["outcome"], "sent");
    let fax = gateway.received();
    assert_eq!(fax["fax"]["complete"], true, "{fax}");
    assert_eq!(gateway.stored(&fax), sent("held", 2));
}

#[test]
fn a_page_that_cannot_be_stored_is_never_confirmed() {
    let gateway = Receiving::start("30x");
    let call = gateway.call("refused", 40, "30x", &[]);
    wait_for("a confirmed page", || (!gateway.confirmed("refused").is_empty()).then_some(()));
    let lock = gateway.lock_store();
    // Nothing can be stored from here until the sender has given up.
    let told = told(call);
    assert_eq!(told["outcome"], "broken", "{told}");
    let confirmed = gateway.confirmed("refused");
    lock.release();
    let fax = gateway.received();
    let stored = gateway.stored(&fax);
    assert!(stored.len() >= confirmed.len() && stored.len() < 40, "{} of {}", stored.len(), confirmed.len());
    assert_eq!(stored, sent("refused", 40)[..stored.len()]);
    assert_eq!(fax["fax"]["complete"], false);
}

#[test]
fn in_the_sandbox_a_received_fax_lands_in_the_mailbox_of_its_route() {
    let sandbox = Sandbox::start();
    let data = sandbox.data();
    let data = data.to_str().unwrap();
    let set =
        ["inbound", "route", "set", "lab", "--did", "+4144*", "--sub", "7", "--to", "lab@fax.local", "--data", data];
    assert!(faxwell().args(set).status().unwrap().success());
    let call = ["demo", "receive", "--pages", "2", "--did", "0440000001", "--sub", "7"];
    let call = sandbox.json_lines(&call).remove(0);
    assert_eq!((&call["call"]["outcome"], &call["received"]["route"]), (&"sent".into(), &"lab".into()), "{call}");
    let mail = wait_for("its mail", || sandbox.mails().into_iter().find(|mail| mail.header("To").contains("lab@")));
    assert_eq!(mail.header("X-Fax-Id"), call["received"]["short"]);
    assert!(mail.part("application/pdf").is_some_and(|pdf| pdf.starts_with(b"%PDF")));
    wait_for("its end", || (sandbox.json_lines(&["inbound", "list"])[0]["state"] == "delivered").then_some(()));
}

#[test]
fn a_gateway_that_cannot_store_answers_no_call() {
    let gateway = Receiving::start("max");
    let lock = gateway.lock_store();
    let told = told(gateway.call("away", 1, "max", &[]));
    assert_eq!((&told["outcome"], &told["sip"]), (&"not-answered".into(), &503.into()));
    lock.release();
    assert!(gateway.command(&["inbound", "list"]).is_empty());
}

#[test]
fn who_is_not_the_trunk_is_not_answered() {
    let mut receiving = Receiving::start("max");
    receiving.kill_gateway();
    let config = fs::read_to_string(receiving.path("faxwell.toml")).unwrap();
    let trunk = config.replace("server = \"127.0.0.1:", "server = \"127.0.0.9:");
    fs::write(receiving.path("faxwell.toml"), &trunk).unwrap();
    receiving.start_gateway();
    let refused = told(receiving.call("stranger", 1, "max", &[]));
    assert_eq!(refused["sip"], 403, "{refused}");
    assert!(receiving.command(&["inbound", "list"]).is_empty());

    // Unless its network is named.
    receiving.kill_gateway();
    let named = trunk.replace("channels = 4", "channels = 4\naccept_from = [\"127.0.0.1\"]");
    fs::write(receiving.path("faxwell.toml"), named).unwrap();
    receiving.start_gateway();
    told(receiving.call("named", 1, "max", &[]));
    assert_eq!(receiving.received()["pages"].as_array().map(Vec::len), Some(1));
}
