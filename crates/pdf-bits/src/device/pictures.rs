//! Pictures: bilevel ones by coverage, grey and coloured ones through `fax_image::gray`.

use std::borrow::Cow;

use fax_image::Gray;
use hayro::hayro_interpret::hayro_syntax::object::stream::ImageDecodeParams;
use hayro::hayro_interpret::hayro_syntax::object::{Array, Name, Stream};
use hayro::hayro_interpret::{Image, ImageData, ImageDrawProps, LumaData, Paint, RasterImage, StencilImage};
use hayro::kurbo::{Affine, Point, Rect};

use super::Pen;
use crate::canvas::{Mix, Plane, shifted};
use crate::ink::{Ink, luma};
use crate::scale::{self, Packed};

/// Skew up to this, pixels over the whole picture, is upright.
const SKEW_MAX_PX: f64 = 0.6;
/// A picture may reach beyond the page by this factor and still be scaled as a whole.
const BEYOND_MAX: f64 = 2.0;
/// Samples across and down that a pixel of a skewed picture is the mean of, at most.
const SAMPLES_MAX: usize = 4;
/// Less opaque pixels are not there.
const CLEAR_MAX: u8 = 15;
/// From here on a pixel covers; below it only darkens.
const OPAQUE_MIN: u8 = 128;

/// A picture in grey.
struct Source {
    width: usize,
    height: usize,
    gray: Vec<u8>,
    /// Opacity, with its own size.
    alpha: Option<(usize, usize, Vec<u8>)>,
}

/// Where an upright picture goes: whole pixels, and how it is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: i32,
    y: i32,
    width: usize,
    height: usize,
    transposed: bool,
    flip_x: bool,
    flip_y: bool,
}

impl<'c> Pen<'c> {
    pub(super) fn picture<'a>(&mut self, image: &Image<'a, '_>, props: &ImageDrawProps<'a>) {
        let Some(mix) = self.mix(props.blend_mode, props.soft_mask.as_ref()) else { return };
        let (width, height) = (image.width(), image.height());
        let area = props.transform.transform_rect_bbox(Rect::new(0.0, 0.0, width.into(), height.into()));
        if !area.is_finite() || self.misses(area) {
            return;
        }
        let target = |length: f64| (length.ceil().clamp(1.0, 16_384.0)) as u32;
        let hint = Some((target(area.width()), target(area.height())));
        match image {
            Image::Stencil(stencil) => self.stencil(stencil, props.transform, mix, hint),
            Image::Raster(raster) => self.raster_image(raster, props.transform, mix, hint),
        }
    }

    fn stencil(&mut self, stencil: &StencilImage<'_, '_>, transform: Affine, mix: Mix, hint: Option<(u32, u32)>) {
        let (width, height) = (stencil.width(), stencil.height());
        let place = self.place(transform, f64::from(width), f64::from(height));
        if let (Some(place), Some(bits)) = (place.filter(Place::is_straight), packed(stencil.stream(), width, height)) {
            // The paint is known only through the decoder's callback: a picture of one pixel's cost is not worth a second way.
            let mut paint = None;
            stencil.with_stencil(|_, own| paint = Some(own.clone()), Some((1, 1)));
            if let Some(paint) = paint {
                return self.packed_stencil(&bits, place, &paint, mix);
            }
        }
        let share = self.share;
        stencil.with_stencil(
            |mask, paint| {
                let LumaData { data, width, height, scale_factors, .. } = mask;
                let transform = rescaled(transform, scale_factors);
                // Opacity is ink here: a pixel is inked from its share on.
                let dark = data.iter().map(|opacity| 255 - opacity).collect();
                let source = Source { width: width as usize, height: height as usize, gray: dark, alpha: None };
                let Some((gray, x, y)) = self.scaled(&source, transform) else { return };
                let limit = (255.0 * (1.0 - share)) as u8;
                let rows: Vec<Vec<u64>> = gray.data.chunks_exact(gray.width).map(|row| below(row, limit)).collect();
                self.ink_rows(&rows, (x, y, gray.width as i32), paint, mix);
            },
            hint,
        );
    }

    fn packed_stencil(&mut self, bits: &Bits<'_>, place: Place, paint: &Paint<'_>, mix: Mix) {
        let mut rows = Vec::new();
        bits.packed().scale((place.width, place.height), self.share, |_, words| rows.push(words.to_vec()));
        self.ink_rows(&rows, (place.x, place.y, place.width as i32), paint, mix);
    }

    /// Paints where bits are set: letters in a solid ink, areas in their shade.
    fn ink_rows(&mut self, rows: &[Vec<u64>], (x, y, width): (i32, i32, i32), paint: &Paint<'_>, mix: Mix) {
        let clip = self.clip();
        let Some(shade) = self.color(paint, mix) else {
            if let Paint::Pattern(pattern) = paint {
                let runs = runs_of(rows, x, y);
                self.paint_pattern(&runs, pattern, mix, false);
            }
            return;
        };
        let is_small = self.in_glyph > 0 || width < 200 || is_fine(rows);
        let ink = if is_small {
            self.thin_ink(shade, x + width / 2, y + rows.len() as i32 / 2)
        } else {
            Ink::area(shade.luma)
        };
        for (row, words) in (y..).zip(rows) {
            let shown = |place: usize| shifted(words, x, place);
            self.canvas.words_of_row(row, (x, x + width), (|_| ink.row(row), shown), (shade.mix, ink.plane()), &clip);
        }
    }

    fn raster_image(&mut self, image: &RasterImage<'_>, transform: Affine, mix: Mix, hint: Option<(u32, u32)>) {
        let (width, height) = (image.width(), image.height());
        let place = self.place(transform, f64::from(width), f64::from(height));
        let opaque = self.group().opacity > 0.99;
        if let (Some(place), true) = (place.filter(Place::is_straight), opaque)
            && let Some(bits) = bilevel(image.stream(), width, height)
        {
            let clip = self.clip();
            let share = self.share;
            return bits.packed().scale((place.width, place.height), share, |row, words| {
                let color = |at: usize| shifted(words, place.x, at);
                let span = (place.x, place.x + place.width as i32);
                self.canvas.words_of_row(place.y + row as i32, span, (color, |_| u64::MAX), (mix, Plane::Solid), &clip);
            });
        }
        image.with_rgba(
            |data, alpha| {
                let factors = data.scale_factors();
                let source = Source::new(data, alpha);
                self.gray_picture(&source, rescaled(transform, factors), mix);
            },
            hint,
        );
    }

    fn gray_picture(&mut self, source: &Source, transform: Affine, mix: Mix) {
        let Some((mut gray, x, y)) = self.scaled(source, transform) else { return };
        let alpha = match &source.alpha {
            None => None,
            Some((width, height, data)) => {
                let by = (source.width as f64 / *width as f64, source.height as f64 / *height as f64);
                let transform = transform * Affine::scale_non_uniform(by.0, by.1);
                let opacity = Source { width: *width, height: *height, gray: data.clone(), alpha: None };
                self.scaled(&opacity, transform)
                    .filter(|(alpha, ..)| (alpha.width, alpha.height) == (gray.width, gray.height))
            }
        };
        let alpha = alpha.map(|(alpha, ..)| alpha);
        let opacity = self.group().opacity;
        if let Some(alpha) = &alpha {
            over_white(&mut gray.data, &alpha.data);
        }
        if opacity < 0.99 {
            gray.data.iter_mut().for_each(|value| *value = (255.0 - (255.0 - f32::from(*value)) * opacity) as u8);
        }
        let page = self.canvas.width() as usize * self.canvas.height() as usize;
        if gray.data.len() * 2 > page {
            gray.whiten();
        }
        let mix = if mix == Mix::Cover && opacity < 0.6 { Mix::Darken } else { mix };
        self.show(&gray, alpha.as_ref(), (x, y), mix);
    }

    fn show(&mut self, gray: &Gray, alpha: Option<&Gray>, (x, y): (i32, i32), mix: Mix) {
        let clip = self.clip();
        let span = (x, x + gray.width as i32);
        gray.rows(self.share, |row, words| {
            let at = y + row as i32;
            let color = |place: usize| shifted(words, x, place);
            let Some(alpha) = alpha else {
                self.canvas.words_of_row(at, span, (color, |_| u64::MAX), (mix, Plane::Solid), &clip);
                return;
            };
            let opacity = &alpha.data[row * gray.width..(row + 1) * gray.width];
            let covers: Vec<u64> = below(opacity, OPAQUE_MIN).iter().map(|word| !word).collect();
            let clear = below(opacity, CLEAR_MAX + 1);
            self.canvas.words_of_row(at, span, (color, |place| shifted(&covers, x, place)), (mix, Plane::Solid), &clip);
            let veil = |place: usize| !shifted(&covers, x, place) & !shifted(&clear, x, place);
            self.canvas.words_of_row(at, span, (color, veil), (Mix::Darken, Plane::Solid), &clip);
        });
        // Text may come upon it: how light it is, in the middle of every sample.
        for row in (0..gray.height).filter(|row| (y + *row as i32) & 3 == 2) {
            let at = y + row as i32;
            if !(clip.y0..clip.y1).contains(&at) {
                continue;
            }
            let mut column = x.max(clip.x0);
            while column < span.1.min(clip.x1) {
                let index = row * gray.width + (column - x) as usize;
                if alpha.is_none_or(|alpha| alpha.data[index] >= OPAQUE_MIN) {
                    self.canvas.note_shade(at, column, (column + 4).min(span.1), gray.data[index]);
                }
                column += 4;
            }
        }
    }

    /// The source at its place on the page, and its upper left corner there. Nothing when it is outside.
    fn scaled(&self, source: &Source, transform: Affine) -> Option<(Gray, i32, i32)> {
        match self.place(transform, source.width as f64, source.height as f64) {
            Some(place) => Some((upright(source, place), place.x, place.y)),
            None => self.mapped(source, transform),
        }
    }

    /// Where the picture goes when its sides are level and it is not far larger than the page.
    fn place(&self, transform: Affine, width: f64, height: f64) -> Option<Place> {
        let [a, b, c, d, _, _] = transform.as_coeffs();
        let (across, down) = ((a * width, b * width), (c * height, d * height));
        let transposed = across.0.abs() < SKEW_MAX_PX && down.1.abs() < SKEW_MAX_PX && across.1.abs() >= 1.0;
        let straight = across.1.abs() < SKEW_MAX_PX && down.0.abs() < SKEW_MAX_PX;
        if !transposed && !straight {
            return None;
        }
        let area = transform.transform_rect_bbox(Rect::new(0.0, 0.0, width, height));
        let side = |from: f64, to: f64| {
            let (start, end) = (from.round(), to.round());
            if end > start { (start as i32, (end - start) as usize) } else { (((from + to) / 2.0).floor() as i32, 1) }
        };
        let (page_width, page_height) = (f64::from(self.canvas.width()), f64::from(self.canvas.height()));
        if area.width() > page_width * BEYOND_MAX || area.height() > page_height * BEYOND_MAX {
            return None;
        }
        let ((x, width), (y, height)) = (side(area.x0, area.x1), side(area.y0, area.y1));
        let (flip_x, flip_y) = if transposed { (c < 0.0, b < 0.0) } else { (a < 0.0, d < 0.0) };
        Some(Place { x, y, width, height, transposed, flip_x, flip_y })
    }

    /// Pixel by pixel through the inverse: for turned and skewed pictures and those that reach far beyond the page.
    fn mapped(&self, source: &Source, transform: Affine) -> Option<(Gray, i32, i32)> {
        let area = transform.transform_rect_bbox(Rect::new(0.0, 0.0, source.width as f64, source.height as f64));
        let clip = self.bounds();
        let (x0, y0) = ((area.x0.floor() as i32).max(clip.x0), (area.y0.floor() as i32).max(clip.y0));
        let (x1, y1) = ((area.x1.ceil() as i32).min(clip.x1), (area.y1.ceil() as i32).min(clip.y1));
        if x0 >= x1 || y0 >= y1 || transform.determinant().abs() < 1e-12 {
            return None;
        }
        let inverse = transform.inverse();
        let [a, b, c, d, _, _] = inverse.as_coeffs();
        let samples = (a.hypot(b).max(c.hypot(d)).ceil() as usize).clamp(1, SAMPLES_MAX);
        let mut data = Vec::with_capacity((x1 - x0) as usize * (y1 - y0) as usize);
        let outside = 255_u32;
        for y in y0..y1 {
            for x in x0..x1 {
                let mut sum = 0;
                for sample in 0..samples * samples {
                    let part = |n: usize| (n as f64 + 0.5) / samples as f64;
                    let at = Point::new(f64::from(x) + part(sample % samples), f64::from(y) + part(sample / samples));
                    let at = inverse * at;
                    let inside =
                        at.x >= 0.0 && at.y >= 0.0 && (at.x as usize) < source.width && (at.y as usize) < source.height;
                    let value = if inside {
                        u32::from(source.gray[at.y as usize * source.width + at.x as usize])
                    } else {
                        outside
                    };
                    sum += value;
                }
                data.push((sum / (samples * samples) as u32) as u8);
            }
        }
        Some((Gray { width: (x1 - x0) as usize, height: (y1 - y0) as usize, data }, x0, y0))
    }
}

impl Place {
    fn is_straight(&self) -> bool {
        !self.transposed && !self.flip_x && !self.flip_y
    }
}

impl Source {
    fn new(data: ImageData, alpha: Option<LumaData>) -> Self {
        let (width, height) = (data.width() as usize, data.height() as usize);
        let gray = match data {
            ImageData::Luma(luma) => luma.data,
            ImageData::Rgb(rgb) => rgb.data.chunks_exact(3).map(|c| luma(c[0], c[1], c[2])).collect(),
        };
        let alpha = alpha.map(|alpha| (alpha.width as usize, alpha.height as usize, alpha.data));
        Self { width, height, gray, alpha }
    }
}

/// A transform for data of another size than the picture says.
fn rescaled(transform: Affine, (x, y): (f32, f32)) -> Affine {
    transform * Affine::scale_non_uniform(x.into(), y.into())
}

fn upright(source: &Source, place: Place) -> Gray {
    let (mut width, mut height) = (source.width, source.height);
    let mut gray = Cow::Borrowed(&source.gray);
    if place.transposed {
        let turned = (0..width).flat_map(|x| (0..height).map(move |y| (x, y))).map(|(x, y)| source.gray[y * width + x]);
        gray = Cow::Owned(turned.collect());
        (width, height) = (height, width);
    }
    let data = scale::gray((width, height), (place.width, place.height), |y, own| {
        let y = if place.flip_y { height - 1 - y } else { y };
        let row = &gray[y * width..(y + 1) * width];
        if !place.flip_x {
            return Some(row);
        }
        own.clear();
        own.extend(row.iter().rev());
        None
    });
    Gray { width: place.width, height: place.height, data }
}

fn over_white(gray: &mut [u8], alpha: &[u8]) {
    for (value, alpha) in gray.iter_mut().zip(alpha) {
        *value = (255 - (255 - u32::from(*value)) * u32::from(*alpha) / 255) as u8;
    }
}

/// Words in which the samples below a limit are set.
fn below(row: &[u8], limit: u8) -> Vec<u64> {
    row.chunks(64)
        .map(|samples| {
            let bits = samples.iter().fold(0_u64, |bits, value| bits << 1 | u64::from(*value < limit));
            bits << (64 - samples.len())
        })
        .collect()
}

/// Whether the set pixels are letters and lines rather than areas.
fn is_fine(rows: &[Vec<u64>]) -> bool {
    let (mut set, mut starts) = (0_u64, 0_u64);
    for words in rows {
        let mut last = 0;
        for word in words {
            set += u64::from(word.count_ones());
            starts += u64::from((word & !(word >> 1 | last << 63)).count_ones());
            last = word & 1;
        }
    }
    set < starts * 12
}

fn runs_of(rows: &[Vec<u64>], x: i32, y: i32) -> Vec<crate::raster::Run> {
    let mut runs = Vec::new();
    for (y, words) in (y..).zip(rows) {
        for (place, word) in words.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let start = rest.leading_zeros();
                let length = (!(rest << start)).leading_zeros().min(64 - start);
                let x0 = x + place as i32 * 64 + start as i32;
                runs.push(crate::raster::Run { y, x0, x1: x0 + length as i32 });
                let used = start + length;
                rest = if used >= 64 { 0 } else { rest & (u64::MAX >> used) };
            }
        }
    }
    runs
}

/// A picture's bits as they came out of its filter.
struct Bits<'s> {
    width: usize,
    height: usize,
    data: Cow<'s, [u8]>,
    flip: u8,
}

impl Bits<'_> {
    fn packed(&self) -> Packed<'_> {
        Packed { width: self.width, height: self.height, data: &self.data, flip: self.flip }
    }
}

/// The bits of a picture in black and white without masks.
fn bilevel<'s>(stream: &Stream<'s>, width: u32, height: u32) -> Option<Bits<'s>> {
    let dict = stream.dict();
    let space = dict.get::<Name<'_>>(b"ColorSpace".as_slice()).or_else(|| dict.get::<Name<'_>>(b"CS".as_slice()))?;
    let is_gray = matches!(&*space, b"DeviceGray" | b"G" | b"CalGray");
    let depth = dict.get::<u8>(b"BitsPerComponent".as_slice()).or_else(|| dict.get::<u8>(b"BPC".as_slice()));
    let has_mask = dict.contains_key(b"SMask".as_slice()) || dict.contains_key(b"Mask".as_slice());
    if !is_gray || depth != Some(1) || has_mask {
        return None;
    }
    packed(stream, width, height)
}

/// The bits of a stencil or a picture in black and white; 1 is ink once they are flipped.
fn packed<'s>(stream: &Stream<'s>, width: u32, height: u32) -> Option<Bits<'s>> {
    let dict = stream.dict();
    let decode = dict.get::<Array<'_>>(b"Decode".as_slice()).or_else(|| dict.get::<Array<'_>>(b"D".as_slice()));
    let decode: Option<Vec<f32>> = decode.map(|array| array.iter::<f32>().collect());
    let flip = match decode.as_deref() {
        None | Some([0.0, 1.0]) => 0xff,
        Some([1.0, 0.0]) => 0,
        Some(_) => return None,
    };
    // "Indexed" asks the fax and JBIG2 filters for packed bits.
    let wanted = ImageDecodeParams {
        is_indexed: true,
        bpc: Some(1),
        num_components: Some(1),
        target_dimension: None,
        width,
        height,
    };
    let decoded = stream.decoded_image(&wanted).ok()?;
    let (own_width, own_height) = match &decoded.image_data {
        Some(info) if info.bits_per_component != 1 => return None,
        Some(info) => (info.width, info.height),
        None => (width, height),
    };
    let stride = own_width.div_ceil(8) as usize;
    // Data that end early: the decoder that pads them decides.
    if own_width == 0 || own_height == 0 || decoded.data.len() < stride * own_height as usize {
        return None;
    }
    Some(Bits { width: own_width as usize, height: own_height as usize, data: decoded.data, flip })
}
