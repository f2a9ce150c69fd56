//! How a message is to be turned into pages and reported on, decided at intake and kept with the message.

use crate::domain::page::{Paper, Quality, words};

/// What the sender or the configuration asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct FaxOptions {
    /// Paper of the pages.
    pub paper: Paper,
    /// Line density of the pages.
    pub quality: Quality,
    /// The cover's name in `templates/page/`; none means no cover page.
    pub cover: Option<String>,
    /// Where the mail's text goes.
    pub body: BodyPlace,
    /// The sender's reference, printed on the cover and repeated in reports.
    pub reference: Option<String>,
    /// Whether reports carry images of the pages.
    pub report: ReportStyle,
    /// The attachments that are sent: a name, with `*` as wildcard; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// The recipient whose fax is shown and not sent: an address of the gateway; none: faxes are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_for: Option<String>,
}

impl FaxOptions {
    /// Whether an attachment of this name is one that is sent.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| matches_pattern(only, name))
    }
}

/// `*@example.com`: `*` stands for any characters; upper and lower case are the same.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Where the mail's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyPlace {
    /// Onto the cover page, and on to further pages where it does not fit.
    #[default]
    Cover,
    /// Onto pages of its own.
    Page,
    /// Nowhere.
    Drop,
}

words!(BodyPlace { Cover = "cover", Page = "page", Drop = "drop" });

/// Whether reports carry images of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportStyle {
    /// Thumbnail of page 1 and a PDF of the pages.
    #[default]
    Image,
    /// Facts alone (health data).
    Text,
    /// No reports.
    Off,
}

words!(ReportStyle { Image = "image", Text = "text", Off = "off" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*@example.com", "anna@example.com", true),
            ("*@example.com", "anna@EXAMPLE.com", true),
            ("*@example.com", "anna@sub.example.com", false),
            ("*@example.com", "anna@example.com.evil.test", false),
            ("*@*.example.com", "anna@sub.example.com", true),
            ("copier-*@example.com", "copier-2@example.com", true),
            ("copier-*@example.com", "copier-@example.com", true),
            ("anna@example.com", "anna@example.com", true),
            ("anna@example.com", "xanna@example.com", false),
            ("*", "", true),
            ("*@example.com", "", false),
            ("a*a", "a", false),
            ("*.pdf", "Offer 4711.PDF", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
        let only = FaxOptions { only: Some("offer*.pdf".into()), ..FaxOptions::default() };
        assert!(only.wants("Offer 1.pdf") && !only.wants("image001.png") && FaxOptions::default().wants("x"));
    }

    #[test]
    fn options_that_an_older_version_stored_are_read() {
        let text = r#"{"paper":"a4","quality":"fine","cover":null,"body":"cover","reference":null,"report":"image"}"#;
        assert_eq!(serde_json::from_str::<FaxOptions>(text).unwrap(), FaxOptions { ..FaxOptions::default() });
        assert_eq!(serde_json::to_string(&FaxOptions::default()).unwrap(), text);
    }
}
