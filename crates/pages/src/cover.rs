//! The cover page: a template in `templates/page/`, its fields, the mail's text below.
//!
//! Templates are HTML with `{{field}}` (escaped), `{{&field}}` (HTML that this module made) and `{{#field}}…{{/field}}` (only
//! when the field has a value). To add a cover: one file there and one line in [`TEMPLATES`].

use fax_image::Bitmap;

use crate::fonts::Fonts;
use crate::layout::{self, BLOCKS_CSS, Sheet};
use crate::order::{ConvertError, CoverFields, ErrorKind, Result, Text};
use crate::parts::html;

/// Covers by name.
const TEMPLATES: &[(&str, &str)] = &[("plain", include_str!("../../../templates/page/plain.html"))];

/// Names of the covers that there are.
pub fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// The cover's pages: one, or more when the mail's text is long. `total` pages the whole fax has.
pub(crate) fn pages(
    fields: &CoverFields,
    total: u32,
    pages_max: u32,
    sheet: &Sheet,
    fonts: &Fonts,
) -> Result<Vec<Bitmap>> {
    let Some((_, template)) = TEMPLATES.iter().find(|(name, _)| *name == fields.template) else {
        let known: Vec<_> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        let detail = format!("there is no cover \"{}\"; there are: {}", fields.template, known.join(", "));
        return Err(ConvertError::new(ErrorKind::Unsupported, detail));
    };
    let note = match &fields.note {
        Some(Text::Plain(text)) => text.clone(),
        // On a cover the words count; the layout of an HTML mail would fight with the cover's.
        Some(Text::Html(html)) => html::to_text(html),
        None => String::new(),
    };
    fonts.check(&note).map_err(|why| ConvertError::new(ErrorKind::Unsupported, why))?;
    let note_html = if note.trim().is_empty() { String::new() } else { layout::blocks(&note, pages_max)? };
    let values = values(fields, total);
    let shown = values.iter().map(|(_, value)| value.as_str()).chain([note.as_str()]).collect::<Vec<_>>().join(" ");
    let html = fill(template, &values, &note_html);
    layout::draw(sheet, &html, BLOCKS_CSS, &shown, pages_max, fonts)
}

/// Longest value shown of a field, characters.
const VALUE_MAX_CHARS: usize = 300;

fn values(fields: &CoverFields, total: u32) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let from = match (&fields.from_name, &fields.from_address) {
        (Some(name), Some(address)) if name != address => format!("{name} ({address})"),
        (name, address) => name.clone().or_else(|| address.clone()).unwrap_or_default(),
    };
    let mut values = vec![
        ("to", text(&fields.to_name)),
        ("to_company", text(&fields.to_company)),
        ("to_number", fields.to_number.clone()),
        ("from", from),
        ("from_company", text(&fields.from_company)),
        ("from_number", text(&fields.from_number)),
        ("date", fields.date.clone()),
        ("pages", total.to_string()),
        ("reference", text(&fields.reference)),
        ("subject", fields.subject.clone()),
        ("footer", fields.footer.clone()),
    ];
    for (_, value) in &mut values {
        let cut: String = value.trim().chars().take(VALUE_MAX_CHARS).collect();
        *value = if cut.len() < value.trim().len() { format!("{cut}…") } else { cut };
    }
    values
}

fn fill(template: &str, values: &[(&'static str, String)], note: &str) -> String {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str());
    let mut filled = String::with_capacity(template.len() + note.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (tag, after) = after.split_once("}}").unwrap_or((after, ""));
        rest = after;
        match tag.as_bytes().first() {
            Some(b'#') if value(&tag[1..]).is_empty() => {
                let end = format!("{{{{/{}}}}}", &tag[1..]);
                rest = rest.split_once(end.as_str()).map_or("", |(_, after)| after);
            }
            Some(b'#' | b'/') => {}
            Some(b'&') => filled.push_str(note),
            _ => filled.push_str(&layout::escape(value(tag))),
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_rows_without_a_value_are_left_out() {
        let fields = CoverFields {
            to_name: Some("<b>Anna & Co</b>".to_owned()),
            to_number: "+41441234567".to_owned(),
            subject: "{{from}} {{&note}}".to_owned(),
            ..CoverFields::default()
        };
        let html = fill(TEMPLATES[0].1, &values(&fields, 3), "<p>note</p>");
        assert!(html.contains("<td>&lt;b&gt;Anna &amp; Co&lt;/b&gt;</td>"), "{html}");
        assert!(html.contains("<b>{{from}} {{&amp;note}}</b>"), "a value is never a template: {html}");
        assert!(html.contains("3, this one included") && !html.contains("Reference") && !html.contains("{{#"));
        assert_eq!(html.matches("<p>note</p>").count(), 1);
    }
}
