//! Which part is the mail's text, which are attachments, and which are another form of the same thing.
//!
//! A multipart/alternative is rendered once (RFC 3249 §3.2.1), the plain text before the HTML. What hangs on the form
//! that is not used still counts, except the pictures of signatures that only its HTML shows. Pictures that the used HTML shows
//! belong to it. Encrypted content is refused.

use super::text::{self, DelSp};
use super::tree::Part;
use super::{Attachment, Body, Inline, MimeError};

/// A picture of at most so many octets passes for a signature's logo whatever its size.
const LOGO_BYTES_MAX: usize = 15 * 1024;
/// A larger one does when it is no larger than a banner: nobody reads a scan of that size.
const BANNER_HEIGHT_MAX_PX: usize = 300;
const BANNER_AREA_MAX_PX: usize = 300_000;

/// What a mail holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) body: Option<Body>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) inline: Vec<Inline>,
    pub(super) left_out: Vec<String>,
}

/// Sorts the parts of a mail.
pub(super) fn select(root: &Part<'_>) -> Result<Content, MimeError> {
    let mut sorter = Sorter::default();
    sorter.visit(root)?;
    let body = sorter.body.map(body_of).transpose()?.flatten();
    let mut content = Content { body, ..Content::default() };
    for leaf in sorter.attachments {
        let bytes = leaf.octets()?;
        let name = leaf.file_name().unwrap_or_else(|| format!("attachment {}", content.attachments.len() + 1));
        let repeated = |a: &Attachment| a.bytes == bytes && a.name == name;
        if sorter.doubtful.iter().any(|d| std::ptr::eq(*d, leaf)) && content.attachments.iter().any(repeated) {
            // Both forms of an alternative carry the same file.
            continue;
        }
        let is_text = leaf.media.kind.starts_with("text/");
        let charset = leaf.media.field.param("charset").filter(|_| is_text).map(super::clean);
        let media = leaf.media.kind.clone();
        content.attachments.push(Attachment { name, media, charset, bytes });
    }
    for (id, leaf) in sorter.inline {
        let name = leaf.file_name().unwrap_or_else(|| leaf.called());
        content.inline.push(Inline { id, name, media: leaf.media.kind.clone(), bytes: leaf.octets()? });
    }
    content.left_out = sorter.left_out;
    Ok(content)
}

#[derive(Default)]
struct Sorter<'a, 'm> {
    body: Option<&'a Part<'m>>,
    attachments: Vec<&'a Part<'m>>,
    /// Attachments of a form that is not used: dropped when the used form has them too.
    doubtful: Vec<&'a Part<'m>>,
    left_out: Vec<String>,
    /// Pictures of the HTML that is rendered, by Content-ID.
    inline: Vec<(String, &'a Part<'m>)>,
    /// The HTML that is rendered.
    used_html: Option<String>,
    /// HTML that is not rendered because a plain text says the same.
    unused_html: Vec<String>,
}

impl<'a, 'm> Sorter<'a, 'm> {
    fn visit(&mut self, part: &'a Part<'m>) -> Result<(), MimeError> {
        refuse_encrypted(part)?;
        match part.media.kind.as_str() {
            "multipart/alternative" => self.alternative(part),
            "multipart/related" => self.related(part),
            "multipart/signed" => {
                let is_signature = |p: &&Part<'_>| p.media.kind.ends_with("-signature");
                part.parts.iter().filter(|p| !is_signature(p)).try_for_each(|p| self.visit(p))
            }
            // RFC 1740 §6: the resource fork of a Macintosh file holds nothing to print.
            "multipart/appledouble" => {
                part.parts.iter().filter(|p| p.media.kind != "application/applefile").try_for_each(|p| self.visit(p))
            }
            kind if kind.starts_with("multipart/") => part.parts.iter().try_for_each(|p| self.visit(p)),
            _ => self.leaf(part),
        }
    }

    fn leaf(&mut self, part: &'a Part<'m>) -> Result<(), MimeError> {
        if !is_inline_text(part) {
            self.attachments.push(part);
        } else if self.body.is_none() {
            self.body = Some(part);
            if part.media.kind == "text/html" {
                self.used_html = Some(decoded(part)?);
            }
        } else if !is_blank(part)? {
            self.attachments.push(part);
        }
        // A body of white space alone makes room for the next text.
        if let Some(body) = self.body
            && std::ptr::eq(body, part)
            && is_blank(part)?
        {
            self.body = None;
        }
        Ok(())
    }

    fn alternative(&mut self, part: &'a Part<'m>) -> Result<(), MimeError> {
        let plain = part.parts.iter().position(|p| main_text(p).is_some_and(|t| t.media.kind == "text/plain"));
        let html = part.parts.iter().position(|p| main_text(p).is_some_and(|t| t.media.kind == "text/html"));
        let chosen = match (plain, html) {
            (Some(plain), Some(html)) if says_nothing(main_text(&part.parts[plain]))? => html,
            (Some(plain), _) => plain,
            (None, Some(html)) => html,
            // RFC 2046 §5.1.4: the last one is the richest.
            (None, None) => part.parts.len().saturating_sub(1),
        };
        let others = || part.parts.iter().enumerate().filter(move |(n, _)| *n != chosen).map(|(_, p)| p);
        for unused in others() {
            refuse_encrypted(unused)?;
            if let Some(html) = main_text(unused).filter(|t| t.media.kind == "text/html") {
                self.unused_html.push(decoded(html)?);
            }
        }
        if let Some(used) = part.parts.get(chosen) {
            self.visit(used)?;
        }
        for unused in others() {
            // A leaf is another form of the same text, whatever its type (text/calendar, text/x-amp-html).
            if !unused.parts.is_empty() || is_attachment(unused) {
                self.files_of_unused(unused, main_text(unused))?;
            }
        }
        Ok(())
    }

    /// What else hangs on a form that is not used, as Apple Mail puts files between the pieces of its HTML.
    fn files_of_unused(&mut self, part: &'a Part<'m>, text: Option<&Part<'m>>) -> Result<(), MimeError> {
        refuse_encrypted(part)?;
        if !part.parts.is_empty() {
            return part.parts.iter().try_for_each(|p| self.files_of_unused(p, text));
        }
        let is_main_text = text.is_some_and(|t| std::ptr::eq(t, part));
        let is_form_of_text = is_inline_text(part) || part.media.kind == "text/calendar" && !is_attachment(part);
        if is_main_text || is_form_of_text {
            return Ok(());
        }
        if !self.is_of_html(part)? {
            self.attachments.push(part);
            self.doubtful.push(part);
        }
        Ok(())
    }

    /// RFC 2387: one part is the root, the others serve it.
    fn related(&mut self, part: &'a Part<'m>) -> Result<(), MimeError> {
        let start = part.media.field.param("start").map(bare_id);
        let named = start.and_then(|s| part.parts.iter().position(|p| content_id(p).is_some_and(|id| id == s)));
        let root = named.unwrap_or(0);
        if let Some(root) = part.parts.get(root) {
            self.visit(root)?;
        }
        for (_, other) in part.parts.iter().enumerate().filter(|(n, _)| *n != root) {
            if other.parts.is_empty() && self.is_of_html(other)? {
                continue;
            }
            self.visit(other)?;
        }
        Ok(())
    }

    /// Whether this is a picture that HTML shows: in its place in the HTML that is rendered; left out where plain text is used
    /// instead and it is a signature's logo. A large one is somebody's photo or scan, and is kept.
    fn is_of_html(&mut self, part: &'a Part<'m>) -> Result<bool, MimeError> {
        let Some(id) = content_id(part).filter(|_| may_be_picture(part)) else { return Ok(false) };
        if can_be_drawn(&part.media.kind) && self.used_html.as_ref().is_some_and(|html| refers_to(html, &id)) {
            self.inline.push((id, part));
            return Ok(true);
        }
        let shown = self.unused_html.iter().any(|html| refers_to(html, &id));
        if !shown || !is_logo(&part.octets()?) {
            return Ok(false);
        }
        self.left_out.push(part.file_name().unwrap_or_else(|| part.called()));
        Ok(true)
    }
}

/// The text that a part would be represented by: itself, or the first text inside.
fn main_text<'a, 'm>(part: &'a Part<'m>) -> Option<&'a Part<'m>> {
    if part.parts.is_empty() {
        return is_inline_text(part).then_some(part);
    }
    if part.media.kind == "multipart/alternative" {
        let plain = part.parts.iter().filter_map(main_text).find(|t| t.media.kind == "text/plain");
        return plain.or_else(|| part.parts.iter().find_map(main_text));
    }
    part.parts.iter().find_map(main_text)
}

fn is_attachment(part: &Part<'_>) -> bool {
    part.disposition.value == "attachment"
}

fn is_inline_text(part: &Part<'_>) -> bool {
    let text = matches!(part.media.kind.as_str(), "text/plain" | "text/html");
    // A text that its sender shows as a named file is a file, even inline (Apple Mail).
    text && !is_attachment(part) && part.disposition.file_name("filename").is_none()
}

fn is_blank(part: &Part<'_>) -> Result<bool, MimeError> {
    Ok(part.media.kind == "text/plain" && decoded(part)?.trim().is_empty())
}

/// Whether a plain text is empty or only tells that there is HTML.
fn says_nothing(part: Option<&Part<'_>>) -> Result<bool, MimeError> {
    /// Such sentences are short; a text that long says more.
    const CHARS_MAX: usize = 250;
    let Some(part) = part else { return Ok(true) };
    let text = decoded(part)?.trim().to_lowercase();
    let excuse = ["client", "view", "support", "reader", "only", "format", "version", "display"];
    let excuses = text.chars().count() <= CHARS_MAX && text.contains("html") && excuse.iter().any(|w| text.contains(w));
    Ok(text.is_empty() || excuses)
}

fn decoded(part: &Part<'_>) -> Result<String, MimeError> {
    let octets = part.octets()?;
    let text = text::decode(&octets, part.media.field.param("charset"))
        .map_err(|e| MimeError::unsupported(format!("{}: {e}", part.called())))?;
    Ok(text::with_lf(&text))
}

fn body_of(part: &Part<'_>) -> Result<Option<Body>, MimeError> {
    let text = decoded(part)?;
    if part.media.kind == "text/html" {
        return Ok((!text.trim().is_empty()).then_some(Body::Html(text)));
    }
    if text.trim_start().starts_with("-----BEGIN PGP MESSAGE-----") {
        return Err(encrypted(part, "PGP"));
    }
    let says = |name: &str, value: &str| part.media.field.param(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let delsp = if says("delsp", "yes") { DelSp::Delete } else { DelSp::Keep };
    let text = if says("format", "flowed") { text::unflow(&text, delsp) } else { text };
    Ok((!text.trim().is_empty()).then_some(Body::Plain(text)))
}

/// RFC 4160 §5: what cannot be read is refused, never left out.
fn refuse_encrypted(part: &Part<'_>) -> Result<(), MimeError> {
    match part.media.kind.as_str() {
        "multipart/encrypted" => Err(encrypted(part, "PGP or S/MIME")),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => Err(encrypted(part, "S/MIME")),
        "application/pgp-encrypted" => Err(encrypted(part, "PGP")),
        "application/x-microsoft-rpmsg-message" => Err(encrypted(part, "rights management")),
        _ => Ok(()),
    }
}

fn encrypted(part: &Part<'_>, how: &str) -> MimeError {
    MimeError::unsupported(format!(
        "{} is encrypted or packed by {how}; fix: send it without encryption",
        part.called()
    ))
}

fn bare_id(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

fn content_id(part: &Part<'_>) -> Option<String> {
    part.field("content-id").map(|f| bare_id(&f.text())).filter(|id| !id.is_empty())
}

/// Whether HTML is drawn with pictures of this kind in it; others are attachments like any.
pub(super) fn can_be_drawn(media: &str) -> bool {
    matches!(media, "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/bmp" | "image/webp")
}

fn may_be_picture(part: &Part<'_>) -> bool {
    part.media.kind.starts_with("image/") || is_named_picture(&part.media.kind, &part.file_name().unwrap_or_default())
}

/// Whether a file is a picture by its name, where its type says nothing.
pub(super) fn is_named_picture(media: &str, name: &str) -> bool {
    const EXTENSIONS: [&str; 5] = [".png", ".gif", ".jpg", ".jpeg", ".bmp"];
    media == "application/octet-stream" && EXTENSIONS.iter().any(|e| name.to_ascii_lowercase().ends_with(e))
}

/// Whether a picture passes for a signature's logo: by its octets, or by its size in pixels.
pub(crate) fn is_logo(octets: &[u8]) -> bool {
    let banner = || {
        let size = imagesize::blob_size(octets).ok();
        size.is_some_and(|size| {
            size.height <= BANNER_HEIGHT_MAX_PX && size.width.saturating_mul(size.height) <= BANNER_AREA_MAX_PX
        })
    };
    octets.len() <= LOGO_BYTES_MAX || banner()
}

/// RFC 2392: `cid:` and the id, some characters as `%40`.
pub(crate) fn refers_to(html: &str, id: &str) -> bool {
    let escaped = id.replace('@', "%40");
    let is_cid = |before: &[u8]| before.len() >= 4 && before[before.len() - 4..].eq_ignore_ascii_case(b"cid:");
    let names = |id: &str| html.match_indices(id).any(|(at, _)| is_cid(&html.as_bytes()[..at]));
    names(id) || names(&escaped)
}
