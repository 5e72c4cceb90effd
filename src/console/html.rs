//! Text as HTML: escaping, and the frame that all pages share.

use std::fmt;

/// Shows text so that it stays text, in elements and in quoted attributes. Control characters become U+FFFD.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_str("\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;\
color:#1b1f24;background:#fff}h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .8em .3em 0;\
border-bottom:1px solid #d8dee4;vertical-align:top}th{font-weight:600;color:#57606a}\
code{font-size:.9em}.bad{color:#b42318;font-weight:600}.good{color:#1a7f37}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}\
a{color:#6cb6ff}.bad{color:#ff7b72}.good{color:#56d364}}";

/// A whole page. `title` is plain text; `body` is HTML whose values are escaped already.
pub fn page(title: &str, body: &str) -> String {
    format!("{}</body></html>\n", opening(title, body))
}

/// The beginning of such a page: what comes next is more of its body, and its end.
pub fn opening(title: &str, body: &str) -> String {
    let title = Escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_markup_stays_text() {
        let shown = Escaped("<a href=\"x\" title='y'>&\u{1b}\n").to_string();
        assert_eq!(shown, "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;\u{fffd}\u{fffd}");
        assert!(page("</title><script>", "").contains("<title>&lt;/title&gt;&lt;script&gt;</title>"));
    }
}
