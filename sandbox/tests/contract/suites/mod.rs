//! The tests, a module for each part of the contract.

pub(crate) mod admission;
pub(crate) mod apply;
pub(crate) mod crud;
pub(crate) mod definitions;
pub(crate) mod deletion;
pub(crate) mod discovery;
pub(crate) mod dry_run;
pub(crate) mod events;
pub(crate) mod expiry;
pub(crate) mod field_validation;
pub(crate) mod found;
pub(crate) mod generate_name;
pub(crate) mod kinds;
pub(crate) mod namespaces;
pub(crate) mod ownership;
pub(crate) mod pages;
pub(crate) mod patch;
pub(crate) mod rules;
pub(crate) mod schemas;
pub(crate) mod services;
pub(crate) mod subresources;
pub(crate) mod tables;
pub(crate) mod watch;

pub(crate) mod objects;
