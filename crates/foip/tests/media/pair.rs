//! Two media threads that call each other over loopback UDP, in lock-step, as a test describes them.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Ink, Resolution};
use foip::call::{AudioTarget, CallEvent, CallObserver, CallReport, Keeping, Pace, ReceivedPage, Refusal, Transport};
use foip::media::{self, Faults, MediaCommand, MediaEvent, MediaOrder, MediaThread, Role, SendDocument, T38Target};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

/// A call in lock-step takes well under a second; this is for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a test says about the observer of one end.
pub(crate) type Answer = Box<dyn FnMut(&CallEvent) -> Result<(), Refusal> + Send>;
/// What a test says about a page that the called end has received.
pub(crate) type Keep = Box<dyn FnMut(&ReceivedPage) -> Keeping + Send>;

/// One call to make.
pub(crate) struct Call {
    pub(crate) transport: Transport,
    /// Begins as audio and is switched by a re-INVITE, with both clocks held.
    pub(crate) switched: bool,
    pub(crate) ecm: bool,
    pub(crate) called_max_rate_bps: u32,
    pub(crate) pages: Vec<Bitmap>,
    pub(crate) resolution: Resolution,
    pub(crate) first_page: u32,
    pub(crate) faults: Faults,
    pub(crate) calling_answers: Answer,
    pub(crate) called_answers: Answer,
    pub(crate) called_keeps: Keep,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            transport: Transport::T38,
            switched: false,
            ecm: true,
            called_max_rate_bps: 14_400,
            pages: vec![page(1, 400)],
            resolution: Resolution::FINE,
            first_page: 1,
            faults: Faults::default(),
            calling_answers: Box::new(|_| Ok(())),
            called_answers: Box::new(|_| Ok(())),
            called_keeps: keeps(),
        }
    }
}

/// What one end saw.
pub(crate) struct Seen {
    pub(crate) outcome: CallReport,
    pub(crate) events: Vec<CallEvent>,
    pub(crate) media_events: Vec<MediaEvent>,
    /// Pages that the observer was given to keep, whether they were confirmed or not.
    pub(crate) received: Vec<ReceivedPage>,
}

impl Seen {
    /// Numbers of the pages confirmed, in order.
    pub(crate) fn pages(&self) -> Vec<u32> {
        self.events
            .iter()
            .filter_map(|event| match event {
                CallEvent::Page { page, .. } => Some(*page),
                _ => None,
            })
            .collect()
    }

    /// The pages received.
    pub(crate) fn images(&self) -> Vec<(Bitmap, Resolution)> {
        let image = |page: &ReceivedPage| {
            let reader = TiffReader::open(&page.image).expect("a TIFF");
            assert_eq!(reader.page_count(), 1, "a page is a TIFF of its own");
            let header = reader.page(0).expect("one page");
            assert_eq!((page.width_px, page.height_px), (header.width, header.height));
            (reader.decode(0).expect("a good page"), header.resolution)
        };
        self.received.iter().map(image).collect()
    }
}

/// An observer that keeps every page at once.
pub(crate) fn keeps() -> Keep {
    Box::new(|_| Keeping::Done(Ok(())))
}

/// A page of lines, dots and a pattern that differs for each number.
pub(crate) fn page(number: u32, rows: u32) -> Bitmap {
    let mut page = Bitmap::white(1728, rows).expect("a small page");
    for y in 0..rows {
        if y % 37 < 5 {
            page.fill_rect(100 + number * 31 % 500, y, 200 + y % 900, 1, Ink::Black);
        }
        for dot in 0..4 {
            page.set((y * 131 + dot * 409 + number * 97) % 1728, y, Ink::Black);
        }
    }
    page
}

impl Call {
    /// Makes the call; returns what the calling and the called end saw.
    pub(crate) fn run(self) -> (Seen, Seen) {
        let dir = tempfile::tempdir().expect("a folder");
        let document = write_pages(dir.path(), &self.pages, self.resolution);
        let sockets = [loopback(), loopback()];
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().expect("bound"));
        let [calling_socket, called_socket] = sockets;
        let send = SendDocument {
            path: document,
            page_count: self.pages.len() as u32,
            first_page: self.first_page,
            codings: Default::default(),
        };
        let calling = MediaOrder { ecm: self.ecm, ..order(Role::Calling, Some(send), dir.path()) };
        let called = MediaOrder {
            ecm: self.ecm,
            max_rate_bps: self.called_max_rate_bps,
            faults: self.faults,
            keeping_wait: media::keeping_wait(Pace::LockStep(f32::INFINITY)),
            ..order(Role::Called, None, dir.path())
        };
        let calling = End::spawn(calling, calling_socket, self.calling_answers);
        let called = End::spawn_keeping(called, called_socket, self.called_answers, self.called_keeps);
        let start = |remote| match self.transport {
            Transport::T38 if !self.switched => t38(remote),
            _ => MediaCommand::Audio(AudioTarget { remote, a_law: false }),
        };
        if self.switched {
            called.command(MediaCommand::HoldClock);
        }
        calling.command(start(addresses[1]));
        called.command(start(addresses[0]));
        if self.switched {
            // The re-INVITE comes from the called side, which holds its clock; the caller is blocked by lock-step.
            calling.command(t38(addresses[1]));
            called.command(t38(addresses[0]));
            called.command(MediaCommand::ReleaseClock);
        }
        hang_up_when_told([&calling, &called]);
        (calling.seen(), called.seen())
    }
}

/// An end in lock-step that sends `document` (calling) or receives into `dir` (called).
pub(crate) fn order(role: Role, document: Option<SendDocument>, dir: &Path) -> MediaOrder {
    MediaOrder {
        role,
        station_id: if role == Role::Calling { "+41 44 111".into() } else { "+41 44 222".into() },
        send: document,
        receive_dir: (role == Role::Called).then(|| dir.to_owned()),
        subaddress: None,
        ecm: true,
        max_rate_bps: 14_400,
        pace: Pace::LockStep(f32::INFINITY),
        keeping_wait: media::keeping_wait(Pace::LockStep(f32::INFINITY)),
        faults: Faults::default(),
    }
}

pub(crate) fn t38(remote: SocketAddr) -> MediaCommand {
    MediaCommand::T38(T38Target { remote, version: 0, max_datagram: 400, redundancy: 3 })
}

pub(crate) fn loopback() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a loopback socket")
}

pub(crate) fn write_pages(dir: &Path, pages: &[Bitmap], resolution: Resolution) -> PathBuf {
    let pages: Vec<_> = pages.iter().map(|page| TiffPage::new(page, resolution, Profile::F)).collect();
    let path = dir.join("document.tif");
    std::fs::write(&path, write_document(&pages).expect("a document")).expect("written");
    path
}

/// A media thread with its wires.
pub(crate) struct End {
    thread: MediaThread,
    commands: Sender<MediaCommand>,
    media_events: Mutex<(UnboundedReceiver<MediaEvent>, Vec<MediaEvent>)>,
    notes: Notes,
}

#[derive(Clone, Default)]
struct Notes {
    events: Arc<Mutex<Vec<CallEvent>>>,
    received: Arc<Mutex<Vec<ReceivedPage>>>,
}

struct Observer(Notes, Answer, Keep);

impl CallObserver for Observer {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        let answer = (self.1)(&event);
        self.0.events.lock().expect("no panic").push(event);
        answer
    }

    fn page_received(&mut self, page: ReceivedPage) -> Keeping {
        let keeping = (self.2)(&page);
        self.0.received.lock().expect("no panic").push(page);
        keeping
    }
}

impl End {
    pub(crate) fn spawn(order: MediaOrder, socket: UdpSocket, answer: Answer) -> Self {
        Self::spawn_keeping(order, socket, answer, keeps())
    }

    pub(crate) fn spawn_keeping(order: MediaOrder, socket: UdpSocket, answer: Answer, keep: Keep) -> Self {
        let (commands, receiver) = mpsc::channel();
        let (sender, media_events) = tokio::sync::mpsc::unbounded_channel();
        let notes = Notes::default();
        let observer = Box::new(Observer(notes.clone(), answer, keep));
        let thread = media::spawn(order, socket, observer, receiver, sender);
        Self { thread, commands, media_events: Mutex::new((media_events, Vec::new())), notes }
    }

    /// The thread may have ended by itself.
    pub(crate) fn command(&self, command: MediaCommand) {
        let _ = self.commands.send(command);
    }

    pub(crate) fn may_switch(&self) -> bool {
        self.thread.may_switch()
    }

    /// Whether the thread has ended, and the last thing it said so far.
    fn poll(&self) -> (bool, Option<MediaEvent>) {
        let (receiver, seen) = &mut *self.media_events.lock().expect("no panic");
        loop {
            match receiver.try_recv() {
                Ok(event) => seen.push(event),
                Err(error) => {
                    let ended = error == tokio::sync::mpsc::error::TryRecvError::Disconnected;
                    return (ended, seen.last().cloned());
                }
            }
        }
    }

    pub(crate) fn seen(self) -> Seen {
        let outcome = self.thread.join();
        let (mut receiver, mut media_events) = self.media_events.into_inner().expect("no panic");
        while let Ok(event) = receiver.try_recv() {
            media_events.push(event);
        }
        let events = std::mem::take(&mut *self.notes.events.lock().expect("no panic"));
        let received = std::mem::take(&mut *self.notes.received.lock().expect("no panic"));
        Seen { outcome, events, media_events, received }
    }
}

/// Plays SIP: the first end that is over, or says that it hangs up, sends BYE.
///
/// BYE reaches the other end a moment after the last packets, as it does over a network: an end whose T.30 is over has
/// already let the other one finish.
pub(crate) fn hang_up_when_told(ends: [&End; 2]) {
    let started = Instant::now();
    let mut bye_sent = false;
    loop {
        let states = ends.map(End::poll);
        if states.iter().all(|(ended, _)| *ended) {
            return;
        }
        for (index, (_, last)) in states.iter().enumerate() {
            if last.is_some() && !bye_sent {
                bye_sent = true;
                ends[1 - index].command(MediaCommand::RemoteHungUp);
                ends[index].command(MediaCommand::Stop);
            }
        }
        assert!(started.elapsed() < DEADLINE, "the call does not end: {states:?}");
        std::thread::yield_now();
    }
}

/// Keeps a folder as long as a test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
