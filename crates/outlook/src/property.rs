//! Properties of a message, a recipient or an attachment: what TNEF and `.msg` have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::codepage;

/// Property ids (MS-OXPROPS §2, by their canonical names without `PidTag`).
pub(crate) mod id {
    pub(crate) const MESSAGE_CLASS: u16 = 0x001a;
    pub(crate) const SUBJECT: u16 = 0x0037;
    pub(crate) const CLIENT_SUBMIT_TIME: u16 = 0x0039;
    pub(crate) const SENT_REPRESENTING_NAME: u16 = 0x0042;
    pub(crate) const SENT_REPRESENTING_EMAIL: u16 = 0x0065;
    pub(crate) const TRANSPORT_HEADERS: u16 = 0x007d;
    pub(crate) const RECIPIENT_TYPE: u16 = 0x0c15;
    pub(crate) const SENDER_NAME: u16 = 0x0c1a;
    pub(crate) const SENDER_EMAIL: u16 = 0x0c1f;
    pub(crate) const DISPLAY_CC: u16 = 0x0e03;
    pub(crate) const DISPLAY_TO: u16 = 0x0e04;
    pub(crate) const DELIVERY_TIME: u16 = 0x0e06;
    pub(crate) const BODY: u16 = 0x1000;
    pub(crate) const RTF_COMPRESSED: u16 = 0x1009;
    pub(crate) const HTML: u16 = 0x1013;
    pub(crate) const DISPLAY_NAME: u16 = 0x3001;
    pub(crate) const EMAIL: u16 = 0x3003;
    pub(crate) const ATTACH_DATA: u16 = 0x3701;
    pub(crate) const ATTACH_EXTENSION: u16 = 0x3703;
    pub(crate) const ATTACH_NAME: u16 = 0x3704;
    pub(crate) const ATTACH_METHOD: u16 = 0x3705;
    pub(crate) const ATTACH_LONG_NAME: u16 = 0x3707;
    pub(crate) const ATTACH_PATH: u16 = 0x3708;
    pub(crate) const ATTACH_TRANSPORT_NAME: u16 = 0x370c;
    pub(crate) const ATTACH_LONG_PATH: u16 = 0x370d;
    pub(crate) const ATTACH_MIME: u16 = 0x370e;
    pub(crate) const ATTACH_CONTENT_ID: u16 = 0x3712;
    pub(crate) const ATTACH_FLAGS: u16 = 0x3714;
    pub(crate) const SMTP_ADDRESS: u16 = 0x39fe;
    pub(crate) const INTERNET_CODE_PAGE: u16 = 0x3fde;
    pub(crate) const MESSAGE_CODE_PAGE: u16 = 0x3ffd;
    pub(crate) const SENDER_SMTP: u16 = 0x5d01;
    pub(crate) const SENT_REPRESENTING_SMTP: u16 = 0x5d02;
    pub(crate) const ATTACH_HIDDEN: u16 = 0x7ffe;
    /// From here on the ids mean what a table of names says; none of these is needed.
    pub(crate) const NAMED: u16 = 0x8000;

    /// Whether something is made of a property. Others are skipped.
    pub(crate) fn is_used(id: u16) -> bool {
        matches!(
            id,
            MESSAGE_CLASS
                | SUBJECT
                | CLIENT_SUBMIT_TIME
                | SENT_REPRESENTING_NAME
                | SENT_REPRESENTING_EMAIL
                | TRANSPORT_HEADERS
                | RECIPIENT_TYPE
                | SENDER_NAME
                | SENDER_EMAIL
                | DISPLAY_CC
                | DISPLAY_TO
                | DELIVERY_TIME
                | BODY
                | RTF_COMPRESSED
                | HTML
                | DISPLAY_NAME
                | EMAIL
                | ATTACH_DATA
                ..=ATTACH_FLAGS
                    | SMTP_ADDRESS
                    | INTERNET_CODE_PAGE
                    | MESSAGE_CODE_PAGE
                    | SENDER_SMTP
                    | SENT_REPRESENTING_SMTP
                    | ATTACH_HIDDEN
        )
    }
}

/// Property types (MS-OXCDATA §2.11.1).
pub(crate) mod kind {
    pub(crate) const I16: u16 = 0x0002;
    pub(crate) const I32: u16 = 0x0003;
    pub(crate) const F32: u16 = 0x0004;
    pub(crate) const F64: u16 = 0x0005;
    pub(crate) const CURRENCY: u16 = 0x0006;
    pub(crate) const APP_TIME: u16 = 0x0007;
    pub(crate) const ERROR: u16 = 0x000a;
    pub(crate) const BOOL: u16 = 0x000b;
    pub(crate) const OBJECT: u16 = 0x000d;
    pub(crate) const I64: u16 = 0x0014;
    pub(crate) const STRING8: u16 = 0x001e;
    pub(crate) const STRING: u16 = 0x001f;
    pub(crate) const TIME: u16 = 0x0040;
    pub(crate) const GUID: u16 = 0x0048;
    pub(crate) const BINARY: u16 = 0x0102;
    /// This bit: a list of such values.
    pub(crate) const MANY: u16 = 0x1000;
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Numbers and truths.
    Number(u64),
    /// Seconds since 1970, UTC.
    Time(i64),
    /// In the message's code page.
    Narrow(Cow<'a, [u8]>),
    /// UTF-16.
    Wide(Cow<'a, [u8]>),
    Binary(Cow<'a, [u8]>),
    /// An object in TNEF: its interface's id, then its octets.
    Object(&'a [u8]),
}

impl Value<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Number(_) | Self::Time(_) => false,
            Self::Narrow(octets) | Self::Wide(octets) | Self::Binary(octets) => octets.is_empty(),
            Self::Object(octets) => octets.is_empty(),
        }
    }
}

/// Seconds since 1970 of a FILETIME: 100 ns steps since 1601. None before year 1 of our reckoning or absurdly late.
pub(crate) fn unix_seconds(file_time: u64) -> Option<i64> {
    const FROM_1601_TO_1970_S: i64 = 11_644_473_600;
    const YEAR_9999_S: i64 = 253_402_300_799;
    let seconds = i64::try_from(file_time / 10_000_000).ok()? - FROM_1601_TO_1970_S;
    (file_time != 0 && seconds <= YEAR_9999_S).then_some(seconds)
}

/// A set of properties.
#[derive(Debug, Default)]
pub(crate) struct Properties<'a> {
    values: BTreeMap<u16, Value<'a>>,
}

impl<'a> Properties<'a> {
    /// Adds a value; the first one that says something stays, but an object takes the place of the sentence that TNEF
    /// writers put there for readers that cannot open it.
    pub(crate) fn add(&mut self, id: u16, value: Value<'a>) {
        let object = matches!(value, Value::Object(_));
        if id::is_used(id) && (object || self.values.get(&id).is_none_or(Value::is_empty)) {
            self.values.insert(id, value);
        }
    }

    pub(crate) fn get(&self, id: u16) -> Option<&Value<'a>> {
        self.values.get(&id)
    }

    pub(crate) fn take(&mut self, id: u16) -> Option<Value<'a>> {
        self.values.remove(&id)
    }

    pub(crate) fn number(&self, id: u16) -> Option<u64> {
        match self.get(id)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn time(&self, id: u16) -> Option<i64> {
        match self.get(id)? {
            Value::Time(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// A name or a line with something in it: what follows its terminating zero is what lay in the buffer before.
    pub(crate) fn line(&self, id: u16, code_page: u32) -> Option<String> {
        let text = self.decoded(id, code_page)?;
        let line = text.split('\0').next().unwrap_or_default().trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// A long text with something in it. Zeros within are no reason to lose what follows.
    pub(crate) fn text(&self, id: u16, code_page: u32) -> Option<String> {
        let text = self.decoded(id, code_page)?.replace('\0', "");
        (!text.trim().is_empty()).then_some(text)
    }

    fn decoded(&self, id: u16, code_page: u32) -> Option<String> {
        match self.get(id)? {
            Value::Narrow(octets) => Some(codepage::decode(octets, code_page)),
            Value::Wide(octets) => Some(codepage::wide(octets)),
            _ => None,
        }
    }

    /// How many octets the text of a property has as it is stored.
    pub(crate) fn stored_len(&self, id: u16) -> usize {
        match self.get(id) {
            Some(Value::Narrow(octets) | Value::Wide(octets) | Value::Binary(octets)) => octets.len(),
            _ => 0,
        }
    }
}
