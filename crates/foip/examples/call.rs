//! Places one call in real time and prints its events and its report.
//!
//! `call BIND SERVER NUMBER TIFF [g711] [reinvite=SECONDS] [user=NAME:PASSWORD]`, as in
//! `call 127.0.0.1:5090 127.0.0.1:5070 100 document.tif`. Exit code 0 when all pages were confirmed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fax_image::tiff::TiffReader;
use foip::agent::{Agent, AgentSettings};
use foip::call::{CallEvent, CallObserver, CallOrder, Pace, Refusal, TrunkSettings};
use tokio_util::sync::CancellationToken;

struct Print(Instant);

impl CallObserver for Print {
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal> {
        println!("{:8.3} {event:?}", self.0.elapsed().as_secs_f64());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bind, server, number, document, options @ ..] = arguments.as_slice() else {
        eprintln!("usage: call BIND SERVER NUMBER TIFF [g711] [reinvite=SECONDS] [user=NAME:PASSWORD] [ring=SECONDS]");
        return Ok(ExitCode::from(2));
    };
    let option = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let seconds = |name: &str| option(name).and_then(|value| value.parse().ok()).map(Duration::from_secs_f64);
    let (user, password) = option("user").and_then(|user| user.split_once(':')).unzip();
    let settings = AgentSettings {
        bind: bind.parse()?,
        advertised: None,
        media_ports: None,
        user_agent: "faxwell-example".to_owned(),
        incoming_max: 1,
        seed: u64::from(std::process::id()),
    };
    let trunk = TrunkSettings {
        name: "example".to_owned(),
        server: server.clone(),
        user: user.map(str::to_owned),
        password: password.map(str::to_owned),
        number: "+99900000001".to_owned(),
        t38: !options.iter().any(|option| option == "g711"),
        fallback_g711: true,
        reinvite_after: seconds("reinvite"),
        ecm: !options.iter().any(|option| option == "noecm"),
        max_rate_bps: 14_400,
        t38_version: 0,
        max_datagram: None,
        pace: Pace::RealTime,
        invite_timeout: Duration::from_secs(5),
        ring_timeout: seconds("ring").unwrap_or(Duration::from_secs(60)),
    };
    let page_count = u32::try_from(TiffReader::open(&std::fs::read(document)?)?.page_count())?;
    let order = CallOrder {
        station_id: trunk.number.clone(),
        trunk,
        number: number.clone(),
        document: document.into(),
        page_count,
        first_page: 1,
        subaddress: None,
        allow_t38: true,
        fax_id: "example".to_owned(),
    };
    let agent = Agent::start(settings).await?;
    println!("options: {:?}", agent.options(&order.trunk).await);
    let registration = order.trunk.password.is_some().then(|| agent.register(&order.trunk)).transpose()?;
    if let Some(mut registration) = registration {
        let changed = tokio::time::timeout(Duration::from_secs(5), registration.state.changed()).await;
        println!("registration: {:?} {changed:?}", *registration.state.borrow());
    }
    let began = Instant::now();
    let report = agent.call(order, Box::new(Print(began)), CancellationToken::new()).await;
    println!("{:8.3} {report:#?}", began.elapsed().as_secs_f64());
    agent.stop().await;
    println!("{:8.3} stopped, {} dialogs left", began.elapsed().as_secs_f64(), agent.dialog_count());
    Ok(if report.last_page_confirmed == page_count { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
