//! All tests by name.

use std::pin::Pin;

use crate::context::Context;

type Run = fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// One test of the contract.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) suite: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

impl Test {
    /// `suite::name`, by which exclusions and filters name it.
    pub(crate) fn full_name(&self) -> String {
        format!("{}::{}", self.suite, self.name)
    }
}

/// The tests of a module: `suite!("crud": creates, reads);`.
macro_rules! suite {
    ($suite:literal: $($test:ident),+ $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::registry::Test> {
            vec![$(crate::registry::Test { suite: $suite, name: stringify!($test), run: |c| Box::pin($test(c)) }),+]
        }
    };
}
pub(crate) use suite;

/// Every test, suite by suite.
pub(crate) fn all() -> Vec<Test> {
    use crate::suites::{
        admission, apply, crud, definitions, deletion, discovery, dry_run, events, expiry, field_validation, found,
        generate_name, kinds, namespaces, ownership, pages, patch, rules, schemas, services, subresources, tables,
        watch,
    };
    [
        admission::tests(),
        discovery::tests(),
        crud::tests(),
        kinds::tests(),
        services::tests(),
        generate_name::tests(),
        pages::tests(),
        watch::tests(),
        patch::tests(),
        apply::tests(),
        ownership::tests(),
        found::tests(),
        subresources::tests(),
        deletion::tests(),
        definitions::tests(),
        schemas::tests(),
        rules::tests(),
        dry_run::tests(),
        field_validation::tests(),
        tables::tests(),
        namespaces::tests(),
        events::tests(),
        expiry::tests(),
    ]
    .concat()
}
