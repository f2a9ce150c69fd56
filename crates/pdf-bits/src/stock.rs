//! Pages that the device cannot draw yet, drawn in colour by stock hayro and made black and white by `fax_image::gray`.

use fax_image::{Bitmap, BitmapError, Gray};
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_interpret::hayro_syntax::page::Page;
use hayro::kurbo::Affine;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::vello_cpu::{Pixmap, RasterizerSettings, RenderContext, Resources, TargetInit};
use hayro::{RenderCache, RenderSettings, render_into};

use crate::document::Frame;
use crate::ink::luma;

pub(crate) fn draw<'a>(
    page: &'a Page<'a>,
    settings: &InterpreterSettings,
    transform: Affine,
    frame: Frame,
) -> Result<Bitmap, BitmapError> {
    let (width, height) = (frame.width as u16, frame.height as u16);
    let transform = Affine::translate((-f64::from(frame.left), 0.0)) * transform;
    // Made anew for each page: its caches only grow.
    let cache = RenderCache::new();
    let mut context = RenderContext::new(width, height);
    render_into(page, &cache, settings, &RenderSettings::default(), &mut context, transform);
    context.flush();
    let mut pixmap = Pixmap::new(width, height);
    let settings = RasterizerSettings { target_init: TargetInit::Clear(WHITE), ..Default::default() };
    context.render_with(&mut pixmap, &mut Resources::default(), settings);
    let data = pixmap.data_as_u8_slice().chunks_exact(4).map(|c| luma(c[0], c[1], c[2])).collect();
    let mut gray = Gray { width: width.into(), height: height.into(), data };
    gray.whiten();
    let mut sheet = Bitmap::white(frame.sheet.0, frame.sheet.1)?;
    sheet.blit(&gray.to_bitmap(frame.share)?, frame.left as i32, 0);
    Ok(sheet)
}
