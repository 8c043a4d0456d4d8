//! EndpointSlices (and the older Endpoints) of Services: which addresses, which ports, which of them ready.

mod address;
mod legacy;
pub(crate) mod plan;
mod ports;
pub(crate) mod run;
#[cfg(test)]
mod tests;
