//! What rich text says: the HTML or plain text that was packed in it (MS-OXRTFEX), else its own text without layout.

use std::collections::BTreeMap;

use super::token::{Token, Tokens};
use crate::codepage;

/// Groups in groups. Word makes some tens.
const DEPTH_MAX: usize = 500;
/// Fonts whose character set is remembered.
const FONTS_MAX: usize = 4096;
/// MS-OXRTFEX §2.1.3.1: `\fromhtml` and `\fromtext` are among the first words.
const HEAD_TOKENS: usize = 60;

/// What rich text said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) form: Form,
    pub(crate) text: String,
    /// Pictures within that are not in `text`. HTML names its pictures itself.
    pub(crate) pictures: usize,
    /// Whether it ends within a group, or groups are nested deeper than is read.
    pub(crate) cut: bool,
}

/// What the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Plain,
}

/// Where it was made, which decides what of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Html,
    Text,
    Rich,
}

/// Reads it all.
pub(crate) fn read(octets: &[u8]) -> Text {
    let mut machine = Machine::new(source(octets));
    for token in Tokens::new(octets) {
        if machine.stack.len() > DEPTH_MAX {
            machine.cut = true;
            break;
        }
        machine.step(token);
    }
    machine.flush();
    let form = if machine.source == Source::Html { Form::Html } else { Form::Plain };
    let pictures = if machine.source == Source::Rich { machine.pictures } else { 0 };
    Text { form, text: machine.out, pictures, cut: machine.cut || !machine.stack.is_empty() }
}

fn source(octets: &[u8]) -> Source {
    let named = Tokens::new(octets).take(HEAD_TOKENS).find_map(|token| match token {
        Token::Word(b"fromhtml", Some(1)) => Some(Source::Html),
        Token::Word(b"fromtext", _) => Some(Source::Text),
        _ => None,
    });
    named.unwrap_or(Source::Rich)
}

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Its text is the document's.
    Text,
    /// A piece of the HTML that this was made of.
    HtmlTag,
    /// The fonts, whose character sets matter.
    Fonts,
    /// Nothing that is text.
    Skipped,
}

/// What a group inherits and its end forgets.
#[derive(Debug, Clone, Copy)]
struct Group {
    purpose: Purpose,
    /// Within `\htmlrtf`: what a reader of HTML has in another form.
    suppressed: bool,
    /// How many characters after `\u` stand for the same.
    fallback: usize,
    font: Option<i32>,
}

struct Machine {
    source: Source,
    out: String,
    group: Group,
    stack: Vec<Group>,
    /// The group has begun with `\*`: it may be skipped by who does not know the next word.
    optional: bool,
    /// Characters to skip after `\u`.
    skip: usize,
    code_page: u32,
    default_font: Option<i32>,
    fonts: BTreeMap<i32, u32>,
    /// Octets not yet decoded: characters of several octets come in several tokens.
    octets: Vec<u8>,
    octets_page: u32,
    units: Vec<u16>,
    pictures: usize,
    cut: bool,
}

impl Machine {
    fn new(source: Source) -> Self {
        Self {
            source,
            out: String::new(),
            group: Group { purpose: Purpose::Text, suppressed: false, fallback: 1, font: None },
            stack: Vec::new(),
            optional: false,
            skip: 0,
            code_page: codepage::WESTERN,
            default_font: None,
            fonts: BTreeMap::new(),
            octets: Vec::new(),
            octets_page: codepage::WESTERN,
            units: Vec::new(),
            pictures: 0,
            cut: false,
        }
    }

    fn step(&mut self, token: Token<'_>) {
        let optional = std::mem::take(&mut self.optional);
        match token {
            Token::Open => {
                self.skip = 0;
                self.stack.push(self.group);
            }
            Token::Close => {
                self.skip = 0;
                // One too many hides nothing.
                self.group = self.stack.pop().unwrap_or(self.group);
            }
            Token::Text(_) | Token::Hex(_) if self.skip > 0 => self.skip -= 1,
            Token::Text(octet) | Token::Hex(octet) => self.octet(octet),
            Token::Symbol(b'*') => self.optional = true,
            Token::Symbol(_) if self.skip > 0 => self.skip -= 1,
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::Word(word, number) => self.word(word, number, optional),
        }
    }

    fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'\\' | b'{' | b'}' => self.octet(symbol),
            b'~' => self.character('\u{a0}', "&nbsp;"),
            b'_' => self.character('\u{2011}', "&#8209;"),
            b'-' => self.character('\u{ad}', "&shy;"),
            b'\r' | b'\n' => self.character('\n', "\r\n"),
            b'\t' => self.character('\t', "\t"),
            // A quote that no digits follow is damage that is shown.
            b'\'' => self.octet(symbol),
            _ => {}
        }
    }

    fn word(&mut self, word: &[u8], number: Option<i32>, optional: bool) {
        if let Some(purpose) = self.purpose(word, optional) {
            self.group.purpose = purpose;
            return;
        }
        match (word, number) {
            (b"htmlrtf", on) => self.group.suppressed = on != Some(0),
            (b"ansicpg", Some(page)) => self.code_page = u32::try_from(page).unwrap_or(codepage::WESTERN),
            (b"mac", _) => self.code_page = 10000,
            (b"pc", _) => self.code_page = 437,
            (b"pca", _) => self.code_page = 850,
            (b"deff", font) => self.default_font = font,
            (b"f", font) => self.group.font = font,
            (b"plain", _) => self.group.font = self.default_font,
            (b"fcharset", Some(charset)) if self.group.purpose == Purpose::Fonts => self.font_charset(charset),
            (b"uc", count) => self.group.fallback = usize::try_from(count.unwrap_or(1)).unwrap_or(1).min(8),
            (b"u", Some(unit)) => self.unit(unit),
            (b"pict", _) => self.pictures += 1,
            _ => {
                if let Some((_, character, html)) = CHARACTERS.iter().find(|(name, ..)| name.as_bytes() == word) {
                    self.character(*character, html);
                }
            }
        }
    }

    /// What a word says its group is for, if anything.
    fn purpose(&self, word: &[u8], optional: bool) -> Option<Purpose> {
        if self.group.purpose == Purpose::Skipped {
            return (word != b"pict").then_some(Purpose::Skipped).filter(|_| optional);
        }
        match word {
            b"htmltag" if optional && self.source == Source::Html => Some(Purpose::HtmlTag),
            b"fonttbl" => Some(Purpose::Fonts),
            b"colortbl" | b"stylesheet" | b"info" | b"filetbl" | b"revtbl" | b"objdata" => Some(Purpose::Skipped),
            b"pict" if self.source != Source::Rich => Some(Purpose::Skipped),
            // The text of a field of a form and the like is skipped by readers that do not know it, and so are all
            // of these but the two that only wrap.
            b"shppict" | b"fldinst" | b"shpinst" if self.source == Source::Rich => Some(Purpose::Skipped),
            _ => optional.then_some(Purpose::Skipped),
        }
    }

    fn font_charset(&mut self, charset: i32) {
        if let (Some(font), Some(page)) = (self.group.font, codepage::of_font(charset))
            && self.fonts.len() < FONTS_MAX
        {
            self.fonts.insert(font, page);
        }
    }

    fn counts(&self) -> bool {
        match (self.source, self.group.purpose) {
            (Source::Html, Purpose::HtmlTag) => true,
            (Source::Html | Source::Text, Purpose::Text) => !self.group.suppressed,
            (Source::Rich, Purpose::Text) => true,
            _ => false,
        }
    }

    fn octet(&mut self, octet: u8) {
        if !self.counts() {
            return;
        }
        // MS-OXRTFEX §2.1.3.1: tags are in the document's code page, text in that of its font.
        let font = self.group.font.or(self.default_font).filter(|_| self.group.purpose != Purpose::HtmlTag);
        let page = font.and_then(|f| self.fonts.get(&f)).copied().unwrap_or(self.code_page);
        if page != self.octets_page || !self.units.is_empty() {
            self.flush();
            self.octets_page = page;
        }
        self.octets.push(octet);
    }

    fn unit(&mut self, unit: i32) {
        self.skip = self.group.fallback;
        if self.counts() {
            if !self.octets.is_empty() {
                self.flush();
            }
            // RTF 1.9.1, "\u": a signed 16-bit number; some write it unsigned.
            self.units.push(u16::try_from(unit.rem_euclid(0x1_0000)).unwrap_or(0xfffd));
        }
    }

    fn character(&mut self, character: char, html: &str) {
        if !self.counts() {
            return;
        }
        self.flush();
        match self.source {
            Source::Html => self.out.push_str(html),
            _ => self.out.push(character),
        }
    }

    fn flush(&mut self) {
        if !self.octets.is_empty() {
            self.out.push_str(&codepage::decode(&self.octets, self.octets_page));
            self.octets.clear();
        }
        let units = char::decode_utf16(self.units.drain(..));
        self.out.extend(units.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).filter(|c| *c != '\0'));
    }
}

/// Words that stand for a character: in plain text, in HTML.
const CHARACTERS: [(&str, char, &str); 20] = [
    ("par", '\n', "\r\n"),
    ("line", '\n', "\r\n"),
    ("sect", '\n', "\r\n"),
    ("page", '\n', "\r\n"),
    ("row", '\n', "\r\n"),
    ("nestrow", '\n', "\r\n"),
    ("cell", '\t', "\t"),
    ("nestcell", '\t', "\t"),
    ("tab", '\t', "\t"),
    ("lquote", '\u{2018}', "&lsquo;"),
    ("rquote", '\u{2019}', "&rsquo;"),
    ("ldblquote", '\u{201c}', "&ldquo;"),
    ("rdblquote", '\u{201d}', "&rdquo;"),
    ("bullet", '\u{2022}', "&bull;"),
    ("endash", '\u{2013}', "&ndash;"),
    ("emdash", '\u{2014}', "&mdash;"),
    ("enspace", '\u{2002}', "&ensp;"),
    ("emspace", '\u{2003}', "&emsp;"),
    ("qmspace", '\u{2005}', "&#8197;"),
    ("zwj", '\u{200d}', "&zwj;"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn html(rtf: &str) -> String {
        let text = read(rtf.as_bytes());
        assert_eq!(text.form, Form::Html, "{rtf}");
        text.text
    }

    fn plain(rtf: &str) -> String {
        let text = read(rtf.as_bytes());
        assert_eq!(text.form, Form::Plain, "{rtf}");
        text.text
    }

    #[test]
    fn packed_html_comes_out_as_it_went_in() {
        let head = r"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}{\f1\fcharset204 Arial;}}";
        for (body, expected) in [
            (r"{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 text{\*\htmltag72 </p>}\htmlrtf }\htmlrtf0", "<p>text</p>"),
            (r"{\*\htmltag84 &nbsp;}\htmlrtf \'a0\htmlrtf0 x", "&nbsp;x"),
            (r"{\*\htmltag4 \par }a\par b", "\r\na\r\nb"),
            (r"{\*\mhtmltag8 <img src=x>}{\*\htmltag8 <img src=cid:x>}{\pict 00ff}", "<img src=cid:x>"),
            (r"f\'fcr \u8364?5 \f1\'cf\f0", "für €5 П"),
            (r"\u-10179?\u-8992? \lquote x\rquote\~\{\}", "📠 &lsquo;x&rsquo;&nbsp;{}"),
            (r"{\*\unknown gone}{\colortbl\red0;}kept", "kept"),
        ] {
            assert_eq!(html(&format!("{head}{body}}}")), expected, "{body}");
        }
    }

    #[test]
    fn packed_and_native_text_reads_as_lines() {
        for (rtf, expected) in [
            (r"{\rtf1\ansi\fromtext{\fonttbl{\f0 x;}}a\par \tab b\line c}", "a\n\tb\nc"),
            (r"{\rtf1\ansi{\info{\title no}}{\b bold} and plain\par}", "bold and plain\n"),
            (r"{\rtf1 {\field{\*\fldinst HYPERLINK x}{\fldrslt shown}}}", "shown"),
            (r"{\rtf1 a\cell b\cell\row}", "a\tb\t\n"),
            (r"{\rtf1 \uc2\u8364 EU\uc0\u8364 x}", "€€x"),
            ("{\\rtf1 one\r\n two\\\r\nthree}", "one two\nthree"),
            (r"{\rtf1\ansi\ansicpg932 \'93\'fa\'96{\b {}}{\'7b}}", "日本"),
            (r"{\rtf1 {\bin3 }}}x}", "x"),
        ] {
            assert_eq!(plain(rtf), expected, "{rtf}");
        }
    }

    #[test]
    fn what_is_not_text_is_told() {
        assert_eq!(read(br"{\rtf1 x{\pict\pngblip 8950}}").pictures, 1);
        assert_eq!(read(br"{\rtf1 x{\*\shppict{\pict\pngblip 8950}}}").pictures, 1);
        assert!(read(br"{\rtf1 x{\b y}").cut);
        assert!(!read(br"{\rtf1 x}}").cut);
        assert!(read("{".repeat(DEPTH_MAX * 2).as_bytes()).cut);
        assert!(!read(br"{\rtf1 x}").cut);
    }
}
