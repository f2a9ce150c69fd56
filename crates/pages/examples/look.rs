//! What documents become: `cargo run -p pages --example look -- OUT_DIR QUALITY FILE…` writes `fax.tif` and a PNG of each
//! page. The converter process is the crate's own test binary: build it first (`cargo build -p pages`).

use std::path::PathBuf;
use std::time::Instant;

use pages::{
    ConvertOrder, Converter, CoverFields, FinishOrder, Formats, HeaderLine, Limits, Part, Quality, Suite,
    SuiteSettings, Text, ZipPolicy,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let out = PathBuf::from(args.next().ok_or("OUT_DIR is missing")?);
    std::fs::create_dir_all(&out)?;
    let quality = match args.next().as_deref() {
        Some("standard") => Quality::Standard,
        Some("superfine") => Quality::Superfine,
        _ => Quality::Fine,
    };
    let worker = std::env::current_exe()?.with_file_name("../pages-worker");
    let program = PathBuf::from("/usr/lib/libreoffice/program");
    let suite = Suite::new(SuiteSettings { program, documents_max: 20, memory_bytes: 2 << 30 });
    let suite = suite.check().await.map(|()| suite);
    let formats = Formats { zip: ZipPolicy::Render, suite: Some(suite), ..Formats::default() };
    let converter = Converter::new(worker, Vec::new(), Limits::default()).with_formats(formats);
    let mut parts = Vec::new();
    for file in args {
        let path = PathBuf::from(&file);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        parts.push(Part { name, media: String::new(), charset: None, bytes: std::fs::read(path)? });
    }
    let begin = Instant::now();
    let order = ConvertOrder { quality, max_pages: 200, parts, ..ConvertOrder::default() };
    let document = match converter.convert(order).await {
        Ok(converted) => {
            println!(
                "{} pages, {} octets, {:?} {:?}",
                converted.page_count(),
                converted.bytes.len(),
                begin.elapsed(),
                converted.notes
            );
            converted.bytes
        }
        Err(error) => {
            println!("{:?}: {error} ({:?})\n{}", error.kind, begin.elapsed(), error.log);
            return Ok(());
        }
    };
    let begin = Instant::now();
    let order = FinishOrder {
        quality,
        max_pages: 201,
        document: Some(document),
        cover: Some(cover()),
        header: Some(header()),
        ..FinishOrder::default()
    };
    let finished = match converter.finish(order).await {
        Ok(finished) => finished,
        Err(error) => {
            println!("finish: {:?}: {error}\n{}", error.kind, error.log);
            return Ok(());
        }
    };
    println!("finished {} pages, {} octets, {:?}", finished.page_count(), finished.bytes.len(), begin.elapsed());
    std::fs::write(out.join("fax.tif"), &finished.bytes)?;
    for page in 1..=finished.page_count().min(8) {
        let png = converter.thumbnail(finished.bytes.clone(), page, 1728).await?;
        std::fs::write(out.join(format!("page-{page}.png")), png)?;
    }
    Ok(())
}

fn cover() -> CoverFields {
    CoverFields {
        template: "plain".to_owned(),
        source: None,
        to_name: Some("Anna Meier".to_owned()),
        to_company: Some("Meier & Söhne AG, 株式会社".to_owned()),
        to_number: "+41 44 123 45 67".to_owned(),
        from_name: Some("Erika Mustermann".to_owned()),
        from_company: Some("Contoso Ltd".to_owned()),
        from_address: Some("erika@contoso.example".to_owned()),
        from_number: Some("+1 214 555 0100".to_owned()),
        subject: "Offer 4711: Καλημέρα, Привет, שלום, مرحبا, नमस्ते, สวัสดี".to_owned(),
        date: "22 November 2026, 04:31 +0100".to_owned(),
        reference: Some("4711".to_owned()),
        note: Some(Text::Plain("Dear Anna,\n\nplease find our offer attached. The price is valid until the end of the year.\n\nKind regards\nErika Mustermann".to_owned())),
        footer: "Sent by fax.contoso.example. If pages are missing, please call +1 214 555 0199.".to_owned(),
    }
}

fn header() -> HeaderLine {
    HeaderLine {
        remark: String::new(),
        date: "2026-11-22 04:31 +0100".to_owned(),
        sender: "Contoso Ltd".to_owned(),
        sender_number: "+1 214 555 0100".to_owned(),
        to_number: "+41441234567".to_owned(),
    }
}
