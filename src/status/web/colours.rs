//! SGR colours of a log line as HTML.
//!
//! Everything is escaped; what is left of an escape sequence is the class of a span, one of a fixed list. No `style`
//! attribute: the page's policy forbids them, and classes follow the reader's light or dark theme.

use std::fmt::Write as _;

/// Turns lines with SGR sequences into HTML, and carries colours from line to line.
#[derive(Clone, Debug, Default)]
pub struct Colours {
    now: Look,
}

/// How text looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Look {
    weight: Weight,
    italic: Switch,
    underlined: Switch,
    struck: Switch,
    inverse: Switch,
    /// One of the sixteen colours; none for the page's own.
    text: Option<u8>,
    behind: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Weight {
    #[default]
    Normal,
    Bold,
    Dim,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Switch {
    #[default]
    Off,
    On,
}

impl Colours {
    /// A line as HTML. `safe` is one line from the sanitizer; whatever else it may hold comes out as text.
    pub fn line(&mut self, safe: &str) -> String {
        let mut html = String::with_capacity(safe.len() + 16);
        let mut rest = safe;
        while let Some(at) = rest.find("\x1b[") {
            let (text, sequence) = rest.split_at(at);
            let parameters = sequence.trim_start_matches("\x1b[");
            let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
            match end.map(|end| parameters.split_at(end)) {
                Some((parameters, after)) if after.starts_with('m') => {
                    self.span(text, &mut html);
                    self.select(parameters);
                    rest = &after[1..];
                }
                // No SGR: text like any other, but for the ESC that has no place on a page.
                Some(_) | None => {
                    let (bare, after) = rest.split_at(at + 2);
                    self.span(bare, &mut html);
                    rest = after;
                }
            }
        }
        self.span(rest, &mut html);
        html
    }

    fn span(&self, text: &str, html: &mut String) {
        if text.is_empty() {
            return;
        }
        let classes = self.now.classes();
        if classes.is_empty() {
            escape(text, html);
        } else {
            // Writing to a string does not fail.
            let _ = write!(html, "<span class=\"{classes}\">");
            escape(text, html);
            html.push_str("</span>");
        }
    }

    fn select(&mut self, parameters: &str) {
        let mut numbers = parameters.split(';').map(|number| match number {
            "" => 0,
            number => number.parse::<u16>().unwrap_or(u16::MAX),
        });
        while let Some(number) = numbers.next() {
            let look = &mut self.now;
            match number {
                0 => *look = Look::default(),
                1 => look.weight = Weight::Bold,
                2 => look.weight = Weight::Dim,
                3 => look.italic = Switch::On,
                4 | 21 => look.underlined = Switch::On,
                7 => look.inverse = Switch::On,
                9 => look.struck = Switch::On,
                22 => look.weight = Weight::Normal,
                23 => look.italic = Switch::Off,
                24 => look.underlined = Switch::Off,
                27 => look.inverse = Switch::Off,
                29 => look.struck = Switch::Off,
                30..=37 => look.text = Some(low(number - 30)),
                90..=97 => look.text = Some(low(number - 90 + 8)),
                39 => look.text = None,
                40..=47 => look.behind = Some(low(number - 40)),
                100..=107 => look.behind = Some(low(number - 100 + 8)),
                49 => look.behind = None,
                38 => look.text = chosen(&mut numbers).or(look.text),
                48 => look.behind = chosen(&mut numbers).or(look.behind),
                _ => {}
            }
        }
    }
}

impl Look {
    fn classes(self) -> String {
        let mut classes = Vec::new();
        match self.weight {
            Weight::Normal => {}
            Weight::Bold => classes.push("b".to_owned()),
            Weight::Dim => classes.push("d".to_owned()),
        }
        let switches = [
            (self.italic, "i"),
            (self.underlined, "u"),
            (self.struck, "s"),
        ];
        let on = switches.iter().filter(|(switch, _)| *switch == Switch::On);
        classes.extend(on.map(|(_, class)| (*class).to_owned()));
        match self.inverse {
            Switch::Off => {
                classes.extend(self.text.map(|colour| format!("fg{colour}")));
                classes.extend(self.behind.map(|colour| format!("bg{colour}")));
            }
            Switch::On => {
                // The colours of the sixteen go with each other, and the page's own two with each other only.
                if let Some(text) = self.text {
                    classes.extend(self.behind.map(|colour| format!("fg{colour}")));
                    classes.push(format!("bg{text}"));
                } else {
                    classes.push("fgx bgx".to_owned());
                }
            }
        }
        classes.join(" ")
    }
}

fn low(colour: u16) -> u8 {
    u8::try_from(colour & 15).unwrap_or(0)
}

/// The colour that `38` or `48` names by the numbers that follow, as the nearest of the sixteen.
fn chosen(numbers: &mut impl Iterator<Item = u16>) -> Option<u8> {
    let mut byte = || numbers.next().and_then(|number| u8::try_from(number).ok());
    match byte()? {
        5 => {
            let colour = byte()?;
            Some(match colour {
                0..=15 => colour,
                16..=231 => {
                    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
                    let cube = colour - 16;
                    nearest([level(cube / 36), level(cube / 6 % 6), level(cube % 6)])
                }
                232..=255 => nearest([8 + 10 * (colour - 232); 3]),
            })
        }
        2 => Some(nearest([byte()?, byte()?, byte()?])),
        _ => None,
    }
}

/// The sixteen colours as terminals commonly show them.
const SIXTEEN: [[u8; 3]; 16] = [
    [0, 0, 0],
    [205, 0, 0],
    [0, 205, 0],
    [205, 205, 0],
    [0, 0, 238],
    [205, 0, 205],
    [0, 205, 205],
    [229, 229, 229],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [255, 255, 0],
    [92, 92, 255],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
];

fn nearest(colour: [u8; 3]) -> u8 {
    let distance = |other: &[u8; 3]| -> u32 {
        let parts = colour.iter().zip(other);
        parts.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    };
    (0..)
        .zip(&SIXTEEN)
        .min_by_key(|(_, other)| distance(other))
        .map_or(0, |(number, _)| number)
}

/// Text as it may stand between tags and in quoted attributes. An ESC is shown, as the sanitizer shows it.
pub(super) fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\x1b' => html.push_str("\\x1b"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Sanitizer;
    use proptest::prelude::*;

    #[test]
    fn colours_become_classes_and_are_carried_on() {
        // Lines in turn, and their HTML.
        let cases = [
            ("plain", "plain"),
            ("\x1b[31mred\x1b[0m.", "<span class=\"fg1\">red</span>."),
            (
                "\x1b[1;32mgood\x1b[22m",
                "<span class=\"b fg2\">good</span>",
            ),
            ("still", "<span class=\"fg2\">still</span>"),
            ("\x1b[44mx", "<span class=\"fg2 bg4\">x</span>"),
            ("\x1b[7mx", "<span class=\"fg4 bg2\">x</span>"),
            ("\x1b[mx\x1b[7my", "x<span class=\"fgx bgx\">y</span>"),
            ("\x1b[0;7;33mx", "<span class=\"bg3\">x</span>"),
            ("\x1b[0;7;43mx", "<span class=\"fgx bgx\">x</span>"),
            ("\x1b[0;38;5;9mx", "<span class=\"fg9\">x</span>"),
            ("\x1b[38;5;196mx", "<span class=\"fg9\">x</span>"),
            ("\x1b[38;2;0;0;250mx", "<span class=\"fg4\">x</span>"),
            ("\x1b[38;5;232mx", "<span class=\"fg0\">x</span>"),
            ("\x1b[0;2;3;4;9mx", "<span class=\"d i u s\">x</span>"),
            ("\x1b[0m", ""),
            ("", ""),
        ];
        let mut colours = Colours::default();
        for (line, html) in cases {
            assert_eq!(colours.line(line), html, "{line:?}");
        }
    }

    #[test]
    fn a88_text_of_a_log_is_never_markup() {
        let mut colours = Colours::default();
        assert_eq!(
            colours.line("\x1b[31m<script>alert('\"&')</script>\x1b[\"onload=x;m"),
            "<span class=\"fg1\">&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;\\x1b[</span>\
             <span class=\"fg1\">&quot;onload=x;m</span>"
        );
    }

    /// The text of our HTML; panics on any tag but balanced spans of ours.
    fn text_of(html: &str) -> String {
        let mut text = String::new();
        let mut rest = html;
        let mut open = false;
        while let Some(at) = rest.find('<') {
            text.push_str(&rest[..at]);
            let (tag, after) = rest[at..].split_once('>').unwrap();
            if open {
                assert_eq!(tag, "</span");
            } else {
                let classes = tag.strip_prefix("<span class=\"").unwrap();
                let classes = classes.strip_suffix('"').unwrap();
                let fine = |c: char| c.is_ascii_alphanumeric() || c == ' ';
                assert!(classes.chars().all(fine), "{classes}");
            }
            open = !open;
            rest = after;
        }
        assert!(!open, "{html}");
        text.push_str(rest);
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    }

    proptest! {
        #[test]
        fn html_without_its_tags_is_the_text_without_its_colours(
            log in prop::collection::vec(
                prop_oneof![
                    "[ -~]{0,12}",
                    "\x1b\\[[0-9;]{0,8}m",
                    "\x1b\\[[0-9;]{0,4}[A-Z\"<&]",
                    "[<>&\"']{1,4}",
                    "\\PC{0,4}",
                    Just("\n".to_owned()),
                ],
                0..24,
            ).prop_map(|parts| parts.concat()),
        ) {
            let safe = |colours| {
                let mut sanitizer = Sanitizer::new(colours);
                let mut text = sanitizer.push(log.as_bytes());
                text.push_str(&sanitizer.finish());
                text
            };
            let mut colours = Colours::default();
            let html: Vec<_> = safe(true).split('\n').map(|line| colours.line(line)).collect();
            let text: Vec<_> = html.iter().map(|html| text_of(html)).collect();
            prop_assert_eq!(text.join("\n"), safe(false));
        }

        #[test]
        fn any_text_at_all_gives_balanced_tags_and_no_others(line in "(\\PC|\x1b|\\[|m|;|[0-9]){0,60}") {
            text_of(&Colours::default().line(&line));
        }
    }
}
