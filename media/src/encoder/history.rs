//! The recent past, for an origin that has lost it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::sink::Made;
use crate::object::ObjectName;

/// Segments kept of each rendition.
const MOST_SEGMENTS: usize = 64;
/// Bytes kept in all.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Initialisation segments and the newest segments of every rendition, bounded in number and bytes.
#[derive(Debug, Default)]
pub struct History {
    inits: HashMap<String, Bytes>,
    segments: BTreeMap<String, VecDeque<(u64, Bytes)>>,
    bytes: usize,
}

impl History {
    /// Remembers `made`.
    pub fn add(&mut self, made: &Made) {
        let ObjectName::Segment(number) = made.name else {
            self.inits.insert(made.rendition.clone(), made.body.clone());
            return;
        };
        let segments = self.segments.entry(made.rendition.clone()).or_default();
        segments.push_back((number, made.body.clone()));
        self.bytes += made.body.len();
        if segments.len() > MOST_SEGMENTS {
            self.bytes -= segments.pop_front().map_or(0, |(_, body)| body.len());
        }
        while self.bytes > MOST_BYTES && self.drop_oldest() {}
    }

    /// What an origin needs that has nothing of `rendition`: the initialisation segment, then the segments, oldest first.
    pub fn of(&self, rendition: &str) -> Vec<(ObjectName, Bytes)> {
        let init = self.inits.get(rendition).map(|body| (ObjectName::Init, body.clone()));
        let segments = self.segments.get(rendition).into_iter().flatten();
        init.into_iter()
            .chain(segments.map(|(number, body)| (ObjectName::Segment(*number), body.clone())))
            .collect()
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self
            .segments
            .values_mut()
            .filter(|segments| segments.len() > 1)
            .min_by_key(|segments| segments.front().map(|(number, _)| *number));
        let dropped = oldest.and_then(VecDeque::pop_front);
        self.bytes -= dropped.as_ref().map_or(0, |(_, body)| body.len());
        dropped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rendition: &str, name: ObjectName, size: usize) -> Made {
        Made {
            generation: 1,
            rendition: rendition.into(),
            name,
            body: vec![0; size].into(),
        }
    }

    #[test]
    fn keeps_the_newest_within_its_bounds() {
        let mut history = History::default();
        history.add(&made("hi", ObjectName::Init, 10));
        for number in 0..100 {
            history.add(&made("hi", ObjectName::Segment(number), 2 * 1024 * 1024));
        }
        let kept = history.of("hi");
        assert_eq!(kept.first().map(|(name, _)| *name), Some(ObjectName::Init));
        assert_eq!(kept.get(1).map(|(name, _)| *name), Some(ObjectName::Segment(68)));
        assert_eq!(kept.len(), 33);
        assert!(history.of("lo").is_empty());
    }
}
