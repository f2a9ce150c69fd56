//! One way of carrying T.30: a terminal with its packets.
//!
//! A leg is fed datagrams and ticks of 20 ms, and makes datagrams; it knows no socket and no real clock.

use std::time::Duration;

use spandsp::{AudioFax, Completion, Ifp, Outgoing, Settings, SettingsError, T38Options, T38Terminal};

use super::ledger::{Ledger, SharedLedger};
use super::listen::{Ear, Speech};
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
        match self {
            Self::Audio(leg) => leg.tick(ledger, out),
            Self::T38(leg) => leg.tick(out),
        }
    }

    /// The call is gone: ends T.30.
    pub(super) fn terminate(&mut self) {
        match self {
            Self::Audio(leg) => match &mut leg.source {
                Source::Fax(fax) => fax.terminate(),
                Source::Person(_) => {}
            },
            Self::T38(leg) => leg.terminal.terminate(),
        }
    }

    /// How T.30 ended, once it has.
    pub(super) fn completion(&self) -> Option<Completion> {
        match self {
            Self::Audio(leg) => match &leg.source {
                Source::Fax(fax) => fax.completion(),
                Source::Person(_) => None,
            },
            Self::T38(leg) => leg.terminal.completion(),
        }
    }

    /// Whether a callback has broken T.30 off.
    pub(super) fn aborted(&self) -> bool {
        match self {
            Self::Audio(leg) => matches!(&leg.source, Source::Fax(fax) if fax.aborted()),
            Self::T38(leg) => leg.terminal.aborted(),
        }
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
        let Ok(received) = self.receiver.datagram(datagram) else { return false };
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
fn is_image(ifp: &[u8]) -> bool {
    ifp.first().is_some_and(|&first| first & 0xe0 == 0xc0 && first & 0x1e != 0)
}

/// A bad line, the same each time.
struct Noise {
    state: u32,
    /// Since the damage was asked for and silence has come: how many frames of signal.
    loud_frames: Option<u32>,
}

/// Training of V.17 (short) and V.29 takes 142 and 253 ms (ITU-T V.17 §5.1, V.29 §8).
const TRAINING_FRAMES: u32 = 15;
/// 1 ms in each 10: short enough that ends of lines survive, so that bad lines are counted.
const CRACKLE_SAMPLES: usize = 8;

impl Default for Noise {
    fn default() -> Self {
        Self { state: 0x2545_f491, loud_frames: None }
    }
}

impl Noise {
    /// Marsaglia's xorshift.
    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state
    }

    /// Crackling as loud as the signal, which damages nearly each line of an image; V.21 with its long bits survives.
    ///
    /// Left alone are what remains of the command before the image (else the end of its carrier would not be seen) and
    /// the training (else spandsp would take the page for one that it has confirmed already).
    fn damage_audio(&mut self, samples: &mut [i16; SAMPLES], wanted: bool) {
        let loud = samples.iter().any(|sample| sample.unsigned_abs() > 500);
        self.loud_frames = match self.loud_frames {
            _ if !wanted => None,
            _ if !loud => Some(0),
            frames => frames.map(|frames| frames + 1),
        };
        if loud && self.loud_frames > Some(TRAINING_FRAMES) {
            for sample in samples.chunks_mut(80).flat_map(|ten_ms| &mut ten_ms[..CRACKLE_SAMPLES]) {
                *sample = sample.saturating_add((self.next() % 12_001) as i16 - 6000);
            }
        }
    }

    /// Damages image data without error correction, and nothing else.
    fn damage_ifp(&mut self, ifp: &mut [u8], version: u8) {
        let image = is_image(ifp);
        // One field; its type is of 3 bits in version 0, else of 4.
        let [_, 1, field, _, _, data @ ..] = ifp else { return };
        let kind = if version == 0 { *field >> 4 & 7 } else { *field >> 3 & 0xf };
        // 6 is t4-non-ecm-data.
        if image && *field & 0x80 != 0 && kind == 6 {
            // Not all of it: where no end of line survives, there are no bad lines to count.
            data.iter_mut().step_by(4).for_each(|octet| *octet ^= self.next() as u8);
        }
    }
}

/// Signal of a number of ticks.
pub(super) fn duration(ticks: u64) -> Duration {
    super::pace::TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
    use fax_image::{Bitmap, Ink, Resolution};

    use super::*;
    use crate::call::{CallEvent, CallObserver, Pace, Refusal};
    use crate::media::{Faults, MediaOutcome, SendDocument};

    /// Keeps the pages that came.
    #[derive(Clone, Default)]
    struct Tray(Arc<std::sync::Mutex<Vec<Vec<u8>>>>);

    impl CallObserver for Tray {
        fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
            if let CallEvent::Page { image: Some(image), .. } = event {
                self.0.lock().expect("no panic").push(image);
            }
            Ok(())
        }
    }

    fn pages() -> Vec<Bitmap> {
        let page = |number: u32| {
            let mut page = Bitmap::white(1728, 500).expect("a small page");
            (0..500).for_each(|y| page.fill_rect(y * number % 900, y, 3 + y % 400, 1, Ink::Black));
            page
        };
        vec![page(1), page(2)]
    }

    /// Two T.38 legs and a network between them that loses a share of the datagrams in both directions.
    fn call(target: T38Target, loss: f32, seed: u64) -> (MediaOutcome, Vec<Bitmap>, (u64, u64)) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("document.tif");
        let pages = pages();
        let tiff_pages: Vec<_> = pages.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
        std::fs::write(&path, write_document(&tiff_pages).expect("a document")).expect("written");
        let order = |role, send, receive_dir| MediaOrder {
            role,
            station_id: "1".into(),
            send,
            receive_dir,
            subaddress: None,
            ecm: true,
            max_rate_bps: 14_400,
            pace: Pace::LockStep(f32::INFINITY),
            faults: Faults::default(),
        };
        let orders = [
            order(Role::Calling, Some(SendDocument { path, page_count: 2, first_page: 1 }), None),
            order(Role::Called, None, Some(dir.path().to_owned())),
        ];
        let tray = Tray::default();
        let ledgers = orders
            .each_ref()
            .map(|order| SharedLedger::new(order, Box::new(tray.clone()), Arc::new(AtomicBool::new(true))));
        let mut legs: Vec<Leg> =
            (0..2).map(|end| Leg::t38(&orders[end], &target, &ledgers[end]).expect("good settings")).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        // 10 minutes of the call's clock.
        for tick in 0..30_000 {
            for end in 0..2 {
                let mut out = Vec::new();
                ledgers[end].lock().tick(duration(tick));
                legs[end].tick(&ledgers[end], &mut out);
                for datagram in out {
                    if random.f32() >= loss {
                        legs[1 - end].hear(&datagram, &ledgers[1 - end]);
                    }
                }
            }
            if legs.iter().all(|leg| leg.completion().is_some()) {
                break;
            }
        }
        let outcome = ledgers[0].lock().outcome.clone();
        let images = tray.0.lock().expect("no panic");
        let decode =
            |image: &Vec<u8>| TiffReader::open(image).and_then(|reader| reader.decode(0)).expect("a good page");
        (outcome, images.iter().map(decode).collect(), legs[1].losses())
    }

    fn target(version: u8, redundancy: usize) -> T38Target {
        T38Target { remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), version, max_datagram: 400, redundancy }
    }

    #[test]
    fn redundancy_and_error_correction_bring_pages_through_a_network_that_loses_one_in_twenty() {
        for seed in 0..6 {
            for loss in [0.02, 0.05] {
                let (outcome, images, (_, recovered)) = call(target(0, 3), loss, seed);
                assert_eq!(outcome.last_page_confirmed, 2, "seed {seed}, loss {loss}: {outcome:?}");
                assert!(images == pages(), "seed {seed}, loss {loss}: the pages differ");
                assert!(recovered > 0);
            }
        }
    }

    #[test]
    fn what_was_confirmed_has_arrived_even_when_the_network_is_hopeless() {
        for seed in 0..6 {
            let (outcome, images, _) = call(target(0, 0), 0.2, seed);
            let confirmed = outcome.last_page_confirmed as usize;
            assert!(images.len() >= confirmed, "{outcome:?}");
            assert!(images[..confirmed] == pages()[..confirmed], "seed {seed}: the pages differ");
        }
    }

    #[test]
    fn every_version_of_t38_works_with_and_without_redundancy() {
        for version in 0..=3 {
            for redundancy in [0, 3] {
                let (outcome, images, losses) = call(target(version, redundancy), 0.0, 0);
                assert_eq!((outcome.last_page_confirmed, losses), (2, (0, 0)), "version {version}: {outcome:?}");
                assert!(images == pages());
            }
        }
    }

    #[test]
    fn a_fax_machines_answer_is_told_from_other_packets() {
        for (ifp, answer) in [
            (&[0x04][..], true),
            (&[0x06], true),
            (&[0x00], false),
            (&[0x02], false),
            (&[0xc0, 1], false),
            (&[], false),
        ] {
            assert_eq!(is_answer(ifp), answer, "{ifp:02x?}");
        }
    }
}
