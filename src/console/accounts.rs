//! Accounts of people and devices that log in over SMTP, as they are made and removed. On the control socket alone.
//!
//! A password comes in once and is stored as what verifies it; nothing that is answered holds it, or what verifies it.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Console, Problem};
use crate::config::values;
use crate::domain::{Cause, Timestamp};
use crate::senders::{Policy, passwords};
use crate::store::Account;

/// Longest password, octets: what SASL takes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// An account to make, or to change.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAccount {
    /// Its password; stored as what verifies it.
    pub password: String,
    /// What it may send; none: as before, or anything for a new one.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Who makes it.
    pub by: String,
    /// Whether it must be there before, or must not.
    pub expect: Expect,
}

/// Whether an account must be there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// It must not.
    New,
    /// It must.
    Known,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// What it may send.
    pub policy: Policy,
    /// Since when it has this password.
    pub made_at: String,
    /// Who made it.
    pub made_by: String,
}

/// Accounts of the store, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountList {
    /// Them.
    pub accounts: Vec<AccountView>,
}

fn view(account: &Account) -> Result<AccountView, Problem> {
    let policy = serde_json::from_str(&account.policy)
        .map_err(|error| Problem::of(Cause::Internal, &format!("account {}: {error}", account.name)))?;
    let (name, made_by) = (account.name.clone(), account.made_by.clone());
    Ok(AccountView { name, policy, made_at: account.made_at.to_jiff().to_string(), made_by })
}

/// `GET /api/v1/accounts`
pub(super) async fn list(State(console): State<Console>) -> Result<Json<AccountList>, Problem> {
    let accounts = console.services.store.accounts().await?;
    Ok(Json(AccountList { accounts: accounts.iter().map(view).collect::<Result<_, _>>()? }))
}

/// `POST /api/v1/accounts/NAME`
pub(super) async fn set(
    State(console): State<Console>,
    Path(name): Path<String>,
    Json(wanted): Json<SetAccount>,
) -> Result<Json<AccountView>, Problem> {
    let name = name.to_lowercase();
    let plain = (1..=128).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || "@.-_+".contains(c));
    if !plain {
        let fix = "use letters, digits and @ . - _ +, at most 128, as in copier-2 or anna@example.com";
        return Err(Problem::bad_request(format!("{name:?} is no name of an account"), fix));
    }
    check(&wanted)?;
    let store = &console.services.store;
    let before = store.account(&name).await?;
    match (wanted.expect, &before) {
        (Expect::New, Some(_)) => {
            let (title, cause) = (format!("account {name} is not added"), "there is one of this name");
            return Err(Problem::wrong_state(
                title,
                cause,
                format!("change its password: faxwell account passwd {name}"),
            ));
        }
        (Expect::Known, None) => return Err(Problem::not_found(format!("account {name}"))),
        _ => {}
    }
    let policy = match (&wanted.policy, before) {
        (Some(policy), _) => {
            serde_json::to_string(policy).map_err(|error| Problem::of(Cause::Internal, &error.to_string()))?
        }
        (None, Some(before)) => before.policy,
        (None, None) => "{}".to_owned(),
    };
    let password = wanted.password;
    let stored = tokio::task::spawn_blocking(move || passwords::store(&password)).await;
    let stored = stored.map_err(|error| Problem::of(Cause::Internal, &error.to_string()))?;
    let stored = stored.map_err(|error| Problem::of(Cause::Internal, &error.to_string()))?;
    let (password, scram) = (stored.password, stored.scram);
    // The store says when.
    let account = Account { name: name.clone(), password, scram, policy, made_at: Timestamp(0), made_by: wanted.by };
    store.put_account(&account).await?;
    let Some(made) = store.account(&name).await? else { return Err(Problem::not_found(format!("account {name}"))) };
    Ok(Json(view(&made)?))
}

fn check(wanted: &SetAccount) -> Result<(), Problem> {
    let (chars, bytes) = (wanted.password.chars().count(), wanted.password.len());
    if chars < passwords::PASSWORD_CHARS_MIN
        || bytes > PASSWORD_BYTES_MAX
        || wanted.password.chars().any(char::is_control)
    {
        let title = format!("the password has {chars} characters");
        return Err(Problem::bad_request(title, "use 8 characters or more, at most 1024 octets, on one line"));
    }
    let Some(policy) = &wanted.policy else { return Ok(()) };
    let from = policy.from.iter().map(|text| values::sender(text));
    let prefixes = policy.allow.iter().chain(&policy.deny).map(|text| values::prefix(text));
    let labels = policy
        .cover
        .iter()
        .map(|text| values::cover(text))
        .chain(policy.billing.iter().map(|text| values::label(text)));
    match from.chain(prefixes).chain(labels).find_map(Result::err) {
        Some(fault) => Err(Problem::bad_request(fault.message, fault.fix)),
        None => Ok(()),
    }
}

/// `?by=anna`
#[derive(Debug, Deserialize)]
pub(super) struct RemoveQuery {
    by: String,
}

/// `DELETE /api/v1/accounts/NAME`
pub(super) async fn remove(
    State(console): State<Console>,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    console.services.store.remove_account(&name.to_lowercase(), &query.by).await?;
    Ok(StatusCode::NO_CONTENT)
}
