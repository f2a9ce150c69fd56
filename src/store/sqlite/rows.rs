//! Rows to domain values. A value that cannot be read is an error that names its column, never a default.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite};

use super::error::{Place, unknown_value};
use crate::domain::{FaxId, MessageId, NotifyOn, ReceivedFaxId, Timestamp};
use crate::store::{
    Attempt, AttemptEnd, ConfirmedPage, Event, Fax, LineState, Message, NodeState, Notice, Owner, PageRecord, Result,
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

/// Typed access to the columns of a row.
pub(super) trait Columns {
    /// A column as SQLite holds it.
    fn col<'r, T>(&'r self, name: &str) -> Result<T>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>;

    /// Text that a domain type reads: an id, a word, a number.
    fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        parse(name, self.col::<&str>(name)?)
    }

    /// The same, or NULL.
    fn parsed_opt<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.col::<Option<&str>>(name)?.map(|text| parse(name, text)).transpose()
    }

    /// An integer that fits `T`.
    fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<T> {
        narrow(name, self.col::<i64>(name)?)
    }

    /// The same, or NULL.
    fn int_opt<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>> {
        self.col::<Option<i64>>(name)?.map(|value| narrow(name, value)).transpose()
    }

    /// Milliseconds since the epoch.
    fn time(&self, name: &str) -> Result<Timestamp> {
        self.col(name).map(Timestamp)
    }

    /// The same, or NULL.
    fn time_opt(&self, name: &str) -> Result<Option<Timestamp>> {
        Ok(self.col::<Option<i64>>(name)?.map(Timestamp))
    }
}

impl Columns for SqliteRow {
    fn col<'r, T>(&'r self, name: &str) -> Result<T>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.try_get(name).place(name)
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|e: T::Err| unknown_value(name, &e.to_string()))
}

fn narrow<T: TryFrom<i64>>(name: &str, value: i64) -> Result<T> {
    value.try_into().map_err(|_| unknown_value(name, &value.to_string()))
}

/// A fax and what only the store needs to know of it.
pub(super) struct FaxRow {
    pub(super) fax: Fax,
    pub(super) renders_unfinished: u32,
    pub(super) lease_node: Option<String>,
    pub(super) lease_token: i64,
    pub(super) lease_expires_at: Option<Timestamp>,
}

pub(super) fn fax_row(row: &SqliteRow) -> Result<FaxRow> {
    Ok(FaxRow {
        fax: fax(row)?,
        renders_unfinished: row.int("renders_unfinished")?,
        lease_node: row.col("lease_node")?,
        lease_token: row.col("lease_token")?,
        lease_expires_at: row.time_opt("lease_expires_at")?,
    })
}

pub(super) fn fax(row: &SqliteRow) -> Result<Fax> {
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

pub(super) fn message(row: &SqliteRow) -> Result<Message> {
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

pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt> {
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

fn told_end(row: &SqliteRow) -> Result<Option<AttemptEnd>> {
    let text: Option<&str> = row.col("told_end")?;
    text.map(|text| serde_json::from_str(text).map_err(|e| unknown_value("told_end", &e.to_string()))).transpose()
}

/// Needs `attempt_no` beside the columns of the page.
pub(super) fn page(row: &SqliteRow) -> Result<PageRecord> {
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

pub(super) fn notice(row: &SqliteRow) -> Result<Notice> {
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

pub(super) fn event(row: &SqliteRow) -> Result<Event> {
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
fn event_of(row: &SqliteRow) -> Result<Option<String>> {
    let fax = row.parsed_opt::<FaxId>("fax_id")?.map(FaxId::short);
    let received = row.parsed_opt::<ReceivedFaxId>("received_fax_id")?.map(ReceivedFaxId::short);
    let message = row.parsed_opt::<MessageId>("message_id")?.map(MessageId::short);
    Ok(fax.or(received).or(message).map(|id| id.to_string()))
}

pub(super) fn node(row: &SqliteRow) -> Result<NodeState> {
    Ok(NodeState {
        owner: Owner { node: row.col("name")?, epoch: row.parsed("epoch")? },
        version: row.col("version")?,
        roles: row.col("roles")?,
        started_at: row.time("started_at")?,
        seen_at: row.time("seen_at")?,
        draining: row.col("draining")?,
    })
}

pub(super) fn line(row: &SqliteRow) -> Result<LineState> {
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
