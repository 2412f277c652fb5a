//! Closed sets of words: which one was meant.

/// The known word that is most like `word`, if one is like enough: in another case, or a few letters off.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is longer is no slip of the keyboard, and costs its square.
    const BYTES_MAX: usize = 64;
    if word.len() > BYTES_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let distance = |known: &str| {
        let known = known.to_ascii_lowercase();
        let far = strsim::damerau_levenshtein(&lower, &known);
        // One letter in three may be wrong.
        (far <= known.len().max(lower.len()) / 3).then_some(far)
    };
    let near = known
        .into_iter()
        .filter_map(|known| Some((distance(known)?, known)));
    near.min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

/// `; did you mean X?`, or nothing.
#[must_use]
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = ["TopicEndpoint", "accessKey1", "accessKey2", "entityPath"];
        let near = |word| nearest(word, known);
        assert_eq!(near("topicEndpoint"), Some("TopicEndpoint"));
        assert_eq!(near("topic_endpoint"), Some("TopicEndpoint"));
        assert_eq!(near("acessKey2"), Some("accessKey2"));
        assert_eq!(near("entityPaht"), Some("entityPath"));
        assert_eq!(near("filter"), None);
        assert_eq!(near(&"x".repeat(10_000)), None);
        assert_eq!(hint("EntityPath", known), "; did you mean entityPath?");
        assert_eq!(hint("", known), "");
    }
}
