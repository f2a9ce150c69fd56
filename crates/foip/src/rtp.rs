//! RTP with one G.711 stream (RFC 3550, RFC 3551): 20 ms packets, and a jitter buffer of fixed depth.
//!
//! No I/O, no RTCP: a fax over G.711 has no use for reports, and every gateway gets along without.

use std::collections::VecDeque;

use crate::g711::Law;

/// Samples in 20 ms.
pub(crate) const SAMPLES: usize = 160;
const HEADER: usize = 12;
/// 60 ms: what jitter of a fair network needs, and little against T.30's timers.
const DEPTH: usize = 3;
/// 100 ms without a packet: the far end pauses, or its clock runs behind ours. The buffer fills anew then.
const GAPS_MAX: u64 = 5;
/// 2 s: more than this waiting means that the far end's clock or ours stood still; the oldest is dropped.
const WAITING_MAX: usize = 100;

/// Makes packets.
#[derive(Debug)]
pub(crate) struct Sender {
    law: Law,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    first: bool,
}

impl Sender {
    /// Starts at random (RFC 3550 §5.1); randomness is the caller's.
    pub(crate) fn new(law: Law, random: u64) -> Self {
        Self { law, seq: random as u16, timestamp: (random >> 16) as u32, ssrc: (random >> 32) as u32, first: true }
    }

    pub(crate) fn packet(&mut self, samples: &[i16; SAMPLES]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + SAMPLES);
        // RFC 3551 §4.1: the marker bit begins a talkspurt.
        let marker = if self.first { 0x80 } else { 0 };
        self.first = false;
        out.extend([0x80, marker | self.law.payload_type()]);
        out.extend(self.seq.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend(samples.iter().map(|&sample| self.law.compress(sample)));
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES as u32);
        out
    }
}

/// A packet of G.711.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) law: Law,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload: &'a [u8],
}

/// Reads a packet; none when it is no RTP with payload type 0 or 8.
pub(crate) fn parse(datagram: &[u8]) -> Option<Packet<'_>> {
    let (header, rest) = datagram.split_at_checked(HEADER)?;
    // Version 2.
    if header[0] >> 6 != 2 {
        return None;
    }
    let law = Law::of_payload_type(header[1] & 0x7f)?;
    let sources = usize::from(header[0] & 0x0f) * 4;
    let mut payload = rest.get(sources..)?;
    if header[0] & 0x10 != 0 {
        // RFC 3550 §5.3.1: profile, and length in words of four octets.
        let words = usize::from(u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]));
        payload = payload.get(4 + words * 4..)?;
    }
    if header[0] & 0x20 != 0 {
        let padding = usize::from(*payload.last()?);
        payload = payload.get(..payload.len().checked_sub(padding)?)?;
    }
    (!payload.is_empty()).then_some(Packet {
        law,
        seq: u16::from_be_bytes([header[2], header[3]]),
        timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        payload,
    })
}

/// What the jitter buffer gives for 20 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Samples of the far end.
    Samples(Box<[i16; SAMPLES]>),
    /// A packet is missing: fill in.
    Gap,
    /// Nothing has come for long, or nothing yet.
    Nothing,
}

/// Orders packets and gives them out 20 ms at a time, [`DEPTH`] packets behind.
#[derive(Debug, Default)]
pub(crate) struct JitterBuffer {
    /// Ordered by sequence number; each one holds its samples.
    waiting: VecDeque<(u16, Vec<i16>)>,
    /// Samples of packets that were given out in part (packets need not be 20 ms long).
    rest: VecDeque<i16>,
    next: Option<u16>,
    playing: bool,
    /// Gaps in a row.
    gaps: u64,
    pub(crate) lost: u64,
}

impl JitterBuffer {
    pub(crate) fn put(&mut self, packet: &Packet<'_>) {
        if let Some(next) = self.next {
            let ahead = packet.seq.wrapping_sub(next) as i16;
            if ahead < 0 && ahead > -(WAITING_MAX as i16) {
                return;
            }
            if !(-(WAITING_MAX as i16)..WAITING_MAX as i16).contains(&ahead) {
                // The far end started a new sequence.
                self.waiting.clear();
                self.next = None;
                self.playing = false;
            }
        }
        let place = self.waiting.iter().position(|&(seq, _)| (packet.seq.wrapping_sub(seq) as i16) <= 0);
        let samples = packet.payload.iter().map(|&octet| packet.law.expand(octet)).collect();
        match place {
            Some(index) if self.waiting[index].0 == packet.seq => {}
            Some(index) => self.waiting.insert(index, (packet.seq, samples)),
            None => self.waiting.push_back((packet.seq, samples)),
        }
        if self.waiting.len() > WAITING_MAX {
            let dropped = self.waiting.pop_front().map(|(seq, _)| seq.wrapping_add(1));
            self.next = dropped;
            self.lost += 1;
        }
    }

    /// The next 20 ms.
    pub(crate) fn take(&mut self) -> Heard {
        if !self.playing {
            if self.waiting.len() < DEPTH {
                return Heard::Nothing;
            }
            self.playing = true;
            self.gaps = 0;
            self.next = self.waiting.front().map(|&(seq, _)| seq);
        }
        while self.rest.len() < SAMPLES {
            match (self.waiting.front(), self.next) {
                (Some(&(seq, _)), Some(next)) if seq == next => {
                    let (_, samples) = self.waiting.pop_front().expect("looked at above");
                    self.rest.extend(samples);
                    self.next = Some(next.wrapping_add(1));
                    // That the stream goes on shows that packets were lost, and not held back in a pause.
                    self.lost += std::mem::take(&mut self.gaps);
                }
                _ => return self.gap(),
            }
        }
        let mut samples = Box::new([0; SAMPLES]);
        samples.iter_mut().zip(self.rest.drain(..SAMPLES)).for_each(|(to, from)| *to = from);
        Heard::Samples(samples)
    }

    /// The place of a missing packet stays empty and is not made up for when it comes late: the modem keeps its timing.
    fn gap(&mut self) -> Heard {
        self.gaps += 1;
        self.next = self.next.map(|next| next.wrapping_add(1));
        if self.waiting.is_empty() && self.gaps > GAPS_MAX {
            self.gaps = 0;
            self.playing = false;
            self.next = None;
            return Heard::Nothing;
        }
        Heard::Gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(n: usize) -> [i16; SAMPLES] {
        std::array::from_fn(|i| ((n * 31 + i * 7) % 200 * 100) as i16 - 10_000)
    }

    fn quantised(samples: &[i16; SAMPLES]) -> Box<[i16; SAMPLES]> {
        Box::new(samples.map(|sample| Law::A.expand(Law::A.compress(sample))))
    }

    fn check(order: &[usize], expected: &[Option<usize>]) {
        let mut sender = Sender::new(Law::A, 0xdead_beef_0003_fffe);
        let packets: Vec<_> = (0..10).map(|n| sender.packet(&tone(n))).collect();
        let mut buffer = JitterBuffer::default();
        for &n in order {
            buffer.put(&parse(&packets[n]).expect("RTP"));
        }
        for (step, want) in expected.iter().enumerate() {
            let want = want.map_or(Heard::Gap, |n| Heard::Samples(quantised(&tone(n))));
            assert_eq!(buffer.take(), want, "step {step} of {order:?}");
        }
    }

    #[test]
    fn packets_come_out_in_order_and_once_with_gaps_where_they_are_missing() {
        check(&[0, 1, 2, 3], &[Some(0), Some(1), Some(2), Some(3), None]);
        check(&[0, 2, 1, 1, 3], &[Some(0), Some(1), Some(2), Some(3)]);
        check(&[0, 1, 3, 4], &[Some(0), Some(1), None, Some(3), Some(4)]);
    }

    #[test]
    fn it_waits_for_sixty_milliseconds_before_it_begins() {
        let mut sender = Sender::new(Law::Mu, 1);
        let mut buffer = JitterBuffer::default();
        for n in 0..3 {
            assert_eq!(buffer.take(), Heard::Nothing);
            buffer.put(&parse(&sender.packet(&tone(n))).expect("RTP"));
        }
        assert!(matches!(buffer.take(), Heard::Samples(_)));
    }

    #[test]
    fn a_late_packet_leaves_its_place_empty_and_a_pause_fills_the_buffer_anew() {
        let mut sender = Sender::new(Law::A, 7);
        let packets: Vec<_> = (0..10).map(|n| sender.packet(&tone(n))).collect();
        let mut buffer = JitterBuffer::default();
        let hear = |buffer: &mut JitterBuffer, n: usize| buffer.put(&parse(&packets[n]).expect("RTP"));
        (0..3).for_each(|n| hear(&mut buffer, n));
        (0..3).for_each(|_| assert!(matches!(buffer.take(), Heard::Samples(_))));
        assert_eq!(buffer.take(), Heard::Gap);
        hear(&mut buffer, 3);
        hear(&mut buffer, 4);
        assert_eq!(buffer.take(), Heard::Samples(quantised(&tone(4))));
        assert_eq!(buffer.lost, 1);
        (0..GAPS_MAX).for_each(|_| assert_eq!(buffer.take(), Heard::Gap));
        (5..7).for_each(|n| hear(&mut buffer, n));
        assert_eq!(buffer.take(), Heard::Nothing, "the places of these have passed");
        (7..10).for_each(|n| hear(&mut buffer, n));
        assert_eq!(buffer.take(), Heard::Samples(quantised(&tone(7))));
        assert_eq!(buffer.lost, 1);
    }

    #[test]
    fn extensions_sources_and_padding_are_skipped_and_other_streams_refused() {
        let body = [0xd5, 0xd5];
        let full =
            [&[0xb1, 8, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7][..], &[1; 4], &[0, 0, 0, 1, 9, 9, 9, 9], &body, &[0, 2]].concat();
        assert_eq!(parse(&full), Some(Packet { law: Law::A, seq: 1, timestamp: 9, payload: &body }));
        let telephone_event = [0x80, 101, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4];
        for other in [&telephone_event[..], &full[..11], &[0u8; 40]] {
            assert_eq!(parse(other), None);
        }
    }
}
