//! Runs the sandbox's pretend fax machine: `far_end BIND TRAY`, as in `far_end 127.0.0.1:5062 /tmp/tray`.

use std::time::{Duration, UNIX_EPOCH};

use foip::call::Pace;
use foip::far_end::{FarEnd, FarEndSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(bind), Some(tray)) = (arguments.next(), arguments.next()) else {
        return Err("usage: far_end BIND TRAY".into());
    };
    let far_end = FarEnd::start(FarEndSettings {
        bind: bind.parse()?,
        tray: tray.into(),
        ledger: None,
        // With a caller that cannot do lock-step it runs in real time.
        pace: Pace::LockStep(f32::INFINITY),
        ring_delay: Duration::from_millis(500),
        station_id: "+99900000000".to_owned(),
        now: || UNIX_EPOCH,
        seed: u64::from(std::process::id()),
    })
    .await?;
    println!("listens on {}", far_end.local_addr());
    std::future::pending::<()>().await;
    Ok(())
}
