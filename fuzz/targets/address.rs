//! Any local part is a number in international form, or a refusal: never a crash, never another number than it says.
//!
//! The module is compiled here as it stands: the gateway's crate as a whole is too heavy for this.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/domain/mod.rs"]
mod domain;
#[path = "../../src/config"]
mod config {
    pub mod forbidden;
}
#[path = "../../src/intake"]
mod intake {
    pub mod address;
}

use intake::address::{AddressRules, parse_local};

const COUNTRIES: [Option<&str>; 6] = [None, Some("CH"), Some("US"), Some("DE"), Some("IT"), Some("GB")];

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((country, local)) = octets.split_first() else { return };
    let Ok(local) = std::str::from_utf8(local) else { return };
    let country = COUNTRIES[usize::from(*country) % COUNTRIES.len()].map(str::to_owned);
    let rules = AddressRules { domain: "fax.test".into(), country };
    match parse_local(local, &rules) {
        Ok(address) => {
            let number = address.number.as_str();
            let digits = number.strip_prefix('+').expect("international form");
            assert!((1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()), "{number}");
            // E.164: said once more in full, it is the same.
            let again = parse_local(number, &rules).unwrap_or_else(|error| panic!("{number}: {error}"));
            assert_eq!(again.number, address.number);
            for text in [&address.to_name, &address.to_company].into_iter().flatten() {
                assert!(!text.is_empty() && text.chars().all(|c| !c.is_control()) && text.chars().count() <= 80);
            }
            assert!(address.subaddress.is_none_or(|s| (1..=20).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())));
        }
        Err(error) => {
            assert!((400..600).contains(&error.code) && !error.text.contains(['\r', '\n']), "{error}");
        }
    }
});
