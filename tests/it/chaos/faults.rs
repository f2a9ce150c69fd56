//! What is done to a running site, one fault at a time, and noted with its begin and end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use sqlx::{ConnectOptions, Connection};

use super::ledger::{FaultKind, now_ms};
use super::site::Site;
use super::smart_host::Condition;
use crate::harness::wait_for;

/// One run of the storm: every kind, those more often that hit most.
const STORM: &[(FaultKind, usize)] = &[
    (FaultKind::GatewayKill, 5),
    (FaultKind::GatewayStop, 2),
    (FaultKind::ConverterKill, 2),
    (FaultKind::FarEndKill, 2),
    (FaultKind::FarEndStop, 1),
    (FaultKind::SmartHostKill, 1),
    (FaultKind::SmartHostStop, 1),
    (FaultKind::DiskFull, 2),
    (FaultKind::StoreLock, 2),
];

/// Which faults, in which order. Those of the smart host come in the first half: a report that was not taken is tried
/// again after minutes, as between mail servers, and the run wants to see it arrive.
pub(crate) fn storm(random: &mut Rng) -> Vec<FaultKind> {
    let mut all: Vec<FaultKind> = STORM.iter().flat_map(|(kind, times)| vec![*kind; *times]).collect();
    random.shuffle(&mut all);
    let smart = |kind: &FaultKind| matches!(kind, FaultKind::SmartHostKill | FaultKind::SmartHostStop);
    let late: Vec<usize> = (all.len() / 2..all.len()).filter(|at| smart(&all[*at])).collect();
    for (early, late) in (0..all.len() / 2).filter(|at| !smart(&all[*at])).collect::<Vec<_>>().into_iter().zip(late) {
        all.swap(early, late);
    }
    all
}

/// Waits, as everything here waits: with an end.
pub(crate) fn pass(time: Duration) {
    let until = Instant::now() + time;
    wait_for("time to pass", || (Instant::now() >= until).then_some(()));
}

fn seconds(random: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range.start * 1000..range.end * 1000))
}

/// Does it, undoes it, and notes both times.
pub(crate) fn strike(site: &Site, kind: FaultKind, random: &mut Rng) {
    let at = now_ms();
    match kind {
        FaultKind::GatewayKill => {
            site.gateway.kill();
            site.note_fault(kind, at, "kill -9");
            pass(seconds(random, 0..2));
            site.start_gateway(&[]);
            site.wait_until_it_listens();
        }
        FaultKind::FarEndKill => {
            site.far_end.kill();
            site.note_fault(kind, at, "kill -9");
            pass(seconds(random, 1..4));
            site.start_far_end();
        }
        FaultKind::ConverterKill => match converter(site) {
            Some(pid) => {
                let done = rustix::process::kill_process(pid, Signal::KILL);
                site.note_fault(kind, at, &format!("kill -9 of converter {pid:?}: {done:?}"));
            }
            None => site.note_fault(kind, at, "no converter ran"),
        },
        FaultKind::GatewayStop => {
            site.gateway.signal(Signal::STOP);
            pass(seconds(random, 3..15));
            site.gateway.signal(Signal::CONT);
            site.note_fault(kind, at, "SIGSTOP, SIGCONT");
        }
        FaultKind::FarEndStop => {
            site.far_end.signal(Signal::STOP);
            pass(seconds(random, 2..8));
            site.far_end.signal(Signal::CONT);
            site.note_fault(kind, at, "SIGSTOP, SIGCONT");
        }
        FaultKind::SmartHostKill | FaultKind::SmartHostStop => {
            site.smart_host.be(if kind == FaultKind::SmartHostKill { Condition::Dead } else { Condition::Deaf });
            pass(seconds(random, 3..8));
            site.smart_host.be(Condition::Well);
            site.note_fault(kind, at, "no answers");
        }
        FaultKind::DiskFull => {
            let filled = fill(&site.plan.data);
            pass(seconds(random, 4..9));
            fs::remove_file(site.plan.data.join(FILLING)).unwrap();
            site.note_fault(kind, at, &format!("{filled} bytes written until no space was left"));
        }
        FaultKind::StoreLock => {
            let locked = StoreLocked::from(site, kind);
            pass(seconds(random, 3..20));
            locked.release(site);
        }
        cluster => unreachable!("{cluster:?} wants a cluster"),
    }
}

/// A converter that works now, of this gateway and of nobody else's.
fn converter(site: &Site) -> Option<rustix::process::Pid> {
    let gateway = site.gateway.pid()?;
    let until = Instant::now() + Duration::from_secs(5);
    wait_for("a converter to work", || {
        let found = children(gateway).into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| word == "converter")
        });
        (found.is_some() || Instant::now() >= until).then_some(found)
    })
    .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?))
}

fn children(of: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

pub(crate) const FILLING: &str = "filling";

/// Writes until nothing more fits. Answers how much that was.
pub(crate) fn fill(folder: &Path) -> u64 {
    use std::io::Write;
    let mut file = fs::File::create(folder.join(FILLING)).unwrap();
    let mut size = 1 << 20;
    let mut written = 0;
    while size > 0 {
        match file.write(&vec![0x55; size]) {
            Ok(count) if count > 0 => written += count as u64,
            Ok(_) | Err(_) => size /= 2,
        }
    }
    written
}

/// SQLite's write lock, held from outside, as a backup tool that knows no manners would.
pub(crate) struct StoreLocked {
    runtime: tokio::runtime::Runtime,
    connection: sqlx::SqliteConnection,
    kind: FaultKind,
    at_ms: u64,
}

impl StoreLocked {
    pub(crate) fn from(site: &Site, kind: FaultKind) -> Self {
        let at_ms = now_ms();
        let path = site.plan.data.join("faxwell.db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let options =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(30));
            let mut connection = options.connect().await.unwrap();
            sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection, kind, at_ms }
    }

    pub(crate) fn release(self, site: &Site) {
        let Self { runtime, mut connection, kind, at_ms } = self;
        runtime.block_on(async {
            sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
        site.note_fault(kind, at_ms, "locked from outside");
    }
}

/// What this process leaves on the machine while it runs is named so.
pub(crate) fn own_name() -> String {
    format!("{NAME}{}", std::process::id())
}

/// With the process's id behind it.
pub(crate) const NAME: &str = "faxwell-chaos-";

/// A disk of its own for the gateway, small enough to be filled. It takes root to make one.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(crate) fn mount(folder: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it takes root to mount a small disk".to_owned());
        }
        fs::create_dir_all(folder).unwrap();
        // The gateway keeps 256 MiB free; what is left is enough for this run.
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=400m,mode=700", &own_name()])
            .arg(folder)
            .output()
            .map_err(|error| error.to_string())?;
        if done.status.success() {
            Ok(Self { folder: folder.to_owned() })
        } else {
            Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
