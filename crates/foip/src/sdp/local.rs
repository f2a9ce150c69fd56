//! The session descriptions that we send.
//!
//! A [`LocalSession`] writes offers and answers of one call. The version of its o= line rises by one when the
//! description changes and stays when it does not (RFC 3264 §8), so that a session refresh during T.38 gets back what it
//! got before, octet by octet.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{LOCK_STEP, Media, Remote};

/// T.38 in our offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct T38Limits {
    /// 0 to 3.
    pub(crate) version: u8,
    /// 2400 to 14400.
    pub(crate) max_rate_bps: u32,
}

/// T38FaxMaxBuffer that we name: octets we can hold.
const BUFFER: u32 = 2000;
/// T38FaxMaxDatagram that we name: octets of a UDPTL packet that we take without harm on any path.
const DATAGRAM: usize = 400;

/// Which m-line of an offer we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// G.711 with this law, at this m-line.
    Audio {
        /// Index of the m-line.
        line: usize,
        /// PCMA instead of PCMU.
        a_law: bool,
    },
    /// T.38 at this m-line.
    Image {
        /// Index of the m-line.
        line: usize,
    },
}

/// Our side of one call's session.
#[derive(Debug, Clone)]
pub(crate) struct LocalSession {
    media: SocketAddr,
    id: u64,
    version: u64,
    lock_step: bool,
    limits: T38Limits,
    last: Option<String>,
}

impl LocalSession {
    /// `media` is where we take RTP and UDPTL, as the far end shall see it; `id` tells calls apart.
    pub(crate) fn new(media: SocketAddr, id: u64, limits: T38Limits) -> Self {
        Self { media, id, version: 0, lock_step: false, limits, last: None }
    }

    /// From here on our descriptions say that we can tick in lock-step.
    pub(crate) fn with_lock_step(mut self, lock_step: bool) -> Self {
        self.lock_step = lock_step;
        self
    }

    /// What T.38 may be on our side.
    pub(crate) fn limits(&self) -> &T38Limits {
        &self.limits
    }

    /// The description sent last.
    pub(crate) fn current(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// An offer of G.711 in both laws.
    pub(crate) fn offer_audio(&mut self) -> String {
        let port = self.media.port();
        self.settle(&format!("m=audio {port} RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n{AUDIO}"))
    }

    /// An offer of T.38 alone.
    pub(crate) fn offer_image(&mut self) -> String {
        let limits = self.limits;
        let media = image(self.media.port(), "udptl", limits.version, limits.max_rate_bps, BUFFER, DATAGRAM, true);
        self.settle(&media)
    }

    /// An answer: the chosen m-line open, all others with port 0, in the order of the offer (RFC 3264 §6).
    pub(crate) fn answer(&mut self, offer: &Remote, chosen: Chosen) -> String {
        let mut media = String::new();
        for (index, line) in offer.media.iter().enumerate() {
            match chosen {
                Chosen::Audio { line, a_law } if line == index => media.push_str(&audio(self.media.port(), a_law)),
                Chosen::Image { line: at } if at == index => media.push_str(&self.image_answer(line)),
                _ => {
                    let formats = line.formats.join(" ");
                    let formats = if formats.is_empty() { "0" } else { formats.as_str() };
                    // Writing to a String cannot fail.
                    let _ = write!(media, "m={} 0 {} {formats}\r\n", line.kind_word, line.protocol);
                }
            }
        }
        self.settle(&media)
    }

    /// T.38 Annex D.2.3: an answer declares nothing larger than the offer.
    fn image_answer(&self, offer: &Media) -> String {
        let t38 = &offer.t38;
        let version = t38.version.unwrap_or(0).min(self.limits.version);
        let rate = t38.max_bit_rate.unwrap_or(u32::MAX).min(self.limits.max_rate_bps);
        let buffer = t38.max_buffer.unwrap_or(BUFFER).min(BUFFER);
        let datagram = t38.max_datagram.unwrap_or(DATAGRAM).min(DATAGRAM);
        let corrects = t38.error_correction != super::ErrorCorrection::None;
        image(self.media.port(), &offer.protocol, version, rate, buffer, datagram, corrects)
    }

    /// Puts the session part before the media part; the version counts changes.
    fn settle(&mut self, media: &str) -> String {
        if let Some(last) = &self.last
            && *last == self.write(media)
        {
            return last.clone();
        }
        self.version += 1;
        let text = self.write(media);
        self.last = Some(text.clone());
        text
    }

    fn write(&self, media: &str) -> String {
        let ip = self.media.ip();
        let family = match ip {
            IpAddr::V4(_) => "IP4",
            IpAddr::V6(_) => "IP6",
        };
        let pace = if self.lock_step { format!("a={LOCK_STEP}\r\n") } else { String::new() };
        format!(
            "v=0\r\no=- {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n{pace}{media}",
            self.id, self.version
        )
    }
}

/// Silence suppression and echo cancellation harm modems; the attribute is RFC 3108 §5.6.2.6's.
const AUDIO: &str = "a=ptime:20\r\na=sendrecv\r\na=silenceSupp:off - - - -\r\n";

fn audio(port: u16, a_law: bool) -> String {
    let (payload, name) = if a_law { (8, "PCMA") } else { (0, "PCMU") };
    format!("m=audio {port} RTP/AVP {payload}\r\na=rtpmap:{payload} {name}/8000\r\n{AUDIO}")
}

fn image(port: u16, protocol: &str, version: u8, rate: u32, buffer: u32, datagram: usize, corrects: bool) -> String {
    let correction = if corrects { "t38UDPRedundancy" } else { "t38UDPNoEC" };
    // Over UDPTL the TCF travels (transferredTCF); local generation is for TPKT (T.38 §8.1).
    format!(
        "m=image {port} {protocol} t38\r\na=T38FaxVersion:{version}\r\na=T38MaxBitRate:{rate}\r\n\
         a=T38FaxRateManagement:transferredTCF\r\na=T38FaxMaxBuffer:{buffer}\r\na=T38FaxMaxDatagram:{datagram}\r\n\
         a=T38FaxUdpEC:{correction}\r\n"
    )
}
