//! `demo`: a complete sandbox on loopback; `demo send`: a mail through it.
//!
//! The first mail goes the way of every mail: real SMTP, real pages, a real call to the pretend fax machine, a real
//! confirmation in the mailbox. Nothing is dialled.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::compose::read_files;
use super::demo_mail;
use super::demo_receive::{self, DemoReceiveArgs};
use super::exit::{Exit, Failed, Outcome};
use super::follow::{self, Follow};
use super::gateway::{FarEndPlace, Gateway};
use super::out::{Out, Paint};
use super::place::{self, Place, Pointer};
use super::smtp;
use crate::config::{Config, DeliveryTarget, Ports};
use crate::console::view::{FaxList, StatusView};
use crate::domain::{Clock as _, ShortId, SystemClock};

/// Run a complete sandbox here: SMTP, pages, a line, a pretend fax machine and a mailbox; nothing is dialled
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example: faxwell demo --port 4000 --data /tmp/my-sandbox"
)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// First of the ports it uses: SMTP, web, pretend fax machine; 2525, 8080 and 2527 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65_533))]
    port: Option<u16>,
    /// Start without sending a mail
    #[arg(long)]
    no_first_mail: bool,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Send a sample mail, or a file, through the running sandbox and follow it to its end
    #[command(
        after_help = "Example: faxwell demo send offer.pdf --to +99920002\n\nNumbers: +99910200 works, +99910486 is busy, +99910404 is not assigned, +99920002 hangs up in page 2,\n+99930001 is a person."
    )]
    Send(DemoSendArgs),
    /// Let the pretend fax machine call this sandbox, and show what came in
    #[command(after_help = "Example: faxwell demo receive --pages 3 --hang-up-in-page 3")]
    Receive(DemoReceiveArgs),
}

#[derive(Debug, Args)]
struct DemoSendArgs {
    /// File to send instead of the sample
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// One of the sandbox's numbers
    #[arg(long, value_name = "NUMBER", default_value = demo_mail::GOOD_NUMBER)]
    to: String,
}

pub(super) async fn run(args: DemoArgs, place: Place, out: Out) -> Outcome {
    match args.command {
        Some(DemoCommand::Send(send)) => send_through(send, &place, out).await,
        Some(DemoCommand::Receive(receive)) => demo_receive::run(receive, &place, out).await,
        None => run_sandbox(args, &place, out).await,
    }
}

async fn run_sandbox(args: DemoArgs, place: &Place, out: Out) -> Outcome {
    if place.config.is_some() {
        let fix = "leave --config out, or run your gateway with: faxwell serve --config FILE";
        return Err(Failed::new(
            Exit::Usage,
            "demo takes no configuration file",
            "the sandbox must not dial or mail anybody",
            fix,
        ));
    }
    let ports = args.port.map_or_else(Ports::default, Ports::from_first);
    let config = place.load_sandbox(ports)?.config;
    place::make_data(&config.data)?;
    let gateway = Gateway::start(config, FarEndPlace::Here).await?;
    let _pointer = Pointer::write(&gateway.config().data);
    announce(gateway.config(), out)?;
    let config = gateway.config().clone();
    let first_mail = async move {
        if !args.no_first_mail
            && let Err(failed) = first_mail(&config, out).await
        {
            eprintln!("the first mail did not get through\n{failed}");
        }
        // The sandbox goes on whatever became of its first mail.
        std::future::pending().await
    };
    tokio::select! {
        ended = gateway.run() => ended,
        never = first_mail => never,
    }
}

/// Where things are: for programs one object, for people what to open and what to type.
fn announce(config: &Config, out: Out) -> Result<(), Failed> {
    let smtp = config.smtp.listen.first().map(ToString::to_string).unwrap_or_default();
    let web = config.web.listen.map(|address| format!("http://{address}/")).unwrap_or_default();
    let mailbox = match &config.delivery.to {
        DeliveryTarget::Maildir(path) => path.display().to_string(),
        DeliveryTarget::Smarthosts(hosts) => hosts.join(", "),
    };
    let tray = config.tray().display().to_string();
    let domain = &config.domain;
    if out.json() {
        return out.object(&json!({ "smtp": smtp, "web": web, "domain": domain, "mailbox": mailbox, "tray": tray }));
    }
    let (host, port) = smtp.rsplit_once(':').unwrap_or((&smtp, "25"));
    let text = format!(
        "\
{title}

  Open     {web}
  SMTP     {smtp}   mail to +99910200@{domain} becomes a fax
  Mailbox  {mailbox}   (Maildir: every report)
  Tray     {tray}   (every received fax, as TIFF)

  Type     faxwell demo send                      a sample mail, followed to its end
           faxwell demo send --to +99910486       a busy number
           faxwell demo receive                   the pretend fax machine calls this sandbox
           faxwell fax list
           swaks --server {host} --port {port} --to FAX=+99910200@{domain} --from you@example.com --attach @FILE.pdf
           curl smtp://{smtp} --crlf --mail-from you@example.com --mail-rcpt +99910200@{domain} -T mail.eml

  Stop     Ctrl-C
",
        title = out.paint("The sandbox runs: everything is on this computer, nothing is dialled.", Paint::Bold),
    );
    out.remark(&text)
}

async fn first_mail(config: &Config, out: Out) -> Result<(), Failed> {
    let client = Client::new(&config.control_socket());
    let letter = demo_mail::letter(demo_mail::GOOD_NUMBER, &config.domain);
    let Some(server) = config.smtp.listen.first().copied() else { return Ok(()) };
    // With --json the first line was the only one that was promised.
    let out = if out.json() { Out { reader: super::out::Reader::Quiet, ..out } } else { out };
    out.remark("A first mail goes to +99910200 …")?;
    let id = uuid::Uuid::now_v7();
    let mail = letter.mail(SystemClock.now(), &format!("{id}@{}", config.domain))?;
    let reply = smtp::send(server, &letter.from, &letter.to, &mail).await?;
    out.remark(&format!("  SMTP says: 250 {reply}"))?;
    if out.reader == super::out::Reader::Quiet {
        return Ok(());
    }
    for fax in faxes_of(&client, &reply).await? {
        follow::follow(&client, &fax, Follow::UntilReported, out).await?;
    }
    out.remark("\nThe report is in the mailbox, the fax in the tray. The sandbox goes on until Ctrl-C.")
}

/// The faxes that a reply names, by their own ids or by their message's.
async fn faxes_of(client: &Client, reply: &str) -> Result<Vec<String>, Failed> {
    let ids = smtp::ids(reply);
    let (faxes, messages): (Vec<ShortId>, Vec<ShortId>) = ids.into_iter().partition(|id| id.as_str().starts_with('F'));
    let mut faxes: Vec<String> = faxes.iter().map(ToString::to_string).collect();
    if !messages.is_empty() {
        let found: FaxList = client.get("/api/v1/faxes?limit=200").await?;
        let of_message = |message: &str| messages.iter().any(|id| id.as_str() == message);
        faxes.extend(found.faxes.into_iter().filter(|fax| of_message(&fax.message)).map(|fax| fax.short));
    }
    if faxes.is_empty() {
        let cause = format!("the reply names no fax: {reply}");
        return Err(Failed::new(Exit::Failed, "cannot follow the mail", cause, "see: faxwell fax list"));
    }
    Ok(faxes)
}

async fn send_through(args: DemoSendArgs, place: &Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    let status: StatusView = client.get("/api/v1/status").await?;
    if !status.sandbox {
        let fix = "send a real fax with: faxwell send NUMBER FILE";
        return Err(Failed::new(
            Exit::NotAllowed,
            "this gateway is no sandbox",
            "its lines reach real telephones",
            fix,
        ));
    }
    let mut letter = demo_mail::letter(&args.to, &status.domain);
    if let Some(file) = &args.file {
        letter.files = read_files(std::slice::from_ref(file))?;
        letter.subject = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    }
    let server = status.smtp.first().and_then(|address| address.parse().ok());
    let server = server.ok_or_else(|| {
        Failed::new(
            Exit::WrongState,
            "the sandbox takes no mail",
            "it runs without the role smtp",
            "start it with: faxwell demo",
        )
    })?;
    let mail = letter.mail(SystemClock.now(), &format!("{}@{}", uuid::Uuid::now_v7(), status.domain))?;
    let reply = smtp::send(server, &letter.from, &letter.to, &mail).await?;
    out.remark(&format!("SMTP says: 250 {reply}"))?;
    let mut states = Vec::new();
    for fax in faxes_of(&client, &reply).await? {
        states.push(follow::follow(&client, &fax, Follow::UntilReported, out).await?.state);
    }
    Ok(Exit::of_faxes(&states))
}
