//! text/html into pages. Nothing in it is fetched; scripts do nothing; its remote pictures are not there.

use super::Job;
use crate::layout::{self, Sheet};
use crate::order::{ConvertError, ErrorKind, Result};

/// Largest document given to the layout engine; what is larger is shown as text.
const HTML_MAX_BYTES: usize = 2 << 20;

const CSS: &str = "body { font-size: 11.5pt; line-height: 1.3; overflow-wrap: anywhere } img { max-width: 100% }";

pub(crate) fn pages(html: &str, job: &mut Job<'_>) -> Result<()> {
    if html.to_ascii_lowercase().contains("<img") {
        job.notes.push("pictures inside HTML are not fetched".to_owned());
    }
    let text = to_text(html);
    job.fonts.check(&text).map_err(|why| ConvertError::new(ErrorKind::Unsupported, why))?;
    let laid_out = if html.len() <= HTML_MAX_BYTES {
        // All of it may show: entities are resolved by the engine, so choose fonts by the resolved text too.
        let shown = format!("{html}{text}");
        layout::draw(&Sheet::page(job.paper, job.quality), html, CSS, &shown, job.pages_max, job.fonts)
    } else {
        Err(crate::order::damaged("it is too large for the layout engine"))
    };
    match laid_out {
        Err(error) if error.kind == ErrorKind::Damaged => {
            job.notes.push(format!("shown as plain text, because {}", error.detail));
            super::text::pages(&text, job)
        }
        other => other?.into_iter().try_for_each(|page| job.add(page)),
    }
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
    fn the_text_of_html_keeps_every_word() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body><p>Gr&uuml;&szlig;e &amp; &#8364;5</p>\
                    <!-- no --><table><tr><td>a<td>b</tr></table><script>x()</script>R&D";
        let text = to_text(html);
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["Grüße", "&", "€5", "a", "b", "R&D"]);
    }
}
