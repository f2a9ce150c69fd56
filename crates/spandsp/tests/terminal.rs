//! Pairs of terminals in one process, without sockets.

use std::path::Path;
use std::sync::{Arc, Mutex};

use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Ink, Resolution};
use spandsp::{
    AudioFax, Codings, Direction, Frame, Ifp, Line, Outgoing, PageOutcome, PageReport, Settings, SettingsError,
    T38Options, T38Terminal, Verdict, Watcher,
};

const OPTIONS: T38Options = T38Options { version: 0, max_datagram: 400 };

/// What a terminal showed, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Frame(Direction, u8),
    Page(u32, PageOutcome, u32),
}

#[derive(Clone)]
struct Notes {
    notes: Arc<Mutex<Vec<Note>>>,
    refuses_page: Option<u32>,
}

impl Notes {
    fn new(refuses_page: Option<u32>) -> Self {
        Self { notes: Arc::default(), refuses_page }
    }

    fn all(&self) -> Vec<Note> {
        self.notes.lock().expect("no panic").clone()
    }

    fn pages(&self) -> Vec<(u32, PageOutcome)> {
        let page = |note| match note {
            Note::Page(page, outcome, _) => Some((page, outcome)),
            Note::Frame(..) => None,
        };
        self.all().into_iter().filter_map(page).collect()
    }
}

impl Watcher for Notes {
    fn frame(&mut self, frame: Frame, _line: &Line) -> Verdict {
        self.notes.lock().expect("no panic").push(Note::Frame(frame.direction, frame.fcf));
        Verdict::Continue
    }

    fn page(&mut self, report: PageReport, line: &Line) -> Verdict {
        assert_eq!(line.statistics(), report.statistics);
        let rate_bps = report.statistics.rate_bps;
        self.notes.lock().expect("no panic").push(Note::Page(report.page, report.outcome, rate_bps));
        if self.refuses_page == Some(report.page) { Verdict::Abort } else { Verdict::Continue }
    }
}

fn page(number: u32) -> Bitmap {
    let mut page = Bitmap::white(1728, 300).expect("a small page");
    (0..300).for_each(|y| page.fill_rect(y * number % 900, y, 5 + y % 300, 1, Ink::Black));
    page
}

fn document(dir: &Path, pages: &[Bitmap]) -> Outgoing {
    let file = dir.join("document.tif");
    let written: Vec<_> = pages.iter().map(|page| TiffPage::new(page, Resolution::FINE, Profile::F)).collect();
    std::fs::write(&file, write_document(&written).expect("a document")).expect("written");
    Outgoing { file, first_page: 1, last_page: pages.len() as u32, codings: Codings::default() }
}

fn settings(calling: bool, send: Option<Outgoing>, receive: Option<&Path>) -> Settings {
    Settings {
        calling,
        station_id: if calling { "+41 44 111" } else { "+41 44 222" }.into(),
        subaddress: calling.then(|| "4711".into()),
        send,
        receive: receive.map(|dir| dir.join("received.tif")),
        ecm: true,
        max_rate_bps: 14_400,
    }
}

/// Ten minutes of signal at most.
fn run(calling: &mut T38Terminal, called: &mut T38Terminal) {
    let mut seqs = [0u16; 2];
    let mut out: Vec<Ifp> = Vec::new();
    for _ in 0..30_000 {
        calling.tick(160, &mut out);
        for packet in out.drain(..) {
            called.rx_ifp(seqs[0], &packet.octets);
            seqs[0] = seqs[0].wrapping_add(1);
        }
        called.tick(160, &mut out);
        for packet in out.drain(..) {
            calling.rx_ifp(seqs[1], &packet.octets);
            seqs[1] = seqs[1].wrapping_add(1);
        }
        if calling.t30().completion().is_some() && (called.t30().completion().is_some() || called.t30().aborted()) {
            return;
        }
    }
    panic!("the call does not end");
}

struct Ends {
    calling: T38Terminal,
    near: Notes,
    called: T38Terminal,
    far: Notes,
    dir: tempfile::TempDir,
}

fn t38_call(refuses_page: Option<u32>) -> Ends {
    t38_call_in(Codings::default(), refuses_page)
}

fn t38_call_in(codings: Codings, refuses_page: Option<u32>) -> Ends {
    let dir = tempfile::tempdir().expect("a folder");
    let (near, far) = (Notes::new(None), Notes::new(refuses_page));
    let send = Outgoing { codings, ..document(dir.path(), &[page(1), page(2), page(3)]) };
    let terminal = |settings: &Settings, notes: &Notes| {
        T38Terminal::new(settings, OPTIONS, Box::new(notes.clone())).expect("good settings")
    };
    let mut calling = terminal(&settings(true, Some(send), None), &near);
    let mut called = terminal(&settings(false, None, Some(dir.path())), &far);
    run(&mut calling, &mut called);
    Ends { calling, near, called, far, dir }
}

#[test]
fn pages_go_in_the_shortest_coding_that_is_allowed_and_arrive_the_same() {
    for (codings, compression) in
        [(Codings::default(), 8), (Codings { mmr: false, mr: true }, 4), (Codings { mmr: false, mr: false }, 2)]
    {
        let Ends { calling, dir, .. } = t38_call_in(codings, None);
        assert_eq!(calling.t30().stats().compression, compression, "{codings:?}");
        let received = std::fs::read(dir.path().join("received.tif")).expect("a file");
        let received = TiffReader::open(&received).expect("a TIFF");
        for number in 1..=3 {
            assert_eq!(received.decode(number as usize - 1).expect("a page"), page(number), "{codings:?}");
        }
    }
}

#[test]
fn no_confirmation_leaves_before_the_watcher_has_seen_the_page_complete_on_disk() {
    let Ends { calling, near, called, far, dir } = t38_call(None);
    assert_eq!(calling.t30().completion().map(|end| end.code), Some(0));
    assert_eq!((calling.t30().remote_id(), called.t30().remote_id()), ("+41 44 222".into(), "+41 44 111".into()));
    assert_eq!(near.pages(), [1, 2, 3].map(|page| (page, PageOutcome::Confirmed)));
    let of_pages = |note: &Note| matches!(note, Note::Page(..) | Note::Frame(Direction::Out, Frame::MCF));
    let notes: Vec<_> = far.all().into_iter().filter(of_pages).collect();
    let expected = [1, 2, 3]
        .map(|page| [Note::Page(page, PageOutcome::Received, 14_400), Note::Frame(Direction::Out, Frame::MCF)]);
    assert_eq!(notes, expected.concat());
    let received = std::fs::read(dir.path().join("received.tif")).expect("received");
    let reader = TiffReader::open(&received).expect("a TIFF");
    for number in 1..=3 {
        assert!(reader.decode(number as usize - 1).expect("a good page") == page(number), "page {number}");
    }
}

#[test]
fn a_refused_page_is_not_confirmed_and_nothing_leaves_any_more() {
    let Ends { calling, near, mut called, far, .. } = t38_call(Some(2));
    assert_eq!(near.pages(), [(1, PageOutcome::Confirmed)]);
    assert_eq!(far.pages(), [1, 2].map(|page| (page, PageOutcome::Received)));
    assert_eq!(far.all().last(), Some(&Note::Page(2, PageOutcome::Received, 14_400)), "no frame after the abort");
    assert!(called.t30().aborted());
    called.t30_control().terminate();
    assert_ne!(called.t30().completion().map(|end| end.code), Some(0));
    assert_ne!(calling.t30().completion().map(|end| end.code), Some(0));
}

#[test]
fn audio_carries_the_same_call() {
    let dir = tempfile::tempdir().expect("a folder");
    let (near, far) = (Notes::new(None), Notes::new(None));
    let send = document(dir.path(), &[page(7)]);
    let mut calling = AudioFax::new(&settings(true, Some(send), None), Box::new(near.clone())).expect("good settings");
    let mut called =
        AudioFax::new(&settings(false, None, Some(dir.path())), Box::new(far.clone())).expect("good settings");
    let (mut there, mut back) = ([0; 160], [0; 160]);
    for _ in 0..30_000 {
        calling.audio_tx(&mut there);
        called.audio_tx(&mut back);
        called.audio_rx(&mut there);
        calling.audio_rx(&mut back);
        if calling.t30().completion().is_some() && called.t30().completion().is_some() {
            break;
        }
    }
    assert_eq!(calling.t30().completion().map(|end| end.text), Some("OK".into()));
    assert_eq!((near.pages(), far.pages()), (vec![(1, PageOutcome::Confirmed)], vec![(1, PageOutcome::Received)]));
}

#[test]
fn settings_that_do_not_fit_into_t30_are_refused() {
    let good = settings(true, None, None);
    let pages =
        |first_page, last_page| Some(Outgoing { file: "x".into(), first_page, last_page, codings: Codings::default() });
    for (bad, words) in [
        (Settings { station_id: "012345678901234567890".into(), ..good.clone() }, "longer than 20"),
        (Settings { station_id: "Zürich".into(), ..good.clone() }, "not ASCII"),
        (Settings { subaddress: Some("1\0".into()), ..good.clone() }, "NUL"),
        (Settings { receive: Some("x".repeat(300).into()), ..good.clone() }, "at most 255"),
        (Settings { send: pages(0, 1), ..good.clone() }, "count from 1"),
        (Settings { send: pages(3, 2), ..good.clone() }, "no range"),
    ] {
        let refused: SettingsError = T38Terminal::new(&bad, OPTIONS, Box::new(Notes::new(None))).expect_err(words);
        assert!(refused.to_string().contains(words), "{refused}");
    }
}
