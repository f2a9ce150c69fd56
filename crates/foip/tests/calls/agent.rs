//! The agent against a scripted SIP peer: what it sends, what it answers, and the evidence it reports.

use std::time::Duration;

use super::common::{Recorder, agent, document, eventually, order, pages, trunk};
use super::peer::{Message, Peer, audio_sdp, cseq, image_sdp};
use foip::agent::{Agent, RegistrationState};
use foip::call::{CallEvent, CallReport, Pace, TrunkSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A call to the peer, under way.
struct Call {
    agent: Agent,
    recorder: Recorder,
    cancel: CancellationToken,
    report: JoinHandle<CallReport>,
    _folder: tempfile::TempDir,
}

impl Call {
    async fn place(peer: &Peer, change: impl FnOnce(&mut TrunkSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = document(folder.path(), &pages(2));
        let mut trunk = trunk(peer.address);
        change(&mut trunk);
        let order = order(trunk, "+41441234567", &path, 2, "F-1");
        let (agent, recorder, cancel) = (agent().await, Recorder::default(), CancellationToken::new());
        let (caller, observer, token) = (agent.clone(), recorder.clone(), cancel.clone());
        let report = tokio::spawn(async move { caller.call(order, Box::new(observer), token).await });
        Self { agent, recorder, cancel, report, _folder: folder }
    }

    async fn end(self) -> CallReport {
        let report = tokio::time::timeout(Duration::from_secs(20), self.report).await;
        let report = report.expect("a report in time").expect("no panic");
        let agent = self.agent;
        eventually("the end of all dialogs", || agent.dialog_count() == 0).await;
        report
    }
}

/// Takes the INVITE and answers it with G.711.
async fn answered(peer: &Peer) -> Message {
    let invite = peer.request("INVITE").await;
    peer.answer(&invite, "200 OK", "", &audio_sdp(1)).await;
    peer.request("ACK").await;
    invite
}

/// BYE of the peer.
async fn bye(peer: &mut Peer, invite: &Message) {
    peer.ask(invite, "BYE", "").await;
    assert_eq!(peer.response("BYE", 200).await.code(), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_refusal_is_reported_with_all_its_evidence() {
    for (status, headers, code, q850, retry_after_s) in [
        ("486 Busy Here", "Reason: Q.850;cause=17;text=\"busy\"\r\n", 486, Some(17), None),
        ("503 Circuits Full", "Retry-After: 120\r\nReason: SIP;cause=503\r\n", 503, None, Some(120)),
        ("302 Moved Temporarily", "", 302, None, None),
        ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n", 401, None, None),
    ] {
        let peer = Peer::bind().await;
        let call = Call::place(&peer, |_| {}).await;
        let invite = peer.request("INVITE").await;
        assert_eq!(invite.header("X-Fax-Id"), Some("F-1"));
        assert!(invite.start.starts_with("INVITE sip:+41441234567@127.0.0.1"), "{}", invite.start);
        assert!(invite.body.contains("m=audio") && !invite.body.contains("m=image"), "{}", invite.body);
        peer.answer(&invite, status, headers, "").await;
        let report = call.end().await;
        let sip = report.sip.expect("a status");
        assert_eq!((sip.code, sip.q850, sip.retry_after_s), (code, q850, retry_after_s), "{status}");
        assert_eq!((sip.rang, sip.local), (false, false), "{status}");
        assert_eq!(format!("{} {}", sip.code, sip.phrase), status);
        assert_eq!(report.t30, None, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_with_the_trunks_password() {
    let peer = Peer::bind().await;
    let credential = |trunk: &mut TrunkSettings| {
        (trunk.user, trunk.password) = (Some("4144000".to_owned()), Some("secret".to_owned()));
    };
    let call = Call::place(&peer, credential).await;
    let invite = peer.request("INVITE").await;
    assert_eq!(invite.header("P-Preferred-Identity"), Some("<sip:+99900000001@127.0.0.1>"));
    peer.answer(&invite, "407 Auth", "Proxy-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth\"\r\n", "").await;
    let second = peer.request_after("INVITE", cseq(&invite)).await;
    let proof = second.header("Proxy-Authorization").expect("credentials");
    assert!(proof.contains("username=\"4144000\""), "{proof}");
    peer.answer(&second, "404 Not Found", "Reason: Q.850;cause=1\r\n", "").await;
    let sip = call.end().await.sip.expect("a status");
    assert_eq!((sip.code, sip.q850), (404, Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_trunk_is_down_after_the_invite_timeout() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.invite_timeout = Duration::from_millis(300)).await;
    let sip = call.end().await.sip.expect("a status");
    assert_eq!((sip.code, sip.local, sip.rang), (408, true, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_within_the_ring_timeout_and_the_call_is_cancelled() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.ring_timeout = Duration::from_millis(500)).await;
    let invite = peer.request("INVITE").await;
    peer.answer(&invite, "180 Ringing", "", "").await;
    let cancel = peer.request("CANCEL").await;
    peer.answer(&cancel, "200 OK", "", "").await;
    peer.answer(&invite, "487 Request Terminated", "", "").await;
    let ringing = call.recorder.clone();
    let sip = call.end().await.sip.expect("a status");
    assert_eq!((sip.code, sip.local, sip.rang), (480, true, true));
    assert!(ringing.seen(|event| *event == CallEvent::Ringing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_takes_the_call_and_never_says_that_it_rings_is_not_silent() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.ring_timeout = Duration::from_millis(500)).await;
    let invite = peer.request("INVITE").await;
    peer.answer(&invite, "100 Trying", "", "").await;
    let cancel = peer.request("CANCEL").await;
    peer.answer(&cancel, "200 OK", "", "").await;
    peer.answer(&invite, "487 Request Terminated", "", "").await;
    let sip = call.end().await.sip.expect("a status");
    // A local 408 would mean that nobody was called, and the trunk would be taken for dead.
    assert_eq!((sip.code, sip.local, sip.rang), (480, true, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_cancels_a_ringing_call() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |_| {}).await;
    let invite = peer.request("INVITE").await;
    peer.answer(&invite, "180 Ringing", "", "").await;
    call.recorder.wait(|event| *event == CallEvent::Ringing).await;
    call.cancel.cancel();
    let cancel = peer.request("CANCEL").await;
    peer.answer(&cancel, "200 OK", "", "").await;
    peer.answer(&invite, "487 Request Terminated", "", "").await;
    let sip = call.end().await.sip.expect("a status");
    assert_eq!((sip.code, sip.local, sip.rang), (487, true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_ends_an_answered_call_with_bye() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.pace = Pace::RealTime).await;
    answered(&peer).await;
    call.recorder.wait(|event| *event == CallEvent::Answered).await;
    call.cancel.cancel();
    let bye = peer.request("BYE").await;
    peer.answer(&bye, "200 OK", "", "").await;
    let report = call.end().await;
    assert_eq!(report.sip.expect("a status").code, 200);
    assert!(!report.remote_hung_up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_during_t38_gets_the_identical_description() {
    let mut peer = Peer::bind().await;
    let call = Call::place(&peer, |_| {}).await;
    let invite = answered(&peer).await;
    let mut answers = Vec::new();
    for version in [2, 2, 3] {
        peer.ask(&invite, "INVITE", &image_sdp(version)).await;
        let answer = peer.response("INVITE", 200).await;
        assert_eq!(answer.code(), Some(200), "{}", answer.start);
        peer.ack(&invite).await;
        answers.push(answer.body);
    }
    assert!(answers[0].contains("udptl t38"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // Back to audio after the fax, and an UPDATE without SDP: neither may harm.
    peer.ask(&invite, "INVITE", &audio_sdp(4)).await;
    let audio = peer.response("INVITE", 200).await;
    assert!(audio.code() == Some(200) && audio.body.contains("m=audio"), "{audio:?}");
    peer.ack(&invite).await;
    peer.ask(&invite, "UPDATE", "").await;
    let update = peer.response("UPDATE", 200).await;
    assert_eq!((update.code(), update.body.as_str()), (Some(200), ""));
    bye(&mut peer, &invite).await;
    let report = call.end().await;
    assert!(report.remote_hung_up, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_is_refused_where_the_trunk_does_not_take_it() {
    let mut peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.t38 = false).await;
    let invite = answered(&peer).await;
    peer.ask(&invite, "INVITE", &image_sdp(2)).await;
    assert_eq!(peer.response("INVITE", 200).await.code(), Some(488));
    peer.ack(&invite).await;
    // The session stays as it was.
    peer.ask(&invite, "INVITE", "").await;
    let offer = peer.response("INVITE", 200).await;
    assert!(offer.body.contains("m=audio"), "{offer:?}");
    peer.ack(&invite).await;
    bye(&mut peer, &invite).await;
    assert!(!call.end().await.t38_refused, "it was we who refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colliding_reinvites_are_settled_by_491_and_a_second_try() {
    let mut peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.reinvite_after = Some(Duration::from_millis(20))).await;
    let invite = answered(&peer).await;
    let ours = peer.request_after("INVITE", cseq(&invite)).await;
    assert!(ours.body.contains("m=image"), "{}", ours.body);
    peer.ask(&invite, "INVITE", &image_sdp(2)).await;
    assert_eq!(peer.response("INVITE", 200).await.code(), Some(491));
    peer.ack(&invite).await;
    peer.answer(&ours, "491 Request Pending", "", "").await;
    let again = peer.request_after("INVITE", cseq(&ours)).await;
    peer.answer(&again, "488 Not Acceptable Here", "", "").await;
    peer.request("ACK").await;
    bye(&mut peer, &invite).await;
    assert!(call.end().await.t38_refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_is_asked_for_once_however_often_the_far_end_refreshes() {
    let mut peer = Peer::bind().await;
    let call = Call::place(&peer, |trunk| trunk.reinvite_after = Some(Duration::ZERO)).await;
    let invite = answered(&peer).await;
    let ours = peer.request_after("INVITE", cseq(&invite)).await;
    peer.answer(&ours, "415 Unsupported Media Type", "", "").await;
    peer.request("ACK").await;
    for _ in 0..5 {
        peer.ask(&invite, "UPDATE", "").await;
        let next = peer.receive("answer", |message| message.method() != "ACK").await;
        assert_eq!(next.code(), Some(200), "{}", next.start);
    }
    bye(&mut peer, &invite).await;
    assert!(call.end().await.t38_refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fallback_a_refusal_of_t38_ends_the_call() {
    for (status, body) in
        [("488 Not Acceptable Here", String::new()), ("200 OK", image_sdp(2).replace("image 9", "image 0"))]
    {
        let peer = Peer::bind().await;
        let change = |trunk: &mut TrunkSettings| {
            (trunk.reinvite_after, trunk.fallback_g711) = (Some(Duration::from_millis(20)), false);
        };
        let call = Call::place(&peer, change).await;
        let invite = answered(&peer).await;
        let ours = peer.request_after("INVITE", cseq(&invite)).await;
        peer.answer(&ours, status, "", &body).await;
        let bye = peer.request("BYE").await;
        peer.answer(&bye, "200 OK", "", "").await;
        let report = call.end().await;
        assert!(report.t38_refused && !report.remote_hung_up, "{status}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_g711_ends_the_call() {
    let peer = Peer::bind().await;
    let call = Call::place(&peer, |_| {}).await;
    let invite = peer.request("INVITE").await;
    peer.answer(&invite, "200 OK", "", &audio_sdp(1).replace("RTP/AVP 0", "RTP/AVP 18")).await;
    let bye = peer.request("BYE").await;
    peer.answer(&bye, "200 OK", "", "").await;
    let sip = call.end().await.sip.expect("a status");
    assert_eq!((sip.code, sip.local), (488, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_tell_whether_a_trunk_is_there() {
    let peer = Peer::bind().await;
    let agent = agent().await;
    let mut trunk = trunk(peer.address);
    let (asked, ()) = tokio::join!(agent.options(&trunk), async {
        let options = peer.request("OPTIONS").await;
        peer.answer(&options, "405 Method Not Allowed", "", "").await;
    });
    assert_eq!(asked.expect("an answer").code, 405);
    trunk.invite_timeout = Duration::from_millis(100);
    let silent = agent.options(&trunk).await.expect("a status");
    assert_eq!((silent.code, silent.local), (408, true));
    trunk.server = "nobody.invalid".to_owned();
    assert!(agent.options(&trunk).await.is_err());
    trunk.server = "a b".to_owned();
    assert!(agent.options(&trunk).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_with_user_and_password_is_registered_at() {
    let peer = Peer::bind().await;
    let agent = agent().await;
    let mut trunk = trunk(peer.address);
    assert!(agent.register(&trunk).is_err(), "without a user");
    (trunk.user, trunk.password) = (Some("4144000".to_owned()), Some("secret".to_owned()));
    let mut guard = agent.register(&trunk).expect("a registration");
    let first = peer.request("REGISTER").await;
    peer.answer(&first, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n", "").await;
    let second = peer.request_after("REGISTER", cseq(&first)).await;
    assert!(second.header("Authorization").is_some());
    peer.answer(&second, "200 OK", "Expires: 600\r\n", "").await;
    let registered = guard.state.wait_for(|state| *state == RegistrationState::Registered);
    tokio::time::timeout(Duration::from_secs(5), registered).await.expect("in time").expect("still registering");
}
