//! Lists whose items are not the stored text: rows of a Table, metadata alone, objects in another version. What shapes the items of a
//! list that is made whole shapes those of one that is made while it is sent. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::items::{Item, Items};
use crate::api::Api;
use crate::request::Shape;
use crate::resource::Resource;
use crate::status::Status;
use crate::store::Object;
use crate::table::{self, IncludeObject};

/// How a list shows its objects.
pub(super) struct Shown {
    pub(super) resource: Arc<Resource>,
    pub(super) shape: Shape,
    /// What the rows of a Table carry.
    pub(super) include: IncludeObject,
    /// All rows of a Table show ages at one time.
    pub(super) now: Timestamp,
}

impl Shown {
    /// The whole list.
    pub(super) fn list(&self, objects: Vec<Value>, metadata: &Value) -> Value {
        match self.shape {
            Shape::Object => {
                let items: Vec<Value> = objects.into_iter().map(|object| self.item(object)).collect();
                json!({"apiVersion": self.resource.api_version(), "kind": &*self.resource.list_kind, "metadata": metadata, "items": items})
            }
            Shape::Metadata => table::partial_object_metadata_list(&objects, metadata),
            Shape::Table => table::table(&self.resource, &objects, metadata, self.include, true, self.now),
        }
    }

    /// The same list, made while it is sent.
    pub(super) fn items(self, objects: Vec<Object>, metadata: &Value) -> Result<Items<Self>, Status> {
        let member = if self.shape == Shape::Table { "\"rows\":[]" } else { "\"items\":[]" };
        let empty = self.list(Vec::new(), metadata).to_string();
        // Quotes within texts are escaped: no text looks like the member.
        let (head, tail) =
            empty.split_once(member).ok_or_else(|| Status::internal("a list has no place for its items"))?;
        let (open, close) = member.split_at(member.len() - 1);
        let (head, tail) = ([head, open].concat().into_bytes(), [close, tail].concat().into_bytes());
        Ok(Items { head, objects, item: self, tail })
    }

    /// What the list has of one object.
    fn item(&self, mut object: Value) -> Value {
        match self.shape {
            Shape::Object => {
                // Items of built-in lists carry no kind and apiVersion: the list says them.
                if let Some(fields) = object.as_object_mut().filter(|_| !self.resource.custom) {
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
                object
            }
            Shape::Metadata => table::partial_object_metadata(&object),
            Shape::Table => table::row(&self.resource, &object, self.include, self.now),
        }
    }
}

impl Item for Shown {
    fn size(&self, _: &Object) -> Option<usize> {
        None
    }

    fn write(&self, object: &Object, text: &mut Vec<u8>) -> Result<(), Status> {
        let item = self.item(Api::decode_stored(&self.resource, object)?);
        serde_json::to_writer(text, &item).map_err(|e| Status::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::server::Server;
    use crate::store::{Encoded, EventKind, Expect, Key, Write};

    const INCLUDES: [IncludeObject; 3] = [IncludeObject::None, IncludeObject::Metadata, IncludeObject::Object];
    const SHAPES: [Shape; 3] = [Shape::Object, Shape::Metadata, Shape::Table];

    fn config_maps(shape: Shape, include: IncludeObject) -> Shown {
        let resource = crate::kinds::resources().into_iter().find(|r| &*r.kind == "ConfigMap").unwrap();
        Shown { resource: resource.into(), shape, include, now: "2026-01-01T00:01:00Z".parse().unwrap() }
    }

    fn encoded(name: &str) -> Encoded {
        let metadata = json!({"name": name, "namespace": "a", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let data = json!({"k": "\"items\":[],\"rows\":[]é\n"});
        Encoded::new(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})).unwrap()
    }

    fn objects(count: u64) -> Vec<Object> {
        (1..=count).map(|at| encoded(&format!("m{at}")).stored(EventKind::Added, at, at).1).collect()
    }

    fn made(shown: Shown, objects: Vec<Object>, metadata: &Value) -> String {
        let text = shown.items(objects, metadata).unwrap().body().unwrap().whole().unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn a_list_made_while_it_is_sent_is_the_text_of_the_one_made_whole() {
        let page = json!({"resourceVersion": "9", "continue": "\"rows\":[]", "remainingItemCount": 7});
        for shape in SHAPES {
            for include in INCLUDES {
                for count in [0, 1, 2, 3000] {
                    for metadata in [&json!({"resourceVersion": "9"}), &page] {
                        let values = objects(count).iter().map(|object| object.decode().unwrap()).collect();
                        let whole = config_maps(shape, include).list(values, metadata).to_string();
                        let made = made(config_maps(shape, include), objects(count), metadata);
                        assert!(made == whole, "{shape:?} {include:?} {count}: {}", &made[..made.len().min(500)]);
                    }
                }
            }
        }
    }

    #[test]
    fn members_are_in_the_order_of_their_names() {
        let metadata = json!({"resourceVersion": "9", "continue": "c", "remainingItemCount": 7});
        let list = |shape| made(config_maps(shape, IncludeObject::None), objects(1), &metadata);
        assert_eq!(
            list(Shape::Metadata),
            r#"{"apiVersion":"meta.k8s.io/v1","items":[{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","name":"m1","namespace":"a","resourceVersion":"1"}}],"kind":"PartialObjectMetadataList","metadata":{"continue":"c","remainingItemCount":7,"resourceVersion":"9"}}"#
        );
        let table = list(Shape::Table);
        assert!(table.starts_with(r#"{"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"#), "{table}");
        let end = r#"],"kind":"Table","metadata":{"continue":"c","remainingItemCount":7,"resourceVersion":"9"},"rows":[{"cells":["m1",1,"60s"],"object":null}]}"#;
        assert!(table.ends_with(end), "{table}");
    }

    #[test]
    fn a_row_carries_what_is_asked_for() {
        let carried = INCLUDES.map(|include| {
            let text = made(config_maps(Shape::Table, include), objects(1), &json!({}));
            let table: Value = serde_json::from_str(&text).unwrap();
            (table["rows"][0]["object"]["kind"].clone(), table["rows"][0]["object"].get("data").is_some())
        });
        let expected = [(Value::Null, false), (json!("PartialObjectMetadata"), false), (json!("ConfigMap"), true)];
        assert_eq!(carried, expected);
    }

    /// Over a socket, with one ConfigMap in the namespace that is no JSON, behind as many others.
    async fn list_before_a_damaged_object(others: usize) -> (u16, Result<usize, kube::Error>) {
        let builder = Server::builder().in_memory().loops(false).listen("127.0.0.1:0".parse().unwrap());
        let server = builder.start().await.unwrap();
        let names = (0..others).map(|at| format!("m{at}"));
        let good = names.map(|name| (encoded(&name), name));
        let damaged = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": null});
        let damaged = Encoded::with_raw(&damaged, Some(("data", b"{"))).unwrap();
        for (value, name) in good.chain([(damaged, "z".to_owned())]) {
            let key = Key::new("/configmaps", "default", &*name);
            server.api().store.write(Write { key, expect: Expect::Absent, value: Some(value) }).await.unwrap();
        }
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig().unwrap()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
        let request = http::Request::get("/api/v1/namespaces/default/configmaps")
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(kube::client::Body::empty());
        let answer = kube::Client::try_from(config).unwrap().send(request.unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        (code, answer.into_body().collect().await.map(|body| body.to_bytes().len()))
    }

    #[tokio::test]
    async fn a_list_that_meets_a_damaged_object_on_its_way_is_broken_off() {
        let (code, body) = list_before_a_damaged_object(2000).await;
        assert!(code == 200 && body.is_err(), "{code} {body:?}");
    }

    #[tokio::test]
    async fn a_short_list_with_a_damaged_object_is_an_error() {
        assert_eq!(list_before_a_damaged_object(2).await.0, 500);
    }
}
