//! Notes in Markdown as HTML that can do nothing: no tags of their own, no pictures, no addresses
//! but those of pages and mail.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

/// The HTML of a note. What is HTML in it is shown as it is written.
pub(crate) fn to_html(text: &str) -> String {
    let mut refused = Vec::new();
    let events = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let events = events.filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        // Nothing is loaded from elsewhere; the picture's words stay.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { ref dest_url, .. }) => {
            let good = harmless(dest_url);
            refused.push(!good);
            good.then_some(event)
        }
        Event::End(TagEnd::Link) => {
            let refused = refused.pop().unwrap_or_default();
            (!refused).then_some(event)
        }
        // The page's own heading stands above, and the section's.
        Event::Start(Tag::Heading {
            level,
            id,
            classes,
            attrs,
        }) => Some(Event::Start(Tag::Heading {
            level: lower(level),
            id,
            classes,
            attrs,
        })),
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(lower(level)))),
        event => Some(event),
    });
    let mut output = String::new();
    html::push_html(&mut output, events);
    output
}

fn lower(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel::{H1, H2, H3, H4, H5, H6};
    match level {
        H1 => H3,
        H2 => H4,
        H3 => H5,
        H4 | H5 | H6 => H6,
    }
}

fn harmless(address: &str) -> bool {
    let address = address.trim().to_ascii_lowercase();
    ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::to_html;

    #[test]
    fn notes_are_formatted_and_harmless() {
        for (text, html) in [
            ("*a* `b`", "<p><em>a</em> <code>b</code></p>\n"),
            ("# Big", "<h3>Big</h3>\n"),
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("a <b onclick=x>", "<p>a &lt;b onclick=x&gt;</p>\n"),
            ("[x](javascript:alert(1))", "<p>x</p>\n"),
            ("[x](JAVASCRIPT:a [y](z))", "<p>[x](JAVASCRIPT:a y)</p>\n"),
            ("![x](https://a.example/b.png)", "<p>x</p>\n"),
            (
                "[x](https://a.example/\"q)",
                "<p><a href=\"https://a.example/%22q\">x</a></p>\n",
            ),
        ] {
            assert_eq!(to_html(text), html, "{text}");
        }
    }
}
