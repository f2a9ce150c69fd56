//! Two legs and a network between them, tick by tick: no clock but the call's, no socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Ink, Resolution};

use super::*;
use crate::call::{CallEvent, CallObserver, CallReport, Keeping, Pace, ReceivedPage, Refusal};
use crate::media::{Faults, SendDocument};

mod damage;
mod keeping;

/// 10 minutes of the call's clock.
const TICKS_MAX: u64 = 30_000;
const TICKS_PER_S: u64 = 50;

/// How the observer of the called end keeps pages.
#[derive(Clone, Copy)]
enum Keeps {
    AtOnce,
    /// So many seconds of the call's clock after it was asked.
    After(u64),
    /// It says so, after so many seconds.
    FailsAfter(u64),
    /// The one who was to answer is gone after so many seconds.
    ForgetsAfter(u64),
}

/// A datagram on its way.
struct Passing {
    tick: u64,
    /// 0 calls, 1 is called.
    from: usize,
    /// Pages that have been received completely.
    pages: usize,
    /// Whether the calling end is sending an image.
    image: bool,
}

struct Scene {
    transport: Transport,
    ecm: bool,
    target: T38Target,
    keeps: Keeps,
    pages: Vec<Bitmap>,
    /// Whether a datagram arrives.
    arrives: Box<dyn FnMut(&Passing) -> bool>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            transport: Transport::T38,
            ecm: true,
            target: target(0, 3),
            keeps: Keeps::AtOnce,
            pages: pages(),
            arrives: Box::new(|_| true),
        }
    }
}

/// What came of it.
struct Played {
    calling: CallReport,
    called: CallReport,
    /// Of the calling end.
    events: Vec<CallEvent>,
    called_events: Vec<CallEvent>,
    received: Vec<ReceivedPage>,
    losses: (u64, u64),
}

impl Played {
    fn images(&self) -> Vec<Bitmap> {
        let decode =
            |page: &ReceivedPage| TiffReader::open(&page.image).and_then(|it| it.decode(0)).expect("a good page");
        self.received.iter().map(decode).collect()
    }
}

#[derive(Default)]
struct Notes {
    events: Vec<CallEvent>,
    received: Vec<ReceivedPage>,
    asked: Option<(u64, Sender<Result<(), Refusal>>)>,
    tick: u64,
}

#[derive(Clone)]
struct Witness(Arc<Mutex<Notes>>, Keeps);

impl CallObserver for Witness {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        self.0.lock().expect("no panic").events.push(event);
        Ok(())
    }

    fn page_received(&mut self, page: ReceivedPage) -> Keeping {
        let mut notes = self.0.lock().expect("no panic");
        notes.received.push(page);
        if matches!(self.1, Keeps::AtOnce) {
            return Keeping::Done(Ok(()));
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        notes.asked = Some((notes.tick, sender));
        Keeping::Pending(receiver)
    }
}

impl Witness {
    fn tick(&self, tick: u64) {
        let mut notes = self.0.lock().expect("no panic");
        notes.tick = tick;
        let (Keeps::After(seconds) | Keeps::FailsAfter(seconds) | Keeps::ForgetsAfter(seconds)) = self.1 else {
            return;
        };
        if let Some((asked, sender)) = notes.asked.take_if(|(asked, _)| tick >= *asked + seconds * TICKS_PER_S) {
            assert!(asked <= tick);
            // A terminal that gave up has dropped its end.
            let _ = match self.1 {
                Keeps::FailsAfter(_) => sender.send(Err(Refusal("the disk is full".into()))),
                Keeps::ForgetsAfter(_) => return,
                _ => sender.send(Ok(())),
            };
        }
    }
}

impl Scene {
    fn play(mut self) -> Played {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("document.tif");
        let tiff: Vec<_> = self.pages.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
        std::fs::write(&path, write_document(&tiff).expect("a document")).expect("written");
        let send =
            SendDocument { path, page_count: self.pages.len() as u32, first_page: 1, codings: Default::default() };
        let orders =
            [self.order(Role::Calling, Some(send), None), self.order(Role::Called, None, Some(dir.path().to_owned()))];
        let witnesses = [Witness(Arc::default(), Keeps::AtOnce), Witness(Arc::default(), self.keeps)];
        let ledgers: [SharedLedger; 2] = std::array::from_fn(|end| {
            SharedLedger::new(&orders[end], Box::new(witnesses[end].clone()), Arc::new(AtomicBool::new(true)))
        });
        let mut legs: [Leg; 2] = std::array::from_fn(|end| {
            let leg = match self.transport {
                Transport::T38 => Leg::t38(&orders[end], &self.target, &ledgers[end]),
                Transport::G711 => Leg::audio(&orders[end], false, &ledgers[end]),
            };
            leg.expect("good settings")
        });
        for tick in 0..TICKS_MAX {
            for end in 0..2 {
                witnesses[end].tick(tick);
                ledgers[end].lock().tick(duration(tick));
                let mut out = Vec::new();
                legs[end].tick(&ledgers[end], &mut out);
                let pages = witnesses[1].0.lock().expect("no panic").received.len();
                let image = ledgers[0].lock().sending_image();
                for datagram in out {
                    if (self.arrives)(&Passing { tick, from: end, pages, image }) {
                        legs[1 - end].hear(&datagram, &ledgers[1 - end]);
                    }
                }
            }
            // The SIP side sends BYE for an end that was broken off.
            let broken = legs.iter().any(Leg::aborted) || ledgers.iter().any(|ledger| ledger.lock().ending.is_some());
            if broken || legs.iter().all(|leg| leg.completion().is_some()) {
                break;
            }
        }
        legs.iter_mut().for_each(Leg::terminate);
        let [calling, called] = ledgers.each_ref().map(|ledger| ledger.lock().outcome.clone());
        let [Notes { events, .. }, Notes { received, events: called_events, .. }] =
            witnesses.map(|witness| std::mem::take(&mut *witness.0.lock().expect("no panic")));
        Played { calling, called, events, called_events, received, losses: legs[1].losses() }
    }

    fn order(&self, role: Role, send: Option<SendDocument>, receive_dir: Option<std::path::PathBuf>) -> MediaOrder {
        MediaOrder {
            role,
            station_id: "1".into(),
            send,
            receive_dir,
            subaddress: (role == Role::Calling).then(|| "4711".to_owned()),
            ecm: self.ecm,
            max_rate_bps: 14_400,
            pace: Pace::LockStep(f32::INFINITY),
            keeping_wait: Duration::ZERO,
            faults: Faults::default(),
        }
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

fn target(version: u8, redundancy: usize) -> T38Target {
    T38Target { remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), version, max_datagram: 400, redundancy }
}

/// Loses a share of the datagrams in both directions.
fn losing(loss: f32, seed: u64) -> Box<dyn FnMut(&Passing) -> bool> {
    let mut random = fastrand::Rng::with_seed(seed);
    Box::new(move |_| random.f32() >= loss)
}

#[test]
fn redundancy_and_error_correction_bring_pages_through_a_network_that_loses_one_in_twenty() {
    for seed in 0..6 {
        for loss in [0.02, 0.05] {
            let played = Scene { arrives: losing(loss, seed), ..Scene::default() }.play();
            assert_eq!(played.calling.last_page_confirmed, 2, "seed {seed}, loss {loss}: {:?}", played.calling);
            assert!(played.images() == pages(), "seed {seed}, loss {loss}: the pages differ");
            assert!(played.losses.1 > 0);
        }
    }
}

#[test]
fn what_was_confirmed_has_arrived_even_when_the_network_is_hopeless() {
    for seed in 0..6 {
        let played = Scene { target: target(0, 0), arrives: losing(0.2, seed), ..Scene::default() }.play();
        let (confirmed, images) = (played.calling.last_page_confirmed as usize, played.images());
        assert!(images.len() >= confirmed, "{:?}", played.calling);
        assert!(images[..confirmed] == pages()[..confirmed], "seed {seed}: the pages differ");
    }
}

#[test]
fn every_version_of_t38_works_with_and_without_redundancy() {
    for version in 0..=3 {
        for redundancy in [0, 3] {
            let played = Scene { target: target(version, redundancy), ..Scene::default() }.play();
            let arrived = (played.calling.last_page_confirmed, played.losses);
            assert_eq!(arrived, (2, (0, 0)), "version {version}: {:?}", played.calling);
            assert!(played.images() == pages());
        }
    }
}

#[test]
fn a_fax_machines_answer_is_told_from_other_packets() {
    for (ifp, answer) in
        [(&[0x04][..], true), (&[0x06], true), (&[0x00], false), (&[0x02], false), (&[0xc0, 1], false), (&[], false)]
    {
        assert_eq!(is_answer(ifp), answer, "{ifp:02x?}");
    }
}
