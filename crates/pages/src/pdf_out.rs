//! A fax document as PDF, for mail and browsers.
//!
//! In: TIFF-F documents. Out: a PDF with the same pages, pixel by pixel; MMR strips go in untouched, other codings are coded
//! anew as MMR. The size of a page on paper follows from its pixels and resolution, so fax pixels, which are rarely square,
//! look right. The same document gives the same octets; nothing but the program's name stands in the document information.
//! Failure: [`PdfError`], always the TIFF's. Standard: ISO 32000-1 §7.4.6 (CCITTFaxDecode), §8.9.5 (images).

use std::borrow::Cow;

use fax_image::codec::{self, BitOrder, Coding, EncodeOptions};
use fax_image::tiff::{PAGES_MAX, PageHeader, TiffError, TiffReader};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, TextStr};
use thiserror::Error;

/// PDF's unit: so many points are an inch.
const POINTS_PER_INCH: f32 = 72.0;
/// ISO 32000-1 Annex C: no side of a page is longer.
const SIDE_POINTS_MAX: f32 = 14_400.0;
/// Sides are given in thousandths of a point.
const POINT_PARTS: f32 = 1000.0;
/// The name of each page's only image.
const IMAGE: Name<'_> = Name(b"Fax");
/// Objects of one page: page, image, content.
const OBJECTS_PER_PAGE: i32 = 3;

/// Why a document cannot become a PDF.
#[derive(Debug, Error)]
pub enum PdfError {
    /// The fax document cannot be read.
    #[error(transparent)]
    Tiff(#[from] TiffError),
}

/// A page's rows in MMR, most significant bit first.
struct Image<'a> {
    octets: Cow<'a, [u8]>,
    width: i32,
    height: i32,
    /// Whether the coded white is shown black (TIFF photometric 1).
    is_inverted: bool,
}

/// Makes a PDF of all pages of the TIFF file `tiff`.
pub fn wrap(tiff: &[u8]) -> Result<Vec<u8>, PdfError> {
    bind(&[tiff])
}

/// Makes one PDF of all pages of the TIFF files, in their order.
pub fn bind(tiffs: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, PdfError> {
    let readers = tiffs.iter().map(|tiff| TiffReader::open(tiff.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let pages: Vec<(&TiffReader<'_>, usize)> =
        readers.iter().flat_map(|reader| (0..reader.page_count()).map(move |page| (reader, page))).collect();
    if pages.len() > PAGES_MAX {
        return Err(TiffError::TooManyPages.into());
    }
    let (catalog, tree, info) = (Ref::new(1), Ref::new(2), Ref::new(3));
    // The number of pages is limited, so references never overflow.
    let first_object = |page: usize| 4 + page as i32 * OBJECTS_PER_PAGE;
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    let kids = (0..pages.len()).map(|number| Ref::new(first_object(number)));
    pdf.pages(tree).kids(kids).count(pages.len() as i32);
    pdf.document_info(info).producer(TextStr("Faxwell"));
    for (number, (reader, page)) in pages.into_iter().enumerate() {
        let image = coded_image(reader, page)?;
        let size = paper_size(reader.page(page)?);
        write_page(&mut pdf, tree, first_object(number), &image, size);
    }
    Ok(pdf.finish())
}

fn coded_image<'a>(reader: &TiffReader<'a>, page: usize) -> Result<Image<'a>, TiffError> {
    let header = reader.page(page)?;
    let strip = match header.coding() {
        Some(Coding::Mmr) if header.bits == 1 && header.samples == 1 && header.photometric <= 1 => {
            reader.strip(page)?
        }
        _ => None,
    };
    let (octets, is_inverted) = match (strip, header.bit_order) {
        (Some(strip), BitOrder::MsbFirst) => (Cow::Borrowed(strip), header.photometric == 1),
        (Some(strip), BitOrder::LsbFirst) => {
            let mut turned = strip.to_vec();
            codec::reverse_bits(&mut turned);
            (Cow::Owned(turned), header.photometric == 1)
        }
        (None, _) => {
            let bitmap = reader.decode(page)?;
            (Cow::Owned(codec::encode(&bitmap, Coding::Mmr, &EncodeOptions::default())), false)
        }
    };
    // Sizes that no bitmap may have do not get into a PDF either.
    fax_image::Bitmap::check_size(header.width, header.height).map_err(|source| TiffError::Size { page, source })?;
    Ok(Image { octets, width: header.width as i32, height: header.height as i32, is_inverted })
}

/// Width and height in points.
fn paper_size(header: &PageHeader) -> (f32, f32) {
    let points = |pixels: u32, dpi: u32| pixels as f32 * POINTS_PER_INCH / dpi as f32;
    let (width, height) =
        (points(header.width, header.resolution.x_dpi), points(header.height, header.resolution.y_dpi));
    let scale = (SIDE_POINTS_MAX / width.max(height)).min(1.0);
    // Cut, never rounded up: a viewer at the fax's own resolution would otherwise add a row and resample the page.
    let cut = |side: f32| (side * scale * POINT_PARTS).floor() / POINT_PARTS;
    (cut(width), cut(height))
}

fn write_page(pdf: &mut Pdf, tree: Ref, first_object: i32, image: &Image<'_>, (width, height): (f32, f32)) {
    let (page_ref, image_ref, content_ref) =
        (Ref::new(first_object), Ref::new(first_object + 1), Ref::new(first_object + 2));
    let mut page = pdf.page(page_ref);
    page.parent(tree).media_box(Rect::new(0.0, 0.0, width, height)).contents(content_ref);
    page.resources().x_objects().pair(IMAGE, image_ref);
    page.finish();

    let mut object = pdf.image_xobject(image_ref, &image.octets);
    object.filter(Filter::CcittFaxDecode);
    object.width(image.width).height(image.height).bits_per_component(1);
    object.color_space().device_gray();
    // ISO 32000-1 Table 11: K < 0 is T.6. Black pixels decode to 0, which is black in DeviceGray, unless BlackIs1.
    let mut parms = object.decode_parms();
    parms.k(-1).columns(image.width).rows(image.height).black_is_1(image.is_inverted);
    parms.finish();
    object.finish();

    let mut content = Content::new();
    content.save_state().transform([width, 0.0, 0.0, height, 0.0, 0.0]).x_object(IMAGE).restore_state();
    pdf.stream(content_ref, &content.finish());
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use fax_image::tiff::{Profile, TiffPage, write_document};
    use fax_image::{Bitmap, Ink, Resolution};

    use super::*;

    /// Rules, boxes and slanted strokes.
    fn drawing(width: u32, height: u32) -> Bitmap {
        let mut page = Bitmap::white(width, height).unwrap();
        for step in 0..height.min(width) / 8 {
            page.fill_rect(step * 5 % (width - 30), step * 8, 20 + step % 7, 1 + step % 5, Ink::Black);
            page.fill_rect(width / 2 + step, step * 3, 4, 2, Ink::Black);
        }
        page
    }

    fn run(tool: &str, arguments: &[&str], folder: &Path) -> String {
        let output = Command::new(tool)
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("{tool} cannot be started ({error}); fix: apt install poppler-utils"));
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{tool}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A raw PBM picture: 1 is black, rows of whole octets.
    fn picture(octets: &[u8]) -> Bitmap {
        let mut parts = octets.splitn(3, |&octet| octet == b'\n');
        assert_eq!(parts.next(), Some(&b"P4"[..]));
        let size = String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
        let (width, height) = size.split_once(' ').unwrap();
        let (width, height): (u32, u32) = (width.parse().unwrap(), height.parse().unwrap());
        Bitmap::from_packed(width, height, width.div_ceil(8) as usize, parts.next().unwrap()).unwrap()
    }

    #[test]
    fn strips_survive_untouched_and_pixels_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let pages = [drawing(1728, 2292), drawing(1728, 1143), drawing(2048, 300)];
        let list = [
            TiffPage::new(&pages[0], Resolution::FINE, Profile::F),
            TiffPage::new(&pages[1], Resolution::STANDARD, Profile::S),
            TiffPage::new(&pages[2], Resolution::SUPERFINE, Profile::F),
        ];
        let tiff = write_document(&list).unwrap();
        let pdf = wrap(&tiff).unwrap();
        assert_eq!(pdf, wrap(&tiff).unwrap(), "the same document gives the same octets");
        std::fs::write(folder.path().join("fax.pdf"), &pdf).unwrap();

        run("pdfimages", &["-ccitt", "fax.pdf", "strip"], folder.path());
        run("pdfimages", &["fax.pdf", "pixels"], folder.path());
        for (number, page) in pages.iter().enumerate() {
            let strip = std::fs::read(folder.path().join(format!("strip-{number:03}.ccitt"))).unwrap();
            assert_eq!(strip, codec::encode(page, Coding::Mmr, &EncodeOptions::default()), "page {number}");
            let pixels = std::fs::read(folder.path().join(format!("pixels-{number:03}.pbm"))).unwrap();
            assert_eq!(&picture(&pixels), page, "page {number}");
        }
        let listed = run("pdfinfo", &["-l", "3", "fax.pdf"], folder.path());
        for line in ["Producer:        Faxwell", "Pages:           3", "Page    1 size:  609.882 x 841.959 pts"] {
            assert!(listed.contains(line), "{line} is missing in\n{listed}");
        }
        for private in ["Author", "Creator", "CreationDate", "Title"] {
            assert!(!listed.contains(private), "{private} in\n{listed}");
        }
    }

    #[test]
    fn a_page_drawn_at_its_own_resolution_has_the_same_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let page = drawing(1728, 2200);
        for (resolution, profile) in [(Resolution::FINE, Profile::F), (Resolution::STANDARD, Profile::S)] {
            let pdf = wrap(&write_document(&[TiffPage::new(&page, resolution, profile)]).unwrap()).unwrap();
            std::fs::write(folder.path().join("fax.pdf"), pdf).unwrap();
            let (x, y) = (resolution.x_dpi.to_string(), resolution.y_dpi.to_string());
            run("pdftoppm", &["-mono", "-rx", &x, "-ry", &y, "fax.pdf", "drawn"], folder.path());
            let drawn = picture(&std::fs::read(folder.path().join("drawn-1.pbm")).unwrap());
            assert_eq!((drawn.width(), drawn.height()), (1728, 2200));
            assert_eq!(drawn, page, "{resolution:?}");
        }
    }

    #[test]
    fn inverted_and_turned_strips_look_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let page = drawing(1728, 400);
        let good = write_document(&[TiffPage::new(&page, Resolution::FINE, Profile::F)]).unwrap();
        // Values of fields: photometric is the sixth, fill order the seventh; see the writer.
        let value = |index: usize| 8 + 2 + index * 12 + 8;
        let mut inverted = good.clone();
        inverted[value(5)] = 1;
        let mut turned = good.clone();
        turned[value(6)] = 2;
        let strip = 8 + 2 + 16 * 12 + 4 + 16;
        codec::reverse_bits(&mut turned[strip..]);
        let mut negative = page.clone();
        negative.invert();
        for (tiff, expected) in [(good, &page), (turned, &page), (inverted, &negative)] {
            std::fs::write(folder.path().join("fax.pdf"), wrap(&tiff).unwrap()).unwrap();
            run("pdfimages", &["fax.pdf", "pixels"], folder.path());
            let pixels = std::fs::read(folder.path().join("pixels-000.pbm")).unwrap();
            assert_eq!(&picture(&pixels), expected);
        }
    }

    #[test]
    fn what_is_no_tiff_is_an_error() {
        assert!(matches!(wrap(b"%PDF-1.7"), Err(PdfError::Tiff(TiffError::NotTiff))));
    }
}
