//! text/html into pages. Nothing in it is fetched; scripts do nothing; its remote pictures are not there, those that the mail brings along are.

use super::Job;
use crate::layout::{self, Content, Sheet};
use crate::order::{ConvertError, ErrorKind, Inline, Result};
use crate::pictures;

/// Largest document given to the layout engine; what is larger is shown as text.
const HTML_MAX_BYTES: usize = 2 << 20;

/// What mails take for granted and the engine leaves out: frames of tables by attribute, and bullets, which it has no font for
/// when they hang outside. It yields to whatever the mail says itself.
const CSS: &str = "
    body { font-size: 11.5pt; line-height: 1.3; overflow-wrap: anywhere }
    img { max-width: 100% }
    :where(ul > li) { list-style-position: inside }
    :where(table[border]:not([border=\"0\"])) { border: 1px solid #000 }
    :where(table[border]:not([border=\"0\"]) > tbody > tr > *) { border: 1px solid #000; padding: 1px 3px }
";

pub(crate) fn pages(html: &str, inline: &[Inline], job: &mut Job<'_>) -> Result<()> {
    job.drawn_by = "HTML layout";
    let remote = pictures::remote(html);
    if remote > 0 {
        job.notes.push(format!("pictures elsewhere on the network are not fetched: {remote}"));
    }
    let (html, pictures) = pictures::find(html, inline);
    if let Some(name) = &pictures.unreadable {
        return Err(crate::order::damaged(format!("the picture in it cannot be read: {name}")));
    }
    if pictures.missing > 0 {
        job.notes.push(format!("small pictures in it that cannot be read are left out: {}", pictures.missing));
    }
    let text = to_text(&html);
    job.fonts.check(&text).map_err(|why| ConvertError::new(ErrorKind::Unsupported, why))?;
    let laid_out = if html.len() <= HTML_MAX_BYTES {
        // All of it may show: entities are resolved by the engine, so choose fonts by the resolved text too.
        let shown = format!("{html}{text}");
        let html = without_page_rules(&html);
        let content = Content { html: &html, css: CSS, shown: &shown, pictures: &pictures };
        layout::draw_to_fit(&Sheet::page(job.paper, job.quality), &content, job.pages_max, job.fonts)
    } else {
        Err(crate::order::damaged("it is too large for the layout engine"))
    };
    match laid_out {
        Err(error) if error.kind == ErrorKind::Damaged => {
            job.notes.push(format!("shown as plain text, because {}", error.detail));
            super::text::pages(&text, job)
        }
        other => {
            let (pages, percent) = other?;
            job.notes.extend(percent.map(|percent| format!("made smaller, to {percent} %: it is wider than the page")));
            pages.into_iter().try_for_each(|page| job.add(page))
        }
    }
}

/// The paper is ours: rules of CSS for it (word processors write them into mails) would leave no room for the header line.
fn without_page_rules(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    // Of the same length, so that offsets are the same.
    let lower = html.to_ascii_lowercase();
    let mut done = 0;
    while let Some(begin) = lower[done..].find("<style").map(|at| at + done) {
        let end = lower[begin..].find("</style").map_or(html.len(), |at| at + begin);
        out.push_str(&html[done..begin]);
        let mut at = begin;
        while let Some(rule) = lower[at..end].find("@page").map(|found| found + at) {
            out.push_str(&html[at..rule]);
            out.push_str("@no-page");
            at = rule + "@page".len();
        }
        out.push_str(&html[at..end]);
        done = end;
    }
    out.push_str(&html[done..]);
    out
}

/// The text of an HTML document: tags dropped, blocks on lines of their own, the common entities resolved.
pub(crate) fn to_text(html: &str) -> String {
    const BLOCKS: &[&str] =
        &["p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "hr"];
    const HIDDEN: &[&str] = &["script", "style", "head", "title"];
    let mut text = String::with_capacity(html.len() / 2);
    // Of the same length, so that offsets are the same.
    let lower = html.to_ascii_lowercase();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        push_words(&rest[..open], &mut text);
        let after = &rest[open + 1..];
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some(close) = after.find('>') else {
            rest = "";
            break;
        };
        let name: String = after.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        rest = &after[close + 1..];
        if HIDDEN.contains(&name.as_str()) && !after.starts_with('/') {
            let end = format!("</{name}");
            rest = lower[html.len() - rest.len()..].find(&end).map_or("", |at| &rest[at..]);
        } else if name == "td" || name == "th" {
            text.push(' ');
        } else if BLOCKS.contains(&name.as_str()) && !text.ends_with("\n\n") {
            text.push('\n');
        }
    }
    push_words(rest, &mut text);
    text
}

/// White space collapses.
fn push_words(raw: &str, text: &mut String) {
    for (index, word) in raw.split([' ', '\n', '\r', '\t']).enumerate() {
        if index > 0 && !text.ends_with([' ', '\n']) && !text.is_empty() {
            text.push(' ');
        }
        push_resolved(word, text);
    }
}

fn push_resolved(word: &str, text: &mut String) {
    let mut rest = word;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        let entity = rest[at + 1..].split_once(';').filter(|(name, _)| name.len() <= 10);
        let resolved = entity.and_then(|(name, after)| Some((resolve(name)?, after)));
        match resolved {
            Some((c, after)) => {
                text.push(c);
                rest = after;
            }
            None => {
                text.push('&');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
}

fn resolve(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "euro" => '€',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "bull" => '•',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_the_paper_are_dropped_and_words_about_them_stay() {
        let html = "<STYLE>a{} @Page W{size:3in} @page{}</STYLE>@page<style>@page";
        assert_eq!(without_page_rules(html), "<STYLE>a{} @no-page W{size:3in} @no-page{}</STYLE>@page<style>@no-page");
    }

    #[test]
    fn the_text_of_html_keeps_every_word() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body><p>Gr&uuml;&szlig;e &amp; &#8364;5</p>\
                    <!-- no --><table><tr><td>a<td>b</tr></table><script>x()</script>R&D";
        let text = to_text(html);
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["Grüße", "&", "€5", "a", "b", "R&D"]);
    }
}
