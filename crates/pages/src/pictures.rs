//! The pictures that an HTML text brings along: `cid:` (RFC 2392) and `data:` (RFC 2397). Others would have to be fetched,
//! and nothing is: their places stay empty.
//!
//! Each is decoded here and given to the layout engine as a small grey PNG of its own making, so that the engine's
//! decoders never see a stranger's octets. The engine knows no picture's size before it draws it: a rule of CSS tells it.

use std::io::Cursor;

use fulgur::asset::AssetBundle;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageEncoder, ImageReader, Limits, imageops};

use crate::order::Inline;

/// Most pictures of one text; the places of others stay empty.
const PICTURES_MAX: usize = 200;
/// Memory that a decoder may take: 80 megapixels of RGB.
const DECODER_MAX_BYTES: u64 = 240 << 20;
/// Larger ones are made smaller: the text is at most so many pixels of a fax wide.
const WIDTH_MAX_PX: u32 = 1440;
const HEIGHT_MAX_PX: u32 = 4000;
/// What is at most so large may be a signature's logo, whose loss is remarked on; more is somebody's photo or scan.
const LOGO_MAX_BYTES: usize = 20 << 10;
/// What is at most so large carries nothing to read: it counts openings of the mail.
const TRACKER_MAX_PX: u32 = 2;

/// Pictures by the address under which the text asks for them.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    found: Vec<Picture>,
    /// Pictures that the text asks for and that are not here, or cannot be read.
    pub missing: usize,
    /// The first of the mail's own that cannot be read and may be content.
    pub unreadable: Option<String>,
}

#[derive(Debug)]
struct Picture {
    addresses: Vec<String>,
    /// Size in pixels as the text's author knows it.
    width: u32,
    height: u32,
    png: Vec<u8>,
}

impl Pictures {
    pub(crate) fn add_to(&self, assets: &mut AssetBundle) {
        for picture in &self.found {
            for address in &picture.addresses {
                assets.add_image(address.clone(), picture.png.clone());
            }
        }
    }

    /// Sizes, in a form that yields to whatever the text says itself.
    pub(crate) fn css(&self) -> String {
        let mut css = String::new();
        for Picture { addresses, width, height, .. } in &self.found {
            for address in addresses {
                let address = quoted(address);
                css.push_str(&format!(
                    "img[src=\"{address}\"]{{aspect-ratio:{width}/{height}}}\
                     :where(img[src=\"{address}\"]:not([width]):not([height])){{width:{width}px}}\
                     img[src=\"{address}\"][width$=\"%\"]{{width:100%}}"
                ));
            }
        }
        css
    }
}

/// A string of CSS (CSS Syntax §4.3.5).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\') || c.is_control() {
            quoted.push_str(&format!("\\{:x} ", u32::from(c)));
        } else {
            quoted.push(c);
        }
    }
    quoted
}

/// The pictures of an HTML text, and the text with its `data:` pictures under short addresses.
pub(crate) fn find(html: &str, inline: &[Inline]) -> (String, Pictures) {
    let mut pictures = Pictures::default();
    let mut text = String::with_capacity(html.len().min(1 << 20));
    // Of the same length, so that offsets are the same.
    let lower = html.to_ascii_lowercase();
    let mut done = 0;
    while let Some(at) = lower[done..].find("data:image/").map(|at| at + done) {
        let end = at + lower[at..].find(['"', '\'', ')', '>']).unwrap_or(lower.len() - at);
        text.push_str(&html[done..at]);
        done = end;
        let address = format!("picture-{}", pictures.found.len() + pictures.missing + 1);
        let picture = data(&html[at..end]).and_then(|bytes| read(&bytes)).filter(|_| pictures.has_room());
        // Without a picture the address leads nowhere, which is what it should.
        text.push_str(&address);
        pictures.add(picture, vec![address]);
    }
    text.push_str(&html[done..]);
    let folded = lower.replace("&amp;", "&");
    for one in inline {
        let id = one.id.trim();
        let escaped = id.replace('@', "%40");
        let named = |id: &str| folded.contains(&format!("cid:{}", id.to_ascii_lowercase()));
        if !id.is_empty() && (named(id) || named(&escaped)) && pictures.has_room() {
            let mut addresses = vec![format!("cid:{id}"), format!("cid:{escaped}")];
            addresses.dedup();
            let picture = read(&one.bytes);
            if picture.is_none() && one.bytes.len() > LOGO_MAX_BYTES {
                pictures.unreadable.get_or_insert_with(|| one.name.clone());
            }
            pictures.add(picture, addresses);
        }
    }
    (text, pictures)
}

impl Pictures {
    fn has_room(&self) -> bool {
        self.found.len() < PICTURES_MAX
    }

    fn add(&mut self, picture: Option<(u32, u32, Vec<u8>)>, addresses: Vec<String>) {
        match picture {
            Some((width, height, png)) => self.found.push(Picture { addresses, width, height, png }),
            None => self.missing += 1,
        }
    }
}

/// How many pictures an HTML text asks for that would have to be fetched, trackers that say so themselves not counted.
pub(crate) fn remote(html: &str) -> usize {
    let lower = html.to_ascii_lowercase();
    let tags = lower.match_indices("<img").map(|(at, _)| {
        let tag = &lower[at..];
        &tag[..tag.find('>').unwrap_or(tag.len())]
    });
    let tracker = |tag: &&str| {
        let says = |name: &str| {
            let value = tag.split_once(name).map(|(_, after)| after.trim_start_matches(['"', '\'']));
            let digits = value.map(|value| value.chars().take_while(char::is_ascii_digit).collect::<String>());
            digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|px| px <= TRACKER_MAX_PX)
        };
        says(" width=") || says(" height=")
    };
    tags.filter(|tag| tag.contains("http:") || tag.contains("https:") || tag.contains("src=\"//"))
        .filter(|tag| !tracker(tag))
        .count()
}

/// Octets of a `data:` address in base64; other forms are for texts.
fn data(address: &str) -> Option<Vec<u8>> {
    let (head, body) = address.split_once(',')?;
    head.to_ascii_lowercase().ends_with(";base64").then(|| base64(body))?
}

/// RFC 4648 §4; white space is passed over, the end may be cut.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    Some(octets)
}

/// Width and height as sent, and the picture as grey PNG over white. None: it cannot be read, or is a tracker.
fn read(bytes: &[u8]) -> Option<(u32, u32, Vec<u8>)> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_MAX_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    if decoder.total_bytes() > DECODER_MAX_BYTES {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 || (width <= TRACKER_MAX_PX && height <= TRACKER_MAX_PX) {
        return None;
    }
    let gray = over_white(image);
    let scale = (f64::from(WIDTH_MAX_PX) / f64::from(width)).min(f64::from(HEIGHT_MAX_PX) / f64::from(height)).min(1.0);
    let to = |px: u32| ((f64::from(px) * scale).round() as u32).max(1);
    let gray = if scale < 1.0 { imageops::thumbnail(&gray, to(width), to(height)) } else { gray };
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(gray.as_raw(), gray.width(), gray.height(), image::ExtendedColorType::L8)
        .ok()?;
    Some((width, height, png))
}

fn over_white(image: DynamicImage) -> GrayImage {
    if !image.color().has_alpha() {
        return image.into_luma8();
    }
    let with_alpha = image.into_luma_alpha8();
    GrayImage::from_fn(with_alpha.width(), with_alpha.height(), |x, y| {
        let [luma, alpha] = with_alpha.get_pixel(x, y).0.map(u32::from);
        image::Luma([((luma * alpha + 255 * (255 - alpha)) / 255) as u8])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        GrayImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn inline(id: &str, bytes: Vec<u8>) -> Inline {
        Inline { id: id.to_owned(), name: "p.png".to_owned(), bytes }
    }

    #[test]
    fn pictures_are_found_by_content_id_and_in_the_text_itself() {
        const DOT: &str =
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";
        let html = format!("<img src=\"cid:a%40x\"><img src='CID:B@x'><img src=\"data:image/png;base64,{DOT}\"><p>x");
        let inlines = [inline("a@x", png(10, 5)), inline("b@x", png(4, 4)), inline("unused@x", png(9, 9))];
        let (text, pictures) = find(&html, &inlines);
        assert!(!text.contains("data:") && text.contains("src=\"picture-1\"") && text.ends_with("<p>x"), "{text}");
        let addresses: Vec<_> = pictures.found.iter().flat_map(|p| p.addresses.clone()).collect();
        assert_eq!(addresses, ["cid:a@x", "cid:a%40x", "cid:b@x", "cid:b%40x"]);
        // One pixel is a tracker's.
        assert_eq!(pictures.missing, 1);
        assert!(pictures.css().contains("img[src=\"cid:a%40x\"]{aspect-ratio:10/5}"));
    }

    #[test]
    fn a_content_id_is_no_css() {
        let (_, pictures) = find("<img src='cid:x\"]{}\\'>", &[inline("x\"]{}\\", png(9, 9))]);
        assert!(pictures.css().contains("cid:x\\22 ]{}\\5c \""), "{}", pictures.css());
    }

    #[test]
    fn large_pictures_are_made_smaller_and_keep_their_proportions() {
        let (width, height, small) = read(&png(3000, 1500)).unwrap();
        assert_eq!((width, height), (3000, 1500));
        let small = image::load_from_memory(&small).unwrap();
        assert_eq!((small.width(), small.height()), (1440, 720));
        assert!(read(b"\x89PNG\r\n\x1a\n cut").is_none());
    }

    #[test]
    fn pictures_elsewhere_are_counted_and_trackers_are_not() {
        let html =
            "<IMG src='https://x.example/a.png'><img width=1 height=1 src=http://t.example/o.gif><img src=cid:a>";
        assert_eq!(remote(html), 1);
    }
}
