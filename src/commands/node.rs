//! `node list|drain|resume`: nodes, and taking one out of service for maintenance.

use clap::{Args, Subcommand};

use super::client::{Client, encoded};
use super::exit::{Exit, Outcome};
use super::orders::local_user;
use super::out::{Out, Paint, local_time};
use super::place::Place;
use crate::console::OrderBody;
use crate::console::nodes::{NodeList, NodeOrder, Standing};
use crate::console::view::NodeView;

/// Show the nodes, and take one out of service and back
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List the nodes: roles, version, how each stands
    #[command(after_help = "Example: faxwell node list")]
    List,
    /// Take a node out of service: no new mail or call, what it works on is finished; restarts change nothing
    #[command(after_help = "Example: faxwell node drain gw-a")]
    Drain(OrderArgs),
    /// Take a node into service again
    #[command(after_help = "Example: faxwell node resume gw-a")]
    Resume(OrderArgs),
}

#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// Name of the node; the one that is asked when absent
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Who orders, for the log; the local user by default
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(super) async fn run(command: NodeCommand, place: Place, out: Out) -> Outcome {
    let client = Client::new(&place.socket()?);
    match command {
        NodeCommand::List => list(&client, out).await,
        NodeCommand::Drain(args) => order(NodeOrder::Drain, args, &client, out).await,
        NodeCommand::Resume(args) => order(NodeOrder::Resume, args, &client, out).await,
    }
}

async fn list(client: &Client, out: Out) -> Outcome {
    let list: NodeList = client.get("/api/v1/nodes").await?;
    if out.json() {
        list.nodes.iter().try_for_each(|node| out.object(node))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = list.nodes.iter().map(row).collect();
    out.table(&["NODE", "STANDING", "ROLES", "VERSION", "SEEN", "ORDERED BY"], &rows)?;
    Ok(Exit::Ok)
}

fn row(node: &NodeView) -> Vec<String> {
    let ordered = node.drain_ordered_by.clone().unwrap_or_default();
    let standing = node.standing.to_string();
    vec![node.node.clone(), standing, node.roles.clone(), node.version.clone(), local_time(&node.seen_at), ordered]
}

async fn order(order: NodeOrder, args: OrderArgs, client: &Client, out: Out) -> Outcome {
    let node = match args.node {
        Some(node) => node,
        None => client.get::<crate::console::view::StatusView>("/api/v1/status").await?.node,
    };
    let body = OrderBody { by: Some(args.by.unwrap_or_else(local_user)), ..OrderBody::default() };
    let view: NodeView = client.post(&format!("/api/v1/nodes/{}/{order}", encoded(&node)), &body).await?;
    if out.json() {
        out.object(&view)?;
    } else {
        out.line(&text(order, &view, out))?;
    }
    Ok(Exit::Ok)
}

fn text(order: NodeOrder, view: &NodeView, out: Out) -> String {
    let node = &view.node;
    match (order, view.standing) {
        (_, Standing::Gone) => {
            let seen = local_time(&view.seen_at);
            format!("{node} {}: it obeys when it is back (last seen {seen})", out.paint("is gone", Paint::Bad))
        }
        (NodeOrder::Drain, Standing::Drained) => format!("{node} is out of service"),
        (NodeOrder::Drain, _) => format!("{node} finishes what it works on; see when it is done: faxwell node list"),
        (NodeOrder::Resume, _) => format!("{node} is taken into service"),
    }
}
