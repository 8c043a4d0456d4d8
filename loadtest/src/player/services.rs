//! Bodies of the calls to services, and what their answers say.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Identity;

/// Largest answer read, in bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// How often a critical service is asked before the session is given up.
pub(super) const ATTEMPTS: u8 = 5;

#[derive(Deserialize)]
struct Entitlement {
    token: String,
}

#[derive(Deserialize)]
struct Licence {
    keys: Vec<serde_json::Value>,
}

/// `POST /entitlement`, and `/heartbeat`.
pub(super) fn who(identity: &Identity) -> Vec<u8> {
    serde_json::json!({ "viewer": identity.viewer.to_string(), "channel": &*identity.channel })
        .to_string()
        .into_bytes()
}

/// `POST /licence`: a W3C ClearKey request. The key id is made from the channel's name, 16 bytes as the format wants.
pub(super) fn licence_request(identity: &Identity) -> Vec<u8> {
    let mut kid = [0u8; 16];
    for (index, byte) in identity.channel.bytes().enumerate() {
        kid[index % 16] ^= byte;
    }
    serde_json::json!({ "kids": [URL_SAFE_NO_PAD.encode(kid)], "type": "temporary" })
        .to_string()
        .into_bytes()
}

/// The token of an entitlement.
pub(super) fn token(answer: &[u8]) -> Option<Arc<str>> {
    let entitlement: Entitlement = serde_json::from_slice(answer).ok()?;
    // It goes into a header.
    let clean = !entitlement.token.is_empty() && entitlement.token.bytes().all(|byte| byte.is_ascii_graphic());
    clean.then(|| entitlement.token.into())
}

/// Whether an answer holds keys.
pub(super) fn has_keys(answer: &[u8]) -> bool {
    serde_json::from_slice::<Licence>(answer).is_ok_and(|licence| !licence.keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cannot_smuggle_headers() {
        assert_eq!(
            token(br#"{"token":"abc.def","expiresIn":60}"#).as_deref(),
            Some("abc.def")
        );
        assert_eq!(token(br#"{"token":"a\r\nX: y"}"#), None);
        assert_eq!(token(b"nonsense"), None);
        assert!(has_keys(br#"{"keys":[{"kty":"oct"}],"type":"temporary"}"#));
        assert!(!has_keys(br#"{"keys":[]}"#));
    }
}
