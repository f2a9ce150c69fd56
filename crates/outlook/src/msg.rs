//! `.msg`: a message as a compound file, a storage for each recipient and attachment, a stream for each long property.
//! MS-OXMSG.

use std::borrow::Cow;

use crate::Error;
use crate::budget::Budget;
use crate::compound::{Compound, Node, ROOT};
use crate::message::{self, Content, Message, Method};
use crate::property::{Properties, Value, id, kind, unix_seconds};
use crate::reader::Reader;

const PROPERTIES: &str = "__PROPERTIES_VERSION1.0";
const STREAM: &str = "__SUBSTG1.0_";
const RECIPIENT: &str = "__RECIP_VERSION1.0_#";
const ATTACHMENT: &str = "__ATTACH_VERSION1.0_#";
/// The attached message or object, a storage.
const ATTACHED_OBJECT: &str = "__SUBSTG1.0_3701000D";

/// MS-OXMSG §2.4.1: what stands before the entries of a property stream.
const TOP_HEAD_BYTES: usize = 32;
const NESTED_HEAD_BYTES: usize = 24;
const PART_HEAD_BYTES: usize = 8;
/// Recipients beyond these are not read: they only make a line of the heading.
const RECIPIENTS_MAX: usize = 1000;

/// Opens a file.
pub(crate) fn open(octets: &[u8], budget: &mut Budget) -> Result<Message, Error> {
    let file = Compound::open(octets)?;
    read(&file, ROOT, TOP_HEAD_BYTES, budget)
}

fn read(file: &Compound<'_>, storage: Node, head_bytes: usize, budget: &mut Budget) -> Result<Message, Error> {
    let mut message = Message::default();
    let properties =
        properties(file, storage, head_bytes, &mut message, budget).ok_or(Error::OtherFormat("message file"))?;
    let page = message::code_page_of(&properties, None);
    message::fill(&mut message, &properties, None, budget);
    let rows: Vec<Properties<'_>> = named(file, storage, RECIPIENT)
        .into_iter()
        .take(RECIPIENTS_MAX)
        .filter_map(|row| self::properties(file, row, PART_HEAD_BYTES, &mut message, budget))
        .collect();
    message::fill_recipients(&mut message, &rows, page);
    for part in named(file, storage, ATTACHMENT) {
        if let Err(error) = budget.take_attachment() {
            message.lose(error.to_string());
            break;
        }
        attachment(file, part, page, &mut message, budget);
    }
    Ok(message)
}

fn attachment(file: &Compound<'_>, part: Node, page: u32, message: &mut Message, budget: &mut Budget) {
    let Some(mut properties) = properties(file, part, PART_HEAD_BYTES, message, budget) else {
        return message.lose("an attachment has no properties");
    };
    let object = file.children(part).iter().copied().find(|n| file.is_storage(*n) && file.name(*n) == ATTACHED_OBJECT);
    let content = match (message::method(&properties), object) {
        (Method::Message, Some(object)) => message::nested(budget, |b| read(file, object, NESTED_HEAD_BYTES, b)),
        (Method::Message, None) => Content::Missing("the attached message is not in the file".to_owned()),
        (_, Some(_)) => Content::Missing("an embedded object, which only the program that made it can open".to_owned()),
        (method, None) if method != Method::Reference && properties.get(id::ATTACH_DATA).is_none() => {
            absent(file, part)
        }
        _ => message::file(&mut properties, page, budget),
    };
    message.attachments.push(message::describe(&properties, page, content));
}

/// A stream without octets is an empty file; none at all, or one that could not be read, is a loss.
fn absent(file: &Compound<'_>, part: Node) -> Content {
    let name = format!("{STREAM}{:04X}{:04X}", id::ATTACH_DATA, kind::BINARY);
    let empty = file.children(part).iter().any(|n| file.name(*n) == name && file.size(*n) == 0);
    if empty { Content::File(Vec::new()) } else { Content::Missing("its content is not in the file".to_owned()) }
}

/// The properties of a storage; none when it has no property stream, so is neither message nor part of one.
fn properties(
    file: &Compound<'_>,
    storage: Node,
    head_bytes: usize,
    message: &mut Message,
    budget: &mut Budget,
) -> Option<Properties<'static>> {
    let mut found = Properties::default();
    let fixed = file.children(storage).iter().copied().find(|n| file.name(*n) == PROPERTIES)?;
    match charged(file, fixed, budget) {
        Ok(octets) => fixed_properties(octets.get(head_bytes..).unwrap_or_default(), &mut found),
        Err(problem) => message.lose(format!("properties: {problem}")),
    }
    for node in file.children(storage).iter().copied().filter(|n| !file.is_storage(*n)) {
        let Some((id, kind)) = file.name(node).strip_prefix(STREAM).and_then(tag) else { continue };
        if !id::is_used(id) || !matches!(kind, kind::STRING8 | kind::STRING | kind::BINARY) {
            continue;
        }
        match charged(file, node, budget) {
            Ok(octets) => found.add(id, value(kind, octets)),
            Err(problem) => message.lose(format!("property {id:04x}: {problem}")),
        }
    }
    Some(found)
}

fn value(kind: u16, octets: Vec<u8>) -> Value<'static> {
    match kind {
        kind::STRING8 => Value::Narrow(Cow::Owned(octets)),
        kind::STRING => Value::Wide(Cow::Owned(octets)),
        _ => Value::Binary(Cow::Owned(octets)),
    }
}

fn charged(file: &Compound<'_>, node: Node, budget: &mut Budget) -> Result<Vec<u8>, String> {
    budget.take(file.size(node)).map_err(|e| e.to_string())?;
    file.stream(node).ok_or_else(|| "it is cut off".to_owned())
}

/// `37010102`: id and type. Longer ones are values of lists.
fn tag(hex: &str) -> Option<(u16, u16)> {
    let (id, kind) = hex.split_at_checked(4).filter(|(_, kind)| kind.len() == 4)?;
    Some((u16::from_str_radix(id, 16).ok()?, u16::from_str_radix(kind, 16).ok()?))
}

/// MS-OXMSG §2.4.2.1: 16 octets each, type, id, flags, value.
fn fixed_properties(octets: &[u8], into: &mut Properties<'static>) {
    const ENTRY_BYTES: usize = 16;
    for entry in octets.as_chunks::<ENTRY_BYTES>().0 {
        let mut reader = Reader::new(entry);
        let fields = (reader.u16(), reader.u16(), reader.u32(), reader.u64());
        let (Some(kind), Some(id), Some(_flags), Some(value)) = fields else { continue };
        let value = match kind {
            kind::I16 | kind::BOOL => Value::Number(value & 0xffff),
            kind::I32 => Value::Number(value & 0xffff_ffff),
            kind::TIME => match unix_seconds(value) {
                Some(seconds) => Value::Time(seconds),
                None => continue,
            },
            _ => continue,
        };
        into.add(id, value);
    }
}

/// Storages whose name begins so, in the order of the numbers that end their names.
fn named(file: &Compound<'_>, storage: Node, prefix: &str) -> Vec<Node> {
    let children = file.children(storage).iter().copied();
    let mut found: Vec<Node> = children.filter(|n| file.is_storage(*n) && file.name(*n).starts_with(prefix)).collect();
    found.sort_by(|a, b| file.name(*a).cmp(file.name(*b)));
    found
}
