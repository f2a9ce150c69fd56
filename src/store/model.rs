//! What the store takes and gives. Plain data; the rules are in the implementations and in the schema.

mod calls;
mod documents;
mod limits;
mod messages;
mod notices;
mod orders;
mod ownership;
mod reading;
mod received;
mod retention;
mod senders;

pub use calls::*;
pub use documents::*;
pub use limits::*;
pub use messages::*;
pub use notices::*;
pub use orders::*;
pub use ownership::*;
pub use reading::*;
pub use received::*;
pub use retention::*;
pub use senders::*;
