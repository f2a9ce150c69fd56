//! A PDF and its pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fax_image::Bitmap;
use hayro::hayro_interpret::font::FontQuery;
use hayro::hayro_interpret::util::{RectExt, TransformExt};
use hayro::hayro_interpret::{
    Context, Device, InterpreterCache, InterpreterSettings, InterpreterWarning, interpret_page,
};
use hayro::hayro_syntax::object::{self, Array, Dict, Name};
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::kurbo::{Affine, Rect};

use crate::device::{GlyphCache, Pen};
use crate::stock;

/// Why a document or a page cannot be drawn. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A password locks it, or a cipher that is not known.
    #[error("{0}")]
    Encrypted(String),
    /// It cannot be read, or part of it cannot.
    #[error("{0}")]
    Damaged(String),
    /// It has no pages.
    #[error("it has no pages")]
    Empty,
}

/// Fonts for text whose font is not in the document.
#[derive(Clone, Default)]
pub struct Fonts {
    /// For Chinese, Japanese and Korean: a TrueType or OpenType file. Without one such text shows as boxes or not at all.
    pub cjk: Option<Arc<Vec<u8>>>,
}

/// Where a page goes: on the upper rim of a sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Size of the sheet and of the result, 1 to 16,384 pixels and rows.
    pub sheet: (u32, u32),
    /// White pixels left of the page.
    pub left: u32,
    /// Width of the page, at least 1; it ends on the sheet.
    pub width: u32,
    /// Height of the page, at least 1 and not above the sheet's.
    pub height: u32,
    /// Whether the page is turned clockwise by 90° to fill it.
    pub turned: bool,
    /// Share of a pixel that has to be covered for it to be inked, 0 to 1: 0.37 at 196 lines to the inch and above, 0.2 at 98, where
    /// thin horizontals would vanish otherwise (measured by OCR).
    pub share: f32,
}

/// A page as bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The sheet.
    pub bits: Bitmap,
    /// What made it necessary to draw the page in colour first; nothing when it was drawn in bits.
    pub in_colour: Option<&'static str>,
}

/// An open PDF.
pub struct Document(Pdf);

impl Document {
    /// Opens a PDF. A document that is encrypted with an empty user password opens like any other.
    pub fn open(bytes: Vec<u8>) -> Result<Self, Error> {
        let pdf = Pdf::new(bytes).map_err(|error| match error {
            LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
                Error::Encrypted("a password is needed to open it".to_owned())
            }
            LoadPdfError::Decryption(other) => Error::Encrypted(format!("its encryption cannot be undone ({other:?})")),
            LoadPdfError::Invalid => {
                Error::Damaged("it cannot be read as a PDF; the end of it may be missing".to_owned())
            }
        })?;
        let document = Self(pdf);
        document.check_count()?;
        Ok(document)
    }

    /// A repaired file may have lost pages: what the page tree promises must be there.
    fn check_count(&self) -> Result<(), Error> {
        let (pdf, count) = (&self.0, self.page_count());
        let root: Option<Dict<'_>> = pdf.xref().get(pdf.xref().root_id());
        let promised = root.and_then(|root| root.get::<Dict<'_>>("Pages")).and_then(|pages| pages.get::<i32>("Count"));
        let promised = promised.and_then(|count| usize::try_from(count).ok()).unwrap_or(count);
        match count {
            0 if promised == 0 => Err(Error::Empty),
            _ if count < promised => Err(Error::Damaged(format!("only {count} of its {promised} pages can be read"))),
            _ => Ok(()),
        }
    }

    /// Pages, 1 at least.
    pub fn page_count(&self) -> usize {
        self.0.pages().len()
    }

    /// Width and height of a page as it is seen (turned by its own rotation), in points of 1/72 inch. Zero for a page that is
    /// not there.
    pub fn page_size(&self, index: usize) -> (f64, f64) {
        let size = self.0.pages().get(index).map(Page::render_dimensions).unwrap_or_default();
        (f64::from(size.0), f64::from(size.1))
    }

    /// Draws pages one after the other, keeping fonts and glyphs between them.
    pub fn painter(&self, fonts: &Fonts) -> Painter<'_> {
        Painter::new(self, fonts)
    }
}

/// Draws the pages of one document.
pub struct Painter<'a> {
    document: &'a Document,
    cache: InterpreterCache<'a>,
    glyphs: GlyphCache,
    settings: InterpreterSettings,
    lost_picture: Arc<AtomicBool>,
    lost_font: Arc<AtomicBool>,
}

impl<'a> Painter<'a> {
    fn new(document: &'a Document, fonts: &Fonts) -> Self {
        let lost_picture = Arc::new(AtomicBool::new(false));
        let lost_font = Arc::new(AtomicBool::new(false));
        let (picture, font) = (Arc::clone(&lost_picture), Arc::clone(&lost_font));
        let cjk = fonts.cjk.clone();
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
        let cache = InterpreterCache::new();
        Self { document, cache, glyphs: GlyphCache::default(), settings, lost_picture, lost_font }
    }

    /// Page `index` (from 0), filling the frame.
    pub fn draw(&mut self, index: usize, frame: Frame) -> Result<Drawn, Error> {
        let page = self.document.0.pages().get(index).ok_or_else(|| damaged("the page is not there"))?;
        let (width, height) = frame.sheet;
        Bitmap::check_size(width, height).map_err(|error| damaged(error.to_string()))?;
        if frame.width == 0 || frame.height == 0 || frame.left + frame.width > width || frame.height > height {
            return Err(damaged("its place is not on the sheet"));
        }
        let transform = to_frame(page, frame);
        let mut pen = Pen::new(width, height, frame.share, &mut self.glyphs);
        let (left, right) = (f64::from(frame.left), f64::from(frame.left + frame.width));
        let target = Rect::new(left, 0.0, right, frame.height.into());
        let mut context = Context::new(transform, target, &self.cache, page.xref(), self.settings.clone());
        let crop_box = transform.transform_rect_bbox(page.intersected_crop_box().to_kurbo());
        pen.push_clip_rect(&target);
        pen.push_clip_rect(&crop_box);
        interpret_page(page, &mut context, &mut pen);
        let finished = pen.finish();
        self.check_losses()?;
        if has_unseen_value(page) {
            return Err(damaged("a form field on it is filled in but not drawn; printing it to a new PDF helps"));
        }
        let (bits, in_colour) = match finished {
            Ok(bits) => (bits, None),
            Err(reason) => {
                let bits = stock::draw(page, &self.settings, transform, frame);
                self.check_losses()?;
                (bits, Some(reason))
            }
        };
        Ok(Drawn { bits: bits.map_err(|error| damaged(error.to_string()))?, in_colour })
    }

    fn check_losses(&self) -> Result<(), Error> {
        if self.lost_picture.swap(false, Ordering::Relaxed) {
            return Err(damaged("a picture on it cannot be read"));
        }
        if self.lost_font.swap(false, Ordering::Relaxed) {
            return Err(damaged("a font on it cannot be read"));
        }
        Ok(())
    }
}

/// Whether somebody filled in a field whose appearance is left to the viewer (ISO 32000-1 §12.7.3.3): nothing would show of it.
fn has_unseen_value(page: &Page<'_>) -> bool {
    const HIDDEN_OR_NO_VIEW: u32 = 1 << 1 | 1 << 5;
    let Some(annotations) = page.raw().get::<Array<'_>>("Annots") else { return false };
    annotations.iter::<Dict<'_>>().any(|field| {
        let parent = field.get::<Dict<'_>>("Parent");
        let kind = field.get::<Name<'_>>("FT").or_else(|| parent.as_ref().and_then(|parent| parent.get("FT")));
        let value = field.get::<object::String<'_>>("V").or_else(|| parent.as_ref().and_then(|parent| parent.get("V")));
        let flags = field.get::<u32>("F").unwrap_or(0);
        let has_text = value.is_some_and(|value| value.as_bytes().iter().any(|octet| octet.is_ascii_graphic()));
        let is_text = kind.is_some_and(|kind| matches!(&*kind, b"Tx" | b"Ch"));
        let has_place = field.get::<object::Rect>("Rect").is_some_and(|r| r.x1 > r.x0 && r.y1 > r.y0);
        is_text && has_text && has_place && !field.contains_key("AP") && flags & HIDDEN_OR_NO_VIEW == 0
    })
}

/// From the page's own space to the frame's pixels.
fn to_frame(page: &Page<'_>, frame: Frame) -> Affine {
    let (page_width, page_height) = page.render_dimensions();
    let (page_width, page_height) = (f64::from(page_width), f64::from(page_height));
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    let to_frame = if frame.turned {
        // Clockwise: what was down is left now.
        Affine::new([0.0, height / page_width, -width / page_height, 0.0, width, 0.0])
    } else {
        Affine::scale_non_uniform(width / page_width, height / page_height)
    };
    Affine::translate((f64::from(frame.left), 0.0)) * to_frame * page.initial_transform(true).to_kurbo()
}

fn damaged(detail: impl Into<String>) -> Error {
    Error::Damaged(detail.into())
}

/// A font file as hayro wants it.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
