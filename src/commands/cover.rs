//! `cover list|check|preview`: the cover pages that there are, what is wrong with one, and how it looks. Needs no gateway.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use pages::{CoverFields, FinishOrder, HeaderLine, Text};
use serde_json::json;

use super::exit::{Exit, Failed, Outcome};
use super::fax::write_file;
use super::out::Out;
use super::place::Place;
use super::{formats, gateway};
use crate::render::{Cover, Covers, read_cover};

/// See cover pages, and check your own
#[derive(Debug, Subcommand)]
pub(super) enum CoverCommand {
    /// List the cover pages that mails can ask for
    #[command(after_help = "Example: faxwell cover list")]
    List,
    /// Say what is wrong with a cover page, by line
    #[command(after_help = "Example: faxwell cover check covers/acme.html")]
    Check {
        /// A cover's name, or a file
        #[arg(value_name = "NAME")]
        cover: String,
    },
    /// Write a cover page with sample data, drawn as it would be faxed
    #[command(after_help = "Example: faxwell cover preview formal -o cover.pdf")]
    Preview {
        /// A cover's name, or a file
        #[arg(value_name = "NAME")]
        cover: String,
        /// Paper of the page
        #[arg(long, value_name = "PAPER", default_value = "a4")]
        paper: SamplePaper,
        /// File to write
        #[arg(short, long, value_name = "FILE", default_value = "cover.pdf")]
        output: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SamplePaper {
    A4,
    Letter,
    Legal,
}

pub(super) async fn run(command: CoverCommand, place: Place, out: Out) -> Outcome {
    let config = place.load_for_questions()?.config;
    let covers = Covers::new(config.render.covers.clone());
    match command {
        CoverCommand::List => list(&covers, config.render.cover.as_deref(), &out),
        CoverCommand::Check { cover } => check(&named(&cover, &covers)?, &out),
        CoverCommand::Preview { cover, paper, output } => {
            let template = named(&cover, &covers)?;
            let paper = match paper {
                SamplePaper::A4 => pages::Paper::A4,
                SamplePaper::Letter => pages::Paper::Letter,
                SamplePaper::Legal => pages::Paper::Legal,
            };
            let order = sample(&template, paper);
            let made = gateway::converter(&config, formats::policy(&config))?.finish(order).await;
            let made = made.map_err(|error| undrawn(error.to_string()))?;
            // The plain cover stood in: that saves a fax, but it is no preview of this one.
            if let Some(remark) = made.notes.iter().find(|note| note.contains("cannot be drawn")) {
                return Err(undrawn(remark.clone()));
            }
            let pdf = pages::pdf_out::wrap(&made.bytes).map_err(|error| undrawn(error.to_string()))?;
            write_file(&output, &pdf)?;
            if out.json() {
                out.object(&json!({ "file": output, "cover": template.name, "pages": made.page_count() }))?;
            } else {
                out.remark(&format!("wrote {}: the cover \"{}\" with sample data", output.display(), template.name))?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// A template as it stands, right or wrong.
struct Template {
    name: String,
    /// None: it ships, and its text is [`Template::text`].
    source: Option<String>,
}

impl Template {
    fn text(&self) -> &str {
        let shipped = || pages::shipped_covers().find(|(name, _)| *name == self.name).map_or("", |(_, text)| text);
        self.source.as_deref().unwrap_or_else(shipped)
    }
}

/// A name, or a file when it looks like one.
fn named(cover: &str, covers: &Covers) -> Result<Template, Failed> {
    let fix = "see the names with: faxwell cover list";
    let missing = |why: String| Failed::new(Exit::NotFound, format!("no cover \"{cover}\""), why, fix);
    if cover.contains(['/', '.']) {
        let source = read_cover(Path::new(cover)).map_err(missing)?;
        let stem = Path::new(cover).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        return Ok(Template { name: stem.unwrap_or_default(), source: Some(source) });
    }
    let source = covers.source(cover).map_err(missing)?;
    Ok(Template { name: cover.to_owned(), source })
}

fn list(covers: &Covers, default: Option<&str>, out: &Out) -> Outcome {
    let covers = covers.list();
    if out.json() {
        for Cover { name, file } in &covers {
            let default = default == Some(name);
            out.object(&json!({ "name": name, "file": file, "default": default }))?;
        }
        return Ok(Exit::Ok);
    }
    let from = |file: &Option<PathBuf>| file.as_ref().map_or("ships".to_owned(), |file| file.display().to_string());
    let used = |name: &str| if default == Some(name) { "default" } else { "" }.to_owned();
    let rows: Vec<Vec<String>> =
        covers.iter().map(|Cover { name, file }| vec![name.clone(), used(name), from(file)]).collect();
    out.table(&["NAME", "USED", "FROM"], &rows)?;
    Ok(Exit::Ok)
}

fn check(template: &Template, out: &Out) -> Outcome {
    let problems = pages::check_cover(template.text());
    for problem in &problems {
        if out.json() {
            out.object(&json!({ "line": problem.line, "problem": problem.message }))?;
        } else {
            out.line(&format!("line {}: {}", problem.line, problem.message))?;
        }
    }
    match problems.len() {
        0 => {
            out.remark(&format!("the cover \"{}\" is right", template.name))?;
            Ok(Exit::Ok)
        }
        count => {
            let cause = format!("it has {count} problem{}", if count == 1 { "" } else { "s" });
            let message = format!("the cover \"{}\" is not right", template.name);
            Err(Failed::new(Exit::Failed, message, cause, "correct the lines above, then check again"))
        }
    }
}

/// Values of every field, long and short, in several scripts, so that what does not fit shows.
fn sample(template: &Template, paper: pages::Paper) -> FinishOrder {
    let cover = CoverFields {
        template: template.name.clone(),
        source: template.source.clone(),
        to_name: Some("Anna Meier".to_owned()),
        to_company: Some("Meier & Söhne AG, 株式会社".to_owned()),
        to_number: "+41 44 123 45 67".to_owned(),
        from_name: Some("Erika Mustermann".to_owned()),
        from_company: Some("Contoso Ltd".to_owned()),
        from_address: Some("erika@contoso.example".to_owned()),
        from_number: Some("+1 214 555 0100".to_owned()),
        subject: "Offer 4711: Καλημέρα, Привет, שלום, مرحبا, नमस्ते, สวัสดี".to_owned(),
        date: "22 November 2026, 04:31 +01:00".to_owned(),
        reference: Some("4711".to_owned()),
        note: Some(Text::Plain(
            "Dear Anna,\n\nplease find our offer attached. The price is valid until the end of the year.\n\n\
             > What does it cost?\n\nKind regards\nErika Mustermann"
                .to_owned(),
        )),
        footer: "Sent by fax.contoso.example.".to_owned(),
    };
    let header = HeaderLine {
        date: "2026-11-22 04:31 +0100".to_owned(),
        sender: "Contoso Ltd".to_owned(),
        sender_number: "+1 214 555 0100".to_owned(),
        to_number: "+41 44 123 45 67".to_owned(),
        remark: String::new(),
    };
    /// Room for a note that does not fit on one page.
    const PAGES_MAX: u32 = 10;
    FinishOrder { paper, max_pages: PAGES_MAX, cover: Some(cover), header: Some(header), ..FinishOrder::default() }
}

fn undrawn(why: String) -> Failed {
    Failed::new(Exit::Failed, "the cover cannot be drawn", why, "see what is wrong with: faxwell cover check NAME")
}
