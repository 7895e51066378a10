//! What went through each proxy, in the text format of Prometheus and under the original's names.

use std::fmt::Write;

use super::proxy::Proxy;
use crate::chaos::link::Stream;

pub(super) fn text<'a>(proxies: impl Iterator<Item = &'a Proxy> + Clone) -> String {
    let received = "toxiproxy_proxy_received_bytes_total";
    let sent = "toxiproxy_proxy_sent_bytes_total";
    let mut text = String::new();
    for (name, help) in [(received, "Bytes taken in"), (sent, "Bytes handed on")] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter");
        for proxy in proxies.clone() {
            for stream in [Stream::Upstream, Stream::Downstream] {
                let (taken, given) = proxy.conduit.bytes(stream);
                let bytes = if name == received { taken } else { given };
                let labels = [
                    ("direction", stream.word()),
                    ("listener", &proxy.listen),
                    ("proxy", &proxy.name),
                    ("upstream", &proxy.upstream),
                ];
                let labels = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
                let _ = writeln!(text, "{name}{{{}}} {bytes}", labels.join(","));
            }
        }
    }
    text
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
