//! PDF into pages, drawn by hayro with anti-aliasing, made black and white by `gray`.
//!
//! Each page is clamped to fax pixels before anything is drawn: a page as large as a football field costs what an A4
//! page costs. What cannot be drawn is an error, never a hole: a missing page, a picture that cannot be decoded, a font
//! that cannot be loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fax_image::Bitmap;
use hayro::hayro_interpret::font::FontQuery;
use hayro::hayro_interpret::util::TransformExt;
use hayro::hayro_interpret::{InterpreterSettings, InterpreterWarning};
use hayro::hayro_syntax::object::Dict;
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::kurbo::Affine;
use hayro::vello_cpu::{Pixmap, RasterizerSettings, RenderContext, Resources, TargetInit};
use hayro::{RenderCache, RenderSettings, render_into};

use super::Job;
use crate::fonts::Fonts;
use crate::gray::Gray;
use crate::order::{ConvertError, ErrorKind, Quality, Result, damaged};
use crate::paste;
use crate::size::{ENLARGE_PAGE, Placement, Turned, place};

const MM_PER_POINT: f64 = 25.4 / 72.0;

pub(super) fn pages(bytes: &[u8], job: &mut Job<'_>) -> Result<Vec<Bitmap>> {
    let pdf = open(bytes.to_vec())?;
    let count = pdf.pages().len();
    check_count(&pdf, count)?;
    job.allow(count)?;
    let mut artist = Artist::new(job.fonts);
    let mut bitmaps = Vec::with_capacity(count);
    for (index, page) in pdf.pages().iter().enumerate() {
        let (width, height) = page.render_dimensions();
        let (width_mm, height_mm) = (f64::from(width) * MM_PER_POINT, f64::from(height) * MM_PER_POINT);
        let place = place(width_mm, height_mm, ENLARGE_PAGE, job.paper, job.quality);
        let mut gray = artist.draw(page, &place).map_err(|e| damaged(format!("page {}: {}", index + 1, e.detail)))?;
        gray.whiten();
        bitmaps.push(paste::on_page(&gray.to_bits(job.quality)?, &place, job.paper, job.quality)?);
    }
    Ok(bitmaps)
}

/// Our own PDFs: each page fills its place exactly.
pub(crate) fn draw_exact(
    bytes: Vec<u8>,
    place: &Placement,
    quality: Quality,
    pages_max: u32,
    fonts: &Fonts,
) -> Result<Vec<Bitmap>> {
    let pdf = open(bytes)?;
    let count = pdf.pages().len();
    if count > pages_max as usize {
        let detail = format!("it has {count} pages, and {pages_max} are allowed in all its fax");
        return Err(ConvertError::new(ErrorKind::TooManyPages, detail));
    }
    let mut artist = Artist::new(fonts);
    pdf.pages().iter().map(|page| artist.draw(page, place)?.to_bits(quality)).collect()
}

fn open(bytes: Vec<u8>) -> Result<Pdf> {
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            ConvertError::new(ErrorKind::Encrypted, "a password is needed to open it")
        }
        LoadPdfError::Decryption(other) => {
            ConvertError::new(ErrorKind::Encrypted, format!("its encryption cannot be undone ({other:?})"))
        }
        LoadPdfError::Invalid => damaged("it cannot be read as a PDF; the end of it may be missing"),
    })
}

/// A repaired file may have lost pages: what the page tree promises must be there.
fn check_count(pdf: &Pdf, count: usize) -> Result<()> {
    let root: Option<Dict<'_>> = pdf.xref().get(pdf.xref().root_id());
    let promised = root.and_then(|root| root.get::<Dict<'_>>("Pages")).and_then(|pages| pages.get::<i32>("Count"));
    let promised = promised.and_then(|count| usize::try_from(count).ok()).unwrap_or(count);
    match count {
        0 if promised == 0 => Err(ConvertError::new(ErrorKind::Empty, "it has no pages")),
        _ if count < promised => Err(damaged(format!("only {count} of its {promised} pages can be read"))),
        _ => Ok(()),
    }
}

struct Artist<'a> {
    cache: RenderCache<'a>,
    settings: InterpreterSettings,
    lost_picture: Arc<AtomicBool>,
    lost_font: Arc<AtomicBool>,
}

impl<'a> Artist<'a> {
    fn new(fonts: &Fonts) -> Self {
        let lost_picture = Arc::new(AtomicBool::new(false));
        let lost_font = Arc::new(AtomicBool::new(false));
        let (picture, font) = (Arc::clone(&lost_picture), Arc::clone(&lost_font));
        let cjk = fonts.cjk();
        let settings = InterpreterSettings {
            font_resolver: Arc::new(move |query| match query {
                FontQuery::Standard(font) => Some(font.get_font_data()),
                FontQuery::Fallback(query) => match (&query.character_collection, &cjk) {
                    (Some(_), Some(font)) => Some((Arc::new(Shared(Arc::clone(font))), 0)),
                    _ => Some(query.pick_standard_font().get_font_data()),
                },
            }),
            warning_sink: Arc::new(move |warning| match warning {
                InterpreterWarning::ImageDecodeFailure => picture.store(true, Ordering::Relaxed),
                InterpreterWarning::UnsupportedFont => font.store(true, Ordering::Relaxed),
                _ => {}
            }),
            ..InterpreterSettings::default()
        };
        Self { cache: RenderCache::new(), settings, lost_picture, lost_font }
    }

    fn draw(&mut self, page: &'a Page<'a>, place: &Placement) -> Result<Gray> {
        let (page_width, page_height) = page.render_dimensions();
        let (page_width, page_height) = (f64::from(page_width), f64::from(page_height));
        let (width, height) = (f64::from(place.width), f64::from(place.height));
        let to_place = match place.turned {
            Turned::Not => Affine::scale_non_uniform(width / page_width, height / page_height),
            // Clockwise: what was down is left now.
            Turned::Clockwise => Affine::new([0.0, height / page_width, -width / page_height, 0.0, width, 0.0]),
        };
        let transform = to_place * page.initial_transform(true).to_kurbo();
        let (columns, rows) = (place.width as u16, place.height as u16);
        let mut context = RenderContext::new(columns, rows);
        render_into(page, &self.cache, &self.settings, &RenderSettings::default(), &mut context, transform);
        context.flush();
        if self.lost_picture.swap(false, Ordering::Relaxed) {
            return Err(damaged("a picture on it cannot be read"));
        }
        if self.lost_font.swap(false, Ordering::Relaxed) {
            return Err(damaged("a font on it cannot be read"));
        }
        let mut pixmap = Pixmap::new(columns, rows);
        let white = hayro::vello_cpu::color::palette::css::WHITE;
        let settings = RasterizerSettings { target_init: TargetInit::Clear(white), ..Default::default() };
        context.render_with(&mut pixmap, &mut Resources::default(), settings);
        Ok(Gray::from_rgba(usize::from(columns), usize::from(rows), pixmap.data_as_u8_slice()))
    }
}

/// A font file as hayro wants it.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
