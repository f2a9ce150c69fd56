use proptest::prelude::*;

use super::*;

const LIMITS: T38Limits = T38Limits { version: 0, max_rate_bps: 14400 };

fn ours() -> LocalSession {
    LocalSession::new("10.0.0.9:4000".parse().expect("an address"), 7, LIMITS)
}

fn sdp(media: &str) -> Vec<u8> {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}").into_bytes()
}

fn parse(media: &str) -> Remote {
    Remote::parse(&sdp(media)).expect("readable SDP")
}

#[test]
fn the_first_open_g711_line_is_the_audio() {
    let check = |media: &str, expected: Option<(usize, &str, bool)>| {
        let found = parse(media).audio();
        let expected = expected
            .map(|(line, remote, a_law)| (line, AudioTarget { remote: remote.parse().expect("an address"), a_law }));
        assert_eq!(found, expected, "{media}");
    };
    check("m=audio 5004 RTP/AVP 0 8 101\r\n", Some((0, "192.0.2.1:5004", false)));
    check("m=audio 5004 RTP/AVP 101 8 0\r\n", Some((0, "192.0.2.1:5004", true)));
    check("m=audio 5004/2 rtp/avp 8\n", Some((0, "192.0.2.1:5004", true)));
    check("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 198.51.100.7\r\n", Some((0, "198.51.100.7:5004", false)));
    check("m=audio 5004 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\n", Some((0, "[2001:db8::7]:5004", false)));
    check("m=image 5006 udptl t38\r\nm=audio 5004 RTP/AVP 0\r\n", Some((1, "192.0.2.1:5004", false)));
    for unusable in [
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 5004 RTP/AVP 18\r\n",
        "m=audio 5004 RTP/SAVP 0\r\n",
        "m=audio 5004 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
        "m=audio 5004 RTP/AVP 0\r\nc=IN IP4 gw.example.net\r\n",
        "m=video 5004 RTP/AVP 0\r\n",
        "m=audio\r\n",
        "",
    ] {
        check(unusable, None);
    }
}

#[test]
fn t38_attributes_are_read_in_any_case_and_with_or_without_values() {
    let media = "m=image 4002 UDPTL T38\r\na=t38FAXversion: 3\r\na=T38MaxBitRate:9600\r\na=T38FaxFillBitRemoval\r\n\
                 a=T38FaxTranscodingMMR:0\r\na=T38FaxTranscodingJBIG:1\r\na=T38FaxRateManagement:transferredTCF\r\n\
                 a=T38FaxMaxBuffer:1024\r\na=T38FaxMaxDatagram:238\r\na=T38FaxUdpEC:t38UDPFEC\r\n";
    let remote = parse(media);
    let (_, line) = remote.image().expect("an image line");
    let expected = T38Attributes {
        version: Some(3),
        max_bit_rate: Some(9600),
        fill_bit_removal: true,
        transcoding_mmr: false,
        transcoding_jbig: true,
        max_buffer: Some(1024),
        max_datagram: Some(238),
        error_correction: ErrorCorrection::Fec,
    };
    assert_eq!(line.t38, expected);
    let target = line.t38_target(&LIMITS, None).expect("an open line");
    assert_eq!((target.version, target.max_datagram, target.redundancy), (0, 238, 3));
    let target = line.t38_target(&LIMITS, Some(1440)).expect("an open line");
    assert_eq!(target.max_datagram, DATAGRAM_MAX);
}

#[test]
fn redundancy_is_left_out_only_where_the_far_end_refuses_it() {
    for (attribute, expected) in
        [("", 3), ("a=T38FaxUdpEC:t38UDPNoEC\r\n", 0), ("a=T38FaxUdpEC:T38UDPRedundancy\r\n", 3)]
    {
        let remote = parse(&format!("m=image 4002 udptl t38\r\n{attribute}a=T38FaxMaxDatagram:0\r\n"));
        let target = remote.image().and_then(|(_, line)| line.t38_target(&LIMITS, None)).expect("an open line");
        assert_eq!((target.redundancy, target.max_datagram), (expected, DATAGRAM_DEFAULT), "{attribute}");
    }
}

#[test]
fn an_answer_keeps_the_order_and_closes_what_it_does_not_take() {
    let offer = parse("m=audio 5004 RTP/AVP 0 8\r\nm=video 6000 RTP/AVP 96\r\nm=image 5006 udptl t38\r\n");
    let lines = |text: &str| text.lines().filter(|l| l.starts_with("m=")).map(str::to_owned).collect::<Vec<_>>();
    let image = ours().answer(&offer, Chosen::Image { line: 2 });
    assert_eq!(lines(&image), ["m=audio 0 RTP/AVP 0 8", "m=video 0 RTP/AVP 96", "m=image 4000 udptl t38"]);
    let audio = ours().answer(&offer, Chosen::Audio { line: 0, a_law: true });
    assert_eq!(lines(&audio), ["m=audio 4000 RTP/AVP 8", "m=video 0 RTP/AVP 96", "m=image 0 udptl t38"]);
}

#[test]
fn an_answer_is_never_larger_than_the_offer() {
    let answer = |media: &str| {
        let text = ours().answer(&parse(media), Chosen::Image { line: 0 });
        let remote = Remote::parse(text.as_bytes()).expect("our own SDP");
        remote.image().expect("an image line").1.t38.clone()
    };
    let small = answer(
        "m=image 1 udptl t38\r\na=T38FaxVersion:2\r\na=T38MaxBitRate:4800\r\na=T38FaxMaxBuffer:200\r\n\
         a=T38FaxMaxDatagram:72\r\na=T38FaxUdpEC:t38UDPNoEC\r\na=T38FaxFillBitRemoval\r\n",
    );
    assert_eq!((small.version, small.max_bit_rate), (Some(0), Some(4800)));
    assert_eq!((small.max_buffer, small.max_datagram), (Some(200), Some(72)));
    assert_eq!((small.error_correction, small.fill_bit_removal), (ErrorCorrection::None, false));
    let large = answer("m=image 1 udptl t38\r\na=T38MaxBitRate:33600\r\na=T38FaxMaxDatagram:1400\r\n");
    assert_eq!((large.max_bit_rate, large.max_datagram), (Some(14400), Some(400)));
    assert_eq!(large.error_correction, ErrorCorrection::Redundancy);
}

#[test]
fn the_version_rises_with_each_change_and_only_then() {
    let version = |text: &str| text.lines().nth(1).and_then(|o| o.split(' ').nth(2)).map(str::to_owned);
    let mut session = ours();
    let first = session.offer_audio();
    assert_eq!(version(&first).as_deref(), Some("1"));
    assert_eq!(session.offer_audio(), first);
    let offer = parse("m=image 5006 udptl t38\r\n");
    let image = session.answer(&offer, Chosen::Image { line: 0 });
    assert_eq!(version(&image).as_deref(), Some("2"));
    assert_eq!(session.answer(&offer, Chosen::Image { line: 0 }), image);
    assert_eq!(session.current(), Some(image.as_str()));
    assert_eq!(version(&session.offer_audio()).as_deref(), Some("3"));
}

#[test]
fn lock_step_is_said_only_by_those_who_want_it() {
    let says = |lock_step: bool| {
        let text = ours().with_lock_step(lock_step).offer_audio();
        Remote::parse(text.as_bytes()).expect("our own SDP").lock_step
    };
    assert!(says(true));
    assert!(!says(false));
    assert!(!parse("a=X-faxwell-pace:realtime\r\nm=audio 1 RTP/AVP 0\r\n").lock_step);
}

#[test]
fn what_is_no_sdp_or_too_much_is_refused() {
    assert_eq!(Remote::parse(b""), Err(SdpError::NoSdp));
    assert_eq!(Remote::parse(b"hello"), Err(SdpError::NoSdp));
    assert_eq!(Remote::parse(&vec![b'a'; BODY_MAX + 1]), Err(SdpError::TooLarge));
    assert_eq!(Remote::parse(&sdp(&"a=x\n".repeat(LINES_MAX + 1))), Err(SdpError::TooLarge));
    let many = "m=audio 1 RTP/AVP 0\n".repeat(MEDIA_MAX + 1);
    assert_eq!(Remote::parse(&sdp(&many)), Err(SdpError::TooManyMedia));
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Remote::parse(&body);
    }

    #[test]
    fn no_set_of_plausible_lines_makes_it_panic(
        lines in proptest::collection::vec("[mca]=[ -~]{0,40}|m=(audio|image) [0-9]{1,6}(/2)? [a-zA-Z/]{1,8}( [0-9a-z]{1,3}){0,4}|a=T38Fax[A-Za-z]{2,12}:?[0-9]{0,22}|c=IN IP[46] [0-9.:/]{0,20}", 0..30)
    ) {
        let body = sdp(&lines.join("\r\n"));
        if let Ok(remote) = Remote::parse(&body) {
            if let Some((line, target)) = remote.audio() {
                let answer = ours().answer(&remote, Chosen::Audio { line, a_law: target.a_law });
                let read = Remote::parse(answer.as_bytes()).expect("our own SDP");
                prop_assert_eq!(read.media.len(), remote.media.len());
            }
            if let Some((line, media)) = remote.image() {
                prop_assert!(media.t38_target(&LIMITS, None).is_some());
                let answer = ours().answer(&remote, Chosen::Image { line });
                let read = Remote::parse(answer.as_bytes()).expect("our own SDP");
                prop_assert_eq!(read.image().map(|(at, _)| at), Some(line));
            }
        }
    }
}
