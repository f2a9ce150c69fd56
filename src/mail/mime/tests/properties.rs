//! What a part holds is found again, however the mail around it is built.

use proptest::prelude::*;

use super::super::read;

#[derive(Debug, Clone)]
enum Tree {
    /// A file: its octets, and whether they are base64 (else quoted-printable).
    File(Vec<u8>, bool),
    /// A multipart of these, with this text before the first boundary and after the last.
    Parts(Vec<Tree>, String),
}

fn tree() -> impl Strategy<Value = Tree> {
    let file = (proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()).prop_map(|(b, e)| Tree::File(b, e));
    file.prop_recursive(4, 24, 4, |inner| {
        // Lines that look like boundaries, and words.
        (proptest::collection::vec(inner, 1..4), "[-Bb0-9 ]{0,12}").prop_map(|(parts, text)| Tree::Parts(parts, text))
    })
}

/// Each boundary begins with that of the multipart around it, which is what careless readers fall over.
fn write(tree: &Tree, boundary: &str, end: &str, out: &mut Vec<u8>, files: &mut Vec<Vec<u8>>) {
    let line = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(format!("{text}{end}").as_bytes());
    match tree {
        Tree::File(octets, base64) => {
            line(out, &format!("Content-Type: application/octet-stream; name=\"{}.bin\"", files.len()));
            line(out, "Content-Disposition: attachment");
            line(
                out,
                if *base64 {
                    "Content-Transfer-Encoding: base64"
                } else {
                    "Content-Transfer-Encoding: quoted-printable"
                },
            );
            line(out, "");
            if *base64 {
                let text = data_encoding::BASE64.encode(octets);
                for piece in text.as_bytes().chunks(76) {
                    line(out, std::str::from_utf8(piece).unwrap());
                }
            } else {
                for piece in octets.chunks(20) {
                    let text: String = piece.iter().map(|octet| format!("={octet:02X}")).collect();
                    line(out, &format!("{text}="));
                }
            }
            files.push(octets.clone());
        }
        Tree::Parts(parts, text) => {
            line(out, &format!("Content-Type: multipart/mixed; boundary=\"{boundary}\""));
            line(out, "");
            line(out, &format!(" {text}"));
            for (number, part) in parts.iter().enumerate() {
                line(out, &format!("--{boundary}"));
                write(part, &format!("{boundary}{number}"), end, out, files);
                // The line end before a boundary is the boundary's (RFC 2046 §5.1.1).
                line(out, "");
            }
            line(out, &format!("--{boundary}--"));
            line(out, &format!(" {text}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_file_of_any_mail_is_found_whole_and_in_order(tree in tree(), crlf: bool) {
        let (mut mail, mut files) = (b"Subject: x\r\n".to_vec(), Vec::new());
        if !crlf {
            mail = b"Subject: x\n".to_vec();
        }
        write(&tree, "B", if crlf { "\r\n" } else { "\n" }, &mut mail, &mut files);
        let read = read(&mail).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let found: Vec<Vec<u8>> = read.attachments.into_iter().map(|attachment| attachment.bytes).collect();
        prop_assert_eq!(found, files);
    }
}
