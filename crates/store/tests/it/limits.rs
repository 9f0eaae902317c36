//! What is too deep to be read back is not stored, nor what a client has made too long.

use std::collections::HashSet;

use headwaters_model::account::Actor;
use headwaters_model::connection::Connection;
use headwaters_model::id::SpecId;
use headwaters_model::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, LimitError};
use headwaters_model::page::ListQuery;
use headwaters_model::resource::{Collection, Resource, State};
use headwaters_store::{KeyRing, PAGE_BODIES_BYTES_MAX, Store, StoreError};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::world::{NOW, World, connection};

async fn open() -> World {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("headwaters.db");
    let store = Store::open(place.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
    World::new(store, dir).await
}

/// A value of so many levels.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

fn limit(outcome: Result<(), StoreError>) -> Option<LimitError> {
    match outcome {
        Ok(()) => None,
        Err(StoreError::Limit(limit)) => Some(limit),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn what_is_stored_can_be_read_back_however_it_is_written() {
    // The parameter stands three levels down.
    let deep = |stored: &Resource<Connection>, levels: usize| {
        let mut resource = stored.clone();
        let auth = resource.body.auth.as_mut().unwrap();
        auth.params.insert("deep".into(), nested(levels - 3));
        resource
    };
    let world = open().await;
    let stored = world.add(connection("shop")).await;
    for (levels, refused) in [(DOCUMENT_DEPTH_MAX, None), (DOCUMENT_DEPTH_MAX + 1, Some(LimitError::Depth))] {
        for by in [world.actor.clone(), Actor::scheduler()] {
            let mut tx = world.store.write(&world.scope).await.unwrap();
            let mut other = deep(&stored, levels);
            other.id = headwaters_model::id::ConnectionId::mint();
            other.updated.by = by.clone();
            assert_eq!(limit(tx.insert(&other).await), refused, "insert of {levels}");
            assert_eq!(limit(tx.rewrite(&deep(&stored, levels)).await), refused, "rewrite of {levels}");
            let mut changed = deep(&stored, levels);
            let expected = changed.touch(&by, NOW);
            assert_eq!(limit(tx.replace(&changed, &expected).await), refused, "replace of {levels}");
            if refused.is_none() {
                assert_eq!(tx.get(&stored.id).await.unwrap(), Some(changed));
            }
        }
    }
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let spec = nested(DOCUMENT_DEPTH_MAX + 1);
    let put = tx.put_spec(Collection::FlowSpecs, SpecId::mint(), &spec, NOW).await;
    assert_eq!(limit(put), Some(LimitError::Depth));
}

#[tokio::test]
async fn a_document_is_as_long_as_a_client_may_make_it_and_the_service_may_add_to_it() {
    let world = open().await;
    let long = Connection { description: Some("x".repeat(DOCUMENT_BYTES_MAX)), ..connection("shop") };
    let is_too_long =
        |outcome| matches!(limit(outcome), Some(LimitError::Bytes { bytes }) if bytes > DOCUMENT_BYTES_MAX);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let new = Resource::new(world.scope.clone(), State::Enabled, long.clone(), &world.actor, NOW);
    assert!(is_too_long(tx.insert(&new).await));
    drop(tx);

    let mut stored = world.add(connection("shop")).await;
    stored.body = long;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let mut by_client = stored.clone();
    let expected = by_client.touch(&world.actor, NOW);
    // An action notes something, in the name of its caller: how far patches go is control's to say.
    tx.replace(&by_client, &expected).await.unwrap();
    let expected = by_client.touch(&Actor::scheduler(), NOW);
    tx.replace(&by_client, &expected).await.unwrap();
}

#[tokio::test]
async fn a_page_of_large_documents_is_shorter_and_none_of_them_is_missed() {
    let world = open().await;
    let large = |number: usize| Connection {
        description: Some("x".repeat(DOCUMENT_BYTES_MAX - 4096)),
        ..connection(&number.to_string())
    };
    let count = PAGE_BODIES_BYTES_MAX / DOCUMENT_BYTES_MAX + 3;
    for number in 0..count {
        world.add(large(number)).await;
    }
    let mut query = ListQuery { limit: 1000, ..ListQuery::all() };
    let (mut ids, mut pages) = (HashSet::new(), 0);
    loop {
        let page = world.store.documents::<Connection>(&world.scope, &query).await.unwrap();
        assert!(page.items.len() * (DOCUMENT_BYTES_MAX - 4096) <= PAGE_BODIES_BYTES_MAX);
        ids.extend(page.items.iter().map(|item| item.id));
        pages += 1;
        match page.next {
            Some(after) => query.after = Some(after),
            None => break,
        }
    }
    assert_eq!((ids.len(), pages), (count, 2));
}

#[tokio::test]
async fn a_damaged_row_does_not_hide_the_others_of_its_page() {
    let world = open().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(world.add(connection(name)).await.id);
    }
    let options = SqliteConnectOptions::new().filename(world.dir.path().join("headwaters.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let text = "update connection set body = json_set(body, '$.connectionSpec', 7) where id = $1";
    sqlx::query(text).bind(ids[1].to_string()).execute(&mut other).await.unwrap();
    let page = world.store.list::<Connection>(&world.scope, &ListQuery::all()).await.unwrap();
    let listed: HashSet<_> = page.items.iter().map(|item| item.id).collect();
    assert_eq!(listed, HashSet::from([ids[0], ids[2]]));
    let query = ListQuery { limit: 2, ..ListQuery::all() };
    let page = world.store.list::<Connection>(&world.scope, &query).await.unwrap();
    assert!(page.items.len() == 1 && page.next.is_some(), "the next page goes on behind it");
}
