//! Tokens and licence requests, as viewers send them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use showrunner_media::services::{
    licence,
    token::{Claims, Signer, TokenError},
};

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(b"0123456789abcdef").expect("long enough"));

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // Nobody else has the key: whatever comes from outside is no token of ours.
        assert_eq!(SIGNER.verify(text, 0), Err(TokenError::Invalid));
        own_tokens(text);
    }
    licences(data);
});

/// What is signed is accepted until it expires, and nothing near it ever.
fn own_tokens(text: &str) {
    // The longest name that the entitlement service takes.
    let sub: String = text
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= 256).then_some(c)
        })
        .collect();
    let exp = text
        .bytes()
        .fold(1, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        .max(1);
    let claims = Claims {
        sub,
        channel: "main".into(),
        exp,
    };
    let token = SIGNER.sign(&claims).expect("claims are JSON");
    assert_eq!(SIGNER.verify(&token, exp - 1), Ok(claims));
    assert_eq!(SIGNER.verify(&token, exp), Err(TokenError::Expired));
    let at = exp as usize % token.len();
    let mut changed = token.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    assert_eq!(SIGNER.verify(&changed, 0), Err(TokenError::Invalid));
    for cut in [0, at, token.len() - 1] {
        assert_eq!(SIGNER.verify(&token[..cut], 0), Err(TokenError::Invalid));
    }
}

fn licences(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<licence::Request>(data) else {
        return;
    };
    if let Ok(licence) = licence::grant(&SIGNER, "main", &request) {
        assert!((1..=16).contains(&licence.keys.len()));
        for (key, kid) in licence.keys.iter().zip(&request.kids) {
            assert_eq!(&key.kid, kid, "keys come in the order asked for");
            assert_eq!((key.k.len(), kid.len()), (22, 22), "16 bytes each");
        }
        assert_eq!(
            licence::grant(&SIGNER, "main", &request),
            Ok(licence),
            "every server gives the same"
        );
    }
}
