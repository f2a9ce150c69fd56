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
