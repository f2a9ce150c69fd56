//! Rows to domain values. A value that cannot be read is an error that names its column, never a default.

use super::{Row, unknown_value};
use crate::domain::{FaxId, MessageId, NotifyOn, ReceivedFaxId, Timestamp};
use crate::store::{
    Attempt, AttemptEnd, ConfirmedPage, DrainOrder, Event, Fax, LineState, Message, NodeState, Notice, ObjectName,
    Owner, PageRecord, Placement, Result, SealedKey,
};

macro_rules! fax_columns {
    () => {
        "id, message_id, recipient, number, subaddress, post_dial, to_name, to_company, original_recipient, \
         notify_success, notify_failure, notify_delay, state, priority, not_before, give_up_at, document, page_count, \
         pages_confirmed, attempts, renders_unfinished, cause, detail, accepted_at, ended_at, retry_of, begin_page, \
         ordered, legal_hold, lease_node, lease_token, lease_expires_at"
    };
}
macro_rules! message_columns {
    () => {
        "id, source, client, reverse_path, ret, envid, header_message_id, subject, from_name, from_address, automatic, \
         options, raw_document, accepted_at"
    };
}
macro_rules! attempt_columns {
    () => {
        "id, fax_id, attempt_no, node, line, first_page, started_at, answered_at, ended_at, page_started, \
         all_pages_sent, transport, rate_bps, ecm, remote_id, sip_code, q850, t30_code, detail, cause, told_end, \
         lease_token"
    };
}
macro_rules! notice_columns {
    () => {
        "id, fax_id, received_fax_id, kind, state, recipient, header_message_id, created_at, sent_at, tries, detail, \
         format, lease_node, lease_token"
    };
}
macro_rules! event_columns {
    () => {
        "seq, at, node, message_id, fax_id, received_fax_id, kind, text"
    };
}
pub(super) use {attempt_columns, event_columns, fax_columns, message_columns, notice_columns};

/// A fax and what only the store needs to know of it.
pub(super) struct FaxRow {
    pub(super) fax: Fax,
    pub(super) renders_unfinished: u32,
    pub(super) lease_node: Option<String>,
    pub(super) lease_token: i64,
    pub(super) lease_expires_at: Option<Timestamp>,
}

pub(super) fn fax_row(row: &Row) -> Result<FaxRow> {
    Ok(FaxRow {
        fax: fax(row)?,
        renders_unfinished: row.int("renders_unfinished")?,
        lease_node: row.col("lease_node")?,
        lease_token: row.col("lease_token")?,
        lease_expires_at: row.time_opt("lease_expires_at")?,
    })
}

pub(super) fn fax(row: &Row) -> Result<Fax> {
    Ok(Fax {
        id: row.parsed("id")?,
        message: row.parsed("message_id")?,
        recipient: row.col("recipient")?,
        number: row.parsed("number")?,
        subaddress: row.col("subaddress")?,
        post_dial: row.col("post_dial")?,
        to_name: row.col("to_name")?,
        to_company: row.col("to_company")?,
        original_recipient: row.col("original_recipient")?,
        notify: NotifyOn {
            success: row.col("notify_success")?,
            failure: row.col("notify_failure")?,
            delay: row.col("notify_delay")?,
        },
        state: row.parsed("state")?,
        priority: row.int("priority")?,
        not_before: row.time("not_before")?,
        give_up_at: row.time("give_up_at")?,
        document: row.parsed_opt("document")?,
        page_count: row.int_opt("page_count")?,
        pages_confirmed: row.int("pages_confirmed")?,
        attempts: row.int("attempts")?,
        cause: row.parsed_opt("cause")?,
        detail: row.col("detail")?,
        accepted_at: row.time("accepted_at")?,
        ended_at: row.time_opt("ended_at")?,
        retry_of: row.parsed_opt("retry_of")?,
        begin_page: row.int("begin_page")?,
        ordered: row.parsed_opt("ordered")?,
        legal_hold: row.col("legal_hold")?,
    })
}

pub(super) fn message(row: &Row) -> Result<Message> {
    let options: &str = row.col("options")?;
    Ok(Message {
        id: row.parsed("id")?,
        accepted_at: row.time("accepted_at")?,
        source: row.parsed("source")?,
        client: row.col("client")?,
        reverse_path: row.col("reverse_path")?,
        ret: row.parsed_opt("ret")?,
        envid: row.col("envid")?,
        header_message_id: row.col("header_message_id")?,
        subject: row.col("subject")?,
        from_name: row.col("from_name")?,
        from_address: row.col("from_address")?,
        automatic: row.col("automatic")?,
        options: serde_json::from_str(options).map_err(|e| unknown_value("options", &e.to_string()))?,
        raw: row.parsed("raw_document")?,
    })
}

pub(super) fn attempt(row: &Row) -> Result<Attempt> {
    Ok(Attempt {
        id: row.parsed("id")?,
        number: row.int("attempt_no")?,
        node: row.col("node")?,
        line: row.col("line")?,
        first_page: row.int("first_page")?,
        started_at: row.time("started_at")?,
        answered_at: row.time_opt("answered_at")?,
        ended_at: row.time_opt("ended_at")?,
        page_started: row.int("page_started")?,
        all_pages_sent: row.col("all_pages_sent")?,
        told_end: told_end(row)?,
        end: AttemptEnd {
            transport: row.parsed_opt("transport")?,
            rate_bps: row.int_opt("rate_bps")?,
            ecm: row.col("ecm")?,
            remote_id: row.col("remote_id")?,
            sip_code: row.int_opt("sip_code")?,
            q850: row.int_opt("q850")?,
            t30_code: row.int_opt("t30_code")?,
            detail: row.col("detail")?,
            cause: row.parsed_opt("cause")?,
        },
    })
}

fn told_end(row: &Row) -> Result<Option<AttemptEnd>> {
    let text: Option<&str> = row.col("told_end")?;
    text.map(|text| serde_json::from_str(text).map_err(|e| unknown_value("told_end", &e.to_string()))).transpose()
}

/// Needs `attempt_no` beside the columns of the page.
pub(super) fn page(row: &Row) -> Result<PageRecord> {
    Ok(PageRecord {
        attempt: row.parsed("attempt_id")?,
        attempt_number: row.int("attempt_no")?,
        confirmed_at: row.time("confirmed_at")?,
        page: ConfirmedPage {
            page: row.int("page_no")?,
            rate_bps: row.int("rate_bps")?,
            ecm: row.col("ecm")?,
            duration_ms: row.int("duration_ms")?,
            blocks_resent: row.int("blocks_resent")?,
        },
    })
}

pub(super) fn notice(row: &Row) -> Result<Notice> {
    Ok(Notice {
        id: row.parsed("id")?,
        fax: row.parsed_opt("fax_id")?,
        received: row.parsed_opt("received_fax_id")?,
        kind: row.parsed("kind")?,
        state: row.parsed("state")?,
        recipient: row.col("recipient")?,
        header_message_id: row.col("header_message_id")?,
        created_at: row.time("created_at")?,
        sent_at: row.time_opt("sent_at")?,
        tries: row.int("tries")?,
        detail: row.col("detail")?,
        format: row.parsed_opt("format")?,
    })
}

pub(super) fn event(row: &Row) -> Result<Event> {
    Ok(Event {
        seq: row.col("seq")?,
        at: row.time("at")?,
        node: row.col("node")?,
        of: event_of(row)?,
        kind: row.col("kind")?,
        text: row.col("text")?,
    })
}

/// The short id of what an event is about: the fax or the received fax, else the message.
fn event_of(row: &Row) -> Result<Option<String>> {
    let fax = row.parsed_opt::<FaxId>("fax_id")?.map(FaxId::short);
    let received = row.parsed_opt::<ReceivedFaxId>("received_fax_id")?.map(ReceivedFaxId::short);
    let message = row.parsed_opt::<MessageId>("message_id")?.map(MessageId::short);
    Ok(fax.or(received).or(message).map(|id| id.to_string()))
}

pub(super) fn placement(row: &Row) -> Result<Placement> {
    let wrapped: Option<Vec<u8>> = row.col("sealed_key")?;
    let by: Option<String> = row.col("sealed_by")?;
    Ok(Placement {
        inline: row.col("inline")?,
        drawn: row.parsed_opt("location")?,
        sealed: wrapped.zip(by).map(|(wrapped, by)| SealedKey { by, wrapped }),
    })
}

/// Needs `key` and `location`.
pub(super) fn object(row: &Row) -> Result<ObjectName> {
    let drawn = row.parsed_opt("location")?;
    Ok(drawn.map_or(ObjectName::Content(row.parsed("key")?), ObjectName::Drawn))
}

pub(super) fn node(row: &Row) -> Result<NodeState> {
    Ok(NodeState {
        owner: Owner { node: row.col("name")?, epoch: row.parsed("epoch")? },
        version: row.col("version")?,
        roles: row.col("roles")?,
        started_at: row.time("started_at")?,
        seen_at: row.time("seen_at")?,
        draining: row.col("draining")?,
        drained: row.col("drained")?,
        ordered: drain_order(row)?,
    })
}

/// The order that a node is under.
pub(super) fn drain_order(row: &Row) -> Result<Option<DrainOrder>> {
    let (at, by) = (row.time_opt("drain_ordered_at")?, row.col::<Option<String>>("drain_ordered_by")?);
    Ok(at.zip(by).map(|(at, by)| DrainOrder { by, at }))
}

pub(super) fn line(row: &Row) -> Result<LineState> {
    Ok(LineState {
        line: row.col("line")?,
        node: row.col("node")?,
        channels: row.int("channels")?,
        calls: row.int("calls")?,
        up: row.col("up")?,
        detail: row.col("detail")?,
        seen_at: row.time("seen_at")?,
    })
}
