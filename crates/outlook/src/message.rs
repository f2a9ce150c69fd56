//! What a container holds, and how its properties become it.

use crate::budget::{Budget, Exhausted};
use crate::codepage;
use crate::property::{Properties, Value, id};
use crate::rtf;

/// A message that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// What kind of item it is: `IPM.Note` is a mail, `IPM.Contact` somebody's card. Empty when it does not say.
    pub class: String,
    /// Subject line; empty when there is none.
    pub subject: String,
    /// Who sent it.
    pub from: Option<Person>,
    /// Whom it went to, as Outlook shows it: names or addresses with `; ` between.
    pub to: String,
    /// The same for copies.
    pub cc: String,
    /// When it was sent (or delivered, when only that is known): seconds since 1970, UTC.
    pub sent_s: Option<i64>,
    /// The header of the internet mail that it was, as it came.
    pub headers: Option<String>,
    /// Plain text.
    pub plain: Option<String>,
    /// HTML, decoded to Unicode whatever charset it names itself.
    pub html: Option<String>,
    /// In the order of the container.
    pub attachments: Vec<Attachment>,
    /// What went wrong while reading, in the order it was met. Those of nested messages are with these.
    pub problems: Vec<Problem>,
}

impl Message {
    /// Whether something that belongs to it could not be read, here or in a message within.
    pub fn lost(&self) -> Option<&Problem> {
        let nested = self.attachments.iter().filter_map(|a| match &a.content {
            Content::Message(message) => message.lost(),
            _ => None,
        });
        self.problems.iter().find(|p| p.loss == Loss::Content).into_iter().chain(nested).next()
    }

    /// Octets of all texts and files in it and in the messages within.
    pub fn content_bytes(&self) -> usize {
        let texts = [&self.headers, &self.plain, &self.html].into_iter().flatten().map(String::len).sum::<usize>();
        let attached = self.attachments.iter().map(|a| match &a.content {
            Content::File(octets) => octets.len(),
            Content::Message(message) => message.content_bytes(),
            Content::Missing(_) => 0,
        });
        texts + attached.sum::<usize>()
    }

    pub(crate) fn warn(&mut self, what: impl Into<String>) {
        self.note(Loss::Nothing, what.into());
    }

    pub(crate) fn lose(&mut self, what: impl Into<String>) {
        self.note(Loss::Content, what.into());
    }

    fn note(&mut self, loss: Loss, what: String) {
        /// More say nothing new.
        const PROBLEMS_MAX: usize = 50;
        // A loss is never crowded out by warnings.
        let room = self.problems.len() < PROBLEMS_MAX;
        if room || loss == Loss::Content && self.problems.iter().all(|p| p.loss == Loss::Nothing) {
            self.problems.push(Problem { loss, what });
        }
    }
}

/// Name and address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// As people read it.
    pub name: Option<String>,
    /// SMTP address; none where the container knows only that of its own organisation's directory.
    pub address: Option<String>,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its long name, else the short one; none when it has neither.
    pub name: Option<String>,
    /// `type/subtype` as its sender named it.
    pub media: Option<String>,
    /// Content-ID without angle brackets.
    pub content_id: Option<String>,
    /// Whether it is a picture of the HTML and no file of its own (hidden, or marked as rendered within the body).
    pub inline: bool,
    /// What is in it.
    pub content: Content,
}

/// What an attachment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file's octets.
    File(Vec<u8>),
    /// A message.
    Message(Box<Message>),
    /// Nothing that could be read: why.
    Missing(String),
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it cost.
    pub loss: Loss,
    /// One line.
    pub what: String,
}

/// What a problem cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything that was found could be read.
    Nothing,
    /// Text or attachments are missing.
    Content,
}

/// Fills in everything but recipients and attachments. `code_page` is what the container says of itself.
pub(crate) fn fill(message: &mut Message, properties: &Properties<'_>, code_page: Option<u32>, budget: &mut Budget) {
    let page = code_page_of(properties, code_page);
    let line = |id| properties.line(id, page);
    message.class = line(id::MESSAGE_CLASS).unwrap_or_default();
    message.subject = line(id::SUBJECT).map(|s| without_prefix_mark(&s)).unwrap_or_default();
    message.from = sender(properties, page);
    message.to = line(id::DISPLAY_TO).unwrap_or_default();
    message.cc = line(id::DISPLAY_CC).unwrap_or_default();
    message.sent_s = properties.time(id::CLIENT_SUBMIT_TIME).or_else(|| properties.time(id::DELIVERY_TIME));
    message.headers = text(message, properties, (id::TRANSPORT_HEADERS, "the header"), page, budget);
    message.plain = text(message, properties, (id::BODY, "the text"), page, budget);
    message.html = text(message, properties, (id::HTML, "the HTML text"), page, budget);
    if let Some(Value::Binary(octets)) = properties.get(id::HTML) {
        let page = properties.number(id::INTERNET_CODE_PAGE).and_then(|n| u32::try_from(n).ok()).unwrap_or(page);
        match budget.take(octets.len().saturating_mul(3)) {
            Ok(()) => message.html = html(octets, page),
            Err(error) => message.lose(format!("the HTML text: {error}")),
        }
    }
    if let Some(Value::Binary(octets)) = properties.get(id::RTF_COMPRESSED) {
        rich_text(message, octets, budget);
    }
}

fn text(
    message: &mut Message,
    properties: &Properties<'_>,
    (id, what): (u16, &str),
    page: u32,
    budget: &mut Budget,
) -> Option<String> {
    // One octet of text becomes three of UTF-8 at most.
    if let Err(error) = budget.take(properties.stored_len(id).saturating_mul(3)) {
        message.lose(format!("{what}: {error}"));
        return None;
    }
    properties.text(id, page)
}

/// Rich text counts only where it says more than what is there: Outlook keeps HTML packed in it.
fn rich_text(message: &mut Message, octets: &[u8], budget: &mut Budget) {
    if message.html.is_some() || octets.is_empty() {
        return;
    }
    let other_text = message.plain.is_some();
    let unpacked = rtf::decompress(octets, budget);
    let problem = match unpacked {
        Ok(unpacked) => {
            if !unpacked.intact {
                message.warn("the rich text's checksum is wrong");
            }
            match budget.take(unpacked.octets.len().saturating_mul(3)) {
                Ok(()) => return take_rich_text(message, rtf::read(&unpacked.octets)),
                Err(error) => error.to_string(),
            }
        }
        Err(error) => error.to_string(),
    };
    match other_text {
        true => message.warn(format!("the rich text cannot be read, the plain text is there: {problem}")),
        false => message.lose(format!("the rich text: {problem}")),
    }
}

fn take_rich_text(message: &mut Message, text: rtf::Text) {
    let something = |text: String| (!text.trim().is_empty()).then_some(text);
    match text.form {
        rtf::Form::Html => message.html = something(text.text),
        rtf::Form::Plain => {
            if message.plain.is_none() {
                message.plain = something(text.text);
            }
            if text.pictures > 0 {
                message.lose("the rich text has pictures in it, which cannot be taken out");
            }
        }
    }
    if text.cut && message.plain.is_none() {
        message.lose("the rich text ends in its middle or is nested too deep");
    }
}

/// Octets of HTML: the mark at its beginning, then what it says of itself in its head, then the code page.
fn html(octets: &[u8], code_page: u32) -> Option<String> {
    /// WHATWG: user agents look for the charset in the first 1024 octets.
    const HEAD_BYTES: usize = 1024;
    let named = || {
        let head = String::from_utf8_lossy(&octets[..octets.len().min(HEAD_BYTES)]).to_ascii_lowercase();
        let (_, after) = head.split_once("charset=")?;
        let label = after.trim_start_matches(['"', '\'', ' ']);
        let end = label.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(label.len());
        encoding_rs::Encoding::for_label_no_replacement(&label.as_bytes()[..end])
            .filter(|e| *e != encoding_rs::UTF_16LE && *e != encoding_rs::UTF_16BE)
    };
    let marked = encoding_rs::Encoding::for_bom(octets).map(|(encoding, _)| encoding);
    let text = match marked.or_else(named) {
        Some(encoding) => encoding.decode(octets).0.into_owned(),
        None => codepage::decode(octets, code_page),
    };
    let text = text.replace('\0', "");
    (!text.trim().is_empty()).then_some(text)
}

/// The code page of narrow strings: what the message says, then its packing, then the internet's.
pub(crate) fn code_page_of(properties: &Properties<'_>, container: Option<u32>) -> u32 {
    let number = |id| properties.number(id).and_then(|n| u32::try_from(n).ok()).filter(|n| *n != 0);
    container
        .filter(|n| *n != 0)
        .or_else(|| number(id::MESSAGE_CODE_PAGE))
        .or_else(|| number(id::INTERNET_CODE_PAGE))
        .unwrap_or(codepage::WESTERN)
}

/// MS-OXCMSG §2.2.1.10: the subject as stored may begin with a mark and the length of its prefix.
fn without_prefix_mark(subject: &str) -> String {
    let mut letters = subject.chars();
    match letters.next() {
        Some('\u{1}') => {
            letters.next();
            letters.as_str().to_owned()
        }
        _ => subject.to_owned(),
    }
}

/// Whom it is from is whom it was sent for.
fn sender(properties: &Properties<'_>, page: u32) -> Option<Person> {
    let line = |id| properties.line(id, page);
    let name = line(id::SENT_REPRESENTING_NAME).or_else(|| line(id::SENDER_NAME));
    let address = [id::SENT_REPRESENTING_SMTP, id::SENDER_SMTP, id::SENT_REPRESENTING_EMAIL, id::SENDER_EMAIL]
        .into_iter()
        .filter_map(line)
        // An address of Exchange's directory (`/O=…`) says nothing to people.
        .find(|address| address.contains('@') && !address.starts_with('/'));
    (name.is_some() || address.is_some()).then_some(Person { name, address })
}

/// Fills in whom it went to from its recipients, where the message itself does not say.
pub(crate) fn fill_recipients(message: &mut Message, rows: &[Properties<'_>], page: u32) {
    let list = |kind: u64| {
        let named = rows.iter().filter(|row| row.number(id::RECIPIENT_TYPE).is_some_and(|k| k & 0xf == kind));
        let name = |row: &Properties<'_>| {
            [id::DISPLAY_NAME, id::SMTP_ADDRESS, id::EMAIL].into_iter().find_map(|id| row.line(id, page))
        };
        named.filter_map(name).collect::<Vec<_>>().join("; ")
    };
    // MS-OXCMSG §2.2.3.1: 1 is To, 2 is Cc; 3 is Bcc and is never shown.
    if message.to.is_empty() {
        message.to = list(1);
    }
    if message.cc.is_empty() {
        message.cc = list(2);
    }
}

/// How an attachment is attached (MS-OXCMSG §2.2.2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Value,
    Reference,
    Message,
    Object,
}

pub(crate) fn method(properties: &Properties<'_>) -> Method {
    match properties.number(id::ATTACH_METHOD) {
        Some(2..=4 | 7) => Method::Reference,
        Some(5) => Method::Message,
        Some(6) => Method::Object,
        _ => Method::Value,
    }
}

/// An attachment with everything but its content.
pub(crate) fn describe(properties: &Properties<'_>, page: u32, content: Content) -> Attachment {
    let line = |id| properties.line(id, page);
    let names = [id::ATTACH_LONG_NAME, id::ATTACH_NAME, id::ATTACH_TRANSPORT_NAME, id::DISPLAY_NAME];
    let mut name = names.into_iter().find_map(line);
    if name.is_none() {
        name = line(id::ATTACH_EXTENSION).map(|extension| format!("attachment{extension}"));
    }
    let content_id = line(id::ATTACH_CONTENT_ID).map(|i| i.trim_matches(['<', '>']).to_owned());
    /// `ATT_MHTML_REF`: the HTML shows it.
    const SHOWN_BY_HTML: u64 = 4;
    let flagged = properties.number(id::ATTACH_FLAGS).is_some_and(|flags| flags & SHOWN_BY_HTML != 0);
    let hidden = properties.number(id::ATTACH_HIDDEN).is_some_and(|hidden| hidden != 0);
    let media = line(id::ATTACH_MIME).map(|m| m.to_ascii_lowercase());
    Attachment { name, media, content_id, inline: flagged || hidden, content }
}

/// The content of an attachment that is stored as octets, or why there is none.
pub(crate) fn file(properties: &mut Properties<'_>, page: u32, budget: &mut Budget) -> Content {
    let data = match properties.take(id::ATTACH_DATA) {
        Some(Value::Binary(octets)) => Some(octets),
        Some(Value::Object(octets)) => Some(octets.into()),
        _ => None,
    };
    if let Some(data) = data {
        return match budget.take(data.len()) {
            Ok(()) => Content::File(data.into_owned()),
            Err(error) => Content::Missing(error.to_string()),
        };
    }
    if method(properties) == Method::Reference {
        let path = [id::ATTACH_LONG_PATH, id::ATTACH_PATH].into_iter().find_map(|id| properties.line(id, page));
        let path = path.map(|p| format!(" ({p})")).unwrap_or_default();
        return Content::Missing(format!("only a link to the file was attached{path}"));
    }
    // A file of no octets has no data in some writers' hands.
    Content::File(Vec::new())
}

/// A message within: one deeper, or why not.
pub(crate) fn nested(budget: &mut Budget, open: impl FnOnce(&mut Budget) -> Result<Message, crate::Error>) -> Content {
    let opened: Result<Result<Message, crate::Error>, Exhausted> = budget.deeper(open);
    match opened {
        Ok(Ok(message)) => Content::Message(Box::new(message)),
        Ok(Err(error)) => Content::Missing(error.to_string()),
        Err(error) => Content::Missing(error.to_string()),
    }
}
