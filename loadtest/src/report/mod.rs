//! Reports: pure functions of a verdict and its evidence.

mod chart;
mod html;
mod junit;
mod markdown;
mod table;

pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use table::table;
