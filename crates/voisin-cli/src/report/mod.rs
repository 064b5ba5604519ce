//! The report page: one self-contained HTML file with a chart made by hand, readable in light and dark.

mod chart;
mod machine;

use std::fmt::Write;
use std::path::Path;

use voisin_io::AtomicFile;

use crate::fail::Result;
use crate::outcome::{bytes, count, time};
use crate::point::Point;

pub use machine::{command_line, facts};

const PAGE: &str = include_str!("../../templates/report.html");

/// Everything on the page.
#[derive(Debug, Default)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// What was measured, in a sentence or two.
    pub lead: String,
    /// Neighbours that the recall of the chart counts.
    pub k: usize,
    /// The points of all specs; those of a spec follow each other.
    pub points: Vec<Point>,
    /// Sections before the facts: heading, and HTML made with [`escape`].
    pub sections: Vec<(String, String)>,
    /// Data, machine, command line: name and value.
    pub facts: Vec<(String, String)>,
}

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let mut body = chart::figure(self);
        let _ = write!(body, "<h2>All points</h2>\n{}", self.table());
        for (heading, html) in &self.sections {
            let _ = write!(body, "<h2>{}</h2>\n{html}", escape(heading));
        }
        body += "<h2>How this was measured</h2>\n<dl>\n";
        for (name, value) in &self.facts {
            let _ = writeln!(body, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
        body += "</dl>\n";
        let mut page = PAGE.replace("{{version}}", env!("CARGO_PKG_VERSION"));
        page = page.replace("{{title}}", &escape(&self.title)).replace("{{lead}}", &escape(&self.lead));
        page.replace("{{body}}", &body) // last: what is in it is not searched for placeholders
    }

    /// Writes the page; it appears only once it is complete.
    ///
    /// # Errors
    /// A folder that is missing or cannot be written, a full disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = AtomicFile::create(path)?;
        file.write(self.html().as_bytes())?;
        Ok(file.commit()?)
    }

    /// The curves in the order in which they appear.
    fn series(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for p in &self.points {
            if !all.contains(&p.series()) {
                all.push(p.series());
            }
        }
        all
    }

    fn table(&self) -> String {
        let series = self.series();
        let targets = self.points.iter().any(|p| p.target.is_some());
        let ks: Vec<usize> = self.points.first().map(|p| p.recall.keys().copied().collect()).unwrap_or_default();
        let mut t = String::from("<div class=\"scroll\"><table>\n<thead><tr><th>index</th>");
        t += if targets { "<th>recall<br>aimed at</th>" } else { "" };
        t += "<th>lists<br>visited</th>";
        for k in &ks {
            let _ = write!(t, "<th>recall<br>@{k}</th>");
        }
        let _ = write!(t, "<th>worst tenth<br>@{}</th><th>queries/s</th><th>p50<br>ms</th><th>p99<br>ms</th>", self.k);
        t += "<th>build</th><th>bytes a<br>vector</th><th>peak<br>memory</th></tr></thead>\n<tbody>\n";
        let mut last = String::new();
        for p in &self.points {
            let own = p.series();
            let color = series.iter().position(|s| *s == own).unwrap_or(0) % chart::COLORS;
            let first = if own != last { " class=\"first\"" } else { "" };
            let name = escape(&own);
            last = own;
            let _ = write!(t, "<tr{first}><td class=\"c{color}\"><span class=\"swatch\"></span>{name}</td>");
            if targets {
                let _ = write!(t, "<td>{}</td>", p.target.map_or_else(|| "–".into(), |x| x.to_string()));
            }
            let lists = if p.target.is_some() { p.lists } else { p.ef.unwrap_or(p.nprobe) as f64 };
            let _ = write!(t, "<td>{}</td>", measured(lists, |_| p.lists_shown()));
            for k in &ks {
                let interval = p.interval_95.get(k).filter(|_| *k == self.k);
                let interval = interval.map(|i| format!(" <small>±{:.3}</small>", (i[1] - i[0]) / 2.0)).unwrap_or_default();
                let _ = write!(t, "<td>{:.4}{interval}</td>", p.recall[k]);
            }
            let worst = p.worst_tenth.get(&self.k).copied().unwrap_or_default();
            let peak = p.peak_rss_bytes.map_or_else(|| "–".into(), bytes);
            let _ = writeln!(
                t,
                "<td>{worst:.3}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{peak}</td></tr>",
                count(p.queries_per_second.round() as u64),
                measured(p.latency_ms.p50, |ms| format!("{ms:.3}")),
                measured(p.latency_ms.p99, |ms| format!("{ms:.3}")),
                measured(p.build_seconds, time),
                p.bytes_per_vector
            );
        }
        t += "</tbody></table></div>\n";
        let _ = writeln!(
            t,
            "<p class=\"note\">± is half the 95 % interval of the mean (normal approximation over queries). Worst tenth: mean recall of \
             the tenth of the queries with the lowest. Latencies are those of single queries.</p>"
        );
        t
    }
}

/// A dash stands for what was not measured.
fn measured(value: f64, show: impl Fn(f64) -> String) -> String {
    if value > 0.0 { show(value) } else { "–".into() }
}

/// `s` as text in HTML, in attributes too.
pub fn escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{Latency, sample_points};

    fn report() -> Report {
        Report {
            title: "Recall <b>".into(),
            lead: "a & b".into(),
            k: 10,
            points: sample_points(),
            sections: vec![("More".into(), "<p>{{title}}</p>".into())],
            facts: vec![("command".into(), "voisin bench --index \"<x>\"".into())],
        }
    }

    #[test]
    fn the_page_is_whole_and_alone() {
        let html = report().html();
        assert!(html.contains("<title>Recall &lt;b&gt;</title>") && html.contains("a &amp; b"));
        assert!(html.contains("voisin bench --index &quot;&lt;x&gt;&quot;"));
        for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("<td class=\"c").count(), report().points.len());
        for tag in ["svg", "table", "figure", "g", "dl", "main"] {
            assert_eq!(html.matches(&format!("<{tag}")).count() > 0, html.contains(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn odd_points_make_a_page_too() {
        for points in [Vec::new(), sample_points()[..1].to_vec()] {
            assert!(Report { points, ..report() }.html().contains("</html>"));
        }
        let mut points = sample_points();
        for p in &mut points {
            p.recall.values_mut().for_each(|r| *r = 1.0);
            p.queries_per_second = 0.0;
            p.latency_ms = Latency::default();
        }
        let html = Report { points, ..report() }.html();
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
    }
}
