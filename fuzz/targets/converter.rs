//! Any octets are a document that becomes pages of the right size, or an error.
#![no_main]

use fax_image::tiff::TiffReader;
use pages::worker::Unlocked;
use pages::{ConvertOrder, Part};

thread_local! {
    static CONVERTER: Unlocked = Unlocked::open();
}

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let part = Part { bytes: octets.to_vec(), ..Part::default() };
    let order = ConvertOrder { max_pages: 2, parts: vec![part], ..ConvertOrder::default() };
    if let Ok(tiff) = CONVERTER.with(|converter| converter.convert(order)) {
        let reader = TiffReader::open(&tiff).expect("ours");
        for index in 0..reader.page_count() {
            let page = reader.decode(index).expect("ours");
            assert_eq!(page.width(), pages::WIDTH_PX);
            assert!(page.height() >= 1);
        }
    }
});
