//! Who logs in: what SMTP AUTH asks of whoever keeps the accounts.
//!
//! The session proves nothing about passwords and tokens but SCRAM's; everything else is answered here. Without accounts AUTH is not
//! offered at all. Failure: accounts that cannot be asked are `454`, never a wrong password.

use std::net::IpAddr;
use std::num::NonZeroU32;

use async_trait::async_trait;
use smtp::{Credentials, Mechanism, Verifier};

pub use crate::senders::{Identity, LoginError};
use crate::senders::{Logins, passwords};

/// The accounts.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// What is offered, in this order. It may not depend on who asks.
    fn mechanisms(&self) -> Vec<Mechanism>;

    /// Whether these are right. It takes as long for a name that does not exist as for one that does.
    ///
    /// # Errors
    /// [`LoginError`].
    async fn check(&self, credentials: &Credentials, client: IpAddr) -> Result<Identity, LoginError>;

    /// How SCRAM verifies this user's password. A name that does not exist gets a verifier too, the same one each time it is asked for
    /// but for its nonce, that no password fits.
    ///
    /// # Errors
    /// [`LoginError::Away`].
    async fn verifier(&self, user: &str, client: IpAddr) -> Result<Verifier, LoginError>;
}

#[async_trait]
impl Accounts for Logins {
    fn mechanisms(&self) -> Vec<Mechanism> {
        let token = |mechanism: &Mechanism| matches!(mechanism, Mechanism::OAuthBearer | Mechanism::XOAuth2);
        Mechanism::ALL.into_iter().filter(|mechanism| self.takes_tokens() || !token(mechanism)).collect()
    }

    async fn check(&self, credentials: &Credentials, client: IpAddr) -> Result<Identity, LoginError> {
        match credentials {
            // RFC 4616 §2: nobody may act for somebody else here.
            Credentials::Password { user, act_as: Some(_), .. } | Credentials::Proved { user, act_as: Some(_) } => {
                Err(self.failed(user, client).await)
            }
            Credentials::Password { user, password, act_as: None } => {
                self.password(user, password.reveal(), client).await
            }
            Credentials::Token { user, token } => self.token(user.as_deref(), token.reveal(), client).await,
            Credentials::Proved { user, act_as: None } => self.proved(user).await,
            Credentials::Disproved { user } => Err(self.failed(user, client).await),
        }
    }

    async fn verifier(&self, user: &str, client: IpAddr) -> Result<Verifier, LoginError> {
        let keys = self.scram(user, client).await?;
        let nonce = passwords::random::<18>().map_err(|error| LoginError::Away(error.to_string()))?;
        Ok(Verifier {
            salt: keys.salt,
            iterations: NonZeroU32::new(keys.iterations).unwrap_or(NonZeroU32::MIN),
            stored_key: keys.stored_key,
            server_key: keys.server_key,
            nonce: data_encoding::BASE64_NOPAD.encode(&nonce),
        })
    }
}
