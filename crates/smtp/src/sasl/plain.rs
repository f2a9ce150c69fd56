//! Passwords as they are: `PLAIN` in one response, `LOGIN` in two.

use super::{Credentials, Failure, Next, name, secret};

/// Clients of `LOGIN` look for these very words.
pub(super) const USER_PROMPT: &[u8] = b"Username:";
const PASSWORD_PROMPT: &[u8] = b"Password:";

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`.
pub(super) fn plain(response: &[u8]) -> Next {
    let malformed = Next::Fail(Failure::Malformed("PLAIN is not identity NUL user NUL password"));
    let mut pieces = response.split(|octet| *octet == 0);
    let (Some(act_as), Some(user), Some(password), None) = (pieces.next(), pieces.next(), pieces.next(), pieces.next())
    else {
        return malformed;
    };
    let act_as = if act_as.is_empty() { Some(None) } else { name(act_as).map(Some) };
    match (act_as, name(user), secret(password)) {
        (Some(act_as), Some(user), Some(password)) => {
            // Many programs repeat the user there.
            let act_as = act_as.filter(|act_as| *act_as != user);
            Next::Ask(Credentials::Password { user, password, act_as })
        }
        _ => malformed,
    }
}

/// What `LOGIN` knows so far.
#[derive(Debug, Default)]
pub(crate) struct Login {
    user: Option<String>,
}

impl Login {
    pub(super) fn respond(&mut self, response: &[u8]) -> Next {
        match self.user.take() {
            None => match name(response) {
                Some(user) => {
                    self.user = Some(user);
                    Next::Challenge(PASSWORD_PROMPT.to_vec())
                }
                None => Next::Fail(Failure::Malformed("the user name of LOGIN is empty or no text")),
            },
            Some(user) => match secret(response) {
                Some(password) => Next::Ask(Credentials::Password { user, password, act_as: None }),
                None => Next::Fail(Failure::Malformed("the password of LOGIN is empty or no text")),
            },
        }
    }
}
