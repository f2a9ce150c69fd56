//! Bearer tokens: `OAUTHBEARER` (RFC 7628) and its older form `XOAUTH2`.
//!
//! A refusal is told in two steps: a challenge that says so in JSON, which the client answers with anything, then the failure
//! (RFC 7628 §3.2.3). Clients rely on it to fetch a new token.

use super::{Credentials, Failure, Next, Secret, name, secret};

/// RFC 7628 §3.2.2.
const INVALID: &[u8] = br#"{"status":"invalid_token"}"#;
/// Key-value pairs of a response: user, host, port, auth and room for others.
const PAIRS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `user=U^Aauth=Bearer T^A^A`
    XOAuth2,
    /// `n,a=U,^Ahost=H^Aport=P^Aauth=Bearer T^A^A`
    OAuthBearer,
}

/// Where the exchange is.
#[derive(Debug)]
pub(crate) struct Bearer {
    form: Form,
    told: bool,
}

impl Bearer {
    pub(super) fn new(form: Form) -> Self {
        Self { form, told: false }
    }

    pub(super) fn respond(&mut self, response: &[u8]) -> Next {
        if self.told {
            return Next::Fail(Failure::Wrong);
        }
        match read(self.form, response) {
            Some((user, token)) => Next::Ask(Credentials::Token { user, token }),
            None => Next::Fail(Failure::Malformed("the response holds no bearer token of this mechanism")),
        }
    }

    pub(super) fn refused(&mut self) -> Next {
        self.told = true;
        Next::Challenge(INVALID.to_vec())
    }
}

fn read(form: Form, response: &[u8]) -> Option<(Option<String>, Secret)> {
    let text = std::str::from_utf8(response).ok()?;
    let pairs = text.strip_suffix("\x01\x01")?;
    let (mut user, mut token) = (None, None);
    let mut pairs = pairs.split('\x01');
    if form == Form::OAuthBearer {
        user = gs2_user(pairs.next()?)?;
    }
    for (count, pair) in pairs.enumerate() {
        let (key, value) = pair.split_once('=')?;
        match key {
            _ if count >= PAIRS_MAX => return None,
            "user" if form == Form::XOAuth2 && user.is_none() => user = Some(name(value.as_bytes())?),
            "auth" if token.is_none() => {
                let (scheme, value) = value.split_once(' ')?;
                token = scheme.eq_ignore_ascii_case("bearer").then(|| secret(value.trim().as_bytes()))?;
            }
            "user" | "auth" => return None,
            _ => {}
        }
    }
    Some((user, token?))
}

/// RFC 5801 §4: `n,a=user,` or `n,,`. Channel binding is not offered.
fn gs2_user(header: &str) -> Option<Option<String>> {
    let mut fields = header.split(',');
    let (binding, user, end) = (fields.next()?, fields.next()?, fields.next()?);
    if !matches!(binding, "n" | "y") || !end.is_empty() || fields.next().is_some() {
        return None;
    }
    if user.is_empty() {
        return Some(None);
    }
    let user = super::scram::unescape(user.strip_prefix("a=")?)?;
    name(user.as_bytes()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, response: &str, expected: Option<(Option<&str>, &str)>) {
        let got = read(form, response.as_bytes());
        let got = got.as_ref().map(|(user, token)| (user.as_deref(), token.reveal()));
        assert_eq!(got, expected, "{response:?}");
    }

    #[test]
    fn t3_both_forms_give_user_and_token() {
        check(Form::XOAuth2, "user=a@b\x01auth=Bearer abc.d-e\x01\x01", Some((Some("a@b"), "abc.d-e")));
        let bearer = "n,a=a@b,\x01host=gw\x01port=587\x01auth=Bearer abc\x01\x01";
        check(Form::OAuthBearer, bearer, Some((Some("a@b"), "abc")));
        check(Form::OAuthBearer, "n,,\x01auth=bearer abc\x01\x01", Some((None, "abc")));
        check(Form::OAuthBearer, "n,a=x=2Cy,\x01auth=Bearer abc\x01\x01", Some((Some("x,y"), "abc")));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for bad in [
            "",
            "\x01\x01",
            "user=a@b\x01\x01",
            "user=a@b\x01auth=Basic abc\x01\x01",
            "user=a@b\x01auth=Bearer \x01\x01",
            "user=a@b\x01auth=Bearer x\x01",
            "user=a\x01user=b\x01auth=Bearer x\x01\x01",
            "auth=Bearer x\x01auth=Bearer y\x01\x01",
        ] {
            check(Form::XOAuth2, bad, None);
        }
        for bad in
            ["n,,auth=Bearer x\x01\x01", "p=tls-unique,,\x01auth=Bearer x\x01\x01", "n,b,\x01auth=Bearer x\x01\x01"]
        {
            check(Form::OAuthBearer, bad, None);
        }
    }
}
