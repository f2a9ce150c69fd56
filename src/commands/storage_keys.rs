//! `storage`: where mails and pages are, and the keys that seal them.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::exit::{Exit, Failed, Outcome};
use super::out::Out;
use super::place::Place;
use super::storage;
use crate::console::view::SealingView;
use crate::documents::{DocumentsError, KeyRing, Repository};
use crate::domain::{Clock as _, SystemClock};

/// Look after the documents: their repository, and the keys that seal them
#[derive(Debug, Subcommand)]
pub(super) enum StorageCommand {
    /// Write something into the repository of documents, and read the keys: whether this node can use them
    #[command(after_help = "Example: faxwell storage check -c /etc/faxwell/faxwell.toml")]
    Check,
    /// Make keys for the file that store.keys names
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Wrap the key of every document with the newest key; run it again when it was broken off
    #[command(
        after_help = "Example: faxwell storage rotate-keys\nEvery node must have the new line in its file of keys."
    )]
    RotateKeys,
    /// Seal what was stored in the clear before store.keys was set; run it again when it was broken off
    #[command(
        after_help = "Example: faxwell storage seal\nExit: 6 when some documents are damaged and stay as they are"
    )]
    Seal,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print a line with a new key; the last line of the file seals, all of them open
    #[command(after_help = "Example: faxwell storage keys new >> /etc/faxwell/secrets/store.keys")]
    New,
}

pub(super) async fn run(command: StorageCommand, place: Place, out: Out) -> Outcome {
    match command {
        StorageCommand::Check => check(&place, out).await,
        StorageCommand::Keys(KeysCommand::New) => new_key(out),
        StorageCommand::RotateKeys => {
            let told = ("wrapping keys", "keys of documents are wrapped with the newest key now");
            every_batch("rotate-keys", told, &Client::new(&place.socket()?), out).await
        }
        StorageCommand::Seal => {
            let told = ("sealing documents", "documents are sealed now");
            every_batch("seal", told, &Client::new(&place.socket()?), out).await
        }
    }
}

async fn check(place: &Place, out: Out) -> Outcome {
    let store = place.load_for_questions()?.config.store;
    let keys = storage::read_keys(store.keys.as_deref()).map_err(failed)?;
    let repository = Repository::look_at(&store.documents, keys).map_err(failed)?;
    let spinner = out.spinner("writing into the repository");
    let checked = repository.check().await;
    spinner.finish_and_clear();
    checked.map_err(failed)?;
    let newest = repository.keys().map(KeyRing::newest);
    if out.json() {
        out.object(&json!({ "documents": store.documents.to_string(), "sealed_by": newest }))?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("{} takes documents", store.documents))?;
    out.line(&match newest {
        Some(id) => format!("they are sealed with the key {id}"),
        None => "they lie in the clear: store.keys is not set".to_owned(),
    })?;
    Ok(Exit::Ok)
}

fn failed(error: DocumentsError) -> Failed {
    let fix = "let this user reach and write that place; check store.documents and store.keys";
    Failed::because(Exit::Failed, "this node cannot use the documents", &error, fix)
}

fn new_key(out: Out) -> Outcome {
    let today = SystemClock.now().to_jiff().strftime("%Y-%m-%d").to_string();
    out.line(&KeyRing::new_line(&today))?;
    Ok(Exit::Ok)
}

/// One request does some of it, so that none takes too long.
async fn every_batch(order: &str, (doing, done): (&str, &str), client: &Client, out: Out) -> Outcome {
    let spinner = out.spinner(doing);
    let mut sum = SealingView::default();
    let mut next: Option<String> = None;
    loop {
        let after = next.as_ref().map(|key| format!("?after={key}")).unwrap_or_default();
        let batch: SealingView = client.post_empty(&format!("/api/v1/storage/{order}{after}")).await?;
        sum.done += batch.done;
        sum.damaged += batch.damaged;
        spinner.set_message(format!("{doing}: {}", sum.done));
        next = batch.next;
        if next.is_none() {
            break;
        }
    }
    spinner.finish_and_clear();
    if out.json() {
        out.object(&json!({ "done": sum.done, "damaged": sum.damaged }))?;
    } else {
        out.line(&format!("{} {done}", sum.done))?;
    }
    if sum.damaged == 0 {
        return Ok(Exit::Ok);
    }
    let message = format!("{} documents are damaged and stay as they are", sum.damaged);
    let fix = "see them with: faxwell db verify --deep";
    Err(Failed::new(Exit::SomeFailed, message, "their bytes or keys do not open", fix))
}
