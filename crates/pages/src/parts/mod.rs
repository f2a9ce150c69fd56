//! The converters: each kind of document into pages. One order, all parts or none (RFC 3965 §2.2.4).
//!
//! To add a format: a variant of [`Kind`], its signature, a module here and an arm in [`pages_of`].

pub(crate) mod html;
mod incoming;
pub(crate) mod pdf;
mod picture;
mod text;
mod tiff;
pub(crate) mod zip;

use fax_image::Bitmap;

use crate::finish;
use crate::fonts::Fonts;
use crate::kind::{Kind, kind_of};
use crate::order::{ConvertError, ConvertOrder, ErrorKind, Paper, Part, Quality, Result, Text};
use crate::worker::{Output, Progress};

/// What every converter needs to know.
pub(crate) struct Job<'a> {
    pub paper: Paper,
    pub quality: Quality,
    /// Pages that this part may still give.
    pub pages_max: u32,
    pub fonts: &'a Fonts,
    /// Remarks.
    pub notes: Vec<String>,
    /// Pages that had to be drawn in colour before they were made black and white.
    pub in_colour: u32,
    /// What draws the pages of this part, as people are told: `PDF`.
    pub drawn_by: &'static str,
    /// Where the pages go, and whose they are.
    pub writer: &'a mut finish::Writer,
    pub part: &'a str,
}

impl Job<'_> {
    /// One more page. It is kept coded, so that a long document takes no more memory than a short one.
    pub(crate) fn add(&mut self, page: Bitmap) -> Result<()> {
        self.pages_max = self.pages_max.checked_sub(1).ok_or_else(|| {
            ConvertError::new(ErrorKind::TooManyPages, "it has more pages than are allowed in all its fax")
        })?;
        self.writer.add(page, self.part)
    }

    /// An error when a part has more pages than it may have.
    pub(crate) fn allow(&self, pages: usize) -> Result<()> {
        if pages > self.pages_max as usize {
            let detail = format!("it has {pages} pages, and {} are allowed in all its fax", self.pages_max);
            return Err(ConvertError::new(ErrorKind::TooManyPages, detail));
        }
        Ok(())
    }
}

/// How errors and page lists call the mail's own text.
pub(crate) const BODY: &str = "text of the mail";

/// Every part into pages, in order.
pub(crate) fn convert(order: ConvertOrder, fonts: &Fonts, progress: &mut Progress<'_>) -> Result<Output> {
    let mut writer = finish::Writer::new(order.quality);
    let mut notes = Vec::new();
    let mut in_colour = 0;
    let mut drawn_by: Vec<String> = Vec::new();
    let mut add = |part: &str, writer: &mut finish::Writer, make: &dyn Fn(&mut Job<'_>) -> Result<()>| {
        progress.working(part)?;
        let before = writer.page_count();
        let pages_max = order.max_pages.saturating_sub(before);
        let (paper, quality) = (order.paper, order.quality);
        let mut job =
            Job { paper, quality, pages_max, fonts, notes: Vec::new(), in_colour: 0, drawn_by: "", writer, part };
        make(&mut job).map_err(|error| error.of(part))?;
        if job.writer.page_count() == before {
            return Err(ConvertError::new(ErrorKind::Empty, "it has no pages").of(part));
        }
        in_colour += job.in_colour;
        drawn_by.resize(job.writer.page_count() as usize, job.drawn_by.to_owned());
        notes.extend(job.notes.into_iter().map(|note| format!("{part}: {note}")));
        Ok(())
    };
    if let Some(body) = order.body.as_ref().filter(|body| !body.is_blank()) {
        add(BODY, &mut writer, &|job| match body {
            Text::Plain(text) => text::pages(text, job),
            Text::Html(text) => html::pages(text, &order.inline, job),
        })?;
    }
    for part in &order.parts {
        add(&part.name, &mut writer, &|job| pages_of(part, job))?;
    }
    if writer.page_count() == 0 {
        return Err(ConvertError::new(ErrorKind::Empty, "there is neither text nor an attachment"));
    }
    let (bytes, pages) = writer.finish()?;
    notes.extend(fonts.remark());
    Ok(Output { bytes, pages, notes, in_colour, drawn_by })
}

fn pages_of(part: &Part, job: &mut Job<'_>) -> Result<()> {
    if part.bytes.is_empty() {
        return Err(ConvertError::new(ErrorKind::Empty, "the file is empty"));
    }
    let kind = kind_of(&part.media, &part.name, &part.bytes);
    job.drawn_by = match kind {
        Some(Kind::Pdf) => "PDF",
        Some(Kind::Tiff) => "TIFF",
        // Those that lay text out say so themselves.
        Some(Kind::Text | Kind::Html | Kind::Zip | Kind::Locked | Kind::Office(_)) | None => "",
        Some(_) => "picture",
    };
    match kind {
        Some(Kind::Text) => {
            let text = text::decode(&part.bytes, part.charset.as_deref());
            if Text::Plain(text.clone()).is_blank() {
                return Err(ConvertError::new(ErrorKind::Empty, "there is no text in it"));
            }
            text::pages(&text, job)
        }
        Some(Kind::Html) => html::pages(&text::decode(&part.bytes, part.charset.as_deref()), &[], job),
        Some(Kind::Pdf) => pdf::pages(&part.bytes, job),
        Some(Kind::Tiff) => tiff::pages(&part.bytes, job),
        Some(kind @ (Kind::Png | Kind::Jpeg | Kind::Gif | Kind::Bmp | Kind::WebP)) => {
            picture::pages(&part.bytes, kind, job)
        }
        Some(Kind::Zip) => zip::listed(&part.bytes, job),
        Some(Kind::Locked) => Err(ConvertError::new(ErrorKind::Encrypted, "a password is needed to open it")),
        // Office documents come as PDF and HEIC as JPEG: others have had them before.
        Some(Kind::Office(_) | Kind::Heif) | None => {
            let media = if part.media.is_empty() { "no media type" } else { &part.media };
            Err(ConvertError::new(ErrorKind::Unsupported, format!("no converter for this kind of file ({media})")))
        }
    }
}
