//! Pictures in HEIC and AVIF, as telephones take them: decoded by libheif's own program, in a sandbox as LibreOffice has it.
//!
//! Its decoders are large, in C++ and fed by strangers: nothing of them is linked here. A process for each picture.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::jailed::{Jailed, Terms};
use super::suite::sandbox_works;
use crate::order::Result;
use crate::wire::Setup;

/// Where Debian's package `libheif-examples` puts it.
pub(super) const PROGRAM: &str = "/usr/bin/heif-convert";
/// 48 million pixels, decoded and on their way to a JPEG.
const MEMORY_BYTES: u64 = 2 << 30;

/// libheif's program, found and tried.
#[derive(Debug, Clone, Copy)]
pub struct Heif(());

/// One picture.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeifJob {}

impl Heif {
    /// Whether it is installed and a sandbox can be made here: what is missing and how to get it, for people.
    pub async fn find() -> std::result::Result<Self, String> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is not there; fix: install libheif-examples and bubblewrap"));
        }
        sandbox_works("/usr").await.map(|()| Self(()))
    }

    /// The picture as JPEG: the first one of several.
    pub(crate) async fn to_jpeg(self, document: &[u8], terms: &Terms<'_>) -> Result<Vec<u8>> {
        let mut process = Jailed::start("heif-convert", &Setup::Heif { memory_bytes: MEMORY_BYTES }, terms).await?;
        process.ask(&HeifJob {}, document, terms).await.unwrap_or_else(|| Err(process.crashed()))
    }
}
