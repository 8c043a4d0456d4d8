//! Licences in the W3C ClearKey JSON format (Encrypted Media Extensions §9.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::token::Signer;

/// Key ids that one request may ask for.
const MOST_KEYS: usize = 16;

/// A licence request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// Key ids, base64url without padding, 16 bytes each.
    pub kids: Vec<String>,
    /// `temporary` or `persistent-license`; only the first is given.
    #[serde(rename = "type", default = "temporary")]
    pub kind: String,
}

/// A licence: a JSON Web Key set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Licence {
    /// The keys, in the order asked for.
    pub keys: Vec<Key>,
    /// Always `temporary`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// One symmetric key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Always `oct`.
    pub kty: &'static str,
    /// Key id, base64url.
    pub kid: String,
    /// The key, base64url.
    pub k: String,
}

/// Why a request gets no licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LicenceError {
    /// None or too many.
    #[error("kids must hold 1 to 16 key ids")]
    Count,
    /// Not 16 bytes in base64url.
    #[error("a key id is 16 bytes in base64url without padding")]
    KeyId,
    /// A licence to keep.
    #[error("only temporary licences are given")]
    Kind,
}

/// The licence for `channel`.
pub fn grant(signer: &Signer, channel: &str, request: &Request) -> Result<Licence, LicenceError> {
    if request.kids.is_empty() || request.kids.len() > MOST_KEYS {
        return Err(LicenceError::Count);
    }
    if request.kind != "temporary" {
        return Err(LicenceError::Kind);
    }
    let key = |kid: &String| {
        let id = URL_SAFE_NO_PAD
            .decode(kid)
            .ok()
            .and_then(|id| <[u8; 16]>::try_from(id).ok())
            .ok_or(LicenceError::KeyId)?;
        let k = URL_SAFE_NO_PAD.encode(signer.content_key(channel, &id));
        Ok(Key {
            kty: "oct",
            kid: kid.clone(),
            k,
        })
    };
    Ok(Licence {
        keys: request.kids.iter().map(key).collect::<Result<_, _>>()?,
        kind: "temporary",
    })
}

fn temporary() -> String {
    "temporary".into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn ask(kids: &[&str], kind: &str) -> Result<Licence, LicenceError> {
        let signer = Signer::new(b"0123456789abcdef").unwrap();
        grant(
            &signer,
            "main",
            &Request {
                kids: kids.iter().map(|kid| (*kid).to_owned()).collect(),
                kind: kind.into(),
            },
        )
    }

    #[test]
    fn a_key_for_each_key_id() {
        let licence = ask(&["LwVHf8JLtPrv2GUXFW2v_A", "0DdtU9od-Bh5L3xbv0Xf_A"], "temporary").unwrap();
        assert_eq!(licence.keys.len(), 2);
        assert_eq!(URL_SAFE_NO_PAD.decode(&licence.keys[0].k).unwrap().len(), 16);
        assert_ne!(licence.keys[0].k, licence.keys[1].k);
    }

    #[test]
    fn bad_requests() {
        assert_eq!(ask(&[], "temporary"), Err(LicenceError::Count));
        assert_eq!(
            ask(&["LwVHf8JLtPrv2GUXFW2v_A"; 17], "temporary"),
            Err(LicenceError::Count)
        );
        assert_eq!(ask(&["short"], "temporary"), Err(LicenceError::KeyId));
        assert_eq!(
            ask(&["LwVHf8JLtPrv2GUXFW2v_A"], "persistent-license"),
            Err(LicenceError::Kind)
        );
    }
}
