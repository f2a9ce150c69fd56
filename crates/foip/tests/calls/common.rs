//! What the tests of calls share: documents, orders, an observer that remembers, and an agent on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};
use fax_image::{Bitmap, Ink, Resolution};
use foip::agent::{Agent, AgentSettings};
use foip::call::{CallEvent, CallObserver, CallOrder, Pace, Refusal, TrunkSettings};
use foip::far_end::{FarEnd, FarEndSettings};

pub(super) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

pub(super) fn agent_settings() -> AgentSettings {
    AgentSettings {
        bind: loopback(),
        advertised: None,
        media_ports: None,
        user_agent: "faxwell-test".to_owned(),
        incoming_max: 100,
        seed: 1,
    }
}

pub(super) async fn agent() -> Agent {
    Agent::start(agent_settings()).await.expect("a free port")
}

pub(super) async fn far_end(tray: &Path, ledger: Option<PathBuf>) -> FarEnd {
    let settings = FarEndSettings {
        bind: loopback(),
        tray: tray.to_owned(),
        ledger,
        pace: Pace::LockStep(f32::INFINITY),
        ring_delay: Duration::from_millis(50),
        station_id: "+99900000000".to_owned(),
        now: || SystemTime::UNIX_EPOCH,
        seed: 2,
    };
    FarEnd::start(settings).await.expect("a free port and a writable folder")
}

/// Short pages, each with other marks; dense enough for some seconds of image, so that a call can break in its middle.
pub(super) fn pages(count: u32) -> Vec<Bitmap> {
    let page = |n: u32| {
        let mut page = Bitmap::white(1728, 600).expect("a small page");
        for mark in 0..1400_u32 {
            let (column, row) = (mark % 28, mark / 28);
            let x = 20 + column * 60 + (mark * 7 + row * 13 + n * 29) % 31;
            page.fill_rect(x, 4 + row * 12, 10 + (mark * 11 + n) % 17, 8, Ink::Black);
        }
        page
    };
    (1..=count).map(page).collect()
}

pub(super) fn document(folder: &Path, pages: &[Bitmap]) -> PathBuf {
    let coded: Vec<TiffPage<'_>> = pages.iter().map(|p| TiffPage::new(p, Resolution::FINE, Profile::F)).collect();
    let path = folder.join(format!("document-{}.tif", pages.len()));
    std::fs::write(&path, write_document(&coded).expect("some pages")).expect("a writable folder");
    path
}

/// The pages of a TIFF.
pub(super) fn read(path: &Path) -> Vec<Bitmap> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = TiffReader::open(&file).expect("a TIFF");
    (0..reader.page_count()).map(|page| reader.decode(page).expect("a readable page")).collect()
}

pub(super) fn trunk(server: SocketAddr) -> TrunkSettings {
    TrunkSettings {
        name: "test".to_owned(),
        server: server.to_string(),
        user: None,
        password: None,
        number: "+99900000001".to_owned(),
        t38: true,
        fallback_g711: true,
        reinvite_after: None,
        ecm: true,
        max_rate_bps: 14_400,
        t38_version: 0,
        max_datagram: None,
        pace: Pace::LockStep(f32::INFINITY),
        invite_timeout: Duration::from_secs(5),
        ring_timeout: Duration::from_secs(30),
    }
}

pub(super) fn order(trunk: TrunkSettings, number: &str, document: &Path, page_count: u32, fax_id: &str) -> CallOrder {
    CallOrder {
        station_id: trunk.number.clone(),
        trunk,
        number: number.to_owned(),
        document: document.to_owned(),
        page_count,
        first_page: 1,
        subaddress: None,
        allow_t38: true,
        fax_id: fax_id.to_owned(),
    }
}

/// Remembers the events of a call.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    pub(super) events: Arc<Mutex<Vec<CallEvent>>>,
}

impl Recorder {
    pub(super) fn seen(&self, wanted: impl Fn(&CallEvent) -> bool) -> bool {
        self.events.lock().expect("no panic in a test").iter().any(wanted)
    }

    /// Waits until an event was seen.
    pub(super) async fn wait(&self, wanted: impl Fn(&CallEvent) -> bool) {
        eventually("an event of the call", || self.seen(&wanted)).await;
    }
}

impl CallObserver for Recorder {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        self.events.lock().expect("no panic in a test").push(event);
        Ok(())
    }
}

/// Waits for a condition, at most 20 s.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
