//! `preview`: the pages that would be sent, without a gateway and without a call.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failed, Outcome};
use super::fax::write_file;
use super::gateway;
use super::out::Out;
use super::place::Place;
use super::send::LetterArgs;
use crate::domain::{Clock as _, SystemClock, Timestamp};
use crate::render::MadePage;

/// Show exactly the pages that would be sent; dials nothing
#[derive(Debug, Args)]
#[command(after_help = "Example: faxwell preview offer.pdf --to +41441234567 -o preview.pdf")]
pub(super) struct PreviewArgs {
    /// Files, in the order of the pages
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Number that stands on cover and header line
    #[arg(long, value_name = "NUMBER", default_value = super::demo_mail::GOOD_NUMBER)]
    to: String,
    #[command(flatten)]
    letter: LetterArgs,
    /// Time that stands on cover and header line, as in 2024-01-31T10:00:00Z; now by default
    #[arg(long, value_name = "TIME")]
    date: Option<jiff::Timestamp>,
    /// Say what drew each page, and what was substituted, scaled or left out
    #[arg(long)]
    explain: bool,
    /// File to write; its ending chooses the format (.pdf, .tif)
    #[arg(short, long, value_name = "FILE", default_value = "preview.pdf")]
    output: PathBuf,
}

pub(super) async fn run(args: PreviewArgs, place: Place, out: Out) -> Outcome {
    let ending = args.output.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_ascii_lowercase();
    let format = match ending.as_str() {
        "pdf" => gateway::PreviewFormat::Pdf,
        "tif" | "tiff" => gateway::PreviewFormat::Tiff,
        other => {
            let cause = format!("\".{other}\" is not one of its formats");
            return Err(Failed::new(Exit::Usage, "cannot write this preview", cause, "end the file in .pdf or .tif"));
        }
    };
    let config = place.load_for_questions()?.config;
    let letter = args.letter.letter(std::slice::from_ref(&args.to), &args.files, &config.domain)?;
    let date = args.date.map_or_else(|| SystemClock.now(), Timestamp::from);
    let mail = letter.mail(date, &format!("preview@{}", config.domain))?;
    let spinner = out.spinner("making the pages");
    let made = gateway::preview(&config, &letter.to[0], mail, date, format).await;
    spinner.finish_and_clear();
    let made = made?;
    write_file(&args.output, &made.bytes)?;
    if out.json() {
        let mut object =
            serde_json::json!({ "file": args.output, "pages": made.pages.len(), "size_bytes": made.bytes.len() });
        if args.explain {
            object["made"] = serde_json::json!(made.pages);
            object["remarks"] = serde_json::json!(made.remarks);
        }
        out.object(&object)?;
    } else {
        let pages = made.pages.len();
        out.remark(&format!(
            "wrote {}: {pages} page{} as they would be sent",
            args.output.display(),
            if pages == 1 { "" } else { "s" }
        ))?;
        if args.explain {
            explain(&made, &out)?;
        }
    }
    Ok(Exit::Ok)
}

fn explain(made: &gateway::Preview, out: &Out) -> Result<(), Failed> {
    let row =
        |(index, page): (usize, &MadePage)| vec![(index + 1).to_string(), page.drawn_by.clone(), page.part.clone()];
    let rows: Vec<Vec<String>> = made.pages.iter().enumerate().map(row).collect();
    out.table(&["PAGE", "DRAWN BY", "FROM"], &rows)?;
    made.remarks.iter().try_for_each(|remark| out.line(&format!("remark: {remark}")))
}
