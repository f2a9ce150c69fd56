//! A mail made of a text and files, as `send`, `preview` and the demo give it to the gateway.

use std::path::PathBuf;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::text::Text;

use super::exit::{Exit, Failed};
use crate::domain::Timestamp;

/// What the mail says.
#[derive(Debug, Clone, Default)]
pub(super) struct Letter {
    /// Addresses of the faxes.
    pub(super) to: Vec<String>,
    /// Address of the sender.
    pub(super) from: String,
    /// Its subject.
    pub(super) subject: String,
    /// Its text.
    pub(super) text: Option<String>,
    /// Name, media type and octets of each file.
    pub(super) files: Vec<(String, String, Vec<u8>)>,
    /// `X-Fax-…` fields.
    pub(super) directives: Vec<(&'static str, String)>,
}

/// Most files of one mail.
const FILES_MAX: usize = 100;

/// Reads the files; what cannot be read is an error before anything is sent.
pub(super) fn read_files(paths: &[PathBuf]) -> Result<Vec<(String, String, Vec<u8>)>, Failed> {
    if paths.len() > FILES_MAX {
        return Err(Failed::new(
            Exit::Usage,
            "too many files",
            format!("{} files; {FILES_MAX} is the most", paths.len()),
            "send them in parts",
        ));
    }
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|error| {
            Failed::new(
                Exit::Usage,
                format!("cannot read {}", path.display()),
                error.to_string(),
                "name a file that you may read",
            )
        })?;
        let name = path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
        let media = media_of(&name, &bytes);
        Ok((name, media.to_owned(), bytes))
    };
    paths.iter().map(read).collect()
}

/// What a file's name says; the gateway looks at the content itself.
fn media_of(name: &str, bytes: &[u8]) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "tif" | "tiff" => "image/tiff",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "htm" | "html" => "text/html; charset=utf-8",
        _ if std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0) => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

impl Letter {
    /// The mail's octets. The same letter with the same date and id gives the same octets but for MIME boundaries.
    pub(super) fn mail(&self, date: Timestamp, message_id: &str) -> Result<Vec<u8>, Failed> {
        let to: Vec<Address<'_>> =
            self.to.iter().map(|address| Address::new_address(None::<&str>, address.as_str())).collect();
        let mut builder = MessageBuilder::new()
            .from(Address::new_address(None::<&str>, self.from.as_str()))
            .to(Address::new_list(to))
            .subject(one_line(&self.subject))
            .date(date.0 / 1000)
            .message_id(message_id.to_owned())
            .header("User-Agent", Text::new(concat!("faxwell/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &self.directives {
            builder = builder.header(*name, Text::new(one_line(value)));
        }
        if let Some(text) = &self.text {
            builder = builder.text_body(text.as_str());
        }
        for (name, media, bytes) in &self.files {
            builder = builder.attachment(media.as_str(), one_line(name), bytes.as_slice());
        }
        builder.write_to_vec().map_err(|error| {
            Failed::new(Exit::Failed, "cannot make the mail", error.to_string(), "send fewer or smaller files")
        })
    }
}

/// Header fields are one line, whatever somebody passes on the command line (RFC 5322 §2.2).
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
