//! How many calls one process can carry at once, in real time over loopback.
//!
//! Usage: `bench_lines [t38|g711|both] [LEVEL…]`, levels in calls at once (25 50 100 200 400).
//!
//! This process places the calls, a copy of it is the far end; each call carries one page of its own. Printed for each
//! level: calls that went well, processor time of this process for each channel, and how punctual the 20 ms of signal
//! were against their schedule. The first level with a failed call, or with signal more than 100 ms late, ends a transport.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foip::call::{CallReport, Lateness, Pace};
use foip::far_end::{Caller, CallerSettings, FarEnd, FarEndSettings, SendFax, SendOutcome, test_document};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LEVELS: [usize; 5] = [25, 50, 100, 200, 400];
/// Calls begin one after the other, so that SIP does not answer for what the media are asked.
const BETWEEN_CALLS: Duration = Duration::from_millis(20);
/// Asks this program to be the far end.
const FAR_END: &str = "--far-end";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    if arguments.first().is_some_and(|first| first == FAR_END) {
        return far_end(folder.path()).await;
    }
    let (transports, levels) = match arguments.split_first() {
        Some((transport, levels)) if transport == "t38" => (vec![true], levels),
        Some((transport, levels)) if transport == "g711" => (vec![false], levels),
        Some((transport, levels)) if transport == "both" => (vec![true, false], levels),
        Some(_) => (vec![true, false], &arguments[..]),
        None => (vec![true, false], &[][..]),
    };
    let levels = levels.iter().map(|level| level.parse()).collect::<Result<Vec<usize>, _>>()?;
    let levels = if levels.is_empty() { LEVELS.to_vec() } else { levels };
    println!("transport  calls  good  cpu/channel     ticks      >20 ms  >100 ms  worst");
    for t38 in transports {
        let mut carried = None;
        for &level in &levels {
            let measured = measure(folder.path(), t38, level).await?;
            println!("{}", measured.row(t38));
            if !measured.is_good() {
                break;
            }
            carried = Some(level);
        }
        let name = if t38 { "T.38" } else { "G.711" };
        match carried {
            Some(level) => println!("{name}: {level} calls at once without a failure or 100 ms of lateness"),
            None => println!("{name}: not even {} calls at once", levels[0]),
        }
    }
    Ok(())
}

struct Measured {
    calls: usize,
    good: usize,
    cpu: Duration,
    wall: Duration,
    lateness: Lateness,
}

impl Measured {
    fn is_good(&self) -> bool {
        self.good == self.calls && self.lateness.over_100_ms == 0
    }

    fn row(&self, t38: bool) -> String {
        let share = self.cpu.as_secs_f64() / self.wall.as_secs_f64() / self.calls as f64 * 100.0;
        let Lateness { ticks, over_20_ms, over_100_ms, max } = self.lateness;
        format!(
            "{:<9}  {:>5}  {:>4}  {share:>9.3} %  {ticks:>7}  {over_20_ms:>10}  {over_100_ms:>7}  {:>3} ms",
            if t38 { "T.38" } else { "G.711" },
            self.calls,
            self.good,
            max.as_millis(),
        )
    }
}

async fn measure(folder: &Path, t38: bool, calls: usize) -> Result<Measured, Failure> {
    let other = OtherProcess::start()?;
    let settings =
        CallerSettings { bind: loopback(), ledger: None, now: || SystemTime::UNIX_EPOCH, seed: calls as u64 };
    let caller = Arc::new(Caller::start(settings).await?);
    let (began, cpu_before) = (Instant::now(), cpu()?);
    let mut running = tokio::task::JoinSet::new();
    for call in 0..calls {
        let document = folder.join(format!("{call}.tif"));
        std::fs::write(&document, test_document(&format!("{calls}-{call}"), 1)?)?;
        let (caller, fax) = (caller.clone(), fax(other.address, document, t38, call));
        running.spawn(async move { caller.send(fax).await });
        tokio::time::sleep(BETWEEN_CALLS).await;
    }
    let mut measured =
        Measured { calls, good: 0, cpu: Duration::ZERO, wall: Duration::ZERO, lateness: Lateness::default() };
    while let Some(report) = running.join_next().await {
        let report = report??;
        if SendOutcome::of(&report, 1) == SendOutcome::Sent {
            measured.good += 1;
        } else {
            complain(&report);
        }
        let (all, one) = (&mut measured.lateness, report.lateness);
        all.ticks += one.ticks;
        all.over_20_ms += one.over_20_ms;
        all.over_100_ms += one.over_100_ms;
        all.max = all.max.max(one.max);
    }
    measured.wall = began.elapsed();
    measured.cpu = cpu()?.saturating_sub(cpu_before);
    caller.stop().await;
    Ok(measured)
}

fn complain(report: &CallReport) {
    let CallReport { sip, t30, transport, last_page_confirmed, duration, .. } = report;
    eprintln!("failed: {sip:?} {t30:?} {transport:?}, page {last_page_confirmed}, after {duration:?}");
}

fn fax(gateway: SocketAddr, document: std::path::PathBuf, t38: bool, call: usize) -> SendFax {
    SendFax {
        gateway,
        number: format!("+4144{call:07}"),
        caller: "+41440000001".to_owned(),
        station_id: "+41440000001".to_owned(),
        subaddress: None,
        document,
        page_count: 1,
        fax_id: None,
        hang_up_in_page: None,
        t38,
        ecm: true,
        pace: Pace::RealTime,
    }
}

/// The far end, which ends with this value.
struct OtherProcess {
    child: Child,
    address: SocketAddr,
}

impl OtherProcess {
    fn start() -> Result<Self, Failure> {
        let mut child =
            Command::new(std::env::current_exe()?).arg(FAR_END).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // Closes its standard input, which it waits for.
        let _ = self.child.wait();
    }
}

/// Answers until its parent has gone.
async fn far_end(folder: &Path) -> Result<(), Failure> {
    let far_end = FarEnd::start(FarEndSettings {
        bind: loopback(),
        tray: folder.join("tray"),
        ledger: None,
        pace: Pace::RealTime,
        ring_delay: Duration::from_millis(50),
        station_id: "+99900000000".to_owned(),
        now: || SystemTime::UNIX_EPOCH,
        seed: 1,
    })
    .await?;
    println!("{}", far_end.local_addr());
    std::io::stdout().flush()?;
    let parent_has_gone = || std::io::stdin().lock().read_line(&mut String::new());
    tokio::task::spawn_blocking(parent_has_gone).await??;
    far_end.stop().await;
    Ok(())
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Processor time of this process so far: user and system, in hundredths of a second (proc(5)).
fn cpu() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
