//! A small, strict reader of our HTML: whatever it cannot make sense of fails the test.

const VOID: [&str; 4] = ["meta", "link", "br", "hr"];

/// A start tag's name and attributes.
pub(super) type Tag = (String, Vec<(String, String)>);

enum Token<'a> {
    Start(Tag),
    End(&'a str),
    Text(&'a str),
}

fn tokens(page: &str) -> Vec<Token<'_>> {
    let mut rest = page
        .trim_start()
        .strip_prefix("<!doctype html>")
        .unwrap_or(page);
    let mut tokens = Vec::new();
    while let Some(at) = rest.find('<') {
        tokens.push(Token::Text(&rest[..at]));
        let after = &rest[at + 1..];
        if let Some(end) = after.strip_prefix('/') {
            let (name, after) = end.split_once('>').unwrap();
            tokens.push(Token::End(name));
            rest = after;
        } else {
            let (tag, after) = start(after);
            tokens.push(Token::Start(tag));
            rest = after;
        }
    }
    tokens.push(Token::Text(rest));
    tokens
}

/// A start tag from behind its `<`, and what follows it. Attributes stand in double quotes.
fn start(text: &str) -> (Tag, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
    let (name, mut rest) = text.split_at(end);
    assert!(!name.is_empty(), "a bare < before {text:.40}");
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('>') {
            return ((name.to_owned(), attributes), after);
        }
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase() && c != '-')
            .unwrap();
        let (attribute, after) = rest.split_at(end);
        assert!(!attribute.is_empty(), "no attribute: {rest:.40}");
        if let Some(quoted) = after.strip_prefix("=\"") {
            let (value, after) = quoted.split_once('"').unwrap();
            assert!(!value.contains('<'), "{value}");
            attributes.push((attribute.to_owned(), value.to_owned()));
            rest = after;
        } else {
            attributes.push((attribute.to_owned(), String::new()));
            rest = after;
        }
    }
}

/// Every start tag.
pub(super) fn tags(page: &str) -> Vec<Tag> {
    let tags = tokens(page).into_iter();
    tags.filter_map(|token| match token {
        Token::Start(tag) => Some(tag),
        Token::End(_) | Token::Text(_) => None,
    })
    .collect()
}

/// What a reader sees, with one space where there is white space.
pub(super) fn text_of(page: &str) -> String {
    let mut text = String::new();
    for token in tokens(page) {
        if let Token::Text(part) = token {
            text.push_str(part);
        }
    }
    let text: Vec<_> = text.split_ascii_whitespace().collect();
    decode(&text.join(" "))
}

fn decode(text: &str) -> String {
    let mut parts = text.split('&');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').unwrap();
        decoded.push(match name {
            "lt" | "#60" => '<',
            "gt" | "#62" => '>',
            "quot" | "#34" => '"',
            "#39" => '\'',
            "amp" | "#38" => '&',
            other => panic!("&{other};"),
        });
        decoded.push_str(after);
    }
    decoded
}

/// Tags are balanced, ids unique, and every `&` begins a character reference.
pub(super) fn assert_well_formed(page: &str) {
    assert!(page.starts_with("<!doctype html>"), "{page:.80}");
    let mut open = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for token in tokens(page) {
        match token {
            Token::Start((name, attributes)) => {
                for (attribute, value) in attributes {
                    assert_references(&value);
                    if attribute == "id" {
                        assert!(ids.insert(value.clone()), "id {value} stands twice");
                    }
                }
                if !VOID.contains(&name.as_str()) {
                    open.push(name);
                }
            }
            Token::End(name) => assert_eq!(open.pop().as_deref(), Some(name), "{open:?}"),
            Token::Text(text) => {
                assert!(!text.contains('>'), "{text}");
                assert_references(text);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn assert_references(text: &str) {
    for after in text.split('&').skip(1) {
        let (name, _) = after.split_once(';').unwrap();
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '#';
        assert!(name.chars().all(fine), "{text}");
    }
}
