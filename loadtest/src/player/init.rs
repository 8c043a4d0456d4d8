//! An initialisation section: what a decoder needs before the first segment of a rendition.

use std::sync::Arc;

use url::Url;

/// An initialisation section, as a playlist names it.
#[derive(Clone, Debug)]
pub(super) struct Init {
    pub base: Arc<Url>,
    pub map: Arc<str>,
}

impl Init {
    /// Its URL, if it has one.
    pub(super) fn url(&self) -> Option<Url> {
        self.base.join(&self.map).ok()
    }

    /// Whether both are at the same URL. Almost always told without making it.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same = self.map == other.map && (Arc::ptr_eq(&self.base, &other.base) || self.base == other.base);
        same || self.url() == other.url()
    }
}
