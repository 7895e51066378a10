//! What the environment says of the config. It goes before the file; an empty variable is one that
//! is not set.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::parts::Settings;

/// Lays one variable over the config.
type Lay = fn(&mut Value, &str);

/// Every variable that sets keys of the config.
pub const VARIABLES: &[(&str, Lay)] = &[
    ("SONIA_HOST", |config, host| {
        let services = config["services"].as_object_mut();
        for service in services.into_iter().flat_map(|all| all.values_mut()) {
            service["host"] = json!(host);
        }
    }),
    ("SONIA_TLS_CERT", |config, path| {
        config["tls"]["cert"] = json!(path);
    }),
    ("SONIA_TLS_KEY", |config, path| {
        config["tls"]["key"] = json!(path);
    }),
    ("SONIA_CORS_ORIGINS", |config, list| {
        let origins = list.split(',').map(str::trim);
        let origins: Vec<&str> = origins.filter(|origin| !origin.is_empty()).collect();
        config["cors"]["origins"] = json!(origins);
    }),
    ("SONIA_ASR_PROVIDER", |config, name| {
        config["voice"]["asr"]["environment"] = json!(name);
    }),
    ("SONIA_ASR_KEY", |config, key| {
        config["voice"]["asr"]["key"] = json!(key);
    }),
    ("SONIA_TTS_PROVIDER", |config, name| {
        config["voice"]["tts"]["environment"] = json!(name);
    }),
];

/// The overlay of this environment, under one that is there already.
pub fn settings(env: &BTreeMap<String, String>, over: Settings) -> Settings {
    let set = VARIABLES.iter().filter_map(|(name, lay)| {
        let text = env.get(*name)?.trim();
        (!text.is_empty()).then(|| (*lay, text.to_owned()))
    });
    let set: Vec<(Lay, String)> = set.collect();
    Arc::new(move |mut config| {
        for (lay, text) in &set {
            lay(&mut config, text);
        }
        over(config)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::config::Config;

    #[test]
    fn the_variables_are_those_of_the_contract_and_set_the_keys_that_it_names() {
        let text = include_str!("../../fixtures/contract/process.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let table = file["environment"].as_object().unwrap();
        assert_eq!(table.len(), VARIABLES.len() + 1, "and `about`");
        let defaults = serde_json::to_value(Config::default()).unwrap();
        for (name, _) in VARIABLES {
            let sets = table[*name]["sets"].as_str().unwrap().replace('.', "/");
            let env = BTreeMap::from([((*name).to_owned(), "a, b".to_owned())]);
            let config = settings(&env, Arc::new(|config| config))(defaults.clone());
            assert_ne!(config, defaults, "{name}");
            let key = format!("/{}", sets.replace('*', "eva-os"));
            assert_ne!(config.pointer(&key), defaults.pointer(&key), "{name}");
        }
    }

    #[test]
    fn an_empty_variable_sets_nothing_and_what_lies_over_it_wins() {
        let env = |host: &str| BTreeMap::from([("SONIA_HOST".to_owned(), host.to_owned())]);
        let config = json!({"services": {"eva-os": {"host": "127.0.0.1", "port": 1}}});
        let none: Settings = Arc::new(|config| config);
        assert_eq!(settings(&env(" "), none.clone())(config.clone()), config);
        let set = settings(&env("127.0.0.2"), none)(config.clone());
        assert_eq!(
            set["services"]["eva-os"],
            json!({"host": "127.0.0.2", "port": 1})
        );
        let over: Settings = Arc::new(|_| json!("over"));
        assert_eq!(settings(&env("127.0.0.2"), over)(config), "over");
    }
}
