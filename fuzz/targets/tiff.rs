//! Any octets are a file whose pages can be read, or an error; the pages that are read can be written and read again.
#![no_main]

use fax_image::codec::Tolerance;
use fax_image::tiff::{Profile, TiffPage, TiffReader, write_document};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Ok(reader) = TiffReader::open(octets) else { return };
    for index in 0..reader.page_count().min(4) {
        let header = reader.page(index).expect("the page is counted").clone();
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
