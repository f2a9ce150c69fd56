//! The cover page: a template, its fields, the mail's text below.
//!
//! Templates are HTML and CSS: see `template`. Some ship in `templates/page/`; operators bring their own, which come with the
//! order because the locked process opens no files. To ship another: one file there and one line in [`SHIPPED`].

mod template;

use fax_image::Bitmap;

use crate::fonts::Fonts;
use crate::layout::{self, BLOCKS_CSS, Content, Sheet};
use crate::order::{ConvertError, CoverFields, ErrorKind, Result, Text};
use crate::parts::html;
use crate::pictures;
use template::Template;

pub use template::{FIELDS, Problem, TEMPLATE_MAX_BYTES, check};

/// The cover that is drawn when another cannot be.
pub const PLAIN: &str = "plain";

/// Covers by name.
const SHIPPED: &[(&str, &str)] = &[
    (PLAIN, include_str!("../../../templates/page/plain.html")),
    ("formal", include_str!("../../../templates/page/formal.html")),
    ("confidential", include_str!("../../../templates/page/confidential.html")),
];

/// Names and templates of the covers that ship, the plain one first.
pub fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHIPPED.iter().copied()
}

/// The cover's pages: one, or more when the mail's text is long. `total` pages the whole fax has.
pub(crate) fn pages(
    fields: &CoverFields,
    total: u32,
    pages_max: u32,
    sheet: &Sheet,
    fonts: &Fonts,
) -> Result<Vec<Bitmap>> {
    let shipped = || SHIPPED.iter().find(|(name, _)| *name == fields.template).map(|(_, source)| *source);
    let Some(source) = fields.source.as_deref().or_else(shipped) else {
        let known: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
        let detail = format!("there is no cover \"{}\"; there are: {}", fields.template, known.join(", "));
        return Err(ConvertError::new(ErrorKind::Unsupported, detail));
    };
    let template = Template::read(source)?;
    let note = match &fields.note {
        Some(Text::Plain(text)) => text.clone(),
        // On a cover the words count; the layout of an HTML mail would fight with the cover's.
        Some(Text::Html(html)) => html::to_text(html),
        None => String::new(),
    };
    fonts.check(&note).map_err(|why| ConvertError::new(ErrorKind::Unsupported, why))?;
    let note_html = if note.trim().is_empty() { String::new() } else { layout::blocks(&note, pages_max)? };
    let values = values(fields, total);
    // The template's own words need fonts too.
    let shown = values.iter().map(|(_, value)| value.as_str()).chain([note.as_str(), source]);
    let shown = shown.collect::<Vec<_>>().join(" ");
    let filled = template.fill(|name| value(&values, name), &note_html);
    let (filled, pictures) = pictures::find(&filled, &[]);
    let content = Content { html: &filled, css: BLOCKS_CSS, shown: &shown, pictures: &pictures };
    layout::draw(sheet, &content, pages_max, fonts)
}

fn value(values: &[(&'static str, String)], name: &str) -> String {
    values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap_or_default()
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
        let values = values(&fields, 3);
        let html = Template::read(SHIPPED[0].1).unwrap().fill(|name| value(&values, name), "<p>note</p>");
        assert!(html.contains("<td>&lt;b&gt;Anna &amp; Co&lt;/b&gt;</td>"), "{html}");
        assert!(html.contains("<b>{{from}} {{&amp;note}}</b>"), "a value is never a template: {html}");
        assert!(html.contains("3, this one included") && !html.contains("Reference") && !html.contains("{{#"));
        assert_eq!(html.matches("<p>note</p>").count(), 1);
    }

    #[test]
    fn every_cover_that_ships_is_right_and_every_field_has_a_value() {
        for (name, source) in SHIPPED {
            assert_eq!(check(source), [], "{name}");
        }
        let values = values(&CoverFields::default(), 1);
        let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(values.iter().map(|(name, _)| *name).collect::<Vec<_>>(), known);
    }
}
