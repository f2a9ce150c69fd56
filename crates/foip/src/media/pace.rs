//! Lock-step: two ends of ours that share one virtual clock, however fast it runs.
//!
//! ```text
//! end A   tick 1 ──TICK 1 + its media──►   tick 2 ──TICK 2──►  …        20 ms of signal are one tick
//! end B   tick 1 ◄─────────────────────►   tick 2 …                     tick n+1 begins when the peer's TICK n has come
//! ```
//! What goes in: the media packets of our tick; what comes out: those of the peer's. The packets travel inside the TICK
//! datagrams, so that a call in lock-step loses nothing and runs the same way each time. An end that waits repeats its
//! last *two* ticks every 50 ms: it can be one tick ahead of the peer, so that the peer may lack either. An end that
//! stands still (because of a re-INVITE, or because an observer writes to the disk) stops the other one as well, and with
//! it T.30's timers on both sides. An end whose T.30 is over says so in its last tick, and the other one finishes alone.
//!
//! No real far end speaks this; ends agree on it in their SDP. Failure: a peer that is silent for 10 s of real time is
//! gone, which the media loop sees by no tick coming for so long.

use std::time::Duration;

/// No RTP (version 3), and no UDPTL of anybody (an empty primary of sequence 0xFAC5), so that it can be told from both.
const MAGIC: [u8; 4] = [0xfa, 0xc5, 0x00, 0x4c];
const HEADER: usize = 9;
/// Signal of one tick.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How long an end waits before it repeats its last ticks.
pub(super) const REPEAT_AFTER: Duration = Duration::from_millis(50);
/// How long an end waits for the other one at all.
pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// A tick has a few packets; it must fit into one datagram.
const PACKETS_MAX: u8 = 40;
/// Set in the count of packets of an end's last tick.
const LAST: u8 = 0x80;
/// How far an end goes on alone when the other one has finished: what DCN and its pauses take, and not so far that
/// T.30's timers end a call that the other side's BYE is to end.
const ALONE_TICKS: u32 = 250;

/// Whether an end goes on after a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    /// Its T.30 is over.
    Out,
}

/// The state of one end; no I/O.
#[derive(Debug, Default)]
pub(super) struct LockStep {
    done: u32,
    peer_done: u32,
    /// The peer's tick after which it has finished.
    peer_last: Option<u32>,
    /// Media of the peer's ticks that we have not taken yet.
    heard: Vec<Vec<u8>>,
    /// Our last two TICK datagrams.
    last: [Option<Vec<u8>>; 2],
}

impl LockStep {
    /// Whether the peer has done as many ticks as we.
    pub(super) fn may_tick(&self) -> bool {
        let alone = if self.peer_last == Some(self.peer_done) { ALONE_TICKS } else { 0 };
        self.peer_done + alone >= self.done
    }

    /// The media that the peer has sent since the last tick.
    pub(super) fn take_heard(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.heard)
    }

    /// Ends our tick with the media it made; returns the datagram to send.
    pub(super) fn tick(&mut self, packets: &[Vec<u8>], goes: Goes) -> &[u8] {
        let packets = &packets[..packets.len().min(usize::from(PACKETS_MAX))];
        self.done += 1;
        let mut datagram = MAGIC.to_vec();
        datagram.extend(self.done.to_be_bytes());
        datagram.push(packets.len() as u8 | if goes == Goes::Out { LAST } else { 0 });
        for packet in packets {
            datagram.extend((packet.len() as u16).to_be_bytes());
            datagram.extend(packet);
        }
        self.last.swap(0, 1);
        self.last[1].insert(datagram)
    }

    /// What to send again when the peer is waited for, oldest first.
    pub(super) fn repeat(&self) -> impl Iterator<Item = &[u8]> {
        self.last.iter().flatten().map(Vec::as_slice)
    }

    /// Takes a datagram; whether it was one of the peer's ticks (new or repeated).
    pub(super) fn receive(&mut self, datagram: &[u8]) -> bool {
        let Some((tick, packets, goes)) = parse(datagram) else { return false };
        // A tick further ahead waits for the repetition of the one that was lost.
        if tick == self.peer_done + 1 {
            self.peer_done = tick;
            self.peer_last = (goes == Goes::Out).then_some(tick);
            self.heard.extend(packets.into_iter().map(<[u8]>::to_vec));
        }
        true
    }
}

fn parse(datagram: &[u8]) -> Option<(u32, Vec<&[u8]>, Goes)> {
    let (header, mut rest) = datagram.split_at_checked(HEADER)?;
    let (magic, header) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return None;
    }
    let tick = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let mut packets = Vec::new();
    for _ in 0..header[4] & !LAST {
        let (length, tail) = rest.split_at_checked(2)?;
        let (packet, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
        packets.push(packet);
        rest = tail;
    }
    let goes = if header[4] & LAST == 0 { Goes::On } else { Goes::Out };
    rest.is_empty().then_some((tick, packets, goes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_end_is_at_most_one_tick_ahead() {
        let (mut a, mut b) = (LockStep::default(), LockStep::default());
        assert!(a.may_tick());
        let first = a.tick(&[vec![1]], Goes::On).to_vec();
        assert!(!a.may_tick());
        assert!(b.receive(&first));
        assert_eq!(b.take_heard(), [vec![1]]);
        let answer = b.tick(&[], Goes::On).to_vec();
        assert!(b.may_tick(), "the peer's first tick is known");
        assert!(a.receive(&answer) && a.may_tick());
    }

    #[test]
    fn an_end_finishes_alone_when_the_other_one_has_finished_but_does_not_run_on() {
        let (mut a, mut b) = (LockStep::default(), LockStep::default());
        b.receive(a.tick(&[], Goes::Out));
        let mut alone = 0;
        while b.may_tick() && alone < 10_000 {
            b.tick(&[], Goes::On);
            alone += 1;
        }
        assert_eq!(alone, ALONE_TICKS + 2);
    }

    #[test]
    fn media_of_other_protocols_is_left_alone() {
        let mut end = LockStep::default();
        for other in [&[0x80, 0, 0, 1][..], &[0xfa, 0xc5, 1, 6, 0, 0], &MAGIC, &[0xfa, 0xc5, 0, 0x4c, 0, 0, 0, 1, 2, 0]]
        {
            assert!(!end.receive(other));
        }
    }

    proptest! {
        /// Datagrams are lost, doubled or swapped as `fates` says; whoever cannot go on repeats.
        #[test]
        fn whatever_is_lost_both_ends_go_on_and_hear_everything_in_order(fates in prop::collection::vec(0u8..8, 50..400)) {
            let mut ends = [LockStep::default(), LockStep::default()];
            let mut heard: [Vec<u32>; 2] = Default::default();
            let mut wire: Vec<(usize, Vec<u8>)> = Vec::new();
            let mut fates = fates.into_iter();
            for _ in 0..2000 {
                for (me, end) in ends.iter_mut().enumerate() {
                    if end.may_tick() {
                        heard[me].extend(end.take_heard().iter().map(|p| u32::from_be_bytes([p[0], p[1], p[2], p[3]])));
                        let packet = end.done.to_be_bytes().to_vec();
                        wire.push((1 - me, end.tick(&[packet], Goes::On).to_vec()));
                    } else {
                        wire.extend(end.repeat().map(|datagram| (1 - me, datagram.to_vec())));
                    }
                }
                let mut arriving = std::mem::take(&mut wire);
                if fates.len() % 5 == 0 {
                    arriving.reverse();
                }
                for (to, datagram) in arriving {
                    match fates.next() {
                        Some(0..3) => {}
                        Some(3) => { ends[to].receive(&datagram); ends[to].receive(&datagram); }
                        _ => { ends[to].receive(&datagram); }
                    }
                }
            }
            for heard in heard {
                prop_assert!(heard.len() > 1000);
                prop_assert!(heard.iter().copied().eq(0..heard.len() as u32));
            }
        }
    }
}
