//! TNEF: a stream of attributes, two of which hold lists of properties.
//!
//! Attributes with a counterpart among the properties become that property; of both, the first one that says something
//! counts. An attribute that runs over the end is a loss, a wrong checksum a warning, an unknown id nothing.
//! MS-OXTNEF.

use std::borrow::Cow;

use crate::Error;
use crate::budget::Budget;
use crate::message::{self, Content, Message};
use crate::property::{Properties, Value, id, kind, unix_seconds};
use crate::reader::Reader;

/// MS-OXTNEF §2.1.3.1: 0x223E9F78.
pub(crate) const SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];

/// Attributes (MS-OXTNEF §2.1.3.3) by the lower half of their tag. The upper half is a type, which writers leave out.
mod attribute {
    pub(super) const FROM: u16 = 0x8000;
    pub(super) const SUBJECT: u16 = 0x8004;
    pub(super) const DATE_SENT: u16 = 0x8005;
    pub(super) const DATE_RECEIVED: u16 = 0x8006;
    pub(super) const MESSAGE_CLASS: u16 = 0x8008;
    pub(super) const BODY: u16 = 0x800c;
    pub(super) const ATTACH_DATA: u16 = 0x800f;
    pub(super) const ATTACH_TITLE: u16 = 0x8010;
    pub(super) const ATTACH_TRANSPORT_NAME: u16 = 0x9001;
    pub(super) const ATTACH_BEGINS: u16 = 0x9002;
    pub(super) const MESSAGE_PROPERTIES: u16 = 0x9003;
    pub(super) const RECIPIENTS: u16 = 0x9004;
    pub(super) const ATTACH_PROPERTIES: u16 = 0x9005;
    pub(super) const CODE_PAGE: u16 = 0x9007;
}

const LEVEL_MESSAGE: u8 = 1;
const LEVEL_ATTACHMENT: u8 = 2;

/// The interface of an object that is a message: its data is a TNEF stream (MS-OXTNEF §2.1.3.4).
const INTERFACE_MESSAGE: [u8; 16] = interface(0x0002_0307);
const INTERFACE_BYTES: usize = 16;
/// Recipients beyond these are not read: they only make a line of the heading.
const RECIPIENTS_MAX: usize = 1000;

const fn interface(first: u32) -> [u8; 16] {
    let [a, b, c, d] = first.to_le_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]
}

/// Opens a stream.
pub(crate) fn open(octets: &[u8], budget: &mut Budget) -> Result<Message, Error> {
    let mut reader = Reader::new(octets.strip_prefix(&SIGNATURE[..]).ok_or(Error::OtherFormat("TNEF stream"))?);
    let mut stream = Stream::default();
    if reader.u16().is_none() {
        stream.message.lose("the TNEF stream ends in its head");
    }
    while !reader.rest().is_empty() {
        let before = reader.rest();
        match next(&mut reader) {
            Next::Attribute(attribute) => stream.attribute(&attribute),
            Next::Cut(attribute) => {
                stream.message.lose("the TNEF stream is cut off");
                stream.attribute(&attribute);
                break;
            }
            Next::Garbage => {
                stream.garbage(before);
                break;
            }
        }
    }
    Ok(stream.finish(budget))
}

struct Attribute<'a> {
    level: u8,
    tag: u16,
    data: &'a [u8],
    checksum: Option<u16>,
}

enum Next<'a> {
    Attribute(Attribute<'a>),
    /// The last one, as far as it goes.
    Cut(Attribute<'a>),
    Garbage,
}

fn next<'a>(reader: &mut Reader<'a>) -> Next<'a> {
    let level = match reader.bytes(1) {
        Some([level @ (LEVEL_MESSAGE | LEVEL_ATTACHMENT)]) => *level,
        _ => return Next::Garbage,
    };
    let (Some(tag), Some(_type), Some(length)) = (reader.u16(), reader.u16(), reader.u32()) else {
        return Next::Garbage;
    };
    match reader.bytes(usize::try_from(length).unwrap_or(usize::MAX)) {
        // The very last checksum may be missing: nothing depends on it.
        Some(data) => Next::Attribute(Attribute { level, tag, data, checksum: reader.u16() }),
        None => {
            let data = reader.rest();
            Next::Cut(Attribute { level, tag, data, checksum: None })
        }
    }
}

/// What was gathered so far.
#[derive(Default)]
struct Stream<'a> {
    message: Message,
    code_page: Option<u32>,
    properties: Properties<'a>,
    recipients: Vec<Properties<'a>>,
    attachments: Vec<Properties<'a>>,
    wrong_checksums: usize,
}

impl<'a> Stream<'a> {
    fn attribute(&mut self, attribute: &Attribute<'a>) {
        let data = attribute.data;
        // MS-OXTNEF §2.1.3.2: the sum of the octets.
        let sum = data.iter().fold(0u16, |sum, b| sum.wrapping_add(u16::from(*b)));
        if attribute.checksum.is_some_and(|checksum| checksum != sum) {
            self.wrong_checksums += 1;
        }
        if attribute.level == LEVEL_ATTACHMENT {
            self.of_attachment(attribute.tag, data);
        } else {
            self.of_message(attribute.tag, data);
        }
    }

    fn of_message(&mut self, tag: u16, data: &'a [u8]) {
        let narrow = |octets: &'a [u8]| Value::Narrow(Cow::Borrowed(octets));
        match tag {
            attribute::CODE_PAGE => self.code_page = Reader::new(data).u32(),
            attribute::MESSAGE_CLASS => self.properties.add(id::MESSAGE_CLASS, narrow(data)),
            attribute::SUBJECT => self.properties.add(id::SUBJECT, narrow(data)),
            attribute::BODY => self.properties.add(id::BODY, narrow(data)),
            attribute::DATE_SENT => self.date(id::CLIENT_SUBMIT_TIME, data),
            attribute::DATE_RECEIVED => self.date(id::DELIVERY_TIME, data),
            attribute::FROM => {
                if let Some((name, address)) = triple(data) {
                    self.properties.add(id::SENDER_NAME, narrow(name));
                    let address = address.strip_prefix(b"SMTP:").or(address.strip_prefix(b"smtp:")).unwrap_or(address);
                    self.properties.add(id::SENDER_EMAIL, narrow(address));
                }
            }
            attribute::MESSAGE_PROPERTIES => {
                let whole = read_properties(&mut Reader::new(data), &mut self.properties);
                whole.unwrap_or_else(|| self.message.lose("the message's properties are damaged"));
            }
            attribute::RECIPIENTS => self.recipients(data),
            _ => {}
        }
    }

    fn of_attachment(&mut self, tag: u16, data: &'a [u8]) {
        if tag == attribute::ATTACH_BEGINS || self.attachments.is_empty() {
            // MS-OXTNEF §2.1.3.3.14: it comes first of each attachment. Writers exist that leave it out.
            self.attachments.push(Properties::default());
        }
        let Some(properties) = self.attachments.last_mut() else { return };
        match tag {
            attribute::ATTACH_TITLE => properties.add(id::ATTACH_NAME, Value::Narrow(Cow::Borrowed(data))),
            attribute::ATTACH_TRANSPORT_NAME => {
                properties.add(id::ATTACH_TRANSPORT_NAME, Value::Narrow(Cow::Borrowed(data)));
            }
            attribute::ATTACH_DATA => properties.add(id::ATTACH_DATA, Value::Binary(Cow::Borrowed(data))),
            attribute::ATTACH_PROPERTIES => {
                let whole = read_properties(&mut Reader::new(data), properties);
                let number = self.attachments.len();
                whole.unwrap_or_else(|| {
                    self.message.lose(format!("the properties of attachment {number} are damaged"));
                });
            }
            _ => {}
        }
    }

    fn date(&mut self, id: u16, data: &[u8]) {
        if let Some(seconds) = date(data) {
            self.properties.add(id, Value::Time(seconds));
        }
    }

    fn recipients(&mut self, data: &'a [u8]) {
        let mut reader = Reader::new(data);
        let rows = reader.length().unwrap_or(0).min(RECIPIENTS_MAX);
        for _ in 0..rows {
            let mut row = Properties::default();
            let whole = read_properties(&mut reader, &mut row);
            self.recipients.push(row);
            if whole.is_none() {
                return self.message.warn("the list of recipients is damaged");
            }
        }
    }

    /// What begins no attribute: mail programs and lists append such things. Where an attachment begins in it, it is
    /// damage.
    fn garbage(&mut self, rest: &[u8]) {
        let begins = |window: &[u8]| {
            let [LEVEL_ATTACHMENT, low, high, kind, 0] = *window else { return false };
            let tag = u16::from_le_bytes([low, high]);
            let known = [attribute::ATTACH_BEGINS, attribute::ATTACH_DATA, attribute::ATTACH_PROPERTIES];
            known.contains(&tag) && matches!(kind, 0 | 6)
        };
        if rest.windows(5).any(begins) {
            self.message.lose("the TNEF stream is damaged before its last attachment");
        } else {
            self.message.warn(format!("{} octets after the TNEF stream are none of it", rest.len()));
        }
    }

    fn finish(self, budget: &mut Budget) -> Message {
        let Self { mut message, code_page, properties, recipients, attachments, wrong_checksums } = self;
        if wrong_checksums > 0 {
            message.warn(format!("{wrong_checksums} attributes have a wrong checksum"));
        }
        let page = message::code_page_of(&properties, code_page);
        message::fill(&mut message, &properties, code_page, budget);
        message::fill_recipients(&mut message, &recipients, page);
        for mut properties in attachments {
            if let Err(error) = budget.take_attachment() {
                message.lose(error.to_string());
                break;
            }
            let content = content(&mut properties, page, budget);
            message.attachments.push(message::describe(&properties, page, content));
        }
        message
    }
}

fn content(properties: &mut Properties<'_>, page: u32, budget: &mut Budget) -> Content {
    let Some(Value::Object(object)) = properties.get(id::ATTACH_DATA) else {
        return message::file(properties, page, budget);
    };
    match object.split_at_checked(INTERFACE_BYTES) {
        Some((interface, stream)) if *interface == INTERFACE_MESSAGE => message::nested(budget, |b| open(stream, b)),
        Some((_, octets)) => match budget.take(octets.len()) {
            Ok(()) => Content::File(octets.to_vec()),
            Err(error) => Content::Missing(error.to_string()),
        },
        None => Content::Missing("the attached object is cut off".to_owned()),
    }
}

/// MS-OXTNEF §2.1.3.3.1 (TRP): four lengths, then a name and `TYPE:address`, each with a terminating zero.
fn triple(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(data);
    reader.u32()?;
    let (name, address) = (reader.u16()?, reader.u16()?);
    Some((reader.bytes(usize::from(name))?, reader.bytes(usize::from(address))?))
}

/// MS-OXTNEF §2.1.3.3.5 (DTR): year, month, day, hour, minute, second, day of the week.
fn date(data: &[u8]) -> Option<i64> {
    let mut reader = Reader::new(data);
    let mut next = || reader.u16().map(i64::from);
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let in_range = (1601..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour < 24 && minute < 60 && second < 61);
    in_range.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days of the Gregorian calendar, counted in years that begin in March so that the leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days - 719_468
}

/// MS-OXTNEF §2.1.3.4: a count, then so many properties. None when they run over the end; those before it are there.
fn read_properties<'a>(reader: &mut Reader<'a>, into: &mut Properties<'a>) -> Option<()> {
    for _ in 0..reader.u32()? {
        let (value_kind, id) = (reader.u16()?, reader.u16()?);
        if id >= id::NAMED {
            skip_name(reader)?;
        }
        let many = value_kind & kind::MANY != 0;
        let base = value_kind & !kind::MANY;
        let counted = many || matches!(base, kind::STRING8 | kind::STRING | kind::BINARY | kind::OBJECT);
        let count = if counted { reader.length()? } else { 1 };
        for _ in 0..count {
            let value = read_value(reader, base)?;
            if let Some(value) = value
                && !many
                && id < id::NAMED
            {
                into.add(id, value);
            }
        }
    }
    Some(())
}

fn skip_name(reader: &mut Reader<'_>) -> Option<()> {
    const GUID_BYTES: usize = 16;
    reader.bytes(GUID_BYTES)?;
    if reader.u32()? == 0 {
        reader.u32()?;
    } else {
        let length = reader.length()?;
        reader.padded(length)?;
    }
    Some(())
}

/// One value; the inner none is a type without a use.
fn read_value<'a>(reader: &mut Reader<'a>, kind: u16) -> Option<Option<Value<'a>>> {
    let mut sized = || {
        let length = reader.length()?;
        reader.padded(length)
    };
    Some(match kind {
        kind::STRING8 => Some(Value::Narrow(Cow::Borrowed(sized()?))),
        kind::STRING => Some(Value::Wide(Cow::Borrowed(sized()?))),
        kind::BINARY => Some(Value::Binary(Cow::Borrowed(sized()?))),
        kind::OBJECT => Some(Value::Object(sized()?)),
        kind::I16 | kind::BOOL => Some(Value::Number(u64::from(reader.u32()? & 0xffff))),
        kind::I32 | kind::ERROR => Some(Value::Number(u64::from(reader.u32()?))),
        kind::I64 => Some(Value::Number(reader.u64()?)),
        kind::TIME => unix_seconds(reader.u64()?).map(Value::Time),
        kind::F32 => reader.u32().map(|_| None)?,
        kind::F64 | kind::CURRENCY | kind::APP_TIME => reader.u64().map(|_| None)?,
        kind::GUID => reader.bytes(16).map(|_| None)?,
        // Its length is not known, so neither is where the next one begins.
        _ => return None,
    })
}
