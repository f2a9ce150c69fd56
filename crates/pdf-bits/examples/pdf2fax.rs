//! A PDF into a fax TIFF: `pdf2fax IN.pdf OUT.tif [98|196|391] [LETTER|A4]`. Says what was drawn in colour first.
use std::process::ExitCode;

use fax_image::tiff::{Profile, Resolution, TiffPage, write_document};
use pdf_bits::{Document, Fonts, Frame};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, from, to, rest @ ..] = args.as_slice() else {
        return Err("usage: pdf2fax IN.pdf OUT.tif [98|196|391]".into());
    };
    let lines: f64 = rest.first().map_or(Ok(196.0), |lines| lines.parse())?;
    let document = Document::open(std::fs::read(from)?)?;
    let mut painter = document.painter(&Fonts::default());
    let mut pages = Vec::new();
    for index in 0..document.page_count() {
        let (width, height) = document.page_size(index);
        let shrink = (1728.0 / (width * 204.0 / 72.0)).min(16_000.0 / (height * lines / 72.0)).min(1.0);
        let pixels = |points: f64, dpi: f64| ((points * dpi * shrink / 72.0).round() as u32).clamp(1, 16_384);
        let (width, height) = (pixels(width, 204.0), pixels(height, lines));
        let frame = Frame {
            sheet: (width, height),
            left: 0,
            width,
            height,
            turned: false,
            share: if lines < 150.0 { 0.2 } else { 0.37 },
        };
        let drawn = painter.draw(index, frame)?;
        if let Some(reason) = drawn.in_colour {
            println!("page {}: {reason}", index + 1);
        }
        pages.push(drawn.bits);
    }
    let resolution = if lines < 150.0 { Resolution::STANDARD } else { Resolution::FINE };
    let pages: Vec<TiffPage<'_>> = pages.iter().map(|page| TiffPage::new(page, resolution, Profile::F)).collect();
    std::fs::write(to, write_document(&pages)?)?;
    Ok(())
}
