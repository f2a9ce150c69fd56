//! SDP for fax: `m=audio` with G.711 and `m=image … udptl t38`.
//!
//! In: the body of an INVITE, a re-INVITE or an answer. Out: the m-lines we can use, and bodies of ours. A body that is
//! not SDP is an error; what we do not know in it is skipped. Attribute names are read without regard to case, booleans
//! with and without a value, as both are met. Standards: RFC 4566 (grammar), RFC 3264 (offer and answer), T.38 Annex D.

use std::net::{IpAddr, SocketAddr};

use crate::call::AudioTarget;
use crate::media::T38Target;

mod local;

pub(crate) use local::{Chosen, LocalSession, T38Limits};

/// Octets of a body: far above any real one, far below what could hurt.
const BODY_MAX: usize = 16 * 1024;
/// m-lines in a body.
const MEDIA_MAX: usize = 16;
/// Lines in a body.
const LINES_MAX: usize = 512;
/// UDPTL packet size that we assume when the far end names none: what most gateways take.
const DATAGRAM_DEFAULT: usize = 400;
/// More than this never fits into one Ethernet frame with its headers.
const DATAGRAM_MAX: usize = 1400;
/// Redundant packets that we send along when the far end reads them.
const REDUNDANCY: usize = 3;
/// Session attribute by which two ends of ours agree to tick in lock-step. No other implementation knows or sends it.
const LOCK_STEP: &str = "X-faxwell-pace:lockstep";

/// Why a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdpError {
    #[error("the SDP is larger than {BODY_MAX} octets or {LINES_MAX} lines")]
    TooLarge,
    #[error("the SDP has more than {MEDIA_MAX} m-lines")]
    TooManyMedia,
    #[error("the body is no SDP (no v=0 line)")]
    NoSdp,
    #[error("the SDP has no usable m-line ({0})")]
    NoMedia(&'static str),
}

/// One session description of the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    media: Vec<Media>,
    /// Whether the far end speaks lock-step.
    pub(crate) lock_step: bool,
}

/// One m-line. `port` is 0 when the far end rejects or withdraws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    /// First three fields and formats as they came, for an answer that rejects the line.
    kind_word: String,
    protocol: String,
    formats: Vec<String>,
    port: u16,
    ip: Option<IpAddr>,
    t38: T38Attributes,
}

/// `a=T38…` of one m-line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct T38Attributes {
    pub(crate) version: Option<u8>,
    pub(crate) max_bit_rate: Option<u32>,
    pub(crate) fill_bit_removal: bool,
    pub(crate) transcoding_mmr: bool,
    pub(crate) transcoding_jbig: bool,
    pub(crate) max_buffer: Option<u32>,
    pub(crate) max_datagram: Option<usize>,
    pub(crate) error_correction: ErrorCorrection,
}

/// `a=T38FaxUdpEC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ErrorCorrection {
    /// Not said; T.38 Annex D takes redundancy for granted.
    #[default]
    Unsaid,
    None,
    Redundancy,
    Fec,
}

impl Remote {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > BODY_MAX {
            return Err(SdpError::TooLarge);
        }
        let text = String::from_utf8_lossy(body);
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty());
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(SdpError::NoSdp);
        }
        let mut remote = Self { media: Vec::new(), lock_step: false };
        let mut session_ip = None;
        for (count, line) in lines.enumerate() {
            if count >= LINES_MAX {
                return Err(SdpError::TooLarge);
            }
            match line.split_once('=') {
                Some(("c", value)) => match remote.media.last_mut() {
                    Some(media) => media.ip = connection(value),
                    None => session_ip = connection(value),
                },
                Some(("m", value)) => {
                    if remote.media.len() == MEDIA_MAX {
                        return Err(SdpError::TooManyMedia);
                    }
                    remote.media.extend(Media::parse(value, session_ip));
                }
                Some(("a", value)) => {
                    remote.lock_step |= value.trim().eq_ignore_ascii_case(LOCK_STEP);
                    if let Some(media) = remote.media.last_mut() {
                        media.t38.read(value);
                    }
                }
                _ => {}
            }
        }
        Ok(remote)
    }

    /// The first m-line with G.711 that is open.
    pub(crate) fn audio(&self) -> Option<(usize, AudioTarget)> {
        self.media.iter().enumerate().find_map(|(index, media)| Some((index, media.audio()?)))
    }

    /// The first m-line with T.38 over UDPTL that is open.
    pub(crate) fn image(&self) -> Option<(usize, &Media)> {
        self.media.iter().enumerate().find(|(_, media)| media.is_image() && media.target().is_some())
    }

    /// The audio of an answer, or why there is none.
    pub(crate) fn expect_audio(&self) -> Result<AudioTarget, SdpError> {
        self.audio().map(|(_, target)| target).ok_or(SdpError::NoMedia("expected m=audio with PCMU or PCMA"))
    }
}

impl Media {
    /// `audio 4000 RTP/AVP 0 8`. None for what is no m-line at all.
    fn parse(value: &str, session_ip: Option<IpAddr>) -> Option<Self> {
        let mut fields = value.split_whitespace().map(str::to_owned);
        let kind_word = fields.next()?;
        // RFC 4566 §5.14: the port may be followed by a count of ports.
        let port = fields.next()?.split('/').next()?.parse().ok()?;
        let protocol = fields.next()?;
        let formats = fields.collect();
        Some(Self { kind_word, protocol, formats, port, ip: session_ip, t38: T38Attributes::default() })
    }

    fn target(&self) -> Option<SocketAddr> {
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        Some(SocketAddr::new(self.ip.filter(usable)?, self.port)).filter(|_| self.port != 0)
    }

    fn audio(&self) -> Option<AudioTarget> {
        let plain = self.kind_word.eq_ignore_ascii_case("audio") && self.protocol.eq_ignore_ascii_case("RTP/AVP");
        // RFC 3551 §6: the static payload types of PCMU and PCMA. The first one listed is preferred (RFC 3264 §5.1).
        let law = self.formats.iter().find_map(|format| match format.as_str() {
            "0" => Some(false),
            "8" => Some(true),
            _ => None,
        })?;
        let remote = self.target().filter(|_| plain)?;
        Some(AudioTarget { remote, a_law: law })
    }

    fn is_image(&self) -> bool {
        self.kind_word.eq_ignore_ascii_case("image")
            && self.protocol.eq_ignore_ascii_case("udptl")
            && self.formats.iter().any(|format| format.eq_ignore_ascii_case("t38"))
    }

    /// What the media side needs to run T.38 towards this m-line. `datagram` overrides the far end's word on its packets.
    pub(crate) fn t38_target(&self, limits: &T38Limits, datagram: Option<usize>) -> Option<T38Target> {
        let redundancy = match self.t38.error_correction {
            ErrorCorrection::None => 0,
            ErrorCorrection::Unsaid | ErrorCorrection::Redundancy | ErrorCorrection::Fec => REDUNDANCY,
        };
        let max_datagram = datagram.or(self.t38.max_datagram).unwrap_or(DATAGRAM_DEFAULT).min(DATAGRAM_MAX);
        let version = self.t38.version.unwrap_or(0).min(limits.version);
        Some(T38Target { remote: self.target()?, version, max_datagram, redundancy })
    }
}

impl T38Attributes {
    /// One attribute, as in `T38FaxVersion:0` or `T38FaxFillBitRemoval`.
    fn read(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        // A boolean is true by its presence (T.38 Annex D.2.3), but some write :0 and :1.
        let said = value != "0";
        match name.trim().to_ascii_lowercase().as_str() {
            "t38faxversion" => self.version = value.parse().ok(),
            "t38maxbitrate" | "t38faxmaxbitrate" => self.max_bit_rate = value.parse().ok(),
            "t38faxfillbitremoval" => self.fill_bit_removal = said,
            "t38faxtranscodingmmr" => self.transcoding_mmr = said,
            "t38faxtranscodingjbig" => self.transcoding_jbig = said,
            "t38faxmaxbuffer" => self.max_buffer = value.parse().ok(),
            // Zero is met where the field was never filled in.
            "t38faxmaxdatagram" => self.max_datagram = value.parse().ok().filter(|size| *size > 0),
            "t38faxudpec" => {
                self.error_correction = match value.to_ascii_lowercase().as_str() {
                    "t38udpnoec" => ErrorCorrection::None,
                    "t38udpredundancy" => ErrorCorrection::Redundancy,
                    "t38udpfec" => ErrorCorrection::Fec,
                    _ => ErrorCorrection::Unsaid,
                }
            }
            _ => {}
        }
    }
}

/// `IN IP4 10.0.0.1` or `IN IP6 2001:db8::1`; none for host names, which we do not look up.
fn connection(value: &str) -> Option<IpAddr> {
    let mut fields = value.split_whitespace();
    let network = fields.next()?;
    let family = fields.next()?;
    // RFC 4566 §5.7: a multicast address carries a TTL after a slash.
    let ip: IpAddr = fields.next()?.split('/').next()?.parse().ok()?;
    let matches = match ip {
        IpAddr::V4(_) => family.eq_ignore_ascii_case("IP4"),
        IpAddr::V6(_) => family.eq_ignore_ascii_case("IP6"),
    };
    Some(ip).filter(|_| matches && network.eq_ignore_ascii_case("IN"))
}

#[cfg(test)]
mod tests;
