//! Walking boxes.

use super::BmffError;

/// One box: its type and its payload.
pub(super) struct Box4<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
}

/// Splits `bytes` into boxes that cover it exactly.
pub(super) fn split(bytes: &[u8]) -> Result<Vec<Box4<'_>>, BmffError> {
    let mut boxes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let bad = BmffError::BadBox(at);
        let (header, size) = match (be32(rest, 0), be64(rest, 8)) {
            (Some(1), Some(large)) => (16, large),
            // Size 0 ("to the end of the file") is for the last box of a file that is still being written: refused.
            (Some(size), _) if size != 1 => (8, u64::from(size)),
            _ => return Err(bad),
        };
        let size = usize::try_from(size).map_err(|_| BmffError::BadBox(at))?;
        if size < header || size > rest.len() || rest.len() < header {
            return Err(bad);
        }
        boxes.push(Box4 {
            kind: [rest[4], rest[5], rest[6], rest[7]],
            body: &rest[header..size],
        });
        at += size;
    }
    Ok(boxes)
}

/// The first child of `kind`.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &'static str) -> Result<&'a [u8], BmffError> {
    let found = split(bytes)?
        .into_iter()
        .find(|candidate| candidate.kind == kind.as_bytes());
    found.map(|found| found.body).ok_or(BmffError::Missing(kind))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    field.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    field.try_into().ok().map(u64::from_be_bytes)
}
