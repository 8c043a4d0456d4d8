//! Short, stable hashes of specs, in the alphabet Kubernetes uses for generated names.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// No vowels and none of 0, 1, 3: a hash cannot spell a word.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const LENGTH: usize = 10;

/// A hash of the JSON form of `value`. `salt` (a collision count) changes it when two values happened to collide.
///
/// Upstream hashes a Go memory dump with FNV-32a, which nothing else can reproduce; only the form is the same.
pub(crate) fn short_hash<T: Serialize>(value: &T, salt: Option<i32>) -> Result<String, serde_json::Error> {
    // Through `Value`: object keys come out sorted, so the hash does not depend on field order.
    let canonical = serde_json::to_vec(&serde_json::to_value(value)?)?;
    let mut hasher = Sha256::new();
    hasher.update(&canonical);
    if let Some(salt) = salt {
        hasher.update(salt.to_le_bytes());
    }
    let digest = hasher.finalize();
    Ok(digest
        .iter()
        .take(LENGTH)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_hash_is_stable_and_salted() {
        let value = serde_json::json!({"a": 1, "b": [1, 2]});
        let hash = short_hash(&value, None).unwrap();
        assert_eq!(
            hash,
            short_hash(&serde_json::json!({"b": [1, 2], "a": 1}), None).unwrap()
        );
        assert_ne!(hash, short_hash(&value, Some(1)).unwrap());
        assert_ne!(
            hash,
            short_hash(&serde_json::json!({"a": 2, "b": [1, 2]}), None).unwrap()
        );
        assert!(hash.bytes().all(|byte| ALPHABET.contains(&byte)) && hash.len() == LENGTH);
    }
}
