//! Any octets end in an answer, whose content is bounded by their number.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Ok(message) = outlook::open_tnef(octets) {
        assert!(message.content_bytes() <= outlook::content_bytes_max(octets.len()));
    }
});
