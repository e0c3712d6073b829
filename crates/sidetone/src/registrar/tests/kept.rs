//! What is kept for the next process, and what becomes of it there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};

use super::*;

/// Tells a test what is to be written, and fails that often.
#[derive(Debug)]
struct Spy(Sender<Vec<Change>>, usize);

impl LocationStore for Spy {
    fn load(&mut self) -> Result<Vec<StoredBinding>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        // The test may be over.
        let _ = self.0.send(changes.to_vec());
        let Some(left) = self.1.checked_sub(1) else { return Ok(()) };
        self.1 = left;
        Err(std::io::Error::other("disk full").into())
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_can_outlive_the_process_is_kept() {
    let (sender, written) = channel();
    let mut scene = Scene::with("", policy(), Writer::start(Spy(sender, 0)).unwrap());
    let lines = "Contact: <sip:w@x.invalid;transport=ws>\r\n";
    scene.register(lines, &flow(TransportKind::Wss, 1)).unwrap();
    scene.register("Contact: <sip:u@h>\r\n", &flow(TransportKind::Udp, 2)).unwrap();
    let saved = written.recv().unwrap();
    let [Change::Save(binding)] = saved.as_slice() else { panic!("{saved:?}") };
    assert_eq!((binding.user.as_str(), binding.uri.as_str()), ("199", "sip:u@h"));
    scene.register("Contact: <sip:u@h>;expires=0\r\n", &flow(TransportKind::Udp, 2)).unwrap();
    let removed = written.recv().unwrap();
    assert!(matches!(removed.as_slice(), [Change::Remove { user, .. }] if user == "199"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_store_is_counted_and_changes_nothing_else() {
    let (sender, written) = channel();
    let mut scene = Scene::with("", policy(), Writer::start(Spy(sender, usize::MAX)).unwrap());
    for n in 0..3 {
        scene.register(&format!("Contact: <sip:{n}@h>\r\n"), &flow(TransportKind::Udp, 1)).unwrap();
        written.recv().unwrap();
    }
    assert_eq!(scene.uris().len(), 3);
    // The count of the last one may follow its attempt by a moment.
    while scene.registrar.store_failures() < 3 {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_could_not_take_is_written_before_anything_else() {
    let (sender, written) = channel();
    let mut scene = Scene::with("", policy(), Writer::start(Spy(sender, 1)).unwrap());
    let udp = flow(TransportKind::Udp, 1);
    scene.register("Contact: <sip:a@h>\r\n", &udp).unwrap();
    let failed = written.recv().unwrap();
    scene.register("Contact: <sip:b@h>\r\n", &udp).unwrap();
    scene.register("Contact: <sip:a@h>;expires=0\r\n", &udp).unwrap();
    let mut tried = written.recv().unwrap();
    while tried.len() < 3 {
        tried.extend(written.recv().unwrap());
    }
    assert_eq!(tried[0], failed[0]);
    assert!(matches!(&tried[1], Change::Save(binding) if binding.uri == "sip:b@h"), "{tried:?}");
    assert!(matches!(&tried[2], Change::Remove { key, .. } if key == "sip:a@h"), "{tried:?}");
    while scene.registrar.store_failures() > 0 {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_survives_in_the_database() {
    let folder = std::env::temp_dir().join(format!("sidetone-store-{}", std::process::id()));
    let path = folder.join("registrations.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let udp = flow(TransportKind::Udp, 1);
    let instance =
        "Contact: <sip:a@10.0.0.7>;+sip.instance=\"<urn:uuid:1>\";q=0.3\r\nUser-Agent: Phone\r\n";
    let (sender, written) = channel();
    let mut before = Scene::with("", policy(), Writer::start(Spy(sender, 0)).unwrap());
    before.register(instance, &udp).unwrap();
    before.register("Contact: <sip:b@h>\r\n", &udp).unwrap();
    let mut changes = Vec::new();
    while changes.len() < 2 {
        changes.extend(written.recv().unwrap());
    }
    store.write(&changes).unwrap();
    drop(store);

    let mut stored = SqliteStore::open(&path).unwrap().load().unwrap();
    stored.sort_by(|a, b| a.uri.cmp(&b.uri));
    assert_eq!(stored.len(), 2);
    let after = Scene::new("");
    let moved = Flow { id: FlowId(77), ..udp };
    let flow_to = |local, remote| {
        assert_eq!((local, remote), (udp.local, udp.remote));
        Some(moved)
    };
    after.registrar.restore(stored.clone(), &after.users, flow_to, after.now);
    let contacts = after.registrar.contacts("199");
    assert_eq!(contacts.len(), 2);
    assert_eq!((contacts[1].q_milli, contacts[1].flow), (300, Some(moved)));
    assert_eq!(contacts[1].user_agent, "Phone");

    stored[0].expires_unix_s += 30 * 86_400;
    let mut early = Scene::new("");
    early.registrar.restore(stored.clone(), &early.users, flow_to, early.now);
    let most = policy().expires_max.as_secs();
    assert!(early.fetch()[1].contains(&format!("expires={most}")), "{:?}", early.fetch());
    stored[0].expires_unix_s = 1_000;
    let later = Scene::new("");
    later.registrar.restore(stored.clone(), &later.users, flow_to, later.now);
    assert_eq!(later.count(), 1, "one has run out meanwhile");
    let without = Scene::new("");
    without.registrar.restore(stored, &without.users, |_, _| None, without.now);
    assert_eq!(without.count(), 0, "the listener is no more");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A folder of its own for a test, and the file in it.
fn database(name: &str) -> (PathBuf, PathBuf) {
    let folder = std::env::temp_dir().join(format!("sidetone-{name}-{}", std::process::id()));
    let file = folder.join("registrations.db");
    (folder, file)
}

/// The changes that a binding of user 199 for each of these URIs is kept by.
fn saved(uris: &[&str]) -> Vec<Change> {
    let (sender, written) = channel();
    let mut scene = Scene::with("", policy(), Writer::start(Spy(sender, 0)).unwrap());
    for uri in uris {
        scene.register(&format!("Contact: <{uri}>\r\n"), &flow(TransportKind::Udp, 1)).unwrap();
    }
    let mut changes = Vec::new();
    while changes.len() < uris.len() {
        changes.extend(written.recv().unwrap());
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_takes_no_other_with_it() {
    let (folder, file) = database("row");
    SqliteStore::open(&file).unwrap().write(&saved(&["sip:a@h", "sip:b@h", "sip:c@h"])).unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    for (key, body) in [("sip:a@h", "x'ff00'"), ("sip:c@h", "'{\"of\": \"another version\"}'")] {
        let damage = format!("UPDATE bindings SET body = {body} WHERE key = '{key}'");
        assert_eq!(connection.execute(&damage, []).unwrap(), 1);
    }
    drop(connection);
    let (_, stored) = SqliteStore::open_or_renew(&file).unwrap();
    let uris: Vec<&str> = stored.iter().map(|stored| stored.uri.as_str()).collect();
    assert_eq!(uris, ["sip:b@h"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_put_aside_for_a_new_one() {
    let (folder, file) = database("damaged");
    let aside = folder.join("registrations.db.damaged");
    SqliteStore::open(&file).unwrap().write(&saved(&["sip:a@h"])).unwrap();
    let mut within = std::fs::read(&file).unwrap();
    within[4096..].fill(0xff);
    for damaged in [b"not a database at all, and long enough to be looked at".to_vec(), within] {
        std::fs::write(&file, &damaged).unwrap();
        let (mut store, stored) = SqliteStore::open_or_renew(&file).unwrap();
        assert!(stored.is_empty());
        assert_eq!(std::fs::read(&aside).unwrap(), damaged, "an older one is replaced");
        store.write(&saved(&["sip:a@h"])).unwrap();
        drop(store);
        assert_eq!(SqliteStore::open_or_renew(&file).unwrap().1.len(), 1);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_held_at_the_start_is_written_once_it_is_free() {
    let (folder, file) = database("held");
    SqliteStore::open(&file).unwrap().write(&saved(&["sip:a@h", "sip:b@h"])).unwrap();
    let mut late = LateStore::new(file.clone());
    let holder = rusqlite::Connection::open(&file).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let gone = [Change::Remove { user: "199".to_owned(), key: "sip:a@h".to_owned() }];
    assert!(late.write(&gone).is_err());
    holder.execute_batch("COMMIT").unwrap();
    late.write(&saved(&["sip:c@h"])).unwrap();
    late.write(&saved(&["sip:d@h"])).unwrap();
    let stored = SqliteStore::open(&file).unwrap().load().unwrap();
    let uris: Vec<&str> = stored.iter().map(|stored| stored.uri.as_str()).collect();
    assert_eq!(uris, ["sip:c@h", "sip:d@h"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_cannot_be_opened_is_left_alone() {
    let (folder, file) = database("folder");
    std::fs::create_dir_all(&file).unwrap();
    assert!(SqliteStore::open_or_renew(&file).is_err());
    assert!(file.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

fn bindings(changes: impl IntoIterator<Item = Change>) -> Vec<StoredBinding> {
    let saved = changes.into_iter().filter_map(|change| match change {
        Change::Save(binding) => Some(*binding),
        Change::Remove { .. } => None,
    });
    saved.collect()
}

/// A registrar after a restart, with what was kept of a phone that registered so.
fn restarted(lines: &str, from: &Flow) -> Scene {
    let (sender, written) = channel();
    let mut before = Scene::with("", policy(), Writer::start(Spy(sender, 0)).unwrap());
    before.rport = "";
    before.register(lines, from).unwrap();
    drop(before);
    let kept = bindings(written.iter().flatten());
    let after = Scene::new("");
    let flow_to = |local, remote| Some(Flow { local, remote, ..flow(TransportKind::Udp, 1) });
    after.registrar.restore(kept, &after.users, flow_to, after.now);
    after
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_missed_after_a_restart_only_where_the_contact_names_another_host() {
    let tcp = flow(TransportKind::Tcp, 1);
    for (host, is_there) in [("192.0.2.7", true), ("192.168.1.20", false), ("phone.example", true)]
    {
        let after = restarted(&format!("Contact: <sip:a@{host};transport=tcp>\r\n"), &tcp);
        assert_eq!(after.count(), usize::from(is_there), "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_phone_is_known_after_a_restart_by_where_it_registered_from() {
    let udp = flow(TransportKind::Udp, 1);
    let after = restarted("Contact: <sip:a@192.0.2.7>\r\n", &udp);
    assert!(after.registrar.is_registered_on(&udp));
}

#[tokio::test(start_paused = true)]
async fn what_a_user_may_not_come_over_any_more_is_not_taken_over() {
    let kept = bindings(saved(&["sip:a@h"]));
    let udp = flow(TransportKind::Udp, 1);
    for (transports, count) in [("['udp', 'tls']", 1), ("['tls']", 0)] {
        let scene = Scene::new(&format!("transports = {transports}"));
        scene.registrar.restore(kept.clone(), &scene.users, |_, _| Some(udp), scene.now);
        assert_eq!(scene.count(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn rfc3261_10_3_a_device_that_takes_a_bound_uri_over_is_bound_once() {
    let device = ";+sip.instance=\"<urn:uuid:1>\"";
    let (old, new) = (format!("<sip:old@h>{device}"), "<sip:new@h>".to_owned());
    for before in [[&old, &new], [&new, &old]] {
        let (sender, written) = channel();
        let writer = Writer::start(Spy(sender, 0)).unwrap();
        let mut scene = Scene::with("max_contacts = 2\n", policy(), writer);
        let here = flow(TransportKind::Udp, 1);
        for contact in before {
            scene.register(&format!("Contact: {contact}\r\n"), &here).unwrap();
        }
        assert_eq!(scene.count(), 2);
        let both = scene.register(&format!("Contact: {new}{device}\r\n"), &here).unwrap();
        assert_eq!((both.contacts.len(), scene.uris()), (1, vec!["sip:new@h".to_owned()]));
        drop(scene);
        let kept = written.iter().flatten().fold(HashMap::new(), |mut kept, change| {
            match change {
                Change::Save(binding) => drop(kept.insert(binding.key, binding.uri)),
                Change::Remove { key, .. } => drop(kept.remove(&key)),
            }
            kept
        });
        assert_eq!(kept.into_values().collect::<Vec<_>>(), ["sip:new@h"], "nor is it kept twice");
    }
}
