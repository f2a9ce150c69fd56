//! Any octets are a file whose pages can be read, or an error; the pages that are read can be written and read again.
#![no_main]

use fax_image::codec::Tolerance;
use fax_image::tiff::{Chunk, Planes, Profile, TiffPage, TiffReader, write_document};

/// The strips and tiles of a page of any kind: none is outside the file, none unpacks to more than it should.
fn pieces(reader: &TiffReader<'_>, index: usize) {
    let Ok(raster) = reader.raster(index) else { return };
    let header = &raster.header;
    if raster.check_length().is_err() || u64::from(raster.chunk.0) * u64::from(raster.chunk.1) > 4 << 20 {
        return;
    }
    let planes = if raster.planes == Planes::Apart { header.samples } else { 1 };
    for plane in 0..planes.min(2) {
        for down in 0..raster.chunks.1.min(3) {
            assert!((1..=raster.chunk.1).contains(&raster.chunk_rows(down)));
            for across in 0..raster.chunks.0.min(3) {
                let _: Option<Chunk<'_>> = raster.chunk(plane, across, down).ok();
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Ok(reader) = TiffReader::open(octets) else { return };
    for index in 0..reader.page_count().min(4) {
        let header = reader.page(index).expect("the page is counted").clone();
        pieces(&reader, index);
        // Large pages are legal, and too slow to be many.
        if u64::from(header.width) * u64::from(header.height) > 4 << 20 {
            continue;
        }
        let strict = reader.decode_with(index, Tolerance::Strict);
        let Ok(decoded) = reader.decode_with(index, Tolerance::Conceal) else { continue };
        assert_eq!((decoded.bitmap.width(), decoded.bitmap.height()), (header.width, header.height));
        if let Ok(strict) = strict {
            assert_eq!(strict, decoded, "what is sound needs no concealing");
        }
        let file = write_document(&[TiffPage::new(&decoded.bitmap, header.resolution, Profile::F)])
            .expect("what was read can be written");
        let reader = TiffReader::open(&file).expect("ours");
        assert_eq!(reader.decode(0).as_ref(), Ok(&decoded.bitmap));
    }
});
