//! Which documents this machine turns into pages: the configuration, and whether LibreOffice and libheif are there.

use crate::config::{Config, OfficeChoice, ZipChoice};

/// What the configuration says alone: for a process that makes no pages and leaves the question to those that do.
pub(super) fn policy(config: &Config) -> pages::Formats {
    let wanted = &config.render.formats;
    let office = match wanted.office {
        OfficeChoice::LibreOffice => pages::OfficePolicy::LibreOffice,
        OfficeChoice::Off => pages::OfficePolicy::Off,
    };
    let zip = match wanted.zip {
        ZipChoice::Refuse => pages::ZipPolicy::Refuse,
        ZipChoice::List => pages::ZipPolicy::List,
        ZipChoice::Render => pages::ZipPolicy::Render,
    };
    pages::Formats { office, zip, suite: None, heif: None }
}

/// With a look at the machine.
pub(super) async fn find(config: &Config) -> pages::Formats {
    let (wanted, mut policy) = (&config.render.formats, policy(config));
    policy.heif = Some(pages::Heif::find().await);
    if let Some(Err(why)) = &policy.heif {
        tracing::info!(%why, "pictures in HEIC and AVIF are refused");
    }
    if policy.office == pages::OfficePolicy::Off {
        return policy;
    }
    let suite = pages::Suite::new(pages::SuiteSettings {
        program: wanted.libreoffice.clone(),
        documents_max: wanted.libreoffice_documents,
        memory_bytes: wanted.libreoffice_memory_bytes,
    });
    let suite = suite.check().await.map(|()| suite);
    match &suite {
        Ok(_) => tracing::info!(program = %wanted.libreoffice.display(), "LibreOffice is ready for office documents"),
        Err(why) => tracing::warn!(%why, "office documents are refused: there is no LibreOffice that can be used"),
    }
    pages::Formats { suite: Some(suite), ..policy }
}
