//! What a body may have been before something between rewrote it: the commonest reason why a right
//! secret does not fit.

use std::borrow::Cow;

/// How large a body is looked at: each form costs a copy and a hash, and whoever asks is unknown.
const LARGEST: usize = 1 << 18;

/// The forms: without or with a line break at the end, and the same JSON without white space or
/// indented by two, which is how JSON is written where it is written for people.
pub(super) fn earlier_forms(body: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let body = if body.len() <= LARGEST { body } else { b"" };
    let trimmed = body.trim_ascii_end();
    let ended = |end: &'static [u8]| Cow::from([trimmed, end].concat());
    let is_json = matches!(trimmed.trim_ascii_start().first(), Some(b'{' | b'['));
    let laid_out = |indent| if is_json { laid_out(trimmed, indent).map(Cow::from) } else { None };
    let forms = [
        Some(Cow::from(trimmed)),
        Some(ended(b"\n")),
        Some(ended(b"\r\n")),
        laid_out(None),
        laid_out(Some(2)),
    ];
    forms.into_iter().flatten().filter(move |form| !body.is_empty() && form.as_ref() != body)
}

/// JSON with other white space, its members in their order: none, or each on a line of its own.
/// Nothing of what would be more white space than JSON has: a line of brackets would be gigabytes.
fn laid_out(json: &[u8], indent: Option<usize>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        if let Some(indent) = indent {
            out.push(b'\n');
            out.resize(out.len() + indent * depth, b' ');
        }
    };
    for &byte in json {
        if out.len() > 8 * LARGEST {
            return None;
        }
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            out.push(byte);
            continue;
        }
        // The first member or item of what was opened.
        if matches!(out.last(), Some(b'{' | b'['))
            && !byte.is_ascii_whitespace()
            && !matches!(byte, b'}' | b']')
        {
            line(&mut out, depth);
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    line(&mut out, depth);
                }
            }
            b'"' => quoted = true,
            _ => {}
        }
        out.push(byte);
        match byte {
            b',' => line(&mut out, depth),
            b':' if indent.is_some() => out.push(b' '),
            _ => {}
        }
    }
    Some(out)
}
