//! Pages drawn into bits: exact pixels where they can be told, what must hold everywhere else.

mod common;
mod documents;
mod pictures;
mod shapes;
mod text;
