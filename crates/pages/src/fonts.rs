//! Fonts: which files there are, and which of them a text needs.
//!
//! The files are opened before the process is locked up and read when a text needs them. Only these fonts are used, never
//! whatever else a machine has: the same text looks the same on every node that has the Debian packages
//! fonts-liberation2, fonts-dejavu-core, fonts-noto-core, fonts-droid-fallback (Chinese, Japanese), fonts-nanum (Korean) and
//! fonts-symbola. A character that none of them has shows as a box; a text that would be boxes to a good part is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// A font family by the characters that ask for it. `files` are relative to the font directories.
struct Family {
    name: &'static str,
    files: &'static [&'static str],
    /// Inclusive ranges of characters; empty: always needed.
    ranges: &'static [(u32, u32)],
}

/// Where Debian puts fonts, and where an administrator may.
const DIRECTORIES: &[&str] = &["/usr/share/fonts/truetype", "/usr/local/share/fonts"];

/// Largest font file that is read.
const FILE_MAX_BYTES: u64 = 64 << 20;

macro_rules! noto {
    ($name:literal, $file:literal, $($range:expr),+) => {
        Family {
            name: concat!("Noto Sans ", $name),
            files: &[concat!("noto/NotoSans", $file, "-Regular.ttf"), concat!("noto/NotoSans", $file, "-Bold.ttf")],
            ranges: &[$($range),+],
        }
    };
}

/// In the order in which a character's font is looked for.
const FAMILIES: &[Family] = &[
    Family {
        name: "Liberation Sans",
        files: &[
            "liberation2/LiberationSans-Regular.ttf",
            "liberation2/LiberationSans-Bold.ttf",
            "liberation2/LiberationSans-Italic.ttf",
        ],
        ranges: &[],
    },
    noto!("Hebrew", "Hebrew", (0x0590, 0x05ff), (0xfb1d, 0xfb4f)),
    noto!("Arabic", "Arabic", (0x0600, 0x06ff), (0x0750, 0x077f), (0x08a0, 0x08ff), (0xfb50, 0xfdff), (0xfe70, 0xfeff)),
    noto!("Syriac", "Syriac", (0x0700, 0x074f)),
    noto!("Thaana", "Thaana", (0x0780, 0x07bf)),
    noto!("NKo", "NKo", (0x07c0, 0x07ff)),
    noto!("Devanagari", "Devanagari", (0x0900, 0x097f), (0xa8e0, 0xa8ff), (0x1cd0, 0x1cff)),
    noto!("Bengali", "Bengali", (0x0980, 0x09ff)),
    noto!("Gurmukhi", "Gurmukhi", (0x0a00, 0x0a7f)),
    noto!("Gujarati", "Gujarati", (0x0a80, 0x0aff)),
    noto!("Oriya", "Oriya", (0x0b00, 0x0b7f)),
    noto!("Tamil", "Tamil", (0x0b80, 0x0bff)),
    noto!("Telugu", "Telugu", (0x0c00, 0x0c7f)),
    noto!("Kannada", "Kannada", (0x0c80, 0x0cff)),
    noto!("Malayalam", "Malayalam", (0x0d00, 0x0d7f)),
    noto!("Sinhala", "Sinhala", (0x0d80, 0x0dff)),
    noto!("Thai", "Thai", (0x0e00, 0x0e7f)),
    noto!("Lao", "Lao", (0x0e80, 0x0eff)),
    Family { name: "Noto Serif Tibetan", files: &["noto/NotoSerifTibetan-Regular.ttf"], ranges: &[(0x0f00, 0x0fff)] },
    noto!("Myanmar", "Myanmar", (0x1000, 0x109f), (0xa9e0, 0xa9ff), (0xaa60, 0xaa7f)),
    noto!("Georgian", "Georgian", (0x10a0, 0x10ff), (0x1c90, 0x1cbf), (0x2d00, 0x2d2f)),
    noto!("Armenian", "Armenian", (0x0530, 0x058f), (0xfb13, 0xfb17)),
    noto!("Ethiopic", "Ethiopic", (0x1200, 0x139f), (0x2d80, 0x2ddf), (0xab00, 0xab2f)),
    noto!("Cherokee", "Cherokee", (0x13a0, 0x13ff), (0xab70, 0xabbf)),
    noto!("Canadian Aboriginal", "CanadianAboriginal", (0x1400, 0x167f), (0x18b0, 0x18ff)),
    noto!("Khmer", "Khmer", (0x1780, 0x17ff), (0x19e0, 0x19ff)),
    noto!("Mongolian", "Mongolian", (0x1800, 0x18af)),
    noto!("Tifinagh", "Tifinagh", (0x2d30, 0x2d7f)),
    noto!("Yi", "Yi", (0xa000, 0xa4cf)),
    noto!("Javanese", "Javanese", (0xa980, 0xa9df)),
    noto!("Coptic", "Coptic", (0x2c80, 0x2cff)),
    // Letters beyond the European ones, arrows, boxes, dingbats: nearly everything that is not a script of its own.
    Family {
        name: "DejaVu Sans",
        files: &["dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf"],
        ranges: &[
            (0x0180, 0x036f),
            (0x0460, 0x052f),
            (0x1d00, 0x1fff),
            (0x2000, 0x2bff),
            (0x2e00, 0x2e7f),
            (0xa640, 0xa7ff),
            (0xfb00, 0xfb06),
            (0xfe20, 0xfe2f),
            (0xfff0, 0xffff),
            (0x1d400, 0x1d7ff),
            (0x1f030, 0x1f0ff),
            (0x1f600, 0x1f64f),
        ],
    },
    Family {
        name: "Droid Sans Fallback",
        files: &["droid/DroidSansFallbackFull.ttf"],
        ranges: &[(0x2e80, 0x9fff), (0xf900, 0xfaff), (0xfe30, 0xfe4f), (0xff00, 0xffef), (0x20000, 0x3ffff)],
    },
    Family {
        name: "NanumGothic",
        files: &["nanum/NanumGothic.ttf", "nanum/NanumGothicBold.ttf"],
        ranges: &[(0x1100, 0x11ff), (0x3130, 0x318f), (0x3200, 0x32ff), (0xa960, 0xa97f), (0xac00, 0xd7ff)],
    },
    Family {
        name: "Symbola",
        files: &["ancient-scripts/Symbola_hint.ttf"],
        ranges: &[(0x2100, 0x2bff), (0x1f000, 0x1ffff), (0x1d000, 0x1d3ff), (0x10000, 0x1cfff)],
    },
];

/// For columns that line up.
const MONO: Family = Family {
    name: "Liberation Mono",
    files: &["liberation2/LiberationMono-Regular.ttf", "liberation2/LiberationMono-Bold.ttf"],
    ranges: &[],
};

/// Index of the font for CJK texts of PDFs that do not bring their own.
const CJK: &str = "Droid Sans Fallback";

/// The open font files.
pub(crate) struct Fonts {
    shelf: Vec<(&'static Family, Vec<Slot>)>,
    /// Characters that no font had so far.
    lacking: RefCell<BTreeSet<char>>,
}

struct Slot {
    file: RefCell<File>,
    bytes: RefCell<Option<Arc<Vec<u8>>>>,
}

/// What a text needs.
pub(crate) struct Chosen {
    /// Font files.
    pub files: Vec<Arc<Vec<u8>>>,
    /// For CSS: `'Liberation Sans','Noto Sans Thai',…`.
    pub stack: String,
    /// The same for columns that line up.
    pub mono_stack: String,
}

impl Fonts {
    /// Opens every file that is there.
    pub(crate) fn open() -> Self {
        let slots = |family: &'static Family| {
            let open = |file: &&str| DIRECTORIES.iter().find_map(|d| File::open(format!("{d}/{file}")).ok());
            let slots = family.files.iter().filter_map(open);
            slots.map(|file| Slot { file: RefCell::new(file), bytes: RefCell::new(None) }).collect()
        };
        let families = FAMILIES.iter().chain(std::iter::once(&MONO));
        let shelf = families.map(|family| (family, slots(family))).collect();
        Self { shelf, lacking: RefCell::default() }
    }

    /// The next order's remarks are its own.
    pub(crate) fn forget(&self) {
        self.lacking.borrow_mut().clear();
    }

    /// The fonts for a text; none are there for want of the package: an error that names it.
    pub(crate) fn choose(&self, text: &str) -> Result<Chosen, String> {
        let mut wanted = [false; FAMILIES.len() + 1];
        for (index, (family, _)) in self.shelf.iter().enumerate() {
            wanted[index] = family.ranges.is_empty();
        }
        let mut last = 0;
        for c in text.chars().map(u32::from).filter(|c| *c >= 0x180) {
            if FAMILIES[last].ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) && wanted[last] {
                continue;
            }
            for (index, family) in FAMILIES.iter().enumerate() {
                if family.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) {
                    (wanted[index], last) = (true, index);
                }
            }
        }
        let mut chosen = Chosen { files: Vec::new(), stack: String::new(), mono_stack: String::new() };
        for ((family, slots), _) in self.shelf.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            chosen.files.extend(slots.iter().filter_map(Slot::read));
            if family.name != MONO.name {
                chosen.stack.push_str(if chosen.stack.is_empty() { "" } else { "," });
                chosen.stack.push_str(&format!("'{}'", family.name));
            }
        }
        if chosen.files.is_empty() {
            return Err("no fonts are installed here; fix: install fonts-liberation2 and fonts-noto-core".to_owned());
        }
        chosen.mono_stack = format!("'{}',{}", MONO.name, chosen.stack);
        Ok(chosen)
    }

    /// An error when more than a fifth of the different characters of a text have no font.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        let different: BTreeSet<char> = text.chars().filter(|c| is_seen(*c)).collect();
        let chosen = self.choose(text)?;
        let lacking = lacking(&different, &chosen.files);
        if lacking.len() * 5 > different.len() {
            let some: String = lacking.iter().take(5).collect();
            return Err(format!("no font here has {} of its characters, such as {some}", lacking.len()));
        }
        self.lacking.borrow_mut().extend(lacking);
        Ok(())
    }

    /// A remark about characters that show as boxes, if there were any.
    pub(crate) fn remark(&self) -> Option<String> {
        let lacking = self.lacking.borrow();
        let some: String = lacking.iter().take(5).collect();
        (!lacking.is_empty())
            .then(|| format!("{} characters have no font here and show as boxes: {some}", lacking.len()))
    }

    /// The font for CJK texts of PDFs that do not bring their own.
    pub(crate) fn cjk(&self) -> Option<Arc<Vec<u8>>> {
        self.shelf.iter().find(|(family, _)| family.name == CJK)?.1.first()?.read()
    }
}

/// Whether a character puts ink on paper or is a box without a font; joiners and selectors are neither.
fn is_seen(c: char) -> bool {
    let code = u32::from(c);
    let unseen = matches!(code, 0x00ad | 0x034f | 0x061c | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb | 0x1f3fb..=0x1f3ff | 0xe0000..=0xe0fff);
    !unseen && !c.is_whitespace() && !c.is_control()
}

fn lacking(characters: &BTreeSet<char>, files: &[Arc<Vec<u8>>]) -> Vec<char> {
    let faces: Vec<_> = files.iter().filter_map(|file| ttf_parser::Face::parse(file, 0).ok()).collect();
    characters.iter().copied().filter(|c| !faces.iter().any(|face| face.glyph_index(*c).is_some())).collect()
}

impl Slot {
    fn read(&self) -> Option<Arc<Vec<u8>>> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_none() {
            let mut read = Vec::new();
            let file = &mut *self.file.borrow_mut();
            file.take(FILE_MAX_BYTES).read_to_end(&mut read).ok()?;
            *bytes = Some(Arc::new(read));
        }
        bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_the_fonts_of_its_scripts_and_no_others() {
        let fonts = Fonts::open();
        for (text, expected) in [
            ("plain", "'Liberation Sans'"),
            ("สวัสดี", "'Liberation Sans','Noto Sans Thai'"),
            ("你好", "'Liberation Sans','Droid Sans Fallback'"),
        ] {
            assert_eq!(fonts.choose(text).unwrap().stack, expected);
        }
        assert!(fonts.choose("한국어 →").unwrap().stack.ends_with("'DejaVu Sans','NanumGothic','Symbola'"));
    }

    #[test]
    fn a_script_without_a_font_is_noticed() {
        let fonts = Fonts::open();
        fonts.check("Grüße, Привет, 你好, 안녕하세요, 😀, \u{200d}").unwrap();
        assert_eq!(fonts.remark(), None);
        // Linear A has a font in no package that we ask for: its block is not in the table.
        assert!(fonts.check("\u{10600}\u{10601}\u{10602}").is_err());
        fonts.check("a letter with many words and one strange sign, \u{10600}").unwrap();
        assert!(fonts.remark().unwrap().starts_with("1 characters have no font"));
    }
}
