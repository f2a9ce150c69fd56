//! Logins: is this password or token right, and who is it then?
//!
//! In: what SMTP AUTH has taken from a client, and the client's address. Out: an [`Identity`], or that it is wrong: the same answer
//! after the same work for a name that does not exist and for a wrong password. Failed logins are counted in the store by
//! name and by network, so that they slow an attacker down whichever node he asks: each failure of a name doubles its wait, and
//! a network with too many is not let in at all for a while, without being told so.
//!
//! Accounts are those of the configuration and those of the store; the configuration wins. Failure: a store or a key server that
//! cannot be asked is [`LoginError::Away`], never a wrong password.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::keys::Keys;
use super::{Fetch, Identity, Policy, passwords, token};
use crate::config::senders::{AccountConfig, OAuth2Config, SendersConfig};
use crate::domain::Clock;
use crate::store::{Account, ScramKeys, Store, StoreError};

/// A failure is forgotten when no other one came for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Networks with so many failures are let in no more until they are forgotten. An office behind one address has a few.
const NETWORK_FAILURES_MAX: u32 = 50;
/// Wait after the first failure of a name; doubled with each.
const FIRST_WAIT: Duration = Duration::from_millis(125);
/// Longest wait. A client gives up after minutes (RFC 4954 §4), an attacker needs years.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// Each takes 19 MiB and a core.
const HASHES_AT_ONCE: usize = 4;
/// RFC 4616 §2 has 255; names that are addresses need more.
const NAME_BYTES_MAX: usize = 320;
/// Name of the secret that makes up the salts of accounts that do not exist.
const DECOY: &str = "login.decoy";

/// Why a login is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Name, password or token is wrong; which one is nobody's business.
    #[error("wrong name, password or token")]
    Wrong,
    /// They cannot be looked up now.
    #[error("accounts cannot be looked up: {0}")]
    Away(String),
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::Away(error.to_string())
    }
}

/// Who may log in.
pub struct Logins {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    accounts: BTreeMap<String, AccountConfig>,
    tokens: Option<(OAuth2Config, Keys)>,
    hashing: Semaphore,
    decoy: Vec<u8>,
    /// A password that nobody has, to be compared with where there is no account.
    nobody: String,
}

/// An account as it is found.
struct Found {
    policy: Policy,
    password: Secret,
}

enum Secret {
    Clear(String),
    Hashed(Box<Account>),
    None,
}

impl Logins {
    /// With the accounts of the configuration beside those of the store. `keys` are those of `smtp.oauth2`.
    ///
    /// # Errors
    /// When the store is away or the machine has no randomness.
    pub async fn open(
        config: &SendersConfig,
        keys: Option<Arc<dyn Fetch>>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LoginError> {
        let away = |error: passwords::NotStored| LoginError::Away(error.to_string());
        let fresh = passwords::random::<32>().map_err(away)?;
        let decoy = store.secret(DECOY, &fresh).await?;
        let nobody = passwords::store(&data_encoding::HEXLOWER.encode(&fresh)).map_err(away)?.password;
        let tokens = config.oauth2.clone().zip(keys.map(Keys::new));
        let hashing = Semaphore::new(HASHES_AT_ONCE);
        Ok(Self { store, clock, accounts: config.accounts.clone(), tokens, hashing, decoy, nobody })
    }

    /// Whether anybody can log in by token.
    pub fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whether this is the password of this name.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn password(&self, name: &str, password: &str, client: IpAddr) -> Result<Identity, LoginError> {
        let name = name.to_lowercase();
        let locked = self.slow_down(&name, client).await?;
        let found = self.find(&name).await?;
        let hash = match found.as_ref().map(|found| &found.password) {
            Some(Secret::Hashed(account)) => account.password.clone(),
            // Compared all the same, so that the time says nothing.
            Some(Secret::Clear(_) | Secret::None) | None => self.nobody.clone(),
        };
        let hashed = self.verify(password.to_owned(), hash).await?;
        let good = match found.as_ref().map(|found| &found.password) {
            Some(Secret::Clear(clear)) => passwords::same(clear, password),
            Some(Secret::Hashed(_)) => hashed,
            Some(Secret::None) | None => false,
        };
        match found.filter(|_| good && !locked) {
            Some(found) => self.welcome(&name, found.policy).await,
            None => Err(self.failed(&name, client).await),
        }
    }

    /// What SCRAM-SHA-256 compares with. A name without an account has keys too, the same ones each time, that no password fits.
    ///
    /// # Errors
    /// [`LoginError::Away`].
    pub async fn scram(&self, name: &str, client: IpAddr) -> Result<ScramKeys, LoginError> {
        let name = name.to_lowercase();
        let locked = self.slow_down(&name, client).await?;
        let salt = &passwords::sign(&self.decoy, format!("salt {name}").as_bytes())[..16];
        let found = self.find(&name).await?.filter(|_| !locked);
        Ok(match found.map(|found| found.password) {
            Some(Secret::Hashed(account)) => account.scram,
            Some(Secret::Clear(password)) => self.derive(password, salt.to_vec()).await?,
            Some(Secret::None) | None => {
                let nobody =
                    data_encoding::HEXLOWER.encode(&passwords::sign(&self.decoy, format!("keys {name}").as_bytes()));
                self.derive(nobody, salt.to_vec()).await?
            }
        })
    }

    /// Who has just proved a password by SCRAM.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn proved(&self, name: &str) -> Result<Identity, LoginError> {
        let name = name.to_lowercase();
        match self.find(&name).await? {
            Some(found) => self.welcome(&name, found.policy).await,
            None => Err(LoginError::Wrong),
        }
    }

    /// Whose token this is. `user` is who the client says it is; the token must agree.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn token(&self, user: Option<&str>, text: &str, client: IpAddr) -> Result<Identity, LoginError> {
        let Some((rules, keys)) = &self.tokens else { return Err(LoginError::Wrong) };
        let shown = user.unwrap_or_default().to_lowercase();
        let locked = self.slow_down(&shown, client).await?;
        let now = self.clock.now();
        let verified = match token::key_id(text) {
            Ok(id) => {
                let set = keys.with(id.as_deref(), now).await.map_err(LoginError::Away)?;
                token::verify(text, &set, rules, now)
            }
            Err(error) => Err(error),
        };
        let name = match verified {
            Ok(name) => name.to_lowercase(),
            Err(error) => {
                info!(%client, %error, "a token was refused");
                return Err(self.failed(&shown, client).await);
            }
        };
        if locked || (!shown.is_empty() && shown != name) {
            info!(%client, "a token was refused: it is another's than the client says");
            return Err(self.failed(&shown, client).await);
        }
        match self.find(&name).await? {
            Some(found) => self.welcome(&name, found.policy).await,
            None => {
                info!(%client, "a token was refused: its name has no account");
                Err(self.failed(&name, client).await)
            }
        }
    }

    /// Counts a login that failed; SCRAM's are judged elsewhere and told here.
    pub async fn failed(&self, name: &str, client: IpAddr) -> LoginError {
        let what = [by_name(&name.to_lowercase()), by_network(client)];
        match self.store.login_failed(&what, FORGOTTEN_AFTER).await {
            Ok(()) => LoginError::Wrong,
            // Uncounted guesses would be free.
            Err(error) => LoginError::Away(error.to_string()),
        }
    }

    /// Waits as long as the failures of this name ask for. Answers whether its network is let in no more.
    async fn slow_down(&self, name: &str, client: IpAddr) -> Result<bool, LoginError> {
        let (name, network) = (by_name(name), by_network(client));
        let failures = self.store.login_failures(&[name.clone(), network.clone()], FORGOTTEN_AFTER).await?;
        let of = |what: &str| failures.iter().find(|(known, _)| known == what).map_or(0, |(_, count)| *count);
        tokio::time::sleep(wait(of(&name))).await;
        let locked = of(&network) >= NETWORK_FAILURES_MAX;
        if locked {
            warn!(%client, "a network has failed to log in too often and is let in no more for 15 min");
        }
        Ok(locked)
    }

    async fn welcome(&self, name: &str, policy: Policy) -> Result<Identity, LoginError> {
        self.store.login_forgiven(&by_name(name)).await?;
        Ok(Identity { name: format!("account:{name}"), policy })
    }

    async fn find(&self, name: &str) -> Result<Option<Found>, LoginError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Ok(None);
        }
        // Asked in every case: an account of the configuration is not to be told by its time.
        let stored = self.store.account(name).await?;
        if let Some(account) = self.accounts.get(name) {
            let password = account.password.clone().map_or(Secret::None, Secret::Clear);
            return Ok(Some(Found { policy: account.policy.clone(), password }));
        }
        let Some(account) = stored else { return Ok(None) };
        match serde_json::from_str(&account.policy) {
            Ok(policy) => Ok(Some(Found { policy, password: Secret::Hashed(Box::new(account)) })),
            // Written by a newer version: what it forbids is not known.
            Err(error) => Err(LoginError::Away(format!("what account {name} may send cannot be read: {error}"))),
        }
    }

    async fn verify(&self, password: String, hash: String) -> Result<bool, LoginError> {
        self.blocking(move || passwords::verify(&password, &hash)).await
    }

    async fn derive(&self, password: String, salt: Vec<u8>) -> Result<ScramKeys, LoginError> {
        self.blocking(move || passwords::scram(&password, &salt)).await
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoginError> {
        let _place = self.hashing.acquire().await.map_err(|error| LoginError::Away(error.to_string()))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| LoginError::Away(error.to_string()))
    }
}

/// 125 ms, 250 ms, … up to eight seconds.
fn wait(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(WAIT_MAX),
    }
}

fn by_name(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX && !name.contains('\0') {
        format!("name:{name}")
    } else {
        format!("name#{}", data_encoding::HEXLOWER.encode(&Sha256::digest(name.as_bytes())))
    }
}

/// Who has one IPv6 address has the /64 around it.
fn by_network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => format!("net:{address}"),
        IpAddr::V6(address) => format!("net:{}/64", Ipv6Addr::from(u128::from(address) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::testing::{Issuer, claims, rules};
    use super::*;
    use crate::domain::Timestamp;
    use crate::store::testing::{self, TestStore};

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 5, 7));

    struct Fixed(Vec<u8>);

    #[async_trait::async_trait]
    impl Fetch for Fixed {
        async fn fetch(&self) -> Result<Vec<u8>, String> {
            Ok(self.0.clone())
        }
    }

    struct Bench {
        logins: Logins,
        issuer: Issuer,
        store: TestStore,
    }

    async fn bench() -> Bench {
        let store = testing::sqlite().await;
        let issuer = Issuer::new();
        let account = |password: Option<&str>, billing: &str| AccountConfig {
            password: password.map(str::to_owned),
            policy: Policy { billing: Some(billing.to_owned()), ..Policy::default() },
        };
        let accounts = [
            ("copier".to_owned(), account(Some("print-more"), "copier")),
            ("anna@example.com".to_owned(), account(None, "anna")),
        ];
        let config = SendersConfig { accounts: accounts.into(), oauth2: Some(rules()), ..SendersConfig::default() };
        let keys: Arc<dyn Fetch> = Arc::new(Fixed(issuer.jwks().to_string().into_bytes()));
        let clock: Arc<dyn Clock> = Arc::clone(&store.clock) as Arc<dyn Clock>;
        let logins =
            Logins::open(&config, Some(keys), Arc::clone(&store.store) as Arc<dyn Store>, clock).await.unwrap();
        let stored = passwords::store("correct horse").unwrap();
        let ben = Account {
            name: "ben".into(),
            password: stored.password,
            scram: stored.scram,
            policy: r#"{"billing":"ben","faxes_per_day":3}"#.into(),
            made_at: Timestamp(0),
            made_by: "root".into(),
        };
        store.store.put_account(&ben).await.unwrap();
        Bench { logins, issuer, store }
    }

    #[track_caller]
    fn assert_is(login: Result<Identity, LoginError>, name: &str, billing: &str) {
        let identity = login.unwrap();
        assert_eq!((identity.name.as_str(), identity.policy.billing.as_deref()), (name, Some(billing)));
    }

    #[tokio::test]
    async fn t2_accounts_of_the_configuration_and_of_the_store_log_in_with_their_passwords() {
        let Bench { logins, store: _store, .. } = bench().await;
        assert_is(logins.password("Copier", "print-more", HOME).await, "account:copier", "copier");
        assert_is(logins.password("ben", "correct horse", HOME).await, "account:ben", "ben");
        for (name, password) in
            [("copier", "print-less"), ("ben", "correct horsf"), ("nobody", "x"), ("anna@example.com", ""), ("", "")]
        {
            assert_eq!(logins.password(name, password, HOME).await, Err(LoginError::Wrong), "{name}");
        }
    }

    #[tokio::test]
    async fn t3_scram_keys_are_those_of_the_account_and_stable_ones_for_nobody() {
        let Bench { logins, store, .. } = bench().await;
        let ben = logins.scram("ben", HOME).await.unwrap();
        assert!(ben == store.store.account("ben").await.unwrap().unwrap().scram);
        let copier = logins.scram("copier", HOME).await.unwrap();
        assert!(copier == passwords::scram("print-more", &copier.salt));
        let nobody = logins.scram("nobody", HOME).await.unwrap();
        assert!(nobody == logins.scram("NoBody", HOME).await.unwrap());
        assert_eq!((nobody.salt.len(), nobody.iterations), (copier.salt.len(), copier.iterations));
        assert_is(logins.proved("ben").await, "account:ben", "ben");
        assert_eq!(logins.proved("nobody").await, Err(LoginError::Wrong));
    }

    #[tokio::test]
    async fn t3_a_token_logs_in_the_account_that_it_names_and_no_other() {
        let Bench { logins, issuer, store } = bench().await;
        let now = store.clock.now();
        let token = issuer.token("ES256", "ec", &claims(now));
        assert_is(logins.token(Some("Anna@example.com"), &token, HOME).await, "account:anna@example.com", "anna");
        assert_is(logins.token(None, &token, HOME).await, "account:anna@example.com", "anna");
        assert_eq!(logins.token(Some("ben"), &token, HOME).await, Err(LoginError::Wrong));
        let mut stranger = claims(now);
        stranger["preferred_username"] = "stranger@example.com".into();
        let stranger = issuer.token("RS256", "rsa", &stranger);
        assert_eq!(logins.token(None, &stranger, HOME).await, Err(LoginError::Wrong));
        store.clock.advance(Duration::from_secs(700));
        assert_eq!(logins.token(None, &token, HOME).await, Err(LoginError::Wrong), "it has expired");
    }

    #[tokio::test]
    async fn t2_each_failure_makes_the_next_guess_wait_longer_also_for_names_that_do_not_exist() {
        let Bench { logins, store: _store, .. } = bench().await;
        for name in ["ben", "nobody"] {
            for failures in 0..3 {
                let begun = tokio::time::Instant::now();
                assert_eq!(logins.password(name, "guess", HOME).await, Err(LoginError::Wrong));
                assert!(begun.elapsed() >= wait(failures), "{name}: after {failures} failures");
            }
        }
        // The right one forgives the name.
        assert_is(logins.password("ben", "correct horse", HOME).await, "account:ben", "ben");
        assert_eq!(logins.store.login_failures(&[by_name("ben")], FORGOTTEN_AFTER).await.unwrap(), []);
        assert_eq!((wait(0), wait(1), wait(3), wait(99)), (Duration::ZERO, FIRST_WAIT, FIRST_WAIT * 4, WAIT_MAX));
    }

    #[tokio::test]
    async fn t2_a_network_that_guesses_is_not_let_in_with_the_right_password_until_it_is_forgotten() {
        let Bench { logins, store, .. } = bench().await;
        for guess in 0..NETWORK_FAILURES_MAX {
            logins.failed(&format!("name-{guess}"), HOME).await;
        }
        assert_eq!(logins.password("ben", "correct horse", HOME).await, Err(LoginError::Wrong));
        let elsewhere = "2001:db8::7".parse().unwrap();
        assert_is(logins.password("ben", "correct horse", elsewhere).await, "account:ben", "ben");
        store.clock.advance(FORGOTTEN_AFTER + Duration::from_secs(1));
        assert_is(logins.password("ben", "correct horse", HOME).await, "account:ben", "ben");
        assert_eq!(by_network("2001:db8::7".parse().unwrap()), by_network("2001:db8::8".parse().unwrap()));
        // Who is not let in gets keys that no password fits, and so can prove nothing.
        let ben = store.store.account("ben").await.unwrap().unwrap().scram;
        for guess in 0..NETWORK_FAILURES_MAX {
            logins.failed(&format!("name-{guess}"), HOME).await;
        }
        assert!(logins.scram("ben", HOME).await.unwrap() != ben);
        assert!(logins.scram("ben", elsewhere).await.unwrap() == ben);
    }
}
