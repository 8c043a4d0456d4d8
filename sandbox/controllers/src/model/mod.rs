//! Pure rules that several controllers share: ownership, selectors, pod state, percentages, quantities, hashes.

pub(crate) mod hash;
pub(crate) mod intstr;
pub(crate) mod meta;
pub(crate) mod pod;
pub(crate) mod same;
pub(crate) mod template;
#[cfg(test)]
pub(crate) mod testing;
