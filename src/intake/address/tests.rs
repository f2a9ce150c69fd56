//! The vectors of the standards, one line each.

use proptest::prelude::*;
use smtp::path::Utf8;

use super::*;

fn rules(country: &str) -> AddressRules {
    let country = (!country.is_empty()).then(|| country.to_owned());
    AddressRules { domain: "fax.test".into(), country }
}

/// Reads `address` (the forward-path between the brackets) and compares `number sub=… post=… name=… company=…`, or
/// `code status slug`.
fn check(country: &str, address: &str, expected: &str) {
    let input = format!("<{address}>");
    let (path, _) = smtp::path::parse(&input, Utf8::Allowed).unwrap_or_else(|e| panic!("{address}: {e}"));
    let got = match parse(&path.unwrap(), &rules(country)) {
        Ok(found) => {
            let mut text = found.number.to_string();
            for (key, value) in [
                ("sub", found.subaddress),
                ("post", found.post_dial),
                ("name", found.to_name),
                ("company", found.to_company),
            ] {
                text.push_str(&value.map(|value| format!(" {key}={value}")).unwrap_or_default());
            }
            text
        }
        Err(error) => format!("{} {} {}", error.code, error.status, error.cause),
    };
    assert_eq!(got, expected, "{address}");
}

#[test]
fn a1_to_a10_addresses_of_rfc_3191_and_3192() {
    check("", "FAX=+3940226338@fax.test", "+3940226338");
    check("", "FAX=+1.202.7653000/T33S=6377@fax.test", "+12027653000 sub=6377");
    check("", "/FAX=+33-1-88335215/@fax.test", "+33188335215");
    check("", "\"FAX=+33-1-88335215\"@fax.test", "+33188335215");
    check("", "\"/FAX=+33188335215/ATTN=J. Smith/\"@fax.test", "+33188335215 name=J. Smith");
    check("", "fax=+12145551212/t33s=01387@fax.test", "+12145551212 sub=01387");
    let full = "FAX=+1-202-455-7622/T33S=8745/PostD=p1w7005393w373@fax.test";
    check("", full, "+12024557622 sub=8745 post=p1w7005393w373");
    check("", "FAX=9p040p22.63.38/t33s=4312/ofno=T2-33A/OFNA=Q-C@fax.test", "550 5.7.1 number-not-allowed");
    check("", "FAX=+39040226338/ATTN=Mark.Collins/@fax.test", "+39040226338 name=Mark Collins");
    check("", "FAX=+39040226338/ATTN=Carlo.CMLS.Nascimento@fax.test", "+39040226338 name=Carlo CMLS Nascimento");
    check("", "FAX=+12145551212/X-COST=42@fax.test", "+12145551212");
}

#[test]
fn a11_to_a14_what_rfc_3191_forbids() {
    check("US", "FAX=9+12145551212@fax.test", "501 5.1.3 number-invalid");
    check("US", "FAX=/postd=p1w7005393@fax.test", "550 5.1.1 number-invalid");
    check("", "VOICE=+3940226338@fax.test", "550 5.1.1 number-invalid");
    check("", "SMS=+3940226338@fax.test", "550 5.1.1 number-invalid");
    check("", "FAX=+12145551212/T33S=12#34@fax.test", "501 5.1.3 number-invalid");
    check("", "FAX=+12145551212/T33S=@fax.test", "501 5.1.3 number-invalid");
    check("", "FAX=+12145551212/T33S=1/T33S=2@fax.test", "501 5.1.3 number-invalid");
    check("", "FAX=+12145551212/POSTD=hello@fax.test", "501 5.1.3 number-invalid");
}

#[test]
fn a15_plain_forms() {
    for plain in ["+12145551212", "12145551212", "2145551212", "\"(214)555-1212\"", "+1-214-555.1212"] {
        check("US", &format!("{plain}@fax.test"), "+12145551212");
    }
    check("US", "011-49-30-901820@fax.test", "+4930901820");
    check("CH", "0441234567@fax.test", "+41441234567");
    check("CH", "0041441234567@fax.test", "+41441234567");
    check("CH", "0049-30-901820@fax.test", "+4930901820");
    check("CH", "441234567@fax.test", "+41441234567");
    check("CH", "41441234567@fax.test", "+41441234567");
    check("CH", "+41-44-123.45.67@fax.test", "+41441234567");
    check("CH", "\"+41 (0)44 123 45 67\"@fax.test", "+41441234567");
    check("CH", "+410441234567@fax.test", "+41441234567");
    check("DE", "\"+49 (0)30 901820\"@fax.test", "+4930901820");
    check("GB", "020-7946-0123@fax.test", "+442079460123");
    check("GB", "00441164960348@fax.test", "+441164960348");
    check("", "0441234567@fax.test", "550 5.1.3 number-invalid");
    check("", "0041441234567@fax.test", "550 5.1.3 number-invalid");
}

#[test]
fn numbers_of_section_6_are_possible_or_refused() {
    check("IT", "040-226338@fax.test", "+39040226338");
    check("", "+39-040-226338@fax.test", "+39040226338");
    check("", "\"+39 (0)40 226338\"@fax.test", "+39040226338");
    check("US", "555-1212@fax.test", "550 5.1.1 number-invalid");
    check("US", "911@fax.test", "550 5.7.1 number-not-allowed");
    check("CH", "112@fax.test", "550 5.7.1 number-not-allowed");
    check("CH", "1-1-7@fax.test", "550 5.7.1 number-not-allowed");
    check("US", "1-800-FLOWERS@fax.test", "550 5.1.3 number-invalid");
    check("US", "+1-800-FLOWERS@fax.test", "550 5.1.3 number-invalid");
    check("US", "+19005551212@fax.test", "+19005551212");
    check("US", "\"9,12145551212\"@fax.test", "550 5.7.1 number-not-allowed");
    check("US", "\"+12027653000;ext=12\"@fax.test", "550 5.1.3 number-invalid");
    check("CH", "+1234567890123456789@fax.test", "550 5.1.3 number-invalid");
    check("CH", "+0041441234567@fax.test", "550 5.1.1 number-invalid");
    check("CH", "+2101234567@fax.test", "550 5.1.1 number-invalid");
}

#[test]
fn the_sandboxs_numbers_are_taken_as_they_are() {
    check("CH", "+99910200@fax.test", "+99910200");
    check("", "+9995550001234@fax.test", "+9995550001234");
    check("", "FAX=+999-1-0486/T33S=7@fax.test", "+99910486 sub=7");
    check("", "+999123@fax.test", "550 5.1.3 number-invalid");
}

#[test]
fn a16_plus_addressing_is_no_fax_address() {
    check("US", "fax+12145551212@fax.test", "501 5.1.3 number-invalid");
    check("US", "anna@fax.test", "550 5.1.3 number-invalid");
    check("US", "anna.meier@fax.test", "550 5.1.3 number-invalid");
}

#[test]
fn a17_name_and_company_in_front_of_the_number() {
    check("CA", "Jane_Doe/Company_Name/FAX=1-604-926-8182@fax.test", "+16049268182 name=Jane Doe company=Company Name");
    check("CH", "anna.meier/+41441234567@fax.test", "+41441234567 name=anna meier");
    check("CH", "anna.meier/0441234567/T33S=5@fax.test", "+41441234567 sub=5 name=anna meier");
}

#[test]
fn a18_a20_only_our_domain_is_served() {
    check("", "FAX=+12145551212@[192.0.2.1]", "550 5.7.1 relay-denied");
    check("", "FAX=+12145551212@other.test", "550 5.7.1 relay-denied");
    check("", "FAX=+12145551212@sub.fax.test", "550 5.7.1 relay-denied");
    check("", "FAX=+12145551212@FAX.Test.", "+12145551212");
    check("", "@relay.test:FAX=+12145551212@fax.test", "+12145551212");
}

#[test]
fn a21_digits_of_other_widths_are_digits_and_of_other_scripts_are_refused() {
    check("", "＋１２１４５５５１２１２@fax.test", "+12145551212");
    check("", "+1٢١٤٥٥٥١٢١٢@fax.test", "553 5.6.7 number-invalid");
    check("", "+1214555121²@fax.test", "553 5.6.7 number-invalid");
}

#[test]
fn a22_a_slash_in_a_value_stays_in_it() {
    check("", "FAX=+12145551212/ATTN=A/B@fax.test", "+12145551212 name=A/B");
    check("", "FAX=+12145551212/ATTN=A/B/T33S=1@fax.test", "+12145551212 sub=1 name=A/B");
}

#[test]
fn a24_a25_a27_encapsulated_addresses() {
    check("US", "IMCEAFAX-2145551212@fax.test", "+12145551212");
    check("", "IMCEAFAX-+2B41+20441234567@fax.test", "+41441234567");
    let name = "IMCEAFAX-John+20Doe+40+2B1+20+28425+29+20555-1212@fax.test";
    check("", name, "+14255551212 name=John Doe");
    let special = "IMCEAFAX-936-7329+20+7C+20+2B1+20+28206+29+209364344+7C+2C+2C+2C+2C+2C567@fax.test";
    check("", special, "+12069364344 post=ppppp567");
    let sub = "IMCEAFAX-936-7329+20+7C+20+2B1+20+28206+29+209367329+7C+23546@fax.test";
    check("", sub, "+12069367329 sub=546");
    let umlaut = "IMCEAFAX-M+C3+BCller+2C+20J+C3+B6rg+40+2B49+20+2830+29+20901820@fax.test";
    check("", umlaut, "+4930901820 name=Müller, Jörg");
    check("", "IMCEAFAX-+4@fax.test", "501 5.1.3 number-invalid");
    check("", "IMCEAFAX-+ZZ@fax.test", "501 5.1.3 number-invalid");
    check("", "IMCEAX400-_c+3Dus_@fax.test", "550 5.1.1 number-invalid");
    check("", "IMCEAFAX-@fax.test", "550 5.1.3 number-invalid");
}

#[test]
fn a_number_said_once_more_in_full_is_the_same() {
    // The trunk prefix behind the own country's code, without a plus sign.
    check("GB", "440 114491 125@fax.test".replace(' ', "").as_str(), "+44114491125");
    check("GB", "+440114491125@fax.test", "+44114491125");
    check("GB", "0114491125@fax.test", "+44114491125");
}

#[test]
fn words_are_no_numbers() {
    for command in ["preview", "help", "Help", "retry+F-123.abc", "cancel+F-123.abc", "postmaster", "abuse"] {
        check("CH", &format!("{command}@fax.test"), "550 5.1.1 number-invalid");
    }
    check("CH", "+41441234567@preview.fax.test", "550 5.7.1 relay-denied");
    check("CH", "postmaster", "550 5.1.1 number-invalid");
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_would_do() {
    let text = |country: &str, local: &str| {
        let rules = AddressRules { domain: "fax.example.com".into(), ..rules(country) };
        parse_local(local, &rules).unwrap_err().text
    };
    let product =
        "\"+41 44 12\" is too short for a Swiss fax number; use the full number, as in +41441234567@fax.example.com";
    assert_eq!(text("", "+41 44 12"), product);
    assert!(text("CH", "0441").starts_with("\"0441\" is too short for a Swiss fax number; "));
    assert!(text("CH", "+123").starts_with("\"+123\" is too short for a North American fax number; "));
    assert!(text("CA", "+123").starts_with("\"+123\" is too short for a Canadian fax number; "));
    assert!(
        text("", "+4144123456789").starts_with("\"+4144123456789\" is too short or too long for a Swiss")
            || text("", "+4144123456789").contains("too long")
    );
    assert_eq!(
        text("", "anna"),
        "\"anna\" is not a fax number; use the full number, as in +41441234567@fax.example.com"
    );
    assert!(!text("", "FAX=+41441234567/POSTD=secret12").contains("secret12"), "tones are not echoed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_and_never_echoes_a_line_end(
        text in prop_oneof![
            "\\PC{0,80}",
            "[+0-9/=A-Za-z_.()|@,#-]{0,60}",
            "(IMCEAFAX-|imcearfax-)?[+0-9A-Fa-f_ -]{0,60}",
            "(FAX=)?\\+?[0-9]{0,20}(/(T33S|POSTD|ATTN|X)=[0-9pw#A-Z./]{0,10}){0,3}",
            any::<String>(),
        ],
        country in proptest::sample::select(vec!["", "CH", "US", "IT", "DE", "GB", "BR", "AR", "XX", "é"]),
    ) {
        match parse_local(&text, &rules(country)) {
            Ok(found) => {
                prop_assert!(found.number.as_str().starts_with('+'));
                let clean = |text: &Option<String>| text.as_ref().is_none_or(|t| !t.chars().any(char::is_control));
                prop_assert!(clean(&found.to_name) && clean(&found.to_company) && clean(&found.subaddress));
            }
            Err(error) => {
                prop_assert!(!error.text.chars().any(char::is_control), "{}", error.text);
                prop_assert!((500..560).contains(&error.code));
            }
        }
    }

    #[test]
    fn what_is_dialled_has_the_digits_that_were_written(digits in "[1-9][0-9]{6,14}") {
        if let Ok(found) = parse_local(&format!("+{digits}"), &rules("CH")) {
            let kept: String = found.number.digits().into();
            prop_assert!(kept == digits || digits.contains('0') && kept.len() + 1 == digits.len(), "{} became {}", digits, kept);
        }
    }
}
