//! The layout engine: HTML and CSS into PDF, and text into HTML.
//!
//! Text of mails is data: it is escaped, its control characters are dropped, and it goes in as many small blocks,
//! because the engine (fulgur 0.41, krilla 0.7) panics on one `<pre>` of 180 kB. Nothing is fetched: there is no network,
//! no base path and, in the locked process, no file to open. A panic of the engine is an error like any other.

use std::panic::AssertUnwindSafe;

use fax_image::Bitmap;
use fulgur::asset::AssetBundle;
use fulgur::config::{Margin, PageSize};
use fulgur::engine::Engine;

use crate::fonts::{Chosen, Fonts};
use crate::order::{ConvertError, ErrorKind, Paper, Quality, Result, damaged};
use crate::parts::pdf;
use crate::pictures::Pictures;
use crate::size::{Placement, Turned, WIDTH_PX, height_mm, page_rows};

/// T.4 §2: the scan line is 215 mm.
const WIDTH_MM: f32 = 215.0;
/// CSS 2.2 §4.3.2: 96 pixels to the inch.
const PX_PER_MM: f32 = 96.0 / 25.4;
/// Wider than twice the page is no layout for paper: text would be too small to read.
const SHRINK_MAX: f32 = 2.0;
/// Longest block of text: beyond this a line is cut at a space, before the engine's trouble with long runs begins.
const BLOCK_MAX_CHARS: usize = 2000;
/// Quotes deeper than this get no more bars.
const QUOTE_MAX_DEPTH: usize = 6;
/// Most characters that fit on one line of a page in the smallest type used, to refuse a book before laying it out.
const LINE_MAX_CHARS: usize = 250;
/// Most lines that fit on the longest page in the smallest type used.
const PAGE_MAX_LINES: usize = 120;

/// A sheet to lay out on. The top margin leaves room for the header line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sheet {
    height_mm: f64,
    rows: u32,
    quality: Quality,
    /// Top, right, bottom, left.
    margin_mm: [f32; 4],
    /// Everything is laid out on a sheet so many times larger and drawn that much smaller, 1 to [`SHRINK_MAX`].
    shrink: f32,
}

impl Sheet {
    /// A page of text.
    pub(crate) fn page(paper: Paper, quality: Quality) -> Self {
        Self {
            height_mm: height_mm(paper),
            rows: page_rows(paper, quality),
            quality,
            margin_mm: [15.0, 18.0, 15.0, 18.0],
            shrink: 1.0,
        }
    }

    /// A strip without margins, for the header line.
    pub(crate) fn strip(height_mm: f64, rows: u32, quality: Quality) -> Self {
        Self { height_mm, rows, quality, margin_mm: [0.0; 4], shrink: 1.0 }
    }

    /// The same sheet with room for something so many pixels wide; how much smaller all of it gets.
    fn with_room_for(self, width_px: f32) -> Self {
        let [_, right, _, left] = self.margin_mm;
        let room_px = (WIDTH_MM - left - right) * PX_PER_MM;
        // A pixel more is a rounded border.
        let shrink = if width_px > room_px + 1.0 { (width_px / room_px).min(SHRINK_MAX) } else { 1.0 };
        Self { shrink, ..self }
    }

    fn place(&self) -> Placement {
        Placement { turned: Turned::Not, left: 0, width: WIDTH_PX, height: self.rows }
    }
}

/// What goes onto the sheets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub html: &'a str,
    pub css: &'a str,
    /// Every character that may show: the fonts are chosen by it.
    pub shown: &'a str,
    pub pictures: &'a Pictures,
}

/// Lays the body of an HTML document out and draws its pages.
pub(crate) fn draw(sheet: &Sheet, content: &Content<'_>, pages_max: u32, fonts: &Fonts) -> Result<Vec<Bitmap>> {
    let chosen = fonts.choose(content.shown).map_err(|fix| ConvertError::new(ErrorKind::Unavailable, fix))?;
    let pdf = lay_out(sheet, content, &chosen)?;
    pdf::draw_exact(pdf, &sheet.place(), sheet.quality, pages_max, fonts)
}

/// As [`draw`], for layouts made for screens: what is wider than the page is made smaller as a whole. Answers by how much, in
/// percent.
pub(crate) fn draw_to_fit(
    sheet: &Sheet,
    content: &Content<'_>,
    pages_max: u32,
    fonts: &Fonts,
) -> Result<(Vec<Bitmap>, Option<u32>)> {
    let chosen = fonts.choose(content.shown).map_err(|fix| ConvertError::new(ErrorKind::Unavailable, fix))?;
    let fitting = sheet.with_room_for(width_px(sheet, content, &chosen)?);
    let pdf = lay_out(&fitting, content, &chosen)?;
    let pages = pdf::draw_exact(pdf, &sheet.place(), sheet.quality, pages_max, fonts)?;
    let percent = (fitting.shrink > 1.0).then(|| (100.0 / fitting.shrink).round() as u32);
    Ok((pages, percent))
}

/// How far to the right anything reaches that begins on the page.
fn width_px(sheet: &Sheet, content: &Content<'_>, chosen: &Chosen) -> Result<f32> {
    let [_, right, _, left] = sheet.margin_mm;
    let room_px = (WIDTH_MM - left - right) * PX_PER_MM;
    let engine = engine(sheet, content, chosen);
    let laid_out = std::panic::catch_unwind(AssertUnwindSafe(|| engine.layout(content.html)))
        .map_err(|_| damaged("the layout engine stumbled over it"))?
        .map_err(|error| damaged(format!("it cannot be laid out: {error}")))?;
    let fragments = laid_out.geometry.values().flat_map(|node| &node.fragments);
    let begins_here = fragments.filter(|f| (0.0..room_px).contains(&f.x.to_f32()));
    Ok(begins_here.map(|f| f.x.to_f32() + f.width.to_f32()).fold(0.0, f32::max))
}

fn lay_out(sheet: &Sheet, content: &Content<'_>, chosen: &Chosen) -> Result<Vec<u8>> {
    let engine = engine(sheet, content, chosen);
    std::panic::catch_unwind(AssertUnwindSafe(|| engine.render(content.html)))
        .map_err(|_| damaged("the layout engine stumbled over it"))?
        .map_err(|error| damaged(format!("it cannot be laid out: {error}")))
}

fn engine(sheet: &Sheet, content: &Content<'_>, chosen: &Chosen) -> Engine {
    let mut assets = AssetBundle::new();
    assets.fonts.clone_from(&chosen.files);
    content.pictures.add_to(&mut assets);
    // Whatever a document asks for, only these fonts are there, and a text without a font would not be seen at all.
    assets.add_css(format!(
        "html,body{{margin:0;padding:0}} *{{font-family:{} !important}} .mono,.mono *,pre,code,tt{{font-family:{} !important}} {} {}",
        chosen.stack, chosen.mono_stack, content.pictures.css(), content.css
    ));
    let [top, right, bottom, left] = sheet.margin_mm.map(|mm| mm * sheet.shrink * 72.0 / 25.4);
    Engine::builder()
        .page_size(PageSize::custom(WIDTH_MM * sheet.shrink, sheet.height_mm as f32 * sheet.shrink))
        .margin(Margin { top, right, bottom, left })
        .assets(assets)
        .system_fonts(false)
        .build()
}

/// Characters that an HTML document must not take literally.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if is_invisible(c) => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Controls (C0, C1, line and paragraph separators, byte order marks) that have no business on paper.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Text as HTML blocks, one a line; form feeds begin pages, long lines wrap, columns stay in line.
///
/// An error when it has more than `pages_max` pages for sure.
pub(crate) fn blocks(text: &str, pages_max: u32) -> Result<String> {
    let lines: usize = text.split('\n').map(|line| line.chars().count() / LINE_MAX_CHARS + 1).sum();
    if lines / PAGE_MAX_LINES > pages_max as usize {
        let detail = format!("its text has {lines} lines or more, and {pages_max} pages are allowed");
        return Err(ConvertError::new(ErrorKind::TooManyPages, detail));
    }
    let mut html = String::with_capacity(text.len() * 2);
    html.push_str(if has_columns(text) { "<div class=\"text mono\">" } else { "<div class=\"text\">" });
    for (index, page) in text.trim_end_matches(['\u{c}', '\n', '\r', ' ', '\t']).split('\u{c}').enumerate() {
        if index > 0 {
            html.push_str("<div class=\"newpage\"></div>");
        }
        let page = if index > 0 { page.strip_prefix(['\n']).unwrap_or(page) } else { page };
        for line in page.split('\n') {
            block(line.trim_end_matches('\r'), &mut html);
        }
    }
    html.push_str("</div>");
    Ok(html)
}

/// For [`blocks`].
pub(crate) const BLOCKS_CSS: &str = "
    .text { font-size: 11.5pt; line-height: 1.32 }
    .text.mono { font-size: 10pt; line-height: 1.25 }
    .text p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; orphans: 1; widows: 1 }
    .text p.rtl { direction: rtl; text-align: right }
    .text .quote { border-left: 1.2pt solid #000; padding-left: 1.6mm }
    .newpage { break-after: page; height: 0 }
";

fn block(line: &str, html: &mut String) {
    let depth = quote_depth(line);
    let line = expand_tabs(line);
    let mut rest = line.as_str();
    loop {
        let (now, later) = cut(rest);
        let escaped = escape(now);
        (0..depth).for_each(|_| html.push_str("<div class=\"quote\">"));
        html.push_str(if is_rtl(now) { "<p class=\"rtl\">" } else { "<p>" });
        html.push_str(if escaped.trim().is_empty() { "&nbsp;" } else { escaped.as_str() });
        html.push_str("</p>");
        (0..depth).for_each(|_| html.push_str("</div>"));
        if later.is_empty() {
            return;
        }
        rest = later;
    }
}

/// How often a line is quoted (RFC 3676 §4.5; many write spaces between the signs). The signs stay: not every `>` is one.
fn quote_depth(line: &str) -> usize {
    let signs = line.find(|c| c != '>' && c != ' ').unwrap_or(line.len());
    let starts = line.starts_with('>');
    if starts { line[..signs].matches('>').count().min(QUOTE_MAX_DEPTH) } else { 0 }
}

/// At most [`BLOCK_MAX_CHARS`], cut after a space when there is one near the end.
fn cut(line: &str) -> (&str, &str) {
    let Some((limit, _)) = line.char_indices().nth(BLOCK_MAX_CHARS) else { return (line, "") };
    let space = line[..limit].rfind(' ').map(|at| at + 1).filter(|at| *at > limit / 2);
    line.split_at(space.unwrap_or(limit))
}

/// To the next multiple of eight columns.
fn expand_tabs(line: &str) -> String {
    let mut expanded = String::with_capacity(line.len());
    let mut column = 0;
    for c in line.chars() {
        let width = if c == '\t' { 8 - column % 8 } else { 1 };
        if c == '\t' {
            expanded.extend(std::iter::repeat_n(' ', width));
        } else {
            expanded.push(c);
        }
        column += width;
    }
    expanded
}

/// Whether the first letter is of a script that is written from the right (Unicode bidi rule P2, by blocks).
fn is_rtl(line: &str) -> bool {
    let rtl = |c: char| matches!(u32::from(c), 0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff | 0x10800..=0x10fff);
    line.chars().find(|c| c.is_alphabetic()).is_some_and(rtl)
}

/// Whether several lines are laid out in columns with spaces, tabs or box characters: then every character gets the same
/// width. Not for scripts that the monospaced font does not have.
fn has_columns(text: &str) -> bool {
    let columns = |line: &str| {
        let line = line.trim();
        line.contains('\t') || line.contains("   ") || line.contains(|c| matches!(c, '\u{2500}'..='\u{257f}'))
    };
    let plain = text.chars().take(100_000).all(|c| matches!(u32::from(c), 0..0x250 | 0x370..0x530 | 0x2000..0x2600));
    plain && text.lines().take(5000).filter(|line| columns(line)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_data() {
        let html = blocks("<script>alert(1)</script> & \"x\"\u{7}\u{1b}[31m\u{85}", 5).unwrap();
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;[31m</p>"), "{html}");
    }

    #[test]
    fn form_feeds_begin_pages_and_a_last_one_begins_none() {
        assert_eq!(blocks("a\u{c}b\u{c}\n", 5).unwrap().matches("newpage").count(), 1);
    }

    #[test]
    fn long_lines_are_cut_at_a_space_and_lose_nothing() {
        let line = "word ".repeat(5000);
        let (mut rest, mut joined) = (line.as_str(), String::new());
        while !rest.is_empty() {
            let (now, later) = cut(rest);
            assert!(now.chars().count() <= BLOCK_MAX_CHARS && (later.is_empty() || now.ends_with(' ')));
            joined.push_str(now);
            rest = later;
        }
        assert_eq!(joined, line);
    }

    #[test]
    fn a_book_is_refused_before_it_is_laid_out() {
        let error = blocks(&"line\n".repeat(100_000), 200).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooManyPages);
    }

    #[test]
    fn columns_are_noticed() {
        for (text, expected) in [
            ("Item      Price\nApple      1.20\n", true),
            ("a\tb\nc\td\n", true),
            ("Dear Sir,\n\nthank you. And  so on.\n", false),
            ("品名      価格\nりんご      120\n", false),
        ] {
            assert_eq!(has_columns(text), expected, "{text:?}");
        }
    }

    #[test]
    fn quotes_have_a_bar_for_each_depth_and_keep_their_signs() {
        for (line, depth) in [("> a", 1), (">> a", 2), ("> > a", 2), ("a > b", 0), (">>>>>>>>>>>> a", 6), ("", 0)] {
            assert_eq!(quote_depth(line), depth, "{line}");
        }
        assert!(blocks(">> a", 1).unwrap().contains("<div class=\"quote\"><p>&gt;&gt; a</p></div></div>"));
    }

    #[test]
    fn tabs_go_to_the_next_eighth_column() {
        assert_eq!(expand_tabs("a\tbc\t|"), format!("a{}bc{}|", " ".repeat(7), " ".repeat(6)));
    }
}
