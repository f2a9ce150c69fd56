//! PDF pages and pictures drawn in black and white, one bit a pixel, legible at fax densities.
//!
//! In: a PDF's octets, where each page goes, fonts for what is not embedded. Out: a [`Bitmap`] for each page, of exactly the size
//! asked for: a page as large as a football field costs what an A4 page costs. What cannot be drawn is an error, never a
//! hole: a missing page, a picture that cannot be decoded, a font that cannot be loaded.
//!
//! The interpreter is hayro's; [`Document::draw`] runs it over a device of our own (`device`), which paints bits: glyphs
//! and shapes by the share of a pixel that they cover, text and thin lines always solid, areas as ordered dots, photographs diffused.
//! A page with something that needs colours to be mixed (soft masks, some blend modes) is drawn by stock hayro instead and
//! then made black and white; the page says so ([`Drawn::in_colour`]).

mod canvas;
mod clip;
mod device;
mod document;
mod ink;
mod raster;
mod scale;
mod stock;

pub use document::{Document, Drawn, Error, Fonts, Frame, Painter};
pub use fax_image::Bitmap;
