//! UDPTL (T.38 §9, Annex H of the 2010 edition): sequence numbers, redundancy, parity.
//!
//! ```text
//! datagram: seq (2) | primary: length, octets | 0x00: count, older primaries, newest first     redundancy, what we send
//!                                             | 0x80: 1, span, count, parities                  forward error correction
//! ```
//! No I/O. [`Sender`] turns an IFP packet into a datagram, [`Receiver`] a datagram into the IFP packets that are new, in
//! order, with what redundancy or parity brought back in front. A datagram that is no UDPTL is refused without any
//! effect, so that a stray RTP packet or an attacker's noise cannot move the sequence.

use std::collections::VecDeque;

/// Largest length that one length octet pair can say (X.691 §10.9: two octets with 14 bits).
const LENGTH_MAX: usize = 0x3fff;
/// Older primaries that parity may reach back to; T.38 parity spans are a few packets.
const HISTORY_MAX: usize = 64;
/// A larger jump means that the far end has started again rather than that so many packets were lost.
const JUMP_MAX: i16 = 512;
/// More secondaries or parities than any sender uses; it bounds the work a datagram can cause.
const ENTRIES_MAX: usize = 32;

/// A datagram is no UDPTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Makes datagrams.
#[derive(Debug)]
pub struct Sender {
    seq: u16,
    redundancy: usize,
    max_datagram: usize,
    sent: VecDeque<Vec<u8>>,
}

impl Sender {
    /// `redundancy` older packets go along with each (0 to 7), as long as the datagram stays within `max_datagram` octets.
    #[must_use]
    pub fn new(redundancy: usize, max_datagram: usize) -> Self {
        Self { seq: 0, redundancy: redundancy.min(7), max_datagram, sent: VecDeque::new() }
    }

    /// The next datagram. Redundancy is dropped first when it would grow too long; the primary never is.
    pub fn datagram(&mut self, ifp: &[u8]) -> Vec<u8> {
        debug_assert!(ifp.len() <= LENGTH_MAX, "spandsp's packets are far below 16 kB");
        let mut out = Vec::with_capacity(self.max_datagram.min(1500));
        out.extend(self.seq.to_be_bytes());
        put_open_type(&mut out, ifp);
        out.push(0);
        let mut older = Vec::new();
        let mut count = 0u8;
        for packet in self.sent.iter().take(self.redundancy) {
            // One octet for the count, up to two for this packet's length.
            if out.len() + 1 + older.len() + packet.len() + 2 > self.max_datagram {
                break;
            }
            put_open_type(&mut older, packet);
            count += 1;
        }
        out.push(count);
        out.extend(older);
        self.sent.push_front(ifp.to_vec());
        self.sent.truncate(self.redundancy);
        self.seq = self.seq.wrapping_add(1);
        out
    }
}

/// What has been lost and brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Packets that never came.
    pub lost: u64,
    /// Packets that redundancy or parity brought back.
    pub recovered: u64,
    /// Packets that came late or twice, and were not needed.
    pub late: u64,
}

/// An IFP packet with its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// UDPTL sequence number.
    pub seq: u16,
    /// The IFP packet. One restored from parity may carry zero octets behind its end, which IFP readers ignore.
    pub ifp: Vec<u8>,
}

/// Reads datagrams.
#[derive(Debug, Default)]
pub struct Receiver {
    expected: Option<u16>,
    /// Newest last; what parity is computed with.
    history: VecDeque<Received>,
    losses: Losses,
}

impl Receiver {
    /// The IFP packets that this datagram makes available, in order. Empty when it came late or twice.
    ///
    /// # Errors
    /// When it is no UDPTL; the state is unchanged then.
    pub fn datagram(&mut self, datagram: &[u8]) -> Result<Vec<Received>, Malformed> {
        let Datagram { seq, primary, recovery } = parse(datagram)?;
        let ahead = self.expected.map_or(0, |expected| seq.wrapping_sub(expected) as i16);
        if ahead < 0 && ahead > -JUMP_MAX {
            self.losses.late += 1;
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        if (-JUMP_MAX..=JUMP_MAX).contains(&ahead) {
            for back in (1..=ahead as u16).rev() {
                let missing = seq.wrapping_sub(back);
                match self.restore(&recovery, seq, missing) {
                    Some(ifp) => {
                        self.losses.recovered += 1;
                        self.remember(missing, &ifp);
                        out.push(Received { seq: missing, ifp });
                    }
                    None => self.losses.lost += 1,
                }
            }
        } else {
            // A new stream: nothing of the old one is of use.
            self.history.clear();
            self.losses.lost += 1;
        }
        self.expected = Some(seq.wrapping_add(1));
        if !primary.is_empty() {
            self.remember(seq, primary);
            out.push(Received { seq, ifp: primary.to_vec() });
        }
        Ok(out)
    }

    /// What has been lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    fn remember(&mut self, seq: u16, ifp: &[u8]) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Received { seq, ifp: ifp.to_vec() });
    }

    fn restore(&self, recovery: &Recovery<'_>, seq: u16, missing: u16) -> Option<Vec<u8>> {
        match recovery {
            Recovery::Redundancy(older) => {
                let back = usize::from(seq.wrapping_sub(missing));
                older.get(back - 1).filter(|ifp| !ifp.is_empty()).map(|ifp| ifp.to_vec())
            }
            Recovery::Parity { span, parities } => parities.iter().enumerate().find_map(|(index, parity)| {
                self.restore_from_parity(parity, covered(seq, index, *span, parities.len()), missing)
            }),
        }
    }

    /// A parity is the exclusive or of all packets that it covers, each padded with zeros to the longest.
    fn restore_from_parity(&self, parity: &[u8], covered: impl Iterator<Item = u16>, missing: u16) -> Option<Vec<u8>> {
        let mut restored = parity.to_vec();
        let mut found = false;
        for seq in covered {
            if seq == missing {
                found = true;
                continue;
            }
            // Two packets of this parity are missing: it helps neither.
            let known = self.history.iter().rev().find(|packet| packet.seq == seq)?;
            restored.iter_mut().zip(&known.ifp).for_each(|(sum, octet)| *sum ^= octet);
        }
        (found && !restored.is_empty()).then_some(restored)
    }
}

/// The packets under parity `index` of `count`, each parity over `span` packets, interleaved: those of the datagram `seq`
/// reach from `seq - span * count` to `seq - 1` (T.38 §9.1.4.2).
fn covered(seq: u16, index: usize, span: usize, count: usize) -> impl Iterator<Item = u16> {
    let first = seq.wrapping_sub((span * count - index) as u16);
    (0..span).map(move |step| first.wrapping_add((step * count) as u16))
}

struct Datagram<'a> {
    seq: u16,
    primary: &'a [u8],
    recovery: Recovery<'a>,
}

enum Recovery<'a> {
    Redundancy(Vec<&'a [u8]>),
    Parity { span: usize, parities: Vec<&'a [u8]> },
}

fn parse(datagram: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let mut rest = datagram;
    let seq = u16::from_be_bytes([take_octet(&mut rest)?, take_octet(&mut rest)?]);
    let primary = take_open_type(&mut rest)?;
    let recovery = if take_octet(&mut rest)? & 0x80 == 0 {
        Recovery::Redundancy(take_entries(&mut rest)?)
    } else {
        // The span is an unconstrained INTEGER of one octet.
        if take_octet(&mut rest)? != 1 {
            return Err(Malformed("a parity span of more than one octet"));
        }
        let span = usize::from(take_octet(&mut rest)?);
        let parities = take_entries(&mut rest)?;
        if span * parities.len() > HISTORY_MAX {
            return Err(Malformed("parity over too many packets"));
        }
        Recovery::Parity { span, parities }
    };
    if rest.is_empty() { Ok(Datagram { seq, primary, recovery }) } else { Err(Malformed("octets behind the end")) }
}

fn take_octet(rest: &mut &[u8]) -> Result<u8, Malformed> {
    let (&octet, tail) = rest.split_first().ok_or(Malformed("too short"))?;
    *rest = tail;
    Ok(octet)
}

/// X.691 §10.9: one octet up to 127, two up to 16383; fragments of 16 kB cannot occur in a datagram.
fn take_length(rest: &mut &[u8]) -> Result<usize, Malformed> {
    let first = usize::from(take_octet(rest)?);
    match first {
        0..0x80 => Ok(first),
        0x80..0xc0 => Ok((first & 0x3f) << 8 | usize::from(take_octet(rest)?)),
        _ => Err(Malformed("a fragmented length")),
    }
}

fn take_open_type<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = take_length(rest)?;
    let (octets, tail) = rest.split_at_checked(length).ok_or(Malformed("too short"))?;
    *rest = tail;
    Ok(octets)
}

fn take_entries<'a>(rest: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, Malformed> {
    let count = take_length(rest)?;
    if count > ENTRIES_MAX {
        return Err(Malformed("too many entries"));
    }
    (0..count).map(|_| take_open_type(rest)).collect()
}

fn put_open_type(out: &mut Vec<u8>, octets: &[u8]) {
    let length = octets.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        out.extend([0x80 | (length >> 8) as u8, length as u8]);
    }
    out.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![0xc0, n as u8, (n >> 8) as u8, 7]).collect()
    }

    fn read(receiver: &mut Receiver, datagram: &[u8]) -> Vec<Vec<u8>> {
        receiver.datagram(datagram).expect("well-formed").into_iter().map(|received| received.ifp).collect()
    }

    #[test]
    fn up_to_three_lost_datagrams_in_a_row_lose_nothing() {
        let (mut sender, mut receiver) = (Sender::new(3, 1400), Receiver::default());
        let sent = packets(50);
        let mut got = Vec::new();
        for (n, packet) in sent.iter().enumerate() {
            let datagram = sender.datagram(packet);
            if n % 4 == 0 {
                got.extend(read(&mut receiver, &datagram));
            }
        }
        assert_eq!(got, sent[..49]);
        assert_eq!(receiver.losses(), Losses { lost: 0, recovered: 36, late: 0 });
    }

    #[test]
    fn sequence_numbers_wrap() {
        let (mut sender, mut receiver) = (Sender::new(1, 1400), Receiver::default());
        sender.seq = 0xfffe;
        let sent = packets(6);
        let datagrams: Vec<_> = sent.iter().map(|packet| sender.datagram(packet)).collect();
        let got: Vec<_> = [0, 1, 3, 5].iter().flat_map(|&n| read(&mut receiver, &datagrams[n])).collect();
        assert_eq!(got, sent);
    }

    #[test]
    fn redundancy_is_dropped_before_a_datagram_grows_too_long_but_the_primary_never() {
        let mut sender = Sender::new(3, 100);
        for _ in 0..4 {
            assert!(sender.datagram(&[0x55; 40]).len() <= 100);
        }
        let long = sender.datagram(&[0x55; 300]);
        assert_eq!(parse(&long).map(|datagram| datagram.primary.len()), Ok(300));
    }

    #[test]
    fn late_and_doubled_datagrams_are_not_delivered_again() {
        let (mut sender, mut receiver) = (Sender::new(0, 1400), Receiver::default());
        let datagrams: Vec<_> = packets(3).iter().map(|packet| sender.datagram(packet)).collect();
        for (n, delivered) in [(0, 1), (0, 0), (2, 1), (1, 0), (2, 0)] {
            assert_eq!(read(&mut receiver, &datagrams[n]).len(), delivered);
        }
        assert_eq!(receiver.losses(), Losses { lost: 1, recovered: 0, late: 3 });
    }

    /// A sender with parity: each datagram covers the `span * count` packets before it with `count` interleaved sums.
    fn parity_datagram(all: &[Vec<u8>], seq: usize, span: usize, count: usize) -> Vec<u8> {
        let mut out = (seq as u16).to_be_bytes().to_vec();
        put_open_type(&mut out, &all[seq]);
        out.extend([0x80, 1, span as u8]);
        let count = if seq < span * count { 0 } else { count };
        out.push(count as u8);
        for index in 0..count {
            let mut sum: Vec<u8> = Vec::new();
            for step in 0..span {
                let packet = &all[seq - span * count + index + step * count];
                sum.resize(sum.len().max(packet.len()), 0);
                sum.iter_mut().zip(packet).for_each(|(sum, octet)| *sum ^= octet);
            }
            put_open_type(&mut out, &sum);
        }
        out
    }

    #[test]
    fn parity_brings_back_what_was_lost() {
        for (lost, span, count) in [(vec![20], 3, 1), (vec![20, 21, 22], 3, 3), (vec![12, 30], 4, 2)] {
            let sent = packets(40);
            let mut receiver = Receiver::default();
            let mut got = Vec::new();
            for seq in (0..sent.len()).filter(|seq| !lost.contains(seq)) {
                got.extend(read(&mut receiver, &parity_datagram(&sent, seq, span, count)));
            }
            assert_eq!(got, sent, "lost {lost:?}, span {span}, {count} parities");
            assert_eq!(receiver.losses().recovered, lost.len() as u64);
        }
    }

    #[test]
    fn what_is_no_udptl_changes_nothing() {
        let (mut sender, mut receiver) = (Sender::new(3, 1400), Receiver::default());
        read(&mut receiver, &sender.datagram(&[1, 2]));
        let rtp = [[0x80, 0x00, 0x12, 0x34].as_slice(), &[0xff; 168]].concat();
        for noise in [&[][..], &[0], &[0, 1, 5, 1], &rtp, &[0x12, 0x34, 1, 9, 0, 0, 9], &[0, 9, 1, 9, 0x80, 2, 0, 3]] {
            assert!(receiver.datagram(noise).is_err(), "{noise:02x?}");
        }
        assert_eq!(read(&mut receiver, &sender.datagram(&[3])), [vec![3]]);
        assert_eq!(receiver.losses(), Losses::default());
    }

    proptest! {
        #[test]
        fn whatever_the_network_does_packets_come_once_and_in_order(
            lengths in prop::collection::vec(1usize..400, 1..120),
            fates in prop::collection::vec((0u8..10, 0usize..4), 120),
            redundancy in 0usize..5,
            first in any::<u16>(),
        ) {
            let mut sender = Sender::new(redundancy, 1400);
            sender.seq = first;
            let sent: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(n, &length)| [&[n as u8][..], &vec![n as u8; length]].concat()).collect();
            let mut network: Vec<(usize, Vec<u8>)> = Vec::new();
            for (n, packet) in sent.iter().enumerate() {
                let datagram = sender.datagram(packet);
                let (fate, delay) = fates[n];
                match fate {
                    0 | 1 => {}
                    2 => network.extend([(n, datagram.clone()), (n + delay, datagram)]),
                    3 => network.push((n + delay, datagram)),
                    _ => network.push((n, datagram)),
                }
            }
            network.sort_by_key(|&(at, _)| at);
            let mut receiver = Receiver::default();
            let mut last = None;
            for (_, datagram) in network {
                for Received { seq, ifp } in receiver.datagram(&datagram).expect("well-formed") {
                    let index = usize::from(seq.wrapping_sub(first));
                    prop_assert_eq!(&ifp, &sent[index]);
                    prop_assert!(last.is_none_or(|last| index > last), "{} after {:?}", index, last);
                    last = Some(index);
                }
            }
        }

        #[test]
        fn noise_never_panics(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut receiver = Receiver::default();
            let _ = receiver.datagram(&datagram);
            let _ = receiver.datagram(&datagram);
        }
    }
}
