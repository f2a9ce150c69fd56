//! The pages of one fax as they are sent: cover, document, header line on each. Same order, same octets.

use fax_image::Bitmap;

use crate::fonts::Fonts;
use crate::header_line::Stamp;
use crate::layout::Sheet;
use crate::order::{ConvertError, CoverFields, ErrorKind, FinishOrder, HeaderLine, Quality, Result, damaged};
use crate::worker::{Output, Progress};
use crate::{cover, tiff_f};

/// How errors and page lists call them.
pub(crate) const COVER: &str = "cover page";
const DOCUMENT: &str = "pages of the document";

pub(crate) fn finish(order: FinishOrder, fonts: &Fonts, progress: &mut Progress<'_>) -> Result<Output> {
    let document = match &order.document {
        None => None,
        Some(tiff) => {
            progress.working(DOCUMENT)?;
            Some(tiff_f::Reader::open(tiff).map_err(|error| error.of(DOCUMENT))?)
        }
    };
    let rest = document.as_ref().map_or(0, tiff_f::Reader::page_count);
    check_count(rest, order.max_pages)?;
    let mut covers = Vec::new();
    if let Some(fields) = &order.cover {
        progress.working(COVER)?;
        covers = draw_cover(fields, rest as u32, &order, fonts).map_err(|error| error.of(COVER))?;
    }
    let total = covers.len() + rest;
    if total == 0 {
        return Err(ConvertError::new(ErrorKind::Empty, "there is neither a cover nor a document"));
    }
    check_count(total, order.max_pages)?;
    let mut stamp = order.header.as_ref().map(|header| Stamp::new(header, total, order.quality, fonts));
    let mut writer = Writer::new(order.quality);
    // One page after the other, so that a long fax takes no more memory than a short one.
    let covers = covers.into_iter().map(|page| (COVER, Ok(page)));
    let rest = document.iter().flat_map(|document| (0..rest).map(|index| (DOCUMENT, document.page(index))));
    for (index, (part, page)) in covers.chain(rest).enumerate() {
        if index == 0 || part == DOCUMENT && writer.parts.last().is_none_or(|last| last != part) {
            progress.working(part)?;
        }
        let mut page = page.map_err(|error| error.of(part))?;
        if let Some(stamp) = &mut stamp {
            page = stamp.stamp(index, page)?;
        }
        writer.add(page, part)?;
    }
    let (bytes, pages) = writer.finish()?;
    let cover = order.cover.as_ref().map_or_else(String::new, |fields| format!("cover {}", fields.template));
    let drawn_by = pages.iter().map(|part| if part == COVER { cover.clone() } else { String::new() }).collect();
    Ok(Output { bytes, pages, notes: fonts.remark().into_iter().collect(), in_colour: 0, drawn_by })
}

/// The cover tells the number of pages, its own among them, and that number can change how many it has: so it is
/// drawn until what it says is true.
fn draw_cover(fields: &CoverFields, rest: u32, order: &FinishOrder, fonts: &Fonts) -> Result<Vec<Bitmap>> {
    let sheet = Sheet::page(order.paper, order.quality);
    let room = order.max_pages.saturating_sub(rest);
    let mut total = rest + 1;
    let mut pages = Vec::new();
    for _ in 0..COVER_ROUNDS_MAX {
        pages = cover::pages(fields, total, room, &sheet, fonts)?;
        let true_total = rest + pages.len() as u32;
        if true_total == total {
            break;
        }
        total = true_total;
    }
    Ok(pages)
}

/// One round to learn the number, one to print it, one more for a number that grew a digit and broke a line.
const COVER_ROUNDS_MAX: u32 = 4;

fn check_count(count: usize, max_pages: u32) -> Result<()> {
    if count > max_pages as usize {
        let detail = format!("the fax has {count} pages, and {max_pages} are allowed");
        return Err(ConvertError::new(ErrorKind::TooManyPages, detail));
    }
    Ok(())
}

/// The same fax with another header line on page `page` (from 1). The other pages keep their octets.
pub(crate) fn restamp(tiff: &[u8], page: u32, header: &HeaderLine, fonts: &Fonts) -> Result<Output> {
    let reader = tiff_f::Reader::open(tiff)?;
    let total = reader.page_count();
    let index = (page as usize).checked_sub(1).filter(|index| *index < total);
    let index = index.ok_or_else(|| damaged(format!("there is no page {page} of {total}")))?;
    let stamp = Stamp::new(header, total, reader.quality(index)?, fonts);
    let stamped = stamp.restamp(index, reader.page(index)?)?;
    let bytes = reader.with_page(index, &stamped)?;
    let pages = vec![DOCUMENT.to_owned(); total];
    Ok(Output { bytes, pages, notes: fonts.remark().into_iter().collect(), in_colour: 0, drawn_by: Vec::new() })
}

/// PNG of a page (from 1).
pub(crate) fn thumbnail(tiff: &[u8], page: u32, width_px: u32) -> Result<Output> {
    let bytes = tiff_f::thumbnail(tiff, page, width_px)?;
    Ok(Output { bytes, pages: Vec::new(), notes: Vec::new(), in_colour: 0, drawn_by: Vec::new() })
}

/// Collects finished pages: kept coded, so that 200 pages take 200 strips and not 200 bitmaps.
pub(crate) struct Writer {
    file: tiff_f::Writer,
    parts: Vec<String>,
}

impl Writer {
    pub(crate) fn new(quality: Quality) -> Self {
        Self { file: tiff_f::Writer::new(quality), parts: Vec::new() }
    }

    pub(crate) fn page_count(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn add(&mut self, page: Bitmap, part: &str) -> Result<()> {
        self.file.add(&page)?;
        self.parts.push(part.to_owned());
        Ok(())
    }

    /// The file, and for each page the part it came from.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Vec<String>)> {
        if self.parts.is_empty() {
            return Err(damaged("there are no pages"));
        }
        Ok((self.file.finish()?, self.parts))
    }
}
