//! JUnit's XML, in the dialects of pytest, of unittest-xml-reporting and of CPython's own `regrtest --junit-xml`.
//!
//! There is no schema that all follow. Tests are counted one by one: the totals that stand in attributes differ in what
//! they count. Only where they claim more failures than are named is that said. Entities are never expanded.

use std::io::{BufRead, ErrorKind};

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::Fault;
use super::bounded::{Bounded, MAX_LINE, Said, cut};
use super::shortened::Shortened;

/// How deep elements may be nested; real files have five levels or six.
const MAX_DEPTH: usize = 64;

/// So many attributes of one element are looked at.
const MAX_ATTRIBUTES: usize = 64;

/// Reads one file.
pub(super) fn read(input: impl BufRead, found: &mut Bounded) -> Result<(), Fault> {
    let mut reader = Reader::from_reader(Shortened::new(input));
    let mut document = Document {
        open: Vec::new(),
        case: None,
        root: false,
        claimed: 0,
        named: 0,
        found,
    };
    let mut buffer = Vec::new();
    let ending = loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break document.ends(),
            Ok(event) => {
                if let Err(fault) = document.take(&event) {
                    break Err(fault);
                }
            }
            Err(quick_xml::Error::Io(error)) if error.kind() == ErrorKind::FileTooLarge => {
                break Err(Fault::LongTag);
            }
            Err(quick_xml::Error::Io(error)) => break Err(Fault::Unreadable(error.kind().into())),
            Err(error) => break Err(Fault::Xml(error)),
        }
    };
    document.break_off();
    ending
}

/// What an open element means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Element {
    /// `<testsuites>`.
    Suites,
    /// `<testsuite>`, possibly within another.
    Suite,
    /// `<testcase>`.
    Case,
    /// `<failure>` or `<error>` of a test.
    Failure,
    /// `<outcome>` of a test, in which regrtest says that a success was not expected.
    Outcome,
    Other,
}

/// A test whose element is open.
#[derive(Debug, Default)]
struct Case {
    class: String,
    name: String,
    failed: bool,
    skipped: bool,
    message: Option<String>,
    said: Said,
    outcome: String,
}

struct Document<'a> {
    open: Vec<Element>,
    case: Option<Case>,
    /// Whether there was an element at all.
    root: bool,
    /// How many failures the attributes of suites claim.
    claimed: u64,
    /// How many there are.
    named: u64,
    found: &'a mut Bounded,
}

impl Document<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Start(start) => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(Fault::TooDeep);
                }
                let element = self.begin(start)?;
                self.open.push(element);
            }
            Event::Empty(start) => {
                let element = self.begin(start)?;
                self.finish(element);
            }
            Event::End(_) => {
                if let Some(element) = self.open.pop() {
                    self.finish(element);
                }
            }
            Event::Text(text) => self.say(text),
            Event::CData(data) => self.say(data),
            Event::GeneralRef(reference) => {
                let raw = format!("&{};", cut(reference, MAX_LINE));
                self.say(unescape(&raw).as_deref().unwrap_or(&raw));
            }
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<Element, Fault> {
        let name = start.local_name();
        let name = name.as_ref();
        if !std::mem::replace(&mut self.root, true)
            && !matches!(name, "testsuites" | "testsuite" | "testcase")
        {
            return Err(Fault::OtherXml);
        }
        let parent = self.open.last().copied();
        Ok(match (&mut self.case, name) {
            (None, "testsuites") => Element::Suites,
            (None, "testsuite") => {
                // The totals of a suite include those of the suites in it.
                if !self.open.contains(&Element::Suite) {
                    self.claimed = attributes(start)
                        .filter(|(name, _)| matches!(*name, "failures" | "errors"))
                        .filter_map(|(_, value)| value.trim().parse().ok())
                        .fold(self.claimed, u64::saturating_add);
                }
                Element::Suite
            }
            (None, "testcase") => {
                self.case = Some(Case::new(start));
                Element::Case
            }
            (Some(case), "failure" | "error") if parent == Some(Element::Case) => {
                let attribute = attributes(start).find(|(name, _)| *name == "message");
                if !std::mem::replace(&mut case.failed, true) {
                    case.message = attribute.map(|(_, message)| message);
                }
                self.named += 1;
                Element::Failure
            }
            (Some(case), "skipped") if parent == Some(Element::Case) => {
                case.skipped = true;
                Element::Other
            }
            // So regrtest tells of a failure that was expected.
            (Some(case), "output") if parent == Some(Element::Case) => {
                case.skipped |= attributes(start).any(|(name, _)| name == "type");
                Element::Other
            }
            (Some(_), "outcome") if parent == Some(Element::Case) => Element::Outcome,
            _ => Element::Other,
        })
    }

    fn say(&mut self, text: &str) {
        match (&mut self.case, self.open.last()) {
            (Some(case), Some(Element::Failure)) => case.said.more(text),
            (Some(case), Some(Element::Outcome)) => {
                let room = MAX_LINE - case.outcome.len();
                case.outcome.push_str(cut(text, room));
            }
            _ => {}
        }
    }

    fn finish(&mut self, element: Element) {
        if element == Element::Case
            && let Some(case) = self.case.take()
        {
            case.count(self.found);
        }
    }

    /// The file is over.
    fn ends(&self) -> Result<(), Fault> {
        let (claimed, named) = (self.claimed, self.named);
        if !self.root {
            Err(Fault::Empty)
        } else if !self.open.is_empty() {
            Err(Fault::Cut)
        } else if claimed > named {
            Err(Fault::Unnamed { claimed, named })
        } else {
            Ok(())
        }
    }

    /// Of a test that the file breaks off in, a failure counts: nothing that could follow would undo it.
    fn break_off(&mut self) {
        if let Some(case) = self.case.take_if(|case| case.failed) {
            case.count(self.found);
        }
    }
}

impl Case {
    fn new(start: &BytesStart<'_>) -> Self {
        let mut case = Self::default();
        for (name, value) in attributes(start) {
            match name {
                "name" => case.name = value,
                "classname" => case.class = value,
                // googletest's words, and those of some others.
                "status" | "result" => {
                    let not_run = ["notrun", "suppressed", "skipped", "disabled"];
                    case.skipped |= not_run.contains(&value.as_str());
                }
                _ => {}
            }
        }
        case
    }

    fn count(self, found: &mut Bounded) {
        let name = match (self.class.as_str(), self.name.as_str()) {
            ("", "") => "a test without a name".to_owned(),
            ("", name) => name.to_owned(),
            (class, "") => class.to_owned(),
            (class, name) if name.starts_with(&format!("{class}.")) => name.to_owned(),
            (class, name) => format!("{class}.{name}"),
        };
        if self.failed {
            let message = self.message.filter(|message| !message.trim().is_empty());
            found.failed(&name, message.or_else(|| self.said.line()).as_deref());
        } else if self.outcome.trim() == "UNEXPECTED_SUCCESS" {
            found.failed(&name, Some("unexpected success"));
        } else if self.skipped {
            found.skipped();
        } else if self.class.is_empty() && self.name.is_empty() {
            // regrtest names a test when it has its result, and of a test whose subtests failed it has none.
            found.failed(
                &name,
                Some("its runner left no result of it, as of failed subtests"),
            );
        } else {
            found.passed();
        }
    }
}

/// Names and values. A value too long to be shown is cut first, so that hostile ones cost little.
fn attributes<'a>(start: &'a BytesStart<'_>) -> impl Iterator<Item = (&'a str, String)> {
    let mut attributes = start.attributes();
    // Its check for doubles takes time by the square of their number.
    attributes.with_checks(false);
    attributes.take(MAX_ATTRIBUTES).flatten().map(|attribute| {
        let raw = cut(&attribute.value, MAX_LINE);
        let value = unescape(raw).map_or_else(|_| raw.to_owned(), std::borrow::Cow::into_owned);
        (attribute.key.into_inner(), value)
    })
}
