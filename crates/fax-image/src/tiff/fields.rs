//! The numbers of a TIFF file: byte order, IFD entries and their values.
//!
//! Failure: reading outside the file gives `None`; nothing is allocated by what a file only claims.
//! Standard: TIFF 6.0 part 1, §2.

/// Field numbers.
pub(super) mod tag {
    pub(in crate::tiff) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(in crate::tiff) const SUBFILE_TYPE: u16 = 255;
    pub(in crate::tiff) const IMAGE_WIDTH: u16 = 256;
    pub(in crate::tiff) const IMAGE_LENGTH: u16 = 257;
    pub(in crate::tiff) const BITS_PER_SAMPLE: u16 = 258;
    pub(in crate::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::tiff) const ORIENTATION: u16 = 274;
    pub(in crate::tiff) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(in crate::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::tiff) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(in crate::tiff) const X_RESOLUTION: u16 = 282;
    pub(in crate::tiff) const Y_RESOLUTION: u16 = 283;
    pub(in crate::tiff) const T4_OPTIONS: u16 = 292;
    pub(in crate::tiff) const T6_OPTIONS: u16 = 293;
    pub(in crate::tiff) const RESOLUTION_UNIT: u16 = 296;
    pub(in crate::tiff) const PAGE_NUMBER: u16 = 297;
    pub(in crate::tiff) const PLANAR_CONFIGURATION: u16 = 284;
    pub(in crate::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::tiff) const COLOR_MAP: u16 = 320;
    pub(in crate::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::tiff) const TILE_LENGTH: u16 = 323;
    pub(in crate::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::tiff) const TILE_BYTE_COUNTS: u16 = 325;
    pub(in crate::tiff) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::tiff) const YCBCR_SUBSAMPLING: u16 = 530;
}

/// Field types.
pub(super) mod kind {
    pub(in crate::tiff) const BYTE: u16 = 1;
    pub(in crate::tiff) const SHORT: u16 = 3;
    pub(in crate::tiff) const LONG: u16 = 4;
    pub(in crate::tiff) const RATIONAL: u16 = 5;
}

/// The file's octets in its byte order.
#[derive(Clone, Copy)]
pub(super) struct Octets<'a> {
    pub(super) all: &'a [u8],
    pub(super) order: ByteOrder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl<'a> Octets<'a> {
    /// The octets from `offset` on, or `None` when they are not all in the file.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.all.get(start..end)
    }

    pub(super) fn short(&self, offset: u64) -> Option<u16> {
        let octets = self.slice(offset, 2)?.try_into().ok()?;
        Some(match self.order {
            ByteOrder::Little => u16::from_le_bytes(octets),
            ByteOrder::Big => u16::from_be_bytes(octets),
        })
    }

    pub(super) fn long(&self, offset: u64) -> Option<u32> {
        let octets = self.slice(offset, 4)?.try_into().ok()?;
        Some(match self.order {
            ByteOrder::Little => u32::from_le_bytes(octets),
            ByteOrder::Big => u32::from_be_bytes(octets),
        })
    }
}

/// One entry of an IFD.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) kind: u16,
    pub(super) count: u32,
    /// Where the values are: in the entry itself when they fit into four octets.
    pub(super) place: u64,
}

impl Entry {
    /// The entry whose twelve octets begin at `offset`, and its field number.
    pub(super) fn read(octets: &Octets<'_>, offset: u64) -> Option<(u16, Self)> {
        let (kind, count) = (octets.short(offset + 2)?, octets.long(offset + 4)?);
        let size = match kind {
            kind::SHORT => 2,
            kind::LONG => 4,
            kind::RATIONAL => 8,
            _ => 1,
        };
        let inside = u64::from(count) * size <= 4;
        let place = if inside { offset + 8 } else { u64::from(octets.long(offset + 8)?) };
        Some((octets.short(offset)?, Self { kind, count, place }))
    }

    /// Value `index` of an integer field. RFC 3249 §5.2: SHORT stands for LONG and LONG for SHORT.
    pub(super) fn integer(&self, octets: &Octets<'_>, index: u32) -> Option<u32> {
        if index >= self.count {
            return None;
        }
        let index = u64::from(index);
        match self.kind {
            kind::BYTE => octets.slice(self.place + index, 1).map(|octet| u32::from(octet[0])),
            kind::SHORT => octets.short(self.place + index * 2).map(u32::from),
            kind::LONG => octets.long(self.place + index * 4),
            _ => None,
        }
    }

    /// The octets of a field of octets.
    pub(super) fn octets<'a>(&self, octets: &Octets<'a>) -> Option<&'a [u8]> {
        octets.slice(self.place, u64::from(self.count))
    }

    /// The first value of a number field as a fraction; an integer is one over 1.
    pub(super) fn fraction(&self, octets: &Octets<'_>) -> Option<(u32, u32)> {
        if self.kind == kind::RATIONAL && self.count > 0 {
            Some((octets.long(self.place)?, octets.long(self.place + 4)?))
        } else {
            self.integer(octets, 0).map(|value| (value, 1))
        }
    }
}
