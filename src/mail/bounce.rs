//! Return addresses of mails that carry received faxes: one for each notice, so that a mail that comes back names itself.
//!
//! `bounce+NOTICE.DAY.MAC@domain`: the notice's id, the day it was sent (days since 1970, hexadecimal) and a MAC over both.
//! Nobody can make a fax look returned who has not seen its mail, and nobody can do so two weeks later. 61 octets of 64
//! (RFC 5321 §4.5.3.1.1); hexadecimal digits survive hosts that change the case.

use std::fmt;
use std::io::{self, Read as _};

use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::build::MailAddress;
use super::order_address::OrderAddresses;
use crate::domain::{NoticeId, Timestamp};

/// What the store calls the key: every node of a gateway reads what any other has sent.
pub const KEY_NAME: &str = "return-addresses";
const KEY_BYTES: usize = 32;
/// 64 bits: each guess costs a connection.
const MAC_BYTES: usize = 8;
const MARK: &str = "bounce+";
/// RFC 5321 §4.5.4.1 lets hosts try for five days; what comes back later than this is no bounce of ours.
const DAYS_MAX: u32 = 14;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// SHA-256 works on blocks of so many octets.
const BLOCK_BYTES: usize = 64;

/// What makes return addresses unforgeable. Every node of a gateway has the same one.
#[derive(Clone)]
pub struct BounceKey([u8; KEY_BYTES]);

impl fmt::Debug for BounceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BounceKey(…)")
    }
}

impl BounceKey {
    /// A key from elsewhere.
    pub fn new(octets: [u8; KEY_BYTES]) -> Self {
        Self(octets)
    }

    /// A new one.
    ///
    /// # Errors
    /// When the system has no random octets.
    pub fn fresh() -> io::Result<Self> {
        let mut octets = [0; KEY_BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
        Ok(Self(octets))
    }

    /// What [`Self::read`] takes.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The key of these octets; none when they are something else.
    pub fn read(octets: &[u8]) -> Option<Self> {
        octets.try_into().map(Self).ok()
    }

    /// RFC 2104 with SHA-256.
    pub(super) fn mac(&self, text: &[u8]) -> [u8; KEY_BYTES] {
        let block = |mask: u8| {
            let mut block = [mask; BLOCK_BYTES];
            block.iter_mut().zip(self.0).for_each(|(octet, key)| *octet ^= key);
            block
        };
        let inner = Sha256::new().chain_update(block(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(block(0x5c)).chain_update(inner).finalize().into()
    }
}

/// Makes return addresses and reads them.
#[derive(Debug, Clone)]
pub struct ReturnPaths {
    key: BounceKey,
    domain: String,
}

/// Why a return address is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It was not made here.
    #[error("this return address was not made here")]
    Forged,
    /// Its mail was sent too long ago.
    #[error("this return address has expired after {DAYS_MAX} days")]
    Expired,
}

impl ReturnPaths {
    /// For the gateway's domain.
    pub fn new(key: BounceKey, domain: &str) -> Self {
        Self { key, domain: domain.to_owned() }
    }

    /// Addresses for orders, with the same key.
    pub fn orders(&self) -> OrderAddresses {
        OrderAddresses::new(self.key.clone(), &self.domain)
    }

    /// Where the mail of a notice that leaves now comes back to. None when the domain cannot be in an address.
    pub fn address(&self, notice: NoticeId, now: Timestamp) -> Option<MailAddress> {
        let day = day(now);
        let mac = HEXLOWER_PERMISSIVE.encode(&self.tag(notice, day));
        MailAddress::parse(&format!("{MARK}{}.{day:04x}.{mac}@{}", notice.0.simple(), self.domain))
    }

    /// The notice whose mail comes back to this address; none when it is no return address at all.
    ///
    /// # Errors
    /// [`NotOurs`] for what looks like a return address and is not to be trusted.
    pub fn read(&self, address: &str, now: Timestamp) -> Result<Option<NoticeId>, NotOurs> {
        let Some((local, domain)) = address.rsplit_once('@') else { return Ok(None) };
        let ours = domain.eq_ignore_ascii_case(&self.domain);
        let Some(token) = local.get(MARK.len()..).filter(|_| ours && local[..MARK.len()].eq_ignore_ascii_case(MARK))
        else {
            return Ok(None);
        };
        let (notice, sent, mac) = pieces(token).ok_or(NotOurs::Forged)?;
        // Every octet is looked at: how long it takes must not tell how many were right.
        let differs = self.tag(notice, sent).iter().zip(&mac).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 || mac.len() != MAC_BYTES {
            return Err(NotOurs::Forged);
        }
        if day(now).saturating_sub(sent) > DAYS_MAX { Err(NotOurs::Expired) } else { Ok(Some(notice)) }
    }

    fn tag(&self, notice: NoticeId, day: u32) -> [u8; MAC_BYTES] {
        let mac = self.key.mac(format!("{}.{day:04x}", notice.0.simple()).as_bytes());
        std::array::from_fn(|index| mac[index])
    }
}

fn pieces(token: &str) -> Option<(NoticeId, u32, Vec<u8>)> {
    let mut pieces = token.split('.');
    let (notice, day, mac) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let notice = Uuid::try_parse(notice).ok().filter(|_| pieces.next().is_none())?;
    Some((NoticeId(notice), u32::from_str_radix(day, 16).ok()?, HEXLOWER_PERMISSIVE.decode(mac.as_bytes()).ok()?))
}

fn day(now: Timestamp) -> u32 {
    u32::try_from(now.0.div_euclid(DAY_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_341_600_000);

    fn paths(key: u8) -> ReturnPaths {
        ReturnPaths::new(BounceKey::new([key; KEY_BYTES]), "fax.test")
    }

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231 §4.2 and §4.3, whose keys are shorter: RFC 2104 fills keys with zeros, so a filled one is the same.
        for (key, text, begin) in [
            (&[0x0b; 20][..], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
            (b"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c7"),
        ] {
            let mut filled = [0; KEY_BYTES];
            filled[..key.len()].copy_from_slice(key);
            let mac = HEXLOWER_PERMISSIVE.encode(&BounceKey::new(filled).mac(text.as_bytes()));
            assert!(mac.starts_with(begin), "{mac}");
        }
    }

    #[test]
    fn an_address_names_its_notice_for_two_weeks_and_fits_a_local_part() {
        let notice = NoticeId::new();
        let address = paths(1).address(notice, NOW).unwrap();
        assert_eq!(address.local().len(), 61);
        for text in [address.as_str().to_owned(), address.as_str().to_uppercase()] {
            assert_eq!(paths(1).read(&text, NOW), Ok(Some(notice)), "{text}");
        }
        let after = |days: i64| Timestamp(NOW.0 + days * DAY_MS);
        assert_eq!(paths(1).read(address.as_str(), after(14)), Ok(Some(notice)));
        assert_eq!(paths(1).read(address.as_str(), after(15)), Err(NotOurs::Expired));
    }

    #[test]
    fn what_was_changed_or_made_elsewhere_is_not_taken() {
        let address = paths(1).address(NoticeId::new(), NOW).unwrap().as_str().to_owned();
        assert_eq!(paths(2).read(&address, NOW), Err(NotOurs::Forged), "another key");
        let (local, domain) = address.split_once('@').unwrap();
        for at in MARK.len()..local.len() {
            let mut octets = local.as_bytes().to_vec();
            octets[at] = if octets[at] == b'0' { b'1' } else { b'0' };
            let changed = format!("{}@{domain}", String::from_utf8(octets).unwrap());
            assert_eq!(paths(1).read(&changed, NOW), Err(NotOurs::Forged), "{changed}");
        }
        for short in ["bounce+@fax.test", "bounce+x.y.z@fax.test", &format!("{}@fax.test", &local[..local.len() - 2])] {
            assert_eq!(paths(1).read(short, NOW), Err(NotOurs::Forged), "{short}");
        }
        for other in ["+41441234567@fax.test", "bounce@fax.test", "ü@fax.test", "x", &format!("{local}@other.test")] {
            assert_eq!(paths(1).read(other, NOW), Ok(None), "{other}");
        }
    }

    #[test]
    fn a_fresh_key_is_another_one_each_time_and_reads_what_it_wrote() {
        let key = BounceKey::fresh().unwrap();
        assert_ne!(key.0, BounceKey::fresh().unwrap().0);
        assert_eq!(BounceKey::read(key.octets()).unwrap().0, key.0);
        assert!(BounceKey::read(&[1; 16]).is_none());
    }
}
