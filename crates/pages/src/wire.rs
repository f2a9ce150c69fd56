//! Frames on the pipes between the gateway and its converter process.
//!
//! A frame is: length of the header (u32), number of blobs (u32), length of each blob (u64), all big-endian; then the
//! header as JSON, then the blobs. One request frame goes in; any number of [`Answer`] frames come out, the last one
//! being `Done` or `Failed`. A frame that promises more octets than the reader allows is an error before anything is
//! allocated.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::order::{Bound, ConvertError, CoverFields, HeaderLine, Paper, Part, Quality, Text};

/// Most blobs in a frame: more attachments than any mail that the gateway accepts.
const BLOBS_MAX: u32 = 4096;
/// Longest header: the text of a mail goes into it.
const HEADER_MAX_BYTES: u32 = 128 << 20;

/// The first frame: what the process may take. It locks itself up by it and says so.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "setup", rename_all = "snake_case")]
pub(crate) enum Setup {
    /// Documents become pages in it.
    Documents {
        memory_bytes: u64,
        /// Processor time of one request.
        cpu_s: u64,
        /// Most requests of the process.
        requests_max: u32,
    },
    /// It stands between the gateway and LibreOffice: each frame that follows is an [`crate::office::jail::OfficeJob`].
    Office {
        /// Of each process of LibreOffice.
        memory_bytes: u64,
        /// Folder of `soffice.bin`.
        program: String,
    },
    /// It stands between the gateway and libheif's program, for one picture.
    Heif { memory_bytes: u64 },
}

/// A request. Its blobs are the parts' octets, or the one document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub job: Job,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub(crate) enum Job {
    Convert {
        paper: Paper,
        quality: Quality,
        max_pages: u32,
        body: Option<Text>,
        /// Content-IDs and names of the pictures of the text: the first blobs.
        inline: Vec<(String, String)>,
        parts: Vec<PartHeader>,
    },
    Finish {
        paper: Paper,
        quality: Quality,
        max_pages: u32,
        cover: Option<Box<CoverFields>>,
        header: Option<HeaderLine>,
    },
    Restamp {
        page: u32,
        header: HeaderLine,
    },
    Thumbnail {
        page: u32,
        width_px: u32,
    },
    Bind {
        form: Bound,
    },
    /// The archive is the only blob; its files come back as [`PartHeader`]s and blobs in a frame of their own.
    Unpack {
        name: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartHeader {
    pub name: String,
    pub media: String,
    pub charset: Option<String>,
}

impl PartHeader {
    pub(crate) fn split(part: Part) -> (Self, Vec<u8>) {
        (Self { name: part.name, media: part.media, charset: part.charset }, part.bytes)
    }

    pub(crate) fn with(self, bytes: Vec<u8>) -> Part {
        Part { name: self.name, media: self.media, charset: self.charset, bytes }
    }
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It has locked itself up; `open` says what could not be locked.
    Locked { open: Option<String> },
    /// It begins with this part: a crash from here on is its fault.
    Working { part: String },
    /// Finished; the result is the only blob.
    Done {
        pages: Vec<String>,
        notes: Vec<String>,
        #[serde(default)]
        in_colour: u32,
        #[serde(default)]
        drawn_by: Vec<String>,
    },
    /// Not possible.
    Failed { error: ConvertError },
}

pub(crate) fn encode(header: &impl Serialize, blobs: &[&[u8]]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(header)?;
    let too_much = || io::Error::new(io::ErrorKind::InvalidInput, "the frame is too large");
    let json_len = u32::try_from(json.len()).ok().filter(|n| *n <= HEADER_MAX_BYTES).ok_or_else(too_much)?;
    let count = u32::try_from(blobs.len()).ok().filter(|n| *n <= BLOBS_MAX).ok_or_else(too_much)?;
    let mut frame = Vec::with_capacity(8 + json.len() + blobs.iter().map(|b| b.len() + 8).sum::<usize>());
    frame.extend_from_slice(&json_len.to_be_bytes());
    frame.extend_from_slice(&count.to_be_bytes());
    for blob in blobs {
        frame.extend_from_slice(&(blob.len() as u64).to_be_bytes());
    }
    frame.extend_from_slice(&json);
    for blob in blobs {
        frame.extend_from_slice(blob);
    }
    Ok(frame)
}

pub(crate) fn write(to: &mut impl Write, header: &impl Serialize, blobs: &[&[u8]]) -> io::Result<()> {
    to.write_all(&encode(header, blobs)?)?;
    to.flush()
}

pub(crate) fn read<H: DeserializeOwned>(from: &mut impl Read, bytes_max: u64) -> io::Result<(H, Vec<Vec<u8>>)> {
    let mut start = [0; 8];
    from.read_exact(&mut start)?;
    let (json_len, count) = lengths(start, bytes_max)?;
    let mut sizes = vec![0; count * 8];
    from.read_exact(&mut sizes)?;
    let sizes = blob_lengths(&sizes, json_len, bytes_max)?;
    let mut json = vec![0; json_len];
    from.read_exact(&mut json)?;
    let mut blobs = Vec::with_capacity(count);
    for size in sizes {
        let mut blob = vec![0; size];
        from.read_exact(&mut blob)?;
        blobs.push(blob);
    }
    Ok((header(&json)?, blobs))
}

/// None at a clean end of the stream.
pub(crate) async fn read_async<H: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: u64,
) -> io::Result<Option<(H, Vec<Vec<u8>>)>> {
    let mut start = [0; 8];
    match from.read_exact(&mut start).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let (json_len, count) = lengths(start, bytes_max)?;
    let mut sizes = vec![0; count * 8];
    from.read_exact(&mut sizes).await?;
    let sizes = blob_lengths(&sizes, json_len, bytes_max)?;
    let mut json = vec![0; json_len];
    from.read_exact(&mut json).await?;
    let mut blobs = Vec::with_capacity(count);
    for size in sizes {
        let mut blob = vec![0; size];
        from.read_exact(&mut blob).await?;
        blobs.push(blob);
    }
    Ok(Some((header(&json)?, blobs)))
}

/// What is no header is invalid data, never the end of the stream, as JSON that is cut off would be.
fn header<H: DeserializeOwned>(json: &[u8]) -> io::Result<H> {
    serde_json::from_slice(json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn lengths(start: [u8; 8], bytes_max: u64) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = start;
    let (json, count) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if json > HEADER_MAX_BYTES || u64::from(json) > bytes_max || count > BLOBS_MAX {
        return Err(too_large());
    }
    Ok((json as usize, count as usize))
}

fn blob_lengths(sizes: &[u8], json_len: usize, bytes_max: u64) -> io::Result<Vec<usize>> {
    let mut sum = json_len as u64;
    sizes
        .chunks_exact(8)
        .map(|chunk| {
            let size = chunk.iter().fold(0_u64, |n, octet| n << 8 | u64::from(*octet));
            sum = sum.checked_add(size).filter(|sum| *sum <= bytes_max).ok_or_else(too_large)?;
            usize::try_from(size).map_err(|_| too_large())
        })
        .collect()
}

/// The kind by which [`read`] says that a frame is larger than allowed.
pub(crate) const TOO_LARGE: io::ErrorKind = io::ErrorKind::FileTooLarge;

fn too_large() -> io::Error {
    io::Error::new(TOO_LARGE, "the frame is larger than allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back() {
        let frame = encode(&Answer::Working { part: "a.pdf".into() }, &[b"one", b"", b"three"]).unwrap();
        let (answer, blobs) = read::<Answer>(&mut frame.as_slice(), 1000).unwrap();
        assert!(matches!(answer, Answer::Working { part } if part == "a.pdf"));
        assert_eq!(blobs, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn a_frame_that_promises_too_much_is_refused_before_it_is_read() {
        let frame = encode(&Answer::Locked { open: None }, &[&[0; 500]]).unwrap();
        assert_eq!(read::<Answer>(&mut frame.as_slice(), 400).unwrap_err().kind(), TOO_LARGE);
        let huge = [[0xff; 8], [0xff; 8]].concat();
        assert_eq!(read::<Answer>(&mut huge.as_slice(), u64::MAX).unwrap_err().kind(), TOO_LARGE);
        let mut overflow = [0, 0, 0, 2, 0, 0, 0, 2].to_vec();
        overflow.extend([0xff; 16]);
        assert_eq!(read::<Answer>(&mut overflow.as_slice(), u64::MAX).unwrap_err().kind(), TOO_LARGE);
    }
}
