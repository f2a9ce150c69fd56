//! Mails that carry a fax that came in.
//!
//! RFC 3458 §6.2.2 (`Message-Context`), RFC 3939 §5 (`Caller-ID`), RFC 3834 (automatic mail). `From` is the gateway's own
//! address with the caller as its name: a foreign address in it would fail SPF and DMARC at the mailbox's host.

use serde::Serialize;

use super::super::words;
use super::{ComposeError, Composer, Envelope, LANGUAGE, Material, files, names, picture};
use crate::mail::build::{Auto, Encoded, HeaderText, Letter, NamedAddress};
use crate::mail::mime::clean;
use crate::store::{Notice, Received, ReceivedPageRecord, ReceivedRecord, Transport};

/// Rows of the table; a fax of more pages says how many are not listed.
const ROWS_MAX: usize = 200;

/// A received fax for the templates: facts, ready to print, in no language.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    /// The caller's number as people read it.
    caller: Option<String>,
    /// TSI, when it says more than the caller's number.
    remote_id: Option<String>,
    /// The DID.
    number: String,
    subaddress: Option<String>,
    line: String,
    transport: Option<&'static str>,
    route: Option<String>,
    received: String,
    total: u32,
    complete: bool,
    damaged_lines: u64,
    cause: Option<&'static str>,
    evidence: Option<String>,
    administrator: Option<String>,
    colour: &'static str,
    pages: Vec<PageView>,
    pages_omitted: usize,
    /// Content-ID of the picture.
    picture: Option<String>,
    /// Names of the attached files.
    file: Option<String>,
    /// `style`, `size` or `removed`: why nothing is attached.
    withheld: Option<&'static str>,
    /// On which day retention removed the pages.
    removed: Option<String>,
}

#[derive(Debug, Serialize)]
struct PageView {
    page: u32,
    time: String,
    rate_bps: u32,
    ecm: bool,
    damaged_lines: u32,
}

impl Composer {
    pub(super) fn received(
        &self,
        notice: &Notice,
        record: &ReceivedRecord,
        mut material: Material,
        envelope: Envelope,
    ) -> Result<Encoded, ComposeError> {
        let received = &record.received;
        let (picture, files) = (picture(&mut material), files(&mut material, received.id.short().as_str()));
        let mut view = self.view(record);
        view.picture = picture.as_ref().map(|_| Letter::picture_cid(notice.id));
        view.file = names(&files);
        view.withheld = material.withheld.map(super::Withheld::as_str);
        view.removed = material.withheld.and_then(|withheld| withheld.removed(&self.settings.zone));
        let [subject, text, html] = self.texts(notice.kind, &view)?;
        let letter = Letter {
            notice: notice.id,
            message_id: envelope.message_id,
            date: notice.created_at,
            from: self.caller(&view),
            to: envelope.to,
            subject: HeaderText::new(&subject),
            auto: Auto::Generated,
            in_reply_to: None,
            fields: fields(received, view.total),
            language: LANGUAGE,
            text,
            html,
            picture,
            files,
            report: None,
        };
        Ok(letter.encode())
    }

    /// `"Fax +41 31 333 22 11 (MUELLER AG)" <fax@fax.example.com>`
    fn caller(&self, view: &View) -> NamedAddress {
        let name = match (&view.caller, &view.remote_id) {
            (Some(caller), Some(remote_id)) => format!("Fax {caller} ({remote_id})"),
            (Some(name), None) | (None, Some(name)) => format!("Fax {name}"),
            (None, None) => return self.from.clone(),
        };
        NamedAddress { name: Some(HeaderText::new(&name)), address: self.from.address.clone() }
    }

    fn view(&self, record: &ReceivedRecord) -> View {
        let ReceivedRecord { received, pages, .. } = record;
        let zone = &self.settings.zone;
        let text = |text: &Option<String>| text.as_deref().map(clean).filter(|t| !t.is_empty());
        let complete = received.complete == Some(true);
        let (caller, remote_id) = (text(&received.calling_number), text(&received.remote_id));
        let says_more = |id: &String| caller.as_deref().is_none_or(|caller| !same_number(caller, id));
        let row = |page: &ReceivedPageRecord| PageView {
            page: page.page,
            time: words::clock(page.stored_at, zone),
            rate_bps: page.rate_bps,
            ecm: page.ecm,
            damaged_lines: page.damaged_lines,
        };
        View {
            id: received.id.short().to_string(),
            remote_id: remote_id.filter(says_more),
            caller: caller.as_deref().map(words::dialled),
            number: words::dialled(&clean(&received.called_number)),
            subaddress: text(&received.subaddress),
            line: clean(&received.line),
            transport: received.transport.map(|transport| match transport {
                Transport::T38 => "T.38",
                Transport::G711 => "G.711",
            }),
            route: text(&received.route),
            received: words::moment(received.received_at.unwrap_or(received.started_at), zone),
            total: u32::try_from(pages.len()).unwrap_or(u32::MAX),
            complete,
            damaged_lines: pages.iter().map(|page| u64::from(page.damaged_lines)).sum(),
            cause: received.cause.map(|cause| cause.entry().title),
            evidence: text(&received.detail),
            administrator: self.settings.administrator.as_deref().map(clean),
            colour: if complete { "#1a7f37" } else { "#8a5a00" },
            pages: pages.iter().take(ROWS_MAX).map(row).collect(),
            pages_omitted: pages.len().saturating_sub(ROWS_MAX),
            picture: None,
            file: None,
            withheld: None,
            removed: None,
        }
    }
}

/// Whether a station id is the caller's number and nothing else, however it is grouped.
fn same_number(caller: &str, id: &str) -> bool {
    let digits =
        |text: &str| text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')')).collect::<String>();
    digits(caller) == digits(id)
}

/// For mail programs and their rules.
fn fields(received: &Received, pages: u32) -> Vec<(&'static str, HeaderText)> {
    let text = HeaderText::new;
    let status = if received.complete == Some(true) { "complete" } else { "incomplete" };
    let mut fields = vec![("Message-Context", text("fax-message"))];
    // RFC 3939 §5: digits and nothing else.
    let digits: String = received.calling_number.iter().flat_map(|n| n.chars()).filter(char::is_ascii_digit).collect();
    if !digits.is_empty() {
        fields.push(("Caller-ID", text(&digits)));
    }
    fields.push(("X-Fax-Id", text(received.id.short().as_str())));
    fields.extend(received.calling_number.as_deref().map(|from| ("X-Fax-From", text(from))));
    fields.extend(received.remote_id.as_deref().map(|id| ("X-Fax-Remote-Id", text(id))));
    fields.push(("X-Fax-To", text(&received.called_number)));
    fields.push(("X-Fax-Pages", text(&pages.to_string())));
    fields.push(("X-Fax-Status", text(status)));
    fields
}
