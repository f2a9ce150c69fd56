//! The mail that shows what the gateway does: a text and a PDF of one page, made here.

use std::fmt::Write as _;

use super::compose::Letter;

/// The number that always works.
pub(super) const GOOD_NUMBER: &str = "+99910200";
/// Who sends the sandbox's own mails. Reports to it land in the sandbox's mailbox.
pub(super) const VISITOR: &str = "visitor@example.com";

const TEXT: &str = "\
Dear colleague,

this mail became a fax: its text is on the cover page, its attachment on the page after it.
The pages went over SIP and T.38 to a pretend fax machine on this computer, which confirmed each of them.
Nothing was dialled.

The sender of this mail now gets exactly one report: sent, partly sent, failed or unknown.

Faxwell
";

/// The sample mail to this number.
pub(super) fn letter(number: &str, domain: &str) -> Letter {
    let to = if number.contains('@') { number.to_owned() } else { format!("{number}@{domain}") };
    Letter {
        to: vec![to],
        from: VISITOR.to_owned(),
        subject: "Hello from Faxwell".to_owned(),
        text: Some(TEXT.to_owned()),
        files: vec![("offer-4711.pdf".to_owned(), "application/pdf".to_owned(), offer_pdf())],
        directives: Vec::new(),
    }
}

const OFFER: &[(&str, &str, &str)] = &[
    ("2", "Fax gateway, fault-tolerant", "0.00"),
    ("1", "Queue that survives a pulled plug", "0.00"),
    ("9", "Settings to go live", "0.00"),
];

/// PDF 1.4, one A4 page with lines, boxes and the standard font Helvetica (ISO 32000-1 §9.6.2.2).
fn offer_pdf() -> Vec<u8> {
    let mut page = String::from("0.8 w 60 60 475 722 re S\n");
    text(&mut page, 80, 730, 26, "Offer 4711");
    text(&mut page, 80, 700, 12, "A sample attachment: text, lines and shades as they arrive on a fax machine.");
    for (step, shade) in ["0", "0.25", "0.5", "0.75", "0.9"].iter().enumerate() {
        let _ = writeln!(page, "{shade} g {} 620 60 50 re f 0 g {} 620 60 50 re S", 80 + step * 85, 80 + step * 85);
    }
    for (row, (count, what, price)) in OFFER.iter().enumerate() {
        let y = 570 - row * 30;
        let _ = writeln!(page, "80 {} m 515 {} l S", y - 10, y - 10);
        text(&mut page, 80, y, 12, count);
        text(&mut page, 120, y, 12, what);
        text(&mut page, 470, y, 12, price);
    }
    text(&mut page, 80, 430, 8, "Small print, 8 points: still readable at 204 x 196 dots per inch.");
    // A diagonal shows whether the page was scaled evenly.
    page.push_str("80 100 m 515 400 l S 80 400 m 515 100 l S\n");
    assemble(&page)
}

fn text(page: &mut String, x: usize, y: usize, size: usize, words: &str) {
    let _ = writeln!(page, "BT /F1 {size} Tf {x} {y} Td ({words}) Tj ET");
}

/// Objects, cross-reference table and trailer (ISO 32000-1 §7.5).
fn assemble(page: &str) -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len() + 1),
    ];
    let mut pdf = String::from("%PDF-1.4\n");
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(pdf.len());
        let _ = writeln!(pdf, "{} 0 obj\n{object}\nendobj", index + 1);
    }
    let table = pdf.len();
    // §7.5.4: each entry has exactly 20 octets.
    let _ = write!(pdf, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        let _ = writeln!(pdf, "{offset:010} 00000 n ");
    }
    let _ = write!(pdf, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    pdf.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn every_offset_of_the_sample_pdf_points_to_its_object() {
        let pdf = String::from_utf8(offer_pdf()).unwrap();
        let start: usize = pdf.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(pdf[start..].starts_with("xref\n0 6\n"));
        let entries: Vec<&str> = pdf[start..].lines().skip(3).take(5).collect();
        for (index, entry) in entries.iter().enumerate() {
            let offset: usize = entry[..10].parse().unwrap();
            assert!(pdf[offset..].starts_with(&format!("{} 0 obj\n", index + 1)), "{entry}");
        }
    }

    #[test]
    fn the_sample_mail_reads_back_with_text_and_attachment() {
        let mail = letter(GOOD_NUMBER, "fax.local").mail(Timestamp(1_700_000_000_000), "one@fax.local").unwrap();
        let parsed = mailparse::parse_mail(&mail).unwrap();
        let header =
            |name: &str| parsed.headers.iter().find(|h| h.get_key().eq_ignore_ascii_case(name)).unwrap().get_value();
        assert_eq!(header("To").trim_matches(['<', '>']), "+99910200@fax.local");
        assert_eq!(header("Message-ID"), "<one@fax.local>");
        assert_eq!(parsed.subparts.len(), 2);
        assert_eq!(parsed.subparts[1].get_body_raw().unwrap(), offer_pdf());
        assert!(
            !mail.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'),
            "RFC 5321 §2.3.8: only CRLF ends a line"
        );
    }
}
