//! TIFF-F in and out, and small pictures of its pages.

use fax_image::Bitmap;
use fax_image::codec::Eol;
use fax_image::tiff::{CodedStrip, Profile, Resolution, TiffError, TiffPage, TiffReader, TiffWriter};

use crate::order::{ConvertError, ErrorKind, Quality, Result, damaged};
use crate::thumbnail;

/// Writes pages as profile F with MMR (RFC 3949 §4).
pub(crate) struct Writer {
    file: TiffWriter,
    resolution: Resolution,
}

impl Writer {
    pub(crate) fn new(quality: Quality) -> Self {
        Self { file: TiffWriter::new(), resolution: resolution(quality) }
    }

    pub(crate) fn add(&mut self, page: &Bitmap) -> Result<()> {
        let page = TiffPage::new(page, self.resolution, Profile::F);
        self.file.push(&page).map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.file.finish().map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
    }
}

pub(crate) fn resolution(quality: Quality) -> Resolution {
    match quality {
        Quality::Standard => Resolution::STANDARD,
        Quality::Fine => Resolution::FINE,
        Quality::Superfine => Resolution::SUPERFINE,
    }
}

/// Reads the pages of a TIFF-F one by one.
pub(crate) struct Reader<'a>(TiffReader<'a>);

impl<'a> Reader<'a> {
    pub(crate) fn open(tiff: &'a [u8]) -> Result<Self> {
        TiffReader::open(tiff).map(Self).map_err(unreadable)
    }

    pub(crate) fn page_count(&self) -> usize {
        self.0.page_count()
    }

    /// Page `index`, from 0.
    pub(crate) fn page(&self, index: usize) -> Result<Bitmap> {
        self.0.decode(index).map_err(unreadable)
    }

    /// Line density of page `index`.
    pub(crate) fn quality(&self, index: usize) -> Result<Quality> {
        let found = self.0.page(index).map_err(unreadable)?.resolution;
        let all = [Quality::Standard, Quality::Fine, Quality::Superfine];
        let quality = all.into_iter().find(|quality| resolution(*quality) == found);
        quality.ok_or_else(|| damaged(format!("page {} has no resolution of a fax", index + 1)))
    }

    /// The file with another page `index`; the others as they are coded.
    pub(crate) fn with_page(&self, index: usize, page: &Bitmap) -> Result<Vec<u8>> {
        let mut file = TiffWriter::new();
        for at in 0..self.0.page_count() {
            let header = self.0.page(at).map_err(unreadable)?;
            let strip = self.0.strip(at).map_err(unreadable)?.zip(header.coding()).filter(|_| at != index);
            let pushed = match strip {
                Some((octets, coding)) => {
                    let (bit_order, width, height) = (header.bit_order, header.width, header.height);
                    let strip = CodedStrip { octets, coding, eol: Eol::default(), bit_order, width, height };
                    file.push(&TiffPage::coded(strip, header.resolution))
                }
                None if at == index => file.push(&TiffPage::new(page, header.resolution, Profile::F)),
                None => {
                    let page = self.0.decode(at).map_err(unreadable)?;
                    file.push(&TiffPage::new(&page, header.resolution, Profile::F))
                }
            };
            pushed.map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))?;
        }
        file.finish().map_err(|error| ConvertError::new(ErrorKind::TooLarge, error.to_string()))
    }
}

/// PNG of a page (from 1), `width_px` wide, with the proportions of paper.
pub(crate) fn thumbnail(tiff: &[u8], page: u32, width_px: u32) -> Result<Vec<u8>> {
    let reader = TiffReader::open(tiff).map_err(unreadable)?;
    let index = (page as usize).checked_sub(1).ok_or_else(|| damaged("pages count from 1"))?;
    let bitmap = reader.decode(index).map_err(unreadable)?;
    let resolution = reader.page(index).map_err(unreadable)?.resolution;
    Ok(thumbnail::png(&bitmap, resolution, width_px))
}

/// What people are told about a TIFF that cannot be read.
pub(crate) fn unreadable(error: TiffError) -> ConvertError {
    let kind = match error {
        TiffError::NoPages => ErrorKind::Empty,
        TiffError::TooManyPages => ErrorKind::TooManyPages,
        _ => ErrorKind::Damaged,
    };
    ConvertError::new(kind, error.to_string())
}
