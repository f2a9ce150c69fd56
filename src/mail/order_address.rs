//! Addresses that carry an order: `retry+F-8KQ2XW4DZP.TOKEN@domain` and `cancel+…`, as reports name them.
//!
//! The token is the last day on which the order may be given (days since 1970, four hexadecimal digits) and a MAC over verb, fax and
//! day. Nobody can give an order who has not seen the report, and nobody a week after it. Who may give it is asked besides.

use data_encoding::HEXLOWER_PERMISSIVE;

use super::bounce::BounceKey;
use super::build::MailAddress;
use crate::domain::{ShortId, Timestamp};

/// 64 bits: each guess costs a connection.
const MAC_BYTES: usize = 8;
/// A report is read within days.
const DAYS: u32 = 7;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// What did not arrive is sent once more.
    Retry,
    /// It is not sent.
    Cancel,
}

impl Verb {
    /// What stands before the `+`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }
}

/// Why an order is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOrdered {
    /// It was not made here.
    #[error("this address was not made here; take the one of the newest report on the fax")]
    Forged,
    /// Its report is too old.
    #[error("this address has expired after {DAYS} days; ask the administrator, or send the document as a new fax")]
    Expired,
}

/// Makes these addresses and reads them.
#[derive(Debug, Clone)]
pub struct OrderAddresses {
    key: BounceKey,
    domain: String,
}

impl OrderAddresses {
    /// For the gateway's domain.
    pub fn new(key: BounceKey, domain: &str) -> Self {
        Self { key, domain: domain.to_owned() }
    }

    /// The address by which a fax is ordered, in a report of this time. None when the domain cannot be in an address.
    pub fn address(&self, verb: Verb, fax: &ShortId, told_at: Timestamp) -> Option<MailAddress> {
        let until = day(told_at).saturating_add(DAYS);
        let mac = HEXLOWER_PERMISSIVE.encode(&self.tag(verb, fax, until));
        MailAddress::parse(&format!("{}+{fax}.{until:04x}{mac}@{}", verb.as_str(), self.domain))
    }

    /// The order of a local part; none when it is none.
    ///
    /// # Errors
    /// [`NotOrdered`] for what looks like one and is not to be trusted.
    pub fn read(&self, local: &str, now: Timestamp) -> Result<Option<(Verb, ShortId)>, NotOrdered> {
        let Some((word, rest)) = local.split_once('+') else { return Ok(None) };
        let Some(verb) = [Verb::Retry, Verb::Cancel].into_iter().find(|verb| word.eq_ignore_ascii_case(verb.as_str()))
        else {
            return Ok(None);
        };
        let (fax, until, mac) = pieces(rest).ok_or(NotOrdered::Forged)?;
        // Every octet is looked at: how long it takes must not tell how many were right.
        let differs = self.tag(verb, &fax, until).iter().zip(&mac).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 || mac.len() != MAC_BYTES {
            return Err(NotOrdered::Forged);
        }
        if day(now) > until { Err(NotOrdered::Expired) } else { Ok(Some((verb, fax))) }
    }

    fn tag(&self, verb: Verb, fax: &ShortId, until: u32) -> [u8; MAC_BYTES] {
        let mac = self.key.mac(format!("order {} {fax} {until:04x}", verb.as_str()).as_bytes());
        std::array::from_fn(|index| mac[index])
    }
}

fn pieces(text: &str) -> Option<(ShortId, u32, Vec<u8>)> {
    let (fax, token) = text.split_once('.')?;
    let (until, mac) = token.split_at_checked(4)?;
    let fax: ShortId = fax.parse().ok().filter(|fax: &ShortId| fax.as_str().starts_with('F'))?;
    Some((fax, u32::from_str_radix(until, 16).ok()?, HEXLOWER_PERMISSIVE.decode(mac.as_bytes()).ok()?))
}

fn day(at: Timestamp) -> u32 {
    u32::try_from(at.0.div_euclid(DAY_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FaxId;

    const NOW: Timestamp = Timestamp(1_795_341_600_000);

    fn addresses(key: u8) -> OrderAddresses {
        OrderAddresses::new(BounceKey::new([key; 32]), "fax.test")
    }

    #[test]
    fn an_address_orders_its_fax_for_a_week_in_any_case() {
        let fax = FaxId::new().short();
        for verb in [Verb::Retry, Verb::Cancel] {
            let address = addresses(1).address(verb, &fax, NOW).unwrap();
            assert!(address.local().len() <= 64, "{}", address.as_str());
            let after = |days: i64| Timestamp(NOW.0 + days * DAY_MS);
            for local in [address.local().to_owned(), address.local().to_lowercase(), address.local().to_uppercase()] {
                assert_eq!(addresses(1).read(&local, after(7)), Ok(Some((verb, fax.clone()))), "{local}");
                assert_eq!(addresses(1).read(&local, after(8)), Err(NotOrdered::Expired));
            }
        }
    }

    #[test]
    fn what_was_changed_or_made_elsewhere_orders_nothing() {
        let fax = FaxId::new().short();
        let local = addresses(1).address(Verb::Cancel, &fax, NOW).unwrap().local().to_owned();
        assert_eq!(addresses(2).read(&local, NOW), Err(NotOrdered::Forged), "another key");
        assert_eq!(addresses(1).read(&local.replace("cancel", "retry"), NOW), Err(NotOrdered::Forged), "another verb");
        for at in "cancel+F-".len()..local.len() {
            let mut octets = local.as_bytes().to_vec();
            octets[at] = if octets[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(octets).unwrap();
            assert_eq!(addresses(1).read(&changed, NOW), Err(NotOrdered::Forged), "{changed}");
        }
        for short in ["retry+", "retry+F-1.2", &local[..local.len() - 2], &format!("{local}00")] {
            assert_eq!(addresses(1).read(short, NOW), Err(NotOrdered::Forged), "{short}");
        }
        for other in ["+41441234567", "help", "retry", "other+F-1.2"] {
            assert_eq!(addresses(1).read(other, NOW), Ok(None), "{other}");
        }
    }
}
