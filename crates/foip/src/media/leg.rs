//! One way of carrying T.30: a terminal with its packets.
//!
//! A leg is fed datagrams and ticks of 20 ms, and makes datagrams; it knows no socket and no real clock.

use std::time::Duration;

use spandsp::{
    AudioFax, Completion, Ifp, Outgoing, Session, Settings, SettingsError, T30Control, T38Options, T38Terminal,
};

use super::keeping::Answer;
use super::ledger::{Ledger, SharedLedger};
use super::listen::{Ear, Speech};
use super::noise::Noise;
use super::{MediaOrder, Role, T38Target};
use crate::call::Transport;
use crate::g711::Law;
use crate::rtp::{self, Heard, JitterBuffer, SAMPLES};
use crate::udptl;

/// See the module.
pub(super) enum Leg {
    Audio(Box<AudioLeg>),
    T38(Box<T38Leg>),
}

impl Leg {
    pub(super) fn audio(order: &MediaOrder, a_law: bool, ledger: &SharedLedger) -> Result<Self, SettingsError> {
        let law = if a_law { Law::A } else { Law::Mu };
        let source = if order.faults.voice {
            ledger.lock().begin(Transport::G711);
            Source::Person(Speech::default())
        } else {
            let settings = settings(order, &mut ledger.lock(), Transport::G711);
            Source::Fax(AudioFax::new(&settings, Box::new(ledger.clone()))?)
        };
        Ok(Self::Audio(Box::new(AudioLeg {
            source,
            sender: rtp::Sender::new(law, fastrand::u64(..)),
            jitter: JitterBuffer::default(),
            ear: Ear::default(),
            noise: Noise::default(),
        })))
    }

    pub(super) fn t38(order: &MediaOrder, target: &T38Target, ledger: &SharedLedger) -> Result<Self, SettingsError> {
        let settings = settings(order, &mut ledger.lock(), Transport::T38);
        let options = T38Options { version: target.version, max_datagram: target.max_datagram };
        Ok(Self::T38(Box::new(T38Leg {
            terminal: T38Terminal::new(&settings, options, Box::new(ledger.clone()))?,
            sender: udptl::Sender::new(target.redundancy, target.max_datagram),
            receiver: udptl::Receiver::default(),
            redundant: target.redundancy > 0,
            version: target.version,
            packets: Vec::new(),
            noise: Noise::default(),
        })))
    }

    /// Takes a datagram; whether it belongs to this leg.
    pub(super) fn hear(&mut self, datagram: &[u8], ledger: &SharedLedger) -> bool {
        match self {
            Self::Audio(leg) => leg.hear(datagram),
            Self::T38(leg) => leg.hear(datagram, ledger),
        }
    }

    /// Lets 20 ms pass; what is to be sent is appended to `out`.
    pub(super) fn tick(&mut self, ledger: &SharedLedger, out: &mut Vec<Vec<u8>>) {
        let answer = ledger.lock().keeping();
        match (answer, self.t30_control()) {
            (Answer::Release, Some(t30)) => t30.release(),
            (Answer::Abort, Some(t30)) => t30.abort(),
            (Answer::Wait, _) | (_, None) => {}
        }
        match self {
            Self::Audio(leg) => leg.tick(ledger, out),
            Self::T38(leg) => leg.tick(out),
        }
    }

    /// T.30, if no person speaks.
    fn t30(&self) -> Option<&Session> {
        match self {
            Self::Audio(leg) => match &leg.source {
                Source::Fax(fax) => Some(fax.t30()),
                Source::Person(_) => None,
            },
            Self::T38(leg) => Some(leg.terminal.t30()),
        }
    }

    fn t30_control(&mut self) -> Option<T30Control<'_>> {
        match self {
            Self::Audio(leg) => match &mut leg.source {
                Source::Fax(fax) => Some(fax.t30_control()),
                Source::Person(_) => None,
            },
            Self::T38(leg) => Some(leg.terminal.t30_control()),
        }
    }

    /// The call is gone: ends T.30.
    pub(super) fn terminate(&mut self) {
        if let Some(t30) = self.t30_control() {
            t30.terminate();
        }
    }

    /// How T.30 ended, once it has.
    pub(super) fn completion(&self) -> Option<Completion> {
        self.t30().and_then(Session::completion)
    }

    /// Whether T.30 was broken off.
    pub(super) fn aborted(&self) -> bool {
        self.t30().is_some_and(Session::aborted)
    }

    /// Packets lost for good, and brought back.
    pub(super) fn losses(&self) -> (u64, u64) {
        match self {
            Self::Audio(leg) => (leg.jitter.lost, 0),
            Self::T38(leg) => {
                let losses = leg.receiver.losses();
                (losses.lost, losses.recovered)
            }
        }
    }

    /// Whether a fax that has begun over audio may give way to T.38: a person may not.
    pub(super) fn is_person(&self) -> bool {
        matches!(self, Self::Audio(leg) if matches!(leg.source, Source::Person(_)))
    }
}

fn settings(order: &MediaOrder, ledger: &mut Ledger, transport: Transport) -> Settings {
    let (receive, first_page) = ledger.begin(transport);
    Settings {
        calling: order.role == Role::Calling,
        station_id: order.station_id.clone(),
        subaddress: order.subaddress.clone(),
        send: order.send.as_ref().filter(|_| order.role == Role::Calling).map(|send| Outgoing {
            file: send.path.clone(),
            first_page,
            last_page: send.page_count,
            codings: send.codings,
        }),
        receive: receive.filter(|_| order.role == Role::Called),
        // T.30 rejects a page by RTN only without error correction.
        ecm: order.ecm && order.faults.reject_page.is_none(),
        max_rate_bps: order.max_rate_bps,
    }
}

/// Who speaks on an audio leg.
enum Source {
    Fax(AudioFax),
    Person(Speech),
}

pub(super) struct AudioLeg {
    source: Source,
    sender: rtp::Sender,
    jitter: JitterBuffer,
    ear: Ear,
    noise: Noise,
}

impl AudioLeg {
    fn hear(&mut self, datagram: &[u8]) -> bool {
        let Some(packet) = rtp::parse(datagram) else { return false };
        self.jitter.put(&packet);
        true
    }

    fn tick(&mut self, ledger: &SharedLedger, out: &mut Vec<Vec<u8>>) {
        let heard = self.jitter.take();
        let mut spoken = [0; SAMPLES];
        match &mut self.source {
            Source::Person(speech) => spoken = speech.speak(),
            Source::Fax(fax) => {
                match heard {
                    Heard::Samples(_) => ledger.lock().packet_heard(),
                    Heard::Gap | Heard::Nothing => ledger.lock().packets_lost(1),
                }
                match heard {
                    Heard::Samples(mut samples) => {
                        self.ear_hears(&samples, ledger);
                        self.noise.damage_audio(&mut samples, ledger.lock().damages_image());
                        // Reborrowed, since `ear_hears` needed all of the leg.
                        if let Source::Fax(fax) = &mut self.source {
                            fax.audio_rx(&mut *samples);
                        }
                    }
                    Heard::Gap => fax.fill_in(SAMPLES as u16),
                    // T.30's clock runs by what is received.
                    Heard::Nothing => fax.audio_rx(&mut [0; SAMPLES]),
                }
                if let Source::Fax(fax) = &mut self.source {
                    fax.audio_tx(&mut spoken);
                }
            }
        }
        out.push(self.sender.packet(&spoken));
    }

    fn ear_hears(&mut self, samples: &[i16; SAMPLES], ledger: &SharedLedger) {
        let mut ledger = ledger.lock();
        if !ledger.outcome.fax_seen {
            self.ear.hear(samples);
            ledger.outcome.voice_heard = self.ear.speech();
            ledger.outcome.fax_seen = self.ear.answer_tone();
        }
    }
}

pub(super) struct T38Leg {
    terminal: T38Terminal,
    sender: udptl::Sender,
    receiver: udptl::Receiver,
    redundant: bool,
    version: u8,
    packets: Vec<Ifp>,
    noise: Noise,
}

impl T38Leg {
    fn hear(&mut self, datagram: &[u8], ledger: &SharedLedger) -> bool {
        let before = self.receiver.losses().lost;
        let Ok(received) = self.receiver.datagram(datagram) else { return false };
        match self.receiver.losses().lost - before {
            0 => ledger.lock().packet_heard(),
            lost => ledger.lock().packets_lost(lost),
        }
        for udptl::Received { seq, mut ifp } in received {
            {
                let mut ledger = ledger.lock();
                ledger.outcome.fax_seen |= is_answer(&ifp);
                if is_image(&ifp) {
                    ledger.image_arrives();
                }
                if ledger.damages_image() {
                    self.noise.damage_ifp(&mut ifp, self.version);
                }
            }
            self.terminal.rx_ifp(seq, &ifp);
        }
        true
    }

    fn tick(&mut self, out: &mut Vec<Vec<u8>>) {
        self.terminal.tick(SAMPLES as u16, &mut self.packets);
        for Ifp { octets, copies } in self.packets.drain(..) {
            let datagram = self.sender.datagram(&octets);
            // Without redundancy spandsp asks for some packets to be sent several times.
            let copies = if self.redundant { 1 } else { copies };
            out.extend((0..copies).map(|_| datagram.clone()));
        }
    }
}

/// T.38 §7.3.1: an indicator (bits 7 and 6 clear) of CED or of V.21 preamble, which only a fax machine gives.
fn is_answer(ifp: &[u8]) -> bool {
    ifp.first().is_some_and(|&first| first & 0xe0 == 0 && matches!(first >> 1, 2 | 3))
}

/// T.38 §7.3.2: data present, of a type other than V.21: training or an image.
pub(super) fn is_image(ifp: &[u8]) -> bool {
    ifp.first().is_some_and(|&first| first & 0xe0 == 0xc0 && first & 0x1e != 0)
}

/// Signal of a number of ticks.
pub(super) fn duration(ticks: u64) -> Duration {
    super::pace::TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
