//! Attachments that are mails themselves: TNEF (`winmail.dat`), Outlook's `.msg`, message/rfc822. They are replaced by
//! what is in them, at their place, however deep.
//!
//! A TNEF stream is this mail once more: its text counts where the mail's own does not say the same, its attachments
//! are the mail's. An attached mail becomes its text under a heading of who, to whom, when and what, and then its
//! attachments. What cannot be opened in full is an error that names it.
//!
//! This is the structure of mail and no document: it is read where MIME is read, by intake (which must know the kinds of
//! attachments before it says `250`) and by the renderer alike, in safe code without recursion over content and with
//! limits on depth, number and size. What decodes fonts, pictures and pages stays in the converter process.
//! MS-OXTNEF, MS-OXMSG, MS-OXCMAIL §2.1.3, RFC 2046 §5.2.1.

use std::collections::HashSet;

use outlook::{Content as Held, Message};

use super::select::{self, Content};
use super::tree::{self, Budget, Part};
use super::{Attachment, Body, Inline, MimeError, header};

/// Mails in mails. `outlook` counts those within one container by itself.
const DEPTH_MAX: usize = 8;
/// Compressed text grows 9 times at most, and is rarely most of a mail.
const GROWTH_MAX: usize = 8;
/// What small mails may grow to.
const OCTETS_FREE: usize = 4 * 1024 * 1024;

/// What opening may still cost, over the whole mail.
pub(super) struct Opening {
    budget: Budget,
    depth: usize,
    octets: usize,
}

impl Opening {
    /// For a mail of so many octets, of whose parts `budget` has counted those that it shows itself.
    pub(super) fn new(mail_bytes: usize, budget: Budget) -> Self {
        Self { budget, depth: 0, octets: mail_bytes.saturating_mul(GROWTH_MAX).saturating_add(OCTETS_FREE) }
    }

    fn spend(&mut self, octets: usize) -> Result<(), MimeError> {
        self.octets = self.octets.checked_sub(octets).ok_or_else(|| {
            MimeError::unsupported("the mails and containers in the mail hold more than its size allows")
        })?;
        Ok(())
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, MimeError>) -> Result<T, MimeError> {
        if self.depth == DEPTH_MAX {
            return Err(MimeError::unsupported(format!("mails lie in mails more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }
}

/// Text and attachments of a mail with everything opened that can be.
pub(super) fn content(root: &Part<'_>, opening: &mut Opening) -> Result<Content, MimeError> {
    let closed = select::select(root)?;
    let Content { body, inline, left_out, .. } = closed;
    let mut open = Content { body, inline, left_out, attachments: Vec::new() };
    for attachment in closed.attachments {
        match container(&attachment) {
            Some(kind) => kind.replace(attachment, &mut open, opening)?,
            None => open.attachments.push(attachment),
        }
    }
    Ok(open)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Tnef,
    Msg,
    Mail,
}

/// What an attachment claims to be or is. A claim that is false is an error later and not a file of an unknown kind.
fn container(attachment: &Attachment) -> Option<Container> {
    const COMPOUND_FILE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    let name = attachment.name.to_ascii_lowercase();
    // What programs make of a mail that lies in a folder as a file; a text under that name comes out as a text.
    let mail_file = matches!(attachment.media.as_str(), "application/octet-stream" | "text/plain");
    match attachment.media.as_str() {
        "application/ms-tnef" | "application/vnd.ms-tnef" => Some(Container::Tnef),
        _ if outlook::is_tnef(&attachment.bytes) || name == "winmail.dat" => Some(Container::Tnef),
        "application/vnd.ms-outlook" | "application/x-msg" => Some(Container::Msg),
        _ if name.ends_with(".msg") && attachment.bytes.starts_with(&COMPOUND_FILE) => Some(Container::Msg),
        // RFC 6532 §3.7: message/global is the same with UTF-8 in its header.
        "message/rfc822" | "message/global" => Some(Container::Mail),
        _ if mail_file && name.ends_with(".eml") => Some(Container::Mail),
        _ => None,
    }
}

impl Container {
    fn replace(self, attachment: Attachment, into: &mut Content, opening: &mut Opening) -> Result<(), MimeError> {
        let name = attachment.name;
        let opened = match self {
            Self::Tnef => outlook::open_tnef(&attachment.bytes),
            Self::Msg => outlook::open_msg(&attachment.bytes),
            Self::Mail => {
                let mail = opening.deeper(|opening| mail(&attachment.bytes, opening));
                return mail.map(|m| m.append(&name, into)).map_err(|e| within(&name, e));
            }
        };
        let message = opened.map_err(|e| within(&name, MimeError::damaged(e.to_string())))?;
        opening.spend(message.content_bytes())?;
        if let Some(problem) = message.lost() {
            return Err(within(&name, MimeError::damaged(problem.what.clone())));
        }
        let result = match self {
            Self::Tnef => this_mail(message, &name, into, opening),
            _ => letter(message, opening).map(|l| l.append(&name, into)),
        };
        result.map_err(|e| within(&name, e))
    }
}

fn within(name: &str, error: MimeError) -> MimeError {
    MimeError { cause: error.cause, detail: format!("attachment \"{name}\": {}", error.detail) }
}

/// A mail in a mail, opened.
struct Letter {
    heading: Vec<(&'static str, String)>,
    content: Content,
}

impl Letter {
    /// Its text, then its attachments. A letter without text is still a letter: its heading is printed.
    fn append(self, name: &str, into: &mut Content) {
        let (media, text) = match self.content.body {
            Some(Body::Html(html)) => ("text/html", html_with_heading(&self.heading, &html)),
            Some(Body::Plain(text)) => ("text/plain", plain_with_heading(&self.heading, &text)),
            None => ("text/plain", plain_with_heading(&self.heading, "")),
        };
        into.attachments.push(text_attachment(name, media, text));
        // The letter is printed as a text; a photo in it is a page of its own.
        for picture in self.content.inline {
            if select::is_logo(&picture.bytes) {
                into.left_out.push(picture.name);
            } else {
                let Inline { name, media, bytes, .. } = picture;
                into.attachments.push(Attachment { name, media, charset: None, bytes });
            }
        }
        into.attachments.extend(self.content.attachments);
        into.left_out.extend(self.content.left_out);
    }
}

fn text_attachment(name: &str, media: &str, text: String) -> Attachment {
    let charset = Some("utf-8".to_owned());
    let (name, media, bytes) = (name.to_owned(), media.to_owned(), text.into_bytes());
    Attachment { name, media, charset, bytes }
}

fn plain_with_heading(heading: &[(&str, String)], text: &str) -> String {
    let lines: String = heading.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{lines}\n{text}")
}

fn html_with_heading(heading: &[(&str, String)], html: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines: String = heading.iter().map(|(name, value)| format!("<b>{name}:</b> {}<br>", escape(value))).collect();
    // Where the text of the page begins; a fragment has no such place but its beginning.
    let lower = html.to_ascii_lowercase();
    let body = lower.find("<body").and_then(|at| lower[at..].find('>').map(|end| at + end + 1));
    let (before, after) = html.split_at(body.unwrap_or(0));
    format!("{before}<p>{lines}</p><hr>{after}")
}

/// Reads a mail in a mail. Its `Bcc` is never shown.
fn mail(raw: &[u8], opening: &mut Opening) -> Result<Letter, MimeError> {
    opening.spend(raw.len())?;
    let root = tree::parse(raw, &mut opening.budget)?;
    let field = |name: &str| root.field(name).map(header::Field::text).filter(|text| !text.is_empty());
    let heading = [("From", "from"), ("To", "to"), ("Cc", "cc"), ("Date", "date"), ("Subject", "subject")];
    let heading: Vec<_> = heading.into_iter().filter_map(|(shown, name)| Some((shown, field(name)?))).collect();
    let content = content(&root, opening)?;
    if heading.is_empty() && content.body.is_none() && content.attachments.is_empty() {
        return Err(MimeError::damaged("there is no mail in it"));
    }
    Ok(Letter { heading, content })
}

/// A message of Outlook as a letter.
fn letter(message: Message, opening: &mut Opening) -> Result<Letter, MimeError> {
    let clean = |text: &str| Some(header::clean(text)).filter(|t| !t.is_empty());
    let from = message.from.as_ref().and_then(|p| match (&p.name, &p.address) {
        (Some(name), Some(address)) if name != address => clean(&format!("{name} <{address}>")),
        (Some(one), _) | (None, Some(one)) => clean(one),
        (None, None) => None,
    });
    let sent = message.sent_s.and_then(|s| jiff::Timestamp::from_second(s).ok());
    let heading = [
        ("From", from),
        ("To", clean(&message.to)),
        ("Cc", clean(&message.cc)),
        ("Date", sent.map(|s| s.strftime("%a, %-d %b %Y %H:%M UTC").to_string())),
        ("Subject", clean(&message.subject)),
    ];
    let heading: Vec<_> = heading.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let empty = message.plain.is_none() && message.html.is_none() && message.attachments.is_empty();
    if empty && !is_mail(&message.class) {
        // Cards, tasks and lists keep what they say in fields of their own.
        let class = header::clean(&message.class);
        return Err(MimeError::unsupported(format!(
            "it is an item of Outlook that is no mail ({class}) and has no text; fix: send it as PDF"
        )));
    }
    let mut content = Content::default();
    let (body, html) = texts(message.plain, message.html);
    content.body = body;
    attachments(message.attachments, html.as_deref(), &mut content, opening)?;
    Ok(Letter { heading, content })
}

fn is_mail(class: &str) -> bool {
    let class = class.to_ascii_lowercase();
    ["", "ipm", "ipm.note", "ipm.post", "ipm.microsoft mail.note"].contains(&class.as_str())
        || class.starts_with("ipm.note.")
}

/// The text that is used, and the HTML beside it: the same choice as in multipart/alternative.
fn texts(plain: Option<String>, html: Option<String>) -> (Option<Body>, Option<String>) {
    match (plain, html) {
        (Some(plain), html) => (Some(Body::Plain(super::text::with_lf(&plain))), html),
        (None, Some(html)) => (Some(Body::Html(super::text::with_lf(&html))), None),
        (None, None) => (None, None),
    }
}

/// The mail once more, as Outlook would rather have sent it.
fn this_mail(message: Message, name: &str, into: &mut Content, opening: &mut Opening) -> Result<(), MimeError> {
    let (body, unused) = texts(message.plain, message.html);
    // The mail's own text is the one that is used, so any HTML is not.
    let html = match (&into.body, &body) {
        (Some(_), Some(Body::Html(html))) if same_text(&into.body, &body) => Some(html.clone()),
        _ => unused,
    };
    match body {
        Some(body) if into.body.is_none() => into.body = Some(body),
        Some(body) if !same_text(&into.body, &Some(body.clone())) => {
            let (media, text) = match body {
                Body::Plain(text) => ("text/plain", text),
                Body::Html(text) => ("text/html", text),
            };
            into.attachments.push(text_attachment(name, media, text));
        }
        _ => {}
    }
    attachments(message.attachments, html.as_deref(), into, opening)
}

/// Attachments of a container. `unused_html` is a form of its text that is not printed.
fn attachments(
    held: Vec<outlook::Attachment>,
    unused_html: Option<&str>,
    into: &mut Content,
    opening: &mut Opening,
) -> Result<(), MimeError> {
    for one in held {
        opening.budget.spend_part()?;
        let name = one.name.as_deref().map(header::clean).filter(|n| !n.is_empty());
        let name = name.unwrap_or_else(|| format!("attachment {}", into.attachments.len() + 1));
        let media = one.media.as_deref().map(header::clean).filter(|m| m.contains('/'));
        let media = media.unwrap_or_else(|| "application/octet-stream".to_owned());
        let bytes = match one.content {
            Held::File(bytes) => bytes,
            Held::Message(message) => {
                let letter = opening.deeper(|opening| letter(*message, opening)).map_err(|e| within(&name, e))?;
                letter.append(&name, into);
                continue;
            }
            Held::Missing(why) => return Err(within(&name, MimeError::unsupported(why))),
        };
        let is_picture = media.starts_with("image/") || select::is_named_picture(&media, &name);
        if let Some(id) = one.content_id.as_deref().filter(|_| is_picture) {
            let drawn = select::can_be_drawn(&media);
            if drawn && matches!(&into.body, Some(Body::Html(html)) if select::refers_to(html, id)) {
                into.inline.push(Inline { id: id.to_owned(), name, media, bytes });
                continue;
            }
            if unused_html.is_some_and(|html| select::refers_to(html, id)) && select::is_logo(&bytes) {
                into.left_out.push(name);
                continue;
            }
        }
        let attachment = Attachment { name, media, charset: None, bytes };
        match container(&attachment) {
            Some(kind) => opening.deeper(|opening| kind.replace(attachment, into, opening))?,
            None => into.attachments.push(attachment),
        }
    }
    Ok(())
}

/// Whether the second text says nothing that the first does not: four of five of its words are there. Servers replace
/// letters that a charset lacks, and lists add their footers.
fn same_text(ours: &Option<Body>, other: &Option<Body>) -> bool {
    let (Some(ours), Some(other)) = (ours, other) else { return other.is_none() };
    let (ours, other) = (words(ours), words(other));
    let found = other.iter().filter(|word| ours.contains(*word)).count();
    found * 5 >= other.len() * 4
}

fn words(body: &Body) -> HashSet<String> {
    let text = match body {
        Body::Plain(text) => text.to_lowercase(),
        Body::Html(html) => without_tags(&html.to_lowercase()),
    };
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// What of HTML is text, nearly: enough to compare.
fn without_tags(html: &str) -> String {
    const HIDDEN: [(&str, &str); 4] =
        [("<head", "</head>"), ("<style", "</style>"), ("<script", "</script>"), ("<!--", "-->")];
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let whole = &rest[before.len()..];
        let hidden = HIDDEN.iter().find(|(begin, _)| whole.starts_with(begin));
        let end = hidden.map_or(">", |(_, end)| *end);
        rest = tag.split_once(end).map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.replace("&nbsp;", " ")
}

#[cfg(test)]
#[path = "../../../crates/outlook/tests/writer/mod.rs"]
mod writer;

#[cfg(test)]
mod tests;
