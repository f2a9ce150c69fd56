//! Any octets are a document that becomes pages of the right size, or an error.
#![no_main]

use std::sync::OnceLock;

use fax_image::tiff::TiffReader;
use pages::worker::Unlocked;
use pages::{ConvertOrder, Part};

static CONVERTER: OnceLock<Unlocked> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let converter = CONVERTER.get_or_init(Unlocked::open);
    let part = Part { bytes: octets.to_vec(), ..Part::default() };
    let order = ConvertOrder { max_pages: 2, parts: vec![part], ..ConvertOrder::default() };
    if let Ok(tiff) = converter.convert(order) {
        let reader = TiffReader::open(&tiff).expect("ours");
        for index in 0..reader.page_count() {
            let page = reader.decode(index).expect("ours");
            assert_eq!(page.width(), pages::WIDTH_PX);
            assert!(page.height() >= 1);
        }
    }
});
