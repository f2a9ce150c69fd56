//! Passwords at rest: Argon2id for a password that is shown to us, and what SCRAM-SHA-256 compares with, beside it.

use std::num::NonZeroU32;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};

use crate::store::ScramKeys;

/// RFC 7677 §4 has 4096 at the least.
const SCRAM_ITERATIONS: u32 = 10_000;
/// RFC 9106 §3.1.
const SALT_BYTES: usize = 16;
/// Of an account that people make up; a copier's may be 8 as well.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// What is stored of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// PHC string, Argon2id with 19 MiB and two passes.
    pub password: String,
    /// For SCRAM-SHA-256.
    pub scram: ScramKeys,
}

/// Why a password cannot be stored.
#[derive(Debug, thiserror::Error)]
#[error("a password cannot be stored: {0}")]
pub struct NotStored(String);

/// Random octets. Not from the seeded generator that tests may choose: nobody may know them beforehand.
///
/// # Errors
/// When the machine has no randomness.
pub fn random<const N: usize>() -> Result<[u8; N], NotStored> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NotStored("this machine gives no random octets".to_owned()))?;
    Ok(bytes)
}

/// Takes about 30 ms and 19 MiB: not on a thread of the runtime.
///
/// # Errors
/// When the machine has no randomness or no memory.
pub fn store(password: &str) -> Result<Stored, NotStored> {
    let hash = |salt: &[u8]| -> Result<PasswordHash, argon2::password_hash::Error> {
        Argon2::default().hash_password_with_salt(password.as_bytes(), salt)
    };
    let hashed = hash(&random::<SALT_BYTES>()?).map_err(|error| NotStored(error.to_string()))?;
    Ok(Stored { password: hashed.to_string(), scram: scram(password, &random::<SALT_BYTES>()?) })
}

/// Whether the password is the one of this PHC string. As slow as [`store`].
pub fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether two passwords are the same, in a time that says nothing about where they differ.
pub fn same(one: &str, other: &str) -> bool {
    let hash = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    constant_time::verify_slices_are_equal(hash(one).as_ref(), hash(other).as_ref()).is_ok()
}

/// RFC 5802 §3 with SHA-256. The password is taken as it is; SASLprep changes none that is ASCII.
pub fn scram(password: &str, salt: &[u8]) -> ScramKeys {
    let iterations = NonZeroU32::new(SCRAM_ITERATIONS).unwrap_or(NonZeroU32::MIN);
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    let client_key = sign(&salted, b"Client Key");
    let mut stored_key = [0; 32];
    stored_key.copy_from_slice(digest::digest(&digest::SHA256, &client_key).as_ref());
    ScramKeys {
        salt: salt.to_vec(),
        iterations: SCRAM_ITERATIONS,
        stored_key,
        server_key: sign(&salted, b"Server Key"),
    }
}

/// HMAC-SHA-256.
pub(super) fn sign(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_a_stored_password_is_argon2id_and_found_again() {
        let (one, two) = (store("correct horse").unwrap(), store("correct horse").unwrap());
        assert!(one.password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.password);
        assert_ne!(one.password, two.password, "each has a salt of its own");
        assert_ne!(one.scram.salt, two.scram.salt);
        assert!(verify("correct horse", &one.password) && !verify("correct horsf", &one.password));
        assert!(!verify("correct horse", "correct horse") && !verify("", ""));
        assert!(!one.password.contains("horse"));
        assert!(same("a", "a") && !same("a", "b") && !same("a", ""));
    }

    /// RFC 7677 §3: the example's user is "user", its password "pencil".
    #[test]
    fn t3_scram_keys_verify_the_proof_of_the_rfcs_example() {
        use data_encoding::BASE64;
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0; 32];
        let iterations = NonZeroU32::new(4096).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, b"pencil", &mut salted);
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server = sign(&sign(&salted, b"Server Key"), auth.as_bytes());
        assert_eq!(BASE64.encode(&server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let keys = scram("pencil", &salt);
        assert_eq!((keys.salt.len(), keys.iterations), (16, SCRAM_ITERATIONS));
        assert_ne!(keys.server_key, keys.stored_key);
    }
}
