//! Comparing two JSON texts by value, numbers exactly as they are written out and not as floats.

/// Whether two texts are the same JSON value. What is no JSON is compared as text; so are equal texts, duplicate keys
/// included.
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || canonical(a).is_some_and(|a| canonical(b).is_some_and(|b| a == b))
}

/// The text without blanks, with object members in order, escapes resolved and numbers in one spelling.
fn canonical(text: &str) -> Option<String> {
    let mut rest = text.trim_start();
    let value = value(&mut rest)?;
    rest.trim_start().is_empty().then_some(value)
}

fn value(rest: &mut &str) -> Option<String> {
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '{' => {
            let mut members = std::collections::BTreeMap::new();
            items(rest, '}', |rest| {
                let key = string(rest)?;
                eat(rest, ':')?;
                members.insert(key, value(rest)?);
                Some(())
            })?;
            let members: Vec<String> = members.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            Some(format!("{{{}}}", members.join(",")))
        }
        '[' => {
            let mut elements = Vec::new();
            items(rest, ']', |rest| {
                elements.push(value(rest)?);
                Some(())
            })?;
            Some(format!("[{}]", elements.join(",")))
        }
        '"' => string(rest),
        _ => {
            let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            *rest = tail;
            if matches!(word, "true" | "false" | "null") { Some(word.to_owned()) } else { number(word) }
        }
    }
}

/// Walks over what stands between an opening bracket and its closing one, separated by commas.
fn items(rest: &mut &str, close: char, mut item: impl FnMut(&mut &str) -> Option<()>) -> Option<()> {
    *rest = &rest[1..];
    if eat(rest, close).is_some() {
        return Some(());
    }
    loop {
        item(rest)?;
        if eat(rest, close).is_some() {
            return Some(());
        }
        eat(rest, ',')?;
    }
}

fn eat(rest: &mut &str, wanted: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(wanted)?;
    Some(())
}

fn string(rest: &mut &str) -> Option<String> {
    *rest = rest.trim_start();
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (literal, tail) = rest.split_at(end.0 + 1);
    *rest = tail;
    let resolved: String = serde_json::from_str(literal).ok()?;
    serde_json::to_string(&resolved).ok()
}

/// A number as its digits without zeros at either end, and a power of ten.
fn number(word: &str) -> Option<String> {
    let (mantissa, power) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power = power.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?;
    let kept = digits.trim_end_matches('0');
    let power = power + i64::try_from(digits.len() - kept.len()).ok()?;
    let kept = kept.trim_start_matches('0');
    Some(if kept.is_empty() { "0".to_owned() } else { format!("{sign}{kept}e{power}") })
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn values_count_and_spelling_does_not() {
        assert!(same(r#"{"b":1,"a":[true, null]}"#, r#" { "a" : [true,null], "b": 1.0 } "#));
        assert!(same(r#""\u00e9""#, r#""é""#));
        assert!(same("1e2", "100.0"));
        assert!(same("not json", "not json"));
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        assert!(!same("12345678901234567890", "12345678901234567891"));
        assert!(same("12345678901234567890.5000000000", "12345678901234567890.5"));
        assert!(!same("[1,2]", "[2,1]"));
        assert!(!same("not json", "neither"));
    }
}
