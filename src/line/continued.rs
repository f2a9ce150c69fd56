//! Marks the first page of a call that goes on where an earlier one ended: "continued, call 2" in its header line, so
//! that people at the other machine put the sheets together. Nothing below the line changes.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use pages::{Converter, HeaderLine, RestampOrder};

use crate::config::Config;
use crate::documents::header_line;
use crate::store::{Fax, Message};

/// A channel waits for the mark: no longer than this, when renderers have all converters.
const MARK_WITHIN: Duration = Duration::from_secs(10);

/// Writes header lines anew, in the converter process.
#[derive(Clone)]
pub struct Marker {
    converter: Converter,
    config: Arc<Config>,
    zone: TimeZone,
}

impl Marker {
    /// `zone` is the machine's, as in the header lines of all pages.
    pub fn new(converter: Converter, config: Arc<Config>, zone: TimeZone) -> Self {
        Self { converter, config, zone }
    }

    /// The document of the fax's next call. A mark that cannot be made keeps no fax from being sent.
    pub(super) async fn mark(&self, document: Vec<u8>, message: &Message, fax: &Fax) -> Vec<u8> {
        let page = fax.pages_confirmed + 1;
        if page == 1 {
            return document;
        }
        let remark = match fax.attempts {
            // It continues another fax, which a person had sent once more.
            0 => "continued".to_owned(),
            calls => format!("continued, call {}", calls + 1),
        };
        let header = HeaderLine { remark, ..header_line(&self.config, &self.zone, message, fax) };
        let order = RestampOrder { document: document.clone(), page, header };
        let why = match tokio::time::timeout(MARK_WITHIN, self.converter.restamp(order)).await {
            Ok(Ok(marked)) => return marked.bytes,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the converter is busy for more than {} s", MARK_WITHIN.as_secs()),
        };
        tracing::warn!(fax = %fax.id.short(), why, "the page is sent without \"continued\" in its header line");
        document
    }
}
