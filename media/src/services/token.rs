//! Signed tokens: `base64url(payload).base64url(HMAC-SHA256(payload))`, the payload being JSON.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Longest token looked at, in bytes. The longest that is given has 2243: a viewer of 256 bytes, each of which JSON may escape
/// with six, in base64.
const LONGEST: usize = 4096;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The viewer.
    pub sub: String,
    /// The channel it may watch.
    pub channel: String,
    /// Until when, in seconds since the Unix epoch, exclusive.
    pub exp: u64,
}

/// Why a token is not accepted. A caller learns no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or not signed with this key.
    #[error("invalid token")]
    Invalid,
    /// Right, but too late.
    #[error("expired token")]
    Expired,
}

/// Signs tokens and derives content keys. Its `Debug` shows no key.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// A signer with `key`; `None` when it is shorter than 16 bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < 16 {
            return None;
        }
        Hmac::new_from_slice(key).ok().map(|mac| Self { mac })
    }

    /// A token for `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signature = self.token_mac(&payload).finalize().into_bytes();
        Ok(format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of `token` if its signature is right (compared in constant time) and `now`, in Unix seconds, is before its
    /// end.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let parts = token.split_once('.').filter(|_| token.len() <= LONGEST);
        let (payload, signature) = parts.ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Invalid)?;
        self.token_mac(payload)
            .verify_slice(&signature)
            .map_err(|_| TokenError::Invalid)?;
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&json).map_err(|_| TokenError::Invalid)?;
        if now < claims.exp {
            Ok(claims)
        } else {
            Err(TokenError::Expired)
        }
    }

    /// The content key of `key_id` in `channel`: every licence server with the same key file derives the same.
    pub fn content_key(&self, channel: &str, key_id: &[u8; 16]) -> [u8; 16] {
        // A channel is a DNS label, so the zero byte ends it.
        let mac = self
            .mac
            .clone()
            .chain_update(b"content-key\0")
            .chain_update(channel)
            .chain_update([0])
            .chain_update(key_id);
        let digest = mac.finalize().into_bytes();
        std::array::from_fn(|at| digest[at])
    }

    fn token_mac(&self, payload: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(b"token\0").chain_update(payload)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::new(b"0123456789abcdef").unwrap()
    }

    fn claims() -> Claims {
        Claims {
            sub: "ann".into(),
            channel: "main".into(),
            exp: 1000,
        }
    }

    #[test]
    fn valid_until_it_expires() {
        let token = signer().sign(&claims()).unwrap();
        assert_eq!(signer().verify(&token, 999), Ok(claims()));
        assert_eq!(signer().verify(&token, 1000), Err(TokenError::Expired));
        let other = Signer::new(b"fedcba9876543210").unwrap();
        assert_eq!(other.verify(&token, 999), Err(TokenError::Invalid));
    }

    #[test]
    fn a_key_must_be_long_and_is_never_shown() {
        assert!(Signer::new(b"short").is_none());
        assert_eq!(format!("{:?}", signer()), "Signer(..)");
    }

    #[test]
    fn content_keys_differ_by_channel_and_key_id() {
        let (key, id) = (signer(), [7; 16]);
        assert_eq!(key.content_key("main", &id), key.content_key("main", &id));
        assert_ne!(key.content_key("main", &id), key.content_key("sport", &id));
        assert_ne!(key.content_key("main", &id), key.content_key("main", &[8; 16]));
    }

    /// The longest name of a viewer, every byte of it written as six in JSON.
    #[test]
    fn every_token_that_is_given_is_taken() {
        let claims = Claims {
            sub: "\u{1}".repeat(256),
            channel: "c".repeat(63),
            exp: u64::MAX,
        };
        let token = signer().sign(&claims).unwrap();
        assert_eq!(signer().verify(&token, 0), Ok(claims));
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_token(text in "[A-Za-z0-9_.=-]{0,120}") {
            prop_assert_eq!(signer().verify(&text, 0), Err(TokenError::Invalid));
        }

        #[test]
        fn no_changed_character_passes(at in 0usize..200, to in "[A-Za-z0-9_.-]") {
            let token = signer().sign(&claims()).unwrap();
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            if changed != token {
                prop_assert_eq!(signer().verify(&changed, 0), Err(TokenError::Invalid));
            }
        }
    }
}
