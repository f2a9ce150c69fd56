//! Reports: what became of a fax that somebody sent by mail, final or delayed.
//!
//! RFC 3461 §6 (what a report says), RFC 3464 (its fields), RFC 3834 (automatic answers). A delayed report tells what is
//! known when it leaves.

use super::super::view::{Around, view};
use super::super::words;
use super::{ComposeError, Composer, Envelope, LANGUAGE, Material, files, names, picture};
use crate::domain::{Cause, NoticeKind, ReportStyle};
use crate::mail::build::{
    Auto, DeliveryStatus, Encoded, HeaderText, Letter, MessageIdText, RecipientField, Report, Return, StatusField,
};
use crate::mail::order_address::Verb;
use crate::store::{Attempt, FaxRecord, Notice, Ret, Source};

impl Composer {
    pub(super) fn report_style(&self, kind: NoticeKind, record: &FaxRecord) -> ReportStyle {
        let configured = match kind {
            NoticeKind::Sent => self.settings.success,
            // It tells that there is nothing to do; the pages come with the final report.
            NoticeKind::Delayed => ReportStyle::Text,
            _ => self.settings.failure,
        };
        match (configured, record.message.options.report) {
            (ReportStyle::Image, ReportStyle::Image) => ReportStyle::Image,
            // A notice that is switched off is withheld before it gets here; one that is here is owed.
            _ => ReportStyle::Text,
        }
    }

    pub(super) fn report(
        &self,
        notice: &Notice,
        record: &FaxRecord,
        mut material: Material,
        envelope: Envelope,
    ) -> Result<Encoded, ComposeError> {
        let kind = notice.kind;
        let shows_pages = self.report_style(kind, record) == ReportStyle::Image;
        let (picture, files) = (picture(&mut material), files(&mut material, record.fax.id.short().as_str()));
        let view = view(
            record,
            Around {
                kind,
                status: status(record, kind).to_owned(),
                told_at: notice.created_at,
                zone: &self.settings.zone,
                administrator: self.settings.administrator.as_deref(),
                picture: picture.as_ref().map(|_| Letter::picture_cid(notice.id)),
                file: names(&files),
                withheld: material.withheld,
                order: self.order_address(kind, record, notice),
            },
        );
        let [subject, text, html] = self.texts(kind, &view)?;
        // RFC 3461 §4.3: RET applies to failures only.
        let failed = !matches!(kind, NoticeKind::Sent | NoticeKind::Delayed);
        let full = failed && shows_pages && record.message.ret == Some(Ret::Full);
        let letter = Letter {
            notice: notice.id,
            message_id: envelope.message_id,
            date: notice.created_at,
            from: self.from.clone(),
            to: envelope.to,
            subject: HeaderText::new(&subject),
            auto: Auto::Replied,
            in_reply_to: record.message.header_message_id.as_deref().and_then(MessageIdText::parse),
            fields: fields(record, kind),
            language: LANGUAGE,
            text,
            html,
            picture,
            files,
            report: Some(Report {
                status: self.status(record, kind),
                original: material.original.as_deref(),
                ret: if full { Return::Full } else { Return::Header },
            }),
        };
        Ok(letter.encode())
    }

    /// The address by which its sender has it sent again, or stops it. The same in every copy of this report.
    fn order_address(&self, kind: NoticeKind, record: &FaxRecord, notice: &Notice) -> Option<String> {
        let verb = match kind {
            NoticeKind::Failed | NoticeKind::Partial | NoticeKind::Unknown | NoticeKind::Cancelled => Verb::Retry,
            NoticeKind::Delayed => Verb::Cancel,
            _ => return None,
        };
        // Whoever submitted by command has no mail address that could order anything.
        let by_mail = record.message.source == Source::Smtp && record.message.reverse_path.is_some();
        let address = self.settings.orders.address(verb, &record.fax.id.short(), notice.created_at);
        address.filter(|_| by_mail).map(|address| address.as_str().to_owned())
    }

    fn status(&self, record: &FaxRecord, kind: NoticeKind) -> DeliveryStatus {
        let mut message: Vec<StatusField> =
            vec![("Reporting-MTA", HeaderText::new(&format!("dns; {}", self.settings.reporting_mta)))];
        if let Some(envid) = &record.message.envid {
            message.push(("Original-Envelope-Id", HeaderText::new(envid)));
        }
        message.push(("Arrival-Date", HeaderText::new(&words::rfc5322(record.fax.accepted_at))));
        let mut addresses = Vec::new();
        if let Some(orcpt) = &record.fax.original_recipient {
            addresses.push(("Original-Recipient", RecipientField::original(orcpt)));
        }
        addresses.push(("Final-Recipient", RecipientField::of(&record.fax.recipient)));
        DeliveryStatus { message, addresses, recipient: recipient_fields(record, kind) }
    }
}

fn recipient_fields(record: &FaxRecord, kind: NoticeKind) -> Vec<StatusField> {
    let fax = &record.fax;
    let mut fields: Vec<StatusField> = Vec::new();
    let mut push = |name: &'static str, value: Option<String>| {
        fields.extend(value.filter(|v| !v.is_empty()).map(|v| (name, HeaderText::new(&v))));
    };
    let last = record.attempts.last();
    let action = match kind {
        NoticeKind::Sent => "delivered",
        NoticeKind::Delayed => "delayed",
        _ => "failed",
    };
    push("Action", Some(action.to_owned()));
    push("Status", Some(status(record, kind).to_owned()));
    push("Diagnostic-Code", (kind != NoticeKind::Sent).then(|| diagnostic(record)).flatten());
    push("Last-Attempt-Date", last.map(|a| words::rfc5322(a.ended_at.unwrap_or(a.started_at))));
    // RFC 3464 §2.3.9: in a delayed report only.
    push("Will-Retry-Until", (kind == NoticeKind::Delayed).then(|| words::rfc5322(fax.give_up_at)));
    push("X-Faxwell-Job", Some(fax.id.short().to_string()));
    push("X-Faxwell-Number", Some(fax.number.to_string()));
    push("X-Faxwell-Outcome", Some(kind.to_string()));
    push("X-Faxwell-Cause", fax.cause.map(|c| c.slug().to_owned()));
    push("X-Faxwell-Attempts", Some(fax.attempts.to_string()));
    push("X-Faxwell-Pages-Sent", Some(fax.pages_confirmed.to_string()));
    push("X-Faxwell-Pages-Total", fax.page_count.map(|n| n.to_string()));
    push("X-Faxwell-Speed", last.and_then(|a| a.end.rate_bps).map(|bps| bps.to_string()));
    push("X-Faxwell-Remote-CSID", last.and_then(|a| a.end.remote_id.clone()));
    push("X-Faxwell-Sip-Code", last.and_then(|a| a.end.sip_code).map(|code| code.to_string()));
    push("X-Faxwell-T30-Status", last.and_then(|a| a.end.t30_code).map(|code| code.to_string()));
    fields
}

/// RFC 3463 status of a report.
fn status(record: &FaxRecord, kind: NoticeKind) -> &'static str {
    let last_cause = record.attempts.iter().rev().find_map(|a| a.end.cause);
    let cause = match record.fax.cause {
        // RFC 3463 §3.5 X.4.7: when the time is over, the report gives the reason for the delay.
        Some(Cause::Expired) => last_cause.or(Some(Cause::Expired)),
        cause => cause,
    };
    match (kind, cause) {
        // RFC 3463 §3.2 X.1.5: for positive delivery reports.
        (NoticeKind::Sent, _) => "2.1.5",
        (_, Some(cause)) if !cause.status().starts_with('2') => cause.status(),
        // RFC 3463 §3.5 X.4.7: no call was made yet.
        (NoticeKind::Delayed, _) => "4.4.7",
        (NoticeKind::Partial | NoticeKind::Unknown, _) => "4.4.2",
        _ => "5.0.0",
    }
}

/// RFC 3464 §2.3.6: type and text, from the last call; its types begin with `x-` because none is registered.
fn diagnostic(record: &FaxRecord) -> Option<String> {
    let of_call = |attempt: &Attempt| {
        let detail = attempt.end.detail.trim();
        match (attempt.end.sip_code, attempt.end.t30_code) {
            // 2xx: the call was answered, the reason lies in T.30.
            (Some(code), _) if code >= 300 && detail.starts_with(&code.to_string()) => Some(format!("x-sip; {detail}")),
            (Some(code), _) if code >= 300 => Some(format!("x-sip; {code} {detail}")),
            (_, Some(code)) if code != 0 => Some(format!("x-t30; 0x{code:02x} {detail}")),
            _ if !detail.is_empty() => Some(format!("x-t30; {detail}")),
            _ => None,
        }
    };
    record.attempts.iter().rev().find_map(of_call).or_else(|| {
        let cause = record.fax.cause?;
        Some(
            format!("x-faxwell; {} {}", cause.slug(), record.fax.detail.as_deref().unwrap_or_default())
                .trim()
                .to_owned(),
        )
    })
}

/// For rules of mail programs.
fn fields(record: &FaxRecord, kind: NoticeKind) -> Vec<(&'static str, HeaderText)> {
    let fax = &record.fax;
    let mut fields = vec![
        ("X-Fax-Id", HeaderText::new(fax.id.short().as_str())),
        ("X-Fax-To", HeaderText::new(fax.number.as_str())),
        ("X-Fax-Status", HeaderText::new(kind.as_str())),
        ("X-Fax-Pages", HeaderText::new(&format!("{}/{}", fax.pages_confirmed, fax.page_count.unwrap_or(0)))),
    ];
    fields.extend(fax.cause.map(|c| ("X-Fax-Cause", HeaderText::new(c.slug()))));
    fields.extend(record.message.options.reference.as_deref().map(|r| ("X-Fax-Reference", HeaderText::new(r))));
    fields
}
