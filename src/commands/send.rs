//! `send`: a fax without a mail program.

use std::path::PathBuf;

use clap::Args;

use super::client::{Client, encoded};
use super::compose::{Letter, read_files};
use super::exit::{Exit, Failed, Outcome};
use super::follow::{self, Follow};
use super::out::Out;
use super::place::Place;
use crate::console::view::{AcceptedView, StatusView};
use crate::domain::{Clock as _, Quality, SystemClock};

/// Send files as a fax without a mail program
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell send +41441234567 offer.pdf --subject 'Offer 4711' --wait")]
pub(super) struct SendArgs {
    /// Number, or several with commas
    #[arg(value_name = "NUMBER[,NUMBER]")]
    numbers: String,
    /// Files, in the order of the pages
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    letter: LetterArgs,
    /// When to send at the earliest, by this machine's clock: 18:00, 'tomorrow 8:30', '2026-12-24 18:00'
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Wait until it is sent or has failed, and exit accordingly
    #[arg(long)]
    wait: bool,
}

/// What `send` and `preview` have in common, so that a preview shows what is sent.
#[derive(Debug, Args)]
pub(super) struct LetterArgs {
    /// Cover page by name, or none
    #[arg(long, value_name = "NAME")]
    cover: Option<String>,
    /// Line density: standard, fine or superfine
    #[arg(long, value_name = "QUALITY")]
    quality: Option<Quality>,
    /// Subject, printed on the cover
    #[arg(long, value_name = "TEXT", default_value = "")]
    subject: String,
    /// Address that reports go to
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Text of the cover page
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl LetterArgs {
    /// The letter to these numbers with these files.
    pub(super) fn letter(&self, numbers: &[String], files: &[PathBuf], domain: &str) -> Result<Letter, Failed> {
        let files = read_files(files)?;
        if files.is_empty() && self.text.is_none() {
            let fix = "name a file, or a text with --text";
            return Err(Failed::new(Exit::Usage, "there is nothing to send", "no file and no text is named", fix));
        }
        let mut directives = Vec::new();
        directives.extend(self.cover.clone().map(|cover| ("X-Fax-Cover", cover)));
        directives.extend(self.quality.map(|quality| ("X-Fax-Quality", quality.to_string())));
        let to = numbers.iter().map(|number| address(number, domain)).collect();
        let from = self.from.clone().unwrap_or_else(|| own_address(domain));
        Ok(Letter { to, from, subject: self.subject.clone(), text: self.text.clone(), files, directives })
    }
}

/// A number as an address of this gateway; what is an address already stays so.
fn address(number: &str, domain: &str) -> String {
    let number = number.trim();
    if number.contains('@') { number.to_owned() } else { format!("{}@{domain}", number.replace(' ', "")) }
}

/// Who types the command, at the gateway's domain: reports go there unless --from says otherwise.
fn own_address(domain: &str) -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let user: String = user.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(32).collect();
    format!("{}@{domain}", if user.is_empty() { "faxwell" } else { &user })
}

pub(super) async fn run(args: SendArgs, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    let status: StatusView = client.get("/api/v1/status").await?;
    let numbers: Vec<String> =
        args.numbers.split(',').filter(|number| !number.trim().is_empty()).map(str::to_owned).collect();
    let mut letter = args.letter.letter(&numbers, &args.files, &status.domain)?;
    if let Some(at) = args.at.as_deref().map(earliest).transpose()? {
        letter.directives.push(("X-Fax-At", at));
    }
    let accepted = submit(&client, &letter, &status.domain).await?;
    if !args.wait {
        print_accepted(&accepted, out)?;
        return Ok(Exit::Ok);
    }
    if !out.json() {
        out.remark(&accepted.text)?;
    }
    let mut states = Vec::new();
    for fax in &accepted.faxes {
        states.push(follow::follow(&client, fax, Follow::UntilFinal, out).await?.state);
    }
    Ok(Exit::of_faxes(&states))
}

/// The time with its zone, which the mail's own date does not tell.
fn earliest(text: &str) -> Result<String, Failed> {
    crate::intake::earliest(text, SystemClock.now(), &jiff::tz::TimeZone::system())
        .map(|at| at.to_jiff().to_string())
        .map_err(|refusal| {
            Failed::new(
                Exit::Usage,
                "--at cannot be used",
                refusal.text,
                "write it as in --at 18:00 or --at '2026-12-24 18:00'",
            )
        })
}

async fn submit(client: &Client, letter: &Letter, domain: &str) -> Result<AcceptedView, Failed> {
    let key = uuid::Uuid::now_v7().to_string();
    let mail = letter.mail(SystemClock.now(), &format!("{key}@{domain}"))?;
    let recipients: Vec<String> = letter.to.iter().map(|to| encoded(to)).collect();
    let path = format!("/api/v1/submit?to={}&from={}", recipients.join(","), encoded(&letter.from));
    // One retry with the same key: when the answer got lost, the gateway knows the submission again.
    match client.submit(&path, mail.clone(), &key).await {
        Err(failed) if failed.exit == Exit::Unreachable => client.submit(&path, mail, &key).await,
        other => other,
    }
}

fn print_accepted(accepted: &AcceptedView, out: Out) -> Result<(), Failed> {
    if out.json() {
        return out.object(accepted);
    }
    out.remark(&accepted.text)?;
    accepted.faxes.iter().try_for_each(|fax| out.line(fax))?;
    out.remark("follow it with: faxwell fax watch ID")
}
