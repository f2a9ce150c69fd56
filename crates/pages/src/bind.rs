//! Pages that came over the line one by one, as one file.
//!
//! In: a TIFF for each page. Out: a PDF that holds their strips as they came, or a TIFF-F. Failure: a file that cannot be read at
//! all; rows that cannot are shown as the row above them, as a fax machine prints them. Standard: RFC 3949 §3 (profile S, which
//! every reader of Internet fax knows) and §4 (profile F, where a page is too wide or too fine for S).

use fax_image::codec::Tolerance;
use fax_image::tiff::{Profile, TiffPage, TiffReader, TiffWriter, WriteError};

use crate::order::{Bound, ConvertError, ErrorKind, Result, damaged};
use crate::pdf_out;
use crate::tiff_f::unreadable;
use crate::worker::Output;

pub(crate) fn bind(tiffs: &[Vec<u8>], form: Bound) -> Result<Output> {
    if tiffs.is_empty() {
        return Err(ConvertError::new(ErrorKind::Empty, "there are no pages"));
    }
    let bytes = match form {
        Bound::Pdf => pdf_out::bind(tiffs).map_err(|error| damaged(error.to_string()))?,
        // A page that does not fit makes the whole file profile F: a reader is told of one profile.
        Bound::Tiff => match tiff(tiffs, Profile::S)? {
            Some(bytes) => bytes,
            None => tiff(tiffs, Profile::F)?.ok_or_else(|| damaged("the pages fit no profile of TIFF-F"))?,
        },
    };
    Ok(Output { bytes, pages: Vec::new(), notes: Vec::new(), in_colour: 0, drawn_by: Vec::new() })
}

/// None when a page is not what the profile allows.
fn tiff(tiffs: &[Vec<u8>], profile: Profile) -> Result<Option<Vec<u8>>> {
    let too_large = |error: WriteError| ConvertError::new(ErrorKind::TooLarge, error.to_string());
    let mut file = TiffWriter::new();
    for tiff in tiffs {
        let reader = TiffReader::open(tiff).map_err(unreadable)?;
        for page in 0..reader.page_count() {
            let bitmap = reader.decode_with(page, Tolerance::Conceal).map_err(unreadable)?.bitmap;
            let resolution = reader.page(page).map_err(unreadable)?.resolution;
            match file.push(&TiffPage::new(&bitmap, resolution, profile)) {
                Err(WriteError::NotProfileS { .. }) => return Ok(None),
                other => other.map_err(too_large)?,
            }
        }
    }
    file.finish().map(Some).map_err(too_large)
}

#[cfg(test)]
mod tests {
    use fax_image::codec::Coding;
    use fax_image::tiff::write_document;
    use fax_image::{Bitmap, Ink, Resolution};

    use super::*;

    fn page(width: u32, number: u32) -> Bitmap {
        let mut page = Bitmap::white(width, 800).unwrap();
        page.fill_rect(100 * number, 50, 70, 300 + number, Ink::Black);
        page
    }

    fn received(page: &Bitmap, resolution: Resolution) -> Vec<u8> {
        write_document(&[TiffPage::new(page, resolution, Profile::F)]).unwrap()
    }

    #[test]
    fn a_pdf_holds_the_octets_of_each_page_as_they_came() {
        let tiffs: Vec<Vec<u8>> = (1..=3).map(|n| received(&page(1728, n), Resolution::FINE)).collect();
        let pdf = bind(&tiffs, Bound::Pdf).unwrap().bytes;
        for tiff in &tiffs {
            let strip = TiffReader::open(tiff).unwrap().strip(0).unwrap().unwrap().to_vec();
            let places = pdf.windows(strip.len()).filter(|octets| *octets == strip).count();
            assert_eq!(places, 1, "the strip is there, whole and once");
        }
        assert!(pdf.windows(8).any(|octets| octets == b"/Count 3"));
        assert_eq!(pdf, bind(&tiffs, Bound::Pdf).unwrap().bytes, "the same pages give the same octets");
    }

    #[test]
    fn a_tiff_is_profile_s_where_every_page_allows_it() {
        let narrow = [(1728, Resolution::FINE), (1728, Resolution::STANDARD)];
        let wide = [(1728, Resolution::FINE), (2048, Resolution::FINE)];
        let fine = [(1728, Resolution::SUPERFINE), (1728, Resolution::FINE)];
        for (sizes, coding) in [(narrow, Coding::Mh), (wide, Coding::Mmr), (fine, Coding::Mmr)] {
            let pages: Vec<Bitmap> = (1..).zip(sizes).map(|(number, (width, _))| page(width, number)).collect();
            let tiffs: Vec<Vec<u8>> = pages.iter().zip(sizes).map(|(page, (_, dpi))| received(page, dpi)).collect();
            let file = bind(&tiffs, Bound::Tiff).unwrap().bytes;
            let reader = TiffReader::open(&file).unwrap();
            assert_eq!(reader.page_count(), 2);
            for (index, page) in pages.iter().enumerate() {
                assert_eq!(reader.page(index).unwrap().coding(), Some(coding), "{sizes:?}");
                assert_eq!(&reader.decode(index).unwrap(), page, "{sizes:?}");
            }
        }
    }

    #[test]
    fn damaged_rows_cost_no_page_and_what_is_no_tiff_is_named() {
        let mut tiff = received(&page(1728, 1), Resolution::FINE);
        let end = tiff.len();
        tiff[end - 12..].fill(0xff);
        for form in [Bound::Pdf, Bound::Tiff] {
            let bytes = bind(std::slice::from_ref(&tiff), form).unwrap().bytes;
            assert!(!bytes.is_empty(), "{form:?}");
            assert_eq!(
                bind(&[b"no tiff".to_vec()], form).err().map(|error| error.kind),
                Some(ErrorKind::Damaged),
                "{form:?}"
            );
        }
    }
}
