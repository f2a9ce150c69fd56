//! Documents with pages that no other mail has, and the hash by which a page is known again.

use fax_image::tiff::{Profile, TiffPage, TiffWriter};
use fax_image::{Bitmap, Ink};

use crate::harness::pixels;

/// Rows at the top that differ from call to call: the header line takes 5 mm, 77 rows at the finest density.
const HEADER_ROWS: usize = 80;

/// FNV-1a over the raster below the header line, as the far end's ledger has it.
pub(crate) fn body(page: &Bitmap) -> String {
    let octets = page.rows().skip(HEADER_ROWS).flatten();
    let hash =
        octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Hashes of the pages of a TIFF.
pub(crate) fn bodies(tiff: &[u8]) -> Vec<String> {
    pixels(tiff).iter().map(body).collect()
}

/// Hashes of the whole pages of a TIFF, as the ledger of calls to the gateway has them.
pub(crate) fn whole(tiff: &[u8]) -> Vec<String> {
    pixels(tiff).iter().map(foip::far_end::raster_sha256).collect()
}

/// What a mail is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A text file, a form feed between pages.
    Text,
    /// A text as the mail's body: one page.
    Body,
    /// A fax scanned by somebody else.
    Tiff,
    /// Vector text.
    Pdf,
}

/// An attachment of `pages` pages that carry `token`: name, media type, octets.
pub(crate) fn attachment(form: Form, token: &str, pages: u32) -> (String, &'static str, Vec<u8>) {
    match form {
        Form::Text | Form::Body => (format!("{token}.txt"), "text/plain", text(token, pages).into_bytes()),
        Form::Tiff => (format!("{token}.tif"), "image/tiff", tiff(token, pages)),
        Form::Pdf => (format!("{token}.pdf"), "application/pdf", pdf(token, pages)),
    }
}

/// Dense enough for a document that lies in the repository and not in the store's row.
fn text(token: &str, pages: u32) -> String {
    let lines = |page: u32| (1..=40).map(move |line| format!("{token}, page {page}, line {line}: lorem ipsum dolor"));
    let page = |page: u32| lines(page).collect::<Vec<_>>().join("\r\n");
    (1..=pages).map(page).collect::<Vec<_>>().join("\u{c}")
}

/// Blocks that spell token and page number, bit by bit.
fn tiff(token: &str, pages: u32) -> Vec<u8> {
    let mut writer = TiffWriter::new();
    for page in 1..=pages {
        let mut bitmap = Bitmap::white(1728, 1100).unwrap();
        for (row, octet) in format!("{token} {page}").bytes().enumerate() {
            for bit in (0..8).filter(|bit| octet >> bit & 1 == 1) {
                bitmap.fill_rect(200 + bit * 100, 200 + u32::try_from(row).unwrap() * 40, 60, 24, Ink::Black);
            }
        }
        writer.push(&TiffPage::new(&bitmap, fax_image::Resolution::STANDARD, Profile::F)).unwrap();
    }
    writer.finish().unwrap()
}

fn pdf(token: &str, pages: u32) -> Vec<u8> {
    let mut out = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    let mut object = |out: &mut String, body: String| {
        offsets.push(out.len());
        out.push_str(&format!("{} 0 obj\n{body}\nendobj\n", offsets.len()));
    };
    let kids: Vec<String> = (0..pages).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    object(&mut out, "<< /Type /Catalog /Pages 2 0 R >>".to_owned());
    object(&mut out, format!("<< /Type /Pages /Count {pages} /Kids [{}] >>", kids.join(" ")));
    object(&mut out, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned());
    for page in 1..=pages {
        let content = format!("BT /F1 28 Tf 72 600 Td ({token} page {page}) Tj ET");
        let resources = "/Resources << /Font << /F1 3 0 R >> >>";
        let contents = 3 + 2 * page;
        object(
            &mut out,
            format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {resources} /Contents {contents} 0 R >>"),
        );
        object(&mut out, format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    let start = out.len();
    let count = offsets.len() + 1;
    let rows: String = offsets.iter().map(|offset| format!("{offset:010} 00000 n \n")).collect();
    out.push_str(&format!("xref\n0 {count}\n0000000000 65535 f \n{rows}"));
    out.push_str(&format!("trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"));
    out.into_bytes()
}
