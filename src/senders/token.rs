//! Bearer tokens: a JWT (RFC 7519) that an authorization server has signed, verified with its published keys (RFC 7517).
//!
//! The key says which algorithm holds, never the token: `none` and an HMAC made with a public key are refused before
//! anything is computed (RFC 8725 §3.1). RS256 and ES256 are what mail services sign with. Claims are looked at after the
//! signature alone.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::Value;

use crate::config::senders::OAuth2Config;
use crate::domain::Timestamp;

/// Clocks differ by so much.
const SKEW_S: i64 = 60;
/// Tokens of large directories have 4 KiB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// A key set has a handful.
const KEYS_MAX: usize = 64;

/// Why a token lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no signed token in compact form.
    #[error("it is no JWT")]
    Malformed,
    /// It names an algorithm that its key is not for.
    #[error("its algorithm is {0:?}, and RS256 and ES256 are taken")]
    Algorithm(String),
    /// The key set has no such key.
    #[error("its key {0:?} is not known")]
    UnknownKey(String),
    /// The signature is not its.
    #[error("its signature is wrong")]
    Signature,
    /// Another server has issued it.
    #[error("its issuer is {0:?}")]
    Issuer(String),
    /// It is meant for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over, or it has no end.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// It lacks the scope.
    #[error("it lacks the scope {0:?}")]
    Scope(String),
    /// It does not say whose it is.
    #[error("it has no claim {0:?}")]
    NoName(String),
}

/// Keys of an authorization server.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Debug, Clone)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWKS. Keys of kinds that are not taken, and those for encryption, are left out.
    ///
    /// # Errors
    /// What is wrong, when it is no key set or holds no key that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let jwks: Jwks = serde_json::from_slice(text).map_err(|error| format!("it is no JWKS: {error}"))?;
        let keys: Vec<Key> = jwks.keys.iter().take(KEYS_MAX).filter_map(key).collect();
        if keys.is_empty() { Err("it holds no RSA or P-256 key for signatures".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Whether a key of this id is there; without an id there must be one key alone.
    pub fn holds(&self, id: Option<&str>) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

fn key(jwk: &Jwk) -> Option<Key> {
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let field = |text: &Option<String>| BASE64URL_NOPAD.decode(text.as_deref()?.as_bytes()).ok();
    let of = |alg: &str| jwk.alg.as_deref().is_none_or(|named| named == alg);
    let public = match jwk.kty.as_str() {
        "RSA" if of("RS256") => Public::Rsa { n: field(&jwk.n)?, e: field(&jwk.e)? },
        "EC" if of("ES256") && jwk.crv.as_deref() == Some("P-256") => {
            let (x, y) = (field(&jwk.x)?, field(&jwk.y)?);
            (x.len() == 32 && y.len() == 32).then(|| Public::P256([&[4][..], &x, &y].concat()))?
        }
        _ => return None,
    };
    Some(Key { id: jwk.kid.clone(), public })
}

/// The key id that a token names, to look for it before it is verified.
///
/// # Errors
/// [`TokenError::Malformed`], [`TokenError::Algorithm`].
pub fn key_id(token: &str) -> Result<Option<String>, TokenError> {
    Ok(head(token)?.kid)
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

fn head(token: &str) -> Result<Head, TokenError> {
    let (first, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let bytes = BASE64URL_NOPAD.decode(first.as_bytes()).map_err(|_| TokenError::Malformed)?;
    let head: Head = serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)?;
    // RFC 7515 §4.1.11: an extension that must be understood, and none is.
    if head.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    match head.alg.as_str() {
        "RS256" | "ES256" => Ok(head),
        other => Err(TokenError::Algorithm(other.chars().take(20).collect())),
    }
}

/// Verifies a token and answers the name that it is for.
///
/// # Errors
/// [`TokenError`].
pub fn verify(token: &str, keys: &KeySet, rules: &OAuth2Config, now: Timestamp) -> Result<String, TokenError> {
    let head = head(token)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (_, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TokenError::Malformed);
    let (claims, signature) = (decode(claims)?, decode(signature)?);
    let unknown = || TokenError::UnknownKey(head.kid.clone().unwrap_or_default().chars().take(64).collect());
    let key = keys.find(head.kid.as_deref()).ok_or_else(unknown)?;
    let good = match (&key.public, head.alg.as_str()) {
        (Public::Rsa { n, e }, "RS256") => {
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        }
        (Public::P256(point), "ES256") => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature)
        }
        // RFC 8725 §3.1: a key serves the one algorithm that it was published for.
        _ => return Err(TokenError::Algorithm(head.alg)),
    };
    good.map_err(|_| TokenError::Signature)?;
    let claims: Value = serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)?;
    judge(&claims, rules, now)
}

fn judge(claims: &Value, rules: &OAuth2Config, now: Timestamp) -> Result<String, TokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let issuer = text("iss").unwrap_or_default();
    if issuer != rules.issuer {
        return Err(TokenError::Issuer(issuer.chars().take(100).collect()));
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == rules.audience,
        Some(Value::Array(list)) => list.iter().any(|audience| audience.as_str() == Some(&rules.audience)),
        _ => false,
    };
    if !for_us {
        return Err(TokenError::Audience);
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
    let now_s = now.0.div_euclid(1000);
    // A token without an end would be a password that nobody can change.
    if seconds("exp").is_none_or(|end| end.saturating_add(SKEW_S) <= now_s) {
        return Err(TokenError::Expired);
    }
    if seconds("nbf").is_some_and(|begin| begin.saturating_sub(SKEW_S) > now_s) {
        return Err(TokenError::NotYet);
    }
    if let Some(scope) = &rules.scope {
        // RFC 8693 §4.2 has `scope`; Entra writes `scp`, and `roles` where no person is behind it.
        let words = ["scope", "scp"].into_iter().filter_map(text).flat_map(|words| words.split(' '));
        let roles = claims.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        if !words.chain(roles).any(|word| word == scope) {
            return Err(TokenError::Scope(scope.clone()));
        }
    }
    let name = text(&rules.claim).filter(|name| !name.is_empty() && name.len() <= 320);
    name.map(str::to_owned).ok_or_else(|| TokenError::NoName(rules.claim.clone()))
}

#[cfg(test)]
pub(crate) mod testing {
    //! An authorization server in two functions.

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    };
    use serde_json::json;

    use super::*;

    pub(crate) struct Issuer {
        rsa: RsaKeyPair,
        ec: EcdsaKeyPair,
    }

    impl Issuer {
        pub(crate) fn new() -> Self {
            let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            Self { rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), ec }
        }

        pub(crate) fn jwks(&self) -> Value {
            let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
            let rsa = self.rsa.public_key();
            let point = self.ec.public_key().as_ref();
            json!({ "keys": [
                { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
                  "n": part(rsa.modulus().big_endian_without_leading_zero()),
                  "e": part(rsa.exponent().big_endian_without_leading_zero()) },
                { "kty": "EC", "kid": "ec", "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..65]) },
                { "kty": "oct", "kid": "shared", "k": "c2VjcmV0" },
            ] })
        }

        pub(crate) fn token(&self, alg: &str, kid: &str, claims: &Value) -> String {
            let head = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(&head), part(claims));
            let random = SystemRandom::new();
            let signature = match alg {
                "RS256" => {
                    let mut out = vec![0; self.rsa.public_modulus_len()];
                    self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut out).unwrap();
                    out
                }
                "ES256" => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
                // The attack: an HMAC whose key is the public key that everybody can fetch.
                "HS256" => super::super::passwords::sign(self.ec.public_key().as_ref(), signed.as_bytes()).to_vec(),
                _ => Vec::new(),
            };
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
        }
    }

    pub(crate) fn rules() -> OAuth2Config {
        OAuth2Config {
            issuer: "https://login.example.com/".into(),
            audience: "faxwell".into(),
            keys: String::new(),
            scope: Some("SMTP.Send".into()),
            claim: "preferred_username".into(),
        }
    }

    pub(crate) fn claims(now: Timestamp) -> Value {
        let now_s = now.0 / 1000;
        json!({ "iss": "https://login.example.com/", "aud": ["other", "faxwell"], "nbf": now_s - 10, "exp": now_s + 600,
                "scp": "Mail.Read SMTP.Send", "preferred_username": "anna@example.com" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{Issuer, claims, rules};
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn check(issuer: &Issuer, alg: &str, kid: &str, claims: &Value, expected: Result<&str, TokenError>) {
        let keys = KeySet::parse(issuer.jwks().to_string().as_bytes()).unwrap();
        let got = verify(&issuer.token(alg, kid, claims), &keys, &rules(), NOW);
        assert_eq!(got, expected.map(str::to_owned), "{alg} {kid} {claims}");
    }

    fn with(name: &str, value: Value) -> Value {
        let mut changed = claims(NOW);
        changed[name] = value;
        changed
    }

    #[test]
    fn t3_a_token_is_taken_from_its_issuer_for_us_in_its_time_with_its_scope() {
        let issuer = Issuer::new();
        let now_s = NOW.0 / 1000;
        let anna = Ok("anna@example.com");
        check(&issuer, "RS256", "rsa", &claims(NOW), anna.clone());
        check(&issuer, "ES256", "ec", &claims(NOW), anna.clone());
        check(&issuer, "ES256", "ec", &with("aud", json!("faxwell")), anna.clone());
        check(&issuer, "ES256", "ec", &with("exp", json!(now_s - 59)), anna.clone());
        let app = {
            let mut app = with("roles", json!(["SMTP.Send"]));
            app["scp"] = Value::Null;
            app
        };
        check(&issuer, "ES256", "ec", &app, anna);

        check(&issuer, "ES256", "ec", &with("exp", json!(now_s - 60)), Err(TokenError::Expired));
        check(&issuer, "ES256", "ec", &with("exp", Value::Null), Err(TokenError::Expired));
        check(&issuer, "ES256", "ec", &with("nbf", json!(now_s + 61)), Err(TokenError::NotYet));
        check(&issuer, "ES256", "ec", &with("aud", json!("faxwell2")), Err(TokenError::Audience));
        check(&issuer, "ES256", "ec", &with("aud", Value::Null), Err(TokenError::Audience));
        let other = "https://login.example.com.evil.test/";
        check(&issuer, "ES256", "ec", &with("iss", json!(other)), Err(TokenError::Issuer(other.into())));
        check(&issuer, "ES256", "ec", &with("scp", json!("SMTP.SendX")), Err(TokenError::Scope("SMTP.Send".into())));
        let no_name = TokenError::NoName("preferred_username".into());
        check(&issuer, "ES256", "ec", &with("preferred_username", json!("")), Err(no_name));
    }

    #[test]
    fn t3_the_algorithm_is_the_keys_and_never_the_tokens() {
        let issuer = Issuer::new();
        for alg in ["none", "None", "HS256", "RS384", "PS256"] {
            check(&issuer, alg, "ec", &claims(NOW), Err(TokenError::Algorithm(alg.into())));
        }
        check(&issuer, "RS256", "ec", &claims(NOW), Err(TokenError::Algorithm("RS256".into())));
        check(&issuer, "ES256", "shared", &claims(NOW), Err(TokenError::UnknownKey("shared".into())));
    }

    #[test]
    fn t3_a_token_that_somebody_else_signed_or_changed_is_refused() {
        let (issuer, thief) = (Issuer::new(), Issuer::new());
        let keys = KeySet::parse(issuer.jwks().to_string().as_bytes()).unwrap();
        for alg in [("RS256", "rsa"), ("ES256", "ec")] {
            let token = thief.token(alg.0, alg.1, &claims(NOW));
            assert_eq!(verify(&token, &keys, &rules(), NOW), Err(TokenError::Signature));
            let mine = issuer.token(alg.0, alg.1, &claims(NOW));
            let pieces: Vec<&str> = mine.split('.').collect();
            let claims = BASE64URL_NOPAD.encode(with("preferred_username", json!("root")).to_string().as_bytes());
            let changed = format!("{}.{claims}.{}", pieces[0], pieces[2]);
            assert_eq!(verify(&changed, &keys, &rules(), NOW), Err(TokenError::Signature));
        }
        for bad in ["", ".", "..", "a.b.c", "e30.e30.", &"a".repeat(20_000)] {
            assert_eq!(verify(bad, &keys, &rules(), NOW), Err(TokenError::Malformed), "{bad:.20}");
        }
    }

    #[test]
    fn a_key_set_needs_a_key_that_can_be_used() {
        for bad in ["", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"YQ\"}]}"] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
