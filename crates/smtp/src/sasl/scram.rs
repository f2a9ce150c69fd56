//! `SCRAM-SHA-256` (RFC 5802, RFC 7677): client and server prove to each other that they know the password, and neither shows it.
//!
//! Channel binding is not offered; a client that thinks it was (`y`) is served, one that demands it (`p=`) is not (§6).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use data_encoding::BASE64;

use super::{Credentials, Failure, Next, name};

/// A nonce is made of printable characters; longer ones are an attack on our memory.
const NONCE_MAX: usize = 256;
const KEY_BYTES: usize = 32;

/// What is kept of a password: neither it nor anything that a login could be made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// At random, for each password; 16 octets or more.
    pub salt: Vec<u8>,
    /// RFC 7677 §4: 4096 at the least.
    pub iterations: NonZeroU32,
    /// H(HMAC(salted password, "Client Key")).
    pub stored_key: [u8; KEY_BYTES],
    /// HMAC(salted password, "Server Key").
    pub server_key: [u8; KEY_BYTES],
    /// At random for each login, printable, without comma; 18 characters or more.
    pub nonce: String,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// From a password as RFC 7677 computes it.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32, nonce: impl Into<String>) -> Self {
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: sha256(&hmac(&salted, b"Client Key")),
            server_key: hmac(&salted, b"Server Key"),
            nonce: nonce.into(),
        }
    }
}

/// Where the exchange is.
#[derive(Debug, Default)]
pub(crate) enum Scram {
    #[default]
    First,
    Verifier(First),
    Final(Expected),
    Proved {
        user: String,
        act_as: Option<String>,
    },
    Over,
}

/// The client's first message.
#[derive(Debug)]
pub(crate) struct First {
    gs2: String,
    bare: String,
    user: String,
    act_as: Option<String>,
    nonce: String,
}

/// What the client's final message must fit.
#[derive(Debug)]
pub(crate) struct Expected {
    first: First,
    server_first: String,
    nonce: String,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

impl Scram {
    pub(super) fn respond(&mut self, response: &[u8]) -> Next {
        let malformed = Next::Fail(Failure::Malformed("the response is no message of SCRAM"));
        match std::mem::replace(self, Self::Over) {
            Self::First => match first(response) {
                Some(first) => {
                    let user = first.user.clone();
                    *self = Self::Verifier(first);
                    Next::AskVerifier(user)
                }
                None => malformed,
            },
            Self::Final(expected) => match last(&expected, response) {
                Some(Some(server_final)) => {
                    let First { user, act_as, .. } = expected.first;
                    *self = Self::Proved { user, act_as };
                    Next::Challenge(server_final.into_bytes())
                }
                Some(None) => Next::Ask(Credentials::Disproved { user: expected.first.user }),
                None => malformed,
            },
            // RFC 4954 §4: SMTP has no place for data beside 235, so the client answers the last challenge with nothing.
            Self::Proved { user, act_as } if response.is_empty() => Next::Ask(Credentials::Proved { user, act_as }),
            Self::Proved { .. } | Self::Verifier(_) | Self::Over => malformed,
        }
    }

    pub(super) fn verifier(&mut self, verifier: &Verifier) -> Next {
        let Self::Verifier(first) = std::mem::replace(self, Self::Over) else { return Next::Fail(Failure::Wrong) };
        let nonce = format!("{}{}", first.nonce, verifier.nonce);
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let challenge = server_first.clone().into_bytes();
        let (stored_key, server_key) = (verifier.stored_key, verifier.server_key);
        *self = Self::Final(Expected { first, server_first, nonce, stored_key, server_key });
        Next::Challenge(challenge)
    }
}

/// `n,[a=authzid],n=user,r=nonce[,extensions]`
fn first(response: &[u8]) -> Option<First> {
    let text = std::str::from_utf8(response).ok()?;
    let (binding, rest) = text.split_once(',')?;
    let (act_as, bare) = rest.split_once(',')?;
    if !matches!(binding, "n" | "y") {
        return None;
    }
    let gs2 = format!("{binding},{act_as},");
    let act_as = if act_as.is_empty() { None } else { Some(name(unescape(act_as.strip_prefix("a=")?)?.as_bytes())?) };
    // RFC 5802 §5.1: `m=` announces an extension that must be understood; it does not begin with `n=`.
    let mut fields = bare.split(',');
    let user = name(unescape(fields.next()?.strip_prefix("n=")?)?.as_bytes())?;
    let nonce = fields.next()?.strip_prefix("r=")?.to_owned();
    let good = !nonce.is_empty() && nonce.len() <= NONCE_MAX && nonce.bytes().all(|b| b.is_ascii_graphic());
    let act_as = act_as.filter(|act_as| *act_as != user);
    good.then(|| First { gs2, bare: bare.to_owned(), user, act_as, nonce })
}

/// `c=binding,r=nonce[,extensions],p=proof`. Answers the server's signature, or nothing inside when the proof is wrong.
fn last(expected: &Expected, response: &[u8]) -> Option<Option<String>> {
    let text = std::str::from_utf8(response).ok()?;
    let (without_proof, proof) = text.rsplit_once(",p=")?;
    let proof: [u8; KEY_BYTES] = BASE64.decode(proof.as_bytes()).ok()?.try_into().ok()?;
    let mut fields = without_proof.split(',');
    let (binding, nonce) = (fields.next()?.strip_prefix("c=")?, fields.next()?.strip_prefix("r=")?);
    if BASE64.decode(binding.as_bytes()).ok()? != expected.first.gs2.as_bytes() || nonce != expected.nonce {
        return Some(None);
    }
    let signed = format!("{},{},{without_proof}", expected.first.bare, expected.server_first);
    let client_signature = hmac(&expected.stored_key, signed.as_bytes());
    let mut client_key = proof;
    client_key.iter_mut().zip(client_signature).for_each(|(key, signature)| *key ^= signature);
    if constant_time::verify_slices_are_equal(&sha256(&client_key), &expected.stored_key).is_err() {
        return Some(None);
    }
    Some(Some(format!("v={}", BASE64.encode(&hmac(&expected.server_key, signed.as_bytes())))))
}

/// RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign; no other stands there.
pub(super) fn unescape(text: &str) -> Option<String> {
    let plain = text.replace("=2C", "").replace("=3D", "");
    (!plain.contains(['=', ','])).then(|| text.replace("=2C", ",").replace("=3D", "="))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut octets = [0; KEY_BYTES];
    octets.copy_from_slice(tag.as_ref());
    octets
}

fn sha256(text: &[u8]) -> [u8; KEY_BYTES] {
    let mut octets = [0; KEY_BYTES];
    octets.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn verifier() -> Verifier {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::derive("pencil", &salt, NonZeroU32::new(4096).unwrap(), NONCE)
    }

    fn begun() -> Scram {
        let mut scram = Scram::default();
        assert_eq!(scram.respond(CLIENT_FIRST), Next::AskVerifier("user".into()));
        let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(scram.verifier(&verifier()), Next::Challenge(server_first.into()));
        scram
    }

    #[test]
    fn t3_the_example_of_rfc_7677_is_proved_on_both_sides() {
        let mut scram = begun();
        let server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(scram.respond(CLIENT_FINAL.as_bytes()), Next::Challenge(server_final.into()));
        assert_eq!(scram.respond(b""), Next::Ask(Credentials::Proved { user: "user".into(), act_as: None }));
    }

    #[test]
    fn a_wrong_proof_nonce_or_binding_is_no_login() {
        for (from, to) in [("p=dHzb", "p=eHzb"), ("r=rO", "r=rP"), ("c=biws", "c=eSws"), (",p=", ",x=1,p=")] {
            let changed = CLIENT_FINAL.replace(from, to);
            let wrong = Next::Ask(Credentials::Disproved { user: "user".into() });
            assert_eq!(begun().respond(changed.as_bytes()), wrong, "{changed}");
        }
    }

    #[test]
    fn what_is_no_message_of_scram_ends_the_exchange() {
        for bad in [
            "",
            "n,,",
            "p=tls-unique,,n=user,r=x",
            "n,,r=x,n=user",
            "n,,m=x,n=user,r=x",
            "n,,n=u=ser,r=x",
            "n,,n=,r=x",
            "n,,n=user,r=",
        ] {
            let mut scram = Scram::default();
            assert!(matches!(scram.respond(bad.as_bytes()), Next::Fail(Failure::Malformed(_))), "{bad}");
        }
        assert!(matches!(begun().respond(b"c=biws"), Next::Fail(Failure::Malformed(_))));
        assert!(matches!(begun().respond(b"c=biws,r=x,p=!!"), Next::Fail(Failure::Malformed(_))));
    }
}
