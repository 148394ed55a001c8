//! What is not wrong and yet worth a word: settings that work, and that surprise whoever put them together.

use std::fmt;

use super::settings::Settings;
use crate::policy::{DataResumption, Requirement};

/// One thing worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The path of the key.
    pub key: &'static str,
    /// What will happen.
    pub what: String,
    /// What to write if that is not wanted.
    pub remedy: &'static str,
}

impl fmt::Display for Advice {
    /// One line: `passive.ports: what will happen. What to write.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.key, self.what, self.remedy)
    }
}

impl Settings {
    /// All of it.
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        let ports = self.data.ports.len();
        if !self.shares_ports() {
            return advice;
        }
        let each = match ports {
            1 => "one data connection".to_owned(),
            ports => format!("{ports} data connections"),
        };
        if self.protection.data_resumption == DataResumption::Off {
            advice.push(Advice {
                key: "tls.data_resumption",
                what: format!(
                    "with off nothing tells the sessions of one client address apart on {}: clients behind one address \
                     wait for {each} at a time",
                    plural(ports)
                ),
                remedy: "Write: data_resumption: prefer, or more passive.ports.",
            });
        } else if self.protection.data == Requirement::Optional {
            advice.push(Advice {
                key: "tls.data",
                what: format!(
                    "in clear (PROT C) nothing tells the sessions of one client address apart on {}: such clients behind \
                     one address wait for {each} at a time",
                    plural(ports)
                ),
                remedy: "Write: data: required, or more passive.ports.",
            });
        }
        advice
    }

    /// One address may have more sessions than there are ports, and their data connections have to be told apart.
    pub fn shares_ports(&self) -> bool {
        self.data.ports.len() < self.limits.sessions_per_address
    }
}

fn plural(ports: usize) -> String {
    if ports == 1 { "one passive port".to_owned() } else { format!("{ports} passive ports") }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn advice(more: &str) -> Vec<String> {
        let text = format!(
            "listeners: [{{ address: \"192.0.2.1:21\" }}]\nbackends: {{ old: {{ servers: [\"192.0.2.2:21\"] }} }}\n{more}"
        );
        let settings = parse(&text, "gateway.yaml").unwrap();
        settings.advice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn many_ports_and_one_port_with_resumption_need_none() {
        assert_eq!(advice(""), [""; 0]);
        assert_eq!(advice("passive: { ports: 989 }"), [""; 0]);
        assert_eq!(advice("tls: { data_resumption: off, data: optional }"), [""; 0]);
        assert_eq!(
            advice("passive: { ports: 989 }\nlimits: { sessions_per_address: 1 }\ntls: { data_resumption: off }"),
            [""; 0]
        );
    }

    #[test]
    fn one_port_where_nothing_tells_sessions_apart() {
        assert_eq!(
            advice("passive: { ports: 989 }\ntls: { data_resumption: off }"),
            [
                "tls.data_resumption: with off nothing tells the sessions of one client address apart on one passive port: \
                 clients behind one address wait for one data connection at a time. Write: data_resumption: prefer, or \
                 more passive.ports."
            ]
        );
        assert_eq!(
            advice("passive: { ports: 50000-50003 }\ntls: { data: optional }"),
            ["tls.data: in clear (PROT C) nothing tells the sessions of one client address apart on 4 passive ports: \
                 such clients behind one address wait for 4 data connections at a time. Write: data: required, or more \
                 passive.ports."]
        );
    }
}
