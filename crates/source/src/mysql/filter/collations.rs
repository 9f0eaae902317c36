//! Text of a narrow column beside a literal of any script.
//!
//! The server brings a literal into the column's character set and compares under the column's collation, which is what
//! people expect of a filter. Only where the literal does not fit, it is the column that has to be widened; its collation
//! would then be lost, so that the nearest one of utf8mb4 is named.

/// What latin1 of the servers, which is Windows-1252, holds beside U+00A0 to U+00FF.
const LATIN1_MORE: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";

/// Collations of utf8mb3 that utf8mb4 lacks.
const WITHOUT_TWIN: &[&str] = &["general_mysql500_ci", "tolower_ci"];

/// Whether a character set of the server surely holds a text. Of the many that are seldom seen only ASCII is sure.
pub(super) fn holds(charset: &str, text: &str) -> bool {
    match &*charset.to_ascii_lowercase() {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" => true,
        "utf8" | "utf8mb3" | "ucs2" => text.chars().all(|c| c <= '\u{FFFF}'),
        "latin1" => text.chars().all(|c| c.is_ascii() || ('\u{A0}'..='\u{FF}').contains(&c) || LATIN1_MORE.contains(c)),
        _ => text.is_ascii(),
    }
}

/// The collation of utf8mb4 that compares most like one of another character set; never looser in case than a binary or
/// a case-sensitive one. Every server that we read has it.
pub(super) fn wide_collation(collation: &str) -> String {
    let lower = collation.to_ascii_lowercase();
    let (charset, rest) = lower.split_once('_').unwrap_or((&lower, ""));
    let is_unicode = matches!(charset, "utf8" | "utf8mb3" | "ucs2" | "utf16" | "utf16le" | "utf32");
    // A name goes into the statement: one that is odd must not.
    let is_name = rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match rest {
        rest if is_unicode && is_name && !rest.is_empty() && !WITHOUT_TWIN.contains(&rest) => format!("utf8mb4_{rest}"),
        "nopad_bin" => "utf8mb4_nopad_bin".to_owned(),
        rest if rest.ends_with("bin") || rest.ends_with("_cs") => "utf8mb4_bin".to_owned(),
        rest if rest.ends_with("nopad_ci") => "utf8mb4_general_nopad_ci".to_owned(),
        // The default of latin1 keeps å, ä and ö apart from a and o.
        "swedish_ci" => "utf8mb4_swedish_ci".to_owned(),
        _ => "utf8mb4_general_ci".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_set_holds_what_the_server_can_write_in_it() {
        for (charset, text, expected) in [
            ("utf8mb4", "🔑", true),
            ("utf8mb3", "日本", true),
            ("UTF8", "🔑", false),
            ("latin1", "Été €", true),
            ("latin1", "日", false),
            ("latin1", "\u{85}", false),
            ("cp1251", "plain", true),
            ("cp1251", "Привет", false),
        ] {
            assert_eq!(holds(charset, text), expected, "{charset} {text}");
        }
    }

    #[test]
    fn a_widened_column_keeps_case_and_accents_as_strict_as_they_were() {
        for (narrow, wide) in [
            ("latin1_bin", "utf8mb4_bin"),
            ("latin1_general_cs", "utf8mb4_bin"),
            ("latin1_swedish_ci", "utf8mb4_swedish_ci"),
            ("latin1_nopad_bin", "utf8mb4_nopad_bin"),
            ("latin1_swedish_nopad_ci", "utf8mb4_general_nopad_ci"),
            ("cp1251_general_ci", "utf8mb4_general_ci"),
            ("utf8mb3_bin", "utf8mb4_bin"),
            ("utf8_unicode_520_ci", "utf8mb4_unicode_520_ci"),
            ("utf8mb3_uca1400_as_cs", "utf8mb4_uca1400_as_cs"),
            ("utf8mb3_general_mysql500_ci", "utf8mb4_general_ci"),
            ("utf8mb3_x; DROP TABLE t", "utf8mb4_general_ci"),
            ("", "utf8mb4_general_ci"),
        ] {
            assert_eq!(wide_collation(narrow), wide, "{narrow}");
        }
    }
}
